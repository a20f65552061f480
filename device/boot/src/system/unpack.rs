//! A copy of the system's files in memory, for hosts that can't serve them from the flash.

use bootimg::cpio::{Archive, Content};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink};
use std::path::Path;

/// Unpacks all of `archive` but the file `except` into the empty folder `root`.
pub fn unpack(archive: &Archive<'_>, root: &Path, except: &str) -> io::Result<()> {
    for entry in archive.entries().iter().filter(|entry| entry.path != except) {
        let path = root.join(entry.path);
        match entry.content {
            Content::Directory => DirBuilder::new().mode(entry.mode).create(&path)?,
            Content::Symlink(target) => symlink(target, &path)?,
            Content::File(bytes) => OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(entry.mode)
                .open(&path)?
                .write_all(bytes)?,
        }
    }
    Ok(())
}

/// Makes `root` an empty folder.
pub fn make_empty(root: &Path) -> io::Result<()> {
    match fs::remove_dir_all(root) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    DirBuilder::new().mode(0o700).create(root)
}
