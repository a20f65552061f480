//! Hash trees and error correction that devices compute themselves: computed here, and left out of
//! payloads.

use super::file::Disk;
use super::ordered;
use anyhow::{Context, Result};
use avb::{Descriptor, FOOTER_BYTES, Footer, HashtreeDescriptor, VBMETA_MAX_BYTES, VbmetaImage};
use payload::manifest::{BLOCK_BYTES, Extent, PartitionInfo, PartitionUpdate, VerityExtents};
use payload::{Computed, ReadAt, WriteAt};
use std::io;

/// Computes on all cores what no operation of a partition has written.
pub(super) fn write<P: ReadAt + WriteAt>(computed: &Computed, partition: &P) -> Result<()> {
    for phase in computed.phases() {
        let piece = |piece: usize| Ok(phase.write(piece as u64, partition)?);
        ordered::run(usize::try_from(phase.pieces())?, ordered::cores(), piece, |()| Ok(()))?;
    }
    Ok(())
}

/// What of an image of `size` bytes the device can compute: the hash tree and error correction that
/// its AVB footer describes, where they are exactly those that anyone computes; else nothing.
pub(super) fn described(image: &Disk, size: u64) -> Result<VerityExtents> {
    let Some(tree) = hashtree(image, size)? else { return Ok(VerityExtents::default()) };
    let found = extents(&tree).unwrap_or_default();
    let update = PartitionUpdate {
        new_partition_info: Some(PartitionInfo { size, ..PartitionInfo::default() }),
        verity: found.clone(),
        ..PartitionUpdate::default()
    };
    let Ok(Some(computed)) = Computed::of(&update) else { return Ok(VerityExtents::default()) };
    match write(&computed, &Compared(image)) {
        Ok(()) => Ok(found),
        Err(error) if error.downcast_ref().is_some_and(Differs::is) => Ok(VerityExtents::default()),
        Err(error) => Err(error).context("comparing the hash tree"),
    }
}

/// The descriptor behind the image's footer; whether anyone signed it does not matter here.
fn hashtree(image: &Disk, size: u64) -> Result<Option<HashtreeDescriptor>> {
    let Some(at) = size.checked_sub(FOOTER_BYTES as u64) else { return Ok(None) };
    let mut footer = [0; FOOTER_BYTES];
    image.read_at(at, &mut footer)?;
    let Ok(footer) = Footer::decode(&footer) else { return Ok(None) };
    let end = footer.vbmeta_offset.checked_add(footer.vbmeta_size);
    let Some(end) = end.filter(|&end| end <= at && footer.vbmeta_size <= VBMETA_MAX_BYTES as u64)
    else {
        return Ok(None);
    };
    let bytes = image.read(footer.vbmeta_offset..end)?;
    let descriptors = VbmetaImage::parse(&bytes).map(|it| it.descriptors());
    let mut found = descriptors.into_iter().flatten().flatten().filter_map(|it| match it {
        Descriptor::Hashtree(tree) => Some(tree),
        _ => None,
    });
    // Of two trees it would not be clear which.
    Ok(found.next().filter(|_| found.next().is_none()))
}

/// As `PartitionUpdate` names it: whole blocks, error correction over all that lies before it.
fn extents(tree: &HashtreeDescriptor) -> Option<VerityExtents> {
    let extent = |at: u64, bytes: u64| {
        let whole = at.is_multiple_of(BLOCK_BYTES) && bytes.is_multiple_of(BLOCK_BYTES);
        (whole && bytes > 0).then(|| Extent::new(at / BLOCK_BYTES, bytes / BLOCK_BYTES))
    };
    let usual = u64::from(tree.data_block_size) == BLOCK_BYTES
        && u64::from(tree.hash_block_size) == BLOCK_BYTES
        && tree.dm_verity_version == 1;
    let mut out = VerityExtents {
        hash_tree_data_extent: Some(extent(0, tree.image_size)?),
        hash_tree_extent: Some(extent(tree.tree_offset, tree.tree_size)?),
        hash_tree_algorithm: Some(str::from_utf8(tree.hash_algorithm.as_bytes()).ok()?.to_owned()),
        hash_tree_salt: Some(tree.salt.clone()),
        ..VerityExtents::default()
    };
    if tree.fec_num_roots > 0 {
        out.fec_data_extent = Some(extent(0, tree.fec_offset)?);
        out.fec_extent = Some(extent(tree.fec_offset, tree.fec_size)?);
        out.fec_roots = Some(tree.fec_num_roots);
    }
    usual.then_some(out)
}

/// An image where all that is written must stand already.
struct Compared<'a>(&'a Disk);

/// Something else stands there.
#[derive(Debug)]
struct Differs;

impl Differs {
    fn is(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Self>())
    }
}

impl std::error::Error for Differs {}

impl std::fmt::Display for Differs {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("the image holds another hash tree")
    }
}

impl ReadAt for Compared<'_> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, buffer)
    }
}

impl WriteAt for Compared<'_> {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut have = vec![0; bytes.len()];
        self.0.read_at(offset, &mut have)?;
        if have == bytes { Ok(()) } else { Err(io::Error::other(Differs)) }
    }
}
