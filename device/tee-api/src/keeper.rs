//! The system keeps files for the trusted OS: what other TEEs call a supplicant.
//!
//! A program of the system says [`crate::ree::Request::KeepFiles`]; from then on the trusted OS
//! asks on that connection and the program answers, one operation at a time. Files have random
//! names and their content means nothing outside the TEE. The keeper is not trusted: all that it
//! can do is fail.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// The most bytes that are read or written at once.
pub const MAX_IO_BYTES: usize = 96 << 10;
/// The largest file.
pub const MAX_FILE_BYTES: u32 = 1 << 20;
/// The most files that a listing names.
pub const MAX_LISTED: usize = 2048;

/// The name of a file.
pub type FileId = [u8; 16];

/// What is to be done with a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Make it, of zeros, in the place of any that has its name; durable with its name.
    /// → [`Outcome::Done`]
    Create {
        /// Which.
        file: FileId,
        /// Its size, at most [`MAX_FILE_BYTES`].
        bytes: u32,
    },
    /// Write inside it. → [`Outcome::Done`]
    Write {
        /// Which.
        file: FileId,
        /// Where.
        offset: u32,
        /// What, at most [`MAX_IO_BYTES`].
        bytes: ByteBuf,
        /// Whether the file must be durable afterwards.
        sync: bool,
    },
    /// Read exactly so much. → [`Outcome::Bytes`]
    Read {
        /// Which.
        file: FileId,
        /// From where on.
        offset: u32,
        /// How much, at most [`MAX_IO_BYTES`].
        length: u32,
    },
    /// Remove it; a missing one is no error. → [`Outcome::Done`]
    Remove {
        /// Which.
        file: FileId,
    },
    /// Name the files that there are, at most [`MAX_LISTED`]. → [`Outcome::Files`]
    List,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Done.
    Done,
    /// What was read.
    Bytes(ByteBuf),
    /// The files that there are.
    Files(Vec<FileId>),
    /// There is no such file, or it ends too early.
    Missing,
    /// The disk is full.
    Full,
    /// Something else.
    Failed(String),
}
