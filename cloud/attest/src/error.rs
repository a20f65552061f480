//! Why a chain proves nothing, and what can fail besides.

use effects::UnixMillis;

/// A refusal or a failure of the attestation service.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A verdict: no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// No verdict: the database.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// Something stored does not parse.
    #[error("stored data is damaged: {0}")]
    Damaged(&'static str),
}

/// The rule that a chain, a challenge or a device breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The certificates themselves: forged, altered, of a maker that is not registered, of a key
    /// that is not in hardware…
    #[error("the attestation chain is refused: {0}")]
    Chain(#[from] keyattest::Refusal),
    /// The challenge was answered before.
    #[error("this challenge was answered already: ask for a new one")]
    ChallengeReplayed,
    /// The challenge is older than its five minutes.
    #[error("this challenge has lapsed: ask for a new one")]
    ChallengeExpired,
    /// The challenge is none of ours.
    #[error("this challenge was never given out: ask for one")]
    ChallengeUnknown,
    /// Too many challenges wait for an answer.
    #[error("too many challenges wait for their answers: try again in some minutes")]
    TooManyChallenges,
    /// The chain is sound, but the device was never enrolled.
    #[error("the device is not enrolled: its maker has to tell us of it")]
    DeviceUnknown,
    /// The device was revoked.
    #[error("the device is revoked: {reason}")]
    DeviceRevoked {
        /// When.
        at: UnixMillis,
        /// Why.
        reason: String,
    },
    /// The device's serial number belongs to another device of the maker, or its key to another
    /// certificate.
    #[error("another device is enrolled with this serial number or key already")]
    DeviceConflict,
    /// The device's certificate does not name a serial number.
    #[error("the device's certificate names no serial number")]
    SerialMissing,
    /// What should be a maker's root is no self-signed certificate.
    #[error("the maker's root is no self-signed certificate")]
    NotARoot,
}

impl Refusal {
    /// A word for programs: `wire::Refusal::error`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Chain(_) => "attestation_refused",
            Self::ChallengeReplayed => "challenge_replayed",
            Self::ChallengeExpired => "challenge_expired",
            Self::ChallengeUnknown => "challenge_unknown",
            Self::TooManyChallenges => "too_many_challenges",
            Self::DeviceUnknown => "device_unknown",
            Self::DeviceRevoked { .. } => "device_revoked",
            Self::DeviceConflict => "device_conflict",
            Self::SerialMissing => "device_serial_missing",
            Self::NotARoot => "not_a_root",
        }
    }
}

impl From<keyattest::Refusal> for Error {
    fn from(refusal: keyattest::Refusal) -> Self {
        Self::Refused(refusal.into())
    }
}
