//! The second half of an upload: what the cloud lacks is sealed, packed and sent.

use super::state::{Known, note_pack};
use super::{CloudStore, DataKeys, Listener, Progress, SyncError};
use snapshot::block::{BlockId, DataKey};
use snapshot::pack::{Pack, PackWriter};
use snapshot::path::TreePath;
use std::collections::HashSet;
use std::sync::mpsc::{Receiver, Sender, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, Scope, ScopedJoinHandle};
use vault::{Area, Id};
use wire::sync::BLOCK_BYTES;

/// Packs that are sent at the same time.
const SENDERS: usize = 2;

/// Blocks that the cloud may lack, asked about at once.
#[derive(Default)]
pub(super) struct Batch {
    /// Plaintext of those that were read.
    pub(super) plain: Vec<u8>,
    pub(super) blocks: Vec<Candidate>,
    /// How far the reader is.
    pub(super) progress: Progress,
}

/// A block that the cloud may lack.
pub(super) struct Candidate {
    pub(super) id: BlockId,
    pub(super) source: Source,
}

/// Where its plaintext is.
pub(super) enum Source {
    /// In the batch.
    Plain(std::ops::Range<usize>),
    /// In a file that did not change since the last snapshot.
    Stored { path: TreePath, version: Id, index: u64 },
}

/// What all threads of an upload share.
pub(super) struct Upload<'u> {
    pub(super) area: &'u Area,
    pub(super) store: &'u dyn CloudStore,
    pub(super) keys: &'u dyn DataKeys,
    pub(super) account_id: &'u str,
    pub(super) listener: Listener<'u>,
    /// The generation of the head so far.
    pub(super) follows: u64,
    pub(super) known: Mutex<Known>,
}

/// The running second half.
pub(super) struct Sealing<'scope> {
    sealer: ScopedJoinHandle<'scope, Result<Progress, SyncError>>,
    senders: Vec<ScopedJoinHandle<'scope, Result<(), SyncError>>>,
}

impl Sealing<'_> {
    /// Waits until all that was handed over is with the cloud.
    pub(super) fn finish(self) -> Result<Progress, SyncError> {
        let join = |result: thread::Result<_>| result.expect("a thread of sync does not panic");
        let sent: Vec<_> = self.senders.into_iter().map(|sender| sender.join()).collect();
        let sealed = self.sealer.join();
        // A sender's failure is the cause of the sealer's.
        for sent in sent {
            sent.expect("a thread of sync does not panic")?;
        }
        join(sealed)
    }
}

/// Starts the second half: `batches` come in, their buffers go back through `used`.
pub(super) fn start<'scope, 'u: 'scope>(
    scope: &'scope Scope<'scope, '_>,
    upload: &'scope Upload<'u>,
    batches: Receiver<Batch>,
    used: Sender<Batch>,
) -> Sealing<'scope> {
    let (packs, waiting) = sync_channel::<Pack>(0);
    let waiting = std::sync::Arc::new(Mutex::new(waiting));
    let senders = (0..SENDERS)
        .map(|_| {
            let waiting = std::sync::Arc::clone(&waiting);
            scope.spawn(move || send_packs(upload, &waiting))
        })
        .collect();
    drop(waiting);
    let sealer = scope.spawn(move || {
        let mut sealer = Sealer {
            upload,
            packs,
            session: None,
            seen: HashSet::new(),
            progress: Progress::default(),
            plain: Vec::new(),
        };
        for mut batch in batches {
            sealer.batch(&batch)?;
            batch.plain.clear();
            batch.blocks.clear();
            // The reader may be done already.
            let _ = used.send(batch);
        }
        sealer.close_pack()?;
        Ok(sealer.progress)
    });
    Sealing { sealer, senders }
}

struct Sealer<'scope, 'u> {
    upload: &'scope Upload<'u>,
    packs: SyncSender<Pack>,
    /// The data key of this run, drawn when it is first needed, and the pack that fills.
    session: Option<(DataKey, String, Option<PackWriter>)>,
    /// Blocks that this run has dealt with.
    seen: HashSet<BlockId>,
    progress: Progress,
    plain: Vec<u8>,
}

impl Sealer<'_, '_> {
    fn batch(&mut self, batch: &Batch) -> Result<(), SyncError> {
        let fresh: Vec<&Candidate> =
            batch.blocks.iter().filter(|block| self.seen.insert(block.id)).collect();
        let ids: Vec<BlockId> = fresh.iter().map(|block| block.id).collect();
        let mut wanted: HashSet<BlockId> = HashSet::new();
        for ids in ids.chunks(wire::sync::IDS_AT_ONCE) {
            wanted.extend(self.upload.store.missing(ids)?);
        }
        {
            // A block whose pack is not known could be swept with that pack.
            let known = self.upload.known.lock().unwrap_or_else(PoisonError::into_inner);
            wanted.extend(ids.iter().filter(|id| !known.blocks.contains_key(id)));
        }
        for block in fresh {
            if wanted.contains(&block.id) {
                self.block(block, &batch.plain)?;
            }
        }
        self.report(batch.progress);
        Ok(())
    }

    fn block(&mut self, block: &Candidate, batch: &[u8]) -> Result<(), SyncError> {
        match &block.source {
            Source::Plain(range) => self.seal(&block.id, &batch[range.clone()]),
            Source::Stored { path, version, index } => {
                let mut plain = std::mem::take(&mut self.plain);
                plain.clear();
                let mut file = self.upload.area.read_file(path)?;
                if file.version() != *version {
                    return Err(SyncError::Changed(path.clone()));
                }
                file.read_range(index * BLOCK_BYTES as u64, BLOCK_BYTES, &mut plain)?;
                self.seal(&block.id, &plain)?;
                self.plain = plain;
                Ok(())
            }
        }
    }

    fn seal(&mut self, id: &BlockId, plain: &[u8]) -> Result<(), SyncError> {
        if self.session.is_none() {
            let (key, wrapped) = self.upload.keys.fresh()?;
            self.session =
                Some((DataKey::new(key.expose(), self.upload.account_id), wrapped, None));
        }
        let full = |(_, _, pack): &(_, _, Option<PackWriter>)| {
            pack.as_ref().is_some_and(|pack| !pack.has_room_for(plain.len()))
        };
        if self.session.as_ref().is_some_and(full) {
            self.close_pack()?;
        }
        let (key, wrapped, pack) = self.session.as_mut().expect("it was made above");
        if pack.is_none() {
            *pack = Some(PackWriter::new(wrapped)?);
        }
        if let Some(pack) = pack {
            pack.push(key, id, plain);
        }
        self.progress.moved_blocks += 1;
        self.progress.moved_bytes += plain.len() as u64;
        Ok(())
    }

    fn close_pack(&mut self) -> Result<(), SyncError> {
        let pack = self.session.as_mut().and_then(|(_, _, pack)| pack.take());
        if let Some(pack) = pack.filter(|pack| !pack.is_empty()) {
            // Where nobody takes it, the senders say why.
            let stopped = |_| SyncError::Answer("the senders stopped");
            self.packs.send(pack.finish()).map_err(stopped)?;
        }
        Ok(())
    }

    fn report(&mut self, reader: Progress) {
        let Progress { files, bytes, blocks, .. } = reader;
        self.progress = Progress { files, bytes, blocks, ..self.progress };
        (self.upload.listener)(self.progress);
    }
}

fn send_packs(upload: &Upload<'_>, waiting: &Mutex<Receiver<Pack>>) -> Result<(), SyncError> {
    loop {
        let received = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(pack) = received else { return Ok(()) };
        upload.store.put_pack(&pack.id, pack.bytes)?;
        note_pack(upload.area, upload.follows, &pack.id, &pack.blocks)?;
        let mut known = upload.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.add_pack(pack.id, &pack.blocks);
    }
}
