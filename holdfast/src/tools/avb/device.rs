//! A device whose partitions are files, for libavb's questions.

use anyhow::{Result, ensure};
use avb::{IoError, KeyTrust, Ops, SUPPORTED_VERSION, Version};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Which keys may sign the top-level image.
#[derive(Debug, Clone)]
pub(super) enum TrustedKeys {
    /// All of them.
    Any,
    /// Those with these blobs.
    Blobs(BTreeSet<Vec<u8>>),
}

impl TrustedKeys {
    fn trust(&self, key: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Blobs(blobs) => blobs.contains(key),
        }
    }
}

/// A device. Its partitions are files, by name with the slot's suffix.
pub(super) struct Device<'f> {
    pub(super) partitions: &'f BTreeMap<String, File>,
    pub(super) libavb: Version,
    pub(super) unlocked: bool,
    pub(super) trusted_keys: TrustedKeys,
    pub(super) rollback: BTreeMap<u32, u64>,
    pub(super) persistent: RefCell<BTreeMap<String, Vec<u8>>>,
}

/// Where rollback indexes are stored that belong to a partition's own vbmeta image. libavb's
/// samples were recorded with this one.
const PARTITION_ROLLBACK_LOCATION: u32 = 5;

impl<'f> Device<'f> {
    /// A locked device that trusts every key and has nothing stored.
    pub(super) const fn new(partitions: &'f BTreeMap<String, File>) -> Self {
        Self {
            partitions,
            libavb: SUPPORTED_VERSION,
            unlocked: false,
            trusted_keys: TrustedKeys::Any,
            rollback: BTreeMap::new(),
            persistent: RefCell::new(BTreeMap::new()),
        }
    }

    /// The persistent values as they are now.
    pub(super) fn persistent_values(&self) -> BTreeMap<String, String> {
        let values = self.persistent.borrow();
        values.iter().map(|(name, value)| (name.clone(), super::hex(value))).collect()
    }

    fn partition(&self, name: &str) -> Result<(&File, u64), IoError> {
        let file = self.partitions.get(name).ok_or(IoError::NoSuchPartition)?;
        Ok((file, file.metadata().map_err(|_| IoError::Io)?.len()))
    }
}

/// Reads from `start` on until `buffer` is full or the file ends.
pub(super) fn read_at(file: &File, start: u64, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], start.saturating_add(done as u64)) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

impl Ops for Device<'_> {
    fn libavb_version(&self) -> Version {
        self.libavb
    }

    fn read_from_partition(
        &self,
        partition: &str,
        offset: i64,
        buffer: &mut [u8],
    ) -> Result<usize, IoError> {
        let (file, size) = self.partition(partition)?;
        let start = match u64::try_from(offset) {
            Ok(start) => start,
            Err(_) => size.checked_sub(offset.unsigned_abs()).ok_or(IoError::Io)?,
        };
        // The offsets of files have 63 bits: what lies behind them is no place at all.
        i64::try_from(start).map_err(|_| IoError::Io)?;
        read_at(file, start, buffer).map_err(|_| IoError::Io)
    }

    fn partition_size(&self, partition: &str) -> Result<u64, IoError> {
        self.partition(partition).map(|(_, size)| size)
    }

    fn validate_vbmeta_public_key(&self, key: &[u8], _: Option<&[u8]>) -> Result<bool, IoError> {
        Ok(self.trusted_keys.trust(key))
    }

    fn validate_public_key_for_partition(
        &self,
        _: &str,
        key: &[u8],
        _: Option<&[u8]>,
    ) -> Option<Result<KeyTrust, IoError>> {
        let trusted = self.trusted_keys.trust(key);
        Some(Ok(KeyTrust { trusted, rollback_index_location: PARTITION_ROLLBACK_LOCATION }))
    }

    fn read_rollback_index(&self, location: u32) -> Result<u64, IoError> {
        if location as usize >= avb::ROLLBACK_LOCATIONS {
            return Err(IoError::Io);
        }
        Ok(self.rollback.get(&location).copied().unwrap_or(0))
    }

    fn is_device_unlocked(&self) -> Result<bool, IoError> {
        Ok(self.unlocked)
    }

    /// A stand-in of at most 36 bytes, as libavb's own tests use.
    fn unique_guid(&self, partition: &str) -> Result<String, IoError> {
        Ok(format!("1234-fake-guid-for:{partition}").chars().take(36).collect())
    }

    fn read_persistent_value(&self, name: &str) -> Result<Vec<u8>, IoError> {
        self.persistent.borrow().get(name).cloned().ok_or(IoError::NoSuchValue)
    }

    fn write_persistent_value(&self, name: &str, value: &[u8]) -> Result<(), IoError> {
        let mut values = self.persistent.borrow_mut();
        match value {
            [] => values.remove(name),
            value => values.insert(name.to_owned(), value.to_vec()),
        };
        Ok(())
    }
}

/// Bytes from hexadecimal digits.
pub(super) fn unhex(text: &str) -> Result<Vec<u8>> {
    let digits = text.len().is_multiple_of(2) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    ensure!(digits, "{text:?} is no hexadecimal string");
    let pairs = (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16));
    Ok(pairs.collect::<Result<_, _>>()?)
}
