//! How fast an area goes into a snapshot and comes back, without a network: the cloud is a
//! folder of packs in this process, each synced before it is acknowledged.
//!
//! `cargo run -p device-link --example sync_throughput -- [--mib N] [--files N]` prints MB/s,
//! CPU seconds and the most memory that the process took.

use crypto::secret::Secret;
use device_link::sync::{CloudStore, DataKeys, Progress, StoreError, Unseen, restore, upload};
use snapshot::block::{BlockId, PackId};
use snapshot::pack::Place;
use snapshot::path::TreePath;
use std::collections::HashMap;
use std::error::Error;
use std::fs::{self, File};
use std::io::{Cursor, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;
use vault::{Area, Attributes};
use wire::sync::{Advance, Head, Root};

const KEY: [u8; 32] = [9; 32];
const WRAPPED: &str = "vault:v1:a2V5";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |name: &str, otherwise: usize| {
        let at = arguments.iter().position(|argument| argument == name);
        at.and_then(|at| arguments.get(at + 1)?.parse().ok()).unwrap_or(otherwise)
    };
    let (mib, files) = (number("--mib", 256), number("--files", 2500));
    let base = tempfile::tempdir()?;
    let key = Secret::new([7; 32]);
    let area = Area::create(&base.path().join("one"), &key)?;
    fill(&area, mib << 20, files)?;
    let cloud = Cloud { folder: base.path().join("packs"), held: Mutex::default() };
    fs::create_dir(&cloud.folder)?;
    let megabytes = (mib << 20) as f64 / 1e6;
    let quiet = |_: Progress| {};
    for what in ["upload", "upload again"] {
        measure(what, megabytes, || {
            upload(&area, "a", &cloud, &cloud, Unseen::Refuse, &quiet)?;
            Ok(())
        })?;
    }
    let other = Area::create(&base.path().join("two"), &key)?;
    for what in ["restore", "restore again"] {
        measure(what, megabytes, || {
            restore(&other, "a", &cloud, &cloud, &quiet)?;
            Ok(())
        })?;
    }
    let status = fs::read_to_string("/proc/self/status")?;
    print!("{}", status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default());
    println!();
    Ok(())
}

fn fill(area: &Area, bytes: usize, files: usize) -> Result<(), Box<dyn Error>> {
    let mut noise = vec![0; 1 << 20];
    let mut batch = area.batch();
    let small = (bytes / 4).checked_div(files).unwrap_or(0);
    let large = (bytes - small * files).div_ceil(128 << 20);
    let sizes = std::iter::repeat_n(small, files).chain(std::iter::repeat_n(128 << 20, large));
    for (number, size) in sizes.enumerate() {
        let path = TreePath::new(format!("d{}/f{number}", number / 100))?;
        batch.begin_file(
            &path,
            Attributes { mode: 0o644, ..Attributes::default() },
            size as u64,
        )?;
        for start in (0..size).step_by(noise.len()) {
            crypto::random(&mut noise);
            batch.data(&noise[..noise.len().min(size - start)]);
        }
        batch.end_file()?;
    }
    batch.finish()?;
    Ok(())
}

struct Cloud {
    folder: PathBuf,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    root: Option<Root>,
    head: Option<Head>,
    index: HashMap<BlockId, (PackId, Place)>,
}

impl Cloud {
    fn with<T>(&self, act: impl FnOnce(&mut Held) -> T) -> T {
        act(&mut self.held.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn failed(error: impl Error + Send + Sync + 'static) -> StoreError {
    StoreError(Box::new(error))
}

impl CloudStore for Cloud {
    fn root(&self) -> Result<Option<Root>, StoreError> {
        Ok(self.with(|held| held.root.clone()))
    }

    fn create_root(&self, root: &Root) -> Result<bool, StoreError> {
        Ok(self.with(|held| held.root.replace(root.clone()).is_none()))
    }

    fn head(&self) -> Result<Option<Head>, StoreError> {
        Ok(self.with(|held| held.head.clone()))
    }

    fn advance(&self, advance: &Advance) -> Result<bool, StoreError> {
        let Advance { follows, manifest, files, bytes, .. } = advance.clone();
        let (generation, device_id) = (follows + 1, "d".into());
        let head = Head { generation, manifest, device_id, at_ms: 0, files, bytes };
        Ok(self.with(|held| held.head.replace(head)).is_none_or(|old| old.generation == follows))
    }

    fn missing(&self, ids: &[BlockId]) -> Result<Vec<BlockId>, StoreError> {
        let missing = |held: &mut Held| {
            ids.iter().copied().filter(|id| !held.index.contains_key(id)).collect()
        };
        Ok(self.with(missing))
    }

    fn put_pack(&self, id: &PackId, bytes: Vec<u8>) -> Result<(), StoreError> {
        let index = snapshot::pack::parse(&bytes).map_err(failed)?;
        let mut file = File::create(self.folder.join(id.to_string())).map_err(failed)?;
        file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(failed)?;
        let places = index.blocks.into_iter().map(|place| (place.id, (*id, place)));
        self.with(|held| held.index.extend(places));
        Ok(())
    }

    fn blocks(&self, ids: &[BlockId]) -> Result<Box<dyn Read + Send>, StoreError> {
        let known = |held: &mut Held| ids.iter().map(|id| held.index.get(id).copied()).collect();
        let places: Option<Vec<_>> = self.with(known);
        let mut places = places.ok_or_else(|| StoreError::new("a block is missing"))?.into_iter();
        let folder = self.folder.clone();
        let mut open: Option<(PackId, File)> = None;
        let next = move || -> Option<Vec<u8>> {
            let (pack, place) = places.next()?;
            if open.as_ref().is_none_or(|(name, _)| *name != pack) {
                open = Some((pack, File::open(folder.join(pack.to_string())).ok()?));
            }
            let head = snapshot::fetch::frame_head(&place.id, WRAPPED, place.length);
            let mut frame = vec![0; head.len() + place.length as usize];
            frame[..head.len()].copy_from_slice(&head);
            let file = &open.as_ref()?.1;
            file.read_exact_at(&mut frame[head.len()..], place.offset).ok()?;
            Some(frame)
        };
        let frames = Frames { next, frame: Cursor::new(snapshot::fetch::HEAD.to_vec()) };
        Ok(Box::new(frames))
    }
}

/// A stream of frames.
struct Frames<F> {
    next: F,
    frame: Cursor<Vec<u8>>,
}

impl<F: FnMut() -> Option<Vec<u8>>> Read for Frames<F> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        loop {
            let read = self.frame.read(out)?;
            if read > 0 {
                return Ok(read);
            }
            match (self.next)() {
                Some(frame) => self.frame = Cursor::new(frame),
                None => return Ok(0),
            }
        }
    }
}

impl DataKeys for Cloud {
    fn fresh(&self) -> Result<(Secret<32>, String), StoreError> {
        Ok((Secret::new(KEY), WRAPPED.into()))
    }

    fn unwrap(&self, _: &str) -> Result<Secret<32>, StoreError> {
        Ok(Secret::new(KEY))
    }
}

fn measure(
    what: &str,
    megabytes: f64,
    run: impl FnOnce() -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let (start, cpu) = (Instant::now(), cpu_seconds()?);
    run()?;
    let (wall, cpu) = (start.elapsed().as_secs_f64(), cpu_seconds()? - cpu);
    println!("{what:20} {:7.0} MB/s  {wall:6.2} s  {cpu:6.2} CPU s", megabytes / wall);
    Ok(())
}

/// User and system time of this process.
fn cpu_seconds() -> Result<f64, Box<dyn Error>> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit(')').next().ok_or("no fields")?.split_whitespace();
    let ticks = fields.skip(11).take(2).map(str::parse::<f64>).sum::<Result<f64, _>>()?;
    // Linux counts in hundredths of a second for programs, whatever it does inside.
    Ok(ticks / 100.0)
}
