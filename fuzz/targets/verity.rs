//! Hash trees: any data verifies under its own tree; a flipped bit in either does not.
#![no_main]

use libfuzzer_sys::fuzz_target;
use verity::{HashAlgorithm, Params, Tree, build};

fuzz_target!(|input: (u8, Vec<u8>, usize)| {
    let (salt, mut data, at) = input;
    let Ok(params) = Params::new(HashAlgorithm::Sha256, &vec![salt; usize::from(salt)]) else {
        return;
    };
    let Ok((tree, root)) = build(&params, &data) else { return };
    let opened = Tree::open(&params, data.len() as u64, &tree, &root).expect("its own tree");
    opened.verify_blocks(0, &data).expect("its own data");
    let bit = at % (data.len() * 8);
    data[bit / 8] ^= 1 << (bit % 8);
    assert!(opened.verify_blocks(0, &data).is_err());
});
