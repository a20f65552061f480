//! Refusals of the keystore and of KeyMint, in the words of PKCS #11.

use crate::error::Rv;
use cryptoki_sys::*;
use keymint::ErrorCode;
use keystore_client::{Code, Error, KeystoreCode};
use tee_api::TeeError;

/// Why the keystore gave nothing.
pub(super) fn refused(error: &Error) -> Rv {
    Rv(match error {
        Error::Refused { code: Code::KeyMint(code), .. } => return broken_rule(*code),
        Error::Refused { code: Code::Keystore(code), .. } => match code {
            KeystoreCode::KeyNotFound => CKR_OBJECT_HANDLE_INVALID,
            KeystoreCode::PermissionDenied => CKR_FUNCTION_REJECTED,
            KeystoreCode::OutOfSpace | KeystoreCode::TooMuchData => CKR_DEVICE_MEMORY,
            KeystoreCode::Locked | KeystoreCode::NoScreenLock => CKR_USER_NOT_LOGGED_IN,
            KeystoreCode::Closed => CKR_TOKEN_NOT_RECOGNIZED,
            _ => CKR_DEVICE_ERROR,
        },
        // The trusted screen's word.
        Error::System { error, .. } => match error.as_str() {
            "wrong_pin" => CKR_PIN_INCORRECT,
            "throttled" => CKR_PIN_LOCKED,
            "cancelled" => CKR_FUNCTION_CANCELED,
            _ => CKR_DEVICE_ERROR,
        },
        Error::Unreachable { .. } => CKR_DEVICE_REMOVED,
        Error::Tee(error) => return unanswered(error),
        _ => CKR_DEVICE_ERROR,
    })
}

/// Why the TEE gave nothing.
pub(super) const fn unanswered(error: &TeeError) -> Rv {
    Rv(match error {
        TeeError::Communication(_) => CKR_DEVICE_REMOVED,
        TeeError::Resources(_) => CKR_DEVICE_MEMORY,
        TeeError::Denied(_) => CKR_FUNCTION_REJECTED,
        _ => CKR_DEVICE_ERROR,
    })
}

/// Which of KeyMint's rules said no.
pub(super) const fn broken_rule(code: ErrorCode) -> Rv {
    Rv(match code {
        ErrorCode::InvalidInputLength => CKR_DATA_LEN_RANGE,
        ErrorCode::VerificationFailed | ErrorCode::InvalidArgument => CKR_ENCRYPTED_DATA_INVALID,
        ErrorCode::InvalidKeyBlob => CKR_KEY_HANDLE_INVALID,
        ErrorCode::TooManyOperations | ErrorCode::MemoryAllocationFailed => CKR_DEVICE_MEMORY,
        ErrorCode::UnsupportedKeySize => CKR_KEY_SIZE_RANGE,
        ErrorCode::UnsupportedEcCurve => CKR_CURVE_NOT_SUPPORTED,
        ErrorCode::IncompatiblePurpose
        | ErrorCode::IncompatibleDigest
        | ErrorCode::IncompatiblePaddingMode
        | ErrorCode::IncompatibleBlockMode => CKR_KEY_FUNCTION_NOT_PERMITTED,
        ErrorCode::UnsupportedPurpose => CKR_TEMPLATE_INCONSISTENT,
        ErrorCode::KeyUserNotAuthenticated | ErrorCode::DeviceLocked => CKR_USER_NOT_LOGGED_IN,
        ErrorCode::KeyMaxOpsExceeded => CKR_PIN_LOCKED,
        _ => CKR_DEVICE_ERROR,
    })
}
