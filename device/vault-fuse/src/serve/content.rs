//! Content: opening, reading, writing, space.

use super::node::Node;
use super::{FileSystem, field};
use crate::error::Error;
use crate::file::{Scratch, Seek};
use crate::wire::{Fields, MAX_CONTENT_BYTES, Reply};
use rustix::fs::{FallocateFlags, OFlags};
use rustix::io::Errno;

/// What the kernel has of a file stays when it is opened again: nobody else changes it.
pub(super) const KEEP_CACHE: u32 = 1 << 1;
/// A write takes privileges away (`FUSE_WRITE_KILL_SUIDGID`).
const KILLS_PRIVILEGES: u32 = 1 << 2;
/// Bytes of `fuse_write_in`.
const WRITE_IN_BYTES: usize = 40;
const DATA_ONLY: u32 = 1;
const SEEK_DATA: u32 = 3;
const SEEK_HOLE: u32 = 4;

impl FileSystem {
    pub(super) fn open(
        &self,
        node: &Node,
        fields: Fields<'_>,
        reply: &mut Reply,
    ) -> Result<(), Error> {
        let flags = OFlags::from_bits_retain(field(fields.u32(0))?);
        let writes = flags.intersects(OFlags::WRONLY | OFlags::RDWR);
        // Counted first, so that nobody closes it in between.
        node.opened();
        let opened = match writes {
            true => node.file_to_write(&self.tree, &self.table),
            false => node.file(&self.tree, &self.table),
        };
        if let Err(error) = opened {
            node.closed();
            return Err(error);
        }
        reply.opened(0, KEEP_CACHE);
        Ok(())
    }

    pub(super) fn release(&self, node: &Node) -> Result<(), Error> {
        match node.open_file() {
            Some(file) if node.closed() => file.rest(),
            _ => Ok(()),
        }
    }

    pub(super) fn read(
        &self,
        node: &Node,
        fields: Fields<'_>,
        reply: &mut Reply,
        scratch: &mut Scratch,
    ) -> Result<(), Error> {
        let (offset, size) = (field(fields.u64(8))?, field(fields.u32(16))?);
        let file = node.file(&self.tree, &self.table)?;
        let size = (size as usize).min(MAX_CONTENT_BYTES);
        let length = file.read(offset, reply.space(size), scratch)?;
        reply.truncate(length);
        Ok(())
    }

    pub(super) fn write(
        &self,
        node: &Node,
        body: &mut [u8],
        reply: &mut Reply,
        scratch: &mut Scratch,
    ) -> Result<(), Error> {
        let fields = Fields(body);
        let (offset, size) = (field(fields.u64(8))?, field(fields.u32(16))?);
        let flags = field(fields.u32(20))?;
        let data = field(body.get_mut(WRITE_IN_BYTES..))?;
        let data = field(data.get_mut(..size as usize))?;
        let file = node.file_to_write(&self.tree, &self.table)?;
        file.write(offset, data, scratch)?;
        if flags & KILLS_PRIVILEGES != 0 {
            self.drop_privileges(node)?;
        }
        reply.u32(size);
        reply.u32(0);
        Ok(())
    }

    pub(super) fn sync(&self, node: &Node, fields: Fields<'_>) -> Result<(), Error> {
        let flags = field(fields.u32(8))?;
        node.file(&self.tree, &self.table)?.sync(flags & DATA_ONLY != 0)
    }

    pub(super) fn allocate(
        &self,
        node: &Node,
        fields: Fields<'_>,
        scratch: &mut Scratch,
    ) -> Result<(), Error> {
        let (offset, length) = (field(fields.u64(8))?, field(fields.u64(16))?);
        let mode = FallocateFlags::from_bits_retain(field(fields.u32(24))?);
        let file = node.file_to_write(&self.tree, &self.table)?;
        let keeps = mode.contains(FallocateFlags::KEEP_SIZE);
        let end = offset.saturating_add(length);
        match mode - FallocateFlags::KEEP_SIZE {
            FallocateFlags::PUNCH_HOLE if keeps => file.zero(offset, length, false, scratch),
            FallocateFlags::ZERO_RANGE => file.zero(offset, length, !keeps, scratch),
            // Space behind the end would look as if something had been appended.
            plain if plain.is_empty() && !(keeps && end > file.size()) => {
                file.allocate(offset, length, scratch)
            }
            _ => Err(Error::Os(Errno::OPNOTSUPP)),
        }
    }

    pub(super) fn seek(
        &self,
        node: &Node,
        fields: Fields<'_>,
        reply: &mut Reply,
    ) -> Result<(), Error> {
        let (offset, whence) = (field(fields.u64(8))?, field(fields.u32(16))?);
        let what = match whence {
            SEEK_DATA => Seek::Data,
            SEEK_HOLE => Seek::Hole,
            _ => return Err(Error::Os(Errno::INVAL)),
        };
        reply.u64(node.file(&self.tree, &self.table)?.seek(offset, what)?);
        Ok(())
    }
}
