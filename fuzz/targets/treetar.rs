//! tar archives from strangers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use treetar::read::{Chunk, Reader};

fuzz_target!(|data: &[u8]| {
    let mut archive = Reader::new(data);
    let mut buffer = [0; 512];
    while let Ok(Some(_)) = archive.next_entry() {
        while let Ok(Chunk::Data(length)) = archive.chunk(&mut buffer) {
            assert!(length <= buffer.len());
        }
    }
});
