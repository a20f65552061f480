//! A package that somebody copies over: its bytes go to the disk first, with a limit; it gets its
//! name, the SHA-256 of its bytes, once it is judged. Dropped before that, nothing of it stays.

use crate::partial::{Announced, PartialError, RESERVE_BYTES, free_bytes, remove, require_room};
use crate::state::LARGEST_BYTES;
use crypto::digest::Sha256;
use effects::durable;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const NAME: &str = "copied.part";
/// What is read, hashed and written at once.
const PIECE_BYTES: usize = 256 << 10;

/// A file that was copied over and has not been judged yet.
#[derive(Debug)]
pub struct Copied {
    folder: PathBuf,
    /// Its bytes.
    pub file: File,
    /// Its size and hash.
    pub announced: Announced,
    kept: bool,
}

/// Why a file is not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// Fewer bytes came than were announced, or the sender broke off.
    #[error("the file is truncated: {came} bytes came{}", due.map_or_else(String::new, |due| {
        format!(", and {due} were announced")
    }))]
    Truncated {
        /// Bytes that came.
        came: u64,
        /// Bytes that were announced.
        due: Option<u64>,
    },
    /// No package is so large.
    #[error("the file is larger than any package: at most {LARGEST_BYTES} bytes are taken")]
    TooLarge,
    /// No room, or the disk failed.
    #[error(transparent)]
    Disk(#[from] PartialError),
}

impl From<io::Error> for CopyError {
    fn from(error: io::Error) -> Self {
        Self::Disk(error.into())
    }
}

impl Copied {
    /// Takes all bytes of `from`, of which `due` are announced.
    pub fn take(
        folder: &Path,
        from: &mut dyn Read,
        due: Option<u64>,
        moved: &dyn Fn(u64),
    ) -> Result<Self, CopyError> {
        if due.is_some_and(|due| due > LARGEST_BYTES) {
            return Err(CopyError::TooLarge);
        }
        require_room(folder, due.unwrap_or(0))?;
        let path = folder.join(NAME);
        remove(&path)?;
        let file =
            OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        let announced = Announced { size: 0, sha256: [0; 32] };
        // From here on, whatever happens, nothing stays.
        let mut copied = Self { folder: folder.to_owned(), file, announced, kept: false };
        copied.fill(from, due, moved)?;
        Ok(copied)
    }

    fn fill(
        &mut self,
        from: &mut dyn Read,
        due: Option<u64>,
        moved: &dyn Fn(u64),
    ) -> Result<(), CopyError> {
        let (mut hash, mut came) = (Sha256::new(), 0_u64);
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let length = match from.read(&mut piece) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return Err(CopyError::Truncated { came, due }),
            };
            came += length as u64;
            match due {
                Some(due) if came > due => return Err(PartialError::Longer(due).into()),
                None if came > LARGEST_BYTES => return Err(CopyError::TooLarge),
                _ => {}
            }
            self.file.write_all(&piece[..length]).map_err(|error| self.full_or(error, came))?;
            hash.update(&piece[..length]);
            moved(came);
        }
        if due.is_some_and(|due| due != came) {
            return Err(CopyError::Truncated { came, due });
        }
        self.file.sync_all()?;
        self.announced = Announced { size: came, sha256: hash.finish() };
        Ok(())
    }

    fn full_or(&self, error: io::Error, came: u64) -> CopyError {
        if !matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) {
            return error.into();
        }
        let need = came.saturating_add(RESERVE_BYTES);
        // The room is there again once this is gone.
        PartialError::DiskFull { need, free: free_bytes(&self.folder).unwrap_or(0) }.into()
    }

    /// It was judged and is good: it gets its name.
    pub fn keep(mut self) -> Result<Announced, CopyError> {
        let whole = self.announced.whole(&self.folder);
        fs::rename(self.folder.join(NAME), &whole)?;
        durable::sync_folder_of(&whole)?;
        self.kept = true;
        Ok(self.announced)
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_file(self.folder.join(NAME));
        }
    }
}
