//! bsdiff patches: `BSDIFF40` (all streams bzip2) and Android's `BSDF2` (each stream none, bzip2
//! or brotli).
//!
//! A patch is three streams. **Control** holds triples: add so many bytes of the *diff* stream to
//! bytes of the old file, copy so many bytes of the *extra* stream, then move so far in the old
//! file. Numbers are 64 bits, little-endian, sign and magnitude.

mod encode;
mod matches;
mod patch;

pub use encode::Format;
pub(crate) use encode::encode;
pub(crate) use matches::{Index, Region, Run, runs};
pub use patch::patch;

use crate::compress::Compression;

/// Magic, and the lengths of control stream, diff stream and new file.
const HEADER_BYTES: usize = 32;

/// A patch that makes `new` of `old`, in memory of a quarter of `old` besides the two.
pub fn diff(old: &[u8], new: &[u8], format: Format) -> std::io::Result<Vec<u8>> {
    let runs = runs(old, &Index::new(old), new, &[Region { new: 0, old: 0 }]);
    encode(old, new.to_vec(), &runs, |run: &Run| run.old, format)
}

/// BSDF2's number of a compression.
const fn compression(number: u8) -> Option<Compression> {
    Some(match number {
        0 => Compression::None,
        1 => Compression::Bzip2,
        2 => Compression::Brotli { quality: 11, window: 24 },
        _ => return None,
    })
}

/// A number as bsdiff writes it.
const fn number(bytes: [u8; 8]) -> i64 {
    let raw = u64::from_le_bytes(bytes);
    let magnitude = (raw & (u64::MAX >> 1)).cast_signed();
    if raw >> 63 == 0 { magnitude } else { -magnitude }
}

/// A number as bsdiff writes it.
const fn encode_number(value: i64) -> [u8; 8] {
    let sign = if value < 0 { 1 << 63 } else { 0 };
    (value.unsigned_abs() | sign).to_le_bytes()
}
