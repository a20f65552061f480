//! The engine as a trusted application asks it: by handle.

mod algorithms;
mod hostile;
mod rules;

use crypto::kdf::hkdf_sha256;
use crypto::secret::Secret;
use serde_bytes::ByteBuf;
use tee_api::TeeError;
use tee_api::engine::{
    Answer, Attributes, Call, Cipher, Derivation, Handle, Hash, Input, KeyType, Operation, Scheme,
    Usage, Wrapping,
};
use tee_engine::{Engine, Roots};

/// A board and an owner on it.
pub(crate) struct Owner {
    pub(crate) huk: [u8; 32],
    pub(crate) name: &'static [u8],
}

pub(crate) const OWNER: Owner = Owner { huk: [7; 32], name: b"owner" };

impl Roots for Owner {
    fn derive(&self, info: &[&[u8]]) -> Result<Secret<32>, TeeError> {
        Ok(hkdf_sha256(&self.huk, self.name, info))
    }

    fn auth_token_key(&self) -> Result<(Secret<32>, Usage), TeeError> {
        Ok((Secret::new([9; 32]), Usage::VERIFY))
    }
}

pub(crate) const AES: KeyType = KeyType::Aes256;
pub(crate) const SHA_256: Hash = Hash::Sha256;
pub(crate) const ECDSA: Scheme = Scheme::Ecdsa { hash: SHA_256, input: Input::Message };

pub(crate) const fn hmac(bytes: u16) -> KeyType {
    KeyType::Hmac { hash: SHA_256, bytes }
}

pub(crate) fn gcm(nonce: &[u8]) -> Cipher {
    Cipher::Gcm { nonce: ByteBuf::from(nonce), tag_bytes: 16 }
}

/// A trusted application with its engine.
pub(crate) struct App {
    pub(crate) engine: Engine,
    pub(crate) owner: Owner,
}

pub(crate) fn app() -> App {
    App { engine: Engine::new(), owner: OWNER }
}

impl App {
    pub(crate) fn call(&mut self, call: Call) -> Result<Answer, TeeError> {
        self.engine.call(call, &self.owner)
    }

    pub(crate) fn handle(&mut self, call: Call) -> Result<Handle, TeeError> {
        match self.call(call)? {
            Answer::Handle(handle) => Ok(handle),
            other => panic!("{other:?} where a handle was due"),
        }
    }

    pub(crate) fn bytes(&mut self, call: Call) -> Result<Vec<u8>, TeeError> {
        match self.call(call)? {
            Answer::Bytes(bytes) => Ok(bytes.into_vec()),
            other => panic!("{other:?} where bytes were due"),
        }
    }

    pub(crate) fn generate(&mut self, key_type: KeyType, usage: Usage) -> Result<Handle, TeeError> {
        self.handle(Call::Generate { attributes: Attributes::new(key_type, usage) })
    }

    pub(crate) fn import(
        &mut self,
        key_type: KeyType,
        usage: Usage,
        material: &[u8],
    ) -> Result<Handle, TeeError> {
        let attributes = Attributes::new(key_type, usage);
        self.handle(Call::Import { attributes, material: ByteBuf::from(material) })
    }

    pub(crate) fn derive_from_huk(
        &mut self,
        label: &str,
        key_type: KeyType,
        usage: Usage,
    ) -> Result<Handle, TeeError> {
        let attributes = Attributes::new(key_type, usage);
        let (label, context) = (label.to_owned(), ByteBuf::new());
        self.handle(Call::DeriveFromHuk { label, context, attributes })
    }

    pub(crate) fn derive(
        &mut self,
        from: Handle,
        derivation: Derivation,
        key_type: KeyType,
        usage: Usage,
    ) -> Result<Handle, TeeError> {
        let attributes = Attributes::new(key_type, usage);
        self.handle(Call::Derive { from, derivation, attributes })
    }

    pub(crate) fn wrap(&mut self, under: Handle, key: Handle) -> Result<Vec<u8>, TeeError> {
        let wrapping = Wrapping::AesGcm { associated: ByteBuf::from(*b"here") };
        self.bytes(Call::Wrap { under, key, wrapping })
    }

    pub(crate) fn unwrap(&mut self, under: Handle, wrapped: &[u8]) -> Result<Handle, TeeError> {
        let wrapping = Wrapping::AesGcm { associated: ByteBuf::from(*b"here") };
        let wrapped = ByteBuf::from(wrapped);
        self.handle(Call::Unwrap { under, wrapped, wrapping, attributes: None })
    }

    /// In one call.
    pub(crate) fn run(
        &mut self,
        key: Handle,
        operation: Operation,
        associated: &[u8],
        data: &[u8],
        tag: Option<&[u8]>,
    ) -> Result<Vec<u8>, TeeError> {
        self.bytes(Call::Run {
            key: Some(key),
            operation,
            associated: ByteBuf::from(associated),
            data: ByteBuf::from(data),
            tag: tag.map(ByteBuf::from),
        })
    }

    /// In pieces of `size`.
    pub(crate) fn stream(
        &mut self,
        key: Option<Handle>,
        operation: Operation,
        associated: &[u8],
        data: &[u8],
        tag: Option<&[u8]>,
        size: usize,
    ) -> Result<Vec<u8>, TeeError> {
        let operation = self.handle(Call::Begin { key, operation })?;
        for piece in associated.chunks(size) {
            self.call(Call::Associate { operation, data: ByteBuf::from(piece) })?;
        }
        let mut out = Vec::new();
        for piece in data.chunks(size) {
            out.extend(self.bytes(Call::Update { operation, data: ByteBuf::from(piece) })?);
        }
        let (data, tag) = (ByteBuf::new(), tag.map(ByteBuf::from));
        out.extend(self.bytes(Call::Finish { operation, data, tag })?);
        Ok(out)
    }
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2));
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}
