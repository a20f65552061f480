//! The root key: RSA-4096, wraps the master key and does nothing else (SPEC S5.1.3).

use crypto::oaep::WrappingKey;
use effects::durable;
use std::io;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";

/// What holds the root key: a hardware security module, or what stands in for one.
pub trait RootKey: Send + Sync {
    /// Wraps a key of up to 446 bytes.
    fn wrap(&self, key: &[u8]) -> Result<Vec<u8>, Error>;
    /// Unwraps it.
    fn unwrap(&self, wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error>;
    /// What it is, for people.
    fn describe(&self) -> String;
}

/// Why the root key did not do it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Its file cannot be read or written.
    #[error("the root key {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Its file holds no RSA-4096 key.
    #[error(
        "the root key {0} is damaged; restore it from its backup: without it no key of this \
         Key Center can be opened"
    )]
    Damaged(PathBuf),
    /// The database was sealed under a root key that is gone.
    #[error(
        "the root key {0} is missing, but there are keys sealed under it; restore it from its \
         backup"
    )]
    Missing(PathBuf),
    /// It refused; the wrapped key is another's or was altered.
    #[error("the root key does not open the master key: {0}")]
    Refused(crypto::Error),
}

/// A root key in a file (PKCS#8 PEM, its owner's alone): what stands in for a hardware security
/// module where there is none.
pub struct SoftwareHsm {
    path: PathBuf,
    key: WrappingKey,
}

impl SoftwareHsm {
    /// The key in the file; `None` where there is no file.
    pub fn load(path: &Path) -> Result<Option<Self>, Error> {
        let pem = match std::fs::read_to_string(path) {
            Ok(pem) => Zeroizing::new(pem),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::File { path: path.to_path_buf(), source }),
        };
        let key = parse(&pem).ok_or_else(|| Error::Damaged(path.to_path_buf()))?;
        Ok(Some(Self { path: path.to_path_buf(), key }))
    }

    /// A fresh key, durable before it is used.
    pub fn make(path: &Path) -> Result<Self, Error> {
        let key = WrappingKey::generate().map_err(Error::Refused)?;
        let body = Zeroizing::new(STANDARD.encode(key.to_pkcs8()));
        let mut pem = Zeroizing::new(String::with_capacity(body.len() + body.len() / 64 + 64));
        pem.push_str(BEGIN);
        for line in body.as_bytes().chunks(64) {
            pem.push('\n');
            pem.push_str(std::str::from_utf8(line).expect("base64 is ASCII"));
        }
        pem.push('\n');
        pem.push_str(END);
        pem.push('\n');
        durable::replace(path, pem.as_bytes(), 0o600)
            .map_err(|source| Error::File { path: path.to_path_buf(), source })?;
        Ok(Self { path: path.to_path_buf(), key })
    }
}

fn parse(pem: &str) -> Option<WrappingKey> {
    let body = pem.trim().strip_prefix(BEGIN)?.strip_suffix(END)?;
    let body: Zeroizing<String> =
        Zeroizing::new(body.chars().filter(|c| !c.is_ascii_whitespace()).collect());
    let der = Zeroizing::new(STANDARD.decode(body.as_bytes()).ok()?);
    WrappingKey::from_pkcs8(&der).ok().filter(|key| key.bits() == 4096)
}

impl RootKey for SoftwareHsm {
    fn wrap(&self, key: &[u8]) -> Result<Vec<u8>, Error> {
        self.key.wrap(key).map_err(Error::Refused)
    }

    fn unwrap(&self, wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        self.key.unwrap(wrapped).map_err(Error::Refused)
    }

    fn describe(&self) -> String {
        format!("RSA-4096 in {} (software)", self.path.display())
    }
}
