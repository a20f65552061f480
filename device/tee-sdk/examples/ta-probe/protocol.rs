//! What the probe is asked. The test that asks shares this file.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use tee_api::ui::Ask;
use tee_api::{Login, Protocol, TaId};

/// The probe's protocol.
#[derive(Debug)]
pub(crate) enum Probe {}

impl Protocol for Probe {
    const TA: TaId = TaId(*b"holdfast-taprobe");
    const NAME: &'static str = "ta-probe";
    type Command = Command;
    type Reply = Reply;
}

/// What it is to try.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Command {
    /// Open a file. → `Errno`
    OpenFile(String),
    /// Make a network socket. Ends the process.
    Socket,
    /// Start a process. Ends the process.
    Fork,
    /// Trace a process. Ends the process.
    Trace(i32),
    /// Make memory executable. Ends the process.
    MapExecutable,
    /// Panic. Ends the process.
    Panic,
    /// Count the sessions that are open. → `Number`
    Sessions,
    /// What a key from the HUK makes of a fixed message. → `Bytes`
    Derive(String),
    /// Store. → `Done`
    Put(String, ByteBuf),
    /// Read. → `Bytes`
    Get(String),
    /// Change objects in files. → `Done`
    Change(Vec<Change>),
    /// Read an object in files. → `Bytes`
    Read(String),
    /// The names of objects in files, behind one. → `Names`
    List(Option<String>),
    /// A service that is not for this TA. → `Done`
    EraseAll,
    /// Work for the crypto engine, so many times. → `Done`
    Work(Work, Place, u32),
    /// A service that is not for this TA. → `Done`
    LeaveFactory,
    /// Nothing at all. → `Done`
    Nothing,
    /// Open a session as who opened this one. → `Login`
    WhoAmI,
    /// Compute until nobody waits for it any more, or for good. → refused `Cancelled`
    Compute {
        /// Look whether somebody still waits.
        attentive: bool,
    },
    /// Ask for that many bytes of memory and write to all of them. → `Done`
    Allocate(usize),
    /// Call the second probe with a command. → what it replied
    CallOther(Box<Self>),
    /// As `CallOther`, in a session that is kept. → `Done`
    KeepSessionWithOther,
    /// Call one that the image does not declare. → `Done`
    CallUndeclared,
    /// Ask the person yes or no. → `Done`
    AskThePerson,
    /// Read the time that this clock shows. Ends the process.
    Clock(i32),
    /// Execute a program by path or out of a descriptor. → `Errno`, or ends the process
    Execute,
    /// Send a signal to a process. Ends the process.
    Signal(i32),
    /// Take a way back to what the start of the process gave up. Ends the process.
    Unlock,
    /// Have the person confirm this text. → `Confirmed`
    Confirm(String),
    /// Use a confirmation of this text up. → `Done`
    Redeem(ByteBuf, ByteBuf),
    /// Sign so many messages at once with a key in the trusted OS. → `Number` of those that verify
    SignAll(u8),
    /// Encrypt, or decrypt, in the caller's memory: so many bytes, from one place to another.
    /// → `Number` of bytes written
    OnMemory {
        /// Encrypt; else decrypt.
        encrypt: bool,
        /// From where.
        offset: u32,
        /// How much.
        bytes: u32,
        /// To where.
        output: u32,
    },
    /// Make an RSA key of 3072 bits and sign with it. → `Done`
    SlowKey,
    /// Ask for whatever prompt; what was typed stays here. → `Done`
    Ask(Ask),
}

/// A change of an object in files.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Change {
    /// Create or replace.
    Put(String, ByteBuf),
    /// Write at an offset.
    Write(String, u32, ByteBuf),
    /// Cut off.
    Truncate(String, u32),
    /// Delete.
    Delete(String),
    /// Rename.
    Rename(String, String),
}

/// What the engine is timed with; messages have 16 KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Work {
    /// A digest; in the TA's process always.
    Sha256,
    /// A MAC.
    HmacSha256,
    /// An encryption.
    Aes256Gcm,
    /// A signature over a digest.
    EcdsaP256,
    /// A signature over a digest.
    Rsa2048,
}

/// Where the key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Place {
    /// In the TA's own process.
    Here,
    /// In the trusted OS.
    ByHandle,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// The kernel refused with this number.
    Errno(i32),
    /// It went through.
    Done,
    /// A number.
    Number(usize),
    /// Bytes.
    Bytes(ByteBuf),
    /// Names.
    Names(Vec<String>),
    /// Who opened the session.
    Login(Login),
    /// Message and token.
    Confirmed(ByteBuf, ByteBuf),
}

/// A second probe, which the first one may call: the same program under another UUID.
#[derive(Debug)]
pub(crate) enum Other {}

impl Protocol for Other {
    const TA: TaId = TaId(*b"holdfast-taother");
    const NAME: &'static str = "ta-other";
    type Command = Command;
    type Reply = Reply;
}
