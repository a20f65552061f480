//! A case for slot verification: what a device stores and what its boot loader asks for.

use super::device::{Device, TrustedKeys, unhex};
use crate::exit::Misused;
use anyhow::Result;
use avb::{HashtreeErrorMode, LIBAVB_1_3, SUPPORTED_VERSION, SlotVerifyFlags, Version};
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
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
    /// The libavb that decides: 1.3 or 1.4. The samples were recorded with 1.3.
    #[serde(default)]
    libavb_version: Option<String>,
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
        let number = number.ok_or_else(|| Misused(format!("flags: {} is no u32", self.flags)))?;
        Ok(SlotVerifyFlags::from_number(number))
    }

    pub(super) fn hashtree_error_mode(&self) -> Result<HashtreeErrorMode> {
        let number = self.hashtree_error_mode;
        let mode = HashtreeErrorMode::from_number(number);
        let misused = || Misused(format!("hashtree_error_mode: {number} is not 0 to 5"));
        mode.ok_or_else(|| misused().into())
    }
}

impl Case {
    /// The files of the partitions, opened below `root`.
    pub(super) fn open(&self, root: &Path) -> Result<BTreeMap<String, File>> {
        let open = |(file, path): (&String, &PathBuf)| {
            let name = file.strip_suffix(".img").unwrap_or(file).to_owned();
            Ok((name, super::open(&root.join(path))?))
        };
        self.partitions.iter().map(open).collect()
    }
}

impl Input {
    /// The device that the case describes, with these partitions and keys below `root`.
    pub(super) fn device<'f>(
        &self,
        partitions: &'f BTreeMap<String, File>,
        root: &Path,
    ) -> Result<Device<'f>> {
        let mut persistent = BTreeMap::new();
        for (name, value) in &self.persistent_values {
            let bytes = unhex(value)
                .map_err(|error| Misused(format!("persistent value {name}: {error}")))?;
            persistent.insert(name.clone(), bytes);
        }
        Ok(Device {
            libavb: self.libavb()?,
            unlocked: self.device_unlocked,
            trusted_keys: trusted_keys(&self.trusted_key, root)?,
            rollback: self.stored_rollback.clone(),
            persistent: persistent.into(),
            ..Device::new(partitions)
        })
    }

    fn libavb(&self) -> Result<Version> {
        match self.libavb_version.as_deref() {
            None | Some("1.3") => Ok(LIBAVB_1_3),
            Some("1.4") => Ok(SUPPORTED_VERSION),
            Some(other) => {
                Err(Misused(format!("libavb_version: {other:?} is neither 1.3 nor 1.4")).into())
            }
        }
    }
}

fn trusted_keys(name: &str, root: &Path) -> Result<TrustedKeys> {
    match name {
        "any" => Ok(TrustedKeys::Any),
        "none" | "" => Ok(TrustedKeys::Blobs(BTreeSet::new())),
        name if name.contains(['/', '.']) => {
            Err(Misused(format!("trusted_key: {name:?} is no name of a key")).into())
        }
        name => {
            let path = root.join("base").join(format!("{name}.avbpubkey"));
            Ok(TrustedKeys::Blobs([super::read(&path)?].into()))
        }
    }
}
