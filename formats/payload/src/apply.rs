//! Applying operations. Each one stands alone: a checked manifest writes no block twice and reads
//! the old partition only, so a caller may run them in any order and on all of its cores, and run
//! one again that was interrupted.

use crate::bsdiff;
use crate::compress::{Compression, Decoder};
use crate::error::ApplyError;
use crate::io::{ExtentWriter, ReadAt, WriteAt, read_extents};
use crate::manifest::{BLOCK_BYTES, Operation, OperationKind};
use std::io::{ErrorKind, Read, Write};

/// Bytes that are worked on at once.
const PIECE: usize = 1 << 20;

/// Applies `operation` of a payload that [`crate::Payload::open`] took.
///
/// `blob` is the operation's; its hash, and the hash of what is read of `source`, are checked
/// before the first byte is written. What is written is exactly what the operation's extents have.
/// Memory: the blob, what is read of `source`, and the decoders' windows.
pub fn apply(
    operation: &Operation,
    blob: &[u8],
    source: Option<&dyn ReadAt>,
    target: &dyn WriteAt,
) -> Result<(), ApplyError> {
    if operation.kind.has_blob() && operation.data_sha256_hash.as_deref() != Some(&sha256(blob)) {
        return Err(ApplyError::BlobHash);
    }
    let mut out = ExtentWriter::new(target, &operation.dst_extents);
    match operation.kind {
        OperationKind::Replace => decode(blob, Compression::None, &mut out)?,
        OperationKind::ReplaceBz => decode(blob, Compression::Bzip2, &mut out)?,
        OperationKind::ReplaceXz => decode(blob, Compression::Xz(6), &mut out)?,
        OperationKind::ReplaceZstd => decode(blob, Compression::Zstd(0), &mut out)?,
        OperationKind::Zero | OperationKind::Discard => return zero(operation, target),
        OperationKind::SourceCopy => out.write_all(&read_source(operation, source)?)?,
        OperationKind::SourceBsdiff | OperationKind::BrotliBsdiff => {
            let old = read_source(operation, source)?;
            let size = out.left();
            bsdiff::patch(&old, blob, size, &mut out)?;
        }
        other => return Err(ApplyError::Unsupported(other.name())),
    }
    if out.finish()? { Ok(()) } else { Err(ApplyError::OutputLength) }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    crypto::digest::sha256(bytes)
}

/// What the operation reads of the old partition, as the manifest names it.
fn read_source(operation: &Operation, source: Option<&dyn ReadAt>) -> Result<Vec<u8>, ApplyError> {
    let source = source.ok_or(ApplyError::NoSource)?;
    let old = read_extents(source, &operation.src_extents)?;
    match operation.src_sha256_hash.as_deref() {
        Some(hash) if hash != sha256(&old) => Err(ApplyError::SourceHash),
        _ => Ok(old),
    }
}

fn decode(
    blob: &[u8],
    compression: Compression,
    out: &mut ExtentWriter<'_>,
) -> Result<(), ApplyError> {
    let malformed = |error: std::io::Error| ApplyError::Malformed(error.to_string());
    let mut decoder = Decoder::new(blob, compression).map_err(malformed)?;
    let size = usize::try_from(out.left()).unwrap_or(PIECE).min(PIECE);
    let mut piece = vec![0; size];
    while out.left() > 0 {
        let due = usize::try_from(out.left()).unwrap_or(size).min(size);
        match decoder.read(&mut piece[..due]) {
            Ok(0) => return Err(ApplyError::OutputLength),
            Ok(read) => out.write_all(&piece[..read])?,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(malformed(error)),
        }
    }
    // One byte more than is due: a bomb, or a manifest of something else.
    match decoder.read(&mut [0]) {
        Ok(0) => {}
        Ok(_) => return Err(ApplyError::OutputLength),
        Err(error) => return Err(malformed(error)),
    }
    if decoder.finish().map_err(malformed)? {
        Ok(())
    } else {
        Err(ApplyError::Malformed("bytes behind the compressed data".to_owned()))
    }
}

/// Zeros. Discarded blocks become zeros too: what stood there goes to nobody.
fn zero(operation: &Operation, target: &dyn WriteAt) -> Result<(), ApplyError> {
    let zeros = vec![0; PIECE];
    for extent in &operation.dst_extents {
        let start = extent.start_block * BLOCK_BYTES;
        let end = start + extent.num_blocks * BLOCK_BYTES;
        let mut at = start;
        while at < end {
            let now = (end - at).min(PIECE as u64);
            target.write_at(at, &zeros[..usize::try_from(now).unwrap_or(PIECE)])?;
            at += now;
        }
    }
    Ok(())
}
