//! Removing what a killed writer left.

use super::{File, Scratch, State};
use crate::error::Error;
use crate::format::layout::{BLOCK_BYTES, GROUP_BLOCKS, GROUP_BYTES, blocks, tags_offset};
use crate::format::page::{Role, Tags};
use std::os::unix::fs::FileExt;

impl File {
    /// Makes each block's newest seal the one that opens it, and forgets what lies behind the end.
    pub(super) fn mend(&self, state: &mut State, scratch: &mut Scratch) -> Result<(), Error> {
        state.tags = None;
        let groups = state.header.size().div_ceil(GROUP_BYTES as u64);
        for group in 0..groups {
            if self.has_group(state, group)? {
                self.mend_group(state, group, scratch)?;
            }
        }
        self.clear_behind_end(state, scratch)?;
        state.suspect = false;
        Ok(())
    }

    fn mend_group(&self, state: &State, group: u64, scratch: &mut Scratch) -> Result<(), Error> {
        let first = group * GROUP_BLOCKS as u64;
        let count = (blocks(state.header.size()) - first).min(GROUP_BLOCKS as u64) as usize;
        let (mut tags, sealed) = self.load_group(state, group, 0..count, scratch)?;
        let mut mended = false;
        for (block, sealed) in sealed.chunks_exact(BLOCK_BYTES).enumerate() {
            if tags.is_present(block) && self.needs_one_before(&tags, first, block, sealed) {
                let [_, before] = tags.slots(block);
                tags.push(block, before);
                mended = true;
            }
        }
        if mended {
            self.backing.write_all_at(&tags.seal(&self.key, group), tags_offset(group))?;
        }
        Ok(())
    }

    /// Whether the newest seal does not open the block and the one before does. A block that neither
    /// opens is left to its reader, who is told.
    fn needs_one_before(&self, tags: &Tags, first: u64, block: usize, sealed: &[u8]) -> bool {
        let role = Role::Block(first + block as u64).associated();
        let mut out = [0; BLOCK_BYTES];
        let [newest, before] = tags.slots(block).map(|slot| {
            self.key.open_separate(slot.nonce, &role, sealed, &slot.tag, &mut out).is_ok()
        });
        !newest && before
    }
}
