//! `holdfast ota make` and `delta`: images to an update.

use super::arguments::{About, Delta, Make, Packing, Work};
use super::file::{Disk, images};
use super::sign::Keys;
use super::{computed, ordered, target};
use crate::exit::{Exit, Misused};
use anyhow::{Context, Result};
use otazip::metadata::{DeviceState, Kind, Metadata};
use payload::compress::Compression;
use payload::delta::{Format, Options, Source};
use payload::full;
use payload::make::{Builder, Image};
use payload::manifest::{BLOCK_BYTES, Extent, VerityExtents};
use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// MiB that are one operation: three dictionaries of xz, as `xz -T` splits its input.
const FULL_STRETCH: u16 = 24;
/// MiB that are one operation of a delta: what is new in it is compressed together.
const DELTA_STRETCH: u16 = 64;

/// How an image is split.
#[derive(Clone, Copy)]
struct Split {
    /// Bytes of a stretch.
    stretch: u64,
    /// Stretches that are worked on at the same time.
    cores: usize,
}

impl Split {
    fn full(work: Work) -> Self {
        let stretch = u64::from(work.stretch.unwrap_or(FULL_STRETCH)) << 20;
        Self { stretch, cores: ordered::cores() }
    }

    /// All cores, but no more memory than twice the older image: the image, a quarter of it for
    /// its index, and for each core twice a stretch and the compressor's 30 MiB.
    fn delta(work: Work, old: usize) -> Self {
        let stretch = u64::from(work.stretch.unwrap_or(DELTA_STRETCH)) << 20;
        let left = old as u64 / 4 * 3 / (2 * stretch + (30 << 20));
        let cores = usize::try_from(left).unwrap_or(usize::MAX);
        Self { stretch, cores: cores.clamp(1, ordered::cores()) }
    }
}

/// Operations by kind: how many, and bytes of their blobs.
pub(super) type Census = BTreeMap<String, (u64, u64)>;

/// `holdfast ota make`.
pub(super) fn full(make: &Make) -> Result<Exit> {
    let keys = Keys::read(&make.signing)?;
    let compression = compression(make.work)?;
    let mut builder = Builder::new(0);
    say_about(&mut builder, &make.about);
    let mut spool = target::Spool::beside(&make.output)?;
    let mut census = Census::new();
    for (name, path) in images(&make.images)? {
        let (file, size) = Disk::open(&path)?;
        let new = Image { size, sha256: file.sha256(0..size)? };
        let computed = computed_extents(make.work, &file, size)?;
        let ranges = stretches(size, &computed, Split::full(make.work).stretch);
        builder.partition(&name, None, new).computed(computed);
        let work = |first, bytes: Vec<u8>| Ok(full::full(first, &bytes, compression)?);
        let mut sink = Sink { builder: &mut builder, spool: &mut spool, census: &mut census };
        sink.image(&file, &ranges, Split::full(make.work).cores, work)
            .with_context(|| path.display().to_string())?;
    }
    let metadata = metadata(&make.about);
    target::finish(builder, spool, &keys, metadata, &make.output)?.report(&census, make.work.json);
    Ok(Exit::Held)
}

/// `holdfast ota delta`.
pub(super) fn delta(delta: &Delta) -> Result<Exit> {
    let keys = Keys::read(&delta.signing)?;
    let format = if delta.no_brotli { Format::Bsdiff40 } else { Format::Bsdf2 };
    let options = Options { format, compression: compression(delta.work)? };
    let mut builder = Builder::new(options.minor_version());
    say_about(&mut builder, &delta.about);
    let mut spool = target::Spool::beside(&delta.output)?;
    let mut census = Census::new();
    for (name, path) in images(std::slice::from_ref(&delta.to))? {
        let (file, size) = Disk::open(&path)?;
        let new = Image { size, sha256: file.sha256(0..size)? };
        let old = older(&delta.from, &name)?;
        let old_image = old
            .as_ref()
            .map(|bytes| Image { size: bytes.len() as u64, sha256: crypto::digest::sha256(bytes) });
        let computed = computed_extents(delta.work, &file, size)?;
        builder.partition(&name, old_image, new).computed(computed.clone());
        let source = old.as_deref().map(Source::new).transpose()?;
        let split = match &old {
            Some(old) => Split::delta(delta.work, old.len()),
            None => Split::full(delta.work),
        };
        let work = |first, bytes: Vec<u8>| match &source {
            Some(source) => Ok(source.steps(first, bytes, options)?),
            None => Ok(full::full(first, &bytes, options.compression)?),
        };
        let mut sink = Sink { builder: &mut builder, spool: &mut spool, census: &mut census };
        let ranges = stretches(size, &computed, split.stretch);
        sink.image(&file, &ranges, split.cores, work)
            .with_context(|| path.display().to_string())?;
    }
    let mut metadata = metadata(&delta.about);
    metadata.precondition.build = list(&delta.from_fingerprint);
    metadata.precondition.build_incremental.clone_from(&delta.from_incremental);
    metadata.downgrade = delta.downgrade;
    target::finish(builder, spool, &keys, metadata, &delta.output)?
        .report(&census, delta.work.json);
    Ok(Exit::Held)
}

/// The older image of a partition, whole in memory; `None` where there is none.
fn older(folder: &Path, name: &str) -> Result<Option<Vec<u8>>> {
    let path: PathBuf = folder.join(format!("{name}.img"));
    match std::fs::read(&path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && folder.is_dir() => Ok(None),
        Err(error) => Err(super::lacking(&path, &error)),
    }
}

/// Where steps go.
struct Sink<'a> {
    builder: &'a mut Builder,
    spool: &'a mut target::Spool,
    census: &'a mut Census,
}

impl Sink<'_> {
    /// Makes the steps of one image, a stretch on each core.
    fn image(
        &mut self,
        file: &Disk,
        stretches: &[Range<u64>],
        cores: usize,
        steps: impl Fn(u64, Vec<u8>) -> Result<Vec<full::Step>> + Sync,
    ) -> Result<()> {
        anyhow::ensure!(!stretches.is_empty(), "the image is empty");
        let work = |number: usize| {
            let bytes = file.read(stretches[number].clone())?;
            steps(stretches[number].start / BLOCK_BYTES, bytes)
        };
        ordered::run(stretches.len(), cores, work, |steps| {
            for step in steps {
                self.builder.step(&step)?;
                self.spool.write_all(&step.blob)?;
                let entry = self.census.entry(step.operation.kind.name()).or_default();
                *entry = (entry.0 + 1, entry.1 + step.blob.len() as u64);
            }
            Ok(())
        })
    }
}

/// What the device computes of an image: nothing, unless the command line lets it.
fn computed_extents(work: Work, file: &Disk, size: u64) -> Result<VerityExtents> {
    if work.device_verity { computed::described(file, size) } else { Ok(VerityExtents::default()) }
}

/// An image of `size` bytes but for what the device computes, in stretches.
fn stretches(size: u64, computed: &VerityExtents, stretch: u64) -> Vec<Range<u64>> {
    let mut gaps = Vec::new();
    let mut extents: Vec<Extent> =
        [computed.hash_tree_extent, computed.fec_extent].into_iter().flatten().collect();
    extents.sort_unstable_by_key(|extent| extent.start_block);
    let mut from = 0;
    for extent in extents {
        let start = extent.start_block * BLOCK_BYTES;
        gaps.push(from..start);
        from = start + extent.num_blocks * BLOCK_BYTES;
    }
    gaps.push(from..size);
    let split = |gap: Range<u64>| {
        let starts = (gap.start..gap.end).step_by(usize::try_from(stretch).unwrap_or(usize::MAX));
        starts.map(move |start| start..gap.end.min(start + stretch))
    };
    gaps.into_iter().flat_map(split).collect()
}

fn compression(work: Work) -> Result<Compression> {
    let level = |default: u8, most: u8| match work.level.unwrap_or(default) {
        level if level <= most => Ok(level),
        level => Err(Misused(format!("--level {level}: {most} is the most"))),
    };
    Ok(match work.compression {
        Packing::Xz => Compression::Xz(u32::from(level(6, 9)?)),
        Packing::Bz2 => Compression::Bzip2,
        Packing::Zstd => Compression::Zstd(i32::from(level(19, 22)?)),
        Packing::None => Compression::None,
    })
}

fn say_about(builder: &mut Builder, about: &About) {
    builder.max_timestamp(about.timestamp);
    if !about.security_patch.is_empty() {
        builder.security_patch_level(&about.security_patch);
    }
}

fn list(text: &str) -> Vec<String> {
    if text.is_empty() { Vec::new() } else { vec![text.to_owned()] }
}

fn metadata(about: &About) -> Metadata {
    Metadata {
        kind: Kind::Ab,
        wipe: about.wipe,
        serials: about.serial.clone(),
        precondition: DeviceState { device: about.device.clone(), ..DeviceState::default() },
        postcondition: DeviceState {
            build: list(&about.fingerprint),
            build_incremental: about.incremental.clone(),
            timestamp: about.timestamp,
            sdk_level: about.sdk_level.clone(),
            security_patch_level: about.security_patch.clone(),
            ..DeviceState::default()
        },
        ..Metadata::default()
    }
}
