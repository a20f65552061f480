//! Hash trees: any data verifies under its own tree; a flipped bit in either does not.
//! Superblocks: what is read is written the same. Parity: a damaged block of each codeword comes
//! back, and nothing panics on strange parity.
#![no_main]

use libfuzzer_sys::fuzz_target;
use verity::{
    FecLayout, HashAlgorithm, HashFormat, Params, Superblock, Tree, build, correct_fec, encode_fec,
};

fuzz_target!(|input: &[u8]| {
    // One byte of choice, eight of place, then data.
    let Some((head, data)) = input.split_first_chunk::<9>() else { return };
    let choice = head[0];
    let at = usize::from_le_bytes(*head.last_chunk().expect("eight of nine"));
    let mut data = data.to_vec();
    superblock(&data);
    if data.is_empty() {
        return;
    }
    parity(choice, &data, at);
    let algorithm = HashAlgorithm::ALL[usize::from(choice) % 4];
    let Ok(params) = Params::with_block_sizes(algorithm, &vec![choice; usize::from(choice)], 512, 512)
    else {
        return;
    };
    let params = params.with_format(HashFormat::from_number(at as u32 & 1).expect("0 or 1"));
    let (tree, root) = build(&params, &data).expect("there is data");
    let opened = Tree::open(&params, data.len() as u64, &tree, &root).expect("its own tree");
    opened.verify_blocks(0, &data).expect("its own data");
    let bit = at % (data.len() * 8);
    data[bit / 8] ^= 1 << (bit % 8);
    assert!(opened.verify_blocks(0, &data).is_err());
});

fn superblock(bytes: &[u8]) {
    let Some(bytes) = bytes.first_chunk() else { return };
    if let Ok(superblock) = Superblock::decode(bytes) {
        assert_eq!(superblock.encode().expect("it was read"), *bytes);
        let _ = (superblock.params().expect("it was read"), superblock.data_bytes());
    }
}

fn parity(choice: u8, data: &[u8], at: usize) {
    let mut covered = data.to_vec();
    covered.resize(data.len().next_multiple_of(512).min(512 * 300), 0);
    let blocks = (covered.len() / 512) as u64;
    let Ok(layout) = FecLayout::new(512, blocks, u32::from(choice) % 28) else { return };
    let good = encode_fec(&layout, &covered, layout.codewords_of(0)).expect("it fits");
    let rows: Vec<usize> = layout.column_of(0).map(|block| block as usize * 512).collect();
    let whole: Vec<u8> = rows.iter().flat_map(|&row| covered[row..row + 512].to_vec()).collect();
    let mut column = whole.clone();
    let row = at % rows.len();
    column[row * 512..][..512].iter_mut().for_each(|byte| *byte ^= choice | 1);
    let damaged = column.clone();
    correct_fec(&layout, &mut column, &good, &[row as u64]).expect("good sizes");
    assert!(column == whole);
    // Strange parity and strange erasures.
    let strange: Vec<u8> = data.iter().copied().cycle().take(good.len()).collect();
    let erased: Vec<u64> = data.iter().take(at % 30).map(|&row| u64::from(row)).collect();
    column = damaged;
    let _ = correct_fec(&layout, &mut column, &strange, &erased);
}
