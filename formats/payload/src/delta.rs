//! Operations that make an image out of an older one.
//!
//! Per stretch of the new image at most four: `SOURCE_COPY` for blocks that the old image has
//! (anywhere), `ZERO`, and for the rest one patch over all of it, or the blob alone where a patch
//! is no smaller. Short runs of unchanged blocks between changed ones go into the patch: there
//! they cost less than two extents.

use crate::bsdiff::{self, Index, Region, Run};
use crate::compress::Compression;
use crate::error::MakeError;
use crate::full::{
    BLOCK, Step, gather, is_zero, offset, push_extent, replace, require_blocks, with_blob, zero,
};
use crate::manifest::{BLOCK_BYTES, Extent, Operation, OperationKind};

pub use crate::bsdiff::Format;

/// Runs of at least so many unchanged blocks are copied; shorter ones beside changed blocks are
/// part of the patch.
const COPY_BLOCKS: usize = 64;
/// A match that is shorter is not worth reading a block of its own for.
const SHORT_RUN: usize = 64;

/// How a delta is made.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Which patches: [`Format::Bsdf2`] needs minor version 4, [`Format::Bsdiff40`] 3.
    pub format: Format,
    /// How new data is compressed that no patch helps with.
    pub compression: Compression,
}

impl Options {
    /// The minor version that a payload with such operations has.
    #[must_use]
    pub const fn minor_version(self) -> u32 {
        match (self.compression, self.format) {
            (Compression::Zstd(_), _) => 10,
            (_, Format::Bsdf2) => 4,
            (_, Format::Bsdiff40) => 3,
        }
    }
}

/// An old image, ready to be looked up. It takes a quarter of the image's size besides the image.
#[derive(Debug)]
pub struct Source<'a> {
    old: &'a [u8],
    index: Index,
}

/// What a block of the new image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Zero,
    /// The same as this block of the old image.
    Copy(u64),
    Changed,
}

impl<'a> Source<'a> {
    /// Indexes an image, of whole blocks.
    pub fn new(old: &'a [u8]) -> Result<Self, MakeError> {
        require_blocks(old.len() as u64)?;
        Ok(Self { old, index: Index::new(old) })
    }

    /// The steps that make `new`, which goes to the blocks from `first_block` on.
    ///
    /// Stretches are independent: a caller gives each of its cores another one. Memory: twice the
    /// stretch and 30 MiB.
    pub fn steps(
        &self,
        first_block: u64,
        new: Vec<u8>,
        options: Options,
    ) -> Result<Vec<Step>, MakeError> {
        require_blocks(new.len() as u64)?;
        let mut classes = self.classify(first_block, &new);
        absorb_short_runs(&mut classes);
        let mut copied = (Vec::new(), Vec::new());
        let (mut zeros, mut changed) = (Vec::new(), Vec::new());
        for (block, class) in (first_block..).zip(&classes) {
            let extent = Extent::new(block, 1);
            match class {
                Class::Zero => push_extent(&mut zeros, extent),
                Class::Changed => push_extent(&mut changed, extent),
                Class::Copy(from) => {
                    push_extent(&mut copied.0, Extent::new(*from, 1));
                    push_extent(&mut copied.1, extent);
                }
            }
        }
        let mut steps = Vec::new();
        if !copied.1.is_empty() {
            steps.push(self.copy(copied.0, copied.1));
        }
        if !zeros.is_empty() {
            steps.push(zero(zeros));
        }
        if !changed.is_empty() {
            steps.push(self.change(first_block, new, changed, options)?);
        }
        Ok(steps)
    }

    /// A block of the old image.
    fn block(&self, number: u64) -> Option<&'a [u8]> {
        let start = usize::try_from(number.checked_mul(BLOCK_BYTES)?).ok()?;
        self.old.get(start..start.checked_add(BLOCK)?)
    }

    fn classify(&self, first_block: u64, new: &[u8]) -> Vec<Class> {
        let mut expected = first_block;
        let mut classes = Vec::with_capacity(new.len() / BLOCK);
        for (number, block) in (first_block..).zip(new.chunks(BLOCK)) {
            let has = |from: u64| self.block(from) == Some(block);
            let class = if has(expected) {
                Class::Copy(expected)
            } else if has(number) {
                Class::Copy(number)
            } else if is_zero(block) {
                Class::Zero
            } else {
                let found = self.index.candidate(block).filter(|at| at % BLOCK == 0);
                let found = found.map(|at| (at / BLOCK) as u64).filter(|&from| has(from));
                found.map_or(Class::Changed, Class::Copy)
            };
            expected = match class {
                Class::Copy(from) => from + 1,
                _ => expected + 1,
            };
            classes.push(class);
        }
        classes
    }

    fn copy(&self, src_extents: Vec<Extent>, dst_extents: Vec<Extent>) -> Step {
        let operation = Operation {
            kind: OperationKind::SourceCopy,
            src_sha256_hash: Some(self.sha256(&src_extents)),
            src_extents,
            dst_extents,
            ..Operation::default()
        };
        Step { operation, blob: Vec::new() }
    }

    /// SHA-256 of these extents of the old image, one after the other.
    fn sha256(&self, extents: &[Extent]) -> Vec<u8> {
        let mut hash = crypto::digest::Sha256::new();
        for extent in extents {
            let start = offset(extent.start_block);
            hash.update(&self.old[start..start + offset(extent.num_blocks)]);
        }
        hash.finish().to_vec()
    }

    /// A patch, or the new data itself where that is smaller.
    fn change(
        &self,
        first_block: u64,
        new: Vec<u8>,
        extents: Vec<Extent>,
        options: Options,
    ) -> Result<Step, MakeError> {
        let bytes = match extents[..] {
            [all] if offset(all.num_blocks) == new.len() => new,
            _ => gather(first_block, &new, &extents),
        };
        let runs = self.runs(&bytes, &extents);
        let explained: usize = runs.iter().map(|run| run.length).sum();
        if explained > bytes.len() / 2 {
            return self.patch(bytes, &runs, extents, options.format);
        }
        let plain = replace(extents.clone(), &bytes, options.compression)?;
        if explained == 0 {
            return Ok(plain);
        }
        let patch = self.patch(bytes, &runs, extents, options.format)?;
        Ok(if plain.blob.len() <= patch.blob.len() { plain } else { patch })
    }

    /// What of `bytes`, the new content of `extents`, the old image has.
    fn runs(&self, bytes: &[u8], extents: &[Extent]) -> Vec<Run> {
        let mut at = 0;
        let mut regions = Vec::with_capacity(extents.len());
        for extent in extents {
            let old = usize::try_from(extent.start_block * BLOCK_BYTES).unwrap_or(usize::MAX / 2);
            regions.push(Region { new: at, old });
            at += offset(extent.num_blocks);
        }
        let mut runs = bsdiff::runs(self.old, &self.index, bytes, &regions);
        let long: Vec<Extent> = source_extents(runs.iter().filter(|run| run.length >= SHORT_RUN));
        runs.retain(|run| run.length >= SHORT_RUN || place(&long, run).is_some());
        runs
    }

    fn patch(
        &self,
        bytes: Vec<u8>,
        runs: &[Run],
        dst_extents: Vec<Extent>,
        format: Format,
    ) -> Result<Step, MakeError> {
        let src_extents = source_extents(runs.iter());
        let placed =
            |run: &Run| place(&src_extents, run).expect("the extents are those of the runs");
        let blob =
            bsdiff::encode(self.old, bytes, runs, placed, format).map_err(MakeError::Compress)?;
        let kind = match format {
            Format::Bsdiff40 => OperationKind::SourceBsdiff,
            Format::Bsdf2 => OperationKind::BrotliBsdiff,
        };
        let mut step = with_blob(kind, dst_extents, blob);
        step.operation.src_sha256_hash = Some(self.sha256(&src_extents));
        step.operation.src_extents = src_extents;
        Ok(step)
    }
}

/// Short runs beside changed blocks become changed ones.
fn absorb_short_runs(classes: &mut [Class]) {
    let is_changed = |class: Class| class == Class::Changed;
    let mut start = 0;
    while start < classes.len() {
        let changed = is_changed(classes[start]);
        let length = classes[start..].iter().take_while(|it| is_changed(**it) == changed).count();
        let end = start + length;
        let beside = start > 0 || end < classes.len();
        if !changed && beside && length < COPY_BLOCKS {
            classes[start..end].fill(Class::Changed);
        }
        start = end;
    }
}

/// The blocks of the old image that `runs` read, in order and each once.
fn source_extents<'r>(runs: impl Iterator<Item = &'r Run>) -> Vec<Extent> {
    let mut ranges: Vec<(usize, usize)> =
        runs.map(|run| (run.old / BLOCK, (run.old + run.length).div_ceil(BLOCK))).collect();
    ranges.sort_unstable();
    let mut extents: Vec<Extent> = Vec::new();
    for (start, end) in ranges {
        let (start, end) = (start as u64, end as u64);
        match extents.last_mut() {
            Some(last) if start <= last.start_block + last.num_blocks => {
                last.num_blocks = last.num_blocks.max(end - last.start_block);
            }
            _ => extents.push(Extent::new(start, end - start)),
        }
    }
    extents
}

/// Where a run of the old image begins among `extents`, one after the other; `None` where they do
/// not hold all of it.
fn place(extents: &[Extent], run: &Run) -> Option<usize> {
    let first = (run.old / BLOCK) as u64;
    let end = (run.old + run.length).div_ceil(BLOCK) as u64;
    let mut before = 0;
    for extent in extents {
        let extent_end = extent.start_block + extent.num_blocks;
        if extent.start_block <= first && end <= extent_end {
            return Some(offset(before + first - extent.start_block) + run.old % BLOCK);
        }
        before += extent.num_blocks;
    }
    None
}
