//! What can be wrong with a payload.

use crate::key::KeyError;
use std::io;

/// Why bytes are not a protobuf message, or not this one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The message ends inside a field.
    #[error("{message} is cut short")]
    Truncated {
        /// Which message.
        message: &'static str,
    },
    /// A number of more than 64 bits.
    #[error("{message} holds a number of more than 64 bits")]
    Varint {
        /// Which message.
        message: &'static str,
    },
    /// A key with field number 0 or a wire type that does not exist.
    #[error("{message} holds the malformed key {key:#x}")]
    Key {
        /// Which message.
        message: &'static str,
        /// The key.
        key: u64,
    },
    /// A field of another wire type than it must have.
    #[error("field {field} of {message} has another wire type")]
    WireType {
        /// Which message.
        message: &'static str,
        /// Which field.
        field: u32,
    },
    /// A number that is too large for its field.
    #[error("field {field} of {message} is out of range")]
    Range {
        /// Which message.
        message: &'static str,
        /// Which field.
        field: u32,
    },
    /// A text that is not UTF-8.
    #[error("field {field} of {message} is not UTF-8")]
    Utf8 {
        /// Which message.
        message: &'static str,
        /// Which field.
        field: u32,
    },
    /// A required field is not there.
    #[error("{message} lacks its required field {field}")]
    Missing {
        /// Which message.
        message: &'static str,
        /// Which field.
        field: u32,
    },
    /// A field that cannot be there.
    #[error("{message} has a field {field}, which it cannot have")]
    Unexpected {
        /// Which message.
        message: &'static str,
        /// Which field.
        field: u32,
    },
}

/// Why a payload is refused before anything of it is applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Not a payload.
    #[error("the payload does not begin with CrAU")]
    Magic,
    /// The payload, or the part of it that was given, is too short.
    #[error("the payload is cut short: {need} bytes are needed, {have} are there")]
    Truncated {
        /// Bytes needed.
        need: u64,
        /// Bytes there.
        have: u64,
    },
    /// Not version 2.
    #[error("the payload has major version {0}; only 2 is supported")]
    MajorVersion(u64),
    /// A manifest or metadata signature that is larger than any real one.
    #[error("the payload's {what} has {size} bytes; {limit} are allowed")]
    TooLarge {
        /// `manifest` or `metadata signature`.
        what: &'static str,
        /// Its size.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// A malformed manifest or signature message.
    #[error("malformed payload: {0}")]
    Decode(#[from] DecodeError),
    /// Not 0 and not 2 to 10.
    #[error("the payload has minor version {0}; 0 (full) and 2 to 10 (delta) are supported")]
    MinorVersion(u32),
    /// Not 4096.
    #[error("the payload has blocks of {0} bytes; only 4096 is supported")]
    BlockSize(u32),
    /// The payload's signatures are not what its end holds.
    #[error("the payload's signatures do not end where the payload ends")]
    SignaturesPlace,
    /// Something about a partition.
    #[error("partition {partition}: {fault}")]
    Partition {
        /// Which.
        partition: String,
        /// What.
        fault: PartitionFault,
    },
    /// Something about one operation.
    #[error("partition {partition}, operation {index} ({kind}): {fault}")]
    Operation {
        /// Which partition.
        partition: String,
        /// Which operation, from 0.
        index: usize,
        /// Its name.
        kind: String,
        /// What.
        fault: OperationFault,
    },
}

/// What is wrong with a partition's update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PartitionFault {
    /// A name that is empty, too long or no plain file name.
    #[error("the name is not 1 to 64 letters, digits, '_', '-' or '.', or begins with '.'")]
    Name,
    /// It occurs twice.
    #[error("it occurs twice")]
    Twice,
    /// Nothing says what it shall hold.
    #[error("new_partition_info is missing")]
    NoNewInfo,
    /// A hash that is not of 32 bytes.
    #[error("a partition's hash does not have 32 bytes")]
    Hash,
    /// A size that is 0 or not a whole number of blocks.
    #[error("a partition's size is not a whole number of blocks")]
    Size,
    /// A full update that says what must be there before.
    #[error("it is part of a full update, but has old_partition_info")]
    OldInfoInFull,
    /// Two operations write the same block.
    #[error("block {0} is written twice")]
    Overlap(u64),
    /// A hash tree or error correction that the device cannot compute.
    #[error("what the device shall compute itself: {0}")]
    Verity(#[from] VerityFault),
}

/// What is wrong with a hash tree or error correction that the device shall compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerityFault {
    /// One of two extents.
    #[error("either what it is over or where it goes is missing")]
    Incomplete,
    /// Beyond the partition, or empty.
    #[error("an extent is empty or lies outside the partition")]
    Outside,
    /// It would be written over what it is computed from.
    #[error("it would be written over what it is computed from")]
    OverItself,
    /// A hash function that dm-verity trees here do not have.
    #[error("the hash function is not sha1, sha256, sha512 or blake2b-256")]
    Algorithm,
    /// More than 256 bytes.
    #[error("the salt has more than 256 bytes")]
    Salt,
    /// An extent of another size than the tree has.
    #[error("the hash tree has another size than its extent")]
    TreeSize,
    /// Not 2 to 24.
    #[error("error correction has 2 to 24 roots")]
    Roots,
    /// An extent of another size than the parity has.
    #[error("error correction has another size than its extent")]
    FecSize,
}

/// What is wrong with an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OperationFault {
    /// A kind that this program does not apply.
    #[error("this kind of operation is not supported")]
    Unsupported,
    /// A kind that the payload's minor version does not have.
    #[error("the payload's minor version does not have it")]
    MinorVersion,
    /// No blocks to write, or none to read.
    #[error("it has no extents, or an empty one")]
    NoExtents,
    /// Extents beyond the partition, or numbers that overflow.
    #[error("an extent lies outside the partition")]
    Extent,
    /// It reads a partition that nobody described.
    #[error("it reads the old partition, but old_partition_info is missing")]
    NoOldInfo,
    /// A copy of another length.
    #[error("it reads and writes different numbers of blocks")]
    Lengths,
    /// A blob that is missing, beyond the payload, or there without need.
    #[error("its blob is missing, lies outside the payload, or should not be there")]
    Blob,
    /// A hash that is missing or not of 32 bytes.
    #[error("a hash is missing or does not have 32 bytes")]
    Hash,
}

/// Why an operation was not applied, or not wholly.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// The blob is not the one in the manifest. Nothing was written.
    #[error("the operation's blob is not the one that the manifest names: download it again")]
    BlobHash,
    /// The old partition is not the one that the delta was made for. Nothing was written.
    #[error("the old partition holds other data than this delta was made for: use a full update")]
    SourceHash,
    /// A blob that does not decompress.
    #[error("the operation's blob is malformed: {0}")]
    Malformed(String),
    /// A blob that makes more or less than the operation writes.
    #[error("the operation's blob makes another number of bytes than the operation writes")]
    OutputLength,
    /// A kind that is not supported; the manifest's check would have said so.
    #[error("operation {0} is not supported")]
    Unsupported(String),
    /// There is no old partition to read.
    #[error("the operation reads the old partition, and none was given")]
    NoSource,
    /// Reading the old partition or writing the new one failed.
    #[error("input or output failed: {0}")]
    Io(#[from] io::Error),
}

/// Why a payload could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MakeError {
    /// A size that is 0 or not a whole number of blocks.
    #[error("an image of {0} bytes is not a whole number of 4096-byte blocks: pad it")]
    Size(u64),
    /// A compressor gave up.
    #[error("compression failed: {0}")]
    Compress(io::Error),
    /// A key does not sign.
    #[error(transparent)]
    Sign(#[from] KeyError),
    /// What was made does not pass its own check.
    #[error("the payload would be refused: {0}")]
    Refused(#[from] Refusal),
}
