//! Payloads: any bytes open or are refused, any operation of one that opens applies or is refused,
//! and a delta makes the new image.
#![no_main]

use libfuzzer_sys::fuzz_target;
use payload::{Payload, WriteAt, apply, bsdiff};

/// A partition that takes everything.
struct Nowhere;

impl WriteAt for Nowhere {
    fn write_at(&self, _: u64, _: &[u8]) -> std::io::Result<()> {
        Ok(())
    }
}

fuzz_target!(|input: &[u8]| {
    if let Ok(payload) = Payload::open(input, input.len() as u64) {
        let zeros = vec![0; 1 << 20];
        for update in &payload.manifest().partitions {
            let size = update.new_partition_info.as_ref().expect("it was checked").size;
            for operation in update.operations.iter().filter(|_| size <= 1 << 24) {
                let blob = payload.blob(operation);
                let blob = &input[blob.start as usize..blob.end as usize];
                let mut operation = operation.clone();
                operation.data_sha256_hash = Some(crypto::digest::sha256(blob).to_vec());
                operation.src_sha256_hash = None;
                let _ = apply(&operation, blob, Some(&zeros), &Nowhere);
            }
        }
    }
    let (old, new) = input.split_at(input.len() / 2);
    let patch = bsdiff::diff(old, new, bsdiff::Format::Bsdf2).expect("memory");
    let mut made = Vec::new();
    bsdiff::patch(old, &patch, new.len() as u64, &mut made).expect("our own patch");
    assert_eq!(made, new);
    let _ = bsdiff::patch(old, new, 1 << 16, &mut std::io::sink());
    let _ = payload::signature::decode(input);
});
