//! What can go wrong: bytes that do not parse, values that cannot be encoded, chains that are
//! refused.

use crate::{RevocationStatus, SecurityLevel};

/// Why bytes are not what they should be. `place` is the field's name in the ASN.1 module.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Not DER at all: truncated, a length in a long form that was not needed, and so on.
    #[error("{place}: malformed DER: {source}")]
    Der {
        /// Where.
        place: &'static str,
        /// What the DER reader says.
        source: der::Error,
    },
    /// Another ASN.1 type than the schema has there.
    #[error("{place}: has another type than the schema says ({found})")]
    Type {
        /// Where.
        place: &'static str,
        /// The tag that stands there.
        found: der::Tag,
    },
    /// The structure ends before this field.
    #[error("{place}: missing")]
    Missing {
        /// Where.
        place: &'static str,
    },
    /// Bytes after the end of the structure.
    #[error("{place}: bytes after its end")]
    Trailing {
        /// Where.
        place: &'static str,
    },
    /// A value that the schema or this decoder does not allow.
    #[error("{place}: value out of range")]
    Range {
        /// Where.
        place: &'static str,
    },
    /// Text that is not what its string type allows.
    #[error("{place}: not text")]
    Text {
        /// Where.
        place: &'static str,
    },
    /// An authorization tag that no version has.
    #[error("authorization tag {0} is unknown")]
    UnknownTag(u32),
    /// An authorization tag that stands in one list twice.
    #[error("authorization tag {0} occurs twice")]
    DuplicateTag(u32),
    /// The inner and the outer signature algorithm of a certificate differ (RFC 5280, 4.1.1.2).
    #[error("the certificate names two different signature algorithms")]
    AlgorithmMismatch,
    /// A certificate extension occurs twice (RFC 5280, 4.2).
    #[error("the certificate has an extension twice: {0}")]
    DuplicateExtension(der::oid::ObjectIdentifier),
}

/// Why a value cannot be encoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The attestation version does not have this authorization tag.
    #[error("attestation version {version} has no tag {tag}")]
    TagNotInVersion {
        /// The tag's number.
        tag: u32,
        /// The version.
        version: u32,
    },
    /// From version 3 on the root of trust carries the verified boot hash; before, it does not.
    #[error("the verified boot hash is a must from attestation version 3, and absent before")]
    VerifiedBootHash,
    /// More than 128 bytes of challenge (`IKeyMintDevice`).
    #[error("the attestation challenge has {0} bytes; 128 are allowed")]
    Challenge(usize),
    /// A serial number must be positive and have at most 20 bytes (RFC 5280, 4.1.2.2).
    #[error("a serial number is positive and has at most 20 bytes")]
    SerialNumber,
    /// A time that X.509 cannot write (years 1950 to 9999), or an end before the start.
    #[error("the validity is not one that X.509 can write")]
    Validity,
    /// Text that its string type cannot carry.
    #[error("{0}: text of 1 to 64 characters; in a serial number, printable ASCII")]
    Name(&'static str),
    /// The public key is no `SubjectPublicKeyInfo`.
    #[error("the public key: {0}")]
    PublicKey(DecodeError),
    /// The issuer's key refused to sign.
    #[error("the issuer's key did not sign")]
    Signer,
}

/// Why a chain proves nothing: the rule that it breaks. Certificates count from the leaf, 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Fewer certificates than any kind of chain has, or more than we care to look at.
    #[error("a chain of {0} certificates is none of ours: 3 to 5 are needed")]
    ChainLength(usize),
    /// A certificate does not parse.
    #[error("certificate {index} does not parse: {source}")]
    Malformed {
        /// Which.
        index: usize,
        /// Why.
        source: DecodeError,
    },
    /// The last certificate is not issued by itself.
    #[error("the chain does not end in a root: its last certificate is not self-issued")]
    NoRoot,
    /// The root's public key is none of those that are trusted. The key counts, not the
    /// certificate around it: roots are re-issued.
    #[error("the root's public key is not a trusted one")]
    UntrustedRoot,
    /// The issuer's name is not the subject of the next certificate.
    #[error("certificate {index} names another issuer than the certificate after it")]
    NameChaining {
        /// Which.
        index: usize,
    },
    /// The signature does not verify under the next certificate's key.
    #[error("the signature of certificate {index} does not verify")]
    Signature {
        /// Which.
        index: usize,
    },
    /// The signature algorithm or the key's type is not one that counts.
    #[error("certificate {index} uses a signature algorithm or key that is not accepted")]
    Algorithm {
        /// Which.
        index: usize,
    },
    /// A critical extension that this verifier does not know (RFC 5280, 4.2).
    #[error("certificate {index} has the unknown critical extension {oid}")]
    CriticalExtension {
        /// Which.
        index: usize,
        /// The extension.
        oid: der::oid::ObjectIdentifier,
    },
    /// `notBefore` lies ahead.
    #[error("certificate {index} is not valid yet")]
    NotYetValid {
        /// Which.
        index: usize,
    },
    /// `notAfter` has passed, in a chain where that matters.
    #[error("certificate {index} has expired")]
    Expired {
        /// Which.
        index: usize,
    },
    /// The issuer took the certificate back.
    #[error("certificate {index} is revoked ({status:?})")]
    Revoked {
        /// Which.
        index: usize,
        /// As the list says.
        status: RevocationStatus,
    },
    /// The certificate that should make the statement makes none.
    #[error("the attested certificate carries no attestation")]
    TargetMissingAttestation,
    /// A certificate that should make no statement makes one: somebody lengthened a chain with a
    /// key that is only attested, and lets it attest.
    #[error("certificate {index} carries an attestation, and stands where none may be")]
    AdditionalAttestation {
        /// Which.
        index: usize,
    },
    /// More certificates below the one that makes the statement.
    #[error("certificate {index} stands below the attested one")]
    CertificateAfterTarget {
        /// Which.
        index: usize,
    },
    /// The attestation does not parse.
    #[error("the attestation does not parse: {0}")]
    Attestation(DecodeError),
    /// The key was not generated inside: somebody else may have it too.
    #[error("the key was not generated in secure hardware")]
    Origin,
    /// Only software vouches, or the two levels differ.
    #[error("security levels: attestation {attestation:?}, key {key:?}; both must be hardware")]
    SecurityLevel {
        /// Who signs the statement.
        attestation: SecurityLevel,
        /// Who holds the key.
        key: SecurityLevel,
    },
    /// The hardware list says nothing about what was booted.
    #[error("the hardware-enforced list carries no root of trust")]
    RootOfTrustMissing,
}

impl Refusal {
    /// The reason as one word for programs. Where Google's verifier has one, it is the same
    /// (`KeyAttestationReason`, and the reasons of Java's certification paths).
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::ChainLength(_) | Self::Malformed { .. } | Self::NoRoot => "MALFORMED_CHAIN",
            Self::UntrustedRoot => "NO_TRUST_ANCHOR",
            Self::NameChaining { .. } => "NAME_CHAINING",
            Self::Signature { .. } => "INVALID_SIGNATURE",
            Self::Algorithm { .. } => "ALGORITHM_CONSTRAINED",
            Self::CriticalExtension { .. } => "UNRECOGNIZED_CRIT_EXT",
            Self::NotYetValid { .. } => "NOT_YET_VALID",
            Self::Expired { .. } => "EXPIRED",
            Self::Revoked { .. } => "REVOKED",
            Self::TargetMissingAttestation => "TARGET_MISSING_ATTESTATION_EXTENSION",
            Self::AdditionalAttestation { .. } => "CHAIN_EXTENDED_WITH_FAKE_ATTESTATION_EXTENSION",
            Self::CertificateAfterTarget { .. } => "CHAIN_EXTENDED_FOR_KEY",
            Self::Attestation(DecodeError::UnknownTag(_)) => "UNKNOWN_TAG_NUMBER",
            Self::Attestation(_) => "MALFORMED_ATTESTATION_EXTENSION",
            Self::Origin => "KEY_ORIGIN_NOT_GENERATED",
            Self::SecurityLevel { attestation, key } => match (attestation, key) {
                (SecurityLevel::Software, SecurityLevel::Software) => "SOFTWARE_SECURITY_LEVEL",
                _ => "MISMATCHED_SECURITY_LEVELS",
            },
            Self::RootOfTrustMissing => "ROOT_OF_TRUST_MISSING",
        }
    }
}
