//! The element's memory: one sealed state, replaced as a whole, and bound to its board.
//!
//! Each change seals the state anew with the next sequence number, makes it durable, and only then
//! raises the board's counter to that number; the change counts from there on. A power cut between
//! the two leaves a state that is one ahead of the counter: it is whole, nobody was told of it, and
//! it is taken. A state that is behind the counter comes from an earlier day and is refused, and so
//! is one that another board sealed.

use crate::binding::Binding;
use crate::state::State;
use crypto::aead;
use crypto::kdf::hkdf_sha256;
use effects::durable;
use std::io;
use std::path::PathBuf;
use zeroize::Zeroizing;

/// What stands before every sealed state, and is authenticated with it.
const MAGIC: &[u8] = b"holdfast-element-1\n";
/// The largest file that is taken for a state.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Why the memory can't be opened or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no state.
    #[error("there is no element here; make one with `holdfast element make`")]
    Missing,
    /// There is one already.
    #[error("there is an element here already; it is not made anew over it")]
    Exists,
    /// The state is damaged, or another board's.
    #[error("the element's state is damaged, or was sealed for another board or another key file")]
    Foreign,
    /// The state is older than the counter says.
    #[error(
        "the element's state is from an earlier day: it is number {found}, the counter says {due}; \
         put the newest files back"
    )]
    RolledBack {
        /// The state's number.
        found: u64,
        /// The counter.
        due: u64,
    },
    /// The counter is behind by more than a power cut explains.
    #[error("the counter says {counter} where the state is number {found}: it is another's")]
    CounterBehind {
        /// The state's number.
        found: u64,
        /// The counter.
        counter: u64,
    },
    /// The storage or the board.
    #[error("the element's storage: {0}")]
    Io(#[from] io::Error),
}

/// Where the sealed state lies.
pub trait Storage: Send {
    /// The state; none where nothing was written yet.
    fn load(&self) -> io::Result<Option<Vec<u8>>>;
    /// Replaces the state: durably, and as a whole or not at all.
    fn replace(&mut self, bytes: &[u8]) -> io::Result<()>;
}

/// A file.
#[derive(Debug)]
pub struct FileStorage(pub PathBuf);

impl Storage for FileStorage {
    fn load(&self) -> io::Result<Option<Vec<u8>>> {
        match std::fs::metadata(&self.0) {
            Ok(found) if found.len() > MAX_FILE_BYTES => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is too large"));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            _ => {}
        }
        std::fs::read(&self.0).map(Some)
    }

    fn replace(&mut self, bytes: &[u8]) -> io::Result<()> {
        durable::replace(&self.0, bytes, 0o600)
    }
}

/// The memory, open.
pub struct Store {
    storage: Box<dyn Storage>,
    binding: Box<dyn Binding>,
    key: aead::Key,
    state: State,
}

impl Store {
    /// Writes the first state of a new element.
    pub fn create(
        storage: Box<dyn Storage>,
        binding: Box<dyn Binding>,
        state: State,
    ) -> Result<Self, StoreError> {
        if storage.load()?.is_some() {
            return Err(StoreError::Exists);
        }
        let key = sealing_key(&*binding)?;
        // A counter that an earlier element raised only rises further.
        let state = State { sequence: binding.counter()?, ..state };
        let mut store = Self { storage, binding, key, state };
        store.commit(|_| ())?;
        Ok(store)
    }

    /// Opens the state of an element.
    pub fn open(
        storage: Box<dyn Storage>,
        mut binding: Box<dyn Binding>,
    ) -> Result<Self, StoreError> {
        let sealed = storage.load()?.ok_or(StoreError::Missing)?;
        let key = sealing_key(&*binding)?;
        let state = open(&key, &sealed)?;
        let (found, due) = (state.sequence, binding.counter()?);
        if found < due {
            return Err(StoreError::RolledBack { found, due });
        }
        if found > due.saturating_add(1) {
            return Err(StoreError::CounterBehind { found, counter: due });
        }
        binding.raise(found)?;
        Ok(Self { storage, binding, key, state })
    }

    /// What is remembered.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// Changes the state. The change counts once this returned; after an error nothing changed.
    pub fn commit<T>(&mut self, change: impl FnOnce(&mut State) -> T) -> Result<T, StoreError> {
        let mut next = self.state.clone();
        let outcome = change(&mut next);
        next.sequence = self.state.sequence + 1;
        self.storage.replace(&seal(&self.key, &next))?;
        self.binding.raise(next.sequence)?;
        self.state = next;
        Ok(outcome)
    }
}

fn sealing_key(binding: &dyn Binding) -> Result<aead::Key, StoreError> {
    let key = hkdf_sha256::<32>(binding.key()?.expose(), MAGIC, &[b"state"]);
    Ok(aead::Key::aes_256_gcm_siv(key.expose()))
}

fn seal(key: &aead::Key, state: &State) -> Vec<u8> {
    let mut plain = Zeroizing::new(Vec::new());
    ciborium::into_writer(state, &mut *plain).expect("a state can be written to memory");
    [MAGIC, &key.seal(MAGIC, &plain)].concat()
}

fn open(key: &aead::Key, sealed: &[u8]) -> Result<State, StoreError> {
    let sealed = sealed.strip_prefix(MAGIC).ok_or(StoreError::Foreign)?;
    let plain = key.open(MAGIC, sealed).map_err(|_| StoreError::Foreign)?;
    let plain = Zeroizing::new(plain);
    let mut rest = &plain[..];
    let state = ciborium::from_reader(&mut rest).map_err(|_| StoreError::Foreign)?;
    if rest.is_empty() { Ok(state) } else { Err(StoreError::Foreign) }
}
