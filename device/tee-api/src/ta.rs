//! The trusted OS and a TA process, over the one socket that the TA has (descriptor 3).

use crate::boot::{BootInfo, Trust};
use crate::keymint::SharedSecretParameters;
use crate::{Login, TeeError, call, clock, engine, storage, ui};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// The descriptor on which a TA finds its channel.
pub const CHANNEL_FD: i32 = 3;

/// From the trusted OS to a TA. The TA answers each request with [`FromTa::Done`] or
/// [`FromTa::Ask`] or [`FromTa::Generate`], after any number of [`FromTa::Syscall`]s.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToTa {
    /// A session begins.
    Open {
        /// Its number, unique in this TA.
        session: u32,
        /// Who opened it.
        login: Login,
    },
    /// A command.
    Invoke {
        /// The session.
        session: u32,
        /// CBOR of the TA's command type.
        command: ByteBuf,
    },
    /// A session ended.
    Close {
        /// The session.
        session: u32,
    },
    /// The answer to a system call.
    Answer(SyscallReply),
    /// Whoever waits for the request that the TA works on withdrew it. Needs no answer of its
    /// own; between requests it means nothing.
    Cancel,
    /// The key is made, or can't be. The TA answers as after [`ToTa::Answered`].
    Made {
        /// From [`FromTa::Generate`].
        question: u32,
        /// The key.
        key: Result<engine::Handle, TeeError>,
    },
    /// The person answered, or turned the question away. The TA answers with
    /// [`FromTa::Done`], or asks again, for the request that asked.
    Answered {
        /// From [`FromTa::Ask`].
        question: u32,
        /// What the person said.
        answer: Result<ui::Said, TeeError>,
    },
}

/// From a TA to the trusted OS.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromTa {
    /// The request is done: CBOR of the reply type (empty for open and close).
    Done(Result<ByteBuf, TeeError>),
    /// A service of the trusted OS is needed; exactly one [`ToTa::Answer`] follows.
    Syscall(Syscall),
    /// The command waits for the person at the trusted screen. The TA is free for other
    /// requests meanwhile; [`ToTa::Answered`] follows once.
    Ask {
        /// Which question: a number that none of this TA's open ones has.
        question: u32,
        /// What is asked.
        ask: ui::Ask,
    },
    /// The command waits for a fresh key, which may take long to make. The TA is free for other
    /// requests meanwhile; [`ToTa::Made`] follows once.
    Generate {
        /// As of [`FromTa::Ask`], and none of those.
        question: u32,
        /// Type and usage.
        attributes: engine::Attributes,
    },
}

/// The services of the trusted OS.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Syscall {
    /// Keys and algorithms. → `Engine`
    Engine(engine::Call),
    /// True random bytes, at most 256. → `Bytes`
    Random {
        /// How many.
        bytes: u16,
    },
    /// Secure storage. → `Storage`
    Storage(storage::Call),
    /// Milliseconds since power-on, from the board. → `Number`
    Uptime,
    /// The secure clock. → `Clock`
    Clock(clock::Call),
    /// What was booted; refused `BadState` before the bootloader said so. → `BootInfo`
    BootInfo,
    /// 16 bytes that are other ones after each power-on: what a TA remembers of this boot it
    /// stores with them, since its process may end before. → `Bytes`
    BootId,
    /// Whether the board is still in the factory. → `Flag`
    InFactory,
    /// Blows the life-cycle fuse. → `Done`
    LeaveFactory,
    /// The board's serial number. → `Text`
    Serial,
    /// What was booted proved itself: the stored rollback indexes rise to those of the latched
    /// [`BootInfo`]. For gatekeeper only. → `Done`
    BootSuccessful,
    /// Whose signature counts at the next power-on. → `Trust`
    Trust,
    /// Locks the bootloader, or unlocks it. For gatekeeper only. → `Done`
    SetBootLock {
        /// Only what is signed boots.
        locked: bool,
    },
    /// Trusts the user's own key beside the maker's, or no key. For gatekeeper only; refused
    /// `BadState` unless the bootloader is unlocked, now and for the next power-on. → `Done`
    SetCustomKey {
        /// SHA-256 of the AVB public-key blob.
        key: Option<[u8; 32]>,
    },
    /// What this TEE brings to the agreement on the auth tokens' key. For KeyMint only.
    /// → `SharedSecret`
    SharedSecretParameters,
    /// Agrees on the auth tokens' key anew. For KeyMint only. → `Bytes`: the check
    ComputeSharedSecret {
        /// All participants, this TEE among them.
        participants: Vec<SharedSecretParameters>,
    },
    /// Calls another TA. → `Call`
    Call(call::Call),
    /// The trusted screen. → `Ui`
    Ui(ui::Call),
}

/// The trusted OS's answer.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyscallReply {
    /// What the engine answers.
    Engine(engine::Answer),
    /// Bytes.
    Bytes(ByteBuf),
    /// A number.
    Number(u64),
    /// Text.
    Text(String),
    /// Yes or no.
    Flag(bool),
    /// What the secure clock says.
    Clock(clock::Answer),
    /// What was booted.
    BootInfo(BootInfo),
    /// Whose signature counts.
    Trust(Trust),
    /// From secure storage.
    Storage(storage::Answer),
    /// What this TEE brings.
    SharedSecret(SharedSecretParameters),
    /// What another TA answered.
    Call(call::Answer),
    /// The trusted screen's.
    Ui(ui::Answer),
    /// Done.
    Done,
    /// Refused.
    Refused(TeeError),
}

impl std::fmt::Debug for SyscallReply {
    /// Names the kind only: the content may be a key or a PIN.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Engine(_) => "Engine(..)",
            Self::Bytes(_) => "Bytes(..)",
            Self::Number(_) => "Number(..)",
            Self::Text(_) => "Text(..)",
            Self::Flag(_) => "Flag(..)",
            Self::Clock(_) => "Clock(..)",
            Self::BootInfo(_) => "BootInfo(..)",
            Self::Trust(_) => "Trust(..)",
            Self::Storage(_) => "Storage(..)",
            Self::SharedSecret(_) => "SharedSecret(..)",
            Self::Call(_) => "Call(..)",
            Self::Ui(_) => "Ui(..)",
            Self::Done => "Done",
            Self::Refused(_) => "Refused(..)",
        })
    }
}
