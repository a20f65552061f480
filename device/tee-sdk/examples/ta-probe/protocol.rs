//! What the probe is asked. The test that asks shares this file.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use tee_api::ui::Ask;
use tee_api::{Protocol, TaId};

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
    /// Have the person confirm this text. → `Confirmed`
    Confirm(String),
    /// Use a confirmation of this text up. → `Done`
    Redeem(ByteBuf, ByteBuf),
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
    /// Message and token.
    Confirmed(ByteBuf, ByteBuf),
}
