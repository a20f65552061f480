//! The `tee` image: a newc cpio archive with the TAs and their data.

use crate::mapping::Mapping;
use board::exec;
use bootimg::cpio::{Archive, Content};
use rustix::fd::{BorrowedFd, OwnedFd};
use std::io;
use tee_api::gatekeeper::Gatekeeper;
use tee_api::keymint::KeyMint;
use tee_api::{Protocol, TaId};

/// TAs whose identifiers the OS knows by itself. Another one brings its own: 16 bytes in
/// `etc/ta/<name>`.
const KNOWN: [(&str, TaId); 2] = [(KeyMint::NAME, KeyMint::TA), (Gatekeeper::NAME, Gatekeeper::TA)];

/// A trusted application's executable.
pub(crate) struct Program {
    /// As `ta-keymint`.
    pub(crate) name: String,
    /// Who it is.
    pub(crate) id: TaId,
    /// A sealed memfd.
    pub(crate) file: OwnedFd,
}

/// Takes the TAs out of the image: every top-level file whose name starts with `ta-`.
pub(crate) fn programs(image: BorrowedFd<'_>) -> io::Result<Vec<Program>> {
    let malformed = |reason: String| io::Error::new(io::ErrorKind::InvalidData, reason);
    let image = Mapping::of(image)?;
    let archive = Archive::parse(&image).map_err(|error| malformed(error.to_string()))?;
    let mut programs = Vec::new();
    for entry in archive.entries() {
        let Content::File(content) = entry.content else { continue };
        if !entry.path.starts_with("ta-") {
            continue;
        }
        let id = identifier(entry.path, &archive).ok_or_else(|| {
            malformed(format!("etc/ta/{} with its 16-byte identifier is missing", entry.path))
        })?;
        let file = exec::sealed(entry.path, content)?;
        programs.push(Program { name: entry.path.to_owned(), id, file });
    }
    Ok(programs)
}

fn identifier(name: &str, archive: &Archive<'_>) -> Option<TaId> {
    let known = KNOWN.iter().find(|(known, _)| *known == name).map(|(_, id)| *id);
    let brought = || Some(TaId(archive.file(&format!("etc/ta/{name}"))?.try_into().ok()?));
    known.or_else(brought)
}
