//! A snapshot comes back into an area.

use super::download::{Keyring, Opened, fetch_manifest, next};
use super::state::State;
use super::{CloudStore, DataKeys, Listener, Outcome, Progress, SyncError, id_key};
use snapshot::block::{BlockId, IdKey, block_len};
use snapshot::fetch::FetchReader;
use snapshot::manifest::{Entry, Kind, Manifest, Piece};
use snapshot::path::TreePath;
use std::collections::HashMap;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use vault::{Area, Attributes, Batch, VaultError};
use wire::sync::BLOCK_BYTES;

/// Plaintext that is asked for at once; it comes as a stream.
const REQUEST_BYTES: usize = 64 << 20;
/// Blocks that a request needs more than once are kept meanwhile, up to this many bytes.
const REPEATED_BYTES: usize = 8 << 20;
/// Names in a request.
const REQUEST_IDS: usize = 8192;
/// Opened blocks that wait to be written.
const WAITING: usize = 8;

/// Brings the newest snapshot into `area`: what is not in the snapshot stays, what differs is
/// replaced, what is the same already is not fetched again. Durable when it returns; after a
/// kill it can be run again.
pub fn restore(
    area: &Area,
    account_id: &str,
    store: &dyn CloudStore,
    keys: &dyn DataKeys,
    listener: Listener<'_>,
) -> Result<Outcome, SyncError> {
    let root = store.root()?.ok_or(SyncError::NothingStored)?;
    let head = store.head()?.ok_or(SyncError::NothingStored)?;
    let (ids, root) = id_key(store, keys, Some(root))?;
    let keyring = Keyring::new(keys, account_id);
    let manifest = fetch_manifest(store, &keyring, &head)?;
    let keep = kept_files(area, &ids, &manifest)?;
    let progress = std::thread::scope(|scope| {
        let (blocks, opened) = sync_channel(WAITING);
        let (used, free) = channel();
        let fetcher = Fetcher { store, keyring: &keyring, blocks, free };
        let (manifest, keep) = (&manifest, &keep);
        let fetching = scope.spawn(move || fetcher.run(manifest, keep));
        let written = Restore { area, opened, used, listener, progress: Progress::default() }
            .run(manifest, keep);
        // A failure to fetch is why there was nothing to write.
        fetching.join().expect("a thread of sync does not panic")?;
        written
    })?;
    remember(area, &manifest, &head)?.keep(area, &root)?;
    Ok(Outcome { progress, generation: head.generation })
}

/// Which files are in the area already, byte for byte.
fn kept_files(area: &Area, ids: &IdKey, manifest: &Manifest) -> Result<Vec<bool>, SyncError> {
    let mut buffer = Vec::new();
    let kept = |entry: &Entry| match &entry.kind {
        Kind::File { size, pieces } => same(area, ids, &entry.path, *size, pieces, &mut buffer),
        _ => Ok(false),
    };
    manifest.entries.iter().map(kept).collect()
}

fn same(
    area: &Area,
    ids: &IdKey,
    path: &TreePath,
    size: u64,
    pieces: &[Piece],
    buffer: &mut Vec<u8>,
) -> Result<bool, SyncError> {
    // Whatever cannot be read is replaced. One name of several is replaced too: the others may
    // belong to other files.
    let Ok(mut file) = area.read_file(path) else { return Ok(false) };
    if file.size() != size || area.metadata(path)?.links > 1 {
        return Ok(false);
    }
    let mut index = 0;
    for piece in pieces {
        let blocks = if let Piece::Hole(count) = piece { *count } else { 1 };
        let end = size.min((index + blocks) * BLOCK_BYTES as u64);
        for index in index..index + blocks {
            let start = index * BLOCK_BYTES as u64;
            if matches!(piece, Piece::Hole(_)) && file.hole_end(start).is_some_and(|to| to >= end) {
                break;
            }
            buffer.clear();
            if file.read_range(start, BLOCK_BYTES, buffer).is_err() {
                return Ok(false);
            }
            let equal = match piece {
                Piece::Hole(_) => snapshot::block::is_zero(buffer),
                Piece::Block { id, .. } => ids.name(buffer) == *id,
            };
            if !equal {
                return Ok(false);
            }
        }
        index += blocks;
    }
    Ok(true)
}

/// Fetches and opens, in the order in which blocks are written.
struct Fetcher<'r> {
    store: &'r dyn CloudStore,
    keyring: &'r Keyring<'r>,
    blocks: SyncSender<Opened>,
    /// Buffers that were written come back here.
    free: Receiver<Vec<u8>>,
}

/// Blocks that are asked for at once.
#[derive(Default)]
struct Request {
    /// In the order in which they are written, repetitions included.
    order: Vec<BlockId>,
    /// How often each is needed.
    uses: HashMap<BlockId, u32>,
    bytes: usize,
    repeated_bytes: usize,
}

impl Fetcher<'_> {
    fn run(self, manifest: &Manifest, keep: &[bool]) -> Result<(), SyncError> {
        let mut request = Request::default();
        for (entry, keep) in manifest.entries.iter().zip(keep) {
            let Kind::File { size, pieces } = &entry.kind else { continue };
            if *keep {
                continue;
            }
            let mut index = 0;
            for piece in pieces {
                match piece {
                    Piece::Hole(count) => index += count,
                    Piece::Block { id, .. } => {
                        request.add(*id, block_len(*size, index));
                        index += 1;
                    }
                }
                if request.is_full() && !self.fetch(std::mem::take(&mut request))? {
                    return Ok(());
                }
            }
        }
        self.fetch(request).map(drop)
    }

    /// False where nobody takes the blocks any more.
    fn fetch(&self, mut request: Request) -> Result<bool, SyncError> {
        if request.order.is_empty() {
            return Ok(true);
        }
        let mut asked = std::collections::HashSet::new();
        let unique: Vec<BlockId> =
            request.order.iter().copied().filter(|id| asked.insert(*id)).collect();
        let mut stream = FetchReader::new(self.store.blocks(&unique)?)?;
        let mut repeated: HashMap<BlockId, Opened> = HashMap::new();
        for id in &request.order {
            let uses = request.uses.entry(*id).or_default();
            *uses = uses.saturating_sub(1);
            let plain = match repeated.remove(id) {
                Some(plain) => plain,
                None => {
                    let buffer = self.free.try_recv().unwrap_or_default();
                    self.keyring.open(id, next(&mut stream, buffer)?)?
                }
            };
            if *uses > 0 {
                repeated.insert(*id, plain.clone());
            }
            if self.blocks.send(plain).is_err() {
                return Ok(false);
            }
        }
        // The connection can be used again once its end was seen.
        match stream.next_block()? {
            None => Ok(true),
            Some(_) => Err(SyncError::Answer("more blocks than asked for")),
        }
    }
}

impl Request {
    fn add(&mut self, id: BlockId, bytes: usize) {
        let uses = self.uses.entry(id).or_default();
        *uses += 1;
        if *uses == 1 {
            self.bytes += bytes;
        } else if *uses == 2 {
            self.repeated_bytes += bytes;
        }
        self.order.push(id);
    }

    fn is_full(&self) -> bool {
        self.bytes >= REQUEST_BYTES
            || self.repeated_bytes >= REPEATED_BYTES
            || self.order.len() >= REQUEST_IDS
    }
}

/// Writes what comes.
struct Restore<'r> {
    area: &'r Area,
    opened: Receiver<Opened>,
    used: Sender<Vec<u8>>,
    listener: Listener<'r>,
    progress: Progress,
}

impl Restore<'_> {
    fn run(mut self, manifest: &Manifest, keep: &[bool]) -> Result<Progress, SyncError> {
        let mut batch = self.area.batch();
        batch.directory(&TreePath::root(), attributes(&manifest.root))?;
        for (entry, keep) in manifest.entries.iter().zip(keep) {
            self.clear_the_way(entry)?;
            self.entry(&mut batch, entry, *keep)?;
            (self.listener)(self.progress);
        }
        match batch.finish()?.into_iter().next() {
            Some((_, error)) => Err(error.into()),
            None => Ok(self.progress),
        }
    }

    fn entry(&mut self, batch: &mut Batch, entry: &Entry, keep: bool) -> Result<(), SyncError> {
        let attributes = attributes(&entry.attributes);
        match &entry.kind {
            Kind::Directory => batch.directory(&entry.path, attributes)?,
            Kind::Symlink { target } => batch.symlink(&entry.path, target, attributes)?,
            Kind::Hardlink { target } => batch.hard_link(target, &entry.path)?,
            Kind::File { size, .. } if keep => {
                batch.set_attributes(&entry.path, attributes)?;
                self.progress.files += 1;
                self.progress.bytes += size;
            }
            Kind::File { size, pieces } => {
                batch.begin_file(&entry.path, attributes, *size)?;
                self.content(batch, *size, pieces)?;
                batch.end_file()?;
                self.progress.files += 1;
            }
        }
        Ok(())
    }

    fn content(&mut self, batch: &mut Batch, size: u64, pieces: &[Piece]) -> Result<(), SyncError> {
        let mut at = 0;
        for piece in pieces {
            match piece {
                Piece::Hole(count) => {
                    let length = count.saturating_mul(BLOCK_BYTES as u64).min(size - at);
                    batch.hole(length)?;
                    at += length;
                    self.progress.bytes += length;
                }
                Piece::Block { .. } => {
                    let stopped = |_| SyncError::Answer("the stream of blocks ended");
                    let opened = self.opened.recv().map_err(stopped)?;
                    let block = opened.plain();
                    if block.len() as u64 != (size - at).min(BLOCK_BYTES as u64) {
                        return Err(SyncError::Answer("a block of another length than its place"));
                    }
                    batch.data(block);
                    at += block.len() as u64;
                    self.progress.bytes += block.len() as u64;
                    self.progress.blocks += 1;
                    self.progress.moved_blocks += 1;
                    self.progress.moved_bytes += block.len() as u64;
                    // The fetcher may be done already.
                    let _ = self.used.send(opened.buffer);
                    (self.listener)(self.progress);
                }
            }
        }
        Ok(())
    }

    /// Removes what is in the area under the entry's name but is of another kind.
    fn clear_the_way(&self, entry: &Entry) -> Result<(), SyncError> {
        let there = match self.area.metadata(&entry.path) {
            Ok(there) => there.kind == vault::Kind::Directory,
            Err(VaultError::NotFound { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if there != (entry.kind == Kind::Directory) {
            self.remove(&entry.path)?;
        }
        Ok(())
    }

    fn remove(&self, path: &TreePath) -> Result<(), SyncError> {
        if self.area.metadata(path)?.kind == vault::Kind::Directory {
            for (name, _) in self.area.list(path)? {
                self.remove(&path.join(&name).map_err(VaultError::from)?)?;
            }
        }
        Ok(self.area.remove(path)?)
    }
}

const fn attributes(from: &snapshot::manifest::Attributes) -> Attributes {
    let snapshot::manifest::Attributes { mode, mtime_s, mtime_ns } = *from;
    // The area does not know who owned it; a restore belongs to the device's user.
    Attributes { mode: mode as u16, mtime_s, mtime_ns, uid: 0, gid: 0 }
}

/// The state after a restore: the area and the cloud have this snapshot in common.
fn remember(area: &Area, manifest: &Manifest, head: &wire::sync::Head) -> Result<State, SyncError> {
    let files = manifest.entries.iter().filter(|entry| matches!(entry.kind, Kind::File { .. }));
    let versions = files.map(|entry| Ok(area.metadata(&entry.path)?.version));
    Ok(State {
        generation: head.generation,
        manifest_ids: head.manifest.clone(),
        versions: versions.collect::<Result<_, VaultError>>()?,
        manifest: manifest.clone(),
    })
}
