//! What an area does on the disk, below names and paths: heads, directory files, temporaries.

use crate::area::{Directory, Kind, Metadata};
use crate::content;
use crate::error::VaultError;
use crate::header::{self, Attributes, HEADER_BYTES, Header, NodeKind, Opened};
use crate::keys::{Id, Keys};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;
use snapshot::path::TreePath;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

pub(crate) const HEAD: &str = "area";
pub(crate) const HEAD_MAGIC: [u8; 8] = *b"HFVA\x01\0\0\0";
/// There while temporaries may be: from the first write on until the next open cleaned up.
pub(crate) const WRITING: &str = "writing";
/// Before the name of a temporary, which lies where its file will be.
pub(crate) const TEMPORARY: &str = ".t-";
/// The file in each directory that says what it is.
pub(crate) const DIRECTORY_FILE: &str = ".dir";
pub(crate) const OPEN: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
pub(crate) const OPEN_DIRECTORY: OFlags = OPEN.union(OFlags::DIRECTORY);

pub(crate) fn open_folder(folder: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, folder, flags, Mode::empty())
}

pub(crate) fn open_part(base: &OwnedFd, name: &str) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(base, name, OPEN_DIRECTORY, Mode::empty())
}

pub(crate) fn checked_directory(
    fd: OwnedFd,
    keys: &Keys,
    parent: &Id,
    name: &[u8],
    path: TreePath,
) -> Result<Directory, VaultError> {
    let metadata = directory_metadata(&fd, keys, parent, name, &path)?;
    Ok(Directory { fd, id: metadata.version, path })
}

pub(crate) fn directory_metadata(
    fd: &OwnedFd,
    keys: &Keys,
    parent: &Id,
    name: &[u8],
    path: &TreePath,
) -> Result<Metadata, VaultError> {
    let file = rustix::fs::openat(fd, DIRECTORY_FILE, OPEN, Mode::empty())
        .map_err(|_| VaultError::altered(path, "the directory"))?;
    let opened = read_header(&File::from(file), keys, path)?;
    if opened.header.kind != NodeKind::Directory || opened.header.binding.is_none() {
        return Err(VaultError::altered(path, "the directory"));
    }
    check_binding(keys, opened.header.binding, parent, name, path)?;
    let stat = rustix::fs::fstat(fd).map_err(|error| VaultError::system(path, error))?;
    Ok(Metadata {
        kind: Kind::Directory,
        attributes: opened.header.attributes,
        links: 1,
        inode: stat.st_ino,
        version: opened.version,
    })
}

pub(crate) fn check_binding(
    keys: &Keys,
    binding: Option<[u8; 32]>,
    directory: &Id,
    name: &[u8],
    path: &TreePath,
) -> Result<(), VaultError> {
    match binding {
        Some(binding) if binding != keys.binding(directory, name) => {
            Err(VaultError::altered(path, "the name or the place"))
        }
        _ => Ok(()),
    }
}

pub(crate) fn read_header(file: &File, keys: &Keys, path: &TreePath) -> Result<Opened, VaultError> {
    let mut bytes = [0; HEADER_BYTES];
    file.read_exact_at(&mut bytes, 0).map_err(|_| VaultError::altered(path, "the header"))?;
    header::open(keys, &bytes).ok_or_else(|| VaultError::altered(path, "the header"))
}

pub(crate) fn write_directory_file(
    directory: &OwnedFd,
    keys: &Keys,
    id: &Id,
    attributes: Attributes,
    binding: [u8; 32],
) -> rustix::io::Result<()> {
    let header = Header {
        kind: NodeKind::Directory,
        attributes,
        size: 0,
        hole_map_bytes: 0,
        binding: Some(binding),
    };
    write_new(directory, DIRECTORY_FILE, &header::seal(id, &keys.file(id), &header))
}

pub(crate) fn write_head(
    base: &OwnedFd,
    keys: &Keys,
    id: &Id,
    root_id: &Id,
) -> rustix::io::Result<()> {
    let head = [&HEAD_MAGIC[..], id, &keys.head.seal(id, root_id)].concat();
    let temporary = "area.new";
    remove_all(base, temporary)?;
    write_new(base, temporary, &head)?;
    rustix::fs::syncfs(base)?;
    rustix::fs::renameat(base, temporary, base, HEAD)?;
    rustix::fs::syncfs(base)
}

pub(crate) fn write_new(directory: &OwnedFd, name: &str, bytes: &[u8]) -> rustix::io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(directory, name, flags, Mode::from(0o600))?;
    let mut rest = bytes;
    while !rest.is_empty() {
        let written = rustix::io::write(&fd, rest)?;
        rest = &rest[written..];
    }
    Ok(())
}

/// Reads a file of at most a few kilobytes.
pub(crate) fn read_small(directory: &OwnedFd, name: &str) -> std::io::Result<Vec<u8>> {
    let file = File::from(rustix::fs::openat(directory, name, OPEN, Mode::empty())?);
    let mut bytes = Vec::new();
    file.take(content::BLOCK_BYTES as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Removes the temporaries that a killed process left.
pub(crate) fn remove_temporaries(directory: &OwnedFd) -> rustix::io::Result<()> {
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().to_str() else { continue };
        if name.starts_with(TEMPORARY) {
            remove_all(directory, name)?;
        } else if !matches!(name, "." | "..") {
            match entry.file_type() {
                FileType::RegularFile => {}
                _ => match open_part(directory, name) {
                    Ok(below) => remove_temporaries(&below)?,
                    Err(Errno::NOTDIR | Errno::LOOP) => {}
                    Err(error) => return Err(error),
                },
            }
        }
    }
    Ok(())
}

/// Removes `name` and everything in it; no error where there is nothing.
pub(crate) fn remove_all(directory: impl AsFd, name: &str) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(&directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error),
    }
    let fd = rustix::fs::openat(&directory, name, OPEN_DIRECTORY, Mode::empty())?;
    for entry in Dir::read_from(&fd)? {
        let entry = entry?;
        let child = entry.file_name();
        if let Ok(child) = child.to_str()
            && !matches!(child, "." | "..")
        {
            remove_all(&fd, child)?;
        }
    }
    rustix::fs::unlinkat(&directory, name, AtFlags::REMOVEDIR)
}
