//! Compaction: what still counts moves together, a checkpoint begins a new epoch, and files that
//! hold nothing any more go.
//!
//! Moves are commits like others. The checkpoint is written into new segments beside all that
//! counts until the anchor names it. Power may go between any two writes.

use crate::index::{Chunk, Key, Object};
use crate::io::{Anchor, FileId, Files};
use crate::record::{Content, Pointer, encode_object};
use crate::seal::{Epoch, sealed_record_bytes};
use crate::store::{Group, MAX_RECORD_BYTES, Place, Store};
use crate::{Error, SEGMENT_BYTES};
use crypto::secret::Secret;

/// With so many records a checkpoint is due; more where there are many objects.
const RECORDS: usize = 256;
/// Commits between two tries.
const PATIENCE: usize = 32;
/// Bytes that may lie idle before they are collected.
const SLACK_BYTES: u64 = 4 << 20;
/// A segment of which less counts is emptied.
const SPARSE_BYTES: u64 = SEGMENT_BYTES as u64 / 2;
/// The most bytes that one compaction moves.
const MAX_MOVED_BYTES: u64 = 2 << 20;
/// The most bytes of contents that one commit of moves has; at least what a sparse segment has.
const MOVE_BYTES: usize = SPARSE_BYTES as usize;

impl<F: Files, A: Anchor> Store<F, A> {
    /// Whether compaction is due.
    #[must_use]
    pub fn is_compaction_due(&self) -> bool {
        let taken = self.segments.len() as u64 * u64::from(SEGMENT_BYTES);
        let live: u64 = self.segments.keys().map(|segment| self.index.live(*segment)).sum();
        let many = self.records >= RECORDS + self.index.len() / 8;
        !self.is_doubtful() && self.untried >= PATIENCE && (many || taken > 2 * live + SLACK_BYTES)
    }

    /// Moves, makes a checkpoint, and removes. What fails is left for the next time.
    pub async fn compact(&mut self) -> Result<(), Error> {
        self.untried = 0;
        for segment in self.sparse_segments() {
            self.empty_segment(segment).await?;
        }
        self.checkpoint().await?;
        self.sweep().await;
        Ok(())
    }

    /// Segments that are worth emptying, the emptiest first.
    fn sparse_segments(&self) -> Vec<u32> {
        let current = self.place.map(|place| place.segment);
        let mut sparse: Vec<(u64, u32)> = self
            .index
            .live_segments()
            .filter(|segment| Some(*segment) != current && !self.damaged.contains(segment))
            .map(|segment| (self.index.live(segment), segment))
            .filter(|(live, _)| *live < SPARSE_BYTES)
            .collect();
        sparse.sort_unstable();
        let mut moved = 0;
        sparse.retain(|(live, _)| {
            moved += live;
            moved <= MAX_MOVED_BYTES
        });
        sparse.into_iter().map(|(_, segment)| segment).collect()
    }

    /// Moves all that counts out of `segment`, unless some of it can't be read.
    async fn empty_segment(&mut self, segment: u32) -> Result<(), Error> {
        let mut behind: Option<Key> = None;
        loop {
            let mut group = self.begin(MOVE_BYTES).await?;
            let (mut bytes, mut record_bytes) = (0, 0);
            while record_bytes < MAX_RECORD_BYTES / 2 {
                let Some((key, object)) = self.next_in(segment, behind.as_ref()) else { break };
                let size: usize = chunks_in(&object, segment).map(|it| it.length as usize).sum();
                if bytes > 0 && bytes + size > MOVE_BYTES {
                    break;
                }
                let mut moved = object.clone();
                for at in 0..object.chunks.len() {
                    if object.chunks[at].segment == segment {
                        match self.move_chunk(&mut group, &key, &object, at).await {
                            Ok(chunk) => moved.chunks[at] = chunk,
                            Err(Error::Security(_)) => {
                                self.damaged.insert(segment);
                                return self.finish(group).await;
                            }
                            Err(error) => {
                                self.abandon(group);
                                return Err(error);
                            }
                        }
                    }
                }
                let before = self.index.set(&key, Some(moved));
                group.note(key.clone(), before);
                record_bytes += self.record_bytes([&key].into_iter());
                bytes += size;
                behind = Some(key);
            }
            if bytes == 0 {
                return Ok(());
            }
            self.finish(group).await?;
        }
    }

    /// Puts a chunk, as it is sealed, behind what `group` will write. It must be what it was.
    async fn move_chunk(
        &self,
        group: &mut Group,
        key: &Key,
        object: &Object,
        at: usize,
    ) -> Result<Chunk, Error> {
        let chunk = &object.chunks[at];
        let sealed = self.read_sealed(chunk.segment, chunk.offset, chunk.length).await?;
        self.open_chunk(&key.owner, object, at, sealed.clone())?;
        let (offset, length) = group.push(&sealed);
        Ok(Chunk { segment: group.segment(), offset, length, ..chunk.clone() })
    }

    /// The next object behind `behind` that has something in `segment`.
    fn next_in(&self, segment: u32, behind: Option<&Key>) -> Option<(Key, Object)> {
        let mut objects = self.index.behind(behind);
        let found = objects.find(|(_, object)| chunks_in(object, segment).next().is_some());
        found.map(|(key, object)| (key.clone(), object.clone()))
    }

    /// Writes a checkpoint under a new epoch's key. Where it fails, the old epoch goes on.
    async fn checkpoint(&mut self) -> Result<(), Error> {
        let old = std::mem::replace(&mut self.epoch, Epoch::new(Secret::random()));
        let (old_last, old_tail) = (self.last_segment, self.tail.take());
        self.place = None;
        let written = self.write_pieces().await;
        let stored = match written {
            Ok(tail) => self.set_anchor(tail).await,
            Err(error) => Err(error),
        };
        if let Err(error) = stored {
            (self.epoch, self.last_segment, self.tail) = (old, old_last, old_tail);
            self.segments.retain(|segment, _| *segment <= old_last);
            self.place = None;
            return Err(error);
        }
        self.epoch_first = old_last + 1;
        self.records = 0;
        let (first, index) = (self.epoch_first, &self.index);
        self.segments.retain(|segment, _| *segment >= first || index.live(*segment) > 0);
        Ok(())
    }

    /// Writes all objects, a piece after the other, each naming the one before it; says where
    /// the last one lies.
    async fn write_pieces(&mut self) -> Result<Pointer, Error> {
        let mut segments: Vec<(u32, FileId)> = self
            .segments
            .iter()
            .filter(|(segment, _)| self.index.live(**segment) > 0)
            .map(|(segment, file)| (*segment, *file))
            .collect();
        let mut behind: Option<Key> = None;
        loop {
            let objects = self.piece(behind.as_ref());
            let last = objects.last().map(|(key, _)| key.clone());
            let content = Content::Piece { segments: std::mem::take(&mut segments), objects };
            let place = self.place_for_piece().await?;
            let pointer = self.append(place, Vec::new(), content).await?;
            behind = last.or(behind);
            if self.index.behind(behind.as_ref()).next().is_none() {
                return Ok(pointer);
            }
            self.tail = Some(pointer);
        }
    }

    /// The next objects that fit in a record beside the list of segments.
    fn piece(&self, behind: Option<&Key>) -> Vec<(Key, Object)> {
        let mut bytes = Vec::new();
        let mut objects = Vec::new();
        for (key, object) in self.index.behind(behind) {
            encode_object(&mut bytes, key, object);
            if bytes.len() > MAX_RECORD_BYTES * 3 / 4 {
                break;
            }
            objects.push((key.clone(), object.clone()));
        }
        objects
    }

    async fn place_for_piece(&mut self) -> Result<Place, Error> {
        let room = sealed_record_bytes(MAX_RECORD_BYTES);
        match self.place {
            Some(place) if place.offset as usize + room <= SEGMENT_BYTES as usize => Ok(place),
            _ => self.roll().await,
        }
    }
}

fn chunks_in(object: &Object, segment: u32) -> impl Iterator<Item = &Chunk> {
    object.chunks.iter().filter(move |chunk| chunk.segment == segment)
}
