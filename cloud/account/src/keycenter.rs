//! What the account service asks of the Key Center (S5.1.3).

use crate::Error;
use crypto::secret::Secret;
use futures_util::future::BoxFuture;
use zeroize::Zeroizing;

/// Key for personal data: wraps the data key that seals columns.
pub const PII: &str = "pii";
/// Key for blind indexes.
pub const PII_INDEX: &str = "pii-index";
/// Key for password records.
pub const PASSWORD: &str = "password";

/// The name of the key that only this account's owner may use.
#[must_use]
pub fn user_key(account_id: &str) -> String {
    format!("user-{account_id}")
}

/// A data key and its wrapped form.
pub struct DataKey {
    /// To use now.
    pub plaintext: Secret<32>,
    /// To store.
    pub wrapped: String,
}

/// An answer that takes a moment.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, Error>>;

/// The Key Center, as seen with the account service's credential.
pub trait KeyCenter: Send + Sync {
    /// A fresh data key of 256 bits, wrapped under `key`.
    fn data_key<'a>(&'a self, key: &'a str) -> Answer<'a, DataKey>;
    /// Encrypts under `key`; `context` is authenticated with it.
    fn encrypt<'a>(
        &'a self,
        key: &'a str,
        context: &'a [u8],
        plaintext: &'a [u8],
    ) -> Answer<'a, String>;
    /// Opens what [`KeyCenter::encrypt`] made, or a wrapped data key (empty context).
    fn decrypt<'a>(
        &'a self,
        key: &'a str,
        context: &'a [u8],
        sealed: &'a str,
    ) -> Answer<'a, Zeroizing<Vec<u8>>>;
    /// HMAC-SHA-256 under the first version of `key`.
    fn hmac<'a>(&'a self, key: &'a str, input: &'a [u8]) -> Answer<'a, Vec<u8>>;
    /// Makes a user's key, which this credential cannot use. One that exists is no error.
    fn create_key<'a>(&'a self, key: &'a str) -> Answer<'a, ()>;
    /// Destroys a user's key. One that does not exist is no error.
    fn delete_key<'a>(&'a self, key: &'a str) -> Answer<'a, ()>;
    /// From now on, owner assertions under `public_key` (SubjectPublicKeyInfo DER) count.
    fn trust_assertions<'a>(&'a self, public_key: &'a [u8]) -> Answer<'a, ()>;
}
