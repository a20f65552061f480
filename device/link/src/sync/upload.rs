//! The first half of an upload, and its end: reads the area, and makes the snapshot.

use super::download::{Keyring, fetch_manifest};
use super::seal::{self, Batch, Candidate, Source, Upload};
use super::state::{Known, State, noted_packs};
use super::{CloudStore, DataKeys, Listener, Outcome, Progress, SyncError, Unseen, id_key};
use snapshot::block::{BlockId, DataKey, IdKey, PackId, block_count, is_zero};
use snapshot::manifest::{Attributes, Entry, Kind, Manifest, Piece, push_piece};
use snapshot::pack::PackWriter;
use snapshot::path::TreePath;
use std::collections::HashMap;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::sync::{Mutex, PoisonError};
use vault::{Area, Id, Metadata};
use wire::sync::{Advance, BLOCK_BYTES, Head, IDS_AT_ONCE};

/// Plaintext in a batch.
const BATCH_BYTES: usize = 8 << 20;
/// The pack of a block that is not known yet.
const UNPLACED: u32 = u32::MAX;

/// Makes a snapshot of `area` in the cloud. Where nothing changed since the last one, that one
/// stays the newest.
pub fn upload(
    area: &Area,
    account_id: &str,
    store: &dyn CloudStore,
    keys: &dyn DataKeys,
    unseen: Unseen,
    listener: Listener<'_>,
) -> Result<Outcome, SyncError> {
    let (ids, root) = id_key(store, keys, store.root()?)?;
    let head = store.head()?;
    let state = State::load(area, &root, head.as_ref())?;
    let mut known = Known::default();
    know(&mut known, account_id, store, keys, head.as_ref(), state.as_ref(), unseen)?;
    let follows = head.map_or(0, |head| head.generation);
    noted_packs(area, follows, &mut known)?;
    let known = Mutex::new(known);
    let upload = Upload { area, store, keys, account_id, listener, follows, known };
    let unchanged = state.as_ref().map(State::pieces_by_version).unwrap_or_default();
    let (draft, progress) = send_blocks(&upload, &ids, &unchanged)?;
    drop(unchanged);
    let known = upload.known.into_inner().unwrap_or_else(PoisonError::into_inner);
    let manifest = draft.placed(&known)?;
    let last = state.filter(|last| last.generation == follows && last.manifest == manifest);
    if let Some(last) = last
        && is_stored(store, &last.manifest_ids)?
    {
        State { versions: draft.versions, ..last }.keep(area, &root)?;
        return Ok(Outcome { progress, generation: follows });
    }
    let (manifest_ids, mut packs) = send_manifest(&manifest, &ids, account_id, store, keys)?;
    packs.extend(&manifest.packs);
    let advance = Advance {
        follows,
        manifest: manifest_ids.clone(),
        packs: packs.iter().map(ToString::to_string).collect(),
        files: manifest.files(),
        bytes: manifest.bytes(),
    };
    let state = State { generation: follows + 1, manifest_ids, manifest, versions: draft.versions };
    state.announce(area, &root)?;
    if !store.advance(&advance)? {
        return Err(SyncError::Conflict);
    }
    state.keep(area, &root)?;
    Ok(Outcome { progress, generation: state.generation })
}

/// Whether the cloud still has the blocks of a manifest.
fn is_stored(store: &dyn CloudStore, names: &[String]) -> Result<bool, SyncError> {
    for names in names.chunks(IDS_AT_ONCE) {
        let ids: Result<Vec<BlockId>, _> = names.iter().map(|name| name.parse()).collect();
        match ids {
            Ok(ids) if store.missing(&ids)?.is_empty() => {}
            _ => return Ok(false),
        }
    }
    Ok(true)
}

/// Learns which packs hold what: from the device's own state, or from the cloud's head.
fn know(
    known: &mut Known,
    account_id: &str,
    store: &dyn CloudStore,
    keys: &dyn DataKeys,
    head: Option<&Head>,
    state: Option<&State>,
    unseen: Unseen,
) -> Result<(), SyncError> {
    let Some(head) = head else { return Ok(()) };
    match state.filter(|state| state.generation == head.generation) {
        Some(state) => known.add_manifest(&state.manifest),
        None if unseen == Unseen::Refuse => {
            return Err(SyncError::Unseen { generation: head.generation });
        }
        None => {
            let keyring = Keyring::new(keys, account_id);
            known.add_manifest(&fetch_manifest(store, &keyring, head)?);
        }
    }
    Ok(())
}

/// What was read, before it is known which pack holds which block.
#[derive(Default)]
struct Draft {
    manifest: Manifest,
    versions: Vec<Id>,
}

impl Draft {
    /// The manifest with every block's pack, and only the packs that it needs.
    fn placed(&self, known: &Known) -> Result<Manifest, SyncError> {
        let mut numbers: HashMap<u32, u32> = HashMap::new();
        let mut manifest = Manifest { packs: Vec::new(), ..self.manifest.clone() };
        for entry in &mut manifest.entries {
            let Kind::File { pieces, .. } = &mut entry.kind else { continue };
            for piece in pieces {
                let Piece::Block { id, pack } = piece else { continue };
                let global =
                    known.blocks.get(id).ok_or(SyncError::Answer("a block is in no pack"))?;
                *pack = *numbers.entry(*global).or_insert_with(|| {
                    manifest.packs.push(known.packs[*global as usize]);
                    manifest.packs.len() as u32 - 1
                });
            }
        }
        Ok(manifest)
    }
}

type Unchanged<'s> = HashMap<Id, (u64, &'s [Piece])>;

fn send_blocks(
    upload: &Upload<'_>,
    ids: &IdKey,
    unchanged: &Unchanged<'_>,
) -> Result<(Draft, Progress), SyncError> {
    std::thread::scope(|scope| {
        let (batches, to_seal) = sync_channel(1);
        let (used, free) = channel();
        for _ in 0..3 {
            used.send(Batch::default()).expect("its receiver is here");
        }
        let sealing = seal::start(scope, upload, to_seal, used);
        let reader = Reader {
            area: upload.area,
            ids,
            unchanged,
            batches,
            free,
            batch: Batch::default(),
            progress: Progress::default(),
            links: HashMap::new(),
            draft: Draft::default(),
        };
        let read = reader.run();
        // The other half's failure is why this one could not hand over.
        let moved = sealing.finish()?;
        read.map(|(draft, read)| {
            let Progress { files, bytes, blocks, .. } = read;
            (draft, Progress { files, bytes, blocks, ..moved })
        })
    })
}

struct Reader<'u> {
    area: &'u Area,
    ids: &'u IdKey,
    unchanged: &'u Unchanged<'u>,
    batches: SyncSender<Batch>,
    free: Receiver<Batch>,
    batch: Batch,
    progress: Progress,
    /// First names of files with several.
    links: HashMap<u64, TreePath>,
    draft: Draft,
}

impl Reader<'_> {
    fn run(mut self) -> Result<(Draft, Progress), SyncError> {
        let root = self.area.metadata(&TreePath::root())?;
        self.draft.manifest.root = attributes(&root);
        let area = self.area;
        area.walk(&mut |path, metadata| self.entry(path, metadata))?;
        self.hand_over()?;
        Ok((self.draft, self.progress))
    }

    fn entry(&mut self, path: &TreePath, metadata: &Metadata) -> Result<(), SyncError> {
        let kind = match metadata.kind {
            vault::Kind::Directory => Kind::Directory,
            vault::Kind::Symlink => Kind::Symlink { target: self.area.read_link(path)? },
            vault::Kind::File { .. } => self.file_or_link(path, metadata)?,
        };
        let attributes = attributes(metadata);
        self.draft.manifest.entries.push(Entry { path: path.clone(), attributes, kind });
        Ok(())
    }

    fn file_or_link(&mut self, path: &TreePath, metadata: &Metadata) -> Result<Kind, SyncError> {
        if metadata.links > 1 {
            if let Some(target) = self.links.get(&metadata.inode) {
                return Ok(Kind::Hardlink { target: target.clone() });
            }
            self.links.insert(metadata.inode, path.clone());
        }
        let (version, size, pieces) = match self.unchanged.get(&metadata.version) {
            Some((size, pieces)) => {
                self.unchanged_file(path, metadata.version, pieces)?;
                (metadata.version, *size, pieces.to_vec())
            }
            None => self.file(path)?,
        };
        self.draft.versions.push(version);
        self.progress.files += 1;
        self.progress.bytes += size;
        Ok(Kind::File { size, pieces })
    }

    fn unchanged_file(
        &mut self,
        path: &TreePath,
        version: Id,
        pieces: &[Piece],
    ) -> Result<(), SyncError> {
        let mut index = 0;
        for piece in pieces {
            match piece {
                Piece::Hole(count) => index += count,
                Piece::Block { id, .. } => {
                    let source = Source::Stored { path: path.clone(), version, index };
                    self.candidate(*id, source)?;
                    index += 1;
                }
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &TreePath) -> Result<(Id, u64, Vec<Piece>), SyncError> {
        let mut file = self.area.read_file(path)?;
        let (size, mut pieces) = (file.size(), Vec::new());
        if size == 0 {
            file.read_range(0, 0, &mut self.batch.plain)?;
        }
        let mut index = 0;
        while index < block_count(size) {
            let start = index * BLOCK_BYTES as u64;
            if let Some(end) = file.hole_end(start) {
                let blocks = if end >= size { block_count(size) } else { end / BLOCK_BYTES as u64 };
                if blocks > index {
                    push_piece(&mut pieces, Piece::Hole(blocks - index));
                    index = blocks;
                    continue;
                }
            }
            self.make_room()?;
            let from = self.batch.plain.len();
            file.read_range(start, BLOCK_BYTES, &mut self.batch.plain)?;
            let block = &self.batch.plain[from..];
            if is_zero(block) {
                push_piece(&mut pieces, Piece::Hole(1));
                self.batch.plain.truncate(from);
            } else {
                let id = self.ids.name(block);
                pieces.push(Piece::Block { id, pack: UNPLACED });
                self.candidate(id, Source::Plain(from..self.batch.plain.len()))?;
            }
            index += 1;
        }
        Ok((file.version(), size, pieces))
    }

    fn candidate(&mut self, id: BlockId, source: Source) -> Result<(), SyncError> {
        self.batch.blocks.push(Candidate { id, source });
        self.progress.blocks += 1;
        if self.batch.blocks.len() == IDS_AT_ONCE { self.hand_over() } else { Ok(()) }
    }

    /// Makes sure that a block fits the batch.
    fn make_room(&mut self) -> Result<(), SyncError> {
        if self.batch.plain.len() + BLOCK_BYTES > BATCH_BYTES { self.hand_over() } else { Ok(()) }
    }

    fn hand_over(&mut self) -> Result<(), SyncError> {
        let stopped = SyncError::Answer("the other half of the upload stopped");
        let Ok(free) = self.free.recv() else { return Err(stopped) };
        let mut batch = std::mem::replace(&mut self.batch, free);
        batch.progress = self.progress;
        self.batches.send(batch).map_err(|_| stopped)
    }
}

fn attributes(metadata: &Metadata) -> Attributes {
    let vault::Attributes { mode, mtime_s, mtime_ns, .. } = metadata.attributes;
    Attributes { mode: mode.into(), mtime_s, mtime_ns }
}

/// Sends the manifest in packs of its own; the names of its blocks and packs.
fn send_manifest(
    manifest: &Manifest,
    ids: &IdKey,
    account_id: &str,
    store: &dyn CloudStore,
    keys: &dyn DataKeys,
) -> Result<(Vec<String>, Vec<PackId>), SyncError> {
    let (key, wrapped) = keys.fresh()?;
    let key = DataKey::new(key.expose(), account_id);
    let encoded = manifest.encode();
    let (mut names, mut packs) = (Vec::new(), Vec::new());
    for part in encoded.chunks(BLOCK_BYTES * 7) {
        let mut writer = PackWriter::new(&wrapped)?;
        for block in part.chunks(BLOCK_BYTES) {
            let id = ids.name(block);
            names.push(id.to_string());
            writer.push(&key, &id, block);
        }
        let pack = writer.finish();
        store.put_pack(&pack.id, pack.bytes)?;
        packs.push(pack.id);
    }
    Ok((names, packs))
}
