//! Records and the anchor, in plain form.
//!
//! All numbers are little-endian. A record: `kind u8 | commit u64 | has previous u8 | previous |`
//! content. A commit's content: `u16` changes, each an object, or a key and the mark that it
//! went. A checkpoint's: `u16` segments, each `number u32 | file[16]`, then `u16` objects. A
//! decoder takes only what an encoder makes, to the last byte.

use crate::index::{Chunk, Key, Object};
use crate::io::FileId;
use crate::tree::Hash;
use crate::{CHUNK_BYTES, MAX_NAME_BYTES, MAX_OBJECT_BYTES, SEGMENT_BYTES};
use crypto::secret::Secret;

const COMMIT: u8 = 1;
const PIECE: u8 = 2;
const GONE: u16 = u16::MAX;
const ANCHOR_MAGIC: [u8; 4] = *b"HFA1";

/// Where a sealed record lies, and exactly which one it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pointer {
    pub(crate) segment: u32,
    pub(crate) offset: u32,
    pub(crate) length: u32,
    pub(crate) tag: [u8; 16],
}

/// A change of the index: what a key holds from now on.
pub(crate) type Entry = (Key, Option<Object>);

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// What changed.
    Commit(Vec<Entry>),
    /// Part of a checkpoint: segments that it goes on using, and objects.
    Piece { segments: Vec<(u32, FileId)>, objects: Vec<(Key, Object)> },
}

/// One record of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub(crate) commit: u64,
    pub(crate) previous: Option<Pointer>,
    pub(crate) content: Content,
}

impl Record {
    /// The plain form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        let kind = if matches!(self.content, Content::Commit(_)) { COMMIT } else { PIECE };
        out.push(kind);
        out.extend(self.commit.to_le_bytes());
        encode_pointer(&mut out, self.previous.as_ref());
        match &self.content {
            Content::Commit(entries) => {
                out.extend((entries.len() as u16).to_le_bytes());
                for (key, object) in entries {
                    match object {
                        Some(object) => encode_object(&mut out, key, object),
                        None => {
                            encode_key(&mut out, key);
                            out.extend(GONE.to_le_bytes());
                        }
                    }
                }
            }
            Content::Piece { segments, objects } => {
                out.extend((segments.len() as u16).to_le_bytes());
                for (number, file) in segments {
                    out.extend(number.to_le_bytes());
                    out.extend(file.0);
                }
                out.extend((objects.len() as u16).to_le_bytes());
                objects.iter().for_each(|(key, object)| encode_object(&mut out, key, object));
            }
        }
        out
    }

    /// From the plain form; `None` where it is not one.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let [kind] = reader.array()?;
        let commit = u64::from_le_bytes(reader.array()?);
        let previous = decode_pointer(&mut reader)?;
        let content = match kind {
            COMMIT => {
                let count = reader.u16()?;
                Content::Commit(
                    (0..count).map(|_| decode_entry(&mut reader)).collect::<Option<_>>()?,
                )
            }
            PIECE => {
                let count = reader.u16()?;
                let segments = (0..count)
                    .map(|_| Some((reader.u32()?, FileId(reader.array()?))))
                    .collect::<Option<_>>()?;
                let count = reader.u16()?;
                let objects = (0..count)
                    .map(|_| {
                        decode_entry(&mut reader).and_then(|(key, object)| Some((key, object?)))
                    })
                    .collect::<Option<_>>()?;
                Content::Piece { segments, objects }
            }
            _ => return None,
        };
        reader.0.is_empty().then_some(Self { commit, previous, content })
    }
}

/// What RPMB holds: the state of everything.
pub struct AnchorState {
    /// How many commits there were; never falls.
    pub(crate) commit: u64,
    /// The root of the hash tree.
    pub(crate) root: Hash,
    /// Opens the records of this epoch.
    pub(crate) epoch_key: Secret<32>,
    /// The last record; `None` in an empty store.
    pub(crate) tail: Option<Pointer>,
}

impl AnchorState {
    /// The plain form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        out.extend(ANCHOR_MAGIC);
        out.extend(self.commit.to_le_bytes());
        out.extend(self.root);
        out.extend(self.epoch_key.expose());
        encode_pointer(&mut out, self.tail.as_ref());
        out
    }

    /// From the plain form; `None` where it is not one.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        (reader.array()? == ANCHOR_MAGIC).then_some(())?;
        let state = Self {
            commit: u64::from_le_bytes(reader.array()?),
            root: reader.array()?,
            epoch_key: Secret::new(reader.array()?),
            tail: decode_pointer(&mut reader)?,
        };
        reader.0.is_empty().then_some(state)
    }
}

/// Appends an object's plain form, which is also what the hash tree covers.
pub(crate) fn encode_object(out: &mut Vec<u8>, key: &Key, object: &Object) {
    encode_key(out, key);
    out.extend((object.chunks.len() as u16).to_le_bytes());
    out.extend(object.version.to_le_bytes());
    out.extend(object.size.to_le_bytes());
    for chunk in &object.chunks {
        out.extend(chunk.segment.to_le_bytes());
        out.extend(chunk.offset.to_le_bytes());
        out.extend(chunk.length.to_le_bytes());
        out.extend(chunk.secret);
        out.extend(chunk.tag);
    }
}

fn encode_key(out: &mut Vec<u8>, key: &Key) {
    out.extend(key.owner);
    out.push(key.name.len() as u8);
    out.extend(key.name.as_bytes());
}

fn encode_pointer(out: &mut Vec<u8>, pointer: Option<&Pointer>) {
    out.push(u8::from(pointer.is_some()));
    if let Some(pointer) = pointer {
        out.extend(pointer.segment.to_le_bytes());
        out.extend(pointer.offset.to_le_bytes());
        out.extend(pointer.length.to_le_bytes());
        out.extend(pointer.tag);
    }
}

fn decode_pointer(reader: &mut Reader<'_>) -> Option<Option<Pointer>> {
    match reader.array()? {
        [0] => Some(None),
        [1] => {
            let (segment, offset, length) = (reader.u32()?, reader.u32()?, reader.u32()?);
            let pointer = Pointer { segment, offset, length, tag: reader.array()? };
            in_segment(offset, length).then_some(Some(pointer))
        }
        _ => None,
    }
}

fn decode_entry(reader: &mut Reader<'_>) -> Option<Entry> {
    let owner = reader.array()?;
    let [length] = reader.array()?;
    let name = std::str::from_utf8(reader.take(length.into())?).ok()?;
    (1..=MAX_NAME_BYTES).contains(&name.len()).then_some(())?;
    let key = Key::new(&owner, name);
    let count = reader.u16()?;
    if count == GONE {
        return Some((key, None));
    }
    let version = u64::from_le_bytes(reader.array()?);
    let size = reader.u32()?;
    let fits = size <= MAX_OBJECT_BYTES && u32::from(count) == size.div_ceil(CHUNK_BYTES);
    fits.then_some(())?;
    let chunks = (0..count).map(|_| decode_chunk(reader)).collect::<Option<_>>()?;
    Some((key, Some(Object { version, size, chunks })))
}

fn decode_chunk(reader: &mut Reader<'_>) -> Option<Chunk> {
    let (segment, offset, length) = (reader.u32()?, reader.u32()?, reader.u32()?);
    let chunk = Chunk { segment, offset, length, secret: reader.array()?, tag: reader.array()? };
    in_segment(offset, length).then_some(chunk)
}

fn in_segment(offset: u32, length: u32) -> bool {
    offset.checked_add(length).is_some_and(|end| end <= SEGMENT_BYTES)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pointer() -> impl Strategy<Value = Pointer> {
        (any::<u32>(), 0..SEGMENT_BYTES / 2, 0..SEGMENT_BYTES / 2, any::<[u8; 16]>())
            .prop_map(|(segment, offset, length, tag)| Pointer { segment, offset, length, tag })
    }

    fn object() -> impl Strategy<Value = (Key, Object)> {
        let key = (any::<[u8; 32]>(), "[a-zä]{1,20}").prop_map(|(o, name)| Key::new(&o, &name));
        let chunk = (pointer(), any::<[u8; 16]>()).prop_map(|(at, secret)| Chunk {
            segment: at.segment,
            offset: at.offset,
            length: at.length,
            secret,
            tag: at.tag,
        });
        let chunks = proptest::collection::vec(chunk, 0..4);
        (key, any::<u64>(), chunks).prop_map(|(key, version, chunks)| {
            let size = chunks.len() as u32 * CHUNK_BYTES;
            (key, Object { version, size, chunks: chunks.into() })
        })
    }

    fn content() -> impl Strategy<Value = Content> {
        let entry = (object(), any::<bool>()).prop_map(|((k, o), stays)| (k, stays.then_some(o)));
        let commit = proptest::collection::vec(entry, 0..5).prop_map(Content::Commit);
        let segment = (any::<u32>(), any::<[u8; 16]>()).prop_map(|(n, file)| (n, FileId(file)));
        let segments = proptest::collection::vec(segment, 0..3);
        let piece = (segments, proptest::collection::vec(object(), 0..5))
            .prop_map(|(segments, objects)| Content::Piece { segments, objects });
        prop_oneof![commit, piece]
    }

    proptest! {
        #[test]
        fn records_survive_a_round_trip_and_refuse_every_truncation(
            commit: u64,
            previous in proptest::option::of(pointer()),
            content in content(),
            cut in any::<proptest::sample::Index>(),
        ) {
            let record = Record { commit, previous, content };
            let bytes = record.encode();
            prop_assert_eq!(Record::decode(&bytes[..cut.index(bytes.len())]), None);
            prop_assert_eq!(Record::decode(&[&bytes[..], &[0]].concat()), None);
            prop_assert_eq!(Record::decode(&bytes), Some(record));
        }

        #[test]
        fn anchors_survive_a_round_trip(
            commit: u64, root: [u8; 32], key: [u8; 32], tail in proptest::option::of(pointer()),
        ) {
            let state = AnchorState { commit, root, epoch_key: Secret::new(key), tail };
            let bytes = state.encode();
            let again = AnchorState::decode(&bytes).unwrap();
            prop_assert_eq!(again.encode(), &bytes[..]);
            prop_assert!(AnchorState::decode(&bytes[1..]).is_none());
        }

        #[test]
        fn any_bytes_are_taken_without_panic(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..300), kind in 0_u8..4,
        ) {
            if let Some(first) = bytes.first_mut() {
                *first = kind;
            }
            if let Some(record) = Record::decode(&bytes) {
                prop_assert_eq!(record.encode(), bytes);
            }
        }
    }
}
