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
    /// No verdict: the audit log refused, or the crypto library.
    #[error("{0}")]
    Internal(String),
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
    /// The chain answers another challenge than the one that was named.
    #[error("the chain answers another challenge than the one that was named")]
    ChallengeMismatch,
    /// Google's revocation list is too old, or was never read.
    #[error(
        "the revocation list for this root is too old or missing: no chain under it counts until \
         the list is fetched again"
    )]
    RevocationListStale,
    /// What a request names is not there.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// A field of a request is not what it should be.
    #[error("{field}: {reason}")]
    Invalid {
        /// Which.
        field: &'static str,
        /// What is due.
        reason: &'static str,
    },
    /// A credential that is no relying party's.
    #[error("no relying party has this credential")]
    NotARelyingParty,
    /// A request for provisioned certificates.
    #[error("the request for certificates is refused: {0}")]
    Provisioning(#[from] keyattest::provisioning::ProvisioningError),
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
            Self::ChallengeMismatch => "challenge_mismatch",
            Self::RevocationListStale => "revocation_list_stale",
            Self::NotFound(_) => "not_found",
            Self::Invalid { .. } => "invalid",
            Self::NotARelyingParty => "not_a_relying_party",
            Self::Provisioning(_) => "provisioning_refused",
            Self::NotARoot => "not_a_root",
        }
    }
}

impl From<crypto::Error> for Error {
    fn from(error: crypto::Error) -> Self {
        Self::Internal(error.to_string())
    }
}

impl From<keyattest::EncodeError> for Error {
    fn from(error: keyattest::EncodeError) -> Self {
        Self::Internal(error.to_string())
    }
}

impl From<keyattest::Refusal> for Error {
    fn from(refusal: keyattest::Refusal) -> Self {
        Self::Refused(refusal.into())
    }
}
