//! Whole images: damage to data, tree and parity.

use proptest::prelude::*;
use std::collections::BTreeSet;
use std::convert::Infallible;
use verity::{
    FecLayout, Geometry, HashAlgorithm, Media, Params, Repair, RepairReport, RootDigest, build,
    check_top, encode_fec,
};

const BLOCK: usize = 512;

struct Image {
    params: Params,
    geometry: Geometry,
    layout: FecLayout,
    root: RootDigest,
    covered: Vec<u8>,
    parity: Vec<u8>,
}

impl Image {
    fn new(blocks: usize, roots: u32) -> Self {
        let params = Params::with_block_sizes(HashAlgorithm::Sha256, b"salt", 512, 512).unwrap();
        let data: Vec<u8> = (0..blocks * BLOCK).map(|at| (at * 31 + at / 257) as u8).collect();
        let geometry = Geometry::new(&params, data.len() as u64).unwrap();
        let (tree, root) = build(&params, &data).unwrap();
        let covered = [data, tree].concat();
        let layout = FecLayout::new(512, (covered.len() / BLOCK) as u64, roots).unwrap();
        let parity = encode_fec(&layout, &covered, 0..layout.codewords()).unwrap();
        Self { params, geometry, layout, root, covered, parity }
    }

    fn damage(&mut self, block: u64) {
        let bytes = &mut self.covered[block as usize * BLOCK..][..BLOCK];
        bytes.iter_mut().enumerate().for_each(|(at, byte)| *byte = byte.wrapping_add(at as u8 | 1));
    }

    /// Every block that is not the one its parent names.
    fn wrong(&self) -> BTreeSet<u64> {
        let data_bytes = self.geometry.data_bytes() as usize;
        let (data, tree) = self.covered.split_at(data_bytes);
        let blocks = self.geometry.data_blocks();
        let mut wrong = BTreeSet::new();
        if check_top(&self.params, &self.geometry, &tree[..BLOCK], &self.root).is_err() {
            wrong.insert(blocks);
        }
        for (level, here) in self.geometry.levels().iter().enumerate() {
            for index in 0..here.blocks {
                let family = self.geometry.family(&self.params, level, index).unwrap();
                let (from, first) = match level {
                    0 => (data, family.first),
                    _ => (tree, blocks + family.children.start / BLOCK as u64),
                };
                let children = &from[family.children.start as usize..family.children.end as usize];
                let parent = &tree[family.parent.start as usize..family.parent.end as usize];
                let bad = self.params.check_family(level, 0, children, parent);
                wrong.extend(bad.into_iter().map(|at| first + at as u64));
            }
        }
        wrong
    }

    fn repair(&mut self) -> RepairReport {
        let (params, geometry) = (self.params.clone(), self.geometry.clone());
        let (layout, root) = (self.layout, self.root);
        let mut repair = Repair::new(&params, &geometry, &layout, &root).unwrap();
        self.wrong().into_iter().for_each(|block| repair.suspect(block));
        let Ok(report) = repair.run(self);
        report
    }
}

impl Media for Image {
    type Error = Infallible;

    fn read_block(&mut self, block: u64, out: &mut [u8]) -> Result<(), Infallible> {
        out.copy_from_slice(&self.covered[block as usize * BLOCK..][..BLOCK]);
        Ok(())
    }

    fn read_parity(&mut self, offset: u64, out: &mut [u8]) -> Result<(), Infallible> {
        out.copy_from_slice(&self.parity[offset as usize..][..out.len()]);
        Ok(())
    }

    fn write_block(&mut self, block: u64, bytes: &[u8]) -> Result<(), Infallible> {
        self.covered[block as usize * BLOCK..][..BLOCK].copy_from_slice(bytes);
        Ok(())
    }
}

#[test]
fn a_burst_over_data_and_tree_is_repaired() {
    let mut image = Image::new(5000, 2);
    let whole = image.covered.clone();
    // As long as a row: every codeword is hit, none more than twice.
    let rounds = image.layout.rounds();
    let blocks = image.geometry.data_blocks();
    (blocks - rounds..blocks + 3).for_each(|block| image.damage(block));
    let report = image.repair();
    assert_eq!(report.lost, BTreeSet::new());
    assert!(image.covered == whole);
}

#[test]
fn every_hash_block_can_be_repaired() {
    let mut image = Image::new(600, 2);
    let whole = image.covered.clone();
    for block in image.geometry.data_blocks()..image.layout.blocks() {
        image.damage(block);
        let report = image.repair();
        assert!(report.repaired.contains(&block) && report.lost.is_empty(), "block {block}");
        assert!(image.covered == whole);
    }
}

#[test]
fn a_tree_that_is_gone_is_made_again() {
    let mut image = Image::new(600, 2);
    let whole = image.covered.clone();
    let rounds = image.layout.rounds();
    let first = image.geometry.data_blocks();
    // Twice a row: with more, codewords have three wrong bytes.
    assert!(image.geometry.tree_blocks() > 2 * rounds);
    (first..first + 2 * rounds).for_each(|block| image.damage(block));
    assert_eq!(image.repair().lost, BTreeSet::new());
    assert!(image.covered == whole);
}

#[test]
fn what_the_parity_cannot_bring_back_is_left_and_named() {
    let mut image = Image::new(600, 2);
    let doomed: BTreeSet<u64> = image.layout.column_of(1).take(3).collect();
    doomed.iter().for_each(|&block| image.damage(block));
    image.damage(2);
    let before = image.covered.clone();
    let report = image.repair();
    assert_eq!(report.repaired, BTreeSet::from([2]));
    assert_eq!(report.lost, doomed);
    let at = 2 * BLOCK..3 * BLOCK;
    assert!(before[at.start..at.end] != image.covered[at.start..at.end]);
    assert!(before[at.end..] == image.covered[at.end..]);
}

#[test]
fn parity_of_another_image_changes_nothing() {
    let mut image = Image::new(600, 4);
    image.parity = vec![0x77; image.parity.len()];
    image.damage(5);
    let before = image.covered.clone();
    let report = image.repair();
    assert_eq!((report.repaired.len(), report.lost), (0, BTreeSet::from([5])));
    assert!(image.covered == before);
}

#[test]
fn few_wrong_bytes_in_many_blocks_are_repaired() {
    let mut image = Image::new(3000, 2);
    let whole = image.covered.clone();
    // More blocks of one column than there are roots, each wrong in another codeword.
    let blocks: Vec<u64> = image.layout.column_of(0).take(9).collect();
    for (at, block) in blocks.into_iter().enumerate() {
        image.covered[block as usize * BLOCK + at] ^= 0x40;
    }
    assert_eq!(image.repair().lost, BTreeSet::new());
    assert!(image.covered == whole);
}

#[test]
fn a_single_block_is_repaired_against_the_root_digest() {
    let params = Params::with_block_sizes(HashAlgorithm::Sha256, b"salt", 512, 512).unwrap();
    let data = vec![9; 512];
    let geometry = Geometry::new(&params, 512).unwrap();
    let (_, root) = build(&params, &data).unwrap();
    let layout = FecLayout::new(512, 1, 2).unwrap();
    let parity = encode_fec(&layout, &data, 0..512).unwrap();
    let mut image = Image { params, geometry, layout, root, covered: data, parity };
    image.damage(0);
    let (params, geometry) = (image.params.clone(), image.geometry.clone());
    let mut repair = Repair::new(&params, &geometry, &layout, &root).unwrap();
    repair.suspect(0);
    repair.suspect(77);
    let Ok(report) = repair.run(&mut image);
    assert_eq!((report.repaired, report.lost), (BTreeSet::from([0]), BTreeSet::new()));
    assert_eq!(image.covered, vec![9; 512]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is damaged: what is repaired is as it was, the rest is named and untouched.
    #[test]
    fn repair_never_makes_it_worse(
        blocks in 1..900_usize,
        roots in 2..6_u32,
        damaged in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
    ) {
        let blocks = blocks + 1;
        let mut image = Image::new(blocks, roots);
        let whole = image.covered.clone();
        let count = image.covered.len() / BLOCK;
        damaged.iter().for_each(|at| image.damage(at.index(count) as u64));
        let before = image.covered.clone();
        let report = image.repair();
        for (number, block) in (0_u64..).zip(image.covered.chunks_exact(BLOCK)) {
            let at = number as usize * BLOCK..(number as usize + 1) * BLOCK;
            if report.repaired.contains(&number) {
                prop_assert!(*block == whole[at], "block {number} was made something else");
            } else {
                prop_assert!(*block == before[at], "block {number} was touched");
            }
        }
        prop_assert_eq!(report.lost, image.wrong());
    }
}
