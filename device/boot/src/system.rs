//! The system's partition: read and verified as a whole, on all cores, before anything of it is
//! used; then unpacked.

use crate::verity_table::VerityTable;
use board::flash::Flash;
use board::verdict::Refusal;
use bootimg::cpio::{Archive, Content};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::num::NonZero;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink};
use std::path::Path;
use verity::{BLOCK_BYTES, Tree};

/// Bytes that a core reads and hashes in one go: they stay in its cache.
const CHUNK_BYTES: usize = 256 * 1024;
const CHUNK_BLOCKS: u64 = CHUNK_BYTES as u64 / BLOCK_BYTES as u64;
/// The largest system that is loaded.
const MAX_BYTES: u64 = 1024 * 1024 * 1024;

/// Reads the data that `table` protects. Every byte of the partition counts: what is neither
/// data nor tree must be zero.
pub fn read_verified(flash: &Flash, table: &VerityTable) -> Result<Vec<u8>, Refusal> {
    let malformed = |what: &str| Refusal::new("ERROR_INVALID_METADATA", what);
    let partition = flash
        .partition_by_guid(table.partition)
        .ok_or_else(|| malformed("the flash has no partition with the GUID of the system"))?;
    let behind = partition.size_bytes().checked_sub(table.data_bytes);
    let behind = behind.filter(|_| table.data_bytes <= MAX_BYTES).and_then(|b| b.try_into().ok());
    let behind: usize = behind.ok_or_else(|| malformed("the system has an impossible size"))?;
    let mut rest = vec![0; behind];
    flash.read_at(&partition.name, table.data_bytes, &mut rest)?;
    let geometry = verity::Geometry::new(&table.params, table.data_bytes).map_err(corrupt)?;
    let (tree, zeros) = rest
        .split_at_checked(geometry.tree_bytes())
        .ok_or_else(|| malformed("the system's hash tree does not fit its partition"))?;
    if zeros.iter().any(|byte| *byte != 0) {
        return Err(malformed("there are stray bytes behind the system's hash tree"));
    }
    let tree = Tree::open(&table.params, table.data_bytes, tree, &table.root).map_err(corrupt)?;
    read_on_all_cores(flash, &partition.name, &tree)
}

fn corrupt(error: verity::Error) -> Refusal {
    Refusal::new("ERROR_VERIFICATION", format!("the system is not what was signed: {error}"))
}

fn read_on_all_cores(flash: &Flash, name: &str, tree: &Tree<'_>) -> Result<Vec<u8>, Refusal> {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let geometry = tree.geometry();
    let mut data = vec![0; usize::try_from(geometry.data_bytes()).unwrap_or_default()];
    let mut rest = data.as_mut_slice();
    std::thread::scope(|scope| {
        let mut workers = Vec::with_capacity(cores);
        for range in geometry.split(cores) {
            let bytes = (range.end - range.start) * u64::from(BLOCK_BYTES);
            let (part, behind) =
                std::mem::take(&mut rest).split_at_mut(usize::try_from(bytes).unwrap_or_default());
            rest = behind;
            workers.push(scope.spawn(move || read_range(flash, name, tree, range.start, part)));
        }
        let panicked = |_| Err(Refusal::policy("a core stopped while it verified the system"));
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(panicked))
    })?;
    Ok(data)
}

fn read_range(
    flash: &Flash,
    name: &str,
    tree: &Tree<'_>,
    first: u64,
    out: &mut [u8],
) -> Result<(), Refusal> {
    let starts = (first..).step_by(usize::try_from(CHUNK_BLOCKS).unwrap_or(usize::MAX));
    for (block, chunk) in starts.zip(out.chunks_mut(CHUNK_BYTES)) {
        flash.read_at(name, block * u64::from(BLOCK_BYTES), chunk)?;
        tree.verify_blocks(block, chunk).map_err(corrupt)?;
    }
    Ok(())
}

/// Unpacks all of `archive` but the file `except` into the empty folder `root`.
pub fn unpack(archive: &Archive<'_>, root: &Path, except: &str) -> io::Result<()> {
    for entry in archive.entries().iter().filter(|entry| entry.path != except) {
        let path = root.join(entry.path);
        match entry.content {
            Content::Directory => DirBuilder::new().mode(entry.mode).create(&path)?,
            Content::Symlink(target) => symlink(target, &path)?,
            Content::File(bytes) => OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(entry.mode)
                .open(&path)?
                .write_all(bytes)?,
        }
    }
    Ok(())
}

/// Makes `root` an empty folder.
pub fn make_empty(root: &Path) -> io::Result<()> {
    match fs::remove_dir_all(root) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    DirBuilder::new().mode(0o700).create(root)
}
