//! A program of the system calls a trusted application (GlobalPlatform TEE Client API).
//!
//! Over a SEQPACKET Unix socket; who calls is told by the kernel (peer credentials). One request
//! at a time on a connection; sessions belong to the connection and end with it.

use crate::keeper::{Operation, Outcome};
use crate::{TaId, TeeError};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// From the REE.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Opens a session with a TA.
    Open {
        /// Which one.
        ta: TaId,
    },
    /// Runs a command in a session.
    Invoke {
        /// From [`Reply::Opened`].
        session: u32,
        /// CBOR of the TA's command type.
        command: ByteBuf,
    },
    /// Closes a session.
    Close {
        /// From [`Reply::Opened`].
        session: u32,
    },
    /// Offers to keep files ([`crate::keeper`]). From now on the TEE asks and this end answers.
    KeepFiles,
    /// What came of [`Reply::File`].
    Filed {
        /// Its number.
        number: u64,
        /// What came of it.
        outcome: Outcome,
    },
}

/// From the TEE.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// A session stands.
    Opened {
        /// Its number on this connection.
        session: u32,
    },
    /// CBOR of the TA's reply type.
    Done(ByteBuf),
    /// The session is closed.
    Closed,
    /// The system does something with a file and answers [`Request::Filed`].
    File {
        /// No other has it.
        number: u64,
        /// What to do.
        operation: Operation,
    },
    /// Refused.
    Refused(TeeError),
}
