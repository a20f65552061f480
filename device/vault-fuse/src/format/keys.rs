//! The keys of a vault, all derived from its master key (HKDF-SHA-256).

use super::page::Id;
use crypto::aead::Key;
use crypto::kdf::hkdf_sha256;
use crypto::secret::Secret;

/// The master key of a vault, as [`super::config`] releases it.
pub type MasterKey = Secret<32>;

/// What an unlocked vault works with.
pub(crate) struct Keys {
    /// Names, AES-256-GCM-SIV: the same name in the same directory always looks the same.
    pub(crate) names: Key,
    /// The ids of directories.
    pub(crate) directories: Key,
    /// The targets of symbolic links.
    pub(crate) links: Key,
    /// The names of extended attributes become file names under this key.
    pub(crate) attribute_names: Secret<32>,
    /// Extended attributes, name and value.
    pub(crate) attributes: Key,
    files: Secret<32>,
}

impl Keys {
    /// Derives them.
    pub(crate) fn new(master: &MasterKey) -> Self {
        let derive =
            |what: &[u8]| hkdf_sha256::<32>(master.expose(), &[], &[b"holdfast vault 1\0", what]);
        Self {
            names: Key::aes_256_gcm_siv(derive(b"names").expose()),
            directories: Key::aes_256_gcm(derive(b"directories").expose()),
            links: Key::aes_256_gcm(derive(b"links").expose()),
            attribute_names: derive(b"attribute names"),
            attributes: Key::aes_256_gcm(derive(b"attributes").expose()),
            files: derive(b"files"),
        }
    }

    /// The key of the file with this id: no two files share one (S3.1.1).
    pub(crate) fn file(&self, id: &Id) -> Key {
        Key::aes_256_gcm(hkdf_sha256::<32>(self.files.expose(), id, &[b"file"]).expose())
    }
}
