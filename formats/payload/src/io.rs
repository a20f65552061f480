//! Partitions as the caller holds them: read and written at offsets, from any thread.

use crate::manifest::{BLOCK_BYTES, Extent};
use std::io::{self, ErrorKind, Write};

/// A partition or a payload that can be read anywhere.
pub trait ReadAt: Sync {
    /// Fills `buffer` from `offset` on; fewer bytes are an error.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
}

/// A partition that can be written anywhere.
pub trait WriteAt: Sync {
    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
}

impl ReadAt for [u8] {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let from = usize::try_from(offset).ok().and_then(|offset| self.get(offset..));
        let from = from.and_then(|from| from.get(..buffer.len()));
        buffer.copy_from_slice(from.ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

impl ReadAt for Vec<u8> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.as_slice().read_at(offset, buffer)
    }
}

/// Bytes in all of `extents`.
#[must_use]
pub fn bytes_in(extents: &[Extent]) -> u64 {
    extents.iter().map(|extent| extent.num_blocks * BLOCK_BYTES).sum()
}

/// Everything in `extents`, one after the other.
pub(crate) fn read_extents(source: &dyn ReadAt, extents: &[Extent]) -> io::Result<Vec<u8>> {
    let total = usize::try_from(bytes_in(extents)).map_err(|_| ErrorKind::OutOfMemory)?;
    let mut out = vec![0; total];
    let mut rest = &mut out[..];
    for extent in extents {
        let length = usize::try_from(bytes_in(&[*extent])).map_err(|_| ErrorKind::OutOfMemory)?;
        let (part, tail) = rest.split_at_mut(length);
        source.read_at(extent.start_block * BLOCK_BYTES, part)?;
        rest = tail;
    }
    Ok(out)
}

/// Bytes that are gathered before they are written.
const BUFFER: usize = 1 << 20;

/// Writes a stream into extents, one after the other. It takes exactly as many bytes as the
/// extents have: more are an error on the spot, fewer at [`ExtentWriter::finish`].
pub(crate) struct ExtentWriter<'a> {
    target: &'a dyn WriteAt,
    extents: &'a [Extent],
    /// Bytes of the first extent that are written already.
    written: u64,
    /// Bytes that the stream may still have.
    left: u64,
    buffer: Vec<u8>,
}

impl<'a> ExtentWriter<'a> {
    pub(crate) fn new(target: &'a dyn WriteAt, extents: &'a [Extent]) -> Self {
        Self { target, extents, written: 0, left: bytes_in(extents), buffer: Vec::new() }
    }

    /// Bytes that are still due.
    pub(crate) const fn left(&self) -> u64 {
        self.left
    }

    fn put(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let (extent, others) = self.extents.split_first().ok_or(ErrorKind::WriteZero)?;
            let room = extent.num_blocks * BLOCK_BYTES - self.written;
            let fits = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
            let (now, later) = bytes.split_at(fits);
            self.target.write_at(extent.start_block * BLOCK_BYTES + self.written, now)?;
            self.written += fits as u64;
            if fits as u64 == room {
                (self.extents, self.written) = (others, 0);
            }
            bytes = later;
        }
        Ok(())
    }

    /// Writes what is gathered; whether the extents are full.
    pub(crate) fn finish(mut self) -> io::Result<bool> {
        self.flush()?;
        Ok(self.left == 0)
    }
}

impl Write for ExtentWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = bytes.len() as u64;
        self.left = self.left.checked_sub(length).ok_or(ErrorKind::WriteZero)?;
        if self.buffer.is_empty() && bytes.len() >= BUFFER {
            self.put(bytes)?;
            return Ok(bytes.len());
        }
        self.buffer.extend(bytes);
        if self.buffer.len() >= BUFFER {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        self.put(&buffer)?;
        buffer.clear();
        self.buffer = buffer;
        Ok(())
    }
}
