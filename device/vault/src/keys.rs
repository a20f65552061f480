//! What derives from the key of an area: names, bindings, one key for each file.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use crypto::aead::Key;
use crypto::kdf::hkdf_sha256;
use crypto::mac::HmacSha256;
use crypto::secret::Secret;

/// Identifies an area, a directory, or one version of a file.
pub type Id = [u8; 32];

/// Names are padded to a multiple of this, so that their lengths say little.
const NAME_PADDING: usize = 16;
/// The longest name that file systems take.
const DISK_NAME_BYTES: usize = 255;
/// Before the hash of a name that is too long once encrypted. No base64url has a dot.
const LONG: &str = ".l-";
/// Before the same hash: the file that holds the encrypted name.
const LONG_NAME: &str = ".n-";

/// The keys of one area.
pub(crate) struct Keys {
    names: Key,
    bindings: HmacSha256,
    files: Secret<32>,
    /// Seals the area's head.
    pub(crate) head: Key,
}

/// What an entry is called on the disk.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DiskName {
    /// The name of the entry itself.
    pub(crate) name: String,
    /// Where the name was too long: name and content of the file beside it.
    pub(crate) beside: Option<(String, Vec<u8>)>,
}

impl Keys {
    pub(crate) fn new(class_key: &Secret<32>, area: &Id) -> Self {
        let derive =
            |what: &[u8]| hkdf_sha256(class_key.expose(), area, &[b"holdfast-vault-", what]);
        Self {
            names: Key::aes_256_gcm_siv(derive(b"names").expose()),
            bindings: HmacSha256::new(derive(b"bindings").expose()),
            files: derive(b"files"),
            head: Key::aes_256_gcm(derive(b"head").expose()),
        }
    }

    /// The key of one version of a file.
    pub(crate) fn file(&self, version: &Id) -> Key {
        let key = hkdf_sha256(self.files.expose(), version, &[b"holdfast-vault-file"]);
        Key::aes_256_gcm(key.expose())
    }

    /// What ties a file to its place.
    pub(crate) fn binding(&self, directory: &Id, name: &[u8]) -> [u8; 32] {
        self.bindings.tag(&[b"place", directory, name])
    }

    pub(crate) fn disk_name(&self, directory: &Id, name: &[u8]) -> DiskName {
        let sealed = self.seal_name(directory, name);
        let encoded = URL_SAFE_NO_PAD.encode(&sealed);
        if encoded.len() <= DISK_NAME_BYTES {
            return DiskName { name: encoded, beside: None };
        }
        let hash = self.long_hash(directory, name);
        DiskName {
            name: format!("{LONG}{hash}"),
            beside: Some((format!("{LONG_NAME}{hash}"), sealed)),
        }
    }

    /// The name behind a disk name. `beside` reads the file that holds a long one.
    pub(crate) fn plain_name(
        &self,
        directory: &Id,
        disk_name: &str,
        beside: impl FnOnce(&str) -> Option<Vec<u8>>,
    ) -> Option<Vec<u8>> {
        let Some(hash) = disk_name.strip_prefix(LONG) else {
            return self.open_name(directory, URL_SAFE_NO_PAD.decode(disk_name).ok()?);
        };
        let name = self.open_name(directory, beside(&format!("{LONG_NAME}{hash}"))?)?;
        (self.long_hash(directory, &name) == hash).then_some(name)
    }

    fn long_hash(&self, directory: &Id, name: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(self.bindings.tag(&[b"long", directory, name]))
    }

    fn seal_name(&self, directory: &Id, name: &[u8]) -> Vec<u8> {
        let mut buffer = name.to_vec();
        buffer.resize(name.len().next_multiple_of(NAME_PADDING), 0);
        let tag = self.names.seal_in_place(nonce_of(directory), directory, &mut buffer);
        buffer.extend_from_slice(&tag);
        buffer
    }

    fn open_name(&self, directory: &Id, mut sealed: Vec<u8>) -> Option<Vec<u8>> {
        let padded = self.names.open_in_place(nonce_of(directory), directory, &mut sealed).ok()?;
        let end = padded.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let name = padded[..end].to_vec();
        snapshot::path::check_name(&name).ok().map(|()| name)
    }
}

/// GCM-SIV may see a nonce again: equal names in one directory are one name.
fn nonce_of(directory: &Id) -> [u8; 12] {
    *directory.first_chunk().expect("an identifier has 32 bytes")
}

/// Whether an entry on the disk is one of the vault's own, not a name.
pub(crate) fn is_own(disk_name: &[u8]) -> bool {
    disk_name.starts_with(b".") && !disk_name.starts_with(LONG.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s3_1_1_names_of_every_length_survive_and_fit_the_disk() {
        let keys = Keys::new(&Secret::new([1; 32]), &[2; 32]);
        for length in 1..=255 {
            let name = vec![0xff; length];
            let disk = keys.disk_name(&[3; 32], &name);
            assert!(disk.name.len() <= 255, "{length}");
            assert!(!is_own(disk.name.as_bytes()));
            let beside = disk.beside.clone();
            let read =
                |asked: &str| beside.filter(|(name, _)| name == asked).map(|(_, sealed)| sealed);
            assert_eq!(keys.plain_name(&[3; 32], &disk.name, read), Some(name));
            let elsewhere = |_: &str| disk.beside.map(|(_, sealed)| sealed);
            assert_eq!(keys.plain_name(&[4; 32], &disk.name, elsewhere), None);
        }
    }

    #[test]
    fn equal_names_in_two_directories_look_different() {
        let keys = Keys::new(&Secret::new([1; 32]), &[2; 32]);
        assert_ne!(keys.disk_name(&[3; 32], b"x"), keys.disk_name(&[4; 32], b"x"));
        assert_ne!(keys.disk_name(&[3; 32], b"x"), keys.disk_name(&[3; 32], b"X"));
    }
}
