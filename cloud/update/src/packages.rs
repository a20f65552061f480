//! Packages as files: `<folder>/<package id>`, one file each.
//!
//! A package is written under another name in `<folder>/.incoming`, synced, renamed, and its
//! folder synced: what is there under its name is whole and stays.

use crate::error::Error;
use rustix::fs::{FallocateFlags, fallocate, fstatvfs};
use rustix::io::Errno;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

/// The folder of packages that are on their way in. No package is called so.
const INCOMING: &str = ".incoming";
/// Room that packages leave for the database.
const SPARE_BYTES: u64 = 64 << 20;

/// A folder of packages. Names are ids of ours: digits and small letters.
pub(crate) struct PackageFolder {
    folder: PathBuf,
    next: AtomicU64,
}

impl PackageFolder {
    /// Opens the folder, or makes it. What lies in it unfinished is removed.
    pub(crate) fn open(folder: PathBuf) -> Result<Self, Error> {
        let incoming = folder.join(INCOMING);
        match fs::remove_dir_all(&incoming) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::at(&incoming)(error));
            }
            _ => {}
        }
        fs::create_dir_all(&incoming).map_err(Error::at(&incoming))?;
        effects::durable::sync_folder_of(&folder).map_err(Error::at(&folder))?;
        Ok(Self { folder, next: AtomicU64::new(0) })
    }

    /// Begins a package of `size` bytes. Its room on the disk is taken now, where the file system
    /// can: a disk that is too full says so before the bytes are sent.
    pub(crate) fn begin(&self, size: u64) -> Result<Incoming, Error> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.join(INCOMING).join(number.to_string());
        let file = File::options().write(true).create_new(true).open(&path);
        let file = file.map_err(Error::at(&path))?;
        let incoming = Incoming { file, path, kept: false };
        incoming.reserve(size)?;
        Ok(incoming)
    }

    /// Makes the incoming package durable under its name.
    pub(crate) fn keep(&self, mut incoming: Incoming, package_id: &str) -> Result<(), Error> {
        let path = self.folder.join(package_id);
        incoming.file.sync_all().map_err(Error::at(&incoming.path))?;
        fs::rename(&incoming.path, &path).map_err(Error::at(&path))?;
        incoming.kept = true;
        effects::durable::sync_folder_of(&path).map_err(Error::at(&self.folder))
    }

    /// The package's file, for reading.
    pub(crate) fn open_package(&self, package_id: &str) -> Result<File, Error> {
        let path = self.folder.join(package_id);
        File::open(&path).map_err(Error::at(&path))
    }

    /// Removes a package; one that is gone is no error. Who reads it now reads on.
    pub(crate) fn remove(&self, package_id: &str) -> Result<(), Error> {
        let path = self.folder.join(package_id);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::at(&path)(error)),
            _ => Ok(()),
        }
    }

    /// The packages that lie in the folder: for finding those that nobody knows.
    pub(crate) fn all(&self) -> Result<Vec<String>, Error> {
        let entries = fs::read_dir(&self.folder).map_err(Error::at(&self.folder))?;
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        Ok(names.filter(|name| name != INCOMING).collect())
    }
}

/// A package on its way in; removed if it is not kept.
pub(crate) struct Incoming {
    file: File,
    path: PathBuf,
    kept: bool,
}

impl Incoming {
    /// A file system that has too little room is asked for none: it would first give away what it
    /// has, and the database beside it would find none.
    fn reserve(&self, size: u64) -> Result<(), Error> {
        let room = fstatvfs(&self.file).map_err(|error| Error::at(&self.path)(error.into()))?;
        if room.f_bavail.saturating_mul(room.f_frsize) < size.saturating_add(SPARE_BYTES) {
            return Err(Error::Full);
        }
        match fallocate(&self.file, FallocateFlags::KEEP_SIZE, 0, size) {
            // Not every file system can; there the write that finds no room says so.
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            Err(error) => Err(Error::at(&self.path)(error.into())),
        }
    }

    pub(crate) fn write(&mut self, piece: &[u8]) -> Result<(), Error> {
        self.file.write_all(piece).map_err(Error::at(&self.path))
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn what_is_not_kept_is_removed_and_what_a_crash_left_too() {
        let folder = tempfile::tempdir().unwrap();
        let packages = PackageFolder::open(folder.path().into()).unwrap();
        let count = || fs::read_dir(folder.path().join(INCOMING)).unwrap().count();
        let mut incoming = packages.begin(4).unwrap();
        incoming.write(b"half").unwrap();
        assert_eq!(count(), 1);
        drop(incoming);
        assert_eq!(count(), 0);
        std::mem::forget(packages.begin(4).unwrap());
        assert_eq!(count(), 1);
        PackageFolder::open(folder.path().into()).unwrap();
        assert_eq!(count(), 0);
    }

    #[test]
    fn a_disk_without_room_is_told_from_other_failures() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let nowhere = Path::new("/nowhere/at/all").to_owned();
        let mut incoming = Incoming { file: full, path: nowhere, kept: true };
        assert!(matches!(incoming.write(b"x"), Err(Error::Full)));
        // No disk has room for this.
        let folder = tempfile::tempdir().unwrap();
        let packages = PackageFolder::open(folder.path().into()).unwrap();
        assert!(matches!(packages.begin(i64::MAX as u64).map(drop), Err(Error::Full)));
        assert_eq!(fs::read_dir(folder.path().join(INCOMING)).unwrap().count(), 0);
    }
}
