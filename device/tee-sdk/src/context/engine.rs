//! Keys and algorithms: key objects that the trusted OS holds, and operations with them.
//!
//! A [`Key`] is a handle: its bytes are in the trusted OS, and only what it does comes back. One
//! that this TA made itself, and may know anyway, can also be held here ([`Key::here`]): the same
//! engine then works inside this process, without a crossing. Dropping a key or an operation ends
//! it over there.

use super::{Context, unexpected};
use serde_bytes::ByteBuf;
use std::cell::RefCell;
use std::sync::Arc;
use tee_api::TeeError;
use tee_api::engine::{
    Answer, Attributes, Call, Cipher, Derivation, Handle, Hash, KeyInfo, MAX_DATA_BYTES, Operation,
    Run, Scheme, Span, Wrapping,
};
use tee_api::ta::{Syscall, SyscallReply};
use zeroize::Zeroizing;

/// Bytes of the nonce and of the tag of [`Key::seal`].
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;

thread_local! {
    /// What was dropped since the trusted OS was told last. Handles of different processes and
    /// of different trusted OSes differ, so none is closed by mistake.
    static DROPPED: RefCell<Vec<Handle>> = const { RefCell::new(Vec::new()) };
}

/// Something in the trusted OS that ends when this is dropped.
struct Held(Handle);

impl Drop for Held {
    fn drop(&mut self) {
        // While a thread ends, so does its process.
        let _ = DROPPED.try_with(|dropped| dropped.borrow_mut().push(self.0));
    }
}

/// A key object.
pub struct Key(KeyPlace);

enum KeyPlace {
    Here(Arc<tee_engine::Key>),
    There(Held),
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            KeyPlace::Here(_) => "Key(here)",
            KeyPlace::There(_) => "Key(in the trusted OS)",
        })
    }
}

impl Context<'_> {
    /// Asks the engine; what was dropped is closed first.
    fn engine(&mut self, call: Call) -> Result<Answer, TeeError> {
        self.close_dropped()?;
        match self.call(Syscall::Engine(call))? {
            SyscallReply::Engine(answer) => Ok(answer),
            other => Err(unexpected(&other)),
        }
    }

    /// Tells the trusted OS what was dropped.
    pub(super) fn close_dropped(&mut self) -> Result<(), TeeError> {
        let handles = DROPPED.with_borrow_mut(std::mem::take);
        if handles.is_empty() {
            return Ok(());
        }
        self.call(Syscall::Engine(Call::Close { handles })).map(drop)
    }

    fn engine_key(&mut self, call: Call) -> Result<Key, TeeError> {
        self.engine_handle(call).map(|held| Key(KeyPlace::There(held)))
    }

    /// A key that the trusted OS made and gave to this TA.
    pub(crate) const fn given_key(handle: Handle) -> Key {
        Key(KeyPlace::There(Held(handle)))
    }

    fn engine_handle(&mut self, call: Call) -> Result<Held, TeeError> {
        match self.engine(call)? {
            Answer::Handle(handle) => Ok(Held(handle)),
            other => Err(strange(&other)),
        }
    }

    fn engine_bytes(&mut self, call: Call) -> Result<Vec<u8>, TeeError> {
        match self.engine(call)? {
            Answer::Bytes(bytes) => Ok(bytes.into_vec()),
            other => Err(strange(&other)),
        }
    }

    /// Several operations with one crossing; what came of each, in their order. The trusted OS
    /// works on them with as many processors as there are.
    pub fn run_all(&mut self, runs: Vec<Run>) -> Result<Vec<Result<Vec<u8>, TeeError>>, TeeError> {
        match self.engine(Call::RunAll { runs })? {
            Answer::All(all) => Ok(all.into_iter().map(|one| one.map(ByteBuf::into_vec)).collect()),
            other => Err(strange(&other)),
        }
    }

    /// An operation on a message in the memory that the caller of this command shares; the
    /// result goes there too. Gives its length. `BadState` where nothing is shared.
    pub fn run_on_memory(&mut self, run: Run, input: Span, output: u32) -> Result<u32, TeeError> {
        match self.engine(Call::RunOnMemory { run, input, output })? {
            Answer::Written(bytes) => Ok(bytes),
            other => Err(strange(&other)),
        }
    }

    /// A fresh key.
    pub fn generate_key(&mut self, attributes: Attributes) -> Result<Key, TeeError> {
        self.engine_key(Call::Generate { attributes })
    }

    /// A key that this TA made or was given: its bytes, or PKCS#8 of a key pair.
    pub fn import_key(&mut self, attributes: Attributes, material: &[u8]) -> Result<Key, TeeError> {
        self.engine_key(Call::Import { attributes, material: ByteBuf::from(material) })
    }

    /// A symmetric key that only this TA on this board has. Another type or another usage is
    /// another key.
    pub fn derive_from_huk(
        &mut self,
        label: &str,
        context: &[u8],
        attributes: Attributes,
    ) -> Result<Key, TeeError> {
        let (label, context) = (label.to_owned(), ByteBuf::from(context));
        self.engine_key(Call::DeriveFromHuk { label, context, attributes })
    }

    /// The key of hardware auth tokens: the same for all TAs that make or check them, another
    /// one after each power-on.
    pub fn auth_token_key(&mut self) -> Result<Key, TeeError> {
        self.engine_key(Call::AuthTokenKey)
    }

    /// A key as storage may keep it under `name`: sealed to this TA, this board and that name. For
    /// a batch, in any placement; [`Context::storage_put_key`] is the short way.
    pub fn seal_key(&mut self, name: &str, key: &Key) -> Result<Vec<u8>, TeeError> {
        let call = Call::Seal { key: key.there()?, name: name.to_owned() };
        self.engine_bytes(call)
    }

    /// What [`Context::seal_key`] gave for an object of this name; `Security` where it is anything
    /// else.
    pub fn unseal_key(&mut self, name: &str, sealed: &[u8]) -> Result<Key, TeeError> {
        let (name, sealed) = (name.to_owned(), ByteBuf::from(sealed));
        self.engine_key(Call::Unseal { name, sealed })
    }

    /// Creates or replaces an object that holds `key`, atomically and durably.
    pub fn storage_put_key(&mut self, name: &str, key: &Key) -> Result<(), TeeError> {
        let sealed = self.seal_key(name, key)?;
        self.storage_put(name, &sealed)
    }

    /// A key that was stored; `None` where there is no object of that name, `Security` where it
    /// holds something else.
    pub fn storage_get_key(&mut self, name: &str) -> Result<Option<Key>, TeeError> {
        let Some(sealed) = self.storage_get(name)? else { return Ok(None) };
        self.unseal_key(name, &sealed).map(Some)
    }
}

impl Key {
    /// A key that this TA made, held in its own process: operations with it cross nothing.
    pub fn here(attributes: Attributes, material: &[u8]) -> Result<Self, TeeError> {
        tee_engine::Key::import(attributes, material).map(Self::held_here)
    }

    /// A fresh key in this TA's own process.
    pub fn generate_here(attributes: Attributes) -> Result<Self, TeeError> {
        tee_engine::Key::generate(attributes).map(Self::held_here)
    }

    fn held_here(key: tee_engine::Key) -> Self {
        Self(KeyPlace::Here(Arc::new(key)))
    }

    fn there(&self) -> Result<Handle, TeeError> {
        match &self.0 {
            KeyPlace::There(held) => Ok(held.0),
            KeyPlace::Here(_) => Err(TeeError::BadParameters(
                "this key is in the trusted application: import it into the engine first".into(),
            )),
        }
    }

    /// A key from this one, in the same place.
    pub fn derive(
        &self,
        context: &mut Context<'_>,
        derivation: Derivation,
        attributes: Attributes,
    ) -> Result<Self, TeeError> {
        match &self.0 {
            KeyPlace::Here(key) => key.derive(&derivation, attributes).map(Self::held_here),
            KeyPlace::There(held) => {
                context.engine_key(Call::Derive { from: held.0, derivation, attributes })
            }
        }
    }

    /// Type, usage and origin.
    pub fn info(&self, context: &mut Context<'_>) -> Result<KeyInfo, TeeError> {
        match &self.0 {
            KeyPlace::Here(key) => Ok(key.info()),
            KeyPlace::There(held) => match context.engine(Call::Info { key: held.0 })? {
                Answer::Info(info) => Ok(info),
                other => Err(strange(&other)),
            },
        }
    }

    /// The public half: SubjectPublicKeyInfo, or of ML-DSA the raw key.
    pub fn public_key(&self, context: &mut Context<'_>) -> Result<Vec<u8>, TeeError> {
        match &self.0 {
            KeyPlace::Here(key) => key.public(),
            KeyPlace::There(held) => context.engine_bytes(Call::PublicKey { key: held.0 }),
        }
    }

    /// The bytes of a key that was made extractable; PKCS#8 of a key pair.
    pub fn export(&self, context: &mut Context<'_>) -> Result<Zeroizing<Vec<u8>>, TeeError> {
        match &self.0 {
            KeyPlace::Here(key) => key.export(),
            KeyPlace::There(held) => {
                context.engine_bytes(Call::Export { key: held.0 }).map(Zeroizing::new)
            }
        }
    }

    /// `key` under this one; both in the trusted OS.
    pub fn wrap(
        &self,
        context: &mut Context<'_>,
        key: &Self,
        wrapping: Wrapping,
    ) -> Result<Vec<u8>, TeeError> {
        let (under, key) = (self.there()?, key.there()?);
        context.engine_bytes(Call::Wrap { under, key, wrapping })
    }

    /// What was wrapped under this key. Attributes come with [`Wrapping::AesKwp`] only.
    pub fn unwrap(
        &self,
        context: &mut Context<'_>,
        wrapped: &[u8],
        wrapping: Wrapping,
        attributes: Option<Attributes>,
    ) -> Result<Self, TeeError> {
        let (under, wrapped) = (self.there()?, ByteBuf::from(wrapped));
        context.engine_key(Call::Unwrap { under, wrapped, wrapping, attributes })
    }

    /// The HMAC or CMAC of a message.
    pub fn mac(&self, context: &mut Context<'_>, message: &[u8]) -> Result<Vec<u8>, TeeError> {
        self.run(context, Operation::Mac, &[], message, None)
    }

    /// Checks a MAC, whole or its first half at least; `Security` where it is wrong.
    pub fn verify_mac(
        &self,
        context: &mut Context<'_>,
        message: &[u8],
        tag: &[u8],
    ) -> Result<(), TeeError> {
        self.run(context, Operation::VerifyMac, &[], message, Some(tag)).map(drop)
    }

    /// A signature.
    pub fn sign(
        &self,
        context: &mut Context<'_>,
        scheme: Scheme,
        message: &[u8],
    ) -> Result<Vec<u8>, TeeError> {
        self.run(context, Operation::Sign(scheme), &[], message, None)
    }

    /// Checks a signature; `Security` where it is wrong.
    pub fn verify(
        &self,
        context: &mut Context<'_>,
        scheme: Scheme,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), TeeError> {
        self.run(context, Operation::Verify(scheme), &[], message, Some(signature)).map(drop)
    }

    /// Encrypts. The tag of GCM is the end.
    pub fn encrypt(
        &self,
        context: &mut Context<'_>,
        cipher: Cipher,
        text: &[u8],
    ) -> Result<Vec<u8>, TeeError> {
        self.run(context, Operation::Encrypt(cipher), &[], text, None)
    }

    /// Decrypts what [`Key::encrypt`] gave; of GCM, nothing unless its tag is right.
    pub fn decrypt(
        &self,
        context: &mut Context<'_>,
        cipher: Cipher,
        text: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, TeeError> {
        let tag_bytes = match &cipher {
            Cipher::Gcm { tag_bytes, .. } => usize::from(*tag_bytes),
            _ => {
                return self
                    .run(context, Operation::Decrypt(cipher), &[], text, None)
                    .map(Zeroizing::new);
            }
        };
        let (text, tag) = split_tag(text, tag_bytes)?;
        self.run(context, Operation::Decrypt(cipher), &[], text, Some(tag)).map(Zeroizing::new)
    }

    /// AES-GCM under a fresh random nonce: `nonce (12) || ciphertext || tag (16)`.
    pub fn seal(
        &self,
        context: &mut Context<'_>,
        associated: &[u8],
        text: &[u8],
    ) -> Result<Vec<u8>, TeeError> {
        let nonce: [u8; NONCE_BYTES] = crypto::random_array();
        let sealed = self.run(context, Operation::Encrypt(gcm(&nonce)), associated, text, None)?;
        Ok([&nonce[..], &sealed].concat())
    }

    /// Opens what [`Key::seal`] made; `Security` where anything about it is wrong.
    pub fn open(
        &self,
        context: &mut Context<'_>,
        associated: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, TeeError> {
        let (nonce, rest) = sealed.split_at_checked(NONCE_BYTES).ok_or_else(too_short)?;
        let (text, tag) = split_tag(rest, TAG_BYTES)?;
        self.run(context, Operation::Decrypt(gcm(nonce)), associated, text, Some(tag))
            .map(Zeroizing::new)
    }

    /// Begins an operation for a message that comes in pieces. Decryption with GCM has a way of
    /// its own, [`Key::begin_open`].
    pub fn begin(
        &self,
        context: &mut Context<'_>,
        operation: Operation,
    ) -> Result<Running, TeeError> {
        if matches!(operation, Operation::Decrypt(Cipher::Gcm { .. })) {
            return Err(TeeError::BadParameters(
                "decrypt pieces of GCM through begin_open, which keeps them until the tag is right"
                    .into(),
            ));
        }
        self.begin_any(context, operation)
    }

    /// Begins to decrypt a text of AES-GCM that comes in pieces.
    pub fn begin_open(
        &self,
        context: &mut Context<'_>,
        nonce: &[u8],
        tag_bytes: u8,
    ) -> Result<Opening, TeeError> {
        let cipher = Cipher::Gcm { nonce: ByteBuf::from(nonce), tag_bytes };
        let running = self.begin_any(context, Operation::Decrypt(cipher))?;
        Ok(Opening { running, plaintext: Zeroizing::default() })
    }

    fn begin_any(
        &self,
        context: &mut Context<'_>,
        operation: Operation,
    ) -> Result<Running, TeeError> {
        Ok(Running(match &self.0 {
            KeyPlace::Here(key) => Place::Here(tee_engine::Running::begin(Some(key), &operation)?),
            KeyPlace::There(held) => {
                let call = Call::Begin { key: Some(held.0), operation };
                Place::There(context.engine_handle(call)?)
            }
        }))
    }

    /// An operation with this key, for [`Context::run_all`] and [`Context::run_on_memory`].
    /// `BadParameters` for a key in this process.
    pub fn to_run(
        &self,
        operation: Operation,
        associated: &[u8],
        data: &[u8],
        tag: Option<&[u8]>,
    ) -> Result<Run, TeeError> {
        Ok(Run {
            key: self.there()?,
            operation,
            associated: ByteBuf::from(associated),
            data: ByteBuf::from(data),
            tag: tag.map(ByteBuf::from),
        })
    }

    /// A message in one piece, or in as many as it takes.
    fn run(
        &self,
        context: &mut Context<'_>,
        operation: Operation,
        associated: &[u8],
        data: &[u8],
        tag: Option<&[u8]>,
    ) -> Result<Vec<u8>, TeeError> {
        match &self.0 {
            KeyPlace::There(held) if data.len() <= MAX_DATA_BYTES => {
                context.engine_bytes(Call::Run {
                    key: Some(held.0),
                    operation,
                    associated: ByteBuf::from(associated),
                    data: ByteBuf::from(data),
                    tag: tag.map(ByteBuf::from),
                })
            }
            _ => {
                let mut running = self.begin_any(context, operation)?;
                if !associated.is_empty() {
                    running.associate(context, associated)?;
                }
                let mut out = Vec::with_capacity(data.len() + 32);
                running.run(context, data, tag, &mut out)?;
                Ok(out)
            }
        }
    }
}

/// An operation in progress. Dropping it ends it; a refusal does too.
pub struct Running(Place);

enum Place {
    Here(tee_engine::Running),
    There(Held),
}

impl Running {
    /// A digest; it needs no key and crosses nothing.
    pub fn digest(hash: Hash) -> Result<Self, TeeError> {
        tee_engine::Running::begin(None, &Operation::Digest(hash)).map(|it| Self(Place::Here(it)))
    }

    /// Appends to GCM's associated data, before any text.
    pub fn associate(&mut self, context: &mut Context<'_>, data: &[u8]) -> Result<(), TeeError> {
        match &mut self.0 {
            Place::Here(running) => running.associate(data),
            Place::There(held) => {
                for piece in data.chunks(MAX_DATA_BYTES) {
                    let data = ByteBuf::from(piece);
                    context.engine(Call::Associate { operation: held.0, data })?;
                }
                Ok(())
            }
        }
    }

    /// Takes a piece of the message; appends what comes out to `out`.
    pub fn update(
        &mut self,
        context: &mut Context<'_>,
        data: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), TeeError> {
        match &mut self.0 {
            Place::Here(running) => running.update(data, out),
            Place::There(held) => {
                for piece in data.chunks(MAX_DATA_BYTES) {
                    let data = ByteBuf::from(piece);
                    let call = Call::Update { operation: held.0, data };
                    out.extend_from_slice(&context.engine_bytes(call)?);
                }
                Ok(())
            }
        }
    }

    /// Takes the last piece and ends: the rest of the text, the digest, the MAC or the signature.
    pub fn finish(self, context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, TeeError> {
        let mut out = Vec::new();
        self.run(context, data, None, &mut out)?;
        Ok(out)
    }

    /// Takes the last piece and checks a MAC or a signature; `Security` where it is wrong.
    pub fn finish_and_verify(
        self,
        context: &mut Context<'_>,
        data: &[u8],
        tag: &[u8],
    ) -> Result<(), TeeError> {
        self.run(context, data, Some(tag), &mut Vec::new())
    }

    fn run(
        mut self,
        context: &mut Context<'_>,
        data: &[u8],
        tag: Option<&[u8]>,
        out: &mut Vec<u8>,
    ) -> Result<(), TeeError> {
        // All but the last piece; what takes its input at once says so itself.
        let last = data.len().saturating_sub(1) / MAX_DATA_BYTES * MAX_DATA_BYTES;
        let (first, last) = match &self.0 {
            Place::Here(_) => (&[][..], data),
            Place::There(_) => data.split_at(last),
        };
        if !first.is_empty() {
            self.update(context, first, out)?;
        }
        match self.0 {
            Place::Here(running) => running.finish(last, tag, out),
            Place::There(held) => {
                let (data, tag) = (ByteBuf::from(last), tag.map(ByteBuf::from));
                let call = Call::Finish { operation: held.0, data, tag };
                // It ends over there by itself.
                std::mem::forget(held);
                out.extend_from_slice(&context.engine_bytes(call)?);
                Ok(())
            }
        }
    }
}

/// A text of AES-GCM on its way. What was decrypted is kept here until the tag was right.
pub struct Opening {
    running: Running,
    plaintext: Zeroizing<Vec<u8>>,
}

impl Opening {
    /// Appends to the associated data, before any text.
    pub fn associate(&mut self, context: &mut Context<'_>, data: &[u8]) -> Result<(), TeeError> {
        self.running.associate(context, data)
    }

    /// Takes a piece of the text and keeps what comes out.
    pub fn update(&mut self, context: &mut Context<'_>, data: &[u8]) -> Result<(), TeeError> {
        self.running.update(context, data, &mut self.plaintext)
    }

    /// Takes a piece and gives what comes out, which nobody has checked: act on none of it, and
    /// forget it where [`Opening::finish`] does not agree. For texts that fit no memory.
    pub fn danger_update_unverified(
        &mut self,
        context: &mut Context<'_>,
        data: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), TeeError> {
        self.running.update(context, data, out)
    }

    /// Ends: the text that was kept, where the tag is right.
    pub fn finish(
        self,
        context: &mut Context<'_>,
        tag: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, TeeError> {
        self.running.run(context, &[], Some(tag), &mut Vec::new())?;
        Ok(self.plaintext)
    }
}

fn gcm(nonce: &[u8]) -> Cipher {
    Cipher::Gcm { nonce: ByteBuf::from(nonce), tag_bytes: TAG_BYTES as u8 }
}

fn split_tag(text: &[u8], tag_bytes: usize) -> Result<(&[u8], &[u8]), TeeError> {
    let at = text.len().checked_sub(tag_bytes).ok_or_else(too_short)?;
    Ok(text.split_at(at))
}

fn too_short() -> TeeError {
    TeeError::Security("too short to have been sealed".into())
}

fn strange(answer: &Answer) -> TeeError {
    TeeError::Communication(format!("the engine answered with {answer:?}"))
}
