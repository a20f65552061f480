//! What can be wrong with a tree or with the data under it.

/// Why a tree was not built, or why data is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Block sizes are powers of two from 512 to 65536 bytes.
    #[error("a block size of {0} bytes is not supported: powers of two from 512 to 65536 are")]
    BlockSize(u32),
    /// Salts have up to 256 bytes.
    #[error("a salt of {0} bytes is too long: 256 are allowed")]
    SaltTooLong(usize),
    /// A digest has another size than the hash function gives.
    #[error("a digest of {have} bytes; the hash function gives {need}")]
    DigestSize {
        /// Bytes that the hash function gives.
        need: usize,
        /// Bytes that were given.
        have: usize,
    },
    /// There is no data at all.
    #[error("there is no data to hash")]
    Empty,
    /// The size of the data is too large for this machine.
    #[error("{0} bytes of data are too many")]
    TooLarge(u64),
    /// The tree has another size than the data asks for.
    #[error("a tree of {have} bytes; the data needs one of {need}")]
    TreeSize {
        /// Bytes that the tree must have.
        need: u64,
        /// Bytes that were given.
        have: u64,
    },
    /// Blocks were given that the image does not have, or not whole ones.
    #[error("blocks from {first} on with {bytes} bytes are not inside the data, or not whole")]
    Range {
        /// The first block.
        first: u64,
        /// Bytes that were given.
        bytes: u64,
    },
    /// A hash block is not the one that its parent names.
    #[error("hash block {block} of level {level} is corrupted")]
    CorruptTree {
        /// The level; 0 lies above the data.
        level: usize,
        /// The block in it.
        block: u64,
    },
    /// Bytes of the tree that must be zero are not.
    #[error("the padding of level {level} is not zero")]
    TreePadding {
        /// The level; 0 lies above the data.
        level: usize,
    },
    /// A data block is not the one that was hashed.
    #[error("data block {0} is corrupted")]
    CorruptData(u64),
    /// The root digest is another one.
    #[error("the tree has another root digest than the one that is trusted")]
    RootMismatch,
    /// A codeword has 2 to 24 bytes of parity.
    #[error("{0} roots are not supported: 2 to 24 are")]
    FecRoots(u32),
    /// The parity has another size than the covered blocks ask for.
    #[error("parity of {have} bytes; what it covers needs {need}")]
    FecSize {
        /// Bytes that the parity must have.
        need: u64,
        /// Bytes that were given.
        have: u64,
    },
    /// Other bytes were given than the parity covers.
    #[error("{have} bytes to correct or to protect; the layout says {need}")]
    FecCovered {
        /// Bytes that the layout asks for.
        need: u64,
        /// Bytes that were given.
        have: u64,
    },
    /// There is no superblock where one was looked for.
    #[error("there is no verity superblock here: is the hash offset right, or has it none?")]
    NoSuperblock,
    /// The superblock is of another version.
    #[error("a superblock of version {0}; only version 1 is known")]
    SuperblockVersion(u32),
    /// Trees have format 0 or 1.
    #[error("hash format {0} is not known: 0 and 1 are")]
    HashFormat(u32),
    /// The hash function is not supported.
    #[error("hash function {0:?} is not supported: sha1, sha256, sha512, blake2b-256 are")]
    HashAlgorithm(String),
    /// Bytes of a superblock that must be zero are not.
    #[error("reserved bytes of the superblock are not zero")]
    SuperblockReserved,
    /// Forward error correction covers data and tree alike, so their blocks have one size.
    #[error("forward error correction needs data and hash blocks of the same size")]
    FecBlockSizes,
}
