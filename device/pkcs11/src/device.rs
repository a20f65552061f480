//! The device's token: entries are keys of this user in the device's keystore, used at the TEE
//! itself by ticket.
//!
//! Aliases in the user's namespace: `pkcs11/token` has what the token says of itself,
//! `pkcs11/object/…` the objects, `pkcs11/pin/…` what PINs are checked with.

mod combining;
mod key;
mod pins;
mod refusals;
mod rules;
mod tee;

use crate::error::{Result, Rv, ensure};
use crate::key::{Algorithm, Key};
use crate::token::{Entry, EntryId, NewKey, Role, Status, Token, TokenSecret};
use cryptoki_sys::*;
use der::{Decode, Encode};
use key::TeeKey;
use keymint::{Bytes, KeyFormat};
use keystore_client::api::{self, Change, Import, KeyInfo, KeyRef};
use keystore_client::{Code, Keystore, KeystoreCode};
use pins::TokenRecord;
use refusals::refused;
use std::sync::Arc;
use tee::Tee;
use x509_cert::Certificate;

/// Where objects are.
const OBJECTS: &str = "pkcs11/object/";
/// The most bytes of a record.
const MAX_RECORD_BYTES: usize = api::MAX_EXTRA_BYTES;

/// A token of the device that `HOLDFAST_SOCKET` names, or that runs on this machine.
pub(crate) fn token() -> Box<dyn Token> {
    let keystore = Arc::new(Keystore::of_this_device());
    Box::new(Device { tee: Arc::new(Tee::new(Arc::clone(&keystore))), keystore })
}

struct Device {
    keystore: Arc<Keystore>,
    tee: Arc<Tee>,
}

/// A name that nobody else takes.
fn fresh_alias(prefix: &str) -> String {
    let name = u128::from_be_bytes(crypto::random_array());
    format!("{prefix}{name:032x}")
}

/// The key that an entry names.
fn reference(id: &EntryId) -> KeyRef {
    KeyRef::alias(id.0.clone())
}

/// An entry as the keystore tells it.
fn entry(info: KeyInfo) -> Result<Entry> {
    let certificate = info.certificates.first();
    let public = certificate.map(|der| public_key(der)).transpose()?;
    let record = info.extra.map(Bytes::into_vec).unwrap_or_default();
    Ok(Entry { id: EntryId(info.alias), record, public })
}

/// SubjectPublicKeyInfo of the certificate that the TEE made for a key.
fn public_key(certificate: &[u8]) -> Result<Vec<u8>> {
    let certificate = Certificate::from_der(certificate).map_err(|_| Rv(CKR_DEVICE_ERROR))?;
    let spki = certificate.tbs_certificate().subject_public_key_info();
    spki.to_der().map_err(|_| Rv(CKR_DEVICE_ERROR))
}

impl Device {
    fn new_key(key: &NewKey<'_>) -> Result<api::NewKey> {
        fits(key.record)?;
        let mut new = api::NewKey::new(fresh_alias(OBJECTS), rules::for_life(key)?);
        new.extra = Some(key.record.into());
        Ok(new)
    }
}

fn fits(record: &[u8]) -> Result<()> {
    ensure(record.len() <= MAX_RECORD_BYTES, CKR_DEVICE_MEMORY)
}

impl Token for Device {
    fn is_present(&self) -> bool {
        self.keystore.page(OBJECTS, None, 1).is_ok()
    }

    fn status(&self) -> Result<Status> {
        let Some(record) = TokenRecord::read(&self.keystore)? else {
            self.keystore.page(OBJECTS, None, 1).map_err(|error| refused(&error))?;
            return Ok(Status::default());
        };
        record.status(&self.keystore)
    }

    fn initialise(&self, pin: &[u8], label: &str) -> Result<()> {
        if let Some(mut record) = TokenRecord::read(&self.keystore)? {
            record.log_in(&self.keystore, Role::Officer, Some(pin))?;
        }
        for entry in self.keystore.list(OBJECTS).map_err(|error| refused(&error))? {
            self.delete(&EntryId(entry.alias))?;
        }
        TokenRecord::make(&self.keystore, pin, label)
    }

    fn log_in(&self, role: Role, pin: Option<&[u8]>) -> Result<TokenSecret> {
        let record = TokenRecord::read(&self.keystore)?;
        record.ok_or(Rv(CKR_USER_PIN_NOT_INITIALIZED))?.log_in(&self.keystore, role, pin)
    }

    fn set_pin(&self, role: Role, secret: &TokenSecret, pin: Option<&[u8]>) -> Result<()> {
        let record = TokenRecord::read(&self.keystore)?;
        record.ok_or(Rv(CKR_DEVICE_ERROR))?.set_pin(&self.keystore, role, secret, pin)
    }

    fn entries(&self) -> Result<Vec<Entry>> {
        let infos = self.keystore.details(OBJECTS).map_err(|error| refused(&error))?;
        infos.into_iter().map(entry).collect()
    }

    fn entry(&self, id: &EntryId) -> Result<Entry> {
        entry(self.keystore.show(&reference(id)).map_err(|error| refused(&error))?)
    }

    fn store(&self, record: &[u8]) -> Result<EntryId> {
        fits(record)?;
        let alias = fresh_alias(OBJECTS);
        let change = Change {
            key: KeyRef::alias(alias.clone()),
            certificates: Some(Vec::new()),
            extra: Some(record.into()),
        };
        self.keystore.change(&change).map_err(|error| refused(&error))?;
        Ok(EntryId(alias))
    }

    fn replace(&self, id: &EntryId, record: &[u8]) -> Result<()> {
        fits(record)?;
        let change = Change { key: reference(id), certificates: None, extra: Some(record.into()) };
        self.keystore.change(&change).map(drop).map_err(|error| refused(&error))
    }

    fn delete(&self, id: &EntryId) -> Result<()> {
        self.keystore.delete(&reference(id)).map_err(|error| refused(&error))
    }

    fn generate(&self, key: &NewKey<'_>) -> Result<Entry> {
        let new = Self::new_key(key)?;
        entry(self.keystore.generate(&new).map_err(|error| refused(&error))?)
    }

    fn import(&self, key: &NewKey<'_>, value: &[u8]) -> Result<Entry> {
        let format = if key.algorithm.is_pair() { KeyFormat::Pkcs8 } else { KeyFormat::Raw };
        let import = Import { key: Self::new_key(key)?, format, data: value.into() };
        entry(self.keystore.import(&import).map_err(|error| refused(&error))?)
    }

    fn open(
        &self,
        id: &EntryId,
        algorithm: Algorithm,
        secret: Option<&TokenSecret>,
    ) -> Result<Arc<dyn Key>> {
        let tee = Arc::clone(&self.tee);
        Ok(Arc::new(TeeKey::open(tee, reference(id), algorithm, secret)?))
    }

    fn random(&self, out: &mut [u8]) -> Result<()> {
        crypto::random(out);
        Ok(())
    }

    fn seed(&self, entropy: &[u8]) -> Result<()> {
        for piece in entropy.chunks(keymint::MAX_ENTROPY_BYTES) {
            self.tee.add_entropy(piece)?;
        }
        Ok(())
    }
}

const KEY_NOT_FOUND: Code = Code::Keystore(KeystoreCode::KeyNotFound);
