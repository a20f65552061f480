//! `holdfast avb explain`: will these images boot, and is it safe to lock?

mod decide;
mod images;
mod report;
mod survey;
mod tree;

use super::device::{TrustedKeys, unhex};
use crate::exit::{Exit, Misused};
use anyhow::Result;
use avb::{LIBAVB_1_3, PublicKeyBlob, SUPPORTED_VERSION, Version};
use clap::Args;
use images::Images;
use report::Report;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What a person asks about.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// Images, or folders with `*.img` in them; a file's name is the partition's: boot_a.img
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<PathBuf>,
    /// The maker's public key, as `extract_public_key` writes it: boots with it are green
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,
    /// A public key that the user set on the device: boots with it are yellow
    #[arg(long, value_name = "FILE")]
    custom_key: Vec<PathBuf>,
    /// A rollback index that the device has stored; may be repeated
    #[arg(long, value_name = "LOCATION=INDEX", value_parser = rollback_index)]
    rollback_index: Vec<(u32, u64)>,
    /// A persistent value that the device has stored; may be repeated
    #[arg(long, value_name = "NAME=HEX", value_parser = persistent_value)]
    persistent_value: Vec<(String, Vec<u8>)>,
    /// The slot to look at, as _a [default: each that has a vbmeta or a boot image]
    #[arg(long, value_name = "SUFFIX")]
    suffix: Option<String>,
    /// The libavb of the device's boot loader
    #[arg(long, value_name = "VERSION", default_value = "1.4", value_parser = libavb)]
    libavb: Version,
    /// Refuse stray bytes behind images and around footers too, as a Holdfast device does
    #[arg(long)]
    strict: bool,
    /// Do not read what dm-verity protects
    #[arg(long)]
    skip_trees: bool,
    /// One JSON object on standard output
    #[arg(long)]
    json: bool,
}

fn rollback_index(text: &str) -> Result<(u32, u64), String> {
    let parse = |(location, index): (&str, &str)| {
        let location = location.parse().ok().filter(|at| (*at as usize) < avb::ROLLBACK_LOCATIONS);
        Some((location?, index.parse().ok()?))
    };
    let expected = || "expected LOCATION=INDEX with a location of 0 to 31".to_owned();
    text.split_once('=').and_then(parse).ok_or_else(expected)
}

fn persistent_value(text: &str) -> Result<(String, Vec<u8>), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=HEX")?;
    Ok((name.to_owned(), unhex(value).map_err(|error| error.to_string())?))
}

fn libavb(text: &str) -> Result<Version, String> {
    match text {
        "1.3" => Ok(LIBAVB_1_3),
        "1.4" => Ok(SUPPORTED_VERSION),
        _ => Err("1.3 and 1.4 are known".into()),
    }
}

/// What the device has stored, and whom it trusts.
struct Stored {
    libavb: Version,
    trusted_keys: TrustedKeys,
    /// SHA-256 of the maker's keys.
    maker_keys: Vec<[u8; 32]>,
    rollback: BTreeMap<u32, u64>,
    persistent: BTreeMap<String, Vec<u8>>,
    strict: bool,
    skip_trees: bool,
}

impl Explain {
    fn stored(&self) -> Result<Stored> {
        let read = |path: &PathBuf| -> Result<Vec<u8>> {
            let bytes = super::read(path)?;
            PublicKeyBlob::decode(&bytes).map_err(|error| {
                let how = "`holdfast avb extract_public_key` writes the form that is due";
                Misused(format!("{}: no public key of AVB: {error}; {how}", path.display()))
            })?;
            Ok(bytes)
        };
        let maker = self.key.iter().map(read).collect::<Result<Vec<_>>>()?;
        let custom = self.custom_key.iter().map(read).collect::<Result<Vec<_>>>()?;
        let maker_keys = maker.iter().map(|key| crypto::digest::sha256(key)).collect();
        let blobs = maker.into_iter().chain(custom).collect::<std::collections::BTreeSet<_>>();
        Ok(Stored {
            libavb: self.libavb,
            trusted_keys: match blobs.is_empty() {
                true => TrustedKeys::Any,
                false => TrustedKeys::Blobs(blobs),
            },
            maker_keys,
            rollback: self.rollback_index.iter().copied().collect(),
            persistent: self.persistent_value.iter().cloned().collect(),
            strict: self.strict,
            skip_trees: self.skip_trees,
        })
    }
}

/// Explains the images. They hold where it is safe to lock.
pub(super) fn run(asked: &Explain) -> Result<Exit> {
    let stored = asked.stored()?;
    let images = Images::open(&asked.images)?;
    let suffixes = match &asked.suffix {
        Some(suffix) => vec![suffix.clone()],
        None => images.suffixes(),
    };
    let slots = suffixes.iter().map(|suffix| decide::slot(&images, suffix, &stored)).collect();
    let report = Report::new(&images, slots);
    if asked.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print!("{report}");
    }
    Ok(if report.safe_to_lock { Exit::Held } else { Exit::Failed })
}
