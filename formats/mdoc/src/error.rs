//! What is wrong with a document.

/// Why bytes are no document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// More than [`crate::MAX_BYTES`].
    #[error("a document of {0} bytes is too large")]
    TooLarge(usize),
    /// Not CBOR, or CBOR with something behind it.
    #[error("{0} is not CBOR, or something follows it")]
    Cbor(&'static str),
    /// A field that has to be there is not, or has another type.
    #[error("the field {0} is missing or of another type")]
    Field(&'static str),
    /// A field is there twice.
    #[error("the field {0} is there twice")]
    Twice(&'static str),
    /// Something that this reader does not know.
    #[error("{field}: {found:?} is not supported")]
    Unsupported {
        /// Where.
        field: &'static str,
        /// What is there.
        found: String,
    },
}

/// Why a presentation proves nothing. Each is a verdict about a document that could be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It can't be read.
    #[error("malformed: {0}")]
    Malformed(#[from] DecodeError),
    /// The issuer's certificate does not chain to an anchor.
    #[error("the issuer's certificate does not lead to an authority that is trusted here")]
    UntrustedIssuer,
    /// A certificate is not valid at this time.
    #[error("a certificate of the issuer is not valid at this time")]
    CertificateTime,
    /// The issuer's signature is wrong.
    #[error("the issuer's signature does not verify")]
    IssuerSignature,
    /// The document is not valid yet, or not any more.
    #[error("the document is not valid at this time")]
    DocumentTime,
    /// The signed type is another.
    #[error("the document says it is a {said:?}, its issuer signed a {signed:?}")]
    DocumentType {
        /// What stands outside.
        said: String,
        /// What was signed.
        signed: String,
    },
    /// An item is not what the issuer signed.
    #[error("the item {0:?} is not what the issuer signed")]
    Altered(String),
    /// The device did not sign this session.
    #[error("the device's signature is not over this session: replayed, or of another device")]
    DeviceSignature,
}
