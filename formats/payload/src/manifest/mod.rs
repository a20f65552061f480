//! `DeltaArchiveManifest` (update_engine's update_metadata.proto): what an update does.
//!
//! Every message keeps the fields that it does not know, as bytes (`unknown`).

mod decode;
mod encode;

/// The only block size there is.
pub const BLOCK_BYTES: u64 = 4096;

/// The whole update.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Manifest {
    /// Bytes of a block; absent means 4096.
    pub block_size: Option<u32>,
    /// Where the payload's signatures begin, counted from the first blob.
    pub signatures_offset: Option<u64>,
    /// Bytes of the payload's signatures.
    pub signatures_size: Option<u64>,
    /// 0: a full update. Else which operations a delta may use.
    pub minor_version: Option<u32>,
    /// One for each partition.
    pub partitions: Vec<PartitionUpdate>,
    /// Seconds since 1970 of the newest build in it. A device with a newer one refuses.
    pub max_timestamp: Option<i64>,
    /// `DynamicPartitionMetadata`, as it stands.
    pub dynamic_partition_metadata: Option<Vec<u8>>,
    /// Partitions that are not in here keep what they have.
    pub partial_update: Option<bool>,
    /// `YYYY-MM-DD`.
    pub security_patch_level: Option<String>,
    /// Fields that are not above.
    pub unknown: Vec<u8>,
}

impl Manifest {
    /// 0 for a full update.
    #[must_use]
    pub fn minor_version(&self) -> u32 {
        self.minor_version.unwrap_or(0)
    }
}

/// What happens to one partition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PartitionUpdate {
    /// Its name without the slot's suffix.
    pub partition_name: String,
    /// What it must hold before; only in deltas.
    pub old_partition_info: Option<PartitionInfo>,
    /// What it holds afterwards.
    pub new_partition_info: Option<PartitionInfo>,
    /// The steps.
    pub operations: Vec<Operation>,
    /// The device computes a hash tree itself, and error correction.
    pub verity: VerityExtents,
    /// The partition's version, as the build says it.
    pub version: Option<String>,
    /// Fields that are not above.
    pub unknown: Vec<u8>,
}

/// Where the device writes a hash tree and error correction that it computes itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VerityExtents {
    /// What the tree is over.
    pub hash_tree_data_extent: Option<Extent>,
    /// Where the tree goes.
    pub hash_tree_extent: Option<Extent>,
    /// As `sha256`.
    pub hash_tree_algorithm: Option<String>,
    /// The tree's salt.
    pub hash_tree_salt: Option<Vec<u8>>,
    /// What error correction is over.
    pub fec_data_extent: Option<Extent>,
    /// Where it goes.
    pub fec_extent: Option<Extent>,
    /// Parity bytes a codeword; absent means 2.
    pub fec_roots: Option<u32>,
}

/// Size and SHA-256 of a partition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PartitionInfo {
    /// Bytes.
    pub size: u64,
    /// SHA-256.
    pub hash: Vec<u8>,
    /// Fields that are not above.
    pub unknown: Vec<u8>,
}

/// A run of blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Extent {
    /// The first block.
    pub start_block: u64,
    /// How many.
    pub num_blocks: u64,
}

impl Extent {
    /// `num_blocks` blocks from `start_block` on.
    #[must_use]
    pub const fn new(start_block: u64, num_blocks: u64) -> Self {
        Self { start_block, num_blocks }
    }

    /// The block after the last one.
    #[must_use]
    pub const fn end(self) -> Option<u64> {
        self.start_block.checked_add(self.num_blocks)
    }
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Operation {
    /// What to do.
    pub kind: OperationKind,
    /// Where its blob begins, counted from the first blob.
    pub data_offset: Option<u64>,
    /// Bytes of its blob.
    pub data_length: Option<u64>,
    /// What is read of the old partition.
    pub src_extents: Vec<Extent>,
    /// Bytes read, where the last block does not count wholly.
    pub src_length: Option<u64>,
    /// What is written of the new partition.
    pub dst_extents: Vec<Extent>,
    /// Bytes written, where the last block does not count wholly.
    pub dst_length: Option<u64>,
    /// SHA-256 of the blob.
    pub data_sha256_hash: Option<Vec<u8>>,
    /// SHA-256 of what is read of the old partition.
    pub src_sha256_hash: Option<Vec<u8>>,
    /// Fields that are not above.
    pub unknown: Vec<u8>,
}

/// `InstallOperation.Type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OperationKind {
    /// The blob.
    #[default]
    Replace,
    /// The blob, bzip2.
    ReplaceBz,
    /// The old version 1 of payloads.
    Move,
    /// The old version 1 of payloads.
    Bsdiff,
    /// Blocks of the old partition.
    SourceCopy,
    /// A bsdiff patch on blocks of the old partition.
    SourceBsdiff,
    /// Zeros.
    Zero,
    /// Anything: nobody reads it.
    Discard,
    /// The blob, xz.
    ReplaceXz,
    /// A puffin patch.
    Puffdiff,
    /// A bsdiff patch whose streams may be brotli.
    BrotliBsdiff,
    /// A zucchini patch.
    Zucchini,
    /// A patch inside LZ4 blocks.
    Lz4diffBsdiff,
    /// A patch inside LZ4 blocks.
    Lz4diffPuffdiff,
    /// The blob, zstd (minor version 10).
    ReplaceZstd,
    /// One that came later.
    Unknown(u32),
}

/// Number, kind, name.
const KINDS: [(u32, OperationKind, &str); 15] = [
    (0, OperationKind::Replace, "REPLACE"),
    (1, OperationKind::ReplaceBz, "REPLACE_BZ"),
    (2, OperationKind::Move, "MOVE"),
    (3, OperationKind::Bsdiff, "BSDIFF"),
    (4, OperationKind::SourceCopy, "SOURCE_COPY"),
    (5, OperationKind::SourceBsdiff, "SOURCE_BSDIFF"),
    (6, OperationKind::Zero, "ZERO"),
    (7, OperationKind::Discard, "DISCARD"),
    (8, OperationKind::ReplaceXz, "REPLACE_XZ"),
    (9, OperationKind::Puffdiff, "PUFFDIFF"),
    (10, OperationKind::BrotliBsdiff, "BROTLI_BSDIFF"),
    (11, OperationKind::Zucchini, "ZUCCHINI"),
    (12, OperationKind::Lz4diffBsdiff, "LZ4DIFF_BSDIFF"),
    (13, OperationKind::Lz4diffPuffdiff, "LZ4DIFF_PUFFDIFF"),
    (14, OperationKind::ReplaceZstd, "REPLACE_ZSTD"),
];

impl OperationKind {
    /// From its number.
    #[must_use]
    pub fn from_number(number: u32) -> Self {
        let known = KINDS.iter().find(|(known, ..)| *known == number);
        known.map_or(Self::Unknown(number), |(_, kind, _)| *kind)
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            Self::Unknown(number) => number,
            known => KINDS.iter().find(|(_, kind, _)| *kind == known).map_or(0, |entry| entry.0),
        }
    }

    /// Its name in update_metadata.proto.
    #[must_use]
    pub fn name(self) -> String {
        match KINDS.iter().find(|(_, kind, _)| *kind == self) {
            Some((.., name)) => (*name).to_owned(),
            None => format!("operation {}", self.number()),
        }
    }

    /// Whether it reads the old partition.
    #[must_use]
    pub const fn reads_source(self) -> bool {
        !matches!(
            self,
            Self::Replace
                | Self::ReplaceBz
                | Self::ReplaceXz
                | Self::ReplaceZstd
                | Self::Zero
                | Self::Discard
        )
    }

    /// Whether it has a blob.
    #[must_use]
    pub const fn has_blob(self) -> bool {
        !matches!(self, Self::Zero | Self::Discard | Self::SourceCopy | Self::Move)
    }

    /// The least minor version of a payload that may use it; `None`: no payload of version 2.
    #[must_use]
    pub const fn since_minor_version(self) -> Option<u32> {
        Some(match self {
            Self::Replace | Self::ReplaceBz | Self::ReplaceXz | Self::Zero | Self::Discard => 0,
            Self::SourceCopy | Self::SourceBsdiff => 2,
            Self::BrotliBsdiff => 4,
            Self::Puffdiff => 5,
            Self::Zucchini => 8,
            Self::Lz4diffBsdiff | Self::Lz4diffPuffdiff => 9,
            Self::ReplaceZstd => 10,
            Self::Move | Self::Bsdiff | Self::Unknown(_) => return None,
        })
    }
}
