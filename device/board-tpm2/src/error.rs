//! Why a TPM, or a board on one, does not do what it is asked.

use crate::address::BadAddress;
use crate::code::Code;
use crate::wire::Malformed;
use std::io;
use std::path::PathBuf;

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TpmError {
    /// The address of the TPM is none.
    #[error(transparent)]
    Address(#[from] BadAddress),
    /// Nobody answers at the address.
    #[error(
        "{address}: the TPM does not answer ({error}); is it there, and may this user open it?"
    )]
    Unreachable {
        /// Where it should be.
        address: String,
        /// What the system said.
        error: io::Error,
    },
    /// The answer is not one.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The answer does not carry the TPM's own HMAC.
    #[error("somebody between this board and its TPM altered an answer")]
    Forged,
    /// PCR 23 does not hold what the board was sealed to.
    #[error(
        "the boot chain is not the one that this board was sealed to (PCR 23 differs): its serial \
         number or root keys were altered, or another program extended the PCR while the device \
         was on; if so, power it off and on again"
    )]
    BootChain,
    /// The TPM has nothing at the board's places.
    #[error(
        "this TPM does not hold the board's {0}: it was cleared, or it is not the TPM that the \
         board was made with; what the board keeps is lost with it"
    )]
    Missing(&'static str),
    /// The TPM has something else at the board's places.
    #[error(
        "what this TPM holds as the board's {0} is not what the board was made with: this is \
         another board's TPM, or its owner put something else there"
    )]
    Foreign(&'static str),
    /// A password that we do not have.
    #[error(
        "the owner hierarchy of this TPM has a password; Holdfast needs an empty one \
         (tpm2_changeauth -c owner)"
    )]
    OwnerPassword,
    /// Too many wrong passwords, of whomever.
    #[error("the TPM is locked after wrong passwords; wait, or tpm2_dictionarylockout -c")]
    LockedOut,
    /// No NV memory, no place for an object or a session.
    #[error("the TPM has no room left: remove what others put there ({0})")]
    NoRoom(&'static str),
    /// Any other response code.
    #[error("the TPM refused {command} with code {code:#05x}")]
    Refused {
        /// The command.
        command: &'static str,
        /// `TPM_RC`.
        code: u32,
    },
    /// A counter would fall, a fuse be blown twice.
    #[error("{0}")]
    WriteOnce(String),
    /// There is no board here.
    #[error("{0}: there is no board here; make one first (holdfast device make)")]
    NoBoard(PathBuf),
    /// There is one already.
    #[error("{0}: there is a board already; a board is made once")]
    Made(PathBuf),
    /// The board's record is not what was written.
    #[error("{0}: the board's record is damaged or was altered ({1})")]
    Damaged(PathBuf, &'static str),
    /// The RPMB chip's file is not what the TPM vouches for.
    #[error("the RPMB chip: {0}")]
    Chip(&'static str),
    /// The operating system refused.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
    /// The cryptography failed: what the TPM sent is no point of the curve.
    #[error("the TPM's key is none: {0}")]
    Key(#[from] crypto::Error),
}

impl TpmError {
    /// What `code` means as the answer to `command`.
    pub(crate) fn from_code(command: &'static str, code: u32) -> Self {
        match Code::of(code) {
            Code::POLICY_FAIL | Code::PCR_CHANGED => Self::BootChain,
            Code::AUTH_FAIL | Code::BAD_AUTH => Self::OwnerPassword,
            Code::LOCKOUT => Self::LockedOut,
            Code::NV_SPACE | Code::OBJECT_MEMORY | Code::SESSION_MEMORY | Code::SESSION_HANDLES => {
                Self::NoRoom(command)
            }
            _ => Self::Refused { command, code },
        }
    }

    /// Whether this says that nothing is at a handle.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if Code::of(*code) == Code::HANDLE)
    }

    /// Tells that the board's `what` is missing, where that is what this means.
    pub(crate) fn missing(self, what: &'static str) -> Self {
        if self.is_missing() { Self::Missing(what) } else { self }
    }
}
