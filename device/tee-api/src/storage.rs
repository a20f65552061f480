//! Secure storage: a trusted application's own objects (SPEC S3.1.2).
//!
//! GlobalPlatform's `TEE_STORAGE_PRIVATE_RPMB` and `TEE_STORAGE_PRIVATE_REE` are the two
//! [`Placement`]s. A request's changes happen all or none, and are durable when it is answered.

use crate::TeeError;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::collections::BTreeMap;

/// Where an object lies. The two share no names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Placement {
    /// In RPMB itself: few small objects that are needed before the system is up, or whatever
    /// becomes of it.
    Rpmb,
    /// In files of the system, their root in RPMB: everything else. `Communication` while the
    /// system keeps no files.
    Ree,
}

impl Placement {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Rpmb, Self::Ree];

    /// How much one trusted application may have there, unless its signed properties say otherwise.
    #[must_use]
    pub const fn limits(self) -> Limits {
        match self {
            Self::Rpmb => Limits { objects: 64, bytes: 256 << 10, object_bytes: 16 << 10 },
            Self::Ree => Limits { objects: 1024, bytes: 8 << 20, object_bytes: 1 << 20 },
        }
    }
}

/// How much a trusted application may store in one placement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Objects.
    pub objects: usize,
    /// Bytes of content, together.
    pub bytes: u64,
    /// Bytes of the largest object.
    pub object_bytes: u32,
}

/// The longest name of an object, in bytes.
pub const MAX_NAME_BYTES: usize = 64;
/// The most bytes that one read gives, and the most content of one request's changes.
pub const MAX_CALL_BYTES: u32 = 64 << 10;

/// What a trusted application asks of storage.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// Changes objects, all of it or nothing. → [`Answer::Done`]
    Commit {
        /// Where.
        placement: Placement,
        /// What to do, in order; at most 64.
        changes: Vec<Change>,
    },
    /// Reads part of an object. → [`Answer::Bytes`], fewer where the object ends; refused
    /// `NotFound`
    Read {
        /// Where.
        placement: Placement,
        /// The object.
        name: String,
        /// From where on.
        offset: u32,
        /// How much; at most [`MAX_CALL_BYTES`] come.
        length: u32,
    },
    /// How large an object is. → [`Answer::Size`], or refused `NotFound`
    Size {
        /// Where.
        placement: Placement,
        /// The object.
        name: String,
    },
    /// The names of objects, sorted, some at a time. → [`Answer::Names`]
    List {
        /// Where.
        placement: Placement,
        /// Only names behind this one.
        after: Option<String>,
    },
    /// Forgets the objects of all trusted applications in [`Placement::Ree`], for good, whatever
    /// the system does. For gatekeeper only. → [`Answer::Done`]
    EraseAll,
}

/// One change.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Creates or replaces an object.
    Put {
        /// Its name.
        name: String,
        /// Its whole content.
        content: ByteBuf,
    },
    /// Writes into an object that there is, or behind its end.
    Write {
        /// Its name.
        name: String,
        /// Where; at most the object's size.
        offset: u32,
        /// What.
        content: ByteBuf,
    },
    /// Cuts an object off.
    Truncate {
        /// Its name.
        name: String,
        /// How much is left.
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

/// What storage answers.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It is done, and durable.
    Done,
    /// Content.
    Bytes(ByteBuf),
    /// Bytes of an object.
    Size(u32),
    /// Names.
    Names(Vec<String>),
}

impl std::fmt::Debug for Answer {
    /// Names the kind only.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Done => "Done",
            Self::Bytes(_) => "Bytes(..)",
            Self::Size(_) => "Size(..)",
            Self::Names(_) => "Names(..)",
        })
    }
}

/// What `changes` make of whole objects in `placement`: the new content of each object that
/// changes, or that it is gone. `load` gives the content that an object has.
pub fn changed_objects(
    placement: Placement,
    changes: Vec<Change>,
    mut load: impl FnMut(&str) -> Result<Option<Vec<u8>>, TeeError>,
) -> Result<BTreeMap<String, Option<Vec<u8>>>, TeeError> {
    let mut changed = BTreeMap::<String, Option<Vec<u8>>>::new();
    for change in changes {
        let mut find = |name: &str| match changed.get(name) {
            Some(content) => Ok(content.clone()),
            None => load(name),
        };
        let missing = |name: &str| TeeError::NotFound(name.to_owned());
        let (name, content) = match change {
            Change::Put { name, content } => (name, Some(content.into_vec())),
            Change::Write { name, offset, content } => {
                let mut old = find(&name)?.ok_or_else(|| missing(&name))?;
                let range = offset as usize..offset as usize + content.len();
                if range.start > old.len() {
                    return Err(wrong("offset is behind its end"));
                }
                old.resize(old.len().max(range.end), 0);
                old[range].copy_from_slice(&content);
                (name, Some(old))
            }
            Change::Truncate { name, size } => {
                let mut old = find(&name)?.ok_or_else(|| missing(&name))?;
                if size as usize > old.len() {
                    return Err(wrong("size only shrinks by truncating"));
                }
                old.truncate(size as usize);
                (name, Some(old))
            }
            Change::Delete { name } => (name, None),
            Change::Rename { from, to } => {
                let content = find(&from)?.ok_or_else(|| missing(&from))?;
                check(placement, &from, &[])?;
                changed.insert(from, None);
                (to, Some(content))
            }
        };
        check(placement, &name, content.as_deref().unwrap_or_default())?;
        changed.insert(name, content);
    }
    Ok(changed)
}

fn check(placement: Placement, name: &str, content: &[u8]) -> Result<(), TeeError> {
    if !(1..=MAX_NAME_BYTES).contains(&name.len()) {
        return Err(wrong("name needs 1 to 64 bytes"));
    }
    if content.len() > placement.limits().object_bytes as usize {
        return Err(wrong("content is over what its placement takes"));
    }
    Ok(())
}

fn wrong(what: &str) -> TeeError {
    TeeError::BadParameters(format!("an object's {what}"))
}
