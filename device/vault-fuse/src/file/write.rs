//! Writing.

use super::{AHEAD, File, Scratch, State, end, pieces};
use crate::error::Error;
use crate::format::layout::{
    BLOCK_BYTES, GROUP_BLOCKS, MAX_FILE_BYTES, backing_bytes, block_offset, tags_offset,
};
use crate::format::page::{Page, Role, Slot, Tags};
use crypto::aead::NONCE_BYTES;
use rustix::io::pwritev;
use std::io::IoSlice;
use std::os::unix::fs::FileExt;

impl File {
    /// Writes `data` at `offset`. What is in `data` afterwards nobody can say: it is encrypted
    /// where it lies.
    pub(crate) fn write(
        &self,
        offset: u64,
        data: &mut [u8],
        scratch: &mut Scratch,
    ) -> Result<(), Error> {
        let end = end(offset, data.len() as u64)?;
        let mut state = self.write_state();
        let written = self.prepare(&mut state, end, scratch).and_then(|()| {
            let mut done = 0;
            for (group, within, bytes) in pieces(offset, data.len() as u64) {
                let data = &mut data[done..done + bytes];
                self.write_piece(&mut state, group, within, data, scratch)?;
                done += bytes;
            }
            let size = state.header.size().max(end);
            state.header.set_size(size);
            self.write_header(&mut state)
        });
        if written.is_err() {
            self.distrust(&mut state);
        }
        written
    }

    /// After a failure: what is in memory may not be what is on the disk.
    pub(super) fn distrust(&self, state: &mut State) {
        state.suspect = true;
        state.tags = None;
        state.other = None;
        if let Ok(map) = self.load_map(0) {
            state.header = map;
        }
    }

    /// Says on the disk that a writer is at work, up to `end`.
    pub(super) fn prepare(
        &self,
        state: &mut State,
        end: u64,
        scratch: &mut Scratch,
    ) -> Result<(), Error> {
        if state.suspect {
            self.mend(state, scratch)?;
        }
        let most = end.max(state.header.size());
        if state.writing && most < state.header.limit() {
            return Ok(());
        }
        let ahead = AHEAD.max(most / 8);
        state.header.set_limit(most.saturating_add(ahead).min(MAX_FILE_BYTES));
        self.write_header(state)?;
        state.writing = true;
        Ok(())
    }

    /// Writes what lies in one group, from `within` on. The map and the size go to the disk later.
    fn write_piece(
        &self,
        state: &mut State,
        group: u64,
        within: usize,
        data: &mut [u8],
        scratch: &mut Scratch,
    ) -> Result<(), Error> {
        let first = within / BLOCK_BYTES;
        let (head, whole) = (within % BLOCK_BYTES, data.len().is_multiple_of(BLOCK_BYTES));
        if head == 0 && whole {
            return self.write_blocks(state, group, first, data);
        }
        let mut blocks = vec![0; (head + data.len()).next_multiple_of(BLOCK_BYTES)];
        let tail = blocks.len() - head - data.len();
        if head > 0 {
            self.before(state, group, first, &mut blocks[..BLOCK_BYTES], scratch)?;
        }
        if tail > 0 && (head == 0 || blocks.len() > BLOCK_BYTES) {
            let (last, at) = (first + blocks.len() / BLOCK_BYTES - 1, blocks.len() - BLOCK_BYTES);
            self.before(state, group, last, &mut blocks[at..], scratch)?;
        }
        blocks[head..head + data.len()].copy_from_slice(data);
        self.write_blocks(state, group, first, &mut blocks)
    }

    /// What a block held before: its content up to the file's end, and zeros.
    pub(super) fn before(
        &self,
        state: &State,
        group: u64,
        block: usize,
        out: &mut [u8],
        scratch: &mut Scratch,
    ) -> Result<(), Error> {
        let start = (group * GROUP_BLOCKS as u64 + block as u64) * BLOCK_BYTES as u64;
        let there = state.header.size().saturating_sub(start).min(BLOCK_BYTES as u64) as usize;
        self.read_piece(state, group, block * BLOCK_BYTES, &mut out[..there], scratch)
    }

    /// Seals whole blocks where they lie and writes them, `first` of `group` and those after it.
    pub(super) fn write_blocks(
        &self,
        state: &mut State,
        group: u64,
        first: usize,
        blocks: &mut [u8],
    ) -> Result<(), Error> {
        let known = self.has_group(state, group)?;
        let mut tags = if known { self.load_tags(state, group)? } else { Tags::new() };
        let present = tags.present();
        let count = blocks.len() / BLOCK_BYTES;
        self.seal_blocks(&mut tags, group, first, blocks);
        let page = tags.seal(&self.key, group);
        state.tags = None;
        if known {
            let fresh = |block: &usize| present >> block & 1 == 0;
            let (new, old): (Vec<usize>, Vec<usize>) = (first..first + count).partition(fresh);
            self.write_runs(group, first, &new, blocks)?;
            self.backing.write_all_at(&page, tags_offset(group))?;
            self.write_runs(group, first, &old, blocks)?;
        } else {
            self.write_new_group(group, first, &page, blocks)?;
            self.set_group(state, group)?;
        }
        state.tags = Some((group, tags));
        Ok(())
    }

    fn seal_blocks(&self, tags: &mut Tags, group: u64, first: usize, blocks: &mut [u8]) {
        let mut nonces = [0; GROUP_BLOCKS * NONCE_BYTES];
        let nonces = &mut nonces[..blocks.len() / BLOCK_BYTES * NONCE_BYTES];
        crypto::random(nonces);
        let nonces = nonces.chunks_exact(NONCE_BYTES);
        for ((block, content), nonce) in
            (first..).zip(blocks.chunks_exact_mut(BLOCK_BYTES)).zip(nonces)
        {
            let nonce = nonce.try_into().expect("a chunk has a nonce's length");
            let role = Role::Block(group * GROUP_BLOCKS as u64 + block as u64).associated();
            let tag = self.key.seal_in_place(nonce, &role, content);
            tags.push(block, Slot { nonce, tag });
        }
    }

    /// A group that no map knows yet: the order does not matter.
    fn write_new_group(
        &self,
        group: u64,
        first: usize,
        page: &Page,
        blocks: &[u8],
    ) -> Result<(), Error> {
        if first > 0 {
            let number = group * GROUP_BLOCKS as u64 + first as u64;
            self.backing.write_all_at(page, tags_offset(group))?;
            return Ok(self.backing.write_all_at(blocks, block_offset(number))?);
        }
        let at = tags_offset(group);
        let written = pwritev(&self.backing, &[IoSlice::new(page), IoSlice::new(blocks)], at)?;
        let Some(behind) = written.checked_sub(BLOCK_BYTES) else {
            self.backing.write_all_at(&page[written..], at + written as u64)?;
            return Ok(self.backing.write_all_at(blocks, at + BLOCK_BYTES as u64)?);
        };
        Ok(self.backing.write_all_at(&blocks[behind..], at + written as u64)?)
    }

    /// Writes the blocks with these numbers in the group, neighbours together; `blocks` begins
    /// with the content of `first`.
    fn write_runs(
        &self,
        group: u64,
        first: usize,
        numbers: &[usize],
        blocks: &[u8],
    ) -> Result<(), Error> {
        for run in numbers.chunk_by(|a, b| a + 1 == *b) {
            let content = &blocks[(run[0] - first) * BLOCK_BYTES..][..run.len() * BLOCK_BYTES];
            let number = group * GROUP_BLOCKS as u64 + run[0] as u64;
            self.backing.write_all_at(content, block_offset(number))?;
        }
        Ok(())
    }

    /// Makes the backing file as long as a file of `size` bytes is due to be, at least.
    pub(super) fn lengthen(&self, size: u64) -> Result<(), Error> {
        let due = backing_bytes(size);
        if self.backing.metadata()?.len() < due {
            self.backing.set_len(due)?;
        }
        Ok(())
    }
}
