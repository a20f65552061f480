//! Hash trees and error correction that the device computes itself.
//!
//! They are most of what differs between two builds and least of what can be compressed, so a
//! payload may leave them out (`hash_tree_*` and `fec_*` of `PartitionUpdate`). Once all operations
//! of a partition are done, the device makes them out of what it has written, as update_engine's
//! verity writer does; the hash of the whole partition then says whether they are right.

use crate::error::VerityFault;
use crate::io::{ReadAt, WriteAt};
use crate::manifest::{BLOCK_BYTES, Extent, PartitionUpdate, VerityExtents};
use std::io;
use verity::{FecEncoder, FecLayout, Geometry, HashAlgorithm, Params};

/// Parity bytes a codeword where the manifest does not say (the field's default).
const DEFAULT_FEC_ROOTS: u32 = 2;
/// Bytes of parity that are one piece of work: they stay in a core's cache.
const PARITY_PIECE_BYTES: u64 = 256 * 1024;

/// What the device computes of one partition.
#[derive(Debug, Clone)]
pub struct Computed {
    tree: Option<Tree>,
    parity: Option<Parity>,
}

/// A hash tree over blocks of the partition.
#[derive(Clone)]
struct Tree {
    params: Params,
    geometry: Geometry,
    /// Where the blocks begin, in bytes.
    data: u64,
    /// Where the tree begins, in bytes.
    at: u64,
}

/// Error correction over blocks of the partition.
#[derive(Debug, Clone)]
struct Parity {
    layout: FecLayout,
    data: u64,
    at: u64,
}

/// Work that may be done in any order, on any number of cores, once every earlier phase is done.
#[derive(Debug, Clone, Copy)]
pub struct Phase<'c>(Work<'c>);

#[derive(Debug, Clone, Copy)]
enum Work<'c> {
    /// A level of the tree; 0 lies above the data.
    Level(&'c Tree, usize),
    Parity(&'c Parity),
}

impl Computed {
    /// What of `update` the device computes; `None`: nothing.
    pub fn of(update: &PartitionUpdate) -> Result<Option<Self>, VerityFault> {
        let size = update.new_partition_info.as_ref().map_or(0, |info| info.size);
        let blocks = size / BLOCK_BYTES;
        let verity = &update.verity;
        let tree = Tree::of(verity, blocks)?;
        let parity = Parity::of(verity, blocks)?;
        Ok((tree.is_some() || parity.is_some()).then_some(Self { tree, parity }))
    }

    /// The phases, in the order in which they must be done.
    pub fn phases(&self) -> impl Iterator<Item = Phase<'_>> {
        let levels = self.tree.iter().flat_map(|tree| {
            (0..tree.geometry.levels().len()).map(move |level| Work::Level(tree, level))
        });
        levels.chain(self.parity.iter().map(Work::Parity)).map(Phase)
    }

    /// Does all of it on this thread. Afterwards the hash of the whole partition decides.
    pub fn write<P: ReadAt + WriteAt + ?Sized>(&self, partition: &P) -> io::Result<()> {
        for phase in self.phases() {
            (0..phase.pieces()).try_for_each(|piece| phase.write(piece, partition))?;
        }
        Ok(())
    }
}

impl Phase<'_> {
    /// How many pieces it has.
    #[must_use]
    pub fn pieces(&self) -> u64 {
        match self.0 {
            Work::Level(tree, level) => tree.geometry.levels()[level].blocks,
            Work::Parity(parity) => parity.layout.codewords().div_ceil(parity.step()),
        }
    }

    /// Does piece `piece`: reads what it is over, and writes a hash block, or some parity.
    ///
    /// # Panics
    /// Where there are not so many pieces.
    pub fn write<P: ReadAt + WriteAt + ?Sized>(&self, piece: u64, partition: &P) -> io::Result<()> {
        match self.0 {
            Work::Level(tree, level) => tree.write(level, piece, partition),
            Work::Parity(parity) => parity.write(piece, partition),
        }
    }
}

impl std::fmt::Debug for Tree {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.params.algorithm().name();
        write!(out, "{name} tree at {} over {:?}", self.at, self.geometry)
    }
}

impl Tree {
    fn of(verity: &VerityExtents, blocks: u64) -> Result<Option<Self>, VerityFault> {
        let Some(places) = places(verity.hash_tree_data_extent, verity.hash_tree_extent, blocks)?
        else {
            return Ok(None);
        };
        let name = verity.hash_tree_algorithm.as_deref().unwrap_or_default();
        let algorithm = HashAlgorithm::from_name(name).ok_or(VerityFault::Algorithm)?;
        let salt = verity.hash_tree_salt.as_deref().unwrap_or_default();
        let params = Params::new(algorithm, salt).map_err(|_| VerityFault::Salt)?;
        let geometry = Geometry::new(&params, places.data_bytes);
        let geometry = geometry.map_err(|_| VerityFault::TreeSize)?;
        if geometry.tree_bytes() as u64 != places.bytes {
            return Err(VerityFault::TreeSize);
        }
        Ok(Some(Self { params, geometry, data: places.data, at: places.at }))
    }

    fn write<P>(&self, level: usize, index: u64, partition: &P) -> io::Result<()>
    where
        P: ReadAt + WriteAt + ?Sized,
    {
        let family = self.geometry.family(&self.params, level, index);
        let family = family.expect("the caller asks for pieces that there are");
        let below = if level == 0 { self.data } else { self.at };
        let mut children = zeros(family.children.end - family.children.start);
        partition.read_at(below + family.children.start, &mut children)?;
        let mut parent = zeros(BLOCK_BYTES);
        self.params.hash_family(level, 0, &children, &mut parent);
        partition.write_at(self.at + family.parent.start, &parent)
    }
}

impl Parity {
    fn of(verity: &VerityExtents, blocks: u64) -> Result<Option<Self>, VerityFault> {
        let Some(places) = places(verity.fec_data_extent, verity.fec_extent, blocks)? else {
            return Ok(None);
        };
        let roots = verity.fec_roots.unwrap_or(DEFAULT_FEC_ROOTS);
        let block = u32::try_from(BLOCK_BYTES).expect("4096");
        let layout = FecLayout::new(block, places.data_bytes / BLOCK_BYTES, roots);
        let layout = layout.map_err(|_| VerityFault::Roots)?;
        if layout.parity_bytes() != places.bytes {
            return Err(VerityFault::FecSize);
        }
        Ok(Some(Self { layout, data: places.data, at: places.at }))
    }

    /// Codewords of a piece.
    const fn step(&self) -> u64 {
        (PARITY_PIECE_BYTES / self.layout.roots() as u64).next_multiple_of(BLOCK_BYTES)
    }

    fn write<P: ReadAt + WriteAt + ?Sized>(&self, piece: u64, partition: &P) -> io::Result<()> {
        let layout = &self.layout;
        let end = ((piece + 1) * self.step()).min(layout.codewords());
        let codewords = piece * self.step()..end;
        let mut row = zeros(codewords.end - codewords.start);
        let mut encoder = FecEncoder::new(layout, row.len());
        for number in 0..layout.rows() {
            let bytes = layout.row_bytes(number, codewords.clone());
            let covered = &mut row[..memory(bytes.end - bytes.start)];
            partition.read_at(self.data + bytes.start, covered)?;
            encoder.row(covered);
        }
        let place = layout.parity_range(&codewords);
        let mut parity = zeros(place.end - place.start);
        encoder.finish(layout, &mut parity);
        partition.write_at(self.at + place.start, &parity)
    }
}

/// Where something is computed from, and where it goes, in bytes of the partition.
struct Places {
    data: u64,
    data_bytes: u64,
    at: u64,
    bytes: u64,
}

/// Both extents, or neither; inside a partition of `blocks`, and apart.
fn places(
    data: Option<Extent>,
    to: Option<Extent>,
    blocks: u64,
) -> Result<Option<Places>, VerityFault> {
    let (data, to) = match (data, to) {
        (None, None) => return Ok(None),
        (Some(data), Some(to)) => (data, to),
        _ => return Err(VerityFault::Incomplete),
    };
    let inside =
        |extent: Extent| extent.num_blocks > 0 && extent.end().is_some_and(|end| end <= blocks);
    if !inside(data) || !inside(to) {
        return Err(VerityFault::Outside);
    }
    let apart = data.end() <= Some(to.start_block) || to.end() <= Some(data.start_block);
    if !apart {
        return Err(VerityFault::OverItself);
    }
    Ok(Some(Places {
        data: data.start_block * BLOCK_BYTES,
        data_bytes: data.num_blocks * BLOCK_BYTES,
        at: to.start_block * BLOCK_BYTES,
        bytes: to.num_blocks * BLOCK_BYTES,
    }))
}

fn zeros(bytes: u64) -> Vec<u8> {
    vec![0; memory(bytes)]
}

/// Bytes of a piece, which fits memory.
fn memory(bytes: u64) -> usize {
    usize::try_from(bytes).expect("a piece is small")
}
