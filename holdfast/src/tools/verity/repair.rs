//! Repair of files in place.

use super::parity::{self, read_covered};
use super::setup::{Fec, Setup};
use super::tree;
use crate::exit::Misused;
use anyhow::Result;
use verity::{FecLayout, Media, Repair, RepairReport, RootDigest};

/// What was done, and what is still wrong.
pub(crate) struct Repaired {
    pub(crate) blocks: RepairReport,
    /// Bytes of the parity that were put right; none are where blocks are lost.
    pub(crate) parity_bytes: u64,
    /// What a check of everything says afterwards.
    pub(crate) left: tree::Wrong,
}

/// Restores what can be, checks everything again, and then puts the parity right.
pub(crate) fn run(setup: &Setup, root: &RootDigest) -> Result<Repaired> {
    let without = || Misused("there is nothing to repair from: say --fec-device".to_owned());
    let fec = setup.fec.as_ref().ok_or_else(without)?;
    let layout = setup.fec_layout_of_file(fec)?;
    let wrong = tree::check(setup, root)?;
    let mut repair = Repair::new(&setup.params, &setup.geometry, &layout, root)?;
    wrong.blocks.iter().for_each(|&block| repair.suspect(block));
    let blocks = repair.run(&mut Files { setup, fec, layout: &layout })?;
    setup.data.sync()?;
    setup.hash.sync()?;
    let left = tree::check(setup, root)?;
    let parity_bytes = if left.is_empty() { parity::mend(setup, fec)? } else { 0 };
    Ok(Repaired { blocks, parity_bytes, left })
}

struct Files<'s> {
    setup: &'s Setup,
    fec: &'s Fec,
    layout: &'s FecLayout,
}

impl Media for Files<'_> {
    type Error = anyhow::Error;

    fn read_block(&mut self, block: u64, out: &mut [u8]) -> Result<()> {
        read_covered(self.setup, block * self.layout.block_bytes(), out)
    }

    fn read_parity(&mut self, offset: u64, out: &mut [u8]) -> Result<()> {
        self.fec.area.read(offset, out)
    }

    fn write_block(&mut self, block: u64, bytes: &[u8]) -> Result<()> {
        let at = block * self.layout.block_bytes();
        match at.checked_sub(self.setup.geometry.data_bytes()) {
            None => self.setup.data.write(at, bytes),
            Some(at) => self.setup.hash.write(at, bytes),
        }
    }
}
