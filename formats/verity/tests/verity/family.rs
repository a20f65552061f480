//! Trees made and checked a family at a time.

use proptest::prelude::*;
use verity::{Geometry, HashAlgorithm, HashFormat, Params, RootDigest, build, check_top, root_of};

fn slice(bytes: &[u8], range: std::ops::Range<u64>) -> &[u8] {
    &bytes[range.start as usize..range.end as usize]
}

/// Builds the tree as somebody with files would: level by level, a family at a time.
fn by_families(params: &Params, geometry: &Geometry, data: &[u8]) -> (Vec<u8>, RootDigest) {
    let mut tree = vec![0xcc; geometry.tree_bytes()];
    for (level, here) in geometry.levels().iter().enumerate() {
        for index in 0..here.blocks {
            let family = geometry.family(params, level, index).unwrap();
            let children = if level == 0 { data } else { &tree };
            let children = slice(children, family.children).to_vec();
            let parent = family.parent.start as usize..family.parent.end as usize;
            tree[parent.clone()].fill(0);
            params.hash_family(level, 0, &children, &mut tree[parent]);
        }
    }
    let top = if tree.is_empty() { data } else { &tree[..params.hash_block_bytes()] };
    let root = root_of(params, geometry, top).unwrap();
    (tree, root)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn families_make_the_same_tree_and_find_every_damage(
        bytes in 1..50_000_usize,
        algorithm in prop::sample::select(HashAlgorithm::ALL.to_vec()),
        format in prop::sample::select(vec![HashFormat::ChromeOs, HashFormat::Normal]),
        hash_block in prop::sample::select(vec![512_u32, 1024]),
        at: prop::sample::Index,
    ) {
        let params = Params::with_block_sizes(algorithm, b"pepper", 512, hash_block).unwrap();
        let params = params.with_format(format);
        let mut data: Vec<u8> = (0..bytes).map(|at| (at * 31 + at / 257) as u8).collect();
        let geometry = Geometry::new(&params, bytes as u64).unwrap();
        let (tree, root) = by_families(&params, &geometry, &data);
        prop_assert_eq!((&tree, &root), (&build(&params, &data).unwrap().0, &root));
        prop_assert_eq!(build(&params, &data).unwrap().1, root);
        let at = at.index(bytes);
        data[at] ^= 1;
        if geometry.levels().is_empty() {
            prop_assert!(check_top(&params, &geometry, &data, &root).is_err());
            return Ok(());
        }
        let top = &tree[..hash_block as usize];
        prop_assert!(check_top(&params, &geometry, top, &root).is_ok());
        let mut wrong = Vec::new();
        for (level, here) in geometry.levels().iter().enumerate() {
            for index in 0..here.blocks {
                let family = geometry.family(&params, level, index).unwrap();
                let children = if level == 0 { &data } else { &tree };
                let (parent, first) = (slice(&tree, family.parent), family.first);
                let bad = params.check_family(level, 0, slice(children, family.children), parent);
                wrong.extend(bad.into_iter().map(|at| (level, first + at as u64)));
            }
        }
        prop_assert_eq!(wrong, vec![(0, (at / 512) as u64)]);
    }
}
