//! Listing directories.

use super::names::stat;
use super::node::{Node, lock};
use super::{FileSystem, field, node::place_on_disk};
use crate::error::{Damage, Error};
use crate::tree::{Listed, reopen};
use crate::wire::{ENTRY_BYTES, Fields, MAX_CONTENT_BYTES, Reply, directory_entry_bytes};
use rustix::fs::{FileType, OFlags, fsync};
use std::sync::{Arc, Mutex};

const DIRECTORY: u32 = 0o040_000;

/// What somebody who has a directory open sees of it: read at its beginning, and kept until it is
/// read from its beginning again.
pub(super) type Listing = Mutex<Vec<Listed>>;

impl FileSystem {
    pub(super) fn open_directory(&self, reply: &mut Reply) -> Result<(), Error> {
        let handle = self.next_listing();
        lock(&self.listings).insert(handle, Arc::default());
        reply.opened(handle, 0);
        Ok(())
    }

    pub(super) fn release_directory(&self, fields: Fields<'_>) -> Result<(), Error> {
        lock(&self.listings).remove(&field(fields.u64(0))?);
        Ok(())
    }

    pub(super) fn sync_directory(&self, node: &Node) -> Result<(), Error> {
        let directory = node.directory(&self.tree)?;
        Ok(fsync(reopen(&directory.fd, OFlags::RDONLY | OFlags::DIRECTORY)?)?)
    }

    /// `FUSE_READDIR`, and `FUSE_READDIRPLUS`, which tells of each entry as a lookup would.
    pub(super) fn read_directory(
        &self,
        node: &Arc<Node>,
        fields: Fields<'_>,
        reply: &mut Reply,
        plus: bool,
    ) -> Result<(), Error> {
        let (handle, offset) = (field(fields.u64(0))?, field(fields.u64(8))?);
        let room = (field(fields.u32(16))? as usize).min(MAX_CONTENT_BYTES);
        let listing = lock(&self.listings).get(&handle).cloned();
        let listing = listing.ok_or(rustix::io::Errno::BADF)?;
        let mut listed = lock(&listing);
        if offset == 0 {
            *listed = self.list(node)?;
        }
        for (place, entry) in (1_u64..).zip(listed.iter()).skip(offset as usize) {
            let extra = if plus { ENTRY_BYTES } else { 0 };
            if reply.len() + extra + directory_entry_bytes(entry.name.len()) > room {
                break;
            }
            if plus {
                self.tell_listed(node, entry, reply);
            }
            let kind = entry.kind.as_raw_mode() >> 12;
            reply.directory_entry(entry.inode, place, kind, &entry.name);
        }
        Ok(())
    }

    fn list(&self, node: &Arc<Node>) -> Result<Vec<Listed>, Error> {
        let directory = node.directory(&self.tree)?;
        let above = node.place().map_or(node.inode, |place| place.parent.inode);
        let own = |name: &str, inode| Listed {
            name: name.into(),
            entry: String::new(),
            inode,
            kind: FileType::from_raw_mode(DIRECTORY),
        };
        let mut listed = vec![own(".", node.inode), own("..", above)];
        let damaged = |entry: &str| {
            let damage = Damage::Name;
            tracing::error!("{}/{entry}: {damage}; it is not shown", place_on_disk(node));
        };
        listed.extend(self.tree.list(&directory, damaged)?);
        Ok(listed)
    }

    /// The attributes of an entry; what is gone by now, `.` and `..` have none.
    fn tell_listed(&self, node: &Arc<Node>, entry: &Listed, reply: &mut Reply) {
        let found = match entry.entry.is_empty() {
            true => None,
            false => node
                .directory(&self.tree)
                .ok()
                .and_then(|directory| stat(&directory, &entry.entry).ok()),
        };
        match found {
            Some(stat) => self.tell(node, entry.entry.clone(), &stat, reply),
            None => reply.zeros(ENTRY_BYTES),
        }
    }
}
