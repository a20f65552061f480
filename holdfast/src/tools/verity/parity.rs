//! Parity over files, on all cores.

use super::cores::on_all_cores;
use super::setup::{Fec, Setup};
use anyhow::Result;
use std::sync::atomic::{AtomicU64, Ordering};
use verity::{FecEncoder, FecLayout};

/// Bytes of parity that a core makes in one go: they stay in its cache.
const STATE_BYTES: u64 = 256 * 1024;

/// What is done with parity that was made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Write,
    Compare,
    /// Writes where it differs.
    Mend,
}

/// Makes the parity.
pub(crate) fn build(setup: &Setup, fec: &Fec) -> Result<FecLayout> {
    let layout = setup.fec_layout(fec)?;
    // Parity covers what lies between tree and parity too.
    fec.area.grow(fec.area.start())?;
    make(setup, fec, &layout, Purpose::Write)?;
    fec.area.sync()?;
    Ok(layout)
}

/// Compares the parity with what it should be. Gives how many bytes differ.
pub(crate) fn check(setup: &Setup, fec: &Fec) -> Result<u64> {
    make(setup, fec, &setup.fec_layout_of_file(fec)?, Purpose::Compare)
}

/// As [`check`], and puts the differing bytes right.
pub(crate) fn mend(setup: &Setup, fec: &Fec) -> Result<u64> {
    let differ = make(setup, fec, &setup.fec_layout_of_file(fec)?, Purpose::Mend)?;
    fec.area.sync()?;
    Ok(differ)
}

fn make(setup: &Setup, fec: &Fec, layout: &FecLayout, purpose: Purpose) -> Result<u64> {
    let step = (STATE_BYTES / layout.roots() as u64).next_multiple_of(4096);
    let step = step.min(layout.codewords());
    let parts = layout.codewords().div_ceil(step);
    let differ = AtomicU64::new(0);
    on_all_cores(parts, || {
        let (mut row, mut parity, mut have) = (Vec::new(), Vec::new(), Vec::new());
        let differ = &differ;
        move |part| {
            let codewords = part * step..((part + 1) * step).min(layout.codewords());
            let width = usize::try_from(codewords.end - codewords.start)?;
            let mut encoder = FecEncoder::new(layout, width);
            for number in 0..layout.rows() {
                let bytes = layout.row_bytes(number, codewords.clone());
                row.resize(usize::try_from(bytes.end - bytes.start)?, 0);
                read_covered(setup, bytes.start, &mut row)?;
                encoder.row(&row);
            }
            parity.resize(width * layout.roots(), 0);
            encoder.finish(layout, &mut parity);
            let at = layout.parity_range(&codewords).start;
            if purpose == Purpose::Write {
                return fec.area.write(at, &parity);
            }
            have.resize(parity.len(), 0);
            fec.area.read(at, &mut have)?;
            let wrong = parity.iter().zip(&have).filter(|(due, have)| due != have).count() as u64;
            differ.fetch_add(wrong, Ordering::Relaxed);
            if wrong > 0 && purpose == Purpose::Mend { fec.area.write(at, &parity) } else { Ok(()) }
        }
    })?;
    Ok(differ.into_inner())
}

/// Reads covered bytes: those of the image, then those of the tree.
pub(crate) fn read_covered(setup: &Setup, at: u64, out: &mut [u8]) -> Result<()> {
    let data_bytes = setup.geometry.data_bytes();
    let of_data = usize::try_from(data_bytes.saturating_sub(at).min(out.len() as u64))?;
    let (data, tree) = out.split_at_mut(of_data);
    if !data.is_empty() {
        setup.data.read(at, data)?;
    }
    if !tree.is_empty() {
        setup.hash.read((at + of_data as u64) - data_bytes, tree)?;
    }
    Ok(())
}
