//! Forward error correction for the system: what is worn on the flash is repaired when it is read.

use crate::flash::FlashError;
use avb::HashtreeDescriptor;
use std::num::NonZero;
use std::thread;
use verity::{BLOCK_BYTES, FecLayout, encode_fec};

/// Bytes of parity in a codeword of 255: two damaged blocks in each are repaired.
const ROOTS: u32 = 2;

/// Makes parity over `covered`, data and tree, on all cores; it goes right behind them. Notes in
/// `tree` where it is.
pub(crate) fn add(tree: &mut HashtreeDescriptor, covered: &[u8]) -> Result<Vec<u8>, FlashError> {
    let failed = |error: verity::Error| FlashError::Image("system", error.to_string());
    let blocks = covered.len() as u64 / u64::from(BLOCK_BYTES);
    let layout = FecLayout::new(BLOCK_BYTES, blocks, ROOTS).map_err(failed)?;
    let cores = thread::available_parallelism().map_or(1, NonZero::get) as u64;
    let step = layout.codewords().div_ceil(cores);
    let parts: Vec<_> = thread::scope(|scope| {
        let layout = &layout;
        let encode = |range| scope.spawn(move || encode_fec(layout, covered, range));
        let workers: Vec<_> = layout.split(step).map(encode).collect();
        workers.into_iter().map(|it| it.join().expect("encoding does not panic")).collect()
    });
    let parity = parts.into_iter().collect::<Result<Vec<_>, _>>().map_err(failed)?.concat();
    tree.fec_num_roots = ROOTS;
    tree.fec_offset = covered.len() as u64;
    tree.fec_size = parity.len() as u64;
    Ok(parity)
}
