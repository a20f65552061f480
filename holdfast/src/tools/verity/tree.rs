//! Trees over files: made and checked a family at a time, so that memory does not grow with them.

use super::cores::on_all_cores;
use super::setup::Setup;
use anyhow::Result;
use std::collections::BTreeSet;
use std::sync::Mutex;
use verity::{Family, RootDigest, check_top, root_of};

/// Bytes of children that a core hashes in one go.
const PIECE_BYTES: u64 = 512 * 1024;

/// What is wrong with an image.
#[derive(Debug, Default)]
pub(crate) struct Wrong {
    /// Blocks of data, then of the tree, that are not the ones their parents name: numbered as
    /// parity covers them.
    pub(crate) blocks: BTreeSet<u64>,
    /// Hash blocks with bytes that should be zero, numbered in the tree.
    pub(crate) padding: BTreeSet<u64>,
}

impl Wrong {
    pub(crate) fn is_empty(&self) -> bool {
        self.blocks.is_empty() && self.padding.is_empty()
    }
}

/// Makes the tree, level by level, and gives its root.
pub(crate) fn build(setup: &Setup) -> Result<RootDigest> {
    for (level, here) in setup.geometry.levels().iter().enumerate() {
        on_all_cores(here.blocks, || {
            let mut parent = vec![0; setup.params.hash_block_bytes()];
            let mut piece = Vec::new();
            move |index| {
                let family = family(setup, level, index);
                parent.fill(0);
                for_pieces(setup, &family, &mut piece, |at, children| {
                    setup.params.hash_family(level, at, children, &mut parent);
                })?;
                setup.hash.write(family.parent.start, &parent)
            }
        })?;
    }
    setup.hash.sync()?;
    Ok(root_of(&setup.params, &setup.geometry, &read_top(setup)?)?)
}

/// Checks every block of tree and image.
pub(crate) fn check(setup: &Setup, root: &RootDigest) -> Result<Wrong> {
    let wrong = Mutex::new(Wrong::default());
    let data_blocks = setup.geometry.data_blocks();
    if check_top(&setup.params, &setup.geometry, &read_top(setup)?, root).is_err() {
        let top = if setup.geometry.levels().is_empty() { 0 } else { data_blocks };
        wrong.lock().expect("no thread panicked").blocks.insert(top);
    }
    for (level, here) in setup.geometry.levels().iter().enumerate() {
        on_all_cores(here.blocks, || {
            let mut parent = vec![0; setup.params.hash_block_bytes()];
            let (mut piece, wrong) = (Vec::new(), &wrong);
            move |index| {
                check_family(setup, &family(setup, level, index), &mut parent, &mut piece, wrong)
            }
        })?;
    }
    Ok(wrong.into_inner().expect("no thread panicked"))
}

fn check_family(
    setup: &Setup,
    family: &Family,
    parent: &mut [u8],
    piece: &mut Vec<u8>,
    wrong: &Mutex<Wrong>,
) -> Result<()> {
    let params = &setup.params;
    setup.hash.read(family.parent.start, parent)?;
    let first = match family.level {
        0 => family.first,
        _ => {
            setup.geometry.data_blocks() + family.children.start / params.hash_block_bytes() as u64
        }
    };
    let mut found = Vec::new();
    for_pieces(setup, family, piece, |at, children| {
        found.extend(params.check_family(family.level, at, children, parent));
    })?;
    let bytes = family.children.end - family.children.start;
    let digests = usize::try_from(bytes.div_ceil(params.child_bytes(family.level) as u64))?;
    let padded = params.padding_is_zero(parent, digests);
    if !found.is_empty() || !padded {
        let mut wrong = wrong.lock().expect("no thread panicked");
        wrong.blocks.extend(found.into_iter().map(|at| first + at as u64));
        if !padded {
            wrong.padding.insert(family.parent.start / params.hash_block_bytes() as u64);
        }
    }
    Ok(())
}

fn family(setup: &Setup, level: usize, index: u64) -> Family {
    setup.geometry.family(&setup.params, level, index).expect("each level says how many it has")
}

/// Reads the children of a family piece by piece; `each` gets the first one's slot and them.
fn for_pieces(
    setup: &Setup,
    family: &Family,
    piece: &mut Vec<u8>,
    mut each: impl FnMut(usize, &[u8]),
) -> Result<()> {
    let child = setup.params.child_bytes(family.level) as u64;
    let step = PIECE_BYTES.max(child);
    let from = if family.level == 0 { &setup.data } else { &setup.hash };
    let mut at = family.children.start;
    while at < family.children.end {
        let bytes = step.min(family.children.end - at);
        piece.resize(usize::try_from(bytes)?, 0);
        from.read(at, piece)?;
        each(usize::try_from((at - family.children.start) / child)?, piece);
        at += bytes;
    }
    Ok(())
}

/// The block whose digest is the root: the tree's first, or the only one of the image.
fn read_top(setup: &Setup) -> Result<Vec<u8>> {
    let mut top;
    if setup.geometry.levels().is_empty() {
        top = vec![0; setup.params.data_block_bytes()];
        setup.data.read(0, &mut top)?;
    } else {
        top = vec![0; setup.params.hash_block_bytes()];
        setup.hash.read(0, &mut top)?;
    }
    Ok(top)
}
