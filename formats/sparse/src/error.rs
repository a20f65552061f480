//! Why bytes are not a sparse image, or an image cannot be edited so.

/// Why bytes are not a sparse image, or an image cannot be edited so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another version of the format.
    #[error("Encountered sparse image format version {major}.{minor} but only 1.0 is supported")]
    Version {
        /// The major version.
        major: u16,
        /// The minor version.
        minor: u16,
    },
    /// A size in the header that version 1.0 fixes has another value.
    #[error("Unexpected {field} value {value}.")]
    HeaderField {
        /// The field.
        field: &'static str,
        /// Its value.
        value: u32,
    },
    /// A chunk has as many bytes as its type does not allow.
    #[error("{kind} chunk has {have} bytes of data where {need} belong")]
    ChunkSize {
        /// The type of the chunk.
        kind: &'static str,
        /// Bytes that it has.
        have: u64,
        /// Bytes that it needs.
        need: u64,
    },
    /// A type that no version defines.
    #[error("Unknown chunk type {0}")]
    ChunkType(u16),
    /// The file ends inside a chunk.
    #[error("the sparse image ends inside a chunk")]
    Truncated,
    /// The chunks make up more or fewer blocks than the header says.
    #[error("The header said we should have {need} output blocks, but we saw {have}")]
    Blocks {
        /// What the header says.
        need: u64,
        /// What the chunks have.
        have: u64,
    },
    /// Bytes follow the last chunk.
    #[error("There were {0} bytes of extra data at the end of the file.")]
    TrailingBytes(u64),
    /// The image would be cut, or extended, inside a block.
    #[error("a sparse image changes by whole blocks: {0} bytes are not a multiple of its block")]
    Unaligned(u64),
    /// A count does not fit its 32 bits.
    #[error("the sparse image would be too large: {0} does not fit its field")]
    TooLarge(&'static str),
}
