//! Size, holes, space: `ftruncate`, `fallocate`, `lseek`.

use super::{File, Scratch, State, end, pieces};
use crate::error::Error;
use crate::format::layout::{
    BLOCK_BYTES, GROUP_BLOCKS, GROUP_BYTES, REGION_GROUPS, backing_bytes, block_offset, blocks,
    map_offset, tags_offset,
};
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;
use std::os::unix::fs::FileExt;

/// What `lseek` looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seek {
    /// The next content.
    Data,
    /// The next hole; the end of the file is one.
    Hole,
}

impl File {
    /// Cuts the file, or lengthens it with a hole.
    pub(crate) fn truncate(&self, size: u64, scratch: &mut Scratch) -> Result<(), Error> {
        end(size, 0)?;
        self.change(size, scratch, |file, state, scratch| {
            let before = state.header.size();
            if size > before {
                file.lengthen(size)?;
                state.header.set_size(size);
                return file.write_header(state);
            }
            state.header.set_size(size);
            file.write_header(state)?;
            if size < before { file.clear_behind_end(state, scratch) } else { Ok(()) }
        })
    }

    /// Makes a range read as zeros, and gives its space back. With `extend` the file ends behind
    /// the range at least.
    pub(crate) fn zero(
        &self,
        offset: u64,
        length: u64,
        extend: bool,
        scratch: &mut Scratch,
    ) -> Result<(), Error> {
        let most = end(offset, length)?;
        self.change(if extend { most } else { 0 }, scratch, |file, state, scratch| {
            let there = most.min(state.header.size());
            for (group, within, bytes) in pieces(offset, there.saturating_sub(offset)) {
                file.zero_piece(state, group, within, bytes, scratch)?;
            }
            if extend && most > state.header.size() {
                file.lengthen(most)?;
                state.header.set_size(most);
            }
            file.write_header(state)
        })
    }

    /// Reserves space for a range; the file ends behind it at least.
    pub(crate) fn allocate(
        &self,
        offset: u64,
        length: u64,
        scratch: &mut Scratch,
    ) -> Result<(), Error> {
        let most = end(offset, length)?;
        self.change(most, scratch, |file, state, _| {
            let first = offset / BLOCK_BYTES as u64;
            let from = tags_offset(first / GROUP_BLOCKS as u64);
            let due = backing_bytes(most);
            fallocate(&file.backing, FallocateFlags::empty(), from, due.saturating_sub(from))?;
            let size = state.header.size().max(most);
            state.header.set_size(size);
            file.write_header(state)
        })
    }

    /// Where content, or a hole, begins at `offset` or behind it. `ENXIO` where there is none.
    pub(crate) fn seek(&self, offset: u64, what: Seek) -> Result<u64, Error> {
        let state = self.read_state();
        let size = state.header.size();
        if offset >= size {
            return Err(Error::Os(Errno::NXIO));
        }
        let mut block = offset / BLOCK_BYTES as u64;
        while block < blocks(size) {
            let group = block / GROUP_BLOCKS as u64;
            let present = match self.has_group(&state, group)? {
                true => self.load_tags(&state, group)?.present(),
                false => 0,
            };
            let wanted = if what == Seek::Data { present } else { !present };
            let next = wanted >> (block % GROUP_BLOCKS as u64);
            if next != 0 {
                let found = (block + u64::from(next.trailing_zeros())) * BLOCK_BYTES as u64;
                if found < size {
                    return Ok(found.max(offset));
                }
                break;
            }
            block = (group + 1) * GROUP_BLOCKS as u64;
        }
        if what == Seek::Hole { Ok(size) } else { Err(Error::Os(Errno::NXIO)) }
    }

    /// A change that may reach up to `most`; where it fails, memory is not trusted any more.
    fn change(
        &self,
        most: u64,
        scratch: &mut Scratch,
        how: impl FnOnce(&Self, &mut State, &mut Scratch) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut state = self.write_state();
        let done =
            self.prepare(&mut state, most, scratch).and_then(|()| how(self, &mut state, scratch));
        if done.is_err() {
            self.distrust(&mut state);
        }
        done
    }

    /// Zeros in one group: whole blocks become holes, of others a part is written.
    fn zero_piece(
        &self,
        state: &mut State,
        group: u64,
        within: usize,
        bytes: usize,
        scratch: &mut Scratch,
    ) -> Result<(), Error> {
        if !self.has_group(state, group)? {
            return Ok(());
        }
        let start = group * GROUP_BYTES as u64;
        let at_end = start + (within + bytes) as u64 == state.header.size();
        let first = within.div_ceil(BLOCK_BYTES);
        let last = (within + bytes + if at_end { BLOCK_BYTES - 1 } else { 0 }) / BLOCK_BYTES;
        let edges = [
            (within, (first * BLOCK_BYTES).min(within + bytes)),
            ((last * BLOCK_BYTES).max(within), within + bytes),
        ];
        let edges = if first > last { &edges[..1] } else { &edges[..] };
        for &(from, to) in edges {
            if from < to {
                self.zero_within_block(state, group, from, to, scratch)?;
            }
        }
        if first < last { self.make_holes(state, group, first..last) } else { Ok(()) }
    }

    /// Zeros in one block, which keeps the rest of its content.
    fn zero_within_block(
        &self,
        state: &mut State,
        group: u64,
        from: usize,
        to: usize,
        scratch: &mut Scratch,
    ) -> Result<(), Error> {
        let block = from / BLOCK_BYTES;
        if !self.load_tags(state, group)?.is_present(block) {
            return Ok(());
        }
        let mut content = [0; BLOCK_BYTES];
        self.before(state, group, block, &mut content, scratch)?;
        let start = block * BLOCK_BYTES;
        content[from - start..to - start].fill(0);
        self.write_blocks(state, group, block, &mut content)
    }

    fn make_holes(
        &self,
        state: &mut State,
        group: u64,
        range: std::ops::Range<usize>,
    ) -> Result<(), Error> {
        let mut tags = self.load_tags(state, group)?;
        range.clone().for_each(|block| tags.clear(block));
        state.tags = None;
        self.backing.write_all_at(&tags.seal(&self.key, group), tags_offset(group))?;
        state.tags = Some((group, tags));
        let from = block_offset(group * GROUP_BLOCKS as u64 + range.start as u64);
        let length = (range.len() * BLOCK_BYTES) as u64;
        let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match fallocate(&self.backing, punch, from, length) {
            // Only the space is not given back.
            Ok(()) | Err(Errno::OPNOTSUPP) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Forgets what lies behind the file's end, after it was cut: the rest of the last block, and
    /// all blocks after it.
    pub(super) fn clear_behind_end(
        &self,
        state: &mut State,
        scratch: &mut Scratch,
    ) -> Result<(), Error> {
        let size = state.header.size();
        let group = size / GROUP_BYTES as u64;
        let within = (size % GROUP_BYTES as u64) as usize;
        if within > 0 && self.has_group(state, group)? {
            let cut = within.next_multiple_of(BLOCK_BYTES);
            if within < cut {
                self.zero_within_block(state, group, within, cut, scratch)?;
            }
            if cut < GROUP_BYTES {
                self.make_holes(state, group, cut / BLOCK_BYTES..GROUP_BLOCKS)?;
            }
        }
        self.clear_groups(state, size.div_ceil(GROUP_BYTES as u64))?;
        self.backing.set_len(backing_bytes(size))?;
        Ok(())
    }

    /// Forgets the groups from `first` on.
    fn clear_groups(&self, state: &mut State, first: u64) -> Result<(), Error> {
        let (region, within) = (first / REGION_GROUPS, first % REGION_GROUPS);
        state.tags = None;
        if region == 0 {
            state.header.clear_groups_from(within);
        } else if within > 0 && state.header.has_region(region) {
            let mut map = self.load_map(region)?;
            map.clear_groups_from(within);
            self.backing.write_all_at(&map.seal(&self.key, region), map_offset(region))?;
        }
        state.other = None;
        let gone = if within > 0 { region + 1 } else { region }.max(1);
        state.header.clear_regions_from(gone);
        self.write_header(state)
    }
}
