//! The content of a file: sealed blocks, read and written at any place.
//!
//! # What a kill leaves
//! Each step is the write of whole pages, and their order is such that after each of them every
//! block opens, with its old content or its new one:
//! - A block that was a hole: content, tag page, map page. Until the map says so there is nothing.
//! - A block that had content: tag page (the seal of the new version beside the old one's), content.
//!   Whichever version is there, one of the two seals opens it.
//! - The size comes last.
//!
//! While a writer is at work the map's limit is above the size. Where it still is when the file is
//! opened, a writer was killed: before the next write [`File::mend`] removes what it left.

mod mend;
mod read;
mod resize;
mod write;

pub(crate) use resize::Seek;

use crate::error::{Damage, Error};
use crate::format::keys::Keys;
use crate::format::layout::{
    BLOCK_BYTES, GROUP_BYTES, MAX_FILE_BYTES, REGION_GROUPS, backing_bytes, map_offset, tags_offset,
};
use crate::format::page::{Id, Map, Page, Tags};
use crypto::aead::Key;
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// How far ahead of the size a writer may be at least.
const AHEAD: u64 = 1 << 20;

/// Room for a group as it lies on the disk, its tag page first.
pub(crate) struct Scratch(Box<[u8]>);

impl Scratch {
    pub(crate) fn new() -> Self {
        Self(vec![0; BLOCK_BYTES + GROUP_BYTES].into_boxed_slice())
    }
}

/// An open file of a vault.
pub(crate) struct File {
    backing: fs::File,
    writable: bool,
    id: Id,
    key: Key,
    state: RwLock<State>,
}

/// What a file's pages say, as far as it is kept in memory.
struct State {
    /// The map page of region 0, which is the file's header.
    header: Map,
    /// The map page of one further region.
    other: Option<(u64, Map)>,
    /// The tag page that was written last.
    tags: Option<(u64, Tags)>,
    /// A writer is at work: the limit on the disk is above the size.
    writing: bool,
    /// A writer was killed, or failed, in the middle.
    suspect: bool,
}

impl File {
    /// Makes a file in the empty `backing`.
    pub(crate) fn create(backing: fs::File, keys: &Keys) -> Result<Self, Error> {
        let id = crypto::random_array();
        let mut header = Map::new(&id);
        header.set_limit(AHEAD);
        let key = keys.file(&id);
        backing.write_all_at(&header.seal(&key, 0), 0)?;
        header.changed = false;
        let state = State { header, other: None, tags: None, writing: true, suspect: false };
        Ok(Self { backing, writable: true, id, key, state: RwLock::new(state) })
    }

    /// Opens the file in `backing`.
    pub(crate) fn open(backing: fs::File, keys: &Keys) -> Result<Self, Error> {
        let there = backing.metadata()?.len();
        if there < BLOCK_BYTES as u64 {
            let due = BLOCK_BYTES as u64;
            return Err(Error::Damaged(Damage::Short { there, due }));
        }
        let page = read_page(&backing, 0)?;
        let broken = Error::Damaged(Damage::Header);
        let id = Map::id(&page).map_err(|_| broken)?;
        let key = keys.file(&id);
        let header = Map::open(page, &key, 0).map_err(|_| broken)?;
        let (size, limit) = (header.size(), header.limit());
        if size > limit || limit > MAX_FILE_BYTES {
            return Err(broken);
        }
        let due = backing_bytes(size);
        if there < due {
            return Err(Error::Damaged(Damage::Short { there, due }));
        }
        let due = backing_bytes(limit);
        if there > due {
            return Err(Error::Damaged(Damage::Long { there, due }));
        }
        let suspect = limit != size;
        let state = State { header, other: None, tags: None, writing: false, suspect };
        let writable = rustix::fs::fcntl_getfl(&backing)?.contains(OFlags::RDWR);
        Ok(Self { backing, writable, id, key, state: RwLock::new(state) })
    }

    /// Whether it was opened for writing too.
    pub(crate) const fn is_writable(&self) -> bool {
        self.writable
    }

    /// Its random id.
    pub(crate) const fn id(&self) -> &Id {
        &self.id
    }

    /// Bytes of the file.
    pub(crate) fn size(&self) -> u64 {
        self.read_state().header.size()
    }

    /// The writer is done for now.
    pub(crate) fn rest(&self) -> Result<(), Error> {
        let mut state = self.write_state();
        if !state.writing || state.suspect {
            return Ok(());
        }
        let due = backing_bytes(state.header.size());
        if self.backing.metadata()?.len() != due {
            self.backing.set_len(due)?;
        }
        let size = state.header.size();
        state.header.set_limit(size);
        self.write_header(&mut state)?;
        state.writing = false;
        Ok(())
    }

    /// Puts what was written on the disk.
    pub(crate) fn sync(&self, data_only: bool) -> Result<(), Error> {
        // The size lies in the content: there is no difference for a reader.
        Ok(if data_only { self.backing.sync_data() } else { self.backing.sync_all() }?)
    }

    fn read_state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_state(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts the header on the disk, if it differs from what is there.
    fn write_header(&self, state: &mut State) -> Result<(), Error> {
        if state.header.changed {
            self.backing.write_all_at(&state.header.seal(&self.key, 0), 0)?;
            state.header.changed = false;
        }
        Ok(())
    }

    /// Whether `group` has any content.
    fn has_group(&self, state: &State, group: u64) -> Result<bool, Error> {
        let (region, within) = (group / REGION_GROUPS, group % REGION_GROUPS);
        if region == 0 {
            return Ok(state.header.has_group(within));
        }
        if let Some((_, map)) = state.other.as_ref().filter(|(there, _)| *there == region) {
            return Ok(map.has_group(within));
        }
        Ok(state.header.has_region(region) && self.load_map(region)?.has_group(within))
    }

    /// Notes that `group` has content. The header goes to the disk later, with the size.
    fn set_group(&self, state: &mut State, group: u64) -> Result<(), Error> {
        let (region, within) = (group / REGION_GROUPS, group % REGION_GROUPS);
        if region == 0 {
            state.header.set_group(within);
            return Ok(());
        }
        let mut map = match state.other.take() {
            Some((loaded, map)) if loaded == region => map,
            _ if state.header.has_region(region) => self.load_map(region)?,
            _ => Map::new(&[0; 16]),
        };
        map.set_group(within);
        self.backing.write_all_at(&map.seal(&self.key, region), map_offset(region))?;
        state.header.set_region(region);
        state.other = Some((region, map));
        Ok(())
    }

    fn load_map(&self, region: u64) -> Result<Map, Error> {
        let page = read_page(&self.backing, map_offset(region))?;
        Map::open(page, &self.key, region).map_err(|_| Error::Damaged(Damage::Map(region)))
    }

    /// The tag page of a group that has content.
    fn load_tags(&self, state: &State, group: u64) -> Result<Tags, Error> {
        if let Some((_, tags)) = state.tags.as_ref().filter(|(there, _)| *there == group) {
            return Ok(tags.clone());
        }
        let page = read_page(&self.backing, tags_offset(group))?;
        self.open_tags(&page, group)
    }

    fn open_tags(&self, page: &Page, group: u64) -> Result<Tags, Error> {
        Tags::open(page, &self.key, group).map_err(|_| Error::Damaged(Damage::Tags(group)))
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.backing.as_fd()
    }
}

/// Reads a page. What lies behind the end reads as zeros, which no seal opens.
fn read_page(backing: &fs::File, offset: u64) -> Result<Box<Page>, Error> {
    let mut page = Box::new([0; BLOCK_BYTES]);
    read_at(backing, &mut page[..], offset)?;
    Ok(page)
}

/// Fills `out`; with zeros behind the end.
fn read_at(backing: &fs::File, mut out: &mut [u8], mut offset: u64) -> Result<(), Error> {
    while !out.is_empty() {
        match backing.read_at(out, offset) {
            Ok(0) => break,
            Ok(count) => {
                out = &mut out[count..];
                offset += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    out.fill(0);
    Ok(())
}

/// The end of a range in a file; `EFBIG` past the largest file.
fn end(offset: u64, length: u64) -> Result<u64, Error> {
    let end = offset.checked_add(length).filter(|end| *end <= MAX_FILE_BYTES);
    end.ok_or(Error::Os(Errno::FBIG))
}

/// A range, cut where groups end: for each the group, the place in it, and the bytes.
fn pieces(offset: u64, length: u64) -> impl Iterator<Item = (u64, usize, usize)> {
    let (mut at, end) = (offset, offset.saturating_add(length));
    std::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let (group, within) = (at / GROUP_BYTES as u64, at % GROUP_BYTES as u64);
        let bytes = (GROUP_BYTES as u64 - within).min(end - at);
        at += bytes;
        Some((group, within as usize, bytes as usize))
    })
}

#[cfg(test)]
mod tests;
