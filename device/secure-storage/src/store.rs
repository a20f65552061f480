//! The engine: reading, and the commit.

use crate::change::{self, Change, Quota, check_name};
use crate::index::{Index, Key, Object};
use crate::io::{Anchor, FileId, Files, Keys, Owner};
use crate::record::{AnchorState, Content, Pointer, Record, encode_object};
use crate::seal::{self, Epoch, sealed_record_bytes};
use crate::{CHUNK_BYTES, Error, MAX_IO_BYTES, MAX_LISTED, MAX_READ_BYTES, SEGMENT_BYTES};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use zeroize::Zeroizing;

/// The most bytes of a record, without seal.
pub(crate) const MAX_RECORD_BYTES: usize = 80 << 10;
/// The most bytes of contents that one commit writes.
const MAX_GROUP_BYTES: usize = 512 << 10;

/// What keys held before a change.
pub(crate) type Undo = BTreeMap<Key, Option<Object>>;

/// A request to change objects: all of its changes, or none.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Whose objects.
    pub owner: Owner,
    /// How much the owner may have.
    pub quota: Quota,
    /// What to do, in order.
    pub changes: Vec<Change>,
}

/// Where the next write goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) segment: u32,
    pub(crate) offset: u32,
}

/// What one commit will write: contents, then the record. The index has its changes already.
pub(crate) struct Group {
    place: Place,
    body: Vec<u8>,
    undo: Undo,
    record_bytes: usize,
}

impl Group {
    pub(crate) const fn segment(&self) -> u32 {
        self.place.segment
    }

    /// Puts `bytes` behind the rest; gives their offset in the segment, and their length.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> (u32, u32) {
        let offset = self.place.offset + self.body.len() as u32;
        self.body.extend_from_slice(bytes);
        (offset, bytes.len() as u32)
    }

    /// What lies at `offset` in the segment, where it is not written yet.
    fn unwritten(&self, segment: u32, offset: u32, length: u32) -> Option<&[u8]> {
        let at = offset.checked_sub(self.place.offset)? as usize;
        let bytes = self.body.get(at..at + length as usize)?;
        (segment == self.place.segment).then_some(bytes)
    }

    /// Notes what a key held, where it is not noted yet.
    pub(crate) fn note(&mut self, key: Key, before: Option<Object>) {
        self.undo.entry(key).or_insert(before);
    }
}

/// The store, opened: its index, its keys, and where it writes next.
pub struct Store<F, A> {
    pub(crate) files: F,
    pub(crate) anchor: A,
    keys: Rc<dyn Keys>,
    pub(crate) index: Index,
    pub(crate) epoch: Epoch,
    /// The files of the segments that count.
    pub(crate) segments: BTreeMap<u32, FileId>,
    /// The first segment of this epoch: from here on, segments hold records that count.
    pub(crate) epoch_first: u32,
    /// The last segment that was made.
    pub(crate) last_segment: u32,
    pub(crate) commit: u64,
    pub(crate) tail: Option<Pointer>,
    /// `None`: the next write begins a segment.
    pub(crate) place: Option<Place>,
    /// Records since the last checkpoint.
    pub(crate) records: usize,
    /// Commits since compaction was last tried.
    pub(crate) untried: usize,
    /// Segments with something unreadable: they stay as they are.
    pub(crate) damaged: BTreeSet<u32>,
    doubtful: bool,
    /// Which program keeps the files.
    keeper: u64,
}

impl<F: Files, A: Anchor> Store<F, A> {
    /// Without any object.
    pub(crate) fn empty(files: F, anchor: A, keys: Rc<dyn Keys>, epoch: Epoch) -> Self {
        Self {
            files,
            anchor,
            keys,
            index: Index::new(),
            epoch,
            segments: BTreeMap::new(),
            epoch_first: 1,
            last_segment: 0,
            commit: 0,
            tail: None,
            place: None,
            records: 0,
            untried: 0,
            damaged: BTreeSet::new(),
            doubtful: false,
            keeper: 0,
        }
    }

    /// Another program may keep the files now. A write of the one before it may still be on its
    /// way, so nothing more goes into the segment that it had.
    pub(crate) fn meet_keeper(&mut self, keeper: u64) {
        if self.keeper != keeper {
            (self.keeper, self.place) = (keeper, None);
        }
    }

    /// Whether a write of the anchor failed: what it holds tells which commit was the last. The
    /// store must be opened anew.
    #[must_use]
    pub const fn is_doubtful(&self) -> bool {
        self.doubtful
    }

    /// Bytes of an object.
    pub fn size(&self, owner: &Owner, name: &str) -> Result<u32, Error> {
        check_name(name)?;
        Ok(self.find(&Key::new(owner, name))?.size)
    }

    /// Names of an owner's objects behind `after`, sorted; at most [`MAX_LISTED`].
    #[must_use]
    pub fn list(&self, owner: &Owner, after: Option<&str>) -> Vec<String> {
        self.index.names(owner, after, MAX_LISTED)
    }

    /// What an object holds from `offset` on: `length` bytes, or as many as there are; at most
    /// [`MAX_READ_BYTES`].
    pub async fn read(
        &self,
        owner: &Owner,
        name: &str,
        offset: u32,
        length: u32,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        check_name(name)?;
        let object = self.find(&Key::new(owner, name))?;
        let end = offset.saturating_add(length.min(MAX_READ_BYTES)).min(object.size);
        let mut out = Zeroizing::new(Vec::with_capacity(end.saturating_sub(offset) as usize));
        let mut at = offset;
        while at < end {
            let number = at / CHUNK_BYTES;
            let chunk = self.read_chunk(None, owner, object, number as usize).await?;
            let begin = number * CHUNK_BYTES;
            let inside = (at - begin) as usize..(end - begin).min(CHUNK_BYTES) as usize;
            out.extend_from_slice(&chunk[inside]);
            at = begin + CHUNK_BYTES;
        }
        Ok(out)
    }

    /// Makes the changes of `batches` durable, each wholly or not at all, in one commit. Gives
    /// the outcomes of the first ones, at least one; what did not fit is for the next commit.
    pub async fn commit(&mut self, batches: &[Batch]) -> Vec<Result<(), Error>> {
        let (mut room, mut count) = (0, 0);
        for batch in batches {
            let more = batch.changes.iter().map(Change::room).sum::<usize>();
            if room + more > MAX_GROUP_BYTES {
                break;
            }
            room += more;
            count += 1;
        }
        if count == 0 {
            return vec![Err(too_much())];
        }
        match self.try_commit(&batches[..count], room).await {
            Ok(outcomes) => outcomes,
            Err(error) => vec![Err(error); count],
        }
    }

    async fn try_commit(
        &mut self,
        batches: &[Batch],
        room: usize,
    ) -> Result<Vec<Result<(), Error>>, Error> {
        let mut group = self.begin(room).await?;
        let mut outcomes = Vec::with_capacity(batches.len());
        for batch in batches {
            match self.stage(&mut group, batch).await {
                Ok(true) => outcomes.push(Ok(())),
                Ok(false) if !outcomes.is_empty() => break,
                Ok(false) => outcomes.push(Err(too_much())),
                Err(error) => outcomes.push(Err(error)),
            }
        }
        if let Err(error) = self.finish(group).await {
            outcomes.iter_mut().filter(|it| it.is_ok()).for_each(|it| *it = Err(error.clone()));
        }
        Ok(outcomes)
    }

    /// Makes the changes of a batch in the index, all or none; `false` where their record does
    /// not fit beside the others'.
    async fn stage(&mut self, group: &mut Group, batch: &Batch) -> Result<bool, Error> {
        change::check(&batch.changes)?;
        let body_bytes = group.body.len();
        let mut undo = Undo::new();
        let mut staged = Ok(());
        for change in &batch.changes {
            staged = self.stage_change(group, &mut undo, &batch.owner, change).await;
            if staged.is_err() {
                break;
            }
        }
        let record_bytes = group.record_bytes + self.record_bytes(undo.keys());
        let staged = staged.and_then(|()| self.check_quota(batch));
        if staged.is_err() || record_bytes > MAX_RECORD_BYTES {
            self.restore(undo);
            group.body.truncate(body_bytes);
            return staged.map(|()| false);
        }
        group.record_bytes = record_bytes;
        undo.into_iter().for_each(|(key, before)| group.note(key, before));
        Ok(true)
    }

    fn check_quota(&self, batch: &Batch) -> Result<(), Error> {
        let grows = batch
            .changes
            .iter()
            .any(|change| matches!(change, Change::Put { .. } | Change::Write { .. }));
        let usage = self.index.usage(&batch.owner);
        if grows && (usage.objects > batch.quota.objects || usage.bytes > batch.quota.bytes) {
            return Err(Error::Quota("this trusted application has no room for more"));
        }
        if grows && !self.index.fits() {
            return Err(Error::Quota("there is no room for more"));
        }
        Ok(())
    }

    /// How much of a record the changes of these keys take.
    pub(crate) fn record_bytes<'k>(&self, keys: impl Iterator<Item = &'k Key>) -> usize {
        let mut bytes = Vec::new();
        keys.map(|key| match self.index.get(key) {
            Some(object) => {
                bytes.clear();
                encode_object(&mut bytes, key, object);
                bytes.len()
            }
            None => 64 + key.name.len(),
        })
        .sum()
    }

    /// A commit to be, with room for `room` bytes and a record.
    pub(crate) async fn begin(&mut self, room: usize) -> Result<Group, Error> {
        if self.doubtful {
            return Err(Error::Unreachable("the last write of the RPMB failed".into()));
        }
        let room = room + sealed_record_bytes(MAX_RECORD_BYTES + 64);
        let place = match self.place {
            Some(place) if place.offset as usize + room <= SEGMENT_BYTES as usize => place,
            _ => self.roll().await?,
        };
        Ok(Group { place, body: Vec::new(), undo: Undo::new(), record_bytes: 0 })
    }

    /// Begins a new segment.
    pub(crate) async fn roll(&mut self) -> Result<Place, Error> {
        let segment = self.last_segment + 1;
        let file = self.epoch.file(segment);
        self.place = None;
        let created = self.files.create(file, SEGMENT_BYTES).await;
        created.map_err(|error| Error::of_file(error, &file))?;
        self.segments.insert(segment, file);
        self.last_segment = segment;
        let place = Place { segment, offset: 0 };
        self.place = Some(place);
        Ok(place)
    }

    /// Writes what the group has, then the record, then the anchor: that is the commit.
    pub(crate) async fn finish(&mut self, group: Group) -> Result<(), Error> {
        let Group { place, body, undo, .. } = group;
        if undo.is_empty() {
            return Ok(());
        }
        let entries = undo.keys().map(|key| (key.clone(), self.index.get(key).cloned())).collect();
        let tail = match self.append(place, body, Content::Commit(entries)).await {
            Ok(tail) => tail,
            Err(error) => {
                self.restore(undo);
                return Err(error);
            }
        };
        self.set_anchor(tail).await?;
        self.records += 1;
        self.untried += 1;
        Ok(())
    }

    /// Writes `body` and a record behind it, durably; says where the record lies. After a
    /// failure nobody knows what is there: the next write begins a new segment.
    pub(crate) async fn append(
        &mut self,
        place: Place,
        mut body: Vec<u8>,
        content: Content,
    ) -> Result<Pointer, Error> {
        let Place { segment, offset: start } = place;
        let file = self.epoch.file(segment);
        let record = Record { commit: self.next_commit(), previous: self.tail.clone(), content };
        let offset = start + body.len() as u32;
        let sealed = self.epoch.seal(segment, offset, &record);
        let tag = *sealed.last_chunk().expect("a sealed record ends with its tag");
        body.extend_from_slice(&sealed);
        self.place = None;
        let (mut at, mut rest) = (start, body);
        while !rest.is_empty() {
            let behind = rest.split_off(rest.len().min(MAX_IO_BYTES));
            let (length, is_last) = (rest.len() as u32, behind.is_empty());
            let written = self.files.write(file, at, rest, is_last).await;
            written.map_err(|error| Error::of_file(error, &file))?;
            at += length;
            rest = behind;
        }
        self.place = Some(Place { segment, offset: at });
        Ok(Pointer { segment, offset, length: sealed.len() as u32, tag })
    }

    /// Makes the index as it is, and the log up to `tail`, the state that counts.
    pub(crate) async fn set_anchor(&mut self, tail: Pointer) -> Result<(), Error> {
        let commit = self.next_commit();
        let state = AnchorState {
            commit,
            root: self.index.root(),
            epoch_key: self.epoch.key(),
            tail: Some(tail),
        };
        let stored = self.anchor.store(seal::seal_anchor(self.keys(), &state)).await;
        self.doubtful = stored.is_err();
        stored?;
        (self.commit, self.tail) = (commit, state.tail);
        Ok(())
    }

    /// What a chunk of `object` holds. One that `group` has still to write comes from there.
    pub(crate) async fn read_chunk(
        &self,
        group: Option<&Group>,
        owner: &Owner,
        object: &Object,
        at: usize,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let chunk = &object.chunks[at];
        let (segment, offset, length) = (chunk.segment, chunk.offset, chunk.length);
        let sealed = match group.and_then(|group| group.unwritten(segment, offset, length)) {
            Some(bytes) => bytes.to_vec(),
            None => self.read_sealed(segment, offset, length).await?,
        };
        self.open_chunk(owner, object, at, sealed)
    }

    pub(crate) fn open_chunk(
        &self,
        owner: &Owner,
        object: &Object,
        at: usize,
        sealed: Vec<u8>,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let chunk = &object.chunks[at];
        let plain_bytes = object.chunk_bytes(at) as usize;
        let plain =
            seal::open_content(self.keys(), owner, &chunk.secret, &chunk.tag, sealed, plain_bytes);
        let file = || self.file_name(chunk.segment);
        plain.ok_or_else(|| Error::altered(&format!("an object in {}", file())))
    }

    /// What lies in a segment: exactly `length` bytes.
    pub(crate) async fn read_sealed(
        &self,
        segment: u32,
        offset: u32,
        length: u32,
    ) -> Result<Vec<u8>, Error> {
        let file = self.segments.get(&segment).copied();
        let file = file.unwrap_or_else(|| self.epoch.file(segment));
        let bytes = self.files.read(file, offset, length).await;
        let bytes = bytes.map_err(|error| Error::of_file(error, &file))?;
        if bytes.len() == length as usize {
            Ok(bytes)
        } else {
            Err(Error::Unreachable("the system's answer has another length".into()))
        }
    }

    pub(crate) fn file_name(&self, segment: u32) -> String {
        match self.segments.get(&segment) {
            Some(file) => format!("file {file}"),
            None => format!("file {}", self.epoch.file(segment)),
        }
    }

    pub(crate) fn keys(&self) -> &dyn Keys {
        &*self.keys
    }

    pub(crate) const fn next_commit(&self) -> u64 {
        self.commit + 1
    }

    pub(crate) fn find(&self, key: &Key) -> Result<&Object, Error> {
        self.index.get(key).ok_or_else(|| Error::NotFound((*key.name).to_owned()))
    }

    /// Sets a key in the index; what it held goes into `undo`, where it is not noted yet.
    pub(crate) fn set(&mut self, undo: &mut Undo, key: &Key, object: Option<Object>) {
        let before = self.index.set(key, object);
        undo.entry(key.clone()).or_insert(before);
    }

    /// Gives a commit up before it is written.
    pub(crate) fn abandon(&mut self, group: Group) {
        self.restore(group.undo);
    }

    fn restore(&mut self, undo: Undo) {
        for (key, before) in undo {
            self.index.set(&key, before);
        }
    }
}

fn too_much() -> Error {
    Error::Parameters("changes are too much for one request")
}
