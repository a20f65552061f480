//! A file that is being written.

use crate::area::{Area, Directory};
use crate::content::{self, BLOCK_BYTES, Holes};
use crate::error::VaultError;
use crate::header::{self, Attributes, HEADER_BYTES, Header, NodeKind};
use crate::keys::Id;
use crypto::aead::Key;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use snapshot::path::TreePath;
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// How much is sealed and written at once: a whole number of blocks.
pub(crate) const CHUNK_BYTES: usize = 1 << 20;

/// A file under a temporary name; gone when it is dropped before [`NewNode::finish`].
pub(crate) struct NewNode {
    area: Area,
    file: File,
    directory: Arc<Directory>,
    temporary: String,
    path: TreePath,
    kind: NodeKind,
    version: Id,
    key: Key,
    holes: Mutex<Vec<Range<u64>>>,
    size: u64,
    placed: AtomicBool,
}

impl NewNode {
    /// An empty file that will lie in `directory`; `path` is for messages.
    pub(crate) fn create(
        area: &Area,
        path: &TreePath,
        directory: &Arc<Directory>,
        kind: NodeKind,
    ) -> Result<Self, VaultError> {
        let temporary = area.temporary_name(path)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&directory.fd, &temporary, flags, Mode::from(0o600))
            .map_err(|error| area.write_error(path, HEADER_BYTES as u64, error))?;
        let version = crypto::random_array();
        Ok(Self {
            area: area.clone(),
            file: file.into(),
            directory: Arc::clone(directory),
            temporary,
            path: path.clone(),
            kind,
            key: area.0.keys.file(&version),
            version,
            holes: Mutex::default(),
            size: 0,
            placed: AtomicBool::new(false),
        })
    }

    /// Says how long the content will be; for writers that call [`NewNode::write_chunk`].
    pub(crate) const fn announce(&mut self, size: u64) {
        self.size = size;
    }

    /// Takes the whole content from `from`.
    pub(crate) fn write_stream(&mut self, from: &mut impl Read) -> Result<(), VaultError> {
        let (mut sealed, mut first) = (Vec::new(), 0);
        let mut chunk = self.read_chunk(from)?;
        loop {
            let next = if chunk.len() < CHUNK_BYTES { Vec::new() } else { self.read_chunk(from)? };
            self.size += chunk.len() as u64;
            self.write_chunk(first, next.is_empty(), &chunk, &mut sealed)?;
            if next.is_empty() {
                return Ok(());
            }
            first += (CHUNK_BYTES / BLOCK_BYTES) as u64;
            chunk = next;
        }
    }

    fn read_chunk(&self, from: &mut impl Read) -> Result<Vec<u8>, VaultError> {
        let mut chunk = Vec::new();
        from.take(CHUNK_BYTES as u64)
            .read_to_end(&mut chunk)
            .map_err(|source| VaultError::Io { path: self.path.clone(), source })?;
        Ok(chunk)
    }

    /// Seals and writes blocks from `first` on. `ends` where the file ends with them. Chunks may
    /// come in any order and from several threads; all but the last are whole blocks.
    pub(crate) fn write_chunk(
        &self,
        first: u64,
        ends: bool,
        plain: &[u8],
        sealed: &mut Vec<u8>,
    ) -> Result<(), VaultError> {
        sealed.clear();
        // An empty file has one empty block.
        let blocks: Vec<&[u8]> =
            if plain.is_empty() { vec![plain] } else { plain.chunks(BLOCK_BYTES).collect() };
        let (mut run, count) = (first, blocks.len());
        for (index, block) in (first..).zip(blocks) {
            if content::is_hole(block) {
                self.flush(run, sealed)?;
                self.hole(index..index + 1);
                run = index + 1;
            } else {
                let last = ends && index + 1 == first + count as u64;
                content::seal_block(&self.key, index, last, block, sealed);
            }
        }
        self.flush(run, sealed)
    }

    /// Notes whole blocks of zeros; nothing is written.
    pub(crate) fn hole(&self, blocks: Range<u64>) {
        self.holes.lock().unwrap_or_else(PoisonError::into_inner).push(blocks);
    }

    fn flush(&self, first: u64, sealed: &mut Vec<u8>) -> Result<(), VaultError> {
        self.write_at(sealed, content::offset(first))?;
        sealed.clear();
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), VaultError> {
        self.file.write_all_at(bytes, offset).map_err(|error| {
            let needed = content::end_offset(self.size.max(offset));
            match Errno::from_io_error(&error) {
                Some(errno) => self.area.write_error(&self.path, needed, errno),
                None => VaultError::Io { path: self.path.clone(), source: error },
            }
        })
    }

    /// Puts the file in its place: the name in the directory is the old file or this one.
    pub(crate) fn finish(&self, attributes: Attributes, name: &[u8]) -> Result<(), VaultError> {
        let directory = &self.directory;
        let holes = std::mem::take(&mut *self.holes.lock().unwrap_or_else(PoisonError::into_inner));
        let holes = Holes::new(holes).seal(&self.key);
        if !holes.is_empty() {
            self.write_at(&holes, content::end_offset(self.size))?;
        }
        let keys = &self.area.0.keys;
        let header = Header {
            kind: self.kind,
            attributes,
            size: self.size,
            hole_map_bytes: holes.len() as u32,
            binding: Some(keys.binding(&directory.id, name)),
        };
        self.write_at(&header::seal(&self.version, &self.key, &header), 0)?;
        let disk = keys.disk_name(&directory.id, name);
        self.area.write_beside(directory, disk.beside, &self.path)?;
        rustix::fs::renameat(&directory.fd, &self.temporary, &directory.fd, &disk.name)
            .map_err(|error| VaultError::system(&self.path, error))?;
        self.placed.store(true, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for NewNode {
    fn drop(&mut self) {
        if !*self.placed.get_mut() {
            let _ = rustix::fs::unlinkat(&self.directory.fd, &self.temporary, AtFlags::empty());
        }
    }
}
