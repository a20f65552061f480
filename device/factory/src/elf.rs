//! The part of an executable that the loader needs.

/// Bytes of the ELF-64 header and of a program header.
const HEADER_BYTES: usize = 64;
const PROGRAM_HEADER_BYTES: usize = 56;

/// The bytes are not an executable that could be a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a 64-bit little-endian ELF executable: {0}")]
pub struct NotAnExecutable(&'static str);

/// A copy of an executable without symbols and debug information: what no program header covers
/// at its end is cut off, and the section header table, which lay there, is said to be empty.
pub fn loadable_part(program: &[u8]) -> Result<Vec<u8>, NotAnExecutable> {
    let header = program.first_chunk::<HEADER_BYTES>().ok_or(NotAnExecutable("too short"))?;
    if !header.starts_with(b"\x7fELF\x02\x01\x01") {
        return Err(NotAnExecutable("another magic, class or byte order"));
    }
    let half = |at: usize| usize::from(u16::from_le_bytes([header[at], header[at + 1]]));
    let table = number(header, 32).ok_or(NotAnExecutable("no program headers"))?;
    let (size, count) = (half(54), half(56));
    if size != PROGRAM_HEADER_BYTES || count == 0 {
        return Err(NotAnExecutable("no program headers"));
    }
    let outside = NotAnExecutable("a program header points outside the file");
    let end = table.checked_add(size * count).ok_or(outside)?;
    let headers = program.get(table..end).ok_or(outside)?;
    let mut keep = end.max(HEADER_BYTES);
    for entry in headers.chunks_exact(PROGRAM_HEADER_BYTES) {
        let (offset, length) = number(entry, 8).zip(number(entry, 32)).ok_or(outside)?;
        keep = keep.max(offset.checked_add(length).ok_or(outside)?);
    }
    let mut kept = program.get(..keep).ok_or(outside)?.to_vec();
    kept[40..48].fill(0); // e_shoff
    kept[60..64].fill(0); // e_shnum, e_shstrndx
    Ok(kept)
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let field = bytes.get(at..at + 8)?.try_into().ok()?;
    usize::try_from(u64::from_le_bytes(field)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_a_program_still_runs() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let kept = loadable_part(&own).unwrap();
        assert!(kept.len() < own.len());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("program");
        std::fs::write(&path, &kept).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o700))
            .unwrap();
        let output = std::process::Command::new(&path).arg("--list").output().unwrap();
        let list = String::from_utf8(output.stdout).unwrap();
        assert!(list.contains("what_is_left_of_a_program_still_runs"), "{list}");
    }

    #[test]
    fn refuses_what_is_no_executable() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let loaded = loadable_part(&own).unwrap().len();
        for bad in [&b""[..], b"#!/bin/sh\n", &[0; 100], &own[..100], &own[..loaded - 1]] {
            assert!(loadable_part(bad).is_err());
        }
        let mut huge = own[..4096].to_vec();
        huge[64 + 8..64 + 16].fill(0xff);
        assert!(loadable_part(&huge).is_err());
    }
}
