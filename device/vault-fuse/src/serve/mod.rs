//! The file system: what the kernel asks, answered out of the backing tree.

mod content;
mod describe;
mod list;
mod names;
mod node;
mod rename;
mod session;
mod xattr;

pub(crate) use session::run;

use crate::error::Error;
use crate::file::Scratch;
use crate::tree::Tree;
use crate::wire::{Fields, Header, Reply, opcode};
use node::{Node, Table, damage, place_on_disk};
use rustix::fs;
use rustix::io::Errno;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// Descriptors that are left for what is not a file.
const OTHER_DESCRIPTORS: u64 = 256;
/// Files that stay open at most, whatever the limit is.
const MOST_FILES: u64 = 100_000;

/// Whether the kernel waits for an answer.
#[derive(Debug, PartialEq, Eq)]
enum Waits {
    Yes,
    No,
}

/// A mounted vault.
pub(crate) struct FileSystem {
    tree: Tree,
    table: Table,
    listings: Mutex<HashMap<u64, Arc<list::Listing>>>,
    next_listing: AtomicU64,
    /// Whoever works with places holds it to read; whoever moves them, to write.
    places: RwLock<()>,
    /// Who the file system works as, and whom what it makes belongs to.
    own: (u32, u32),
}

impl FileSystem {
    /// Of this tree.
    pub(crate) fn new(tree: Tree) -> Result<Self, Errno> {
        let root = fs::fstat(&tree.root)?.st_ino;
        let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let most = most.unwrap_or(MOST_FILES).min(MOST_FILES).saturating_sub(OTHER_DESCRIPTORS);
        let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        Ok(Self {
            tree,
            table: Table::new(root, most as usize * 3 / 4),
            listings: Mutex::new(HashMap::new()),
            next_listing: AtomicU64::new(1),
            places: RwLock::new(()),
            own,
        })
    }

    /// Nobody uses the file system any more: what is open is left in order.
    pub(crate) fn end(&self) {
        for file in self.table.open_files() {
            if let Err(error) = file.rest() {
                tracing::warn!("a file was left as if its writer had been killed: {error}");
            }
        }
    }

    /// Answers a request into `reply`.
    fn answer(
        &self,
        header: Header,
        body: &mut [u8],
        reply: &mut Reply,
        scratch: &mut Scratch,
    ) -> (Waits, Result<(), Errno>) {
        let fields = Fields(body);
        match header.opcode {
            opcode::FORGET => {
                self.table.forget(header.node, fields.u64(0).unwrap_or(0));
                return (Waits::No, Ok(()));
            }
            opcode::BATCH_FORGET => {
                self.forget_many(fields);
                return (Waits::No, Ok(()));
            }
            opcode::INTERRUPT => return (Waits::No, Ok(())),
            _ => {}
        }
        let node = match self.table.get(header.node) {
            Ok(node) => node,
            Err(error) => return (Waits::Yes, Err(error)),
        };
        let answered = match header.opcode {
            opcode::READ => self.read(&node, fields, reply, scratch),
            opcode::WRITE => self.write(&node, body, reply, scratch),
            opcode::RENAME | opcode::RENAME2 | opcode::RMDIR => {
                let _alone = self.places.write().unwrap_or_else(PoisonError::into_inner);
                self.answer_move(header, &node, fields, reply)
            }
            _ => {
                let _places = self.places.read().unwrap_or_else(PoisonError::into_inner);
                self.answer_other(header, &node, fields, reply, scratch)
            }
        };
        (Waits::Yes, answered.map_err(|error| errno(&node, error)))
    }

    fn answer_move(
        &self,
        header: Header,
        node: &Arc<Node>,
        fields: Fields<'_>,
        _reply: &mut Reply,
    ) -> Result<(), Error> {
        match header.opcode {
            opcode::RENAME => self.rename(node, fields, 8),
            opcode::RENAME2 => self.rename(node, fields, 16),
            _ => self.remove_directory(node, fields),
        }
    }

    fn answer_other(
        &self,
        header: Header,
        node: &Arc<Node>,
        fields: Fields<'_>,
        reply: &mut Reply,
        scratch: &mut Scratch,
    ) -> Result<(), Error> {
        match header.opcode {
            opcode::LOOKUP => self.look_up(node, fields, reply),
            opcode::GETATTR => self.get_attributes(node, reply),
            opcode::SETATTR => self.set_attributes(node, fields, reply, scratch),
            opcode::READLINK => self.read_link(node, reply),
            opcode::SYMLINK => self.make_link(header, node, fields, reply),
            opcode::MKNOD => self.make_node(header, node, fields, reply),
            opcode::MKDIR => self.make_directory(header, node, fields, reply),
            opcode::UNLINK => self.unlink(node, fields),
            opcode::LINK => self.link(node, fields, reply),
            opcode::CREATE => self.create(header, node, fields, reply),
            opcode::OPEN => self.open(node, fields, reply),
            opcode::RELEASE => self.release(node),
            opcode::FSYNC => self.sync(node, fields),
            opcode::FALLOCATE => self.allocate(node, fields, scratch),
            opcode::LSEEK => self.seek(node, fields, reply),
            opcode::STATFS => self.statistics(reply),
            opcode::OPENDIR => self.open_directory(reply),
            opcode::READDIR => self.read_directory(node, fields, reply, false),
            opcode::READDIRPLUS => self.read_directory(node, fields, reply, true),
            opcode::RELEASEDIR => self.release_directory(fields),
            opcode::FSYNCDIR => self.sync_directory(node),
            opcode::SETXATTR => self.set_xattr(node, fields),
            opcode::GETXATTR => self.get_xattr(node, fields, reply),
            opcode::LISTXATTR => self.list_xattr(header, node, fields, reply),
            opcode::REMOVEXATTR => self.remove_xattr(node, fields),
            opcode::DESTROY => Ok(()),
            // The kernel does without, and does not ask again.
            _ => Err(Error::Os(Errno::NOSYS)),
        }
    }

    fn forget_many(&self, fields: Fields<'_>) {
        for index in 0..fields.u32(0).unwrap_or(0) as usize {
            let at = 8 + 16 * index;
            let (Some(id), Some(times)) = (fields.u64(at), fields.u64(at + 8)) else { return };
            self.table.forget(id, times);
        }
    }

    fn next_listing(&self) -> u64 {
        self.next_listing.fetch_add(1, Ordering::Relaxed)
    }
}

/// What a program is told of an error. What was altered is said in the log.
fn errno(node: &Node, error: Error) -> Errno {
    if let Some(damage) = damage(error) {
        tracing::error!("{}: {damage}; it is not read", place_on_disk(node));
        return Errno::IO;
    }
    match error {
        Error::Os(errno) => errno,
        Error::Damaged(_) => Errno::IO,
    }
}

/// A request that ends too early.
fn field<T>(field: Option<T>) -> Result<T, Error> {
    field.ok_or(Error::Os(Errno::INVAL))
}
