//! Building and verifying, by range and against damage.

use proptest::prelude::*;
use verity::{
    Error, Geometry, HashAlgorithm, HashFormat, Params, RootDigest, Tree, TreeBuilder, build,
};

fn image(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at * 31 + at / 257) as u8).collect()
}

fn small_blocks() -> Params {
    Params::with_block_sizes(HashAlgorithm::Sha256, b"salt", 512, 512).unwrap()
}

fn verify(params: &Params, data: &[u8], tree: &[u8], root: &RootDigest) -> Result<(), Error> {
    Tree::open(params, data.len() as u64, tree, root)?.verify_blocks(0, data)
}

#[test]
fn a_single_block_has_no_tree() {
    let params = Params::new(HashAlgorithm::Sha256, b"salt").unwrap();
    let data = image(4096);
    let (tree, root) = build(&params, &data).unwrap();
    assert!(tree.is_empty());
    let expected = crypto::digest::sha256(&[b"salt", &data[..]].concat());
    assert_eq!(root.as_bytes(), expected);
    assert_eq!(verify(&params, &data, &tree, &root), Ok(()));
    assert_eq!(verify(&params, &image(4095), &tree, &root), Err(Error::CorruptData(0)));
}

#[test]
fn a_checked_tree_tells_the_digest_of_each_block_and_of_no_other() {
    let params = small_blocks();
    let data = image(512 * 20);
    let (tree, root) = build(&params, &data).unwrap();
    let tree = Tree::open(&params, data.len() as u64, &tree, &root).unwrap();
    for (number, block) in (0..).zip(data.chunks(512)) {
        let expected = crypto::digest::sha256(&[b"salt", block].concat());
        assert_eq!(tree.digest_of(number), Some(&expected[..]));
    }
    assert_eq!((tree.digest_of(20), tree.digest_of(u64::MAX)), (None, None));
}

#[test]
fn a_short_last_block_counts_as_padded_with_zeros() {
    let params = small_blocks();
    let data = image(512 * 20 + 100);
    let mut padded = data.clone();
    padded.resize(512 * 21, 0);
    assert_eq!(build(&params, &data).unwrap(), build(&params, &padded).unwrap());
}

#[test]
fn levels_lie_root_first() {
    let params = small_blocks();
    // 16 digests fit a block: 300 blocks need 19, 2 and 1 hash blocks.
    let geometry = Geometry::new(&params, 300 * 512).unwrap();
    let offsets: Vec<_> = geometry.levels().iter().map(|l| (l.offset, l.blocks)).collect();
    assert_eq!(offsets, [(3 * 512, 19), (512, 2), (0, 1)]);
    assert_eq!(geometry.tree_bytes(), 22 * 512);
}

#[test]
fn every_flipped_bit_of_data_and_tree_is_found() {
    let params = small_blocks();
    let mut data = image(512 * 17 + 3);
    let (mut tree, root) = build(&params, &data).unwrap();
    assert_eq!(tree.len(), 3 * 512);
    for bit in 0..data.len() * 8 {
        data[bit / 8] ^= 1 << (bit % 8);
        let block = (bit / 8 / 512) as u64;
        assert_eq!(verify(&params, &data, &tree, &root), Err(Error::CorruptData(block)));
        data[bit / 8] ^= 1 << (bit % 8);
    }
    for bit in 0..tree.len() * 8 {
        tree[bit / 8] ^= 1 << (bit % 8);
        assert!(verify(&params, &data, &tree, &root).is_err(), "bit {bit} of the tree");
        tree[bit / 8] ^= 1 << (bit % 8);
    }
    for bit in 0..256 {
        let mut wrong = root.as_bytes().to_vec();
        wrong[bit / 8] ^= 1 << (bit % 8);
        let wrong = RootDigest::new(HashAlgorithm::Sha256, &wrong).unwrap();
        assert_eq!(verify(&params, &data, &tree, &wrong), Err(Error::RootMismatch));
    }
}

#[test]
fn gaps_between_digests_must_be_zero() {
    let params = Params::with_block_sizes(HashAlgorithm::Sha1, b"salt", 512, 512).unwrap();
    let data = image(512 * 3);
    let (mut tree, _) = build(&params, &data).unwrap();
    tree[20] = 1;
    let mut top = [0; 20];
    top.copy_from_slice(
        verity::root_of(&params, &Geometry::new(&params, 1536).unwrap(), &tree).unwrap().as_bytes(),
    );
    let root = RootDigest::new(HashAlgorithm::Sha1, &top).unwrap();
    assert_eq!(verify(&params, &data, &tree, &root), Err(Error::TreePadding { level: 0 }));
}

#[test]
fn a_tree_of_another_size_is_refused() {
    let params = small_blocks();
    let data = image(512 * 17);
    let (mut tree, root) = build(&params, &data).unwrap();
    tree.push(0);
    assert!(matches!(verify(&params, &data, &tree, &root), Err(Error::TreeSize { .. })));
    assert!(matches!(verify(&params, &data, &[], &root), Err(Error::TreeSize { .. })));
}

#[test]
fn ranges_outside_the_data_are_refused() {
    let params = small_blocks();
    let data = image(512 * 4 + 1);
    let (tree, root) = build(&params, &data).unwrap();
    let tree = Tree::open(&params, data.len() as u64, &tree, &root).unwrap();
    assert_eq!(tree.verify_blocks(4, &data[2048..]), Ok(()));
    assert_eq!(tree.verify_blocks(1, &data[512..1536]), Ok(()));
    for (first, bytes) in [(0, 100), (5, 1), (4, 2), (0, 513), (u64::MAX, 512), (1 << 60, 512)] {
        let refused = tree.verify_blocks(first, &vec![0; bytes]);
        assert!(matches!(refused, Err(Error::Range { .. })), "{first} {bytes}: {refused:?}");
    }
}

#[test]
fn impossible_parameters_are_refused() {
    let with = |salt: usize, data, hash| {
        Params::with_block_sizes(HashAlgorithm::Sha256, &vec![0; salt], data, hash).err()
    };
    assert_eq!(with(256, 4096, 4096), None);
    assert_eq!(with(257, 4096, 4096), Some(Error::SaltTooLong(257)));
    for size in [0, 256, 1000, 4095, 131_072, u32::MAX] {
        assert_eq!(with(0, size, 4096), Some(Error::BlockSize(size)));
        assert_eq!(with(0, 4096, size), Some(Error::BlockSize(size)));
    }
    let params = small_blocks();
    assert_eq!(Geometry::new(&params, 0), Err(Error::Empty));
    assert!(Geometry::new(&params, u64::MAX).is_ok());
    assert_eq!(TreeBuilder::new(&params, u64::MAX).err(), Some(Error::TooLarge(u64::MAX)));
    assert!(RootDigest::new(HashAlgorithm::Sha512, &[0; 32]).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any split of the work gives the same tree, and the tree accepts its data by any split.
    #[test]
    fn work_may_be_split_anywhere(
        bytes in 1..60_000_usize,
        parts in 1..9_usize,
        algorithm in prop::sample::select(HashAlgorithm::ALL.to_vec()),
        format in prop::sample::select(vec![HashFormat::ChromeOs, HashFormat::Normal]),
        salt in prop::collection::vec(any::<u8>(), 0..80),
        data_block in prop::sample::select(vec![512_u32, 1024, 4096]),
        hash_block in prop::sample::select(vec![512_u32, 1024, 4096]),
    ) {
        let params = Params::with_block_sizes(algorithm, &salt, data_block, hash_block).unwrap();
        let params = params.with_format(format);
        let data = image(bytes);
        let whole = build(&params, &data).unwrap();

        let mut builder = TreeBuilder::new(&params, bytes as u64).unwrap();
        let geometry = builder.geometry().clone();
        let size = algorithm.digest_bytes();
        let leaves = builder.leaves();
        for blocks in geometry.split(parts) {
            let range = geometry.byte_range(&params, blocks.clone());
            let part = &data[range.start as usize..range.end as usize];
            let digests = &mut leaves[blocks.start as usize * size..blocks.end as usize * size];
            TreeBuilder::hash_blocks(&params, &geometry, blocks.start, part, digests).unwrap();
        }
        let (tree, root) = builder.finish();
        prop_assert_eq!((&tree, &root), (&whole.0, &whole.1));

        let opened = Tree::open(&params, bytes as u64, &tree, &root).unwrap();
        let mut covered = 0;
        for blocks in geometry.split(parts) {
            let range = geometry.byte_range(&params, blocks.clone());
            prop_assert_eq!(range.start, covered);
            covered = range.end;
            let part = &data[range.start as usize..range.end as usize];
            prop_assert_eq!(opened.verify_blocks(blocks.start, part), Ok(()));
        }
        prop_assert_eq!(covered, bytes as u64);
    }

    #[test]
    fn strange_trees_are_errors(
        tree in prop::collection::vec(any::<u8>(), 0..4096),
        data_bytes: u64,
        root: [u8; 32],
    ) {
        let params = small_blocks();
        let root = RootDigest::new(HashAlgorithm::Sha256, &root).unwrap();
        for data_bytes in [data_bytes, data_bytes % 100_000] {
            if let Ok(tree) = Tree::open(&params, data_bytes, &tree, &root) {
                prop_assert!(tree.verify_blocks(0, b"").is_ok());
                prop_assert!(tree.verify_blocks(0, &[1]).is_err());
            }
        }
    }
}
