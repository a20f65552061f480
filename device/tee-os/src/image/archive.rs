//! The `tee` image: a newc cpio archive with the trusted OS, the system's own trusted
//! applications (each an image of its own, at the top, named as it is signed), and
//! `etc/ta-signers`: who may sign others, one SHA-256 of an AVB public-key blob a line.

use crate::mapping::Mapping;
use bootimg::cpio::{Archive, Content};
use rustix::fd::BorrowedFd;
use std::io;

const SIGNERS: &str = "etc/ta-signers";
/// The most signers that are admitted.
const MAX_SIGNERS: usize = 64;

/// The image that the trusted OS came out of, verified before it ran.
pub(crate) struct TeeImage(Mapping);

impl TeeImage {
    /// Maps the archive.
    pub(crate) fn open(image: BorrowedFd<'_>) -> io::Result<Self> {
        Mapping::of(image).map(Self)
    }

    /// Images of trusted applications, not verified yet, and the names that they go under.
    pub(crate) fn applications(&self) -> io::Result<Vec<(&str, &[u8])>> {
        let mut applications = Vec::new();
        for entry in self.archive()?.entries() {
            if let Content::File(content) = entry.content
                && entry.path.starts_with("ta-")
            {
                applications.push((entry.path, content));
            }
        }
        Ok(applications)
    }

    /// Who may sign others.
    pub(crate) fn signers(&self) -> io::Result<Vec<[u8; 32]>> {
        let archive = self.archive()?;
        archive
            .file(SIGNERS)
            .map_or_else(|| Ok(Vec::new()), |list| signers(list).map_err(malformed))
    }

    fn archive(&self) -> io::Result<Archive<'_>> {
        Archive::parse(&self.0).map_err(|error| malformed(error.to_string()))
    }
}

fn malformed(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

/// Empty lines and those that begin with `#` say nothing.
fn signers(list: &[u8]) -> Result<Vec<[u8; 32]>, String> {
    let text = std::str::from_utf8(list).map_err(|_| format!("{SIGNERS} is no text"))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut signers = Vec::new();
    for line in lines.filter(|line| !line.starts_with('#')) {
        let signer = digest(line)
            .ok_or_else(|| format!("{SIGNERS}: {line:?} is not 64 hexadecimal digits"))?;
        signers.push(signer);
    }
    if signers.len() > MAX_SIGNERS {
        return Err(format!("{SIGNERS} names more than {MAX_SIGNERS}"));
    }
    Ok(signers)
}

/// A SHA-256 from its 64 hexadecimal digits.
pub(super) fn digest(text: &str) -> Option<[u8; 32]> {
    board::argument::unhex(text)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_signers_has_one_digest_a_line() {
        let digest = "0f".repeat(32);
        let list = format!("# who\n\n{digest}\n  {digest}  \n");
        assert_eq!(signers(list.as_bytes()), Ok(vec![[0x0F; 32]; 2]));
        for bad in ["0f", "x", &format!("{digest}0f"), &digest[1..]] {
            assert!(signers(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(signers(&[0xFF]).is_err());
        assert!(signers(format!("{digest}\n").repeat(65).as_bytes()).is_err());
    }
}
