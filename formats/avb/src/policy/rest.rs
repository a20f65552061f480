//! The bytes that libavb does not look at: behind images, around footers. All must be zero.

use super::io;
use crate::{
    FOOTER_BYTES, Footer, HashDescriptor, IoError, Ops, Refusal, RefusalCode, SlotData,
    VBMETA_MAX_BYTES, VbmetaData, check_vbmeta_partition, descriptor::DO_NOT_USE_AB,
    partition::check_zeros,
};
use std::ops::Range;

/// Behind the vbmeta image in its partition there are zeros only.
pub(super) fn check_rest_of_vbmeta(ops: &impl Ops, vbmeta: &VbmetaData) -> Result<(), Refusal> {
    let name = &vbmeta.full_name;
    let size = ops.partition_size(name).map_err(|error| io(name, error))?;
    let start = size.min(VBMETA_MAX_BYTES as u64);
    let bytes = read(ops, name, 0..start)?;
    let image = check_vbmeta_partition(&bytes)?;
    if image.bytes() != vbmeta.image {
        return Err(Refusal::new(RefusalCode::Io, format!("{name}: storage changed its answer")));
    }
    check_zero_range(ops, name, start..size, "behind the vbmeta image")
}

/// Behind the image in its partition there are zeros, or the vbmeta image and footer that the
/// chain led to.
pub(super) fn check_rest_of_partition(
    ops: &impl Ops,
    suffix: &str,
    hash: &HashDescriptor,
    data: &SlotData,
) -> Result<(), Refusal> {
    let suffix = if hash.flags & DO_NOT_USE_AB == 0 { suffix } else { "" };
    let name = format!("{}{suffix}", hash.partition_name);
    let size = ops.partition_size(&name).map_err(|error| io(&name, error))?;
    if hash.image_size > size {
        let reason = format!("{name} is smaller than the image that was signed");
        return Err(Refusal::new(RefusalCode::DigestMismatch, reason));
    }
    let chained = data.vbmeta_images.iter().find(|v| v.partition == hash.partition_name);
    match chained {
        None => check_zero_range(ops, &name, hash.image_size..size, "behind the image"),
        Some(vbmeta) => check_footer(ops, &name, hash, vbmeta, size),
    }
}

fn check_footer(
    ops: &impl Ops,
    name: &str,
    hash: &HashDescriptor,
    vbmeta: &VbmetaData,
    size: u64,
) -> Result<(), Refusal> {
    let malformed =
        |reason: &str| Refusal::new(RefusalCode::FooterMalformed, format!("{name}: {reason}"));
    let footer_start = size
        .checked_sub(FOOTER_BYTES as u64)
        .filter(|start| *start >= hash.image_size)
        .ok_or_else(|| malformed("there is no room for a footer"))?;
    let footer = read(ops, name, footer_start..size)?;
    let footer = footer.try_into().map_err(|_| malformed("the footer was not read"))?;
    let footer = Footer::decode_strict(&footer).map_err(|e| malformed(&e.to_string()))?;
    let image = footer.vbmeta_offset..footer.vbmeta_offset.saturating_add(footer.vbmeta_size);
    if image.start < hash.image_size || image.end > footer_start {
        return Err(malformed("the footer points outside the partition"));
    }
    let exact = footer.version.minor == 0
        && footer.original_image_size == hash.image_size
        && footer.vbmeta_size == vbmeta.image.len() as u64;
    if !exact || read(ops, name, image.clone())? != vbmeta.image {
        return Err(malformed("the footer does not describe what was signed"));
    }
    let padding = hash.image_size..image.start;
    check_zero_range(ops, name, padding, "between image and vbmeta")?;
    check_zero_range(ops, name, image.end..footer_start, "between vbmeta and footer")
}

/// Checks that a range of a partition, which lies inside it, is zero. Reads it in pieces: a
/// partition may be larger than memory.
fn check_zero_range(
    ops: &impl Ops,
    name: &str,
    range: Range<u64>,
    place: &str,
) -> Result<(), Refusal> {
    const PIECE: u64 = 1 << 20;
    let mut start = range.start;
    while start < range.end {
        let end = range.end.min(start.saturating_add(PIECE));
        let bytes = read(ops, name, start..end)?;
        check_zeros(&bytes, &format!("{name}, {place}, from byte {start} on"))?;
        start = end;
    }
    Ok(())
}

/// Reads a range that lies inside the partition.
fn read(ops: &impl Ops, name: &str, range: Range<u64>) -> Result<Vec<u8>, Refusal> {
    let outside = || io(name, IoError::RangeOutsidePartition);
    let offset = i64::try_from(range.start).map_err(|_| outside())?;
    let mut bytes = vec![0; usize::try_from(range.end - range.start).map_err(|_| outside())?];
    match ops.read_from_partition(name, offset, &mut bytes) {
        Ok(read) if read == bytes.len() => Ok(bytes),
        Ok(_) => Err(outside()),
        Err(error) => Err(io(name, error)),
    }
}
