//! Where a partition lies in a flash image.

use anyhow::{Context, Result};
use bootimg::gpt::{Gpt, HEAD_BYTES, TAIL_BYTES};
use bootimg::misc::SlotMetadata;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// The partition that the next boot uses for `name`: its full name, first byte and length.
pub(crate) fn partition(flash: &File, name: &str) -> Result<(String, u64, u64)> {
    let gpt = read(flash)?;
    let slotted = format!("{name}{}", next_slot(flash, &gpt)?);
    let partition = gpt
        .partition(&slotted)
        .or_else(|| gpt.partition(name))
        .with_context(|| format!("the flash image has no partition {name}"))?;
    Ok((partition.name.clone(), partition.offset_bytes(), partition.size_bytes()))
}

/// The suffix of the slot that the ROM tries next.
fn next_slot(flash: &File, gpt: &Gpt) -> Result<&'static str> {
    let misc = gpt.partition("misc").context("the flash image has no partition misc")?;
    let mut bytes = vec![0; usize::try_from(misc.size_bytes())?];
    flash.read_exact_at(&mut bytes, misc.offset_bytes())?;
    let slot = SlotMetadata::parse_partition(&bytes)?.choose().context("no slot is bootable")?;
    Ok(slot.suffix())
}

/// The partition table.
pub(crate) fn read(flash: &File) -> Result<Gpt> {
    let length = flash.metadata()?.len();
    let mut head = vec![0; HEAD_BYTES];
    let mut tail = vec![0; TAIL_BYTES];
    flash.read_exact_at(&mut head, 0)?;
    flash.read_exact_at(&mut tail, length.saturating_sub(TAIL_BYTES as u64))?;
    Ok(Gpt::parse(&head, &tail, length)?.gpt)
}

/// Partitions that a slot has.
pub(crate) const SLOTTED: [&str; 7] = ["bl1", "tee", "bl2", "boot", "vbmeta", "system", "baseband"];

/// Copies the partitions of one flash image's next slot into those of another's.
pub(crate) fn transplant(from: &File, to: &File, names: &[&str]) -> Result<()> {
    let mut buffer = vec![0; 1 << 20];
    for name in names {
        let (_, source, length) = partition(from, name)?;
        let (_, target, space) = partition(to, name)?;
        anyhow::ensure!(length == space, "{name} has another size there");
        let mut at = 0;
        while at < length {
            let piece = buffer.len().min(usize::try_from(length - at).unwrap_or(buffer.len()));
            from.read_exact_at(&mut buffer[..piece], source + at)?;
            to.write_all_at(&buffer[..piece], target + at)?;
            at += piece as u64;
        }
    }
    Ok(())
}
