//! The folder of the benchmarks: 6 files of 128 MiB and 10,000 of 1 to 50 KiB, all random, about
//! 1,015 MiB; made once and always the same.

use crate::shell::root;
use anyhow::Result;
use std::fs;
use std::path::PathBuf;

const BIG: usize = 6;
const BIG_BYTES: usize = 128 << 20;
const SMALL: usize = 10_000;

/// Where it is; made where it is missing.
pub(crate) fn mixed() -> Result<PathBuf> {
    let folder = root().join("target/bench/mixed");
    if folder.join("whole").exists() {
        return Ok(folder);
    }
    eprintln!("making {}", folder.display());
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    fs::create_dir_all(&folder)?;
    for number in 0..BIG {
        fs::write(folder.join(format!("big-{number}.bin")), random.bytes(BIG_BYTES))?;
    }
    for number in 0..SMALL {
        let sub = folder.join(format!("small-{:02}", number / 100));
        fs::create_dir_all(&sub)?;
        let length = 1024 + random.next() as usize % (49 * 1024);
        fs::write(sub.join(format!("{number:05}.bin")), random.bytes(length))?;
    }
    fs::write(folder.join("whole"), "")?;
    Ok(folder)
}

/// Bytes of all files below a folder.
pub(crate) fn bytes(folder: &std::path::Path) -> Result<u64> {
    let mut open = vec![folder.to_owned()];
    let mut bytes = 0;
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_dir() { open.push(entry.path()) } else { bytes += metadata.len() }
        }
    }
    Ok(bytes)
}

/// So many random bytes, always the same.
pub(crate) fn random_bytes(length: usize) -> Vec<u8> {
    Random(0x9e37_79b9_7f4a_7c15).bytes(length)
}

/// xorshift64*: the same bytes on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }
}
