//! Reading.

use super::{File, Scratch, State, pieces, read_at};
use crate::error::{Damage, Error};
use crate::format::layout::{BLOCK_BYTES, GROUP_BLOCKS, block_offset, tags_offset};
use crate::format::page::{Role, Tags};
use std::ops::Range;

/// Where blocks are wanted from the group's beginning on, up to here, the tag page is read with
/// them in one call.
const NEAR: usize = 4;

impl File {
    /// Reads into `out` from `offset` on; returns how many bytes there were before the end.
    pub(crate) fn read(
        &self,
        offset: u64,
        out: &mut [u8],
        scratch: &mut Scratch,
    ) -> Result<usize, Error> {
        let state = self.read_state();
        let length = state.header.size().saturating_sub(offset).min(out.len() as u64);
        let mut done = 0;
        for (group, within, bytes) in pieces(offset, length) {
            let out = &mut out[done..done + bytes];
            self.read_piece(&state, group, within, out, scratch)?;
            done += bytes;
        }
        Ok(done)
    }

    /// Reads what lies in one group, from `within` on.
    pub(super) fn read_piece(
        &self,
        state: &State,
        group: u64,
        within: usize,
        out: &mut [u8],
        scratch: &mut Scratch,
    ) -> Result<(), Error> {
        if out.is_empty() {
            return Ok(());
        }
        if !self.has_group(state, group)? {
            out.fill(0);
            return Ok(());
        }
        let blocks = within / BLOCK_BYTES..(within + out.len()).div_ceil(BLOCK_BYTES);
        let (tags, sealed) = self.load_group(state, group, blocks.clone(), scratch)?;
        let mut done = 0;
        for (block, sealed) in blocks.zip(sealed.chunks_exact(BLOCK_BYTES)) {
            let skip = (within + done) % BLOCK_BYTES;
            let bytes = (BLOCK_BYTES - skip).min(out.len() - done);
            let out = &mut out[done..done + bytes];
            done += bytes;
            if !tags.is_present(block) {
                out.fill(0);
            } else if bytes == BLOCK_BYTES {
                self.open_block(&tags, group, block, sealed, out)?;
            } else {
                let mut whole = [0; BLOCK_BYTES];
                self.open_block(&tags, group, block, sealed, &mut whole)?;
                out.copy_from_slice(&whole[skip..skip + bytes]);
            }
        }
        Ok(())
    }

    /// The tag page of `group`, and `blocks` of it as they lie on the disk.
    pub(super) fn load_group<'s>(
        &self,
        state: &State,
        group: u64,
        blocks: Range<usize>,
        scratch: &'s mut Scratch,
    ) -> Result<(Tags, &'s [u8]), Error> {
        let bytes = blocks.len() * BLOCK_BYTES;
        let first = group * GROUP_BLOCKS as u64 + blocks.start as u64;
        let cached = state.tags.as_ref().is_some_and(|(there, _)| *there == group);
        if !cached && blocks.start < NEAR {
            let room = &mut scratch.0[..BLOCK_BYTES + blocks.end * BLOCK_BYTES];
            read_at(&self.backing, room, tags_offset(group))?;
            let page = room.first_chunk().expect("the room begins with a page");
            let tags = self.open_tags(page, group)?;
            return Ok((tags, &room[room.len() - bytes..]));
        }
        let tags = self.load_tags(state, group)?;
        let room = &mut scratch.0[..bytes];
        read_at(&self.backing, room, block_offset(first))?;
        Ok((tags, room))
    }

    /// Opens a block with its newest seal, or with the one before where a writer was killed
    /// between the two.
    pub(super) fn open_block(
        &self,
        tags: &Tags,
        group: u64,
        block: usize,
        sealed: &[u8],
        out: &mut [u8],
    ) -> Result<(), Error> {
        let number = group * GROUP_BLOCKS as u64 + block as u64;
        let role = Role::Block(number).associated();
        for slot in tags.slots(block) {
            if self.key.open_separate(slot.nonce, &role, sealed, &slot.tag, out).is_ok() {
                return Ok(());
            }
        }
        Err(Error::Damaged(Damage::Block(number)))
    }
}
