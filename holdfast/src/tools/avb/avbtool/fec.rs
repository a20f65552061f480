//! Forward error correction over an image and its tree, on all cores.

use super::tree::Data;
use anyhow::{Result, ensure};
use std::ops::Range;
use std::sync::Mutex;
use std::thread;
use verity::{FecEncoder, FecLayout};

/// AVB's error correction always works on these blocks, whatever those of the tree.
const BLOCK_BYTES: u32 = 4096;

/// Codewords that are encoded at a time: bytes that are read in one place.
const CODEWORDS: u64 = 256 << 10;

/// What avbtool leaves room for: the parity of `size` bytes, and a block for the header of
/// AOSP's `fec`, which AVB does not store.
pub(super) fn reserved_bytes(size: u64, roots: u32) -> Result<u64> {
    let blocks = size.div_ceil(BLOCK_BYTES.into());
    Ok(FecLayout::new(BLOCK_BYTES, blocks, roots)?.parity_bytes() + u64::from(BLOCK_BYTES))
}

/// What is covered: the data, and the tree behind it at `tree_offset`.
#[derive(Clone, Copy)]
pub(super) struct Covered<'a> {
    pub(super) data: Data<'a>,
    pub(super) tree_offset: u64,
    pub(super) tree: &'a [u8],
}

impl Covered<'_> {
    fn read(&self, bytes: Range<u64>, buffer: &mut Vec<u8>) -> Result<()> {
        buffer.resize(usize::try_from(bytes.end - bytes.start)?, 0);
        let data = self.tree_offset.saturating_sub(bytes.start).min(buffer.len() as u64);
        let (data, tree) = buffer.split_at_mut(usize::try_from(data)?);
        self.data.read(bytes.start, data)?;
        let start = usize::try_from(bytes.start.saturating_sub(self.tree_offset))?;
        let rest = self.tree.get(start..).unwrap_or_default();
        let have = rest.len().min(tree.len());
        tree[..have].copy_from_slice(&rest[..have]);
        tree[have..].fill(0);
        Ok(())
    }
}

/// The parity of all that lies before `end`.
pub(super) fn encode(covered: Covered<'_>, end: u64, roots: u32) -> Result<Vec<u8>> {
    let block = u64::from(BLOCK_BYTES);
    ensure!(end.is_multiple_of(block), "error correction works on blocks of {block} bytes");
    let layout = FecLayout::new(BLOCK_BYTES, end / block, roots)?;
    let mut parity = vec![0; usize::try_from(layout.parity_bytes())?];
    let step = usize::try_from(CODEWORDS)? * layout.roots();
    let work = Mutex::new(layout.split(CODEWORDS).zip(parity.chunks_mut(step)));
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..cores)
            .map(|_| {
                scope.spawn(|| {
                    loop {
                        let next = work.lock().expect("no worker panics").next();
                        let Some((codewords, parity)) = next else { return Ok(()) };
                        encode_range(&covered, &layout, codewords, parity)?;
                    }
                })
            })
            .collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("no worker panics"))
    })
    .map(|()| parity)
}

fn encode_range(
    covered: &Covered<'_>,
    layout: &FecLayout,
    codewords: Range<u64>,
    parity: &mut [u8],
) -> Result<()> {
    let mut encoder = FecEncoder::new(layout, usize::try_from(codewords.end - codewords.start)?);
    let mut row = Vec::new();
    for at in 0..layout.rows() {
        covered.read(layout.row_bytes(at, codewords.clone()), &mut row)?;
        encoder.row(&row);
    }
    encoder.finish(layout, parity);
    Ok(())
}
