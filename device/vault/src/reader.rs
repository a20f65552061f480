//! A file that is being read.

use crate::content::{self, BLOCK_BYTES, Holes, SEALED_BYTES};
use crate::error::VaultError;
use crate::header::{self, Attributes, HEADER_BYTES, NodeKind, Opened};
use crate::keys::{Id, Keys};
use snapshot::path::TreePath;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// How many blocks are read from the disk at once.
const BLOCKS_AT_ONCE: u64 = 16;

/// Reads one version of a file, whatever happens to its name meanwhile. Every byte that it gives
/// was checked.
pub struct FileReader {
    file: File,
    path: TreePath,
    opened: Opened,
    holes: Holes,
    sealed: Vec<u8>,
}

impl FileReader {
    pub(crate) fn open(file: File, keys: &Keys, path: TreePath) -> Result<Self, VaultError> {
        let mut bytes = [0; HEADER_BYTES];
        file.read_exact_at(&mut bytes, 0)
            .map_err(|error| unreadable(error, &path, "the header"))?;
        let opened =
            header::open(keys, &bytes).ok_or_else(|| VaultError::altered(&path, "the header"))?;
        let mut reader = Self { file, path, opened, holes: Holes::default(), sealed: Vec::new() };
        reader.read_holes()?;
        Ok(reader)
    }

    fn read_holes(&mut self) -> Result<(), VaultError> {
        let header = &self.opened.header;
        let end = content::end_offset(header.size);
        let length =
            self.file.metadata().map_err(|error| unreadable(error, &self.path, "the file"))?.len();
        if header.kind != NodeKind::Directory && length != end + u64::from(header.hole_map_bytes) {
            return Err(VaultError::altered(&self.path, "the length"));
        }
        if header.hole_map_bytes > 0 {
            let mut sealed = vec![0; header.hole_map_bytes as usize];
            self.file
                .read_exact_at(&mut sealed, end)
                .map_err(|error| unreadable(error, &self.path, "the map of holes"))?;
            self.holes = Holes::open(&self.opened.key, &sealed)
                .ok_or_else(|| VaultError::altered(&self.path, "the map of holes"))?;
        }
        Ok(())
    }

    pub(crate) const fn kind(&self) -> NodeKind {
        self.opened.header.kind
    }

    pub(crate) const fn binding(&self) -> Option<[u8; 32]> {
        self.opened.header.binding
    }

    /// Bytes of the content.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.opened.header.size
    }

    /// Mode, time, owner.
    #[must_use]
    pub const fn attributes(&self) -> Attributes {
        self.opened.header.attributes
    }

    /// The stretches of the content that are not holes, in bytes.
    #[must_use]
    pub fn data_stretches(&self) -> Vec<Range<u64>> {
        let bytes = |block: u64| (block * BLOCK_BYTES as u64).min(self.size());
        let (mut stretches, mut at) = (Vec::new(), 0);
        for hole in self.holes.stretches() {
            if at < bytes(hole.start) {
                stretches.push(at..bytes(hole.start));
            }
            at = bytes(hole.end);
        }
        if at < self.size() {
            stretches.push(at..self.size());
        }
        stretches
    }

    /// Names this version of the content: see [`crate::Metadata::version`].
    #[must_use]
    pub const fn version(&self) -> Id {
        self.opened.version
    }

    /// Where the hole ends that byte `at` of the content lies in, if it lies in one. At most the
    /// size.
    #[must_use]
    pub fn hole_end(&self, at: u64) -> Option<u64> {
        let hole = self.holes.around(at / BLOCK_BYTES as u64)?;
        Some(hole.end.saturating_mul(BLOCK_BYTES as u64).min(self.size()))
    }

    /// Appends up to `length` bytes from `from` on to `out`; fewer at the end of the file.
    pub fn read_range(
        &mut self,
        from: u64,
        length: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), VaultError> {
        let end = from.saturating_add(length as u64).min(self.size());
        if self.size() == 0 {
            // Nobody may turn a file into an empty one unseen: its one block is checked too.
            return self.blocks(0..1, 0..0, out);
        }
        let block = BLOCK_BYTES as u64;
        let mut at = from.min(end);
        while at < end {
            let first = at / block;
            let last = (end.div_ceil(block)).min(first + BLOCKS_AT_ONCE);
            let upto = end.min(last * block);
            self.blocks(first..last, at..upto, out)?;
            at = upto;
        }
        Ok(())
    }

    /// Appends the bytes `wanted` of the content, which lie in `blocks`.
    fn blocks(
        &mut self,
        blocks: Range<u64>,
        wanted: Range<u64>,
        out: &mut Vec<u8>,
    ) -> Result<(), VaultError> {
        let mut index = blocks.start;
        while index < blocks.end {
            if let Some(hole) = self.holes.around(index) {
                let end = hole.end.min(blocks.end);
                let zeros = cut(&wanted, index, end);
                out.resize(out.len() + (zeros.end - zeros.start) as usize, 0);
                index = end;
                continue;
            }
            let end = self.holes.next_from(index).map_or(blocks.end, |hole| hole.min(blocks.end));
            self.stored(index..end, &wanted, out)?;
            index = end;
        }
        Ok(())
    }

    fn stored(
        &mut self,
        blocks: Range<u64>,
        wanted: &Range<u64>,
        out: &mut Vec<u8>,
    ) -> Result<(), VaultError> {
        let size = self.size();
        let sealed_len = |index| content::plain_len(size, index) + SEALED_BYTES - BLOCK_BYTES;
        let total: usize = blocks.clone().map(sealed_len).sum();
        self.sealed.resize(total, 0);
        self.file
            .read_exact_at(&mut self.sealed, content::offset(blocks.start))
            .map_err(|error| unreadable(error, &self.path, "the content"))?;
        let last = content::block_count(size) - 1;
        let mut rest = &mut self.sealed[..];
        for index in blocks {
            let (sealed, after) = rest.split_at_mut(sealed_len(index));
            let plain = content::open_block(&self.opened.key, index, index == last, sealed)
                .ok_or_else(|| VaultError::altered(&self.path, "the content"))?;
            let part = cut(wanted, index, index + 1);
            let start = index * BLOCK_BYTES as u64;
            out.extend_from_slice(
                &plain[(part.start - start) as usize..(part.end - start) as usize],
            );
            rest = after;
        }
        Ok(())
    }
}

/// The part of `wanted` (bytes) that lies in the blocks from `first` up to `end`.
fn cut(wanted: &Range<u64>, first: u64, end: u64) -> Range<u64> {
    let block = BLOCK_BYTES as u64;
    let start = wanted.start.max(first * block);
    start..wanted.end.min(end * block).max(start)
}

fn unreadable(error: io::Error, path: &TreePath, what: &'static str) -> VaultError {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return VaultError::altered(path, what);
    }
    VaultError::Io { path: path.clone(), source: error }
}
