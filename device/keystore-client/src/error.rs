//! Why there is no key, or no answer: KeyMint's error codes, the keystore's own, and the way.

use keymint::ErrorCode;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::PathBuf;
use tee_client::TeeError;

/// A refusal of the keystore itself, above KeyMint. Where Android's keystore has such a refusal,
/// the number is the one of its `ResponseCode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeystoreCode {
    /// The key needs an unlocked device.
    Locked,
    /// The keystore or what it stands on failed.
    SystemError,
    /// The caller may not do this with this key.
    PermissionDenied,
    /// No such key, grant or operation for this caller.
    KeyNotFound,
    /// What is stored is not what was stored.
    ValueCorrupted,
    /// Somebody else is at this operation.
    OperationBusy,
    /// The request is malformed.
    InvalidArgument,
    /// More bytes than one request carries.
    TooMuchData,
    /// The alias is taken.
    AlreadyExists,
    /// No key with certificates of the provisioning server is left.
    OutOfKeys,
    /// The disk is full, or the caller has as many keys as it may.
    OutOfSpace,
    /// The caller must set a screen lock first, or unlock the device once.
    NoScreenLock,
    /// The keystore is closed: the device waits for its owner's account, or was erased.
    Closed,
}

impl KeystoreCode {
    const TABLE: &'static [(Self, i32, &'static str, u16)] = &[
        (Self::Locked, 2, "locked", 423),
        (Self::SystemError, 4, "system_error", 500),
        (Self::PermissionDenied, 6, "permission_denied", 403),
        (Self::KeyNotFound, 7, "key_not_found", 404),
        (Self::ValueCorrupted, 8, "value_corrupted", 500),
        (Self::OperationBusy, 19, "operation_busy", 409),
        (Self::InvalidArgument, 20, "bad_request", 400),
        (Self::TooMuchData, 21, "too_much_data", 413),
        (Self::OutOfKeys, 22, "out_of_keys", 503),
        (Self::OutOfSpace, 23, "out_of_space", 507),
        (Self::AlreadyExists, 100, "key_already_exists", 409),
        (Self::NoScreenLock, 101, "no_screen_lock", 409),
        (Self::Closed, 102, "keystore_closed", 423),
    ];

    const fn row(self) -> &'static (Self, i32, &'static str, u16) {
        let mut at = 0;
        while at < Self::TABLE.len() {
            if Self::TABLE[at].0 as u8 == self as u8 {
                return &Self::TABLE[at];
            }
            at += 1;
        }
        panic!("each code has its row")
    }

    /// Its number, which is positive: KeyMint's are negative.
    #[must_use]
    pub const fn number(self) -> i32 {
        self.row().1
    }

    /// Its name for programs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.row().2
    }

    /// The HTTP status that says it.
    #[must_use]
    pub const fn status(self) -> u16 {
        self.row().3
    }

    fn with_number(number: i32) -> Option<Self> {
        Self::TABLE.iter().find(|row| row.1 == number).map(|row| row.0)
    }
}

/// Which refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// One of KeyMint's rules.
    KeyMint(ErrorCode),
    /// One of the keystore's.
    Keystore(KeystoreCode),
}

impl Code {
    /// Its number: negative for KeyMint's, positive for the keystore's.
    #[must_use]
    pub const fn number(self) -> i32 {
        match self {
            Self::KeyMint(code) => code.number(),
            Self::Keystore(code) => code.number(),
        }
    }

    /// Its name for programs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::KeyMint(code) => code.name(),
            Self::Keystore(code) => code.name(),
        }
    }

    /// The one with this number.
    #[must_use]
    pub fn with_number(number: i32) -> Option<Self> {
        let keymint = ErrorCode::ALL.iter().find(|code| code.number() == number);
        keymint
            .map(|code| Self::KeyMint(*code))
            .or_else(|| KeystoreCode::with_number(number).map(Self::Keystore))
    }
}

impl From<ErrorCode> for Code {
    fn from(code: ErrorCode) -> Self {
        Self::KeyMint(code)
    }
}

impl From<KeystoreCode> for Code {
    fn from(code: KeystoreCode) -> Self {
        Self::Keystore(code)
    }
}

/// The body of each answer that is a refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The code's name, as `key_expired`.
    pub error: String,
    /// The code's number, as `-25`; absent where the refusal is not the keystore's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// For people: what happened, and what to do.
    pub reason: String,
}

/// Why a call of the client gave nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Refused by the keystore or by KeyMint.
    #[error("{reason}")]
    Refused {
        /// Which refusal.
        code: Code,
        /// What happened, and what to do.
        reason: String,
    },
    /// Refused by the system that serves the keystore.
    #[error("{reason}")]
    System {
        /// HTTP status.
        status: u16,
        /// Its word.
        error: String,
        /// What happened, and what to do.
        reason: String,
    },
    /// The device's socket does not answer.
    #[error("{}: {source}: is the device on? HOLDFAST_SOCKET names its socket", socket.display())]
    Unreachable {
        /// The socket.
        socket: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The TEE does not answer, or not as it should.
    #[error(transparent)]
    Tee(#[from] TeeError),
    /// An answer that does not belong to the question.
    #[error("the keystore's answer is malformed: {0}")]
    Malformed(String),
}

impl Error {
    /// The refusal's code, where it is one.
    #[must_use]
    pub const fn code(&self) -> Option<Code> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// What an answer with `status` and this body refuses.
    pub(crate) fn refused(status: u16, body: &[u8]) -> Self {
        let Ok(refusal) = serde_json::from_slice::<Refusal>(body) else {
            return Self::Malformed(format!("status {status} without a reason"));
        };
        let Refusal { error, code, reason } = refusal;
        match code.and_then(Code::with_number) {
            Some(code) => Self::Refused { code, reason },
            None => Self::System { status, error, reason },
        }
    }
}

impl From<ErrorCode> for Error {
    fn from(code: ErrorCode) -> Self {
        Self::Refused { code: code.into(), reason: code.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_is_found_by_its_number_and_no_number_is_used_twice() {
        let keymint = ErrorCode::ALL.iter().map(|code| Code::KeyMint(*code));
        let keystore = KeystoreCode::TABLE.iter().map(|row| Code::Keystore(row.0));
        for code in keymint.chain(keystore) {
            assert_eq!(Code::with_number(code.number()), Some(code));
        }
        assert_eq!(Code::with_number(-25).unwrap().name(), "key_expired");
        assert_eq!(Code::with_number(7).unwrap().name(), "key_not_found");
        assert_eq!(Code::with_number(0), None);
    }
}
