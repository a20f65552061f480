//! Checking a vault without mounting it: every name, page, block, link and attribute.

use crate::error::{Damage, Error, VaultError};
use crate::file::{File, Scratch};
use crate::format::keys::MasterKey;
use crate::format::names::{DIRECTORY_ID, Entry, companion};
use crate::tree::{Directory, Tree, entries, read_companion};
use crate::vault::hold;
use rustix::fs::{self, FileType, Mode, OFlags};
use rustix::io::Errno;
use serde::Serialize;
use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// What a check found.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// Directories that were gone through.
    pub directories: u64,
    /// Files whose every block was read.
    pub files: u64,
    /// Symbolic links and special files.
    pub others: u64,
    /// Bytes of content.
    pub bytes: u64,
    /// What was altered.
    pub problems: Vec<Problem>,
}

/// Something in a vault that is not what was written there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Its path in the vault; encrypted names where the plain ones do not open.
    pub path: PathBuf,
    /// Its path on the disk, below the vault's folder.
    pub backing: PathBuf,
    /// What is wrong with it.
    pub what: String,
}

/// Checks the vault in `folder`, which must not be mounted.
pub fn check(folder: &Path, master: &MasterKey) -> Result<Checked, VaultError> {
    let _lock = hold(folder)?;
    let tree = Tree::open(folder, master)?;
    let mut check = Check {
        tree: &tree,
        checked: Checked::default(),
        seen: HashSet::new(),
        scratch: Scratch::new(),
        room: vec![0; 1 << 20],
    };
    let root = open(&tree.root, ".", OFlags::PATH);
    let root = root.map_err(|error| VaultError::at(folder)(error.into()))?;
    let place = At { plain: PathBuf::new(), backing: PathBuf::from(crate::tree::TREE) };
    check.directory(root, &place);
    Ok(check.checked)
}

/// A place, in the vault and on the disk.
struct At {
    plain: PathBuf,
    backing: PathBuf,
}

impl At {
    fn below(&self, plain: &[u8], entry: &str) -> Self {
        use std::os::unix::ffi::OsStrExt as _;
        let plain = self.plain.join(std::ffi::OsStr::from_bytes(plain));
        Self { plain, backing: self.backing.join(entry) }
    }
}

struct Check<'a> {
    tree: &'a Tree,
    checked: Checked,
    /// Files with several names are read once.
    seen: HashSet<u64>,
    scratch: Scratch,
    room: Vec<u8>,
}

impl Check<'_> {
    fn directory(&mut self, fd: OwnedFd, at: &At) {
        self.checked.directories += 1;
        let directory = match self.tree.directory(fd) {
            Ok(directory) => directory,
            Err(error) => return self.problem(at, error),
        };
        let found = match entries(&directory.fd) {
            Ok(found) => found,
            Err(error) => return self.problem(at, error.into()),
        };
        for (entry, inode, kind) in found {
            let plain = match Entry::of(&entry) {
                _ if entry == DIRECTORY_ID => continue,
                Entry::DirectoryId | Entry::Companion => continue,
                Entry::Short => self.tree.names(&directory).plain(&entry, None),
                Entry::Long => read_companion(&directory, &companion(&entry))
                    .ok()
                    .and_then(|it| self.tree.names(&directory).plain(&entry, Some(&it))),
            };
            let below = at.below(plain.as_deref().unwrap_or(entry.as_bytes()), &entry);
            if plain.is_none() {
                self.problem(&below, Error::Damaged(Damage::Name));
            }
            if let Err(error) = self.entry(&directory, &entry, inode, kind, &below) {
                self.problem(&below, error);
            }
        }
    }

    fn entry(
        &mut self,
        directory: &Directory,
        entry: &str,
        inode: u64,
        kind: FileType,
        at: &At,
    ) -> Result<(), Error> {
        match kind {
            FileType::Directory => {
                self.directory(open(&directory.fd, entry, OFlags::PATH)?, at);
                Ok(())
            }
            FileType::RegularFile if !self.seen.insert(inode) => Ok(()),
            FileType::RegularFile => {
                self.checked.files += 1;
                let fd = open(&directory.fd, entry, OFlags::RDONLY)?;
                self.file(&File::open(fd.into(), &self.tree.keys)?, at);
                Ok(())
            }
            FileType::Symlink => {
                self.checked.others += 1;
                let sealed = fs::readlinkat(&directory.fd, entry, Vec::new())?;
                let target = self.tree.keys.open_link(sealed.as_bytes());
                target.map(drop).ok_or(Error::Damaged(Damage::Link))
            }
            _ => {
                self.checked.others += 1;
                Ok(())
            }
        }
    }

    /// Reads a whole file. After a block that does not open it goes on with the next.
    fn file(&mut self, file: &File, at: &At) {
        let size = file.size();
        self.checked.bytes += size;
        let mut offset = 0;
        while offset < size {
            let mut room = std::mem::take(&mut self.room);
            match file.read(offset, &mut room, &mut self.scratch) {
                Ok(length) => offset += (length as u64).max(1),
                Err(error) => {
                    self.problem(at, error);
                    offset = behind(error, offset + room.len() as u64);
                }
            }
            self.room = room;
        }
    }

    fn problem(&mut self, at: &At, error: Error) {
        self.checked.problems.push(Problem {
            path: at.plain.clone(),
            backing: at.backing.clone(),
            what: error.to_string(),
        });
    }
}

/// Where to go on after an error.
fn behind(error: Error, otherwise: u64) -> u64 {
    use crate::format::layout::{BLOCK_BYTES, GROUP_BYTES};
    match error {
        Error::Damaged(Damage::Block(block)) => (block + 1) * BLOCK_BYTES as u64,
        Error::Damaged(Damage::Tags(group)) => (group + 1) * GROUP_BYTES as u64,
        _ => otherwise,
    }
}

fn open(directory: &OwnedFd, entry: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    fs::openat(directory, entry, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}
