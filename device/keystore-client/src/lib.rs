//! Keys for programs of the device (SPEC S3.2): the keystore's messages ([`api`]) and a client.
//!
//! A program names its keys by alias; they are its user's own (and its label's, where the system's
//! policy gives labels), and nobody else's. Key material stays in the TEE. There are two ways to
//! use a key:
//!
//! - through the keystore: [`Keystore::use_key`] in one request, [`Keystore::begin`] for data of
//!   any size. Works for every key;
//! - at the TEE itself: [`Keystore::open`] gives a ticket, which KeyMint's `Use` and `Begin` take
//!   in sessions of this same user ([`Keystore::tee_session`]). For many operations with one key.
//!
//! Calls block. The client makes no thread, and a fork's child connects anew.
//!
//! ```no_run
//! use keymint::{Algorithm, Authorizations, Digest, EcCurve, KeyPurpose};
//! use keystore_client::Keystore;
//! use keystore_client::api::{KeyRef, NewKey, Use};
//!
//! let keystore = Keystore::of_this_device();
//! let rules = Authorizations {
//!     purpose: [KeyPurpose::Sign].into(),
//!     algorithm: Some(Algorithm::Ec),
//!     ec_curve: Some(EcCurve::P256),
//!     digest: [Digest::Sha2_256].into(),
//!     no_auth_required: true,
//!     ..Authorizations::default()
//! };
//! keystore.generate(&NewKey::new("release", rules))?;
//! let signature = keystore.use_key(&Use {
//!     params: Authorizations { digest: [Digest::Sha2_256].into(), ..Authorizations::default() },
//!     input: b"message".into(),
//!     ..Use::of(KeyRef::alias("release"), KeyPurpose::Sign)
//! })?;
//! println!("{} bytes", signature.output.len());
//! # Ok::<(), keystore_client::Error>(())
//! ```

pub mod api;
mod error;
mod http;
mod operation;
mod query;

pub use error::{Code, Error, KeystoreCode, Refusal};
pub use operation::Operation;
pub use query::percent_encoded;

use api::{
    AddToken, AuditPage, Begin, Begun, Change, Details, Entry, Grant, Granted, Import,
    ImportWrapped, KeyInfo, KeyRef, Move, NewKey, Open, Opened, Output, Page, Provisioned, Ungrant,
    Use,
};
use http::{Answer, Body, Server};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use tee_api::keymint::KeyMint;
use tee_client::{Session, Tee};

/// The variable that names the device's socket.
pub const SOCKET_VARIABLE: &str = "HOLDFAST_SOCKET";

/// The keystore of a device.
#[derive(Debug)]
pub struct Keystore {
    server: Server,
}

impl Keystore {
    /// The one whose system has its socket at `path`. Nothing is connected yet.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { server: Server::at(path.into()) }
    }

    /// The one at [`SOCKET_VARIABLE`], else of the device on this machine: see [`socket`].
    #[must_use]
    pub fn of_this_device() -> Self {
        Self::at(socket())
    }

    /// Where the system's socket is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.server.path()
    }

    /// A session with KeyMint itself, for tickets. Each thread that works at the same time wants
    /// one of its own.
    pub fn tee_session(&self) -> Result<Session<KeyMint>, Error> {
        let beside = self.path().with_file_name("tee.sock");
        Ok(Tee::connect(beside)?.session()?)
    }

    /// Makes a key.
    pub fn generate(&self, key: &NewKey) -> Result<KeyInfo, Error> {
        self.post("/v1/keys/generate", key)
    }

    /// Takes a key in that was made outside.
    pub fn import(&self, import: &Import) -> Result<KeyInfo, Error> {
        self.post("/v1/keys/import", import)
    }

    /// Takes a key in that comes encrypted to a key of the TEE.
    pub fn import_wrapped(&self, import: &ImportWrapped) -> Result<KeyInfo, Error> {
        self.post("/v1/keys/import-wrapped", import)
    }

    /// A page of the caller's keys: those whose alias begins with `prefix`, behind `after`.
    pub fn page(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Page, Error> {
        let mut target = format!("/v1/keys?limit={limit}&prefix={}", percent_encoded(prefix));
        if let Some(after) = after {
            target += &format!("&after={}", percent_encoded(after));
        }
        self.get(&target)
    }

    /// All of the caller's keys whose alias begins with `prefix`.
    pub fn list(&self, prefix: &str) -> Result<Vec<Entry>, Error> {
        let (mut keys, mut after) = (Vec::new(), None);
        loop {
            let page = self.page(prefix, after.as_deref(), api::MAX_PAGE)?;
            keys.extend(page.keys);
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(keys),
            }
        }
    }

    /// Everything about all of the caller's keys whose alias begins with `prefix`: a request for a
    /// hundred of them.
    pub fn details(&self, prefix: &str) -> Result<Vec<KeyInfo>, Error> {
        let (mut keys, mut after) = (Vec::new(), String::new());
        loop {
            let (prefix, after_alias) = (percent_encoded(prefix), percent_encoded(&after));
            let target = format!("/v1/keys/details?prefix={prefix}&after={after_alias}");
            let page: Details = self.get(&target)?;
            keys.extend(page.keys);
            match page.next {
                Some(next) => after = next,
                None => return Ok(keys),
            }
        }
    }

    /// What a key obeys, its certificates, and who may do what with it.
    pub fn show(&self, key: &KeyRef) -> Result<KeyInfo, Error> {
        self.get(&format!("/v1/keys/show?key={}", percent_encoded(&key.to_string())))
    }

    /// Deletes a key, in the TEE too.
    pub fn delete(&self, key: &KeyRef) -> Result<(), Error> {
        let target = format!("/v1/keys?key={}", percent_encoded(&key.to_string()));
        self.ask("DELETE", &target, Body::Empty).map(drop)
    }

    /// Lets somebody else use a key of the caller's.
    pub fn grant(&self, grant: &Grant) -> Result<Granted, Error> {
        self.post("/v1/keys/grant", grant)
    }

    /// Takes a grant back.
    pub fn ungrant(&self, ungrant: &Ungrant) -> Result<(), Error> {
        self.send("POST", "/v1/keys/ungrant", ungrant).map(drop)
    }

    /// Whom a key was granted to.
    pub fn grants(&self, key: &KeyRef) -> Result<Vec<Granted>, Error> {
        self.get(&format!("/v1/keys/grants?key={}", percent_encoded(&key.to_string())))
    }

    /// Gives a key another name, or, for the system, another owner.
    pub fn move_key(&self, to: &Move) -> Result<KeyInfo, Error> {
        self.post("/v1/keys/move", to)
    }

    /// Changes a key's certificates, or what the program keeps with it.
    pub fn change(&self, change: &Change) -> Result<KeyInfo, Error> {
        self.post("/v1/keys/update", change)
    }

    /// Has the cloud certify keys that attest others, now; for the system.
    pub fn provision(&self) -> Result<Provisioned, Error> {
        decoded(&self.ask("POST", "/v1/keys/provision", Body::Empty)?)
    }

    /// Uses a key in one request: the data is at most [`api::MAX_DATA_BYTES`].
    pub fn use_key(&self, wanted: &Use) -> Result<Output, Error> {
        self.post("/v1/keys/use", wanted)
    }

    /// Begins to use a key on data of any size.
    pub fn begin(&self, begin: &Begin) -> Result<Operation<'_>, Error> {
        let begun: Begun = self.post("/v1/keys/operations", begin)?;
        Ok(Operation::new(self, begun))
    }

    /// A ticket for a key, to use it at the TEE itself.
    pub fn open(&self, open: &Open) -> Result<Opened, Error> {
        self.post("/v1/keys/open", open)
    }

    /// Hands a hardware auth token in; for the system.
    pub fn add_token(&self, token: &[u8]) -> Result<(), Error> {
        let body = AddToken { token: token.into() };
        self.send("POST", "/v1/keys/auth-tokens", &body).map(drop)
    }

    /// A page of the audit log; for the system.
    pub fn audit(&self, after: u64, limit: usize) -> Result<AuditPage, Error> {
        self.get(&format!("/v1/keys/audit?after={after}&limit={limit}"))
    }

    fn get<A: DeserializeOwned>(&self, target: &str) -> Result<A, Error> {
        decoded(&self.ask("GET", target, Body::Empty)?)
    }

    fn post<A: DeserializeOwned>(&self, target: &str, body: &impl Serialize) -> Result<A, Error> {
        decoded(&self.send("POST", target, body)?)
    }

    fn send(&self, method: &str, target: &str, body: &impl Serialize) -> Result<Vec<u8>, Error> {
        let body = serde_json::to_vec(body).map_err(|error| Error::Malformed(error.to_string()))?;
        self.ask(method, target, Body::Json(&body))
    }

    fn ask(&self, method: &str, target: &str, body: Body<'_>) -> Result<Vec<u8>, Error> {
        let Answer { status, body } = self.server.ask(method, target, body)?;
        if (200..300).contains(&status) { Ok(body) } else { Err(Error::refused(status, &body)) }
    }
}

fn decoded<A: DeserializeOwned>(body: &[u8]) -> Result<A, Error> {
    serde_json::from_slice(body).map_err(|error| Error::Malformed(error.to_string()))
}

/// The socket of this machine's device: [`SOCKET_VARIABLE`], else `device/run/holdfast.sock` in
/// the state folder (`HOLDFAST_STATE`, `$XDG_DATA_HOME/holdfast`, `~/.local/share/holdfast`).
#[must_use]
pub fn socket() -> PathBuf {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(socket) = variable(SOCKET_VARIABLE) {
        return socket.into();
    }
    let data = || match variable("XDG_DATA_HOME") {
        Some(data) => PathBuf::from(data),
        None => PathBuf::from(variable("HOME").unwrap_or_default()).join(".local/share"),
    };
    let state = variable("HOLDFAST_STATE").map_or_else(|| data().join("holdfast"), PathBuf::from);
    state.join("device/run/holdfast.sock")
}
