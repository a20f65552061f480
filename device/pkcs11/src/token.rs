//! What this module needs from the device: keys that lie in the TEE, records that outlive a
//! session, and PINs.

use crate::error::Result;
use crate::key::{Algorithm, Key};
use crypto::secret::Secret;
use std::sync::Arc;

/// Who logs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The security officer: makes the token, sets the user's PIN.
    Officer,
    /// The user: uses private objects.
    User,
}

/// What every private object of a token depends on. Whoever knows a PIN gets it; a key in the TEE
/// does nothing without it.
pub type TokenSecret = Secret<32>;

/// How a PIN stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PinState {
    /// One is set.
    pub set: bool,
    /// How many attempts are left.
    pub attempts: u32,
    /// How many there are at least after a right one.
    pub limit: u32,
    /// It is the screen lock's, and asked for on the trusted screen.
    pub on_screen: bool,
}

/// What a token says of itself.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// What the officer called it.
    pub label: String,
    /// 16 characters at most; changes when the token is made anew.
    pub serial: String,
    /// It was made.
    pub initialised: bool,
    /// The officer's PIN.
    pub officer: PinState,
    /// The user's PIN.
    pub user: PinState,
}

/// Names an entry of the token: a record, with a key in the TEE or without.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(pub String);

/// An entry of the token.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its name.
    pub id: EntryId,
    /// What was kept with it.
    pub record: Vec<u8>,
    /// Its key's public half, SubjectPublicKeyInfo DER.
    pub public: Option<Vec<u8>>,
}

/// What a new key may do, for good: the TEE holds it to that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Purposes {
    /// Sign, or make a MAC.
    pub sign: bool,
    /// Encrypt (secret keys).
    pub encrypt: bool,
    /// Decrypt.
    pub decrypt: bool,
    /// Agree on secrets.
    pub agree: bool,
}

/// A key that is to lie in the TEE.
#[derive(Clone, Copy)]
pub struct NewKey<'a> {
    /// Of what.
    pub algorithm: Algorithm,
    /// For what.
    pub purposes: Purposes,
    /// It works only with this.
    pub secret: Option<&'a TokenSecret>,
    /// What is kept with it.
    pub record: &'a [u8],
}

/// A device's token.
pub trait Token: Send + Sync {
    /// A device answers.
    fn is_present(&self) -> bool;

    /// How it stands; an error where no device answers.
    fn status(&self) -> Result<Status>;

    /// Makes the token: all objects go; the officer's PIN stays right, or is this one from now on.
    fn initialise(&self, pin: &[u8], label: &str) -> Result<()>;

    /// Checks a PIN, at the cost of an attempt. Without one, the device asks for it itself.
    fn log_in(&self, role: Role, pin: Option<&[u8]>) -> Result<TokenSecret>;

    /// Sets a PIN of somebody who logged in, or the user's by the officer. Without one, the screen
    /// lock's counts from now on.
    fn set_pin(&self, role: Role, secret: &TokenSecret, pin: Option<&[u8]>) -> Result<()>;

    /// All entries.
    fn entries(&self) -> Result<Vec<Entry>>;

    /// One of them; `CKR_OBJECT_HANDLE_INVALID` where it is gone.
    fn entry(&self, id: &EntryId) -> Result<Entry>;

    /// Makes an entry without a key.
    fn store(&self, record: &[u8]) -> Result<EntryId>;

    /// Replaces what is kept with an entry.
    fn replace(&self, id: &EntryId, record: &[u8]) -> Result<()>;

    /// Deletes an entry with its key.
    fn delete(&self, id: &EntryId) -> Result<()>;

    /// Makes a key.
    fn generate(&self, key: &NewKey<'_>) -> Result<Entry>;

    /// Takes a key in: PKCS #8 DER of a private key, the bytes of a secret one.
    fn import(&self, key: &NewKey<'_>, value: &[u8]) -> Result<Entry>;

    /// A key to work with.
    fn open(
        &self,
        id: &EntryId,
        algorithm: Algorithm,
        secret: Option<&TokenSecret>,
    ) -> Result<Arc<dyn Key>>;

    /// Random bytes.
    fn random(&self, out: &mut [u8]) -> Result<()>;

    /// Entropy for the TEE.
    fn seed(&self, entropy: &[u8]) -> Result<()>;
}
