//! Forward error correction of one block, while the system runs.

use super::{BLOCK, System};
use board::flash::FlashError;
use verity::{Media, restore_block};

impl System<'_> {
    /// What the block was when it was signed, if parity can tell. Nothing is written back, as
    /// dm-verity writes nothing back: it is not for a reader to change what was signed.
    pub(super) fn restore(&self, block: u64) -> Option<Vec<u8>> {
        let layout = &self.table.parity.as_ref()?.layout;
        let expected = self.tree.digest_of(block)?;
        let mut scratch = vec![0; BLOCK];
        let data = layout.column_of(block).take_while(|at| *at < self.blocks());
        let wrong: Vec<u64> = data.filter(|at| !self.are_right(*at, &mut scratch)).collect();
        restore_block(&self.table.params, layout, block, expected, &wrong, &mut Covered(self))
            .ok()?
    }
}

/// What parity covers: data on the flash, the tree as it was checked.
struct Covered<'s, 'a>(&'s System<'a>);

impl Media for Covered<'_, '_> {
    type Error = FlashError;

    fn read_block(&mut self, block: u64, out: &mut [u8]) -> Result<(), FlashError> {
        let system = self.0;
        match block.checked_sub(system.blocks()) {
            None => {
                // A block that the flash does not give is one of the wrong ones.
                if system.flash.read_at(&system.name, block * BLOCK as u64, out).is_err() {
                    out.fill(0);
                }
            }
            Some(at) => {
                let start = usize::try_from(at).unwrap_or(usize::MAX).saturating_mul(BLOCK);
                let bytes = system.tree_bytes.get(start..).and_then(|rest| rest.get(..out.len()));
                let outside = || FlashError::Outside(system.name.clone());
                out.copy_from_slice(bytes.ok_or_else(outside)?);
            }
        }
        Ok(())
    }

    fn read_parity(&mut self, offset: u64, out: &mut [u8]) -> Result<(), FlashError> {
        let system = self.0;
        let start = system.table.data_bytes + system.tree_bytes.len() as u64;
        system.flash.read_at(&system.name, start.saturating_add(offset), out)
    }

    fn write_block(&mut self, _block: u64, _bytes: &[u8]) -> Result<(), FlashError> {
        Err(FlashError::Outside(self.0.name.clone()))
    }
}
