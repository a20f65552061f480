//! The engine of one trusted application: its key objects, its operations, and their limits.

use crate::key::Key;
use crate::names::rsa;
use crate::operation::Running;
use crate::{parameters, wrap};
use crypto::secret::Secret;
use serde_bytes::ByteBuf;
use std::collections::BTreeMap;
use std::sync::Arc;
use tee_api::TeeError;
use tee_api::engine::{
    Answer, Attributes, Call, Derivation, Handle, Hash, KeyType, MAX_DATA_BYTES, MAX_KEYS,
    MAX_NAME_BYTES, MAX_OPERATIONS, MAX_RUNS, Operation, Run, Span, Usage,
};
use zeroize::Zeroize;

/// What an engine hangs on. It belongs to one owner: two trusted applications have different
/// roots, and so do two boards.
pub trait Roots {
    /// 32 bytes from the HUK for this owner and the concatenation of `info`.
    fn derive(&self, info: &[&[u8]]) -> Result<Secret<32>, TeeError>;
    /// The key of hardware auth tokens and what this owner may do with it; refused `Denied` to
    /// whom it does not concern.
    fn auth_token_key(&self) -> Result<(Secret<32>, Usage), TeeError>;
}

/// How a call goes on.
pub enum Next {
    /// It was answered.
    Answer(Answer),
    /// A key is to be made that takes long; [`Engine::insert`] takes it.
    Generate(Attributes),
    /// An operation that takes long.
    Run(Task),
    /// Several operations; some may have been refused.
    RunAll(Vec<Result<Task, TeeError>>),
    /// An operation on a part of shared memory, and where its result goes.
    RunOnMemory(Task, Span, u32),
}

/// An operation that is ready to run, on any thread.
pub struct Task {
    running: Running,
    data: ByteBuf,
    tag: Option<ByteBuf>,
}

impl Task {
    /// The result, or why there is none.
    pub fn run(self) -> Result<ByteBuf, TeeError> {
        finish(self.running, &self.data, self.tag.as_ref().map(|tag| &tag[..]))
    }

    /// The same with a message from elsewhere, at whose end a tag of GCM may be; appends the result to `out`, which has nothing
    /// of it where it is refused.
    pub fn run_on(self, data: &[u8], out: &mut Vec<u8>) -> Result<(), TeeError> {
        let before = out.len();
        let (data, tag) = match (&self.tag, self.running.tag_bytes_to_check()) {
            (None, Some(bytes)) if data.len() >= bytes => {
                let (text, tag) = data.split_at(data.len() - bytes);
                (text, Some(tag))
            }
            (tag, _) => (data, tag.as_ref().map(|tag| &tag[..])),
        };
        let finished = self.running.finish(data, tag, out);
        if finished.is_err() {
            out[before..].zeroize();
            out.truncate(before);
        }
        finished
    }
}

/// RSA keys up to this size sign within a quarter of a millisecond.
const SOON_DONE_RSA_BITS: u32 = 2048;

/// An RSA key takes as long as it takes to find two primes: up to seconds.
fn is_slow_to_make(key_type: KeyType) -> bool {
    rsa(key_type).is_some()
}

/// The key objects and operations of one trusted application. It lasts as long as the
/// application's process.
pub struct Engine {
    next: u64,
    keys: BTreeMap<Handle, Arc<Key>>,
    operations: BTreeMap<Handle, Running>,
    /// What stored keys are sealed under, once one was.
    storage: Option<Secret<32>>,
}

impl Default for Engine {
    fn default() -> Self {
        Self::new()
    }
}

impl Engine {
    /// Without keys. Handles begin at a random number: those of an earlier process name nothing.
    #[must_use]
    pub fn new() -> Self {
        let first = u64::from_le_bytes(crypto::random_array()) >> 1;
        let (keys, operations) = (BTreeMap::new(), BTreeMap::new());
        Self { next: first, keys, operations, storage: None }
    }

    /// How many key objects and operations there are.
    #[must_use]
    pub fn open(&self) -> usize {
        self.keys.len() + self.operations.len()
    }

    /// Answers one call, on this thread. Nobody shares memory here.
    pub fn call(&mut self, call: Call, roots: &dyn Roots) -> Result<Answer, TeeError> {
        match self.next(call, roots)? {
            Next::Answer(answer) => Ok(answer),
            Next::Generate(attributes) => self.insert(Key::generate(attributes)?),
            Next::Run(task) => task.run().map(Answer::Bytes),
            Next::RunAll(tasks) => {
                Ok(Answer::All(tasks.into_iter().map(|task| task.and_then(Task::run)).collect()))
            }
            Next::RunOnMemory(..) => Err(TeeError::BadState("no memory is shared".into())),
        }
    }

    /// Answers one call, or gives what another thread may work on.
    pub fn next(&mut self, mut call: Call, roots: &dyn Roots) -> Result<Next, TeeError> {
        let next = match &mut call {
            Call::Generate { attributes } if is_slow_to_make(attributes.key_type) => {
                self.has_room().map(|()| Next::Generate(*attributes))
            }
            Call::Run { key: Some(key), operation, associated, data, tag }
                if self.is_slow(*key, operation) =>
            {
                let (associated, data) = (std::mem::take(associated), std::mem::take(data));
                let (operation, tag) = (operation.clone(), tag.take());
                self.task(Run { key: *key, operation, associated, data, tag }).map(Next::Run)
            }
            Call::RunAll { runs } => self.tasks(std::mem::take(runs)).map(Next::RunAll),
            Call::RunOnMemory { run, input, output } => {
                self.task(run.clone()).map(|task| Next::RunOnMemory(task, *input, *output))
            }
            other => self.answer(other, roots).map(Next::Answer),
        };
        wipe(&mut call);
        next
    }

    /// Takes a key that was made elsewhere, after [`Next::Generate`].
    pub fn insert(&mut self, key: Key) -> Result<Answer, TeeError> {
        self.add(|_| Ok(key))
    }

    fn tasks(&self, runs: Vec<Run>) -> Result<Vec<Result<Task, TeeError>>, TeeError> {
        let bytes = |run: &Run| run.data.len() + run.associated.len();
        if runs.len() > MAX_RUNS || runs.iter().map(bytes).sum::<usize>() > MAX_DATA_BYTES {
            return Err(TeeError::BadParameters(format!(
                "at most {MAX_RUNS} operations at once, on {MAX_DATA_BYTES} bytes"
            )));
        }
        let task = |run: Run| {
            if self.is_slow(run.key, &run.operation) {
                return Err(parameters("this takes long: it is run alone"));
            }
            self.task(run)
        };
        Ok(runs.into_iter().map(task).collect())
    }

    fn task(&self, run: Run) -> Result<Task, TeeError> {
        let Run { key, operation, associated, data, tag } = run;
        limit(&associated)?;
        limit(&data)?;
        let mut running = self.running(Some(key), &operation)?;
        if !associated.is_empty() {
            running.associate(&associated)?;
        }
        Ok(Task { running, data, tag })
    }

    /// Whether others should not wait for it: an operation with the private half of a large RSA key.
    fn is_slow(&self, key: Handle, operation: &Operation) -> bool {
        let is_private = matches!(operation, Operation::Sign(_) | Operation::Decrypt(_));
        let key = self.keys.get(&key).map(|key| key.attributes.key_type);
        is_private && key.and_then(rsa).is_some_and(|(bits, _)| bits > SOON_DONE_RSA_BITS)
    }

    fn answer(&mut self, call: &mut Call, roots: &dyn Roots) -> Result<Answer, TeeError> {
        match call {
            Call::Generate { attributes } => self.add(|_| Key::generate(*attributes)),
            Call::RunAll { .. } | Call::RunOnMemory { .. } => {
                Err(TeeError::BadState("this call is worked on elsewhere".into()))
            }
            Call::Import { attributes, material } => {
                self.add(|_| Key::import(*attributes, material))
            }
            Call::DeriveFromHuk { label, context, attributes } => {
                self.add(|_| from_huk(roots, label, context, *attributes))
            }
            Call::Derive { from, derivation, attributes } => {
                self.add(|engine| engine.key(*from)?.derive(derivation, *attributes))
            }
            Call::AuthTokenKey => self.add(|_| auth_token_key(roots)),
            Call::Unwrap { under, wrapped, wrapping, attributes } => {
                self.add(|engine| engine.key(*under)?.unwrap(wrapped, wrapping, *attributes))
            }
            Call::Unseal { name, sealed } => {
                check_name(name)?;
                self.add(|engine| wrap::load(engine.storage(roots)?, sealed, name))
            }
            Call::Info { key } => Ok(Answer::Info(self.key(*key)?.info())),
            Call::PublicKey { key } => self.key(*key)?.public().map(bytes),
            Call::Export { key } => {
                self.key(*key)?.export().map(|mut it| bytes(std::mem::take(&mut *it)))
            }
            Call::Wrap { under, key, wrapping } => {
                self.key(*under)?.wrap(self.key(*key)?, wrapping).map(bytes)
            }
            Call::Seal { key, name } => {
                check_name(name)?;
                let key = Arc::clone(self.key(*key)?);
                wrap::store(self.storage(roots)?, &key, name).map(bytes)
            }
            Call::Begin { key, operation } => self.begin(*key, operation),
            Call::Associate { operation, data } => {
                self.step(*operation, data, |running, data, _| running.associate(data))?;
                Ok(Answer::Done)
            }
            Call::Update { operation, data } => {
                self.step(*operation, data, Running::update).map(bytes)
            }
            Call::Finish { operation, data, tag } => {
                let running = self.operations.remove(operation).ok_or_else(no_operation)?;
                finish(running, data, tag.as_ref().map(|tag| &tag[..])).map(Answer::Bytes)
            }
            Call::Run { key, operation, associated, data, tag } => {
                let mut running = self.running(*key, operation)?;
                limit(associated)?;
                if !associated.is_empty() {
                    running.associate(associated)?;
                }
                finish(running, data, tag.as_ref().map(|tag| &tag[..])).map(Answer::Bytes)
            }
            Call::Close { handles } => {
                for handle in handles {
                    self.keys.remove(handle);
                    self.operations.remove(handle);
                }
                Ok(Answer::Done)
            }
        }
    }

    fn key(&self, handle: Handle) -> Result<&Arc<Key>, TeeError> {
        self.keys.get(&handle).ok_or_else(|| TeeError::NotFound("no such key object".into()))
    }

    fn has_room(&self) -> Result<(), TeeError> {
        if self.keys.len() < MAX_KEYS {
            return Ok(());
        }
        Err(TeeError::Resources(format!(
            "a trusted application has {MAX_KEYS} key objects at most"
        )))
    }

    fn add(
        &mut self,
        make: impl FnOnce(&mut Self) -> Result<Key, TeeError>,
    ) -> Result<Answer, TeeError> {
        self.has_room()?;
        let key = Arc::new(make(self)?);
        let handle = self.handle();
        self.keys.insert(handle, key);
        Ok(Answer::Handle(handle))
    }

    const fn handle(&mut self) -> Handle {
        self.next = self.next.wrapping_add(1);
        Handle(self.next)
    }

    fn storage(&mut self, roots: &dyn Roots) -> Result<&Secret<32>, TeeError> {
        if self.storage.is_none() {
            self.storage = Some(roots.derive(&[b"holdfast engine: stored keys 1"])?);
        }
        self.storage.as_ref().ok_or_else(|| TeeError::Resources("no storage key".into()))
    }

    fn running(&self, key: Option<Handle>, operation: &Operation) -> Result<Running, TeeError> {
        let key = key.map(|handle| self.key(handle)).transpose()?;
        Running::begin(key, operation)
    }

    fn begin(&mut self, key: Option<Handle>, operation: &Operation) -> Result<Answer, TeeError> {
        if self.operations.len() >= MAX_OPERATIONS {
            return Err(TeeError::Resources(format!(
                "a trusted application has {MAX_OPERATIONS} operations at most"
            )));
        }
        let running = self.running(key, operation)?;
        let handle = self.handle();
        self.operations.insert(handle, running);
        Ok(Answer::Handle(handle))
    }

    /// A piece of an operation; one that is refused ends it.
    fn step(
        &mut self,
        handle: Handle,
        data: &[u8],
        step: impl FnOnce(&mut Running, &[u8], &mut Vec<u8>) -> Result<(), TeeError>,
    ) -> Result<Vec<u8>, TeeError> {
        let running = self.operations.get_mut(&handle).ok_or_else(no_operation)?;
        let mut out = Vec::new();
        match limit(data).and_then(|()| step(running, data, &mut out)) {
            Ok(()) => Ok(out),
            Err(error) => {
                self.operations.remove(&handle);
                Err(error)
            }
        }
    }
}

fn finish(running: Running, data: &[u8], tag: Option<&[u8]>) -> Result<ByteBuf, TeeError> {
    limit(data)?;
    let mut out = Vec::new();
    let finished = running.finish(data, tag, &mut out);
    if finished.is_err() {
        // A plaintext whose tag was wrong.
        out.zeroize();
    }
    finished.map(|()| ByteBuf::from(out))
}

fn bytes(bytes: Vec<u8>) -> Answer {
    Answer::Bytes(ByteBuf::from(bytes))
}

fn limit(data: &[u8]) -> Result<(), TeeError> {
    if data.len() <= MAX_DATA_BYTES {
        return Ok(());
    }
    Err(TeeError::BadParameters(format!("a call takes {MAX_DATA_BYTES} bytes at most")))
}

fn check_name(name: &str) -> Result<(), TeeError> {
    if (1..=MAX_NAME_BYTES).contains(&name.len()) {
        Ok(())
    } else {
        Err(parameters("a name has 1 to 64 bytes"))
    }
}

fn no_operation() -> TeeError {
    TeeError::NotFound("no such operation: it was finished, refused or closed".into())
}

/// Label, type and usage go into the derivation, each with an end that can't be mistaken.
fn from_huk(
    roots: &dyn Roots,
    label: &str,
    context: &[u8],
    attributes: Attributes,
) -> Result<Key, TeeError> {
    check_name(label)?;
    limit(context)?;
    let mut form = Vec::with_capacity(64);
    ciborium::into_writer(&(label, attributes), &mut form)
        .map_err(|error| TeeError::Resources(error.to_string()))?;
    let length = (form.len() as u32).to_be_bytes();
    let root = roots.derive(&[b"holdfast engine: key from the HUK 1", &length, &form, context])?;
    Key::expand(attributes, &root)
}

fn auth_token_key(roots: &dyn Roots) -> Result<Key, TeeError> {
    let (key, usage) = roots.auth_token_key()?;
    let key_type = KeyType::Hmac { hash: Hash::Sha256, bytes: 32 };
    Key::shared(Attributes::new(key_type, usage), key.expose())
}

/// What keys are made of does not stay behind.
fn wipe(call: &mut Call) {
    match call {
        Call::Import { material, .. } => material.zeroize(),
        Call::DeriveFromHuk { context, .. } => context.zeroize(),
        Call::Derive { derivation: Derivation::Hkdf { salt, .. }, .. } => salt.zeroize(),
        _ => {}
    }
}
