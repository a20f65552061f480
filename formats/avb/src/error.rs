//! Errors of decoding and encoding. A verdict on a well-formed image is not one of them: see
//! [`crate::VbmetaVerdict`], [`crate::SlotVerifyResult`] and [`crate::Refusal`].

/// Why bytes are not the structure that they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes end inside a field.
    #[error("{what} ends too early: {need} bytes are needed, {have} are there")]
    Truncated {
        /// The structure.
        what: &'static str,
        /// Bytes that the structure needs.
        need: u64,
        /// Bytes that are there.
        have: u64,
    },
    /// Bytes follow where the structure ends.
    #[error("{extra} bytes follow the end of {what}")]
    TrailingBytes {
        /// The structure.
        what: &'static str,
        /// How many.
        extra: usize,
    },
    /// The magic is another one.
    #[error("{what} does not start with its magic")]
    Magic {
        /// The structure.
        what: &'static str,
    },
    /// Made for a libavb that is newer than this one, or for another major version.
    #[error("{what} asks for version {major}.{minor}; {} is supported", crate::SUPPORTED_VERSION)]
    UnsupportedVersion {
        /// The structure.
        what: &'static str,
        /// The major version asked for.
        major: u32,
        /// The minor version asked for.
        minor: u32,
    },
    /// An algorithm number that nobody knows, or one that is not supported yet (ML-DSA).
    #[error("algorithm {0} is not supported")]
    UnsupportedAlgorithm(u32),
    /// A field has a value that it may not have.
    #[error("{what}: {field} {problem}")]
    Field {
        /// The structure.
        what: &'static str,
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Bytes that must have one fixed value (reserved, padding) have another.
    #[error("{what}: reserved or padding bytes are not zero")]
    NotCanonical {
        /// The structure.
        what: &'static str,
    },
}

impl DecodeError {
    pub(crate) const fn field(
        what: &'static str,
        field: &'static str,
        problem: &'static str,
    ) -> Self {
        Self::Field { what, field, problem }
    }
}

/// Why an image was not built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError<E> {
    /// The signer failed.
    #[error("the signer failed: {0}")]
    Signer(E),
    /// The signer answered with something that does not verify under the public key.
    #[error("the signature does not verify under the public key: check that the signer holds it")]
    WrongSignature,
    /// The key has another size than the algorithm asks for.
    #[error("{algorithm} needs a key of {need} bits; this one has {have}")]
    KeySize {
        /// The algorithm.
        algorithm: &'static str,
        /// Bits that it needs.
        need: usize,
        /// Bits that the key has.
        have: usize,
    },
    /// Signing with this algorithm is not supported.
    #[error("{0} cannot sign")]
    UnsupportedAlgorithm(&'static str),
    /// A field does not fit.
    #[error("{field}: {problem}")]
    Field {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The vbmeta is larger than [`crate::VBMETA_MAX_BYTES`].
    #[error("a vbmeta of {0} bytes is too large: 65536 are allowed")]
    TooLarge(usize),
    /// The image does not fit the partition with its vbmeta and footer.
    #[error(
        "an image of {image} bytes does not fit a partition of {partition} bytes: \
             at most {max} bytes do"
    )]
    ImageTooLarge {
        /// Bytes of the image.
        image: u64,
        /// Bytes of the partition.
        partition: u64,
        /// Bytes that would fit.
        max: u64,
    },
}
