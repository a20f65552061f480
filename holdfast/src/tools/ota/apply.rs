//! `holdfast ota apply` and `extract`: an update to images.
//!
//! A partition is `NAME.img.part` until it is complete and its hash is right. How far all of them
//! are stands in `.ota-checkpoint`, written after what it speaks of is on the disk: whoever is
//! interrupted goes on there. A checkpoint of another payload counts as none.

use super::arguments::{Apply, Extract};
use super::file::{Disk, Source, Update};
use super::remote::Input;
use super::streamed::Online;
use super::{computed, lacking, ordered, sign, verify};
use crate::exit::{Exit, Misused};
use anyhow::{Context, Result, bail};
use payload::manifest::{Operation, PartitionInfo, PartitionUpdate};
use payload::{Checkpoint, Computed, ReadAt, bytes_in};
use serde_json::json;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

const CHECKPOINT: &str = ".ota-checkpoint";
/// Bytes that are written between two checkpoints.
const BETWEEN: u64 = 128 << 20;

/// `holdfast ota apply`.
pub(super) fn run(apply: &Apply) -> Result<Exit> {
    let trusted = sign::certificates(&apply.trust.cert)?;
    let (update, checked): (Box<dyn Source>, _) = match &apply.input {
        Input::Url(url) => {
            let online = Online::open(url, &apply.streaming, &trusted)?;
            let checked = online.judge_front(&trusted)?;
            (Box::new(online), checked)
        }
        Input::File(path) => {
            let update = Update::open(path)?;
            let checked = verify::judge_file(&update, &apply.streaming, &trusted)?;
            (Box::new(update), checked)
        }
    };
    verify::takes(&*update, &apply.device)?;
    let done = Job::new(&*update, &apply.target, apply.source.as_deref(), &[])?.run()?;
    done.report(&checked, apply.json);
    Ok(Exit::Held)
}

/// `holdfast ota extract`.
pub(super) fn extract(extract: &Extract) -> Result<Exit> {
    let update = Update::open(&extract.input)?;
    let source = extract.source.as_deref();
    let done = Job::new(&update, &extract.output, source, &extract.partition)?.run()?;
    done.report(&[], extract.json);
    Ok(Exit::Held)
}

/// One partition that is written.
struct Part<'u> {
    update: &'u PartitionUpdate,
    source: Option<Disk>,
    target: Disk,
    path: PathBuf,
}

/// All partitions of an update.
struct Job<'u> {
    update: &'u dyn Source,
    folder: PathBuf,
    parts: Vec<Part<'u>>,
    /// Operations of all parts: which part, and which of its operations.
    operations: Vec<(usize, &'u Operation)>,
    resumed: usize,
}

impl<'u> Job<'u> {
    fn new(
        update: &'u dyn Source,
        folder: &Path,
        source: Option<&Path>,
        only: &[String],
    ) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(|error| lacking(folder, &error))?;
        let all = &update.payload().manifest().partitions;
        if let Some(name) =
            only.iter().find(|name| all.iter().all(|it| it.partition_name != **name))
        {
            return Err(Misused(format!("the update has no partition {name}")).into());
        }
        // Checkpoints count operations of the whole update.
        let checkpoint = if only.is_empty() { resumed(update, folder) } else { 0 };
        let resumed = usize::try_from(checkpoint)?;
        let mut parts = Vec::new();
        let mut operations = Vec::new();
        for partition in all {
            let name = &partition.partition_name;
            if !only.is_empty() && !only.contains(name) {
                continue;
            }
            let context = || format!("partition {name}");
            operations.extend(partition.operations.iter().map(|it| (parts.len(), it)));
            parts.push(part(partition, folder, source, resumed > 0).with_context(context)?);
        }
        Ok(Self { update, folder: folder.to_owned(), parts, operations, resumed })
    }

    /// Applies what is left, on all cores.
    fn run(self) -> Result<Done> {
        let left = &self.operations[self.resumed..];
        let work = |number: usize| {
            let (part, operation) = left[number];
            self.apply(&self.parts[part], operation)?;
            Ok(bytes_in(&operation.dst_extents))
        };
        let (mut done, mut since) = (self.resumed, 0);
        ordered::run(left.len(), ordered::cores(), work, |written| {
            done += 1;
            since += written;
            if since >= BETWEEN {
                since = 0;
                self.checkpoint(done)?;
            }
            Ok(())
        })?;
        for part in &self.parts {
            if let Some(computed) = Computed::of(part.update)? {
                computed::write(&computed, &part.target)?;
            }
        }
        let paths = ordered_paths(&self)?;
        let _ = std::fs::remove_file(self.folder.join(CHECKPOINT));
        Ok(Done { paths, operations: self.operations.len(), resumed: self.resumed })
    }

    fn apply(&self, part: &Part<'_>, operation: &Operation) -> Result<()> {
        let blob = self.update.read_payload(self.update.payload().blob(operation))?;
        let source = part.source.as_ref().map(|it| it as &dyn ReadAt);
        payload::apply(operation, &blob, source, &part.target)
            .with_context(|| format!("partition {}", part.update.partition_name))
    }

    fn checkpoint(&self, done: usize) -> Result<()> {
        if self.parts.len() != self.update.payload().manifest().partitions.len() {
            return Ok(());
        }
        for part in &self.parts {
            part.target.0.sync_data()?;
        }
        let bytes = Checkpoint::new(self.update.payload(), done as u64).encode();
        let path = self.folder.join(CHECKPOINT);
        effects::durable::replace(&path, &bytes, 0o644).map_err(|error| lacking(&path, &error))
    }
}

/// Operations that an earlier run has done.
fn resumed(update: &dyn Source, folder: &Path) -> u64 {
    let bytes = std::fs::read(folder.join(CHECKPOINT)).unwrap_or_default();
    Checkpoint::decode(&bytes).map_or(0, |it| it.done(update.payload()))
}

/// Checks every partition's hash on all cores, then gives all of them their names.
fn ordered_paths(job: &Job<'_>) -> Result<Vec<PathBuf>> {
    let check = |number: usize| {
        let part = &job.parts[number];
        let info = part.update.new_partition_info.as_ref().context("the manifest was checked")?;
        let hash = part.target.sha256(0..info.size)?;
        if hash != *info.hash {
            bail!("partition {}: the result has another hash", part.update.partition_name);
        }
        Ok(part.target.0.sync_all()?)
    };
    if let Err(error) = ordered::run(job.parts.len(), ordered::cores(), check, |()| Ok(())) {
        // Going on from here would end here again.
        let _ = std::fs::remove_file(job.folder.join(CHECKPOINT));
        return Err(error);
    }
    let mut paths = Vec::new();
    for part in &job.parts {
        let path = job.folder.join(format!("{}.img", part.update.partition_name));
        std::fs::rename(&part.path, &path).map_err(|error| lacking(&path, &error))?;
        paths.push(path);
    }
    effects::durable::sync_folder_of(&job.folder.join(CHECKPOINT))?;
    Ok(paths)
}

fn part<'u>(
    update: &'u PartitionUpdate,
    folder: &Path,
    source: Option<&Path>,
    resumed: bool,
) -> Result<Part<'u>> {
    let info = update.new_partition_info.as_ref().context("the manifest was checked")?;
    let source = update.old_partition_info.as_ref().map(|old| older(update, old, source));
    let source = source.transpose()?;
    let path = folder.join(format!("{}.img.part", update.partition_name));
    let file =
        OpenOptions::new().read(true).write(true).create(true).truncate(!resumed).open(&path);
    let file = file.map_err(|error| lacking(&path, &error))?;
    file.set_len(info.size).map_err(|error| lacking(&path, &error))?;
    Ok(Part { update, source, target: Disk(file), path })
}

/// The older image, which must be the one that the delta was made for.
fn older(update: &PartitionUpdate, old: &PartitionInfo, source: Option<&Path>) -> Result<Disk> {
    let Some(folder) = source else {
        return Err(Misused("the update is a delta: --source is missing".to_owned()).into());
    };
    let path = folder.join(format!("{}.img", update.partition_name));
    let (file, size) = Disk::open(&path)?;
    if size != old.size || file.sha256(0..size)? != *old.hash {
        bail!("{} is not the image that this delta was made for", path.display());
    }
    Ok(file)
}

/// What was done.
struct Done {
    paths: Vec<PathBuf>,
    operations: usize,
    resumed: usize,
}

impl Done {
    fn report(&self, checked: &[&str], json: bool) {
        let paths: Vec<_> = self.paths.iter().map(|path| path.display().to_string()).collect();
        if json {
            println!(
                "{}",
                json!({
                    "images": paths,
                    "operations": self.operations,
                    "resumed_at": self.resumed,
                    "checked": checked,
                })
            );
            return;
        }
        if self.resumed > 0 {
            println!("went on at operation {} of {}", self.resumed, self.operations);
        }
        paths.iter().for_each(|path| println!("{path}"));
    }
}
