//! PINs of the token.
//!
//! A PIN of the program's is checked by a key in the TEE that may be used ten times: what it makes of the PIN opens
//! the token's secret, or does not. So no copy of the flash helps to guess, and who guesses on the
//! device runs out of attempts, which the keystore counts durably. A right PIN makes the key anew
//! before its uses run low. The secret is part of every private key in the TEE: without a right
//! PIN they do nothing.
//!
//! The screen lock's PIN is never a program's to know: the key that opens the secret then is one that
//! works only for who proves themselves on the trusted screen, each time (KeyMint's
//! `USER_SECURE_ID` without `AUTH_TIMEOUT`). Gatekeeper counts the attempts.

use super::refusals::refused;
use super::{KEY_NOT_FOUND, fresh_alias};
use crate::error::{Result, Rv, fail};
use crate::token::{PinState, Role, Status, TokenSecret};
use crypto::aead;
use crypto::secret::Secret;
use cryptoki_sys::*;
use keymint::{Algorithm, AuthenticatorType, Authorizations, Digest, KeyPurpose};
use keystore_client::api::{Begin, Change, Finish, KeyRef, NewKey, Use};
use keystore_client::{Code, Keystore, KeystoreCode};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use zeroize::Zeroizing;

/// Where the record is.
const TOKEN: &str = "pkcs11/token";
/// Where keys that check PINs are.
const PINS: &str = "pkcs11/pin/";
/// How often a PIN may be tried.
const ATTEMPTS: u32 = 10;
/// A right PIN makes its key anew when no more uses than these are left.
const LOW: u32 = 5;
/// Nobody set a screen lock.
const NO_SCREEN_LOCK: Code = Code::Keystore(KeystoreCode::NoScreenLock);
/// What the sealed secret is bound to.
const CONTEXT: &[u8] = b"holdfast pkcs11 token v1";

/// What a token says of itself.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenRecord {
    label: String,
    serial: String,
    officer: Pin,
    user: Option<Pin>,
}

/// What a PIN is checked with.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pin {
    /// The alias of the key in the TEE.
    key: String,
    /// The token's secret, under what that key makes of the PIN.
    sealed: ByteBuf,
    /// It is the screen lock's.
    #[serde(default)]
    on_screen: bool,
}

/// What a key that checks a PIN obeys.
fn rules(on_screen: bool) -> Authorizations {
    let rules = Authorizations {
        purpose: [KeyPurpose::Sign].into(),
        algorithm: Some(Algorithm::Hmac),
        key_size: Some(256),
        digest: [Digest::Sha2_256].into(),
        min_mac_length: Some(256),
        ..Authorizations::default()
    };
    if on_screen {
        // The keystore adds whose lock it is.
        return Authorizations { user_auth_type: Some(AuthenticatorType::PASSWORD), ..rules };
    }
    Authorizations { usage_count_limit: Some(ATTEMPTS + 1), no_auth_required: true, ..rules }
}

impl Pin {
    /// A PIN that opens `secret`; without one, the screen lock's, which is asked for now.
    fn new(
        keystore: &Keystore,
        role: Role,
        secret: &TokenSecret,
        pin: Option<&[u8]>,
    ) -> Result<Self> {
        let (key, on_screen) = (fresh_alias(PINS), pin.is_none());
        let new = NewKey::new(key.clone(), rules(on_screen));
        keystore.generate(&new).map_err(|error| match error.code() {
            Some(NO_SCREEN_LOCK) => Rv(CKR_USER_PIN_NOT_INITIALIZED),
            _ => refused(&error),
        })?;
        match sealing_key(keystore, &key, role, pin) {
            Ok(sealing) => {
                let sealed = sealing.seal(CONTEXT, secret.expose()).into();
                Ok(Self { key, sealed, on_screen })
            }
            Err(error) => {
                // Whoever can't delete it now does with the next PIN.
                let _ = keystore.delete(&KeyRef::alias(key));
                Err(error)
            }
        }
    }

    /// The token's secret, at the cost of an attempt.
    fn open(&self, keystore: &Keystore, role: Role, pin: Option<&[u8]>) -> Result<TokenSecret> {
        match (self.on_screen, pin) {
            (false, None) => return fail(CKR_ARGUMENTS_BAD),
            // The screen lock's PIN is no program's to know.
            (true, Some(_)) => return fail(CKR_PIN_INCORRECT),
            _ => {}
        }
        let sealing = sealing_key(keystore, &self.key, role, pin)?;
        let opened = sealing.open(CONTEXT, &self.sealed).map_err(|_| Rv(CKR_PIN_INCORRECT))?;
        Secret::from_slice(&opened).map_err(|_| Rv(CKR_DEVICE_ERROR))
    }

    fn state(&self, keystore: &Keystore) -> Result<PinState> {
        if self.on_screen {
            let limit = LOW + 1;
            return Ok(PinState { set: true, attempts: limit, limit, on_screen: true });
        }
        let key = KeyRef::alias(self.key.clone());
        let info = keystore.show(&key).map_err(|error| refused(&error))?;
        let attempts = info.uses_left.unwrap_or(0).min(ATTEMPTS);
        Ok(PinState { set: true, attempts, limit: LOW + 1, on_screen: false })
    }
}

/// What the TEE makes of a PIN, or for who proves themselves on the trusted screen.
fn sealing_key(
    keystore: &Keystore,
    key: &str,
    role: Role,
    pin: Option<&[u8]>,
) -> Result<aead::Key> {
    let who: &[u8] = match role {
        Role::Officer => b"officer:",
        Role::User => b"user:",
    };
    let params = Authorizations {
        digest: [Digest::Sha2_256].into(),
        mac_length: Some(256),
        ..Authorizations::default()
    };
    let key = KeyRef::alias(key);
    let made = match pin {
        Some(pin) => {
            let input = [who, pin].concat().into();
            let wanted = Use { params, input, ..Use::of(key, KeyPurpose::Sign) };
            keystore.use_key(&wanted).map(|made| made.output.into_vec())
        }
        None => on_screen(keystore, key, params, who),
    };
    let made = Zeroizing::new(made.map_err(|error| refused(&error))?);
    let made: &[u8; 32] = made[..].try_into().map_err(|_| Rv(CKR_DEVICE_ERROR))?;
    Ok(aead::Key::aes_256_gcm_siv(made))
}

/// Uses a key for which somebody proves themselves on the trusted screen. Blocks until they did.
fn on_screen(
    keystore: &Keystore,
    key: KeyRef,
    params: Authorizations,
    message: &[u8],
) -> std::result::Result<Vec<u8>, keystore_client::Error> {
    let begin = Begin { key, purpose: KeyPurpose::Sign, params, token: None };
    let mut operation = keystore.begin(&begin)?;
    operation.authenticate()?;
    operation.finish(&Finish { input: message.into(), ..Finish::default() })
}

impl TokenRecord {
    /// The token's record; `None` where no token was made.
    pub(super) fn read(keystore: &Keystore) -> Result<Option<Self>> {
        let info = match keystore.show(&KeyRef::alias(TOKEN)) {
            Ok(info) => info,
            Err(error) if error.code() == Some(KEY_NOT_FOUND) => return Ok(None),
            Err(error) => return Err(refused(&error)),
        };
        let extra = info.extra.unwrap_or_default();
        ciborium::from_reader(&extra[..]).map(Some).map_err(|_| Rv(CKR_TOKEN_NOT_RECOGNIZED))
    }

    fn write(&self, keystore: &Keystore) -> Result<()> {
        let mut bytes = Vec::new();
        ciborium::into_writer(self, &mut bytes).map_err(|_| Rv(CKR_GENERAL_ERROR))?;
        let change = Change {
            key: KeyRef::alias(TOKEN),
            certificates: Some(Vec::new()),
            extra: Some(bytes.into()),
        };
        keystore.change(&change).map_err(|error| refused(&error))?;
        self.tidy(keystore)
    }

    /// Deletes keys of PINs that are no more. One whose deletion was cut short goes with the next.
    fn tidy(&self, keystore: &Keystore) -> Result<()> {
        let user = self.user.as_ref().map(|pin| &pin.key);
        for entry in keystore.list(PINS).map_err(|error| refused(&error))? {
            if entry.alias != self.officer.key && Some(&entry.alias) != user {
                match keystore.delete(&KeyRef::alias(entry.alias)) {
                    Err(error) if error.code() != Some(KEY_NOT_FOUND) => {
                        return Err(refused(&error));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// A token that begins, with its officer's PIN.
    pub(super) fn make(keystore: &Keystore, pin: &[u8], label: &str) -> Result<()> {
        let secret = Secret::random();
        let officer = Pin::new(keystore, Role::Officer, &secret, Some(pin))?;
        let serial = format!("{:016x}", u64::from_be_bytes(crypto::random_array()));
        Self { label: label.to_owned(), serial, officer, user: None }.write(keystore)
    }

    /// How it stands.
    pub(super) fn status(&self, keystore: &Keystore) -> Result<Status> {
        let user = self.user.as_ref().map(|pin| pin.state(keystore)).transpose()?;
        Ok(Status {
            label: self.label.clone(),
            serial: self.serial.clone(),
            initialised: true,
            officer: self.officer.state(keystore)?,
            user: user.unwrap_or_default(),
        })
    }

    fn pin(&self, role: Role) -> Result<&Pin> {
        match role {
            Role::Officer => Ok(&self.officer),
            Role::User => self.user.as_ref().ok_or(Rv(CKR_USER_PIN_NOT_INITIALIZED)),
        }
    }

    /// Checks a PIN.
    pub(super) fn log_in(
        &mut self,
        keystore: &Keystore,
        role: Role,
        pin: Option<&[u8]>,
    ) -> Result<TokenSecret> {
        let checked = self.pin(role)?;
        let secret = checked.open(keystore, role, pin)?;
        let state = checked.state(keystore)?;
        if !state.on_screen && state.attempts <= LOW {
            self.set_pin(keystore, role, &secret, pin)?;
        }
        Ok(secret)
    }

    /// Sets a PIN, with all its attempts.
    pub(super) fn set_pin(
        &mut self,
        keystore: &Keystore,
        role: Role,
        secret: &TokenSecret,
        pin: Option<&[u8]>,
    ) -> Result<()> {
        let pin = Pin::new(keystore, role, secret, pin)?;
        match role {
            Role::Officer => self.officer = pin,
            Role::User => self.user = Some(pin),
        }
        self.write(keystore)
    }
}
