//! A case for slot verification: what a device stores and what its boot loader asks for.

use anyhow::{Context, Result, bail, ensure};
use avb::{HashtreeErrorMode, IoError, KeyTrust, Ops, SlotVerifyFlags};
use serde::Deserialize;
use serde_json::Value;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A case as it stands in its file.
#[derive(Debug, Deserialize)]
pub(super) struct Case {
    /// Files of partitions, as `boot_a.img`, to paths.
    partitions: BTreeMap<String, PathBuf>,
    pub(super) input: Input,
}

/// What a boot loader passes to libavb, and what the device answers.
#[derive(Debug, Deserialize)]
pub(super) struct Input {
    pub(super) suffix: String,
    pub(super) requested: Vec<String>,
    /// libavb's number. Some samples have a truth value here and were recorded without flags.
    flags: Value,
    hashtree_error_mode: u32,
    device_unlocked: bool,
    /// The name of a key in `base/`, or `any`, or `none`.
    trusted_key: String,
    #[serde(default)]
    stored_rollback: BTreeMap<u32, u64>,
    #[serde(default)]
    persistent_values: BTreeMap<String, String>,
}

impl Input {
    pub(super) fn flags(&self) -> Result<SlotVerifyFlags> {
        let number = match &self.flags {
            Value::Bool(_) => Some(0),
            number => number.as_u64().and_then(|number| u32::try_from(number).ok()),
        };
        let number = number.with_context(|| format!("flags: {} is no u32", self.flags))?;
        Ok(SlotVerifyFlags::from_number(number))
    }

    pub(super) fn hashtree_error_mode(&self) -> Result<HashtreeErrorMode> {
        let number = self.hashtree_error_mode;
        HashtreeErrorMode::from_number(number)
            .with_context(|| format!("hashtree_error_mode: {number} is not 0 to 5"))
    }
}

/// Which keys may sign the top-level image.
enum TrustedKey {
    Any,
    None,
    Blob(Vec<u8>),
}

impl TrustedKey {
    fn trusts(&self, key: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::None => false,
            Self::Blob(blob) => blob == key,
        }
    }
}

/// The device of a case. Its partitions are files.
pub(super) struct Device {
    partitions: BTreeMap<String, File>,
    unlocked: bool,
    trusted_key: TrustedKey,
    rollback: BTreeMap<u32, u64>,
    persistent: RefCell<BTreeMap<String, Vec<u8>>>,
}

/// Where rollback indexes are stored that belong to a partition's own vbmeta image. The samples
/// were recorded with this one.
const PARTITION_ROLLBACK_LOCATION: u32 = 5;

impl Device {
    /// The device that `case` describes, with paths relative to `root`.
    pub(super) fn open(case: &Case, root: &Path) -> Result<Self> {
        let mut partitions = BTreeMap::new();
        for (file, path) in &case.partitions {
            let name = file.strip_suffix(".img").unwrap_or(file);
            let path = root.join(path);
            partitions.insert(name.to_owned(), super::open(&path)?);
        }
        let input = &case.input;
        let mut persistent = BTreeMap::new();
        for (name, value) in &input.persistent_values {
            let bytes = unhex(value).with_context(|| format!("persistent value {name}"))?;
            persistent.insert(name.clone(), bytes);
        }
        Ok(Self {
            partitions,
            unlocked: input.device_unlocked,
            trusted_key: trusted_key(&input.trusted_key, root)?,
            rollback: input.stored_rollback.clone(),
            persistent: persistent.into(),
        })
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

fn trusted_key(name: &str, root: &Path) -> Result<TrustedKey> {
    match name {
        "any" => Ok(TrustedKey::Any),
        "none" | "" => Ok(TrustedKey::None),
        name if name.contains(['/', '.']) => bail!("trusted_key: {name:?} is no name of a key"),
        name => {
            let path = root.join("base").join(format!("{name}.avbpubkey"));
            Ok(TrustedKey::Blob(super::read(&path)?))
        }
    }
}

impl Ops for Device {
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
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match file.read_at(rest, start.saturating_add(done as u64)) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(_) => return Err(IoError::Io),
            }
        }
        Ok(done)
    }

    fn partition_size(&self, partition: &str) -> Result<u64, IoError> {
        self.partition(partition).map(|(_, size)| size)
    }

    fn validate_vbmeta_public_key(&self, key: &[u8], _: Option<&[u8]>) -> Result<bool, IoError> {
        Ok(self.trusted_key.trusts(key))
    }

    fn validate_public_key_for_partition(
        &self,
        _: &str,
        key: &[u8],
        _: Option<&[u8]>,
    ) -> Option<Result<KeyTrust, IoError>> {
        let trusted = self.trusted_key.trusts(key);
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

fn unhex(text: &str) -> Result<Vec<u8>> {
    ensure!(text.len().is_multiple_of(2) && text.is_ascii(), "{text:?} is no hexadecimal string");
    let pairs = (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16));
    pairs.collect::<Result<_, _>>().with_context(|| format!("{text:?} is no hexadecimal string"))
}
