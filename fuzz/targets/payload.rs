//! Payloads: any bytes open or are refused, any operation of one that opens applies or is refused,
//! what the device computes stays inside its partition, and a delta makes the new image.
#![no_main]

use libfuzzer_sys::fuzz_target;
use payload::{Computed, Payload, ReadAt, WriteAt, apply, bsdiff};

/// A partition of so many bytes, all zero, that forgets what is written.
struct Zeros(u64);

impl Zeros {
    fn reach(&self, offset: u64, bytes: usize) {
        assert!(offset + bytes as u64 <= self.0, "inside the partition");
    }
}

impl ReadAt for Zeros {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        self.reach(offset, buffer.len());
        buffer.fill(0);
        Ok(())
    }
}

impl WriteAt for Zeros {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> std::io::Result<()> {
        self.reach(offset, bytes.len());
        Ok(())
    }
}

fuzz_target!(|input: &[u8]| {
    if let Ok(payload) = Payload::open(input, input.len() as u64) {
        for update in &payload.manifest().partitions {
            let size = update.new_partition_info.as_ref().expect("it was checked").size;
            if size > 1 << 24 {
                continue;
            }
            let target = Zeros(size);
            if let Some(computed) = Computed::of(update).expect("it was checked") {
                computed.write(&target).expect("inside the partition");
            }
            let source = update.old_partition_info.as_ref().map(|info| Zeros(info.size));
            let source = source.as_ref().filter(|it| it.0 <= 1 << 24).map(|it| it as &dyn ReadAt);
            for operation in &update.operations {
                let blob = payload.blob(operation);
                let blob = &input[blob.start as usize..blob.end as usize];
                let mut operation = operation.clone();
                operation.data_sha256_hash = Some(crypto::digest::sha256(blob).to_vec());
                operation.src_sha256_hash = None;
                let _ = apply(&operation, blob, source, &target);
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
