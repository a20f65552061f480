//! What a trusted application asks of the engine, and what that answers.

use super::{Attributes, Derivation, Handle, KeyInfo, Operation, Wrapping};
use crate::TeeError;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::fmt;

/// An operation on a message in one piece.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The key.
    pub key: Handle,
    /// What is done.
    pub operation: Operation,
    /// GCM's associated data.
    pub associated: ByteBuf,
    /// The message.
    pub data: ByteBuf,
    /// What is checked: a MAC, a signature, GCM's tag.
    pub tag: Option<ByteBuf>,
}

/// A part of shared memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Where it begins.
    pub offset: u32,
    /// How long it is, at most [`super::MAX_MEMORY_RUN_BYTES`].
    pub bytes: u32,
}

/// What a TA asks of the engine.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// A fresh key. → `Handle`
    Generate {
        /// Type and usage.
        attributes: Attributes,
    },
    /// A key that the TA made or was given. → `Handle`
    Import {
        /// Type and usage.
        attributes: Attributes,
        /// The bytes; PKCS#8 of a key pair.
        material: ByteBuf,
    },
    /// A symmetric key that only this TA on this board has. Another type or another usage is
    /// another key. It is never extractable. → `Handle`
    DeriveFromHuk {
        /// What it is for.
        label: String,
        /// What it is bound to.
        context: ByteBuf,
        /// Type and usage.
        attributes: Attributes,
    },
    /// A key from another key. → `Handle`
    Derive {
        /// With [`super::Usage::DERIVE`].
        from: Handle,
        /// How.
        derivation: Derivation,
        /// Type and usage. Extractable only where `from` is, or its agreement's secret.
        attributes: Attributes,
    },
    /// The key of hardware auth tokens: the same for all TAs that make or check them, another
    /// one after each power-on. → `Handle`
    AuthTokenKey,
    /// Type, usage and origin. → `Info`
    Info {
        /// The key.
        key: Handle,
    },
    /// The public half: SubjectPublicKeyInfo, or of ML-DSA the raw key. → `Bytes`
    PublicKey {
        /// The key.
        key: Handle,
    },
    /// The bytes of an extractable key, in the form of [`Call::Import`]. → `Bytes`
    Export {
        /// The key.
        key: Handle,
    },
    /// A key under another one. → `Bytes`
    Wrap {
        /// With [`super::Usage::WRAP`].
        under: Handle,
        /// What is wrapped.
        key: Handle,
        /// How.
        wrapping: Wrapping,
    },
    /// What was wrapped. → `Handle`
    Unwrap {
        /// With [`super::Usage::UNWRAP`].
        under: Handle,
        /// From [`Call::Wrap`].
        wrapped: ByteBuf,
        /// As it was wrapped.
        wrapping: Wrapping,
        /// For [`Wrapping::AesKwp`]: type and usage; with [`Wrapping::AesGcm`] they come along.
        attributes: Option<Attributes>,
    },
    /// A key as this TA's storage may keep it: sealed to this TA on this board and to the name
    /// of the object. → `Bytes`
    Seal {
        /// The key.
        key: Handle,
        /// The object's name.
        name: String,
    },
    /// What [`Call::Seal`] gave. → `Handle`
    Unseal {
        /// The object's name.
        name: String,
        /// Its content.
        sealed: ByteBuf,
    },
    /// Begins an operation. → `Handle`
    Begin {
        /// The key; none for a digest.
        key: Option<Handle>,
        /// What is done.
        operation: Operation,
    },
    /// Associated data of GCM, before any text. → `Done`
    Associate {
        /// The operation.
        operation: Handle,
        /// The next piece.
        data: ByteBuf,
    },
    /// A piece of the message. → `Bytes`: what came out so far
    Update {
        /// The operation.
        operation: Handle,
        /// The next piece.
        data: ByteBuf,
    },
    /// The last piece; the operation is over, whatever comes of it. → `Bytes`: the rest (nothing
    /// where something was checked), or refused `Security`
    Finish {
        /// The operation.
        operation: Handle,
        /// The last piece; may be empty.
        data: ByteBuf,
        /// What is checked: a MAC, a signature, GCM's tag.
        tag: Option<ByteBuf>,
    },
    /// Begin and finish at once: the way for messages in one piece. → as [`Call::Finish`]. A
    /// decryption gives nothing unless its tag was right.
    Run {
        /// The key; none for a digest.
        key: Option<Handle>,
        /// What is done.
        operation: Operation,
        /// GCM's associated data.
        associated: ByteBuf,
        /// The message.
        data: ByteBuf,
        /// What is checked: a MAC, a signature, GCM's tag.
        tag: Option<ByteBuf>,
    },
    /// Several messages in one piece each: one crossing, and as many processors as there are.
    /// → `All`, in their order
    RunAll {
        /// At most [`super::MAX_RUNS`].
        runs: Vec<Run>,
    },
    /// As [`Call::Run`], on the memory that the caller of the current command shares. → `Written`
    RunOnMemory {
        /// What is done; its `data` is empty. The tag of a decryption with GCM may be the end of
        /// the message.
        run: Run,
        /// Where the message is.
        input: Span,
        /// Where the result goes; the two may overlap.
        output: u32,
    },
    /// Ends operations and forgets keys. Unknown handles are no error. → `Done`
    Close {
        /// Both kinds.
        handles: Vec<Handle>,
    },
}

impl Call {
    /// Its name, for people.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Generate { .. } => "generate",
            Self::Import { .. } => "import",
            Self::DeriveFromHuk { .. } => "derive from the HUK",
            Self::Derive { .. } => "derive",
            Self::AuthTokenKey => "auth token key",
            Self::Info { .. } => "info",
            Self::PublicKey { .. } => "public key",
            Self::Export { .. } => "export",
            Self::Wrap { .. } => "wrap",
            Self::Unwrap { .. } => "unwrap",
            Self::Seal { .. } => "seal",
            Self::Unseal { .. } => "unseal",
            Self::Begin { .. } => "begin",
            Self::Associate { .. } => "associate",
            Self::Update { .. } => "update",
            Self::Finish { .. } => "finish",
            Self::Run { .. } => "run",
            Self::RunAll { .. } => "run all",
            Self::RunOnMemory { .. } => "run on memory",
            Self::Close { .. } => "close",
        }
    }
}

impl fmt::Debug for Call {
    /// Names the call only: the content may be a key or a secret text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Call({})", self.name())
    }
}

/// What the engine answers.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// A key object or an operation.
    Handle(Handle),
    /// Bytes.
    Bytes(ByteBuf),
    /// About a key.
    Info(KeyInfo),
    /// What came of each of several operations.
    All(Vec<Result<ByteBuf, TeeError>>),
    /// So many bytes went into shared memory.
    Written(u32),
    /// Done.
    Done,
}

impl fmt::Debug for Answer {
    /// Names the kind only: the content may be a key or a secret text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Handle(_) => "Handle(..)",
            Self::Bytes(_) => "Bytes(..)",
            Self::Info(_) => "Info(..)",
            Self::All(_) => "All(..)",
            Self::Written(_) => "Written(..)",
            Self::Done => "Done",
        })
    }
}
