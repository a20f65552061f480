//! Reads that are remembered, so that a hash over the file can be tied to them.
//!
//! What decides about an update (names, rules, the manifest) is read first and hashed later. A file
//! that changes in between would be judged by bytes that nobody signed. So the pass that hashes the
//! file compares it with everything that was read before.

use payload::ReadAt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, PoisonError};

/// The most bytes that are remembered: a manifest has no more than 64 MiB.
const LIMIT: usize = 256 << 20;

/// A file, and what was read of it.
pub(crate) struct Witness<'a> {
    file: &'a File,
    seen: Mutex<Vec<(u64, Vec<u8>)>>,
}

impl<'a> Witness<'a> {
    pub(crate) const fn new(file: &'a File) -> Self {
        Self { file, seen: Mutex::new(Vec::new()) }
    }

    /// Whether these bytes of the file are those that were read before.
    pub(crate) fn agrees(&self, offset: u64, bytes: &[u8]) -> bool {
        let end = offset + bytes.len() as u64;
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter().all(|(start, read)| {
            let (from, to) = (offset.max(*start), end.min(start + read.len() as u64));
            from >= to || part(bytes, offset, from, to) == part(read, *start, from, to)
        })
    }
}

/// The bytes `from` to `to` of the file, where `bytes` begin at `base`.
fn part(bytes: &[u8], base: u64, from: u64, to: u64) -> Option<&[u8]> {
    let place = |at: u64| usize::try_from(at.checked_sub(base)?).ok();
    bytes.get(place(from)?..place(to)?)
}

impl ReadAt for Witness<'_> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let total: usize = seen.iter().map(|(_, read)| read.len()).sum();
        if total + buffer.len() > LIMIT {
            return Err(io::Error::new(io::ErrorKind::OutOfMemory, "too much is read at once"));
        }
        seen.push((offset, buffer.to_vec()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_changed_since_they_were_read_are_noticed() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(b"0123456789", 0).unwrap();
        let witness = Witness::new(&file);
        witness.read_at(2, &mut [0; 3]).unwrap();
        witness.read_at(4, &mut [0; 4]).unwrap();
        assert!(witness.read_at(8, &mut [0; 3]).is_err());
        for (offset, bytes, agrees) in [
            (0, &b"0123456789"[..], true),
            (0, b"xx234567xx", true),
            (0, b"01x3456789", false),
            (3, b"34", true),
            (7, b"x", false),
            (8, b"xx", true),
            (0, b"", true),
        ] {
            assert_eq!(witness.agrees(offset, bytes), agrees, "{offset} {bytes:?}");
        }
    }
}
