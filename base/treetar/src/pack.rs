//! Writes a folder as an archive.

use crate::write::Writer;
use crate::{Entry, Kind, Summary};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, SeekFrom, Stat};
use snapshot::path::TreePath;
use std::collections::HashMap;
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// How often a file that changes while it is read is written at most.
const ATTEMPTS: u32 = 3;
const BUFFER_BYTES: usize = 256 << 10;
/// More stretches than this are written as plain content.
const STRETCHES: usize = 10_000;

/// Why a folder cannot be packed at all. What is wrong with single files is in the summary.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// The folder itself cannot be read.
    #[error("the folder {folder} cannot be read: {source}")]
    Folder {
        /// Which.
        folder: String,
        /// Why.
        source: io::Error,
    },
    /// The receiver stopped.
    #[error("the archive cannot be written on: {0}")]
    Write(#[source] io::Error),
}

/// Writes everything in `folder` to `to`: sorted by name, directories before what is in them.
/// Symbolic links are not followed. A file that changes while it is read is written again, up
/// to three times, as a later entry; after that it is reported. What cannot be read or kept is
/// reported.
pub fn pack_folder(folder: &Path, to: impl Write) -> Result<Summary, PackError> {
    let unreadable = |source: rustix::io::Errno| PackError::Folder {
        folder: folder.display().to_string(),
        source: source.into(),
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(folder, flags, Mode::empty()).map_err(unreadable)?;
    let stat = rustix::fs::fstat(&root).map_err(unreadable)?;
    let mut packer = Packer {
        archive: Writer::new(to),
        summary: Summary::default(),
        links: HashMap::new(),
        buffer: vec![0; BUFFER_BYTES],
    };
    packer
        .archive
        .entry(&entry(b"./".to_vec(), Kind::Directory, &stat))
        .map_err(PackError::Write)?;
    let names = names_in(&root).map_err(unreadable)?;
    packer.directory(&root, &TreePath::root(), names)?;
    packer.archive.finish().map_err(PackError::Write)?;
    Ok(packer.summary)
}

struct Packer<W: Write> {
    archive: Writer<W>,
    summary: Summary,
    /// First names of files with several, by device and inode.
    links: HashMap<(u64, u64), TreePath>,
    buffer: Vec<u8>,
}

impl<W: Write> Packer<W> {
    fn directory(
        &mut self,
        directory: &OwnedFd,
        path: &TreePath,
        names: Vec<CString>,
    ) -> Result<(), PackError> {
        for name in names {
            let child = match path.join(name.as_bytes()) {
                Ok(child) => child,
                Err(error) => {
                    self.summary
                        .skip([path.as_bytes(), b"/", name.as_bytes()].concat(), error.to_string());
                    continue;
                }
            };
            self.child(directory, &name, &child)?;
        }
        Ok(())
    }

    fn child(
        &mut self,
        within: &OwnedFd,
        name: &CString,
        path: &TreePath,
    ) -> Result<(), PackError> {
        let stat = match rustix::fs::statat(within, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(error) => return self.unreadable(path, error),
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => self.subdirectory(within, name, path),
            FileType::RegularFile => self.file(within, name, path),
            FileType::Symlink => match rustix::fs::readlinkat(within, name, Vec::new()) {
                Ok(target) => {
                    self.summary.symlinks += 1;
                    let kind = Kind::Symlink { target: target.into_bytes() };
                    self.write(&entry(path.as_bytes().to_vec(), kind, &stat))
                }
                Err(error) => self.unreadable(path, error),
            },
            other => {
                self.summary.skip(path.as_bytes(), format!("{} is not kept", kind_name(other)));
                Ok(())
            }
        }
    }

    fn subdirectory(
        &mut self,
        within: &OwnedFd,
        name: &CString,
        path: &TreePath,
    ) -> Result<(), PackError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(within, name, flags, Mode::empty())
            .and_then(|fd| Ok((rustix::fs::fstat(&fd)?, names_in(&fd)?, fd)));
        let (stat, names, fd) = match opened {
            Ok(opened) => opened,
            Err(error) => return self.unreadable(path, error),
        };
        self.summary.dirs += 1;
        let with_slash = [path.as_bytes(), b"/"].concat();
        self.write(&entry(with_slash, Kind::Directory, &stat))?;
        self.directory(&fd, path, names)
    }

    fn file(&mut self, within: &OwnedFd, name: &CString, path: &TreePath) -> Result<(), PackError> {
        let mut counted = 0;
        for attempt in 0..ATTEMPTS {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
            let opened = rustix::fs::openat(within, name, flags, Mode::empty())
                .and_then(|fd| Ok((rustix::fs::fstat(&fd)?, File::from(fd))));
            let (stat, file) = match opened {
                Ok(opened) => opened,
                Err(error) => return self.unreadable(path, error),
            };
            if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                self.summary.skip(path.as_bytes(), "it became something else while it was read");
                return Ok(());
            }
            if attempt == 0 && stat.st_nlink > 1 && self.link(path, &stat)? {
                return Ok(());
            }
            self.summary.files += u64::from(attempt == 0);
            self.summary.bytes = self.summary.bytes - counted + stat.st_size as u64;
            counted = stat.st_size as u64;
            match self.content(path, &stat, file)? {
                Outcome::Whole => return Ok(()),
                Outcome::Unreadable(error) => {
                    self.summary.skip(path.as_bytes(), format!("cannot be read: {error}"));
                    return Ok(());
                }
                Outcome::Changed => {}
            }
        }
        let why = format!("it changed while it was read, {ATTEMPTS} times; the copy may be mixed");
        self.summary.skip(path.as_bytes(), why);
        Ok(())
    }

    /// Writes a further name of a file as a link; false for the first name.
    fn link(&mut self, path: &TreePath, stat: &Stat) -> Result<bool, PackError> {
        let Some(first) = self.links.get(&(stat.st_dev, stat.st_ino)) else {
            self.links.insert((stat.st_dev, stat.st_ino), path.clone());
            return Ok(false);
        };
        let kind = Kind::Hardlink { target: first.as_bytes().to_vec() };
        self.summary.hardlinks += 1;
        self.write(&entry(path.as_bytes().to_vec(), kind, stat))?;
        Ok(true)
    }

    fn content(
        &mut self,
        path: &TreePath,
        stat: &Stat,
        mut file: File,
    ) -> Result<Outcome, PackError> {
        let size = stat.st_size as u64;
        let head = entry(path.as_bytes().to_vec(), Kind::File { size }, stat);
        let sparse = stat.st_blocks as u64 * 512 < size;
        let stretches = if sparse { data_stretches(&file, size) } else { None };
        if let Some(stretches) = &stretches {
            self.archive.sparse(&head, size, stretches).map_err(PackError::Write)?;
        } else {
            self.write(&head)?;
        }
        let mut failure = None;
        for stretch in stretches.unwrap_or_else(|| std::iter::once(0..size).collect()) {
            if let Err(error) = self.stretch(&mut file, &stretch)? {
                failure = Some(error);
            }
        }
        let after = rustix::fs::fstat(&file).ok();
        Ok(match failure {
            Some(error) => Outcome::Unreadable(error),
            None if after.is_some_and(|after| stamp(&after) == stamp(stat)) => Outcome::Whole,
            None => Outcome::Changed,
        })
    }

    /// Writes one stretch; what the file no longer has becomes zeros.
    fn stretch(
        &mut self,
        file: &mut File,
        stretch: &Range<u64>,
    ) -> Result<io::Result<()>, PackError> {
        let mut left = stretch.end - stretch.start;
        let mut outcome = rustix::fs::seek(&*file, SeekFrom::Start(stretch.start))
            .map(drop)
            .map_err(io::Error::from);
        while left > 0 {
            let want = self.buffer.len().min(left as usize);
            let read = match outcome.as_ref().map(|()| file.read(&mut self.buffer[..want])) {
                Ok(Ok(read)) if read > 0 => read,
                Ok(Err(error)) => {
                    outcome = Err(error);
                    continue;
                }
                _ => {
                    self.buffer[..want].fill(0);
                    want
                }
            };
            self.archive.content(&self.buffer[..read]).map_err(PackError::Write)?;
            left -= read as u64;
        }
        Ok(outcome)
    }

    fn write(&mut self, entry: &Entry) -> Result<(), PackError> {
        self.archive.entry(entry).map_err(PackError::Write)
    }

    #[expect(clippy::unnecessary_wraps, reason = "ends a function that returns one")]
    fn unreadable(&mut self, path: &TreePath, error: rustix::io::Errno) -> Result<(), PackError> {
        self.summary.skip(path.as_bytes(), format!("cannot be read: {error}"));
        Ok(())
    }
}

enum Outcome {
    Whole,
    Changed,
    Unreadable(io::Error),
}

pub(crate) fn entry(path: Vec<u8>, kind: Kind, stat: &Stat) -> Entry {
    Entry {
        path,
        kind,
        mode: stat.st_mode & 0o7777,
        mtime_s: stat.st_mtime,
        mtime_ns: stat.st_mtime_nsec as u32,
        uid: stat.st_uid,
        gid: stat.st_gid,
    }
}

const fn stamp(stat: &Stat) -> (i64, i64, u64, i64, u64) {
    (stat.st_size, stat.st_mtime, stat.st_mtime_nsec, stat.st_ctime, stat.st_ctime_nsec)
}

/// The stretches of `file` that are not holes; `None` where the file system cannot tell.
fn data_stretches(file: &File, size: u64) -> Option<Vec<Range<u64>>> {
    let (mut stretches, mut at) = (Vec::new(), 0);
    while at < size {
        let start = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(start) => start.min(size),
            Err(rustix::io::Errno::NXIO) => break,
            Err(_) => return None,
        };
        let end = rustix::fs::seek(file, SeekFrom::Hole(start)).ok()?.min(size);
        if end <= start || stretches.len() == STRETCHES {
            return None;
        }
        stretches.push(start..end);
        at = end;
    }
    Some(stretches)
}

/// The names in a directory, sorted.
pub(crate) fn names_in(directory: impl AsFd) -> rustix::io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(directory)? {
        let name = entry?.file_name().to_owned();
        if !matches!(name.as_bytes(), b"." | b"..") {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

pub(crate) const fn kind_name(kind: FileType) -> &'static str {
    match kind {
        FileType::Fifo => "a fifo",
        FileType::Socket => "a socket",
        FileType::CharacterDevice => "a character device",
        FileType::BlockDevice => "a block device",
        _ => "a file of unknown type",
    }
}
