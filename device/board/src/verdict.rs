//! The check of a stage, from its start to its line in the boot log.

use crate::argument::hex;
use crate::flash::FlashError;
use crate::report::{Stage, Verdict};
use std::time::Instant;

/// Why a stage may not run: the boot ends with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {reason}")]
pub struct Refusal {
    /// libavb's name of the verdict, or `POLICY`.
    pub code: String,
    /// What happened and what to do.
    pub reason: String,
}

impl Refusal {
    /// A refusal under libavb's name of the verdict.
    pub fn new(code: &str, reason: impl Into<String>) -> Self {
        Self { code: code.to_owned(), reason: reason.into() }
    }

    /// A refusal that is not one of libavb's verdicts.
    pub fn policy(reason: impl Into<String>) -> Self {
        Self::new("POLICY", reason)
    }
}

impl From<avb::Refusal> for Refusal {
    fn from(refusal: avb::Refusal) -> Self {
        Self::new(libavb_name(refusal.code), refusal.reason)
    }
}

impl From<FlashError> for Refusal {
    fn from(error: FlashError) -> Self {
        let code = match error {
            FlashError::Io(_) => "ERROR_IO",
            _ => "ERROR_INVALID_METADATA",
        };
        Self::new(code, error.to_string())
    }
}

/// libavb's name for what a check of ours refused (`AvbSlotVerifyResult`).
#[must_use]
pub const fn libavb_name(code: avb::RefusalCode) -> &'static str {
    use avb::RefusalCode as Code;
    match code {
        Code::SignatureInvalid | Code::DigestMismatch => "ERROR_VERIFICATION",
        Code::KeyRejected => "ERROR_PUBLIC_KEY_REJECTED",
        Code::Rollback => "ERROR_ROLLBACK_INDEX",
        Code::Io => "ERROR_IO",
        Code::InvalidArgument => "ERROR_INVALID_ARGUMENT",
        _ => "ERROR_INVALID_METADATA",
    }
}

/// Verifies a partition with a footer ([`avb::verify_hash_footer_partition`]) under any of the
/// maker's keys that still count ([`crate::silicon::Fuses::root_key_hashes`]).
pub fn verify_under(
    keys: &[[u8; 32]],
    partition: &[u8],
    name: &str,
    lowest_index: u64,
) -> Result<avb::VerifiedImage, avb::Refusal> {
    let mut outcome = Err(avb::Refusal {
        code: avb::RefusalCode::KeyRejected,
        reason: "every root key of this board was revoked: it trusts nobody any more".into(),
    });
    for key in keys {
        outcome = avb::verify_hash_footer_partition(partition, name, key, lowest_index);
        let other_key = |refusal: &avb::Refusal| refusal.code == avb::RefusalCode::KeyRejected;
        if !outcome.as_ref().is_err_and(other_key) {
            break;
        }
    }
    outcome
}

/// What a stage turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The version in its signed metadata.
    pub version: String,
    /// SHA-256 of the image, or the root digest of its hash tree.
    pub digest: Vec<u8>,
}

/// A check under way: it is reported whichever way it ends.
#[derive(Debug)]
pub struct Check<'a> {
    stage: &'a str,
    partition: &'a str,
    start: Instant,
}

impl<'a> Check<'a> {
    /// Starts the clock for `stage`, which lies in `partition`.
    #[must_use]
    pub fn start(stage: &'a str, partition: &'a str) -> Self {
        Self { stage, partition, start: Instant::now() }
    }

    /// The line for the log.
    #[must_use]
    pub fn finish(self, outcome: Result<&Identity, &Refusal>) -> Stage {
        let (version, digest, verdict) = match outcome {
            Ok(identity) => (identity.version.clone(), hex(&identity.digest), Verdict::Verified),
            Err(refusal) => {
                let Refusal { code, reason } = refusal.clone();
                (String::new(), String::new(), Verdict::Refused { code, reason })
            }
        };
        Stage {
            stage: self.stage.to_owned(),
            partition: self.partition.to_owned(),
            version,
            digest,
            verdict,
            micros: self.start.elapsed().as_micros().try_into().unwrap_or(u64::MAX),
        }
    }
}
