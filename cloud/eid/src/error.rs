//! Why the issuer does not do what it is asked.

/// A refusal, or a failure of what the service stands on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It is not done, and that is the answer.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The database.
    #[error("the database: {0}")]
    Database(#[from] sqlx::Error),
    /// What rests in the database is not what was put there.
    #[error("{0} in the database is damaged")]
    Damaged(&'static str),
    /// Cryptography, or a certificate, could not be made.
    #[error("{0}")]
    Internal(String),
}

/// A refusal, for programs ([`Refusal::code`]) and for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The challenge is unknown, too old, or was answered before.
    #[error("the challenge is unknown, too old, or was answered before; ask for another")]
    Challenge,
    /// No such proof for this account, too old, or used.
    #[error("the proof does not belong to this account, is too old, or was used")]
    Proof,
    /// The key is not attested by an element that is enrolled.
    #[error("the key is not attested by a secure element that this issuer knows")]
    Element,
    /// The key may be used without the PIN.
    #[error("the key does not ask for the PIN at each use")]
    Policy,
    /// The signature is not the identity's.
    #[error("the signature is not of the identity's key over this statement")]
    Signature,
    /// There is no such identity, or it was given up.
    #[error("there is no such identity, or it was given up")]
    NoIdentity,
    /// The key holds another identity.
    #[error("this key holds an identity already")]
    KeyInUse,
    /// A value that no document holds.
    #[error("an element's value is text, a number, true or false")]
    Value,
}

impl Refusal {
    /// Its name for programs.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Challenge => "challenge_refused",
            Self::Proof => "proof_refused",
            Self::Element => "element_unknown",
            Self::Policy => "pin_not_required",
            Self::Signature => "wrong_signature",
            Self::NoIdentity => "no_identity",
            Self::KeyInUse => "key_in_use",
            Self::Value => "value_refused",
        }
    }
}
