//! What dm-verity will find when the system reads: the whole tree and every block, on all cores.

use super::super::device::read_at;
use avb::HashtreeDescriptor;
use std::fs::File;
use std::ops::Range;
use verity::{Geometry, HashAlgorithm, Params, RootDigest, Tree};

/// Larger images are not read here.
const LARGEST_IMAGE: u64 = 1 << 38;

/// Reads `file` as dm-verity would. An error says what it will refuse.
pub(super) fn check(file: &File, descriptor: &HashtreeDescriptor) -> Result<(), String> {
    let say = |error: verity::Error| error.to_string();
    let size = file.metadata().map_err(|error| error.to_string())?.len();
    let end = descriptor.tree_offset.checked_add(descriptor.tree_size);
    if descriptor.image_size > size || end.is_none_or(|end| end > size) {
        return Err(format!("the file of {size} bytes is smaller than what was signed"));
    }
    if descriptor.image_size > LARGEST_IMAGE {
        return Err("the image is too large to be read here".into());
    }
    let name = String::from_utf8_lossy(descriptor.hash_algorithm.as_bytes()).into_owned();
    let algorithm = HashAlgorithm::from_name(&name)
        .ok_or_else(|| format!("the hash function {name:?} is not supported"))?;
    let (data_bs, hash_bs) = (descriptor.data_block_size, descriptor.hash_block_size);
    let params =
        Params::with_block_sizes(algorithm, &descriptor.salt, data_bs, hash_bs).map_err(say)?;
    let geometry = Geometry::new(&params, descriptor.image_size).map_err(say)?;
    let root = RootDigest::new(algorithm, &descriptor.root_digest).map_err(say)?;
    let tree = read(file, descriptor.tree_offset, geometry.tree_bytes())?;
    if descriptor.tree_size != tree.len() as u64 {
        return Err(format!("the tree has {} bytes; {} are due", descriptor.tree_size, tree.len()));
    }
    let tree = Tree::open(&params, descriptor.image_size, &tree, &root).map_err(say)?;
    on_all_cores(&geometry, |blocks| check_blocks(file, &params, &geometry, &tree, blocks))
}

fn on_all_cores(
    geometry: &Geometry,
    check: impl Fn(Range<u64>) -> Result<(), String> + Sync,
) -> Result<(), String> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        let check = &check;
        let parts: Vec<_> =
            geometry.split(cores).map(|blocks| scope.spawn(move || check(blocks))).collect();
        let ended = parts
            .into_iter()
            .map(|part| part.join().unwrap_or_else(|_| Err("the check ended early".into())));
        ended.collect()
    })
}

/// Blocks that are read at a time.
const PIECE_BLOCKS: u64 = 256;

fn check_blocks(
    file: &File,
    params: &Params,
    geometry: &Geometry,
    tree: &Tree<'_>,
    blocks: Range<u64>,
) -> Result<(), String> {
    let mut first = blocks.start;
    while first < blocks.end {
        let next = blocks.end.min(first.saturating_add(PIECE_BLOCKS));
        let bytes = geometry.byte_range(params, first..next);
        let size = usize::try_from(bytes.end - bytes.start).map_err(|error| error.to_string())?;
        let data = read(file, bytes.start, size)?;
        tree.verify_blocks(first, &data).map_err(|error| error.to_string())?;
        first = next;
    }
    Ok(())
}

fn read(file: &File, start: u64, size: usize) -> Result<Vec<u8>, String> {
    let mut buffer = vec![0; size];
    match read_at(file, start, &mut buffer) {
        Ok(read) if read == size => Ok(buffer),
        Ok(_) => Err("the file ends too early".into()),
        Err(error) => Err(error.to_string()),
    }
}
