//! Refusals and failures, with the code that a program reads and what a person does about it.

use keymint::ErrorCode;
use keystore_client::{Code, KeystoreCode};
use tee_api::TeeError;

/// Why the keystore does not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Refused, by a rule of KeyMint or of the keystore.
    #[error("{reason}")]
    Refused {
        /// Which rule.
        code: Code,
        /// What happened, and what to do.
        reason: String,
    },
    /// The TEE failed, or refused for reasons that are not KeyMint's.
    #[error(transparent)]
    Tee(#[from] TeeError),
}

impl Error {
    /// A refusal with a sentence of its own.
    pub(crate) fn refused(code: impl Into<Code>, reason: impl Into<String>) -> Self {
        Self::Refused { code: code.into(), reason: reason.into() }
    }

    pub(crate) fn no_such_key() -> Self {
        let reason = "you have no such key; `holdfast keys list` shows which there are";
        Self::refused(KeystoreCode::KeyNotFound, reason)
    }

    pub(crate) fn permission(reason: &str) -> Self {
        Self::refused(KeystoreCode::PermissionDenied, reason)
    }

    pub(crate) fn malformed(reason: impl Into<String>) -> Self {
        Self::refused(KeystoreCode::InvalidArgument, reason)
    }

    pub(crate) fn failed(reason: impl Into<String>) -> Self {
        Self::refused(KeystoreCode::SystemError, reason)
    }

    pub(crate) fn corrupted(what: &str) -> Self {
        Self::refused(KeystoreCode::ValueCorrupted, format!("what is stored was altered: {what}"))
    }

    /// An answer of the TEE that does not belong to the question.
    pub(crate) fn unexpected() -> Self {
        let said = "KeyMint's answer does not belong to the question";
        Self::Tee(TeeError::Communication(said.into()))
    }

    /// The refusal's code, where it is one.
    #[must_use]
    pub const fn code(&self) -> Option<Code> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            Self::Tee(_) => None,
        }
    }

    pub(crate) fn is(&self, code: impl Into<Code>) -> bool {
        self.code() == Some(code.into())
    }
}

impl From<ErrorCode> for Error {
    fn from(code: ErrorCode) -> Self {
        let reason = match advice(code) {
            Some(advice) => format!("{code}; {advice}"),
            None => code.to_string(),
        };
        Self::refused(code, reason)
    }
}

/// What to do, where that is not obvious.
const fn advice(code: ErrorCode) -> Option<&'static str> {
    Some(match code {
        ErrorCode::KeyUserNotAuthenticated => "unlock the device, then try again",
        ErrorCode::DeviceLocked => "unlock the device",
        ErrorCode::TooManyOperations => "finish or abort one, or try again later",
        ErrorCode::KeyMaxOpsExceeded => "restart the device, or make another key",
        ErrorCode::NoUserConfirmation => "have the text confirmed on the trusted screen first",
        ErrorCode::InvalidKeyBlob => {
            "give the application id and data that the key was made with, if it has such; \
             otherwise it is lost: delete it"
        }
        ErrorCode::InvalidOperationHandle => "begin anew",
        ErrorCode::IncompatiblePurpose
        | ErrorCode::IncompatibleDigest
        | ErrorCode::IncompatiblePaddingMode
        | ErrorCode::IncompatibleBlockMode
        | ErrorCode::IncompatibleMgfDigest => {
            "`holdfast keys show` says what it was made for; that can't be changed"
        }
        _ => return None,
    })
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        if let sqlx::Error::Database(database) = &error {
            // SQLITE_FULL, and SQLITE_IOERR_WRITE: what a full disk looks like to a write.
            match database.code().as_deref() {
                Some("13" | "778") => return Self::full(),
                // SQLITE_CORRUPT, SQLITE_NOTADB
                Some("11" | "26") => return Self::corrupted("the keystore's database"),
                _ => {}
            }
        }
        Self::failed(format!("the keystore's database: {error}"))
    }
}

impl Error {
    pub(crate) fn full() -> Self {
        let reason = "the disk is full: nothing was changed; delete something first";
        Self::refused(KeystoreCode::OutOfSpace, reason)
    }
}
