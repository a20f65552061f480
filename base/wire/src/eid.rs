//! eID (SPEC S3.3.2): an identity in a device's secure element, and its issuer.
//!
//! | route | who | body → answer |
//! |---|---|---|
//! | `POST /v1/eid/challenge` | anybody | → [`Challenge`] |
//! | `POST /v1/eid/identities` | an element with an attested key | [`Open`] → [`Opened`] |
//! | `POST /v1/eid/identities/{id}/document` | the identity's key | [`Signed`] → [`Document`] |
//! | `POST /v1/eid/identities/{id}/deregister` | the identity's key | [`Signed`] → 204 |
//! | `GET /v1/eid/authority` | anybody | → [`Authority`] |
//! | `POST /v1/eid/elements` | the issuer's clerk | [`Element`] → 204 |
//! | `POST /v1/eid/persons` | the issuer's clerk | [`Person`] → [`Proof`] |
//!
//! What the identity's key signs is a [`statement`]: it is for one purpose, one subject and one
//! challenge. Giving up is about no challenge: the last word of a key is good for ever.

use crate::Base64;
use serde::{Deserialize, Serialize};

/// What a statement is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Opening an identity; the subject is the account.
    Open,
    /// Getting the document; the subject is the identity.
    Download,
    /// Giving the identity up; the subject is the identity.
    Deregister,
}

/// What the identity's key signs (ECDSA with SHA-256).
#[must_use]
pub fn statement(purpose: Purpose, subject: &str, challenge: &[u8]) -> Vec<u8> {
    let purpose: &[u8] = match purpose {
        Purpose::Open => b"open",
        Purpose::Download => b"download",
        Purpose::Deregister => b"deregister",
    };
    let length = (subject.len() as u64).to_be_bytes();
    [b"holdfast-eid-1\0", purpose, b"\0", &length, subject.as_bytes(), challenge].concat()
}

/// Random, short-lived, answered once.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Challenge {
    /// 32 bytes.
    pub challenge: Base64,
}

/// A statement about a challenge, signed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Signed {
    /// The challenge.
    pub challenge: Base64,
    /// DER, over the [`statement`].
    pub signature: Base64,
}

/// Opens an identity.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Open {
    /// The account that the identity belongs to.
    pub account: String,
    /// What the issuer gave the person, on paper say.
    pub proof: String,
    /// The element's certificate for the new key, DER.
    pub attestation: Base64,
    /// The certificate of what attests, DER.
    pub attester: Base64,
    /// The new key's word.
    pub signed: Signed,
}

/// An identity was opened.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Opened {
    /// Its name.
    pub identity: String,
}

/// The document.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Document {
    /// `IssuerSigned` (ISO/IEC 18013-5), CBOR.
    pub issuer_signed: Base64,
}

/// Whom readers trust.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Authority {
    /// The authority's certificate, DER.
    pub certificate: Base64,
}

/// An element that may hold identities.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Element {
    /// The certificate of what attests in it, DER.
    pub attester: Base64,
}

/// A person whose identity was checked.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Person {
    /// The account.
    pub account: String,
    /// The document's type.
    pub doc_type: String,
    /// The namespace of the elements.
    pub namespace: String,
    /// Names and values: text, numbers, true and false.
    pub elements: serde_json::Map<String, serde_json::Value>,
}

/// What the person types to open the identity: once, within two weeks.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Proof {
    /// 20 letters and digits.
    pub proof: String,
}
