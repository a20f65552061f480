//! What slot verification needs from the device (`AvbOps`).

use crate::{SUPPORTED_VERSION, Version};

/// Why the device did not answer (`AvbIOResult`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IoError {
    /// Not enough memory.
    #[error("not enough memory")]
    Oom,
    /// The hardware failed.
    #[error("input/output error")]
    Io,
    /// There is no such partition.
    #[error("no such partition")]
    NoSuchPartition,
    /// The range is not inside the partition.
    #[error("the range is outside the partition")]
    RangeOutsidePartition,
    /// There is no persistent value of this name.
    #[error("no such persistent value")]
    NoSuchValue,
    /// The size of a persistent value is not allowed.
    #[error("the size of the persistent value is not allowed")]
    InvalidValueSize,
}

/// Whether a key is trusted for a partition, and which rollback index location it uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyTrust {
    /// Whether it is trusted.
    pub trusted: bool,
    /// The location.
    pub rollback_index_location: u32,
}

/// The device, as slot verification sees it. Partition names carry the slot's suffix.
///
/// Methods take `&self`: an implementation that stores persistent values holds them behind a
/// lock, a cell or a channel.
pub trait Ops {
    /// The libavb whose decisions are made: the newest, unless the device has an older one.
    fn libavb_version(&self) -> Version {
        SUPPORTED_VERSION
    }

    /// Reads into `buffer` from `offset` on; a negative offset counts from the end. Gives the
    /// number of bytes read: fewer than asked for only where the partition ends, none behind it.
    fn read_from_partition(
        &self,
        partition: &str,
        offset: i64,
        buffer: &mut [u8],
    ) -> Result<usize, IoError>;

    /// Bytes of a partition.
    fn partition_size(&self, partition: &str) -> Result<u64, IoError>;

    /// Whether the key that signed the top-level image is trusted.
    fn validate_vbmeta_public_key(
        &self,
        public_key: &[u8],
        metadata: Option<&[u8]>,
    ) -> Result<bool, IoError>;

    /// Whether the key is trusted for a partition. `None` = not supported: verification without
    /// a vbmeta partition is refused.
    fn validate_public_key_for_partition(
        &self,
        partition: &str,
        public_key: &[u8],
        metadata: Option<&[u8]>,
    ) -> Option<Result<KeyTrust, IoError>> {
        let _ = (partition, public_key, metadata);
        None
    }

    /// The stored rollback index of a location.
    fn read_rollback_index(&self, location: u32) -> Result<u64, IoError>;

    /// Whether the device is unlocked.
    fn is_device_unlocked(&self) -> Result<bool, IoError>;

    /// The unique GUID of a partition in lower-case text form.
    fn unique_guid(&self, partition: &str) -> Result<String, IoError>;

    /// A persistent value.
    fn read_persistent_value(&self, name: &str) -> Result<Vec<u8>, IoError>;

    /// Stores a persistent value; an empty one is deleted.
    fn write_persistent_value(&self, name: &str, value: &[u8]) -> Result<(), IoError>;
}
