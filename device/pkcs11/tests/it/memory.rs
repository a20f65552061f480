//! A token in this process: for what is in front of it. Never the product's.

use crypto::secret::Secret;
use cryptoki_sys::*;
use holdfast_pkcs11::error::{Result, Rv};
use holdfast_pkcs11::key::{Algorithm, Key};
use holdfast_pkcs11::soft::SoftKey;
use holdfast_pkcs11::token::{Entry, EntryId, NewKey, PinState, Role, Status, Token, TokenSecret};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const ATTEMPTS: u32 = 3;

#[derive(Default)]
struct State {
    label: String,
    /// `None`: the screen lock's, which is always right here.
    pins: BTreeMap<Role, (Option<Vec<u8>>, u32)>,
    secret: Option<TokenSecret>,
    entries: BTreeMap<EntryId, Stored>,
    made: u64,
}

struct Stored {
    entry: Entry,
    key: Option<Arc<SoftKey>>,
    /// The secret that it works with.
    secret: Option<[u8; 32]>,
}

#[derive(Default)]
pub(crate) struct Memory(Mutex<State>);

/// A token that was not made yet.
pub(crate) fn fresh() -> Box<dyn Token> {
    Box::new(Memory::default())
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, record: &[u8], key: Option<SoftKey>, secret: Option<&TokenSecret>) -> Entry {
        let mut state = self.lock();
        state.made += 1;
        let id = EntryId(format!("{:04}", state.made));
        let public = key.as_ref().and_then(|key| key.public().expect("a key"));
        let entry = Entry { id: id.clone(), record: record.to_vec(), public };
        let secret = secret.map(|secret| *secret.expose());
        let stored = Stored { entry: entry.clone(), key: key.map(Arc::new), secret };
        state.entries.insert(id, stored);
        entry
    }
}

impl Token for Memory {
    fn is_present(&self) -> bool {
        true
    }

    fn status(&self) -> Result<Status> {
        let state = self.lock();
        let pin = |role| {
            let attempts = state.pins.get(&role).map_or(0, |pin| pin.1);
            let on_screen = state.pins.get(&role).is_some_and(|pin| pin.0.is_none());
            let set = state.pins.contains_key(&role);
            PinState { set, attempts, limit: ATTEMPTS, on_screen }
        };
        Ok(Status {
            label: state.label.clone(),
            serial: "1".to_owned(),
            initialised: state.secret.is_some(),
            officer: pin(Role::Officer),
            user: pin(Role::User),
        })
    }

    fn initialise(&self, pin: &[u8], label: &str) -> Result<()> {
        if self.lock().secret.is_some() {
            self.log_in(Role::Officer, Some(pin))?;
        }
        *self.lock() = State {
            label: label.to_owned(),
            pins: [(Role::Officer, (Some(pin.to_vec()), ATTEMPTS))].into(),
            secret: Some(Secret::random()),
            ..State::default()
        };
        Ok(())
    }

    fn log_in(&self, role: Role, pin: Option<&[u8]>) -> Result<TokenSecret> {
        let mut state = self.lock();
        let (right, attempts) =
            state.pins.get_mut(&role).ok_or(Rv(CKR_USER_PIN_NOT_INITIALIZED))?;
        *attempts = attempts.checked_sub(1).ok_or(Rv(CKR_PIN_LOCKED))?;
        if right.as_deref() != pin {
            return Err(Rv(CKR_PIN_INCORRECT));
        }
        *attempts = ATTEMPTS;
        Ok(state.secret.as_ref().expect("a token that was made").duplicate())
    }

    fn set_pin(&self, role: Role, _: &TokenSecret, pin: Option<&[u8]>) -> Result<()> {
        self.lock().pins.insert(role, (pin.map(<[u8]>::to_vec), ATTEMPTS));
        Ok(())
    }

    fn entries(&self) -> Result<Vec<Entry>> {
        Ok(self.lock().entries.values().map(|stored| stored.entry.clone()).collect())
    }

    fn entry(&self, id: &EntryId) -> Result<Entry> {
        let state = self.lock();
        let stored = state.entries.get(id).ok_or(Rv(CKR_OBJECT_HANDLE_INVALID))?;
        Ok(stored.entry.clone())
    }

    fn store(&self, record: &[u8]) -> Result<EntryId> {
        Ok(self.add(record, None, None).id)
    }

    fn replace(&self, id: &EntryId, record: &[u8]) -> Result<()> {
        let mut state = self.lock();
        let stored = state.entries.get_mut(id).ok_or(Rv(CKR_OBJECT_HANDLE_INVALID))?;
        stored.entry.record = record.to_vec();
        Ok(())
    }

    fn delete(&self, id: &EntryId) -> Result<()> {
        self.lock().entries.remove(id).map(drop).ok_or(Rv(CKR_OBJECT_HANDLE_INVALID))
    }

    fn generate(&self, key: &NewKey<'_>) -> Result<Entry> {
        let soft = SoftKey::generate(key.algorithm)?;
        Ok(self.add(key.record, Some(soft), key.secret))
    }

    fn import(&self, key: &NewKey<'_>, value: &[u8]) -> Result<Entry> {
        let soft = SoftKey::import(key.algorithm, value)?;
        Ok(self.add(key.record, Some(soft), key.secret))
    }

    fn open(
        &self,
        id: &EntryId,
        _: Algorithm,
        secret: Option<&TokenSecret>,
    ) -> Result<Arc<dyn Key>> {
        let state = self.lock();
        let stored = state.entries.get(id).ok_or(Rv(CKR_KEY_HANDLE_INVALID))?;
        if stored.secret != secret.map(|secret| *secret.expose()) {
            return Err(Rv(CKR_USER_NOT_LOGGED_IN));
        }
        let key = stored.key.clone().ok_or(Rv(CKR_KEY_HANDLE_INVALID))?;
        Ok(key)
    }

    fn random(&self, out: &mut [u8]) -> Result<()> {
        crypto::random(out);
        Ok(())
    }

    fn seed(&self, _: &[u8]) -> Result<()> {
        Ok(())
    }
}
