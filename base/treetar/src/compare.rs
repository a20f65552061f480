//! Compares an archive with a folder.

use crate::pack::{kind_name, names_in};
use crate::read::{Chunk, ReadError, Reader};
use crate::{Entry, Kind};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use snapshot::path::TreePath;
use std::collections::{HashMap, HashSet};
use std::ffi::CStr;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

const BUFFER_BYTES: usize = 256 << 10;

/// One thing in which an archive and a folder are not the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Where, raw.
    pub path: Vec<u8>,
    /// What differs, for people.
    pub what: String,
    /// The folder has something there that an archive of ours does not keep, or that cannot be
    /// read: a socket, say.
    pub unkept: bool,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", String::from_utf8_lossy(&self.path), self.what)
    }
}

/// Why the two cannot be compared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompareError {
    /// The archive.
    #[error(transparent)]
    Archive(#[from] ReadError),
    /// The folder.
    #[error("the folder {folder} cannot be read: {source}")]
    Folder {
        /// Which.
        folder: String,
        /// Why.
        source: std::io::Error,
    },
}

/// Lists every difference between the archive `from` and `folder`: names, bytes, modes, times
/// to the nanosecond, link targets, and which names are one file. What a folder can have but an
/// archive of ours cannot (sockets, fifos, devices) counts as missing in the archive. Owners are
/// not compared. Of an entry that comes twice, each is compared.
///
/// Memory grows with the number of names, not with sizes.
pub fn compare_tar_with_folder(
    from: impl Read,
    folder: &Path,
) -> Result<Vec<Difference>, CompareError> {
    let unreadable = |source: rustix::io::Errno| CompareError::Folder {
        folder: folder.display().to_string(),
        source: source.into(),
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(folder, flags, Mode::empty()).map_err(unreadable)?;
    let mut comparison = Comparison {
        root,
        seen: HashSet::new(),
        inodes: HashMap::new(),
        found: Vec::new(),
        buffers: (vec![0; BUFFER_BYTES], vec![0; BUFFER_BYTES]),
    };
    let mut archive = Reader::new(from);
    while let Some(entry) = archive.next_entry()? {
        comparison.entry(&entry, &mut archive)?;
    }
    comparison.missing_under(&TreePath::root()).map_err(unreadable)?;
    Ok(comparison.found)
}

struct Comparison {
    root: OwnedFd,
    /// What the archive has.
    seen: HashSet<TreePath>,
    /// For each file of the folder with several names: the archive's file for it.
    inodes: HashMap<(u64, u64), TreePath>,
    found: Vec<Difference>,
    buffers: (Vec<u8>, Vec<u8>),
}

impl Comparison {
    fn entry<R: Read>(&mut self, entry: &Entry, archive: &mut Reader<R>) -> Result<(), ReadError> {
        let Ok(path) = TreePath::lenient(&entry.path) else {
            self.differs(&entry.path, "the archive's path leaves the folder");
            return Ok(());
        };
        self.seen.insert(path.clone());
        let Ok(stat) = self.stat(&path) else {
            self.differs(path.as_bytes(), "is in the archive but not in the folder");
            return Ok(());
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        match (&entry.kind, kind) {
            (Kind::Directory, FileType::Directory) => {}
            (Kind::File { size }, FileType::RegularFile) => {
                self.separate(&path, &stat);
                self.content(&path, *size, &stat, archive)?;
            }
            (Kind::Symlink { target }, FileType::Symlink) => {
                let at_folder = rustix::fs::readlinkat(&self.root, at(&path), Vec::new());
                if at_folder.is_ok_and(|folder| folder.as_bytes() != target) {
                    self.differs(path.as_bytes(), "the link points elsewhere");
                }
            }
            (Kind::Hardlink { target }, FileType::RegularFile) => {
                self.linked(&path, target, &stat);
                // Mode and time are those of the file itself.
                return Ok(());
            }
            (archive, _) => {
                self.differs(
                    path.as_bytes(),
                    format!("is {} in the archive, {kind:?} in the folder", named(archive)),
                );
                return Ok(());
            }
        }
        self.attributes(&path, entry, &stat);
        Ok(())
    }

    fn attributes(&mut self, path: &TreePath, entry: &Entry, stat: &Stat) {
        // Linux gives every symbolic link the same mode.
        let has_mode = !matches!(entry.kind, Kind::Symlink { .. });
        if has_mode && stat.st_mode & 0o7777 != entry.mode {
            let what = format!(
                "mode {:o} in the archive, {:o} in the folder",
                entry.mode,
                stat.st_mode & 0o7777
            );
            self.differs(path.as_bytes(), what);
        }
        let (seconds, nanoseconds) = (stat.st_mtime, stat.st_mtime_nsec as u32);
        if (seconds, nanoseconds) != (entry.mtime_s, entry.mtime_ns) {
            let what = format!(
                "time {}.{:09} in the archive, {seconds}.{nanoseconds:09} in the folder",
                entry.mtime_s, entry.mtime_ns
            );
            self.differs(path.as_bytes(), what);
        }
    }

    fn content<R: Read>(
        &mut self,
        path: &TreePath,
        size: u64,
        stat: &Stat,
        archive: &mut Reader<R>,
    ) -> Result<(), ReadError> {
        if size != stat.st_size as u64 {
            let what = format!("{size} bytes in the archive, {} in the folder", stat.st_size);
            self.differs(path.as_bytes(), what);
            return Ok(());
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.root, at(path), flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(error) => {
                self.differs(path.as_bytes(), format!("cannot be read in the folder: {error}"));
                return Ok(());
            }
        };
        if let Some(at) = self.first_difference(&file, archive)? {
            self.differs(path.as_bytes(), format!("the content differs near byte {at}"));
        }
        Ok(())
    }

    fn first_difference<R: Read>(
        &mut self,
        file: &File,
        archive: &mut Reader<R>,
    ) -> Result<Option<u64>, ReadError> {
        let (theirs, ours) = &mut self.buffers;
        let mut position = 0;
        loop {
            match archive.chunk(theirs)? {
                Chunk::End => return Ok(None),
                Chunk::Data(length) => {
                    let same = file.read_exact_at(&mut ours[..length], position).is_ok();
                    if !same || ours[..length] != theirs[..length] {
                        return Ok(Some(position));
                    }
                    position += length as u64;
                }
                Chunk::Hole(length) => {
                    if !zero_at(file, position, length, ours) {
                        return Ok(Some(position));
                    }
                    position += length;
                }
            }
        }
    }

    /// Two entries with content must not be one file in the folder.
    fn separate(&mut self, path: &TreePath, stat: &Stat) {
        if stat.st_nlink < 2 {
            return;
        }
        let first = self.inodes.insert((stat.st_dev, stat.st_ino), path.clone());
        if let Some(first) = first.filter(|first| first != path) {
            self.differs(
                path.as_bytes(),
                format!("is the same file as {first} in the folder only"),
            );
        }
    }

    fn linked(&mut self, path: &TreePath, target: &[u8], stat: &Stat) {
        let first = self.inodes.get(&(stat.st_dev, stat.st_ino));
        if TreePath::lenient(target).ok().as_ref() != first {
            let target = String::from_utf8_lossy(target).into_owned();
            self.differs(
                path.as_bytes(),
                format!("is the same file as {target} in the archive only"),
            );
        }
    }

    fn missing_under(&mut self, directory: &TreePath) -> rustix::io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.root, at(directory), flags, Mode::empty())?;
        for name in names_in(&fd)? {
            let Ok(path) = directory.join(name.as_bytes()) else {
                self.differs(name.as_bytes(), "has a path too long for an archive");
                continue;
            };
            let stat = rustix::fs::statat(&fd, &name, AtFlags::SYMLINK_NOFOLLOW)?;
            let kind = FileType::from_raw_mode(stat.st_mode);
            let missing = !self.seen.contains(&path);
            if missing && let Some(why) = why_unkept(&fd, &name, kind) {
                self.found.push(Difference {
                    path: path.as_bytes().to_vec(),
                    what: why,
                    unkept: true,
                });
                continue;
            }
            if missing {
                self.differs(path.as_bytes(), "is in the folder but not in the archive");
            }
            if kind == FileType::Directory
                && let Err(error) = self.missing_under(&path)
            {
                self.differs(path.as_bytes(), format!("cannot be read in the folder: {error}"));
            }
        }
        Ok(())
    }

    /// Never follows a symbolic link, not even on the way.
    fn stat(&self, path: &TreePath) -> rustix::io::Result<Stat> {
        let mut above = TreePath::root();
        for name in path.names() {
            let stat = rustix::fs::statat(&self.root, at(&above), AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                return Err(rustix::io::Errno::NOTDIR);
            }
            above = above.join(name).map_err(|_| rustix::io::Errno::NAMETOOLONG)?;
        }
        rustix::fs::statat(&self.root, at(path), AtFlags::SYMLINK_NOFOLLOW)
    }

    fn differs(&mut self, path: &[u8], what: impl Into<String>) {
        self.found.push(Difference { path: path.to_vec(), what: what.into(), unkept: false });
    }
}

/// Why an archive does not have what the folder has under `name`, where it cannot.
fn why_unkept(within: &OwnedFd, name: &CStr, kind: FileType) -> Option<String> {
    if !matches!(kind, FileType::RegularFile | FileType::Directory | FileType::Symlink) {
        return Some(format!("{} is not kept", kind_name(kind)));
    }
    if kind == FileType::Symlink {
        return None;
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(within, name, flags, Mode::empty());
    opened.err().map(|error| format!("cannot be read: {error}"))
}

fn at(path: &TreePath) -> &[u8] {
    if path.is_root() { b"." } else { path.as_bytes() }
}

fn zero_at(file: &File, mut position: u64, mut length: u64, buffer: &mut [u8]) -> bool {
    use rustix::fs::SeekFrom;
    while length > 0 {
        // Passes over the folder's own holes.
        match rustix::fs::seek(file, SeekFrom::Data(position)) {
            Err(rustix::io::Errno::NXIO) => return true,
            Ok(data) if data >= position + length => return true,
            Ok(data) => {
                length -= data - position;
                position = data;
            }
            Err(_) => {}
        }
        let take = buffer.len().min(length as usize);
        if file.read_exact_at(&mut buffer[..take], position).is_err()
            || !snapshot::block::is_zero(&buffer[..take])
        {
            return false;
        }
        position += take as u64;
        length -= take as u64;
    }
    true
}

const fn named(kind: &Kind) -> &'static str {
    match kind {
        Kind::File { .. } => "a file",
        Kind::Directory => "a directory",
        Kind::Symlink { .. } => "a symbolic link",
        Kind::Hardlink { .. } => "a hard link",
        Kind::Other(what) => what,
    }
}
