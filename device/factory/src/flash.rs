//! The flash image: a partition table, slot a filled, slot b empty.

use crate::image::{self, Pieces, SYSTEM_DATA_BYTES, Signer};
use crate::maker::AvbKey;
use crate::stages::Stages;
use board::build::{BUILD_PATH, Build, OTACERTS_PATH};
use board::verity::ErrorMode;
use bootimg::gpt::{Gpt, GptError, Guid, PartitionSpec};
use bootimg::misc::SlotMetadata;
use effects::{Entropy, random_array};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const MIB: u64 = 1 << 20;
/// Partitions that both slots have, and their sizes.
const SLOTTED: [(&str, u64); 7] = [
    ("bl1", 8 * MIB),
    ("tee", 32 * MIB),
    ("bl2", 8 * MIB),
    ("boot", 16 * MIB),
    ("vbmeta", MIB),
    ("system", SYSTEM_DATA_BYTES as u64 + 4 * MIB),
    ("baseband", 8 * MIB),
];
/// Partitions that are there once.
const SINGLE: [(&str, u64); 2] = [("misc", MIB), ("userdata", MIB)];
/// Zeros are looked for, and left out, in pieces of this size.
const HOLE_BYTES: usize = 64 * 1024;

/// Why there is no flash image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FlashError {
    /// A file can't be written.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
    /// The content of a partition can't be made.
    #[error("{0}: {1}")]
    Image(&'static str, String),
    /// The content does not fit its partition.
    #[error("{name}: {bytes} bytes are more than the {most} of its partition")]
    TooLarge {
        /// The partition.
        name: &'static str,
        /// Bytes of the content.
        bytes: usize,
        /// Bytes that fit.
        most: usize,
    },
    /// The partition table can't be made.
    #[error("partition table: {0}")]
    Table(#[from] GptError),
}

/// What the images are called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Our version, as `0.1.0`.
    pub version: String,
    /// Android's version, as `16`.
    pub os_version: String,
    /// As `2026-11-05`.
    pub security_patch: String,
}

/// How the builds of a maker follow each other, and whose updates a device takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Updates {
    /// The device that the build is for (`ro.product.device`).
    pub model: String,
    /// The build's number (`ro.build.version.incremental`).
    pub incremental: String,
    /// When the build was made: seconds since 1970.
    pub timestamp: i64,
    /// `otacerts.zip`: see [`crate::Maker::otacerts`].
    pub otacerts: Vec<u8>,
}

impl Updates {
    /// What the build says of itself.
    #[must_use]
    pub fn build(&self, release: &Release) -> Build {
        let Self { model, incremental, timestamp, .. } = self;
        let Release { version, os_version, security_patch } = release;
        Build {
            model: model.clone(),
            fingerprint: format!(
                "holdfast/{model}/{model}:{os_version}/{version}/{incremental}:user/release-keys"
            ),
            incremental: incremental.clone(),
            timestamp: *timestamp,
            security_patch: security_patch.clone(),
            version: version.clone(),
        }
    }

    /// The two files that tell a device so: path and content.
    pub(crate) fn files(&self, release: &Release) -> [(&'static str, Vec<u8>); 2] {
        let build = serde_json::to_vec(&self.build(release)).expect("texts and numbers are JSON");
        [(BUILD_PATH, build), (OTACERTS_PATH, self.otacerts.clone())]
    }
}

/// The rollback index of each signed part.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RollbackIndexes {
    /// Of the level-1 bootloader; compared with fuse counter 0.
    pub bl1: u64,
    /// Of the TEE; compared with fuse counter 1.
    pub tee: u64,
    /// Of the level-2 bootloader; compared with the TEE's location 1.
    pub bl2: u64,
    /// Of vbmeta; compared with the TEE's location 0.
    pub vbmeta: u64,
}

impl RollbackIndexes {
    /// The same index for all parts.
    #[must_use]
    pub const fn all(index: u64) -> Self {
        Self { bl1: index, tee: index, bl2: index, vbmeta: index }
    }
}

/// `etc/cloud.json` of the system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloudConfig {
    /// `https://host:port`, as the device names it to its modem.
    pub url: String,
    /// The authority that the cloud's certificate chains to.
    pub ca_pem: String,
}

/// A further file of the system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemFile {
    /// Relative to `/system`, in `bin` or `etc`.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// Its bytes.
    pub content: Vec<u8>,
}

/// What goes into a flash image.
#[derive(Debug, Clone)]
pub struct FlashPlan<'a> {
    /// The stage programs.
    pub stages: &'a Stages,
    /// Names and dates.
    pub release: Release,
    /// Rollback indexes.
    pub rollback: RollbackIndexes,
    /// The cloud that the system knows.
    pub cloud: Option<CloudConfig>,
    /// More files of the system.
    pub files: Vec<SystemFile>,
    /// What recovery goes by; without it the device takes no updates.
    pub updates: Option<Updates>,
    /// Who may sign trusted applications besides the maker: SHA-256 of AVB public-key blobs.
    pub ta_signers: Vec<[u8; 32]>,
    /// What happens when a block of the system is corrupt.
    pub verity_error_mode: ErrorMode,
}

impl FlashPlan<'_> {
    /// Builds the image, signs it with `key` and puts it at `path` in one step. It is sparse.
    pub fn build(
        &self,
        key: &AvbKey,
        path: &Path,
        entropy: &dyn Entropy,
    ) -> Result<(), FlashError> {
        let slots = SlotMetadata::first_boot().encode().to_vec();
        let images = self.images(key)?;
        let slot_a = images.into_iter().map(|(name, pieces)| (format!("{name}_a"), pieces));
        let mut content: BTreeMap<String, Pieces> = slot_a.collect();
        let at = bootimg::misc::METADATA_OFFSET as u64;
        content.insert("misc".to_owned(), vec![(at, slots)]);
        let gpt = table(entropy)?;
        let io = |error| FlashError::Io(path.to_owned(), error);
        let mut name = path.as_os_str().to_owned();
        name.push(".new");
        let temporary = PathBuf::from(name);
        write(&temporary, &gpt, &content).map_err(io)?;
        fs::rename(&temporary, path).map_err(io)?;
        effects::durable::sync_folder_of(path).map_err(io)
    }

    /// Builds the images of a release in `folder`: `NAME.img` for each partition of a slot, as
    /// large as the partition. The same input gives the same bytes, in
    /// [`Self::build`] too. Gives their paths.
    pub fn release(&self, key: &AvbKey, folder: &Path) -> Result<Vec<PathBuf>, FlashError> {
        let mut paths = Vec::new();
        for (name, pieces) in self.images(key)? {
            let path = folder.join(format!("{name}.img"));
            write_image(&path, size_of(name), &pieces)
                .map_err(|error| FlashError::Io(path.clone(), error))?;
            paths.push(path);
        }
        Ok(paths)
    }

    /// The pieces of every partition of a slot.
    fn images(&self, key: &AvbKey) -> Result<BTreeMap<&'static str, Pieces>, FlashError> {
        let signer = Signer { key, release: &self.release, updates: self.updates.as_ref() };
        let stages = self.stages;
        let footed = |name: &'static str, image: Vec<u8>, index| {
            signer.with_footer(name, image, size_of(name), index)
        };
        let boot = image::boot(stages, &self.release, self.updates.as_ref())?;
        let baseband = stages.program("baseband").to_vec();
        let cloud = self.cloud.as_ref();
        let (system, protection) = image::system(stages, cloud, &self.system_files(), &signer)?;
        let hashed = [("boot", &boot[..]), ("baseband", &baseband[..])];
        let vbmeta =
            signer.vbmeta(hashed, &protection, self.verity_error_mode, self.rollback.vbmeta)?;
        let tee = image::tee(stages, &signer, &self.ta_signers, self.rollback.tee)?;
        let images = BTreeMap::from([
            ("bl1", footed("bl1", stages.program("bl1").to_vec(), self.rollback.bl1)?),
            ("tee", footed("tee", tee, self.rollback.tee)?),
            ("bl2", footed("bl2", stages.program("bl2").to_vec(), self.rollback.bl2)?),
            ("boot", vec![(0, boot)]),
            ("vbmeta", vec![(0, vbmeta)]),
            ("system", system),
            ("baseband", vec![(0, baseband)]),
        ]);
        for (name, pieces) in &images {
            check_fit(name, pieces)?;
        }
        Ok(images)
    }

    /// Further files of the system, and those that updates go by.
    fn system_files(&self) -> Vec<SystemFile> {
        let updates = self.updates.iter().flat_map(|updates| updates.files(&self.release));
        let file = |(path, content): (&str, Vec<u8>)| SystemFile {
            path: path.to_owned(),
            mode: 0o644,
            content,
        };
        self.files.iter().cloned().chain(updates.map(file)).collect()
    }
}

/// Bytes of the partition `name`, given without its slot's suffix.
fn size_of(name: &str) -> u64 {
    let sizes = SLOTTED.iter().chain(&SINGLE);
    sizes.into_iter().find(|(known, _)| *known == name).map_or(0, |(_, size)| *size)
}

fn check_fit(name: &'static str, pieces: &Pieces) -> Result<(), FlashError> {
    let most = size_of(name);
    let end = pieces.iter().map(|(at, bytes)| at + bytes.len() as u64).max().unwrap_or_default();
    if end <= most {
        return Ok(());
    }
    let bytes = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    Err(FlashError::TooLarge { name, bytes: bytes(end), most: bytes(most) })
}

fn table(entropy: &dyn Entropy) -> Result<Gpt, GptError> {
    let guid = || Guid::from_random(random_array(entropy));
    let spec = |name: String, size_bytes| PartitionSpec {
        name,
        type_guid: Guid::LINUX_DATA,
        unique_guid: guid(),
        size_bytes,
    };
    let slotted = SLOTTED
        .iter()
        .flat_map(|(name, size)| ["_a", "_b"].map(|suffix| spec(format!("{name}{suffix}"), *size)));
    let single = SINGLE.iter().map(|(name, size)| spec((*name).to_owned(), *size));
    Gpt::layout(guid(), &slotted.chain(single).collect::<Vec<_>>())
}

fn write(path: &Path, gpt: &Gpt, content: &BTreeMap<String, Pieces>) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.set_len(gpt.disk_bytes())?;
    let encoded = gpt.encode();
    file.write_all_at(&encoded.head, 0)?;
    file.write_all_at(&encoded.tail, encoded.tail_offset)?;
    for partition in gpt.partitions() {
        for (at, bytes) in content.get(&partition.name).into_iter().flatten() {
            write_sparse(&file, bytes, partition.offset_bytes() + at)?;
        }
    }
    file.sync_all()
}

/// An image that is as large as its partition; sparse.
fn write_image(path: &Path, size: u64, pieces: &Pieces) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
    file.set_len(size)?;
    for (at, bytes) in pieces {
        write_sparse(&file, bytes, *at)?;
    }
    file.sync_all()
}

fn write_sparse(file: &File, bytes: &[u8], start: u64) -> io::Result<()> {
    for (at, piece) in (start..).step_by(HOLE_BYTES).zip(bytes.chunks(HOLE_BYTES)) {
        if piece.iter().any(|byte| *byte != 0) {
            file.write_all_at(piece, at)?;
        }
    }
    Ok(())
}
