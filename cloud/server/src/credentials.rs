//! The credentials that the cloud hands out on its first start, one 0600 file each: `maker.json`
//! for who enrols devices and publishes updates, `developer.json` for who sends messages,
//! `attestation.json` for who admits relying parties, `clerk.json` for who registers persons.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use effects::{Entropy, durable, random_array};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;

/// A credential: who it is for, and the bearer token.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Credential {
    pub(crate) name: String,
    pub(crate) credential: String,
}

impl Credential {
    /// The one in the file, or a fresh one that is put there.
    pub(crate) fn load_or_make(path: &Path, name: &str, entropy: &dyn Entropy) -> io::Result<Self> {
        match std::fs::read(path) {
            Ok(json) => serde_json::from_slice(&json).map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let credential = URL_SAFE_NO_PAD.encode(random_array::<32>(entropy));
                let made = Self { name: name.to_owned(), credential };
                durable::replace(path, &serde_json::to_vec(&made)?, 0o600)?;
                Ok(made)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether `token` is the credential, in constant time.
    pub(crate) fn matches(&self, token: &str) -> bool {
        crypto::constant_time_eq(self.credential.as_bytes(), token.as_bytes())
    }
}
