//! What a function of the interface returns when it does not succeed.

use cryptoki_sys::*;

/// A return value of PKCS #11 other than `CKR_OK` (3.0, section 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rv(pub CK_RV);

/// What came of it.
pub type Result<T> = std::result::Result<T, Rv>;

/// Fails with a code.
pub(crate) const fn fail<T>(code: CK_RV) -> Result<T> {
    Err(Rv(code))
}

/// Fails with a code unless a condition holds.
pub(crate) const fn ensure(holds: bool, code: CK_RV) -> Result<()> {
    if holds { Ok(()) } else { fail(code) }
}

impl From<crypto::Error> for Rv {
    fn from(error: crypto::Error) -> Self {
        use crypto::Error::{Authentication, Length, MalformedKey};
        Self(match error {
            Authentication => CKR_ENCRYPTED_DATA_INVALID,
            Length => CKR_DATA_LEN_RANGE,
            MalformedKey => CKR_ATTRIBUTE_VALUE_INVALID,
            _ => CKR_FUNCTION_FAILED,
        })
    }
}
