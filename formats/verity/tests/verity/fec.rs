//! Forward error correction: layout, damage that is corrected, damage that is not.

use proptest::prelude::*;
use verity::{Error, FecLayout, FecOutcome, correct_fec, encode_fec};

const BLOCK: usize = 512;

fn image(blocks: u64) -> Vec<u8> {
    (0..blocks as usize * BLOCK).map(|at| (at * 31 + at / 257 + at / 70_001) as u8).collect()
}

fn parity(layout: &FecLayout, covered: &[u8]) -> Vec<u8> {
    encode_fec(layout, covered, 0..layout.codewords()).unwrap()
}

/// The column of `block`, its parity, and what correcting says.
fn correct(
    layout: &FecLayout,
    covered: &mut [u8],
    parity: &[u8],
    block: u64,
    erased: &[u64],
) -> FecOutcome {
    let blocks: Vec<usize> = layout.column_of(block).map(|at| at as usize * BLOCK).collect();
    let mut column: Vec<u8> =
        blocks.iter().flat_map(|&at| covered[at..at + BLOCK].to_vec()).collect();
    let range = layout.parity_range(&layout.codewords_of(block));
    let parity = &parity[range.start as usize..range.end as usize];
    let outcome = correct_fec(layout, &mut column, parity, erased).unwrap();
    for (&at, bytes) in blocks.iter().zip(column.chunks_exact(BLOCK)) {
        covered[at..at + BLOCK].copy_from_slice(bytes);
    }
    outcome
}

#[test]
fn as_many_known_damaged_blocks_as_roots_are_corrected() {
    for roots in [2, 3, 8, 24] {
        let layout = FecLayout::new(512, 1000, roots).unwrap();
        let whole = image(1000);
        let parity = parity(&layout, &whole);
        let mut damaged = whole.clone();
        let blocks: Vec<u64> = layout.column_of(1).take(roots as usize).collect();
        for &block in &blocks {
            damaged[block as usize * BLOCK..][..BLOCK].fill(0xee);
        }
        let erased: Vec<u64> = blocks.iter().map(|&block| layout.row_of(block)).collect();
        let outcome = correct(&layout, &mut damaged, &parity, 1, &erased);
        assert_eq!(outcome.uncorrectable, 0, "{roots} roots");
        assert!(damaged == whole, "{roots} roots");
    }
}

#[test]
fn half_as_many_unknown_damaged_blocks_are_corrected() {
    for roots in [2, 3, 8, 24] {
        let layout = FecLayout::new(512, 1000, roots).unwrap();
        let whole = image(1000);
        let parity = parity(&layout, &whole);
        let mut damaged = whole.clone();
        for block in layout.column_of(2).skip(5).take(roots as usize / 2) {
            damaged[block as usize * BLOCK..][..BLOCK].iter_mut().for_each(|byte| *byte ^= 0x5a);
        }
        let outcome = correct(&layout, &mut damaged, &parity, 2, &[]);
        let bytes = u64::from(roots / 2) * BLOCK as u64;
        assert_eq!((outcome.corrected_bytes, outcome.uncorrectable), (bytes, 0));
        assert!(damaged == whole, "{roots} roots");
    }
}

#[test]
fn damaged_parity_is_told_from_damaged_data() {
    let layout = FecLayout::new(512, 300, 4).unwrap();
    let mut covered = image(300);
    let mut parity = parity(&layout, &covered);
    parity[0] ^= 1;
    parity[5] ^= 0x80;
    let outcome = correct(&layout, &mut covered, &parity, 0, &[]);
    assert_eq!(outcome, FecOutcome { parity_errors: 2, ..FecOutcome::default() });
    assert!(covered == image(300));
}

#[test]
fn too_much_damage_is_left_alone() {
    let layout = FecLayout::new(512, 300, 2).unwrap();
    let whole = image(300);
    let parity = parity(&layout, &whole);
    let mut damaged = whole.clone();
    let blocks: Vec<u64> = layout.column_of(0).take(3).collect();
    blocks.iter().for_each(|&block| damaged[block as usize * BLOCK..][..BLOCK].fill(0));
    let rows: Vec<u64> = blocks.iter().map(|&block| layout.row_of(block)).collect();
    let before = damaged.clone();
    let outcome = correct(&layout, &mut damaged, &parity, 0, &rows);
    assert_eq!((outcome.uncorrectable, outcome.corrected_bytes), (BLOCK as u64, 0));
    assert!(damaged == before);
}

#[test]
fn a_small_image_is_one_round() {
    let layout = FecLayout::new(512, 3, 2).unwrap();
    assert_eq!((layout.rounds(), layout.parity_bytes()), (1, 1024));
    let mut covered = image(3);
    let parity = parity(&layout, &covered);
    covered[700] ^= 0x10;
    assert_eq!(correct(&layout, &mut covered, &parity, 1, &[]).corrected_bytes, 1);
    assert!(covered == image(3));
}

#[test]
fn impossible_layouts_and_sizes_are_refused() {
    assert_eq!(FecLayout::new(4096, 10, 1), Err(Error::FecRoots(1)));
    assert_eq!(FecLayout::new(4096, 10, 25), Err(Error::FecRoots(25)));
    assert_eq!(FecLayout::new(100, 10, 2), Err(Error::BlockSize(100)));
    assert_eq!(FecLayout::new(4096, 0, 2), Err(Error::Empty));
    assert!(matches!(FecLayout::new(4096, u64::MAX, 2), Err(Error::TooLarge(_))));
    let layout = FecLayout::new(512, 10, 2).unwrap();
    assert!(matches!(encode_fec(&layout, &[0; 512], 0..512), Err(Error::FecCovered { .. })));
    assert!(matches!(encode_fec(&layout, &image(10), 0..513), Err(Error::Range { .. })));
    let refused = |column: usize, parity: usize| {
        correct_fec(&layout, &mut vec![0; column], &vec![0; parity], &[]).is_err()
    };
    assert!(refused(511, 1024) && refused(512, 1023) && refused(512 * 254, 1024));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// e known and t unknown damaged blocks with e + 2t ≤ roots are corrected.
    #[test]
    fn whatever_the_parity_bears_is_corrected(
        roots in 2..=24_u32,
        blocks in 230..700_u64,
        known in 0..=24_usize,
        unknown in 0..=12_usize,
        seed: u64,
    ) {
        let known = known.min(roots as usize);
        let unknown = unknown.min((roots as usize - known) / 2);
        let layout = FecLayout::new(512, blocks, roots).unwrap();
        let whole = image(blocks);
        let parity = parity(&layout, &whole);
        let column: Vec<u64> = layout.column_of(0).collect();
        let mut damaged = whole.clone();
        let mut order: Vec<u64> = column.clone();
        order.sort_by_key(|block| (block ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        for &block in &order[..(known + unknown).min(order.len())] {
            let bytes = &mut damaged[block as usize * BLOCK..][..BLOCK];
            bytes.iter_mut().enumerate().for_each(|(at, byte)| *byte ^= (at as u8) | 1);
        }
        let erased: Vec<u64> = order[..known].iter().map(|&block| layout.row_of(block)).collect();
        let outcome = correct(&layout, &mut damaged, &parity, 0, &erased);
        prop_assert_eq!(outcome.uncorrectable, 0);
        prop_assert!(damaged == whole);
    }

    /// Parity may be made in any pieces.
    #[test]
    fn codewords_may_be_split_anywhere(blocks in 1..600_u64, roots in 2..=24_u32, step in 1..3000_u64) {
        let layout = FecLayout::new(512, blocks, roots).unwrap();
        let covered = image(blocks);
        let mut pieces = Vec::new();
        for codewords in layout.split(step) {
            prop_assert_eq!(layout.parity_range(&codewords).start, pieces.len() as u64);
            pieces.extend(encode_fec(&layout, &covered, codewords).unwrap());
        }
        prop_assert_eq!(pieces.len() as u64, layout.parity_bytes());
        prop_assert!(pieces == parity(&layout, &covered));
    }

    #[test]
    fn strange_columns_are_no_panic(
        bytes in prop::collection::vec(any::<u8>(), 512 * 7),
        parity in prop::collection::vec(any::<u8>(), 512 * 5),
        erased in prop::collection::vec(any::<u64>(), 0..300),
    ) {
        let layout = FecLayout::new(512, 7, 5).unwrap();
        let mut column = bytes;
        let erased: Vec<u64> = erased.iter().map(|row| row % 260).collect();
        prop_assert!(correct_fec(&layout, &mut column, &parity, &erased).is_ok());
    }
}
