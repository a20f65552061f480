//! Why a command ends without a result.

use keymint::ErrorCode;
use tee_sdk::TeeError;

/// A rule of KeyMint says no, or the TEE could not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// One of KeyMint's rules.
    Refused(ErrorCode),
    /// Anything else.
    Tee(TeeError),
}

impl From<ErrorCode> for Failure {
    fn from(code: ErrorCode) -> Self {
        Self::Refused(code)
    }
}

impl From<TeeError> for Failure {
    fn from(error: TeeError) -> Self {
        Self::Tee(error)
    }
}

/// What a command comes to.
pub(crate) type Outcome<T> = Result<T, Failure>;

/// Where what was given does not fit, the refusal that stands for it: the engine's own words do
/// not leave the TEE. What has nothing to do with the input stays what it is.
pub(crate) fn as_code(error: TeeError, code: ErrorCode) -> Failure {
    match error {
        TeeError::BadParameters(_) | TeeError::Security(_) => Failure::Refused(code),
        other => Failure::Tee(other),
    }
}
