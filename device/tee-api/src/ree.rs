//! A program of the system calls a trusted application (GlobalPlatform TEE Client API).
//!
//! Over a SEQPACKET Unix socket; who calls is told by the kernel (peer credentials). One request
//! at a time on a connection, and [`Request::Cancel`] while it runs; sessions belong to the
//! connection and end with it.

use crate::keeper::{Operation, Outcome};
use crate::{Identity, LoginMethod, Signer, TaId, TeeError};
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
        /// Whose; `None`: the maker's, else the only one of that UUID.
        signer: Option<Signer>,
        /// How the caller wants to be known.
        login: LoginMethod,
    },
    /// Runs a command in a session.
    Invoke {
        /// From [`Reply::Opened`].
        session: u32,
        /// CBOR of the TA's command type.
        command: ByteBuf,
    },
    /// Shares memory with the commands that come on this connection (GlobalPlatform's registered
    /// shared memory). Beside it goes a memfd that can't shrink, of at most [`MAX_SHARED_BYTES`]; it
    /// takes the place of an earlier one.
    Share,
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
    /// Withdraws the request that runs; the answer is that request's, [`TeeError::Cancelled`]
    /// unless it was done first. Has no answer of its own.
    Cancel,
    /// Installs a trusted application, until power-off. Beside it goes the signed image: a memfd
    /// sealed against every change, of at most [`MAX_IMAGE_BYTES`]. A newer version takes the
    /// place of an older one, whose sessions end. For the system's root.
    Load,
    /// Ends and forgets a trusted application that was loaded. What it stored stays for the
    /// next time. For the system's root.
    Remove(Identity),
    /// Which trusted applications there are.
    List,
}

/// The most bytes that one connection shares.
pub const MAX_SHARED_BYTES: u64 = 4 << 20;
/// The largest image of a trusted application.
pub const MAX_IMAGE_BYTES: u64 = 16 << 20;

/// A trusted application that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installed {
    /// Who it is.
    pub identity: Identity,
    /// Its name in its signed image, as `ta-counter`.
    pub name: String,
    /// The rollback index of its image.
    pub version: u64,
    /// Whether it came with the system; else it was loaded.
    pub built_in: bool,
    /// How many sessions it has.
    pub sessions: u32,
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
    /// The memory is shared.
    Shared,
    /// The session is closed.
    Closed,
    /// The system does something with a file and answers [`Request::Filed`].
    File {
        /// No other has it.
        number: u64,
        /// What to do.
        operation: Operation,
    },
    /// A trusted application was loaded.
    Loaded(Installed),
    /// It was removed.
    Removed,
    /// All trusted applications.
    Listed(Vec<Installed>),
    /// Refused.
    Refused(TeeError),
}
