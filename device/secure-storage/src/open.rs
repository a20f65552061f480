//! Opening: what the anchor covers is read back, checked against the root, and nothing else
//! counts.
//!
//! A record that the anchor does not cover was never acknowledged: the next segment begins
//! elsewhere, and compaction removes what is left of it. Everything that the anchor covers must
//! be there, exactly. What is not is an error, never an empty store: else whoever wipes the
//! REE's files would wipe what the TEE remembers.

use crate::Error;
use crate::index::Index;
use crate::io::{ANCHOR_BYTES, Anchor, Files, Keys};
use crate::record::{AnchorState, Content, Entry, Pointer, Record};
use crate::seal::{Epoch, open_anchor, seal_anchor};
use crate::store::Store;
use crypto::secret::Secret;
use std::rc::Rc;

impl<F: Files, A: Anchor> Store<F, A> {
    /// Opens the store. An anchor that was never written is an empty store.
    pub async fn open(files: F, anchor: A, keys: Rc<dyn Keys>) -> Result<Self, Error> {
        let Some(state) = load(&anchor, &*keys).await? else {
            let epoch = Epoch::new(Secret::random());
            let store = Self::empty(files, anchor, keys, epoch);
            store.sweep().await;
            return Ok(store);
        };
        let epoch = Epoch::new(state.epoch_key);
        let mut store = Self::empty(files, anchor, keys, epoch);
        store.commit = state.commit;
        if let Some(tail) = state.tail {
            store.replay(&tail).await?;
            store.tail = Some(tail);
        }
        if store.index.root() != state.root {
            return Err(Error::altered("the hash tree over all objects"));
        }
        store.sweep().await;
        Ok(store)
    }

    /// Forgets all objects for good: their keys go with the anchor's content. It works whatever
    /// the REE does, and whatever became of its files; those that it still keeps are removed when
    /// the store is opened next.
    pub async fn erase(anchor: &A, keys: &dyn Keys) -> Result<(), Error> {
        let last = load(anchor, keys).await?.map_or(0, |state| state.commit);
        let epoch_key = Secret::random();
        let root = Index::new().root();
        let state = AnchorState { commit: last + 1, root, epoch_key, tail: None };
        Ok(anchor.store(seal_anchor(keys, &state)).await?)
    }

    /// Walks from the last record back to the last checkpoint, then makes the changes in the
    /// order in which they came.
    async fn replay(&mut self, tail: &Pointer) -> Result<(), Error> {
        let mut commits: Vec<Vec<Entry>> = Vec::new();
        let mut expected = self.commit;
        let mut in_checkpoint = false;
        let mut next = Some(tail.clone());
        while let Some(pointer) = next {
            let record = self.read_record(&pointer).await?;
            let in_order = record.commit == expected;
            match record.content {
                Content::Commit(entries) if in_order && !in_checkpoint => {
                    commits.push(entries);
                    expected = expected.saturating_sub(1);
                }
                Content::Piece { segments, objects } if in_order => {
                    in_checkpoint = true;
                    self.segments.extend(segments);
                    for (key, object) in objects {
                        self.index.set(&key, Some(object));
                    }
                }
                _ => return Err(Error::altered(&self.file_name(pointer.segment))),
            }
            self.epoch_first = pointer.segment;
            next = record.previous;
        }
        for segment in self.epoch_first..=tail.segment {
            self.segments.insert(segment, self.epoch.file(segment));
        }
        self.records = commits.len();
        self.last_segment = tail.segment;
        for (key, object) in commits.into_iter().rev().flatten() {
            self.index.set(&key, object);
        }
        let known = |segment| self.segments.contains_key(&segment);
        if !self.index.live_segments().all(known) {
            return Err(Error::altered("the list of files"));
        }
        Ok(())
    }

    async fn read_record(&self, pointer: &Pointer) -> Result<Record, Error> {
        let Pointer { segment, offset, length, tag } = pointer;
        let sealed = self.read_sealed(*segment, *offset, *length).await?;
        if sealed.iter().all(|byte| *byte == 0) {
            let file = self.file_name(*segment);
            return Err(Error::Security(format!("{file} is older than what RPMB remembers")));
        }
        let record = self.epoch.open(*segment, *offset, &sealed);
        let record = record.filter(|_| sealed.ends_with(tag));
        record.ok_or_else(|| Error::altered(&self.file_name(*segment)))
    }

    /// Removes files that do not count. What stays because the REE does not do it takes room,
    /// no more.
    pub(crate) async fn sweep(&self) {
        let Ok(files) = self.files.list().await else { return };
        for file in files {
            if !self.segments.values().any(|known| *known == file)
                && self.files.remove(file).await.is_err()
            {
                return;
            }
        }
    }
}

/// What the anchor says; `None` where it was never written.
async fn load(anchor: &impl Anchor, keys: &dyn Keys) -> Result<Option<AnchorState>, Error> {
    let block = anchor.load().await?;
    if block == [0; ANCHOR_BYTES] {
        return Ok(None);
    }
    open_anchor(keys, &block).map(Some).ok_or_else(|| Error::altered("the anchor in RPMB"))
}
