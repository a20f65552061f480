//! A device in memory, keys, and where the test data is.

use avb::{IoError, KeyTrust, Ops, RsaPublicKeyBlob, SUPPORTED_VERSION, Version};
use crypto::sign::RsaKey;
use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// A folder of the test data: below HOLDFAST_TEST_DATA, or below `../shared/data` beside the
/// workspace. Says so in one line where it is absent.
pub(crate) fn test_data(folder: &str) -> Option<PathBuf> {
    let data = std::env::var_os("HOLDFAST_TEST_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    let path = data.join(folder);
    if path.is_dir() {
        return Some(path);
    }
    assert!(std::env::var_os("CI").is_none(), "no test data at {}", path.display());
    eprintln!("skipped: no test data at {} (set HOLDFAST_TEST_DATA)", path.display());
    None
}

/// A key of 2048 bits: made once, because that takes a moment.
pub(crate) static KEY: LazyLock<RsaKey> = LazyLock::new(|| RsaKey::generate(2048).unwrap());

/// The public half of [`KEY`].
pub(crate) fn public_key() -> RsaPublicKeyBlob {
    RsaPublicKeyBlob::from_modulus(&KEY.modulus()).unwrap()
}

/// A device whose partitions are in memory.
#[derive(Default)]
pub(crate) struct Device {
    pub(crate) partitions: HashMap<String, Vec<u8>>,
    pub(crate) unlocked: bool,
    /// None = every key is trusted.
    pub(crate) trusted_key: Option<Vec<u8>>,
    pub(crate) rollback: HashMap<u32, u64>,
    /// None = the newest.
    pub(crate) libavb: Option<Version>,
    pub(crate) persistent: RefCell<HashMap<String, Vec<u8>>>,
}

impl Device {
    fn partition(&self, name: &str) -> Result<&Vec<u8>, IoError> {
        self.partitions.get(name).ok_or(IoError::NoSuchPartition)
    }
}

impl Ops for Device {
    fn libavb_version(&self) -> Version {
        self.libavb.unwrap_or(SUPPORTED_VERSION)
    }

    fn read_from_partition(
        &self,
        partition: &str,
        offset: i64,
        buffer: &mut [u8],
    ) -> Result<usize, IoError> {
        let bytes = self.partition(partition)?;
        let start = if offset < 0 { bytes.len() as i64 + offset } else { offset };
        let start = usize::try_from(start).map_err(|_| IoError::RangeOutsidePartition)?;
        let rest = bytes.get(start..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn partition_size(&self, partition: &str) -> Result<u64, IoError> {
        Ok(self.partition(partition)?.len() as u64)
    }

    fn validate_vbmeta_public_key(&self, key: &[u8], _: Option<&[u8]>) -> Result<bool, IoError> {
        Ok(self.trusted_key.as_deref().is_none_or(|trusted| trusted == key))
    }

    fn validate_public_key_for_partition(
        &self,
        _: &str,
        key: &[u8],
        _: Option<&[u8]>,
    ) -> Option<Result<KeyTrust, IoError>> {
        let trusted = self.trusted_key.as_deref().is_none_or(|trusted| trusted == key);
        Some(Ok(KeyTrust { trusted, rollback_index_location: 5 }))
    }

    fn read_rollback_index(&self, location: u32) -> Result<u64, IoError> {
        if location >= 32 {
            return Err(IoError::Io);
        }
        Ok(self.rollback.get(&location).copied().unwrap_or(0))
    }

    fn is_device_unlocked(&self) -> Result<bool, IoError> {
        Ok(self.unlocked)
    }

    fn unique_guid(&self, partition: &str) -> Result<String, IoError> {
        Ok(format!("1234-fake-guid-for:{partition}"))
    }

    fn read_persistent_value(&self, name: &str) -> Result<Vec<u8>, IoError> {
        self.persistent.borrow().get(name).cloned().ok_or(IoError::NoSuchValue)
    }

    fn write_persistent_value(&self, name: &str, value: &[u8]) -> Result<(), IoError> {
        let mut values = self.persistent.borrow_mut();
        if value.is_empty() {
            values.remove(name);
        } else {
            values.insert(name.to_owned(), value.to_vec());
        }
        Ok(())
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks_exact(2);
    digits.map(|d| u8::from_str_radix(std::str::from_utf8(d).unwrap(), 16).unwrap()).collect()
}
