//! The index, in the TEE's memory: which objects there are, whose, and where their contents lie.

use crate::io::Owner;
use crate::record;
use crate::tree::{self, BUCKET_BITS, Hash, Tree};
use crate::{CHUNK_BYTES, MAX_BYTES, MAX_OBJECTS};
use crypto::digest::Sha256;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// An object's owner and name. Sorted by bucket first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    hash: u64,
    pub(crate) owner: Owner,
    pub(crate) name: Box<str>,
}

impl Key {
    pub(crate) fn new(owner: &Owner, name: &str) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(owner);
        hasher.update(name.as_bytes());
        let hash = hasher.finish();
        let first = hash.first_chunk().expect("a digest has 32 bytes");
        Self { hash: u64::from_be_bytes(*first), owner: *owner, name: name.into() }
    }

    /// The bucket of the hash tree that the object is in.
    pub(crate) const fn bucket(&self) -> usize {
        (self.hash >> (u64::BITS - BUCKET_BITS)) as usize
    }

    /// What sorts before all keys of a bucket.
    fn first_of(bucket: usize) -> Self {
        let hash = (bucket as u64) << (u64::BITS - BUCKET_BITS);
        Self { hash, owner: [0; 32], name: "".into() }
    }
}

/// A piece of an object's content, sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// The segment that it lies in.
    pub(crate) segment: u32,
    /// Where it begins there.
    pub(crate) offset: u32,
    /// Bytes there.
    pub(crate) length: u32,
    /// With the owner's key it makes the key; random, never used twice.
    pub(crate) secret: [u8; 16],
    /// AES-GCM's tag: binds exactly these bytes.
    pub(crate) tag: [u8; 16],
}

/// An object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Object {
    /// The commit that changed it last.
    pub(crate) version: u64,
    /// Bytes of content.
    pub(crate) size: u32,
    /// The content, [`CHUNK_BYTES`] each, the last one what is left.
    pub(crate) chunks: Box<[Chunk]>,
}

impl Object {
    /// How many bytes of content the chunk at `at` holds.
    pub(crate) fn chunk_bytes(&self, at: usize) -> u32 {
        let before = u32::try_from(at).unwrap_or(u32::MAX).saturating_mul(CHUNK_BYTES);
        self.size.saturating_sub(before).min(CHUNK_BYTES)
    }
}

/// What an owner has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) objects: usize,
    pub(crate) bytes: u64,
}

/// All objects, and the hash tree over them.
pub(crate) struct Index {
    objects: BTreeMap<Key, Object>,
    usage: BTreeMap<Owner, Usage>,
    /// Bytes of chunks that count, by segment.
    live: BTreeMap<u32, u64>,
    bytes: u64,
    tree: Tree,
    /// Buckets whose leaf is out of date.
    stale: BTreeSet<usize>,
}

impl Index {
    pub(crate) fn new() -> Self {
        Self {
            objects: BTreeMap::new(),
            usage: BTreeMap::new(),
            live: BTreeMap::new(),
            bytes: 0,
            tree: Tree::new(),
            stale: BTreeSet::new(),
        }
    }

    pub(crate) fn get(&self, key: &Key) -> Option<&Object> {
        self.objects.get(key)
    }

    /// Puts or removes an object; gives what was there.
    pub(crate) fn set(&mut self, key: &Key, object: Option<Object>) -> Option<Object> {
        self.stale.insert(key.bucket());
        if let Some(object) = &object {
            self.count(key, object);
        }
        let old = match object {
            Some(object) => self.objects.insert(key.clone(), object),
            None => self.objects.remove(key),
        };
        if let Some(old) = &old {
            self.discount(key, old);
        }
        old
    }

    fn count(&mut self, key: &Key, object: &Object) {
        let usage = self.usage.entry(key.owner).or_default();
        usage.objects += 1;
        usage.bytes += u64::from(object.size);
        self.bytes += u64::from(object.size);
        for chunk in &object.chunks {
            *self.live.entry(chunk.segment).or_default() += u64::from(chunk.length);
        }
    }

    fn discount(&mut self, key: &Key, object: &Object) {
        let usage = self.usage.entry(key.owner).or_default();
        usage.objects -= 1;
        usage.bytes -= u64::from(object.size);
        if usage.objects == 0 {
            self.usage.remove(&key.owner);
        }
        self.bytes -= u64::from(object.size);
        for chunk in &object.chunks {
            let live = self.live.entry(chunk.segment).or_default();
            *live -= u64::from(chunk.length);
            if *live == 0 {
                self.live.remove(&chunk.segment);
            }
        }
    }

    /// What `owner` has.
    pub(crate) fn usage(&self, owner: &Owner) -> Usage {
        self.usage.get(owner).copied().unwrap_or_default()
    }

    /// Whether all owners together stay within the store's limits.
    pub(crate) fn fits(&self) -> bool {
        self.objects.len() <= MAX_OBJECTS && self.bytes <= MAX_BYTES
    }

    pub(crate) fn len(&self) -> usize {
        self.objects.len()
    }

    /// Bytes that count in a segment.
    pub(crate) fn live(&self, segment: u32) -> u64 {
        self.live.get(&segment).copied().unwrap_or_default()
    }

    /// The segments that hold something that counts.
    pub(crate) fn live_segments(&self) -> impl Iterator<Item = u32> {
        self.live.keys().copied()
    }

    /// Objects behind `after`, in the index's order.
    pub(crate) fn behind(&self, after: Option<&Key>) -> impl Iterator<Item = (&Key, &Object)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.objects.range((from, Bound::Unbounded))
    }

    /// The names of `owner` behind `after`, sorted; at most `count`.
    pub(crate) fn names(&self, owner: &Owner, after: Option<&str>, count: usize) -> Vec<String> {
        let mut names = BTreeSet::new();
        for key in self.objects.keys().filter(|key| key.owner == *owner) {
            if after.is_none_or(|after| &*key.name > after) {
                names.insert(&*key.name);
                if names.len() > count {
                    names.pop_last();
                }
            }
        }
        names.into_iter().map(str::to_owned).collect()
    }

    /// The root of the hash tree, over the objects as they are now.
    pub(crate) fn root(&mut self) -> Hash {
        for bucket in std::mem::take(&mut self.stale) {
            let mut content = Vec::new();
            for (key, object) in self.objects.range(Key::first_of(bucket)..) {
                if key.bucket() != bucket {
                    break;
                }
                record::encode_object(&mut content, key, object);
            }
            self.tree.set(bucket, tree::leaf(&content));
        }
        self.tree.root()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(version: u64, segment: u32) -> Object {
        let chunk = Chunk { segment, offset: 0, length: 256, secret: [1; 16], tag: [2; 16] };
        Object { version, size: 200, chunks: [chunk].into() }
    }

    #[test]
    fn counts_what_is_there_and_no_more() {
        let mut index = Index::new();
        let (a, b) = (Key::new(&[1; 32], "a"), Key::new(&[2; 32], "a"));
        let empty = index.root();
        assert_eq!(index.set(&a, Some(object(1, 7))), None);
        assert_eq!(index.set(&b, Some(object(1, 7))), None);
        let both = index.root();
        assert_eq!((index.usage(&[1; 32]).bytes, index.live(7)), (200, 512));
        assert_eq!(index.set(&a, Some(object(2, 8))), Some(object(1, 7)));
        assert_eq!((index.live(7), index.live(8), index.len()), (256, 256, 2));
        assert_ne!(index.root(), both);
        index.set(&a, Some(object(1, 7)));
        assert_eq!(index.root(), both);
        index.set(&a, None);
        index.set(&b, None);
        assert_eq!(index.root(), empty);
        assert_eq!(index.usage(&[1; 32]), Usage::default());
        assert_eq!(index.live_segments().count(), 0);
    }

    #[test]
    fn names_come_sorted_and_in_pages() {
        let mut index = Index::new();
        for name in ["c", "a", "d", "b"] {
            index.set(&Key::new(&[1; 32], name), Some(object(1, 1)));
        }
        index.set(&Key::new(&[2; 32], "other"), Some(object(1, 1)));
        assert_eq!(index.names(&[1; 32], None, 3), ["a", "b", "c"]);
        assert_eq!(index.names(&[1; 32], Some("c"), 3), ["d"]);
        assert!(index.names(&[3; 32], None, 3).is_empty());
    }
}
