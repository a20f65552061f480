//! Names in the backing directories.
//!
//! A name is filled with zeros to a multiple of 16 bytes and sealed with AES-256-GCM-SIV; nonce and
//! associated data are the directory's id. Base64url makes a file name of it. Where that is longer
//! than 255 bytes, the entry is called `=` and a SHA-256, and a companion file `=….n` beside it
//! holds the sealed name.

use super::keys::Keys;
use super::page::Id;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use crypto::digest::sha256;
use rustix::io::Errno;

/// The longest name, as everywhere on Linux.
pub(crate) const MAX_NAME_BYTES: usize = 255;
const PADDING: usize = 16;
const LONG_PREFIX: char = '=';
/// What the file beside a long name ends with.
const COMPANION: &str = ".n";
/// The file in each backing directory that has its id.
pub(crate) const DIRECTORY_ID: &str = ".dir";

/// How a name stands in a backing directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BackingName {
    /// The entry's name.
    pub(crate) entry: String,
    /// Of a long name: what its companion file holds.
    pub(crate) sealed: Option<Vec<u8>>,
}

/// What an entry of a backing directory is, by its name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A name that stands for itself.
    Short,
    /// A name whose text is in its companion.
    Long,
    /// The companion of a long name.
    Companion,
    /// The directory's id.
    DirectoryId,
}

impl Entry {
    pub(crate) fn of(entry: &str) -> Self {
        match entry {
            DIRECTORY_ID => Self::DirectoryId,
            _ if !entry.starts_with(LONG_PREFIX) => Self::Short,
            _ if entry.ends_with(COMPANION) => Self::Companion,
            _ => Self::Long,
        }
    }
}

/// The companion of a long entry.
pub(crate) fn companion(entry: &str) -> String {
    format!("{entry}{COMPANION}")
}

/// Names of the directory `directory`.
#[derive(Clone, Copy)]
pub(crate) struct Names<'a> {
    keys: &'a Keys,
    directory: &'a Id,
}

impl<'a> Names<'a> {
    pub(crate) const fn new(keys: &'a Keys, directory: &'a Id) -> Self {
        Self { keys, directory }
    }

    /// How `name` stands on the disk. `ENAMETOOLONG` past 255 bytes.
    pub(crate) fn backing(self, name: &[u8]) -> Result<BackingName, Errno> {
        if name.len() > MAX_NAME_BYTES {
            return Err(Errno::NAMETOOLONG);
        }
        let mut sealed = name.to_vec();
        sealed.resize(name.len().next_multiple_of(PADDING), 0);
        let tag = self.keys.names.seal_in_place(self.nonce(), self.directory, &mut sealed);
        sealed.extend(tag);
        let entry = BASE64.encode(&sealed);
        if entry.len() <= MAX_NAME_BYTES {
            return Ok(BackingName { entry, sealed: None });
        }
        let entry = format!("{LONG_PREFIX}{}", BASE64.encode(sha256(&sealed)));
        Ok(BackingName { entry, sealed: Some(sealed) })
    }

    /// The name that `entry` stands for; `companion` is what the file beside a long one holds.
    /// `None` where this directory has no such name: it was altered, or comes from elsewhere.
    pub(crate) fn plain(self, entry: &str, companion: Option<&[u8]>) -> Option<Vec<u8>> {
        let sealed = match companion {
            None => BASE64.decode(entry).ok()?,
            Some(sealed) => {
                let hash = entry.strip_prefix(LONG_PREFIX)?;
                (hash == BASE64.encode(sha256(sealed))).then(|| sealed.to_vec())?
            }
        };
        self.open(sealed)
    }

    fn open(self, mut sealed: Vec<u8>) -> Option<Vec<u8>> {
        let length =
            self.keys.names.open_in_place(self.nonce(), self.directory, &mut sealed).ok()?.len();
        sealed.truncate(length);
        let end = sealed.iter().rposition(|byte| *byte != 0)? + 1;
        sealed.truncate(end);
        let legal = end <= MAX_NAME_BYTES
            && !sealed.contains(&b'/')
            && !sealed.contains(&0)
            && sealed != b"."
            && sealed != b"..";
        legal.then_some(sealed)
    }

    fn nonce(self) -> [u8; 12] {
        *self.directory.first_chunk().expect("an id has 16 bytes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crypto::secret::Secret;
    use proptest::prelude::*;

    fn keys() -> Keys {
        Keys::new(&Secret::new([5; 32]))
    }

    proptest! {
        #[test]
        fn names_of_any_length_come_back(name in prop::collection::vec(1..=46u8, 1..=255)) {
            let keys = keys();
            let names = Names::new(&keys, &[1; 16]);
            let backing = names.backing(&name).unwrap();
            prop_assert!(backing.entry.len() <= 255);
            prop_assert_eq!(backing.sealed.is_some(), Entry::of(&backing.entry) == Entry::Long);
            let plain = names.plain(&backing.entry, backing.sealed.as_deref());
            let legal = name != b"." && name != b"..";
            prop_assert_eq!(plain, legal.then_some(name));
            let elsewhere = Names::new(&keys, &[2; 16]);
            prop_assert_eq!(elsewhere.plain(&backing.entry, backing.sealed.as_deref()), None);
        }

        #[test]
        fn hostile_entries_are_no_names(entry in ".{0,300}", companion in prop::option::of(prop::collection::vec(any::<u8>(), 0..300))) {
            let keys = keys();
            prop_assert_eq!(Names::new(&keys, &[1; 16]).plain(&entry, companion.as_deref()), None);
        }
    }

    #[test]
    fn a_name_past_255_bytes_is_too_long() {
        let keys = keys();
        assert_eq!(Names::new(&keys, &[1; 16]).backing(&[b'a'; 256]), Err(Errno::NAMETOOLONG));
    }
}
