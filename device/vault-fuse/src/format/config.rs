//! `vault.json`: how a password, and a key of the device, become the master key.
//!
//! ```json
//! {"format":"holdfast-vault-1","id":"…","argon2id":{"memory_kib":65536,"passes":3,"lanes":4,
//!  "salt":"…"},"device_key":null,"sealed_key":"…"}
//! ```
//! Key-encryption key = HKDF-SHA-256(Argon2id(password) ‖ the device's secret, salt: id). It seals
//! the master key with AES-256-GCM; all other fields are associated data. A new password seals the
//! same master key anew: no file changes.

use super::keys::MasterKey;
use crate::error::VaultError;
use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use crypto::aead::Key;
use crypto::kdf::hkdf_sha256;
use crypto::secret::Secret;
use effects::durable;
use serde::{Deserialize, Serialize};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The file's name.
pub(crate) const CONFIG: &str = "vault.json";
const FORMAT: &str = "holdfast-vault-1";
/// A longer file is none of ours.
const MAX_BYTES: u64 = 64 * 1024;
/// What an altered file may make us spend at most: 1 GiB, and some seconds.
const MAX_MEMORY_KIB: u32 = 1 << 20;
const MAX_PASSES: u32 = 64;
const MAX_LANES: u32 = 64;

/// What a guess of the password costs (Argon2id, RFC 9106).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl Default for Cost {
    /// RFC 9106's second recommendation: 64 MiB, three passes, four lanes.
    fn default() -> Self {
        Self { memory_kib: 64 * 1024, passes: 3, lanes: 4 }
    }
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Argon2id {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: String,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    format: String,
    id: String,
    argon2id: Argon2id,
    device_key: Option<String>,
    sealed_key: String,
}

/// A vault's `vault.json`.
pub struct Config {
    path: PathBuf,
    fields: Fields,
}

impl Config {
    /// Makes a new one for the vault in `folder`, with its master key; nothing is written yet.
    /// `device` is the alias of a key in the TEE, and what that key makes of the vault's id.
    pub fn create(
        folder: &Path,
        id: &str,
        password: &[u8],
        cost: Cost,
        device: Option<(&str, &Secret<32>)>,
    ) -> Result<(Self, MasterKey), VaultError> {
        let argon2id = Argon2id {
            memory_kib: cost.memory_kib,
            passes: cost.passes,
            lanes: cost.lanes,
            salt: BASE64.encode(crypto::random_array::<16>()),
        };
        let fields = Fields {
            format: FORMAT.to_owned(),
            id: id.to_owned(),
            argon2id,
            device_key: device.map(|(alias, _)| alias.to_owned()),
            sealed_key: String::new(),
        };
        let mut config = Self { path: folder.join(CONFIG), fields };
        let master = MasterKey::random();
        config.seal(&master, password, device.map(|(_, secret)| secret))?;
        Ok((config, master))
    }

    /// A fresh id for a vault.
    #[must_use]
    pub fn fresh_id() -> String {
        crypto::random_array::<16>().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Reads the one in `folder`.
    pub fn read(folder: &Path) -> Result<Self, VaultError> {
        let path = folder.join(CONFIG);
        let file = match std::fs::File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(VaultError::NoVault(folder.to_owned()));
            }
            Err(error) => return Err(VaultError::at(path)(error)),
        };
        let mut text = Vec::new();
        file.take(MAX_BYTES).read_to_end(&mut text).map_err(VaultError::at(&path))?;
        let fields: Fields = serde_json::from_slice(&text)
            .map_err(|error| wrong(&path, format!("it is malformed: {error}")))?;
        if fields.format != FORMAT {
            return Err(wrong(&path, format!("format {:?} is not known", fields.format)));
        }
        Ok(Self { path, fields })
    }

    /// Puts it on the disk, in one step.
    pub fn write(&self) -> Result<(), VaultError> {
        let mut text = serde_json::to_vec_pretty(&self.fields).expect("strings become JSON");
        text.push(b'\n');
        durable::replace(&self.path, &text, 0o600).map_err(VaultError::at(&self.path))
    }

    /// The vault's id: 32 hexadecimal digits.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.fields.id
    }

    /// The alias of the device's key without which the vault does not open.
    #[must_use]
    pub fn device_key(&self) -> Option<&str> {
        self.fields.device_key.as_deref()
    }

    /// The master key. `device` is what the device's key makes of the vault's id.
    pub fn unlock(
        &self,
        password: &[u8],
        device: Option<&Secret<32>>,
    ) -> Result<MasterKey, VaultError> {
        if self.fields.device_key.is_some() && device.is_none() {
            return Err(VaultError::NeedsDevice);
        }
        let sealed = BASE64
            .decode(&self.fields.sealed_key)
            .map_err(|_| wrong(&self.path, "the sealed key is no base64".into()))?;
        let key = Zeroizing::new(
            self.key(password, device)?
                .open(&self.associated(), &sealed)
                .map_err(|_| VaultError::WrongPassword)?,
        );
        MasterKey::from_slice(&key).map_err(|_| VaultError::WrongPassword)
    }

    /// Seals the master key under a new password, with a new salt.
    pub fn change_password(
        &mut self,
        master: &MasterKey,
        password: &[u8],
        device: Option<&Secret<32>>,
    ) -> Result<(), VaultError> {
        self.fields.argon2id.salt = BASE64.encode(crypto::random_array::<16>());
        self.seal(master, password, device)
    }

    fn seal(
        &mut self,
        master: &MasterKey,
        password: &[u8],
        device: Option<&Secret<32>>,
    ) -> Result<(), VaultError> {
        let sealed = self.key(password, device)?.seal(&self.associated(), master.expose());
        self.fields.sealed_key = BASE64.encode(sealed);
        Ok(())
    }

    /// All fields but the sealed key.
    fn associated(&self) -> Vec<u8> {
        let fields = Fields { sealed_key: String::new(), ..self.fields.clone() };
        serde_json::to_vec(&fields).expect("strings become JSON")
    }

    fn key(&self, password: &[u8], device: Option<&Secret<32>>) -> Result<Key, VaultError> {
        let cost = &self.fields.argon2id;
        let within = cost.memory_kib <= MAX_MEMORY_KIB
            && cost.passes <= MAX_PASSES
            && cost.lanes <= MAX_LANES;
        let params = within
            .then(|| Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32)).ok())
            .flatten()
            .ok_or_else(|| wrong(&self.path, "the cost of a password is out of range".into()))?;
        let salt = BASE64
            .decode(&cost.salt)
            .map_err(|_| wrong(&self.path, "the salt is no base64".into()))?;
        let mut secret = Zeroizing::new(vec![0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(password, &salt, &mut secret)
            .map_err(|error| wrong(&self.path, error.to_string()))?;
        if let Some(device) = device {
            secret.extend_from_slice(device.expose());
        }
        let key = hkdf_sha256::<32>(&secret, self.fields.id.as_bytes(), &[b"holdfast vault key"]);
        Ok(Key::aes_256_gcm(key.expose()))
    }
}

fn wrong(path: &Path, what: String) -> VaultError {
    VaultError::Config { path: path.to_owned(), what }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: Cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };

    #[test]
    fn the_right_password_and_device_open_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let device = Secret::new([4; 32]);
        let id = Config::fresh_id();
        let bound = Some(("vault", &device));
        let (config, master) = Config::create(folder.path(), &id, b"right", CHEAP, bound).unwrap();
        config.write().unwrap();
        let mut config = Config::read(folder.path()).unwrap();
        assert_eq!((config.id(), config.device_key()), (id.as_str(), Some("vault")));
        let opened = config.unlock(b"right", Some(&device)).unwrap();
        assert_eq!(opened.expose(), master.expose());
        assert!(matches!(config.unlock(b"right", None), Err(VaultError::NeedsDevice)));
        for (password, device) in [(&b"wrong"[..], [4; 32]), (b"right", [5; 32])] {
            let refused = config.unlock(password, Some(&Secret::new(device)));
            assert!(matches!(refused, Err(VaultError::WrongPassword)));
        }
        config.change_password(&master, b"new", Some(&device)).unwrap();
        assert!(config.unlock(b"right", Some(&device)).is_err());
        assert_eq!(config.unlock(b"new", Some(&device)).unwrap().expose(), master.expose());
    }

    #[test]
    fn an_altered_file_opens_nothing_and_costs_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (config, _) = Config::create(folder.path(), "00", b"right", CHEAP, None).unwrap();
        config.write().unwrap();
        let path = folder.path().join(CONFIG);
        let text = std::fs::read_to_string(&path).unwrap();
        let altered = [
            text.replace("\"passes\": 1", "\"passes\": 2"),
            text.replace("\"memory_kib\": 8", "\"memory_kib\": 4294967295"),
            text.replace("\"id\": \"00\"", "\"id\": \"01\""),
            text.replace("vault-1", "vault-2"),
            text.replace("\"device_key\": null", "\"device_key\": null, \"x\": 1"),
            text[..text.len() / 2].to_owned(),
            "a".repeat(200_000),
        ];
        for text in altered {
            std::fs::write(&path, &text).unwrap();
            let opened = Config::read(folder.path()).and_then(|it| it.unlock(b"right", None));
            assert!(opened.is_err(), "{}", &text[..text.len().min(300)]);
        }
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(Config::read(folder.path()), Err(VaultError::NoVault(_))));
    }
}
