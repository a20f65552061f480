//! Changes to objects, and what they do to the index before they are durable.

use crate::index::{Chunk, Key, Object};
use crate::io::{Anchor, Files, Owner};
use crate::seal::{self, padded};
use crate::store::{Group, Store, Undo};
use crate::{CHUNK_BYTES, Error, MAX_CHANGES, MAX_NAME_BYTES, MAX_OBJECT_BYTES};
use zeroize::Zeroizing;

/// One change to an owner's objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Creates or replaces an object.
    Put {
        /// Its name.
        name: String,
        /// Its whole content.
        content: Zeroizing<Vec<u8>>,
    },
    /// Writes into an object that there is, or behind its end.
    Write {
        /// Its name.
        name: String,
        /// Where; at most the object's size.
        offset: u32,
        /// What.
        content: Zeroizing<Vec<u8>>,
    },
    /// Cuts an object off.
    Truncate {
        /// Its name.
        name: String,
        /// How much is left; at most the object's size.
        size: u32,
    },
    /// Deletes an object; a missing one is no error.
    Delete {
        /// Its name.
        name: String,
    },
    /// Gives an object another name; one that has that name already goes.
    Rename {
        /// The name that it has.
        from: String,
        /// The name that it gets.
        to: String,
    },
}

/// How much an owner may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Objects.
    pub objects: usize,
    /// Bytes of content, together.
    pub bytes: u64,
}

impl Default for Quota {
    /// 1024 objects, 8 MiB.
    fn default() -> Self {
        Self { objects: 1024, bytes: 8 << 20 }
    }
}

impl Change {
    /// The most bytes that the change writes, records left out.
    pub(crate) fn room(&self) -> usize {
        let chunk = CHUNK_BYTES as usize;
        match self {
            Self::Put { content, .. } => content.chunks(chunk).map(|it| padded(it.len())).sum(),
            Self::Write { offset, content, .. } => {
                (*offset as usize % chunk + content.len()).div_ceil(chunk) * chunk
            }
            Self::Truncate { .. } | Self::Delete { .. } | Self::Rename { .. } => 0,
        }
    }

    /// Checks what can be checked without looking at the objects.
    fn check(&self) -> Result<(), Error> {
        let (names, end) = match self {
            Self::Put { name, content } => ([name, name], content.len()),
            Self::Write { name, offset, content } => {
                ([name, name], content.len().saturating_add(*offset as usize))
            }
            Self::Truncate { name, .. } | Self::Delete { name } => ([name, name], 0),
            Self::Rename { from, to } => ([from, to], 0),
        };
        names.into_iter().try_for_each(|name| check_name(name))?;
        if end > MAX_OBJECT_BYTES as usize {
            return Err(Error::Parameters("content is over 1 MiB"));
        }
        Ok(())
    }
}

/// A name has 1 to [`MAX_NAME_BYTES`] bytes.
pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    if (1..=MAX_NAME_BYTES).contains(&name.len()) {
        Ok(())
    } else {
        Err(Error::Parameters("name needs 1 to 64 bytes"))
    }
}

/// Checks a request before anything is done for it.
pub(crate) fn check(changes: &[Change]) -> Result<(), Error> {
    if changes.len() > MAX_CHANGES {
        return Err(Error::Parameters("changes are too many for one request: at most 64"));
    }
    changes.iter().try_for_each(Change::check)
}

impl<F: Files, A: Anchor> Store<F, A> {
    /// Makes one change in the index; its contents go into `group`.
    pub(crate) async fn stage_change(
        &mut self,
        group: &mut Group,
        undo: &mut Undo,
        owner: &Owner,
        change: &Change,
    ) -> Result<(), Error> {
        let version = self.next_commit();
        match change {
            Change::Put { name, content } => {
                let chunks = content.chunks(CHUNK_BYTES as usize);
                let chunks = chunks.map(|chunk| self.seal_chunk(group, owner, chunk)).collect();
                let object = Object { version, size: content.len() as u32, chunks };
                self.set(undo, &Key::new(owner, name), Some(object));
            }
            Change::Write { name, offset, content } => {
                let key = Key::new(owner, name);
                let old = self.find(&key)?.clone();
                let object = self.overwrite(group, owner, &old, *offset, content).await?;
                self.set(undo, &key, Some(object));
            }
            Change::Truncate { name, size } => {
                let key = Key::new(owner, name);
                let old = self.find(&key)?;
                if *size > old.size {
                    return Err(Error::Parameters("size only shrinks by truncating"));
                }
                let count = size.div_ceil(CHUNK_BYTES) as usize;
                let chunks = old.chunks[..count].into();
                self.set(undo, &key, Some(Object { version, size: *size, chunks }));
            }
            Change::Delete { name } => {
                let key = Key::new(owner, name);
                if self.find(&key).is_ok() {
                    self.set(undo, &key, None);
                }
            }
            Change::Rename { from, to } => {
                let (from, to) = (Key::new(owner, from), Key::new(owner, to));
                let object = Object { version, ..self.find(&from)?.clone() };
                self.set(undo, &from, None);
                self.set(undo, &to, Some(object));
            }
        }
        Ok(())
    }

    /// `old` with `content` written at `offset`: the chunks that it touches are sealed anew.
    async fn overwrite(
        &self,
        group: &mut Group,
        owner: &Owner,
        old: &Object,
        offset: u32,
        content: &[u8],
    ) -> Result<Object, Error> {
        if offset > old.size {
            return Err(Error::Parameters("offset is behind its end"));
        }
        let end = offset + content.len() as u32;
        let size = old.size.max(end);
        let mut chunks = old.chunks.to_vec();
        let mut rest = content;
        for at in (offset / CHUNK_BYTES) as usize..end.div_ceil(CHUNK_BYTES) as usize {
            let begin = at as u32 * CHUNK_BYTES;
            let inside = (offset.max(begin) - begin) as usize;
            let (piece, behind) = rest.split_at(rest.len().min(CHUNK_BYTES as usize - inside));
            rest = behind;
            let covered = inside == 0 && piece.len() >= old.chunk_bytes(at) as usize;
            let mut plain = match chunks.get(at) {
                Some(_) if !covered => self.read_chunk(Some(group), owner, old, at).await?,
                _ => Zeroizing::new(Vec::new()),
            };
            if plain.len() < inside + piece.len() {
                plain.resize(inside + piece.len(), 0);
            }
            plain[inside..inside + piece.len()].copy_from_slice(piece);
            let chunk = self.seal_chunk(group, owner, &plain);
            match chunks.get_mut(at) {
                Some(old) => *old = chunk,
                None => chunks.push(chunk),
            }
        }
        Ok(Object { version: self.next_commit(), size, chunks: chunks.into() })
    }

    /// Seals a chunk and puts it behind what `group` will write.
    fn seal_chunk(&self, group: &mut Group, owner: &Owner, content: &[u8]) -> Chunk {
        let sealed = seal::seal_content(self.keys(), owner, content);
        let (offset, length) = group.push(&sealed.bytes);
        Chunk { segment: group.segment(), offset, length, secret: sealed.secret, tag: sealed.tag }
    }
}
