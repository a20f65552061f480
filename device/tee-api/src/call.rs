//! One trusted application calls another (GlobalPlatform TEE Internal Core API 4.9).
//!
//! Only along the list that the caller's image declares, signed (`holdfast.ta.calls`). The
//! caller waits; a call that would make two wait for each other is refused.

use crate::TaId;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// What the caller asks of the trusted OS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// Opens a session. → [`Answer::Opened`]
    Open {
        /// With whom.
        ta: TaId,
    },
    /// Runs a command. → [`Answer::Done`]
    Invoke {
        /// From [`Answer::Opened`].
        session: u32,
        /// CBOR of the other's command type.
        command: ByteBuf,
    },
    /// Closes a session. → [`Answer::Closed`]
    Close {
        /// From [`Answer::Opened`].
        session: u32,
    },
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// A session stands.
    Opened {
        /// Its number, among those of this caller.
        session: u32,
    },
    /// CBOR of the other's reply type.
    Done(ByteBuf),
    /// The session is closed.
    Closed,
}

impl std::fmt::Debug for Answer {
    /// Names the kind only: the content may be a key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Opened { .. } => "Opened",
            Self::Done(_) => "Done(..)",
            Self::Closed => "Closed",
        })
    }
}
