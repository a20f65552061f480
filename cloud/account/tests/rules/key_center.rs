//! A Key Center in memory, with real cryptography, for the tests of the rules.

use cloud_account::keycenter::{Answer, DataKey};
use cloud_account::{ActivationLock, Error, KeyCenter};
use crypto::aead::Key;
use crypto::mac::hmac_sha256;
use crypto::secret::Secret;
use effects::{Entropy, SystemEntropy, random_array};
use futures_util::future::BoxFuture;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use zeroize::Zeroizing;

/// Its user keys are only names here: this credential may not use them anyway.
#[derive(Default)]
pub(crate) struct InMemory {
    pub(crate) user_keys: Mutex<BTreeSet<String>>,
    pub(crate) trusted: Mutex<Option<Vec<u8>>>,
}

fn key(name: &str) -> Key {
    Key::aes_128_gcm(hmac_sha256(b"root", &[name.as_bytes()])[..16].try_into().unwrap())
}

impl KeyCenter for InMemory {
    fn data_key<'a>(&'a self, name: &'a str) -> Answer<'a, DataKey> {
        Box::pin(async move {
            let plaintext = Secret::new(random_array(&SystemEntropy as &dyn Entropy));
            let wrapped = self.encrypt(name, b"", plaintext.expose()).await?;
            Ok(DataKey { plaintext, wrapped })
        })
    }

    fn encrypt<'a>(
        &'a self,
        name: &'a str,
        context: &'a [u8],
        plaintext: &'a [u8],
    ) -> Answer<'a, String> {
        let sealed = key(name).seal(context, plaintext);
        Box::pin(async move { Ok(sealed.iter().map(|b| format!("{b:02x}")).collect()) })
    }

    fn decrypt<'a>(
        &'a self,
        name: &'a str,
        context: &'a [u8],
        sealed: &'a str,
    ) -> Answer<'a, Zeroizing<Vec<u8>>> {
        let pairs = (0..sealed.len() / 2).map(|at| &sealed[2 * at..2 * at + 2]);
        let bytes: Vec<u8> = pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect();
        let opened = key(name).open(context, &bytes);
        Box::pin(async move { Ok(Zeroizing::new(opened?)) })
    }

    fn hmac<'a>(&'a self, name: &'a str, input: &'a [u8]) -> Answer<'a, Vec<u8>> {
        Box::pin(async move { Ok(hmac_sha256(name.as_bytes(), &[input]).to_vec()) })
    }

    fn create_key<'a>(&'a self, name: &'a str) -> Answer<'a, ()> {
        self.user_keys.lock().unwrap().insert(name.to_owned());
        Box::pin(async { Ok(()) })
    }

    fn delete_key<'a>(&'a self, name: &'a str) -> Answer<'a, ()> {
        self.user_keys.lock().unwrap().remove(name);
        Box::pin(async { Ok(()) })
    }

    fn trust_assertions<'a>(&'a self, public_key: &'a [u8]) -> Answer<'a, ()> {
        *self.trusted.lock().unwrap() = Some(public_key.to_vec());
        Box::pin(async { Ok(()) })
    }
}

/// Devices that find-device holds.
#[derive(Default, Clone)]
pub(crate) struct Held(pub(crate) Arc<Mutex<BTreeSet<String>>>);

impl ActivationLock for Held {
    fn holds<'a>(&'a self, device_id: &'a str) -> BoxFuture<'a, Result<bool, Error>> {
        let held = self.0.lock().unwrap().contains(device_id);
        Box::pin(async move { Ok(held) })
    }
}
