//! The system's partition: data, hash tree, parity.
//!
//! Before the system runs everything of the partition is checked on all cores: data and tree
//! against the root digest, the parity against its signed digest, what is behind it for zeros.
//! While it runs, every block that somebody reads comes from the flash and is checked again
//! ([`System::read`]); parity repairs what it can.

mod files;
mod fuse;
mod parity;
mod serve;
#[cfg(test)]
mod tests;
mod unpack;

pub use files::{Files, place_of};
pub use serve::{ServeError, serve};
pub use unpack::{make_empty, unpack};

use crate::verity_table::VerityTable;
use board::flash::Flash;
use board::verdict::Refusal;
use std::collections::BTreeSet;
use std::num::NonZero;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use verity::{BLOCK_BYTES, Tree};

/// Bytes that a core reads and hashes in one go: they stay in its cache.
const CHUNK_BYTES: usize = 256 * 1024;
const CHUNK_BLOCKS: u64 = CHUNK_BYTES as u64 / BLOCK as u64;
/// The largest system that is loaded.
const MAX_BYTES: u64 = 1024 * 1024 * 1024;
const BLOCK: usize = BLOCK_BYTES as usize;

/// A partition whose tree was checked. Reading it can be done on any core.
pub struct System<'a> {
    flash: &'a Flash,
    table: &'a VerityTable,
    name: String,
    tree: Tree<'a>,
    /// The tree as it was when it was checked: what happens to it on the flash does not count.
    tree_bytes: Vec<u8>,
}

/// A block that was not the one that was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// Parity made it right again: in memory, not on the flash.
    Repaired(u64),
    /// It is lost.
    Lost(u64),
}

/// Everything of the system that is right.
#[derive(Debug, PartialEq, Eq)]
pub struct Content {
    /// The data; zeros where a block is lost.
    pub data: Vec<u8>,
    /// The lost blocks.
    pub lost: BTreeSet<u64>,
}

impl Content {
    /// Whether these bytes of the data are all there.
    #[must_use]
    pub fn has(&self, bytes: &Range<u64>) -> bool {
        let blocks = bytes.start / BLOCK as u64..bytes.end.div_ceil(BLOCK as u64);
        self.lost.range(blocks).next().is_none()
    }
}

/// Reads the data that `table` protects. Every byte of the partition counts.
pub fn read_verified(flash: &Flash, table: &VerityTable) -> Result<Vec<u8>, Refusal> {
    System::open(flash, table, true)?.read_all()
}

impl<'a> System<'a> {
    /// Checks all that is not data. `whole`: parity that was altered is a refusal; otherwise it
    /// is used as it is, for what it repairs is checked too.
    pub fn open(flash: &'a Flash, table: &'a VerityTable, whole: bool) -> Result<Self, Refusal> {
        let malformed = |what: &str| Refusal::new("ERROR_INVALID_METADATA", what);
        let partition = flash
            .partition_by_guid(table.partition)
            .ok_or_else(|| malformed("the flash has no partition with the GUID of the system"))?;
        let behind = partition.size_bytes().checked_sub(table.data_bytes);
        let behind = behind.filter(|_| table.data_bytes <= MAX_BYTES);
        let behind = behind.and_then(|bytes| bytes.try_into().ok());
        let behind: usize = behind.ok_or_else(|| malformed("the system has an impossible size"))?;
        let mut rest = vec![0; behind];
        flash.read_at(&partition.name, table.data_bytes, &mut rest)?;
        let geometry = verity::Geometry::new(&table.params, table.data_bytes).map_err(corrupt)?;
        let (tree_bytes, rest) = rest
            .split_at_checked(geometry.tree_bytes())
            .ok_or_else(|| malformed("the system's hash tree does not fit its partition"))?;
        let zeros = check_parity(table, rest, whole)?;
        if zeros.iter().any(|byte| *byte != 0) {
            return Err(malformed("there are stray bytes behind the system's hash tree"));
        }
        let tree = Tree::open(&table.params, table.data_bytes, tree_bytes, &table.root);
        let tree = tree.map_err(corrupt)?;
        let (name, tree_bytes) = (partition.name.clone(), tree_bytes.to_vec());
        Ok(Self { flash, table, name, tree, tree_bytes })
    }

    /// The partition's name, with its slot's suffix.
    #[must_use]
    pub fn partition(&self) -> &str {
        &self.name
    }

    /// Blocks of the data.
    #[must_use]
    pub const fn blocks(&self) -> u64 {
        self.tree.geometry().data_blocks()
    }

    /// All data, on all cores. One bad block is a refusal, also where parity could repair it:
    /// this is asked before the system runs, and what happened to a device that was off was not
    /// seen by anybody.
    pub fn read_all(&self) -> Result<Vec<u8>, Refusal> {
        let mut data = vec![0; usize::try_from(self.table.data_bytes).unwrap_or_default()];
        self.on_all_cores(&mut data, |first, out| {
            self.flash.read_at(&self.name, first * BLOCK as u64, out)?;
            self.tree.verify_blocks(first, out).map_err(corrupt)
        })?;
        Ok(data)
    }

    /// What is right of the data, repaired where that can be done, on all cores.
    pub fn read_what_is_right(&self) -> Result<Content, Refusal> {
        let mut data = vec![0; usize::try_from(self.table.data_bytes).unwrap_or_default()];
        let lost = Mutex::new(BTreeSet::new());
        self.on_all_cores(&mut data, |first, out| {
            let mut here = self.read_blocks(first, out).into_iter().peekable();
            if here.peek().is_some() {
                let lost_here = here.filter_map(|damage| match damage {
                    Damage::Lost(block) => Some(block),
                    Damage::Repaired(_) => None,
                });
                lost.lock().unwrap_or_else(PoisonError::into_inner).extend(lost_here);
            }
            Ok(())
        })?;
        let lost = lost.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(Content { data, lost })
    }

    /// Gives `work` every piece of `data` with the number of its first block.
    fn on_all_cores(
        &self,
        data: &mut [u8],
        work: impl Fn(u64, &mut [u8]) -> Result<(), Refusal> + Sync,
    ) -> Result<(), Refusal> {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let (mut rest, work) = (data, &work);
        std::thread::scope(|scope| {
            let mut workers = Vec::with_capacity(cores);
            for range in self.tree.geometry().split(cores) {
                let bytes = usize::try_from(range.end - range.start).unwrap_or_default() * BLOCK;
                let (part, behind) = std::mem::take(&mut rest).split_at_mut(bytes);
                rest = behind;
                let starts = (range.start..).step_by(CHUNK_BLOCKS as usize);
                workers.push(scope.spawn(move || {
                    let mut pieces = starts.zip(part.chunks_mut(CHUNK_BYTES));
                    pieces.try_for_each(|(block, piece)| work(block, piece))
                }));
            }
            let panicked = |_| Err(Refusal::policy("a core stopped while it verified the system"));
            workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(panicked))
        })
    }

    /// Bytes of the data as they are on the flash now, checked. Tells `watch` of each block
    /// that is not the one that was signed; gives none where one of them is lost.
    pub fn read(&self, bytes: Range<u64>, watch: impl Fn(Damage)) -> Option<Vec<u8>> {
        let inside = bytes.start <= bytes.end && bytes.end <= self.table.data_bytes;
        let first = inside.then_some(bytes.start / BLOCK as u64)?;
        let blocks = usize::try_from(bytes.end.div_ceil(BLOCK as u64) - first).ok()?;
        let mut out = vec![0; blocks * BLOCK];
        let damage = self.read_blocks(first, &mut out);
        damage.iter().copied().for_each(watch);
        if damage.iter().any(|damage| matches!(damage, Damage::Lost(_))) {
            return None;
        }
        let skip = usize::try_from(bytes.start % BLOCK as u64).ok()?;
        out.drain(..skip);
        out.truncate(usize::try_from(bytes.end - bytes.start).ok()?);
        Some(out)
    }

    /// Reads blocks; says which were not right on the flash. A lost one is zeros then.
    fn read_blocks(&self, first: u64, out: &mut [u8]) -> Vec<Damage> {
        if self.are_right(first, out) {
            return Vec::new();
        }
        let blocks = (first..).zip(out.chunks_mut(BLOCK));
        blocks.filter_map(|(block, out)| self.read_block(block, out)).collect()
    }

    fn read_block(&self, block: u64, out: &mut [u8]) -> Option<Damage> {
        if self.are_right(block, out) {
            return None;
        }
        if let Some(restored) = self.restore(block) {
            out.copy_from_slice(&restored);
            return Some(Damage::Repaired(block));
        }
        out.fill(0);
        Some(Damage::Lost(block))
    }

    /// Reads blocks into `out`. What the flash does not give counts as wrong.
    fn are_right(&self, first: u64, out: &mut [u8]) -> bool {
        self.flash.read_at(&self.name, first * BLOCK as u64, out).is_ok()
            && self.tree.verify_blocks(first, out).is_ok()
    }
}

/// The parity lies at the start of `rest`; gives what is behind it.
fn check_parity<'r>(table: &VerityTable, rest: &'r [u8], whole: bool) -> Result<&'r [u8], Refusal> {
    let Some(parity) = &table.parity else { return Ok(rest) };
    let bytes = usize::try_from(parity.layout.parity_bytes()).unwrap_or(usize::MAX);
    let (bytes, zeros) = rest.split_at_checked(bytes).ok_or_else(|| {
        let reason = "the system's parity does not fit its partition";
        Refusal::new("ERROR_INVALID_METADATA", reason)
    })?;
    if whole && crypto::digest::sha256(bytes) != parity.sha256 {
        let reason = "the system is not what was signed: its parity is another one";
        return Err(Refusal::new("ERROR_VERIFICATION", reason));
    }
    Ok(zeros)
}

fn corrupt(error: verity::Error) -> Refusal {
    Refusal::new("ERROR_VERIFICATION", format!("the system is not what was signed: {error}"))
}
