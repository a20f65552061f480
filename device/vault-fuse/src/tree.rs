//! The backing tree: directories with encrypted names.
//!
//! Whatever is made is made in the vault's folder `new` and then moved to its place: a kill leaves
//! it there whole, or not at all. What is left in `new` the next mount removes.

use crate::error::{Damage, Error, VaultError};
use crate::file::File;
use crate::format::keys::{Keys, MasterKey};
use crate::format::names::{BackingName, DIRECTORY_ID, Entry, Names, companion};
use crate::format::page::Id;
use rustix::fs::{self, AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use std::fs as std_fs;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// The folder in a vault with the tree.
pub(crate) const TREE: &str = "tree";
/// The folder in a vault with what is being made.
pub(crate) const NEW: &str = "new";
const ABOUT_DIRECTORY: &[u8] = b"directory";
const SEALED_ID_BYTES: u64 = 16 + crypto::aead::OVERHEAD_BYTES as u64;
/// The longest companion: a padded name and its tag.
const MAX_COMPANION_BYTES: u64 = 256 + 16;

/// A directory that is in use: a descriptor (`O_PATH`) and its id.
pub(crate) struct Directory {
    pub(crate) fd: OwnedFd,
    pub(crate) id: Id,
}

/// One name of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) name: Vec<u8>,
    pub(crate) entry: String,
    pub(crate) inode: u64,
    pub(crate) kind: FileType,
}

/// The backing tree of an unlocked vault.
pub(crate) struct Tree {
    pub(crate) keys: Keys,
    pub(crate) root: OwnedFd,
    new: OwnedFd,
    next: AtomicU64,
}

impl Tree {
    /// Makes an empty one in `folder`.
    pub(crate) fn create(folder: &Path, master: &MasterKey) -> Result<(), VaultError> {
        for name in [TREE, NEW] {
            let path = folder.join(name);
            fs::mkdir(&path, Mode::RWXU).map_err(|error| VaultError::at(path)(error.into()))?;
        }
        let path = folder.join(TREE).join(DIRECTORY_ID);
        let sealed = Keys::new(master).seal_directory(&crypto::random_array());
        effects::durable::replace(&path, &sealed, 0o600).map_err(VaultError::at(path))
    }

    /// Opens the one in `folder`.
    pub(crate) fn open(folder: &Path, master: &MasterKey) -> Result<Self, VaultError> {
        let open = |name| {
            let (path, flags) = (folder.join(name), OFlags::DIRECTORY | OFlags::CLOEXEC);
            fs::open(&path, flags, Mode::empty())
                .map_err(|error| VaultError::at(path)(error.into()))
        };
        let (root, new) = (open(TREE)?, open(NEW)?);
        Ok(Self { keys: Keys::new(master), root, new, next: AtomicU64::new(0) })
    }

    /// Removes what was being made when a mount was killed.
    pub(crate) fn clear_new(&self) -> Result<(), Errno> {
        for name in entries(&self.new)?.into_iter().map(|(name, ..)| name) {
            if fs::unlinkat(&self.new, &*name, AtFlags::empty()).is_err() {
                self.clear_directory(&name)?;
            }
        }
        Ok(())
    }

    /// The directory behind an `O_PATH` descriptor.
    pub(crate) fn directory(&self, fd: OwnedFd) -> Result<Directory, Error> {
        let damaged = Error::Damaged(Damage::Directory);
        let sealed = match read_small(&fd, DIRECTORY_ID, SEALED_ID_BYTES) {
            Err(Errno::NOENT) => return Err(damaged),
            read => read?,
        };
        let id = self.keys.directories.open(ABOUT_DIRECTORY, &sealed).map_err(|_| damaged)?;
        Ok(Directory { fd, id: id.try_into().map_err(|_| damaged)? })
    }

    /// How names stand in `directory`.
    pub(crate) const fn names<'a>(&'a self, directory: &'a Directory) -> Names<'a> {
        Names::new(&self.keys, &directory.id)
    }

    /// What is in `directory`. Names that do not open are given to `damaged`.
    pub(crate) fn list(
        &self,
        directory: &Directory,
        mut damaged: impl FnMut(&str),
    ) -> Result<Vec<Listed>, Errno> {
        let names = self.names(directory);
        let mut listed = Vec::new();
        for (entry, inode, kind) in entries(&directory.fd)? {
            let plain = match Entry::of(&entry) {
                Entry::DirectoryId | Entry::Companion => continue,
                Entry::Short => names.plain(&entry, None),
                Entry::Long => {
                    let companion = companion(&entry);
                    let sealed = read_companion(directory, &companion);
                    sealed.ok().and_then(|sealed| names.plain(&entry, Some(&sealed)))
                }
            };
            match plain {
                Some(name) => listed.push(Listed { name, entry, inode, kind }),
                None => damaged(&entry),
            }
        }
        Ok(listed)
    }

    /// Whether `directory` has no names.
    pub(crate) fn is_empty(&self, directory: &Directory) -> Result<bool, Errno> {
        let entries = entries(&directory.fd)?;
        let own = |entry: &str| matches!(Entry::of(entry), Entry::DirectoryId | Entry::Companion);
        Ok(entries.iter().all(|(entry, ..)| own(entry)))
    }

    /// Makes an empty file, not yet in its place.
    pub(crate) fn new_file(&self, mode: u32) -> Result<(String, File), Error> {
        let name = self.fresh();
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let fd = fs::openat(&self.new, &*name, flags, Mode::from_raw_mode(mode))?;
        Ok((name, File::create(fd.into(), &self.keys)?))
    }

    /// Makes an empty directory, not yet in its place.
    pub(crate) fn new_directory(&self) -> Result<(String, Directory), Error> {
        let name = self.fresh();
        fs::mkdirat(&self.new, &*name, Mode::RWXU)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = fs::openat(&self.new, &*name, flags, Mode::empty())?;
        let id = crypto::random_array();
        write_small(&fd, DIRECTORY_ID, &self.keys.seal_directory(&id))?;
        Ok((name, Directory { fd, id }))
    }

    /// Makes a symbolic link, not yet in its place.
    pub(crate) fn new_link(&self, target: &[u8]) -> Result<String, Errno> {
        let sealed = self.keys.seal_link(target)?;
        let name = self.fresh();
        fs::symlinkat(&*sealed, &self.new, &*name)?;
        Ok(name)
    }

    /// Makes a pipe, socket or device, not yet in its place.
    pub(crate) fn new_special(
        &self,
        kind: FileType,
        mode: u32,
        device: u64,
    ) -> Result<String, Errno> {
        let name = self.fresh();
        fs::mknodat(&self.new, &*name, kind, Mode::from_raw_mode(mode), device)?;
        Ok(name)
    }

    /// Changes the owner of what was made and has no descriptor.
    pub(crate) fn own_new(&self, made: &str, uid: u32, gid: u32) -> Result<(), Errno> {
        let (uid, gid) = (fs::Uid::from_raw(uid), fs::Gid::from_raw(gid));
        fs::chownat(&self.new, made, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
    }

    /// Moves what was made to its place. `EEXIST` where there is something.
    pub(crate) fn place(
        &self,
        made: &str,
        directory: &Directory,
        name: &BackingName,
    ) -> Result<(), Errno> {
        self.write_companion(directory, name)?;
        let (to, how) = (&directory.fd, RenameFlags::NOREPLACE);
        let placed = match fs::renameat_with(&self.new, made, to, &*name.entry, how) {
            // A file system without RENAME_NOREPLACE.
            Err(Errno::INVAL) if !exists(to, &name.entry)? => {
                fs::renameat(&self.new, made, to, &*name.entry)
            }
            Err(Errno::INVAL) => Err(Errno::EXIST),
            placed => placed,
        };
        placed.inspect_err(|_| self.discard(made))
    }

    /// Removes what was made and is not wanted any more.
    pub(crate) fn discard(&self, made: &str) {
        if fs::unlinkat(&self.new, made, AtFlags::empty()).is_err() {
            // What stays here the next mount removes.
            let _ = self.clear_directory(made);
        }
    }

    /// Writes the companion of a long name; it comes before the entry.
    pub(crate) fn write_companion(
        &self,
        directory: &Directory,
        name: &BackingName,
    ) -> Result<(), Errno> {
        let Some(sealed) = &name.sealed else { return Ok(()) };
        let made = self.fresh();
        write_small(&self.new, &made, sealed)?;
        fs::renameat(&self.new, &*made, &directory.fd, companion(&name.entry))
    }

    /// Removes the companion of a long name; it goes after the entry.
    pub(crate) fn remove_companion(&self, directory: &Directory, name: &BackingName) {
        if name.sealed.is_some() {
            // One that stays stands for nothing.
            let _ = fs::unlinkat(&directory.fd, companion(&name.entry), AtFlags::empty());
        }
    }

    /// Removes the empty directory `entry`: out of its place in one step, then for good.
    pub(crate) fn remove_directory(
        &self,
        parent: &Directory,
        entry: &str,
        directory: &Directory,
    ) -> Result<(), Errno> {
        if !self.is_empty(directory)? {
            return Err(Errno::NOTEMPTY);
        }
        let made = self.fresh();
        match fs::renameat(&parent.fd, entry, &self.new, &*made) {
            // A directory moves only where its owner may write it.
            Err(Errno::ACCESS) => {
                fs::chmodat(&parent.fd, entry, Mode::RWXU, AtFlags::empty())?;
                fs::renameat(&parent.fd, entry, &self.new, &*made)?;
            }
            moved => moved?,
        }
        let _ = self.clear_directory(&made);
        Ok(())
    }

    /// Removes a directory in `new`, which has nothing in it but files of the vault's own.
    fn clear_directory(&self, name: &str) -> Result<(), Errno> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = fs::openat(&self.new, name, flags, Mode::empty())?;
        for (entry, ..) in entries(&fd)? {
            fs::unlinkat(&fd, &*entry, AtFlags::empty())?;
        }
        fs::unlinkat(&self.new, name, AtFlags::REMOVEDIR)
    }

    fn fresh(&self) -> String {
        format!("{:x}", self.next.fetch_add(1, Ordering::Relaxed))
    }
}

fn exists(directory: &OwnedFd, entry: &str) -> Result<bool, Errno> {
    match fs::statat(directory, entry, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Entries of a directory, without `.` and `..`; those whose names are no text are none of ours.
pub(crate) fn entries(directory: impl AsFd) -> Result<Vec<(String, u64, FileType)>, Errno> {
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = fs::openat(directory, ".", flags, Mode::empty())?;
    let mut found = Vec::new();
    for entry in Dir::new(fd)? {
        let entry = entry?;
        match entry.file_name().to_str() {
            Ok("." | "..") | Err(_) => {}
            Ok(name) => found.push((name.to_owned(), entry.ino(), entry.file_type())),
        }
    }
    Ok(found)
}

/// What the companion of a long name holds.
pub(crate) fn read_companion(directory: &Directory, name: &str) -> Result<Vec<u8>, Errno> {
    read_small(&directory.fd, name, MAX_COMPANION_BYTES)
}

/// Reads a file of at most `most` bytes; a longer one comes back too long.
fn read_small(directory: &OwnedFd, name: &str, most: u64) -> Result<Vec<u8>, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file: std_fs::File = fs::openat(directory, name, flags, Mode::empty())?.into();
    let mut content = Vec::new();
    let read = file.take(most + 1).read_to_end(&mut content);
    read.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    Ok(content)
}

fn write_small(directory: &OwnedFd, name: &str, content: &[u8]) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    let mut file: std_fs::File = fs::openat(directory, name, flags, mode)?.into();
    let written = file.write_all(content);
    written.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

/// A name of a descriptor that works where `AT_EMPTY_PATH` does not.
pub(crate) fn proc_path(fd: impl AsFd) -> String {
    use std::os::fd::AsRawFd as _;
    format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())
}

/// Opens again what an `O_PATH` descriptor stands for.
pub(crate) fn reopen(fd: impl AsFd, flags: OFlags) -> Result<OwnedFd, Errno> {
    fs::openat(CWD, proc_path(fd), flags | OFlags::CLOEXEC, Mode::empty())
}

impl Keys {
    fn seal_directory(&self, id: &Id) -> Vec<u8> {
        self.directories.seal(ABOUT_DIRECTORY, id)
    }
}
