//! Packs as files: `<folder>/<account>/<first two digits>/<name>`, one file each.
//!
//! A pack is written under another name in `<folder>/incoming`, synced, renamed, and its folder
//! synced: what is there under its name is whole and stays.

use crate::error::Error;
use snapshot::block::PackId;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// The folder of packs that are on their way in. No account can be called so.
const INCOMING: &str = ".incoming";
/// The longest name of an account.
const MAX_ACCOUNT_BYTES: usize = 128;

/// A folder of packs.
pub(crate) struct PackFolder {
    folder: PathBuf,
    next: AtomicU64,
}

impl PackFolder {
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
        Ok(Self { folder, next: AtomicU64::new(0) })
    }

    /// Begins a pack, whose name is not known before its end.
    pub(crate) fn begin(&self) -> Result<Incoming, Error> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.join(INCOMING).join(number.to_string());
        let file = File::options().write(true).create_new(true).open(&path);
        let file = file.map_err(Error::at(&path))?;
        Ok(Incoming { file, path, kept: false })
    }

    /// The pack's file, for reading.
    pub(crate) fn open_pack(&self, account: &str, name: &PackId) -> Result<File, Error> {
        let path = self.path(account, name)?;
        File::open(&path).map_err(Error::at(&path))
    }

    /// Makes the incoming pack durable under its name.
    pub(crate) fn keep(
        &self,
        mut incoming: Incoming,
        account: &str,
        name: &PackId,
    ) -> Result<(), Error> {
        let path = self.path(account, name)?;
        let folder = path.parent().expect("a pack lies in a folder");
        make_folder(folder).map_err(Error::at(folder))?;
        incoming.file.sync_all().map_err(Error::at(&incoming.path))?;
        fs::rename(&incoming.path, &path).map_err(Error::at(&path))?;
        incoming.kept = true;
        sync(folder).map_err(Error::at(folder))
    }

    /// Removes a pack; one that is gone is no error.
    pub(crate) fn remove(&self, account: &str, name: &PackId) -> Result<(), Error> {
        let path = self.path(account, name)?;
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::at(&path)(error)),
            _ => Ok(()),
        }
    }

    /// Removes all packs of an account.
    pub(crate) fn remove_account(&self, account: &str) -> Result<(), Error> {
        let path = self.folder.join(check_account(account)?);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::at(&path)(error));
            }
            _ => {}
        }
        sync(&self.folder).map_err(Error::at(&self.folder))
    }

    /// The packs that lie in the folder, by account: for finding those that nobody knows.
    pub(crate) fn all(&self) -> Result<Vec<(String, PackId)>, Error> {
        let mut found = Vec::new();
        for account in entries(&self.folder)?.filter(|name| check_account(name).is_ok()) {
            let account_folder = self.folder.join(&account);
            for digits in entries(&account_folder)? {
                let names = entries(&account_folder.join(digits))?;
                let names = names.filter_map(|name| name.parse().ok());
                found.extend(names.map(|name| (account.clone(), name)));
            }
        }
        Ok(found)
    }

    fn path(&self, account: &str, name: &PackId) -> Result<PathBuf, Error> {
        let name = name.to_string();
        Ok(self.folder.join(check_account(account)?).join(&name[..2]).join(&name))
    }
}

/// A name that is one folder, and no other than its own.
pub(crate) fn check_account(account: &str) -> Result<&str, Error> {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    let fits = !account.is_empty() && account.len() <= MAX_ACCOUNT_BYTES;
    if fits && account.bytes().all(good) { Ok(account) } else { Err(Error::Account) }
}

fn entries(folder: &Path) -> Result<impl Iterator<Item = String> + use<>, Error> {
    let entries = fs::read_dir(folder).map_err(Error::at(folder))?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()))
}

/// Makes the folder and its parents; each new name is durable.
fn make_folder(folder: &Path) -> io::Result<()> {
    match fs::create_dir(folder) {
        Ok(()) => folder.parent().map_or(Ok(()), sync),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let parent = folder.parent().ok_or(error)?;
            make_folder(parent)?;
            make_folder(folder)
        }
        Err(error) => Err(error),
    }
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// A pack on its way in; removed if it is not kept.
pub(crate) struct Incoming {
    file: File,
    path: PathBuf,
    kept: bool,
}

impl Incoming {
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

    #[test]
    fn accounts_name_folders_of_their_own() {
        for good in ["a", "A-1_b", &"x".repeat(128)] {
            assert!(check_account(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", ".incoming", "a/b", "a b", "ä", "a\0", &"x".repeat(129)] {
            assert!(check_account(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_not_kept_is_removed_and_what_is_left_behind_too() {
        let folder = tempfile::tempdir().unwrap();
        let packs = PackFolder::open(folder.path().into()).unwrap();
        let count = || fs::read_dir(folder.path().join(INCOMING)).unwrap().count();
        let mut incoming = packs.begin().unwrap();
        incoming.write(b"half").unwrap();
        assert_eq!(count(), 1);
        drop(incoming);
        assert_eq!(count(), 0);
        std::mem::forget(packs.begin().unwrap());
        assert_eq!(count(), 1);
        PackFolder::open(folder.path().into()).unwrap();
        assert_eq!(count(), 0);
    }
}
