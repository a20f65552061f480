//! Commands that change an image with a footer, or take something out of it.

use super::args::{EraseFooter, ExtractVbmetaImage, ImageOnly, ResizeImage, SetAbMetadata};
use super::footer;
use super::image::{Access, Image};
use super::output::{self, Output};
use super::parsed::Parsed;
use super::python;
use crate::exit::{Exit, Misused};
use anyhow::{Context, Result, anyhow, ensure};
use avb::HashtreeDescriptor;
use std::fs::OpenOptions;
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// `extract_vbmeta_image`.
pub(super) fn extract_vbmeta(args: &ExtractVbmetaImage) -> Result<Exit> {
    let output = Output::new("--output", Some(&args.output))?;
    let image = Image::open("--image", &args.image, Access::Read)?;
    let footer = Parsed::of(&image)?.need_footer()?;
    let vbmeta = image.metadata(footer.vbmeta_offset, footer.vbmeta_size)?;
    output.write(&output::padded(vbmeta, args.padding_size)?)?;
    Ok(Exit::Held)
}

/// `erase_footer`.
pub(super) fn erase_footer(args: &EraseFooter) -> Result<Exit> {
    let mut image = Image::open("--image", &args.image, Access::Edit)?;
    let parsed = Parsed::of(&image)?;
    let footer = parsed.need_footer()?;
    let size = if args.keep_hashtree {
        let tree = parsed
            .hashtree()
            .context("Requested to keep hashtree but no hashtree descriptor was found.")?;
        end_of_tree(tree).context("the hashtree descriptor overflows")?
    } else {
        footer.original_image_size
    };
    ensure!(size <= image.size(), "the image is smaller than the {size} bytes that it should keep");
    image.truncate(size)?;
    Ok(Exit::Held)
}

/// Where hash tree and error correction data end.
fn end_of_tree(tree: &HashtreeDescriptor) -> Option<u64> {
    let end = tree.tree_offset.checked_add(tree.tree_size)?;
    match tree.fec_offset {
        0 => Some(end),
        fec => Some(end.max(fec.checked_add(tree.fec_size)?)),
    }
}

/// What the tree, and the error correction data, start with once they are zeroed.
const ZEROED: [u8; 8] = *b"ZeRoHaSH";

/// `zero_hashtree`. Unlike avbtool's it copes with images of one block, which have no tree, and
/// with trees whose blocks are smaller than those of the file.
pub(super) fn zero_hashtree(args: &ImageOnly) -> Result<Exit> {
    let image = Image::open("--image", &args.image, Access::Edit)?;
    let parsed = Parsed::of(&image)?;
    parsed.need_footer()?;
    let tree = parsed.hashtree().context("No hashtree descriptor was found.")?;
    let areas = zeroed_areas(tree, &image)?;
    let Some(last) = areas.last() else { return Ok(Exit::Held) };
    ensure!(last.end <= image.size(), "the image ends before its hashtree does");
    match image.raw_file() {
        Some(file) => {
            for area in &areas {
                zero(area.clone(), |bytes, offset| Ok(file.write_all_at(bytes, offset)?))?;
            }
        }
        None => zero_sparse(&image, &areas)?,
    }
    Ok(Exit::Held)
}

/// The tree and the error correction data, without those that have no bytes.
fn zeroed_areas(tree: &HashtreeDescriptor, image: &Image) -> Result<Vec<Range<u64>>> {
    let overflows = || anyhow!("the hashtree descriptor overflows");
    let tree_end = tree.tree_offset.checked_add(tree.tree_size).ok_or_else(overflows)?;
    let mut areas = Vec::from([Range { start: tree.tree_offset, end: tree_end }]);
    if tree.fec_offset > 0 {
        let adjacent = tree_end.checked_next_multiple_of(image.block_size());
        ensure!(
            tree.fec_offset == tree_end || Some(tree.fec_offset) == adjacent,
            "Hash-tree and FEC data must be adjacent."
        );
        let end = tree.fec_offset.checked_add(tree.fec_size).ok_or_else(overflows)?;
        areas.push(tree.fec_offset..end);
    }
    areas.retain(|area| !area.is_empty());
    Ok(areas)
}

/// Writes the mark and zeros over an area.
fn zero(area: Range<u64>, mut write: impl FnMut(&[u8], u64) -> Result<()>) -> Result<()> {
    let zeros = vec![0; super::image::CHUNK_BYTES];
    let mark = area.end.min(area.start + ZEROED.len() as u64);
    let mut offset = mark;
    while offset < area.end {
        let count = (area.end - offset).min(zeros.len() as u64);
        write(&zeros[..usize::try_from(count)?], offset)?;
        offset += count;
    }
    // The mark comes last: it says that the zeros are there.
    write(&ZEROED[..usize::try_from(mark - area.start)?], area.start)
}

/// A sparse image is written anew: the chunks up to the tree stay, what follows it becomes data.
fn zero_sparse(image: &Image, areas: &[Range<u64>]) -> Result<()> {
    let path = std::fs::canonicalize(image.path())?;
    let permissions = std::fs::metadata(&path)?.permissions();
    let copy = tempfile::NamedTempFile::new_in(output::folder(&path))?;
    std::fs::copy(&path, copy.path())?;
    let mut edited = Image::of(&path, copy.reopen()?)?;
    let block = image.block_size();
    let (first, last) = (areas.first().context("an area")?, areas.last().context("an area")?);
    ensure!(first.start.is_multiple_of(block), "the hashtree does not start with a block");
    edited.truncate(first.start)?;
    for area in areas {
        let mut mark = vec![0; usize::try_from(block)?];
        mark[..ZEROED.len()].copy_from_slice(&ZEROED);
        edited.append(&mark)?;
        let size = (area.end - area.start).next_multiple_of(block) - block;
        // avbtool leaves an empty chunk behind a tree of one block. libsparse loses what follows
        // the chunk behind it, so only the last one may be empty.
        if size > 0 || area == last {
            edited.append_zeros(size)?;
        }
    }
    edited.append_from(image, last.end.next_multiple_of(block)..image.size())?;
    copy.as_file().set_permissions(permissions)?;
    copy.persist(&path)?;
    Ok(())
}

/// `resize_image`.
pub(super) fn resize(args: &ResizeImage) -> Result<Exit> {
    let mut image = Image::open("--image", &args.image, Access::Edit)?;
    footer::check_partition_size(&image, args.partition_size)?;
    let footer = Parsed::of(&image)?.need_footer()?;
    let block = image.block_size();
    let end = footer
        .vbmeta_offset
        .checked_add(footer.vbmeta_size)
        .and_then(|end| end.checked_next_multiple_of(block))
        .filter(|&end| end < image.size())
        .context("the footer points outside the image")?;
    let need = end + block;
    ensure!(
        args.partition_size >= need,
        "Requested size of {} is too small for an image of size {need}.",
        args.partition_size
    );
    image.truncate(end)?;
    image.append_hole(args.partition_size - need)?;
    footer::append_footer(&mut image, &footer)?;
    Ok(Exit::Held)
}

/// Where the A/B metadata of libavb_ab is in the misc partition.
const AB_METADATA_OFFSET: u64 = 2048;

/// `set_ab_metadata`.
pub(super) fn set_ab_metadata(args: &SetAbMetadata) -> Result<Exit> {
    let path = &args.misc_image;
    let misc = OpenOptions::new().read(true).write(true).open(path).map_err(|error| {
        let (shown, error) = (path.display(), python::os_error(&error, path));
        Misused(format!("error: argument --misc_image: can't open '{shown}': {error}"))
    })?;
    misc.write_all_at(&ab_metadata(&args.slot_data)?, AB_METADATA_OFFSET)?;
    Ok(Exit::Held)
}

/// Magic, version 1.0, priority, tries and success of both slots, CRC-32 (big-endian).
fn ab_metadata(slot_data: &str) -> Result<[u8; 32]> {
    let malformed = || anyhow!("Malformed slot data \"{slot_data}\".");
    let numbers: Option<Vec<i64>> = slot_data.split(':').map(python::decimal).collect();
    let numbers = numbers.ok_or_else(malformed)?;
    ensure!(numbers.len() == 6, malformed());
    let mut data = [0; 32];
    data[..6].copy_from_slice(b"\0AB0\x01\0");
    for (slot, at) in numbers.chunks_exact(3).zip([8, 12]) {
        data[at] = u8::try_from(slot[0]).map_err(|_| malformed())?;
        data[at + 1] = u8::try_from(slot[1]).map_err(|_| malformed())?;
        data[at + 2] = (slot[2] != 0).into();
    }
    let crc = crc32fast::hash(&data[..28]);
    data[28..].copy_from_slice(&crc.to_be_bytes());
    Ok(data)
}
