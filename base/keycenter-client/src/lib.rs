//! How a program asks the Key Center: a client of Vault's Transit HTTP API and of the two ways
//! to sign in to it (AppRole, JWT).
//!
//! ```no_run
//! # async fn example() -> Result<(), keycenter_client::Error> {
//! use keycenter_client::{Credential, KeyCenter, KeyType};
//! # let (url, ca, jwt) = ("https://localhost:8200", b"", String::new());
//! let client = http_link::Client::new(url, ca, http_link::Connector::Tcp)?;
//! let keys = KeyCenter::new(client, Credential::owner_once(jwt));
//! let data_key = keys.data_key("user-42").await?;
//! # Ok(()) }
//! ```
//!
//! Tokens are fetched when they are needed and again shortly before they end. Plaintexts, keys
//! and credentials are wiped from the buffers of this crate; what TLS and HTTP hold for a
//! moment is theirs.
//!
//! Not covered: signing keys, export and import, everything that an administrator does.

mod credential;
mod error;
mod key;
mod message;
#[cfg(test)]
mod tests;
mod transport;

pub use credential::{Assertions, Credential};
pub use error::{Error, ItemRefused};
pub use key::{DataKey, KeyInfo, KeyType};
pub use transport::{Answer, Transport};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use credential::Token;
use effects::{Clock, SystemClock};
use http::Method;
use message::{BatchAnswer, BatchItem, BatchQuestion, Data, Wiped};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::sync::Arc;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

/// The most items in one batch; longer ones are sent in parts.
const BATCH: usize = 256;

/// A signed-in caller of the Key Center.
pub struct KeyCenter<T = http_link::Client> {
    transport: T,
    credential: Credential,
    clock: Arc<dyn Clock>,
    token: Mutex<Option<Token>>,
}

impl<T: Transport> KeyCenter<T> {
    /// A caller that will sign in with `credential` when it first asks for something.
    pub fn new(transport: T, credential: Credential) -> Self {
        Self::with_clock(transport, credential, Arc::new(SystemClock::default()))
    }

    /// The same with a clock of the caller's.
    pub fn with_clock(transport: T, credential: Credential, clock: Arc<dyn Clock>) -> Self {
        Self { transport, credential, clock, token: Mutex::new(None) }
    }

    /// Makes a key. One that is there already stays as it is.
    pub async fn create_key(&self, name: &str, kind: KeyType) -> Result<(), Error> {
        let path = key_path("transit/keys", name)?;
        self.tell(Method::POST, &path, &json!({"type": kind})).await
    }

    /// Destroys a key with all its versions: what it sealed is gone. One that is gone already is
    /// no error.
    pub async fn delete_key(&self, name: &str) -> Result<(), Error> {
        let path = key_path("transit/keys", name)?;
        let allowed = json!({"deletion_allowed": true});
        let mut done = self.tell(Method::POST, &format!("{path}/config"), &allowed).await;
        if done.is_ok() {
            done = self.tell(Method::DELETE, &path, &json!({})).await;
        }
        match done {
            Err(Error::Refused { status: 400, .. }) if self.key(name).await?.is_none() => Ok(()),
            done => done,
        }
    }

    /// What is known of a key; `None` where there is none.
    pub async fn key(&self, name: &str) -> Result<Option<KeyInfo>, Error> {
        let path = key_path("transit/keys", name)?;
        match self.ask::<Data<KeyInfo>>(Method::GET, &path, &()).await {
            Ok(answer) => Ok(Some(answer.data)),
            Err(Error::Refused { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A fresh 256-bit data key, with the form of it that can be stored.
    pub async fn data_key(&self, name: &str) -> Result<DataKey, Error> {
        let path = key_path("transit/datakey/plaintext", name)?;
        let answer: Data<message::DataKeyAnswer> =
            self.ask(Method::POST, &path, &json!({"bits": 256})).await?;
        DataKey::from_answer(answer.data)
    }

    /// Unwraps a data key that [`KeyCenter::data_key`] gave.
    pub async fn unwrap_data_key(&self, name: &str, wrapped: &str) -> Result<DataKey, Error> {
        let bytes = self.decrypt(name, wrapped, b"").await?;
        DataKey::from_bytes(&bytes, wrapped.to_owned())
    }

    /// Seals `plaintext`; `associated_data` must be given again to open it.
    pub async fn encrypt(
        &self,
        name: &str,
        plaintext: &[u8],
        associated_data: &[u8],
    ) -> Result<String, Error> {
        let mut sealed = self.encrypt_batch(name, &[(plaintext, associated_data)]).await?;
        sealed.pop().ok_or_else(|| Error::Answer("no item came back".to_owned()))?.map_err(single)
    }

    /// Opens what [`KeyCenter::encrypt`] sealed.
    pub async fn decrypt(
        &self,
        name: &str,
        ciphertext: &str,
        associated_data: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let mut opened = self.decrypt_batch(name, &[(ciphertext, associated_data)]).await?;
        opened.pop().ok_or_else(|| Error::Answer("no item came back".to_owned()))?.map_err(single)
    }

    /// Seals many (plaintext, associated data) at once; one that is refused does not hold up
    /// the others.
    pub async fn encrypt_batch(
        &self,
        name: &str,
        items: &[(&[u8], &[u8])],
    ) -> Result<Vec<Result<String, ItemRefused>>, Error> {
        let items = items.iter().map(|(plaintext, associated_data)| BatchItem {
            plaintext: Some(Wiped::encode(plaintext)),
            associated_data: associated(associated_data),
            ..BatchItem::default()
        });
        self.batch("transit/encrypt", name, items.collect(), |item| item.ciphertext).await
    }

    /// Opens many (ciphertext, associated data) at once.
    pub async fn decrypt_batch(
        &self,
        name: &str,
        items: &[(&str, &[u8])],
    ) -> Result<Vec<Result<Zeroizing<Vec<u8>>, ItemRefused>>, Error> {
        let items = items.iter().map(|(ciphertext, associated_data)| BatchItem {
            ciphertext: Some((*ciphertext).to_owned()),
            associated_data: associated(associated_data),
            ..BatchItem::default()
        });
        self.batch("transit/decrypt", name, items.collect(), |item| item.plaintext?.decode()).await
    }

    /// Seals many ciphertexts anew under the newest version of the key.
    pub async fn rewrap_batch(
        &self,
        name: &str,
        items: &[(&str, &[u8])],
    ) -> Result<Vec<Result<String, ItemRefused>>, Error> {
        let items = items.iter().map(|(ciphertext, associated_data)| BatchItem {
            ciphertext: Some((*ciphertext).to_owned()),
            associated_data: associated(associated_data),
            ..BatchItem::default()
        });
        self.batch("transit/rewrap", name, items.collect(), |item| item.ciphertext).await
    }

    /// HMAC-SHA-256 of each input under a key of the Key Center (`vault:v1:…`).
    pub async fn hmac_batch(
        &self,
        name: &str,
        inputs: &[&[u8]],
    ) -> Result<Vec<Result<String, ItemRefused>>, Error> {
        let items = inputs
            .iter()
            .map(|input| BatchItem { input: Some(Wiped::encode(input)), ..BatchItem::default() });
        self.batch("transit/hmac", name, items.collect(), |item| item.hmac).await
    }

    /// HMAC-SHA-256 of `input`; see [`KeyCenter::hmac_batch`].
    pub async fn hmac(&self, name: &str, input: &[u8]) -> Result<String, Error> {
        let mut tags = self.hmac_batch(name, &[input]).await?;
        tags.pop().ok_or_else(|| Error::Answer("no item came back".to_owned()))?.map_err(single)
    }

    /// Registers the key (SubjectPublicKeyInfo DER, P-256) whose owner assertions are believed,
    /// and who issues them. The Key Center takes one such key; the same again is no error.
    pub async fn configure_jwt(&self, public_key: &[u8], issuer: &str) -> Result<(), Error> {
        let body = STANDARD.encode(public_key);
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n");
        let config = json!({
            "jwt_validation_pubkeys": [pem],
            "jwt_supported_algs": ["ES256"],
            "bound_issuer": issuer,
        });
        let path = "auth/jwt/config";
        match self.ask::<Data<serde_json::Value>>(Method::GET, path, &()).await {
            Ok(there) if message::agrees(&there.data, &config) => Ok(()),
            Ok(_) | Err(Error::Refused { status: 404, .. }) => {
                self.tell(Method::POST, path, &config).await
            }
            Err(error) => Err(error),
        }
    }

    /// The text of an access policy: what its holders may do.
    pub async fn policy(&self, name: &str) -> Result<String, Error> {
        let path = key_path("sys/policies/acl", name)?;
        let answer: Data<message::PolicyAnswer> = self.ask(Method::GET, &path, &()).await?;
        Ok(answer.data.policy)
    }

    /// Signs in now: to find out early that the credential is good.
    pub async fn sign_in(&self) -> Result<(), Error> {
        self.token(false).await.map(drop)
    }

    async fn batch<O>(
        &self,
        route: &str,
        name: &str,
        items: Vec<BatchItem>,
        take: impl Fn(BatchItem) -> Option<O>,
    ) -> Result<Vec<Result<O, ItemRefused>>, Error> {
        let path = key_path(route, name)?;
        let mut results = Vec::with_capacity(items.len());
        for part in items.chunks(BATCH) {
            let question = BatchQuestion { batch_input: part };
            let answer: Data<BatchAnswer> = self.ask(Method::POST, &path, &question).await?;
            let answers = answer.data.batch_results;
            if answers.len() != part.len() {
                return Err(Error::Answer("not as many results as items".to_owned()));
            }
            for mut item in answers {
                let refusal = item.error.take().unwrap_or_default();
                results.push(take(item).ok_or(ItemRefused(refusal)));
            }
        }
        Ok(results)
    }

    async fn tell(
        &self,
        method: Method,
        path: &str,
        question: &impl Serialize,
    ) -> Result<(), Error> {
        self.exchange(method, path, question).await.map(drop)
    }

    async fn ask<A: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        question: &impl Serialize,
    ) -> Result<A, Error> {
        let answer = self.exchange(method, path, question).await?;
        serde_json::from_slice(&answer).map_err(|error| Error::Answer(error.to_string()))
    }

    /// Asks with the token at hand, and once more with a new one where that is refused: it may
    /// have been revoked.
    async fn exchange(
        &self,
        method: Method,
        path: &str,
        question: &impl Serialize,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let (token, fresh) = self.token(false).await?;
        let answer = self.send(method.clone(), path, Some(&token), question).await;
        match answer {
            Err(Error::Refused { status: 403, .. }) if !fresh && self.credential.can_repeat() => {
                let (token, _) = self.token(true).await?;
                self.send(method, path, Some(&token), question).await
            }
            answer => answer,
        }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        question: &impl Serialize,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let body = match serde_json::to_vec(question) {
            Ok(body) if body == b"null" => Zeroizing::default(),
            Ok(body) => Zeroizing::new(body),
            Err(error) => return Err(Error::Answer(error.to_string())),
        };
        let answer = self.transport.send(method, &format!("/v1/{path}"), token, body).await?;
        // A batch in which items were refused comes with status 400 and with its results.
        let done = (200..300).contains(&answer.status);
        if done || answer.status == 400 && message::holds_results(&answer.body) {
            return Ok(answer.body);
        }
        let errors = message::errors(&answer.body);
        Err(Error::Refused { status: answer.status, path: path.to_owned(), errors })
    }

    /// A token that is good for a while yet, and whether it was fetched just now.
    async fn token(&self, renew: bool) -> Result<(Arc<Zeroizing<String>>, bool), Error> {
        let mut held = self.token.lock().await;
        let now = self.clock.monotonic();
        if let Some(token) = held.as_ref().filter(|token| !renew && now < token.renew_at) {
            return Ok((token.value.clone(), false));
        }
        let (path, question) = self.credential.login().await?;
        let answer = self.send(Method::POST, path, None, &question).await?;
        let answer: message::LoginAnswer =
            serde_json::from_slice(&answer).map_err(|error| Error::Answer(error.to_string()))?;
        let token = Token::new(answer, now);
        let value = token.value.clone();
        *held = Some(token);
        Ok((value, true))
    }
}

fn single(refused: ItemRefused) -> Error {
    Error::Item(refused)
}

fn associated(data: &[u8]) -> Option<String> {
    (!data.is_empty()).then(|| STANDARD.encode(data))
}

/// `route/name`, if `name` is one that needs no escaping.
fn key_path(route: &str, name: &str) -> Result<String, Error> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.is_empty() || !name.bytes().all(good) || name.starts_with('.') {
        return Err(Error::Name(name.to_owned()));
    }
    Ok(format!("{route}/{name}"))
}
