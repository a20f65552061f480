//! KeyMint: keys that only this device can use, and the statements about them that anyone can
//! verify (SPEC S3.2).
//!
//! The commands are the methods of Android's `IKeyMintDevice` (versions 3 and 4), with its
//! parameters ([`Authorizations`]) and its refusals: a rule of KeyMint that is broken is
//! [`Reply::Refused`] with KeyMint's code. A [`crate::TeeError`] says that the TEE itself could
//! not: the factory's rules, storage that was altered, a process that died.
//!
//! Besides there is the fast path: [`Command::Open`] unwraps a key once for one user of the
//! system and gives a [`Ticket`]; sessions of that user then use it with [`Command::Use`], many
//! operations in one message, or begin operations with it. All rules hold at every use.
//!
//! An operation belongs to the session that began it and ends with it. Tickets last until they
//! are closed, [`Command::DeleteKey`] deletes their key, or power goes.

mod message;

pub use ::keymint::{
    Algorithm, AuthenticatorType, Authorizations, BlockMode, Bytes, Digest, EcCurve, ErrorCode,
    HardwareAuthToken, KeyFormat, KeyOrigin, KeyPurpose, MlDsaVariant, PaddingMode, SecurityLevel,
    SharedSecretParameters, Tag,
};
pub use message::{
    AttestKey, BegunOperation, Command, DeviceIds, HardwareInfo, KeyBlob, KeyCharacteristics,
    KeyCreation, KeySource, Output, Reply, Ticket, Use,
};

use crate::{Protocol, TaId, TeeError};

/// The most operations at the same time; beyond that one is pruned or the new one refused.
pub const MAX_OPERATIONS: usize = 32;
/// The most tickets at the same time; beyond that the one that was used least recently goes.
pub const MAX_TICKETS: usize = 64;
/// The most uses in one [`Command::Use`].
pub const MAX_USES: usize = 64;
/// The most bytes of input in one command.
pub const MAX_INPUT_BYTES: usize = crate::engine::MAX_DATA_BYTES;

/// KeyMint's protocol.
#[derive(Debug)]
pub struct KeyMint;

impl Protocol for KeyMint {
    const TA: TaId = TaId(*b"holdfast-keymint");
    const NAME: &'static str = "ta-keymint";
    type Command = Command;
    type Reply = Reply;
}

impl From<ErrorCode> for TeeError {
    /// For callers that know no codes of KeyMint: the nearest of GlobalPlatform's.
    fn from(code: ErrorCode) -> Self {
        let text = code.to_string();
        match code {
            ErrorCode::InvalidKeyBlob | ErrorCode::VerificationFailed => Self::Security(text),
            ErrorCode::NoUserConfirmation
            | ErrorCode::KeyUserNotAuthenticated
            | ErrorCode::DeviceLocked
            | ErrorCode::CannotAttestIds => Self::Denied(text),
            ErrorCode::KeyRequiresUpgrade
            | ErrorCode::EarlyBootEnded
            | ErrorCode::KeymintNotConfigured
            | ErrorCode::AttestationKeysNotProvisioned => Self::BadState(text),
            ErrorCode::InvalidOperationHandle => Self::NotFound(text),
            ErrorCode::TooManyOperations
            | ErrorCode::RollbackResistanceUnavailable
            | ErrorCode::MemoryAllocationFailed => Self::Resources(text),
            ErrorCode::SecureHwCommunicationFailed => Self::Communication(text),
            _ => Self::BadParameters(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_keeps_its_name_where_codes_are_not_known() {
        for code in ErrorCode::ALL {
            assert!(TeeError::from(*code).to_string().contains(&code.constant()), "{code}");
        }
    }
}
