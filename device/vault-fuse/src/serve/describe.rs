//! Attributes: reading and changing them.

use super::node::{Node, Reach};
use super::{FileSystem, errno, field};
use crate::error::Error;
use crate::file::Scratch;
use crate::format::link::target_bytes;
use crate::wire::{Attributes, Fields, Moment, Reply, SetAttributes, Statistics};
use rustix::fs::{
    self, FileType, Gid, Mode, Stat, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, Uid,
};
use rustix::io::Errno;

const SET_USER_ID: u32 = 0o4000;
const SET_GROUP_ID: u32 = 0o2000;
const GROUP_EXECUTES: u32 = 0o010;

impl FileSystem {
    /// What is told of a node whose backing file has these attributes.
    pub(super) fn describe(&self, node: &Node, stat: &Stat) -> Attributes {
        let size = match node.kind {
            // A file that was altered has a name nevertheless, by which it can be removed.
            FileType::RegularFile => match node.file(&self.tree, &self.table) {
                Ok(file) => file.size(),
                Err(error) => {
                    errno(node, error);
                    0
                }
            },
            FileType::Symlink => target_bytes(stat.st_size.cast_unsigned()),
            _ => stat.st_size.cast_unsigned(),
        };
        Attributes {
            inode: stat.st_ino,
            size,
            blocks: stat.st_blocks.cast_unsigned(),
            times: [
                (stat.st_atime, stat.st_atime_nsec as u32),
                (stat.st_mtime, stat.st_mtime_nsec as u32),
                (stat.st_ctime, stat.st_ctime_nsec as u32),
            ],
            mode: stat.st_mode,
            links: u32::try_from(stat.st_nlink).unwrap_or(u32::MAX),
            uid: stat.st_uid,
            gid: stat.st_gid,
            device: u32::try_from(stat.st_rdev).unwrap_or(0),
        }
    }

    pub(super) fn get_attributes(&self, node: &Node, reply: &mut Reply) -> Result<(), Error> {
        let stat = node.reach(&self.tree)?.stat()?;
        reply.attributes(&self.describe(node, &stat));
        Ok(())
    }

    pub(super) fn set_attributes(
        &self,
        node: &Node,
        fields: Fields<'_>,
        reply: &mut Reply,
        scratch: &mut Scratch,
    ) -> Result<(), Error> {
        let set = field(SetAttributes::parse(fields))?;
        if let Some(size) = set.size {
            let file = node.file_to_write(&self.tree, &self.table)?;
            file.truncate(size, scratch)?;
        }
        let reach = node.reach(&self.tree)?;
        if set.uid.is_some() || set.gid.is_some() {
            reach.change_owner(set.uid.map(Uid::from_raw), set.gid.map(Gid::from_raw))?;
        }
        if let Some(mode) = set.mode {
            reach.change_mode(Mode::from_raw_mode(mode & 0o7777))?;
        } else if set.kill_privileges {
            kill_privileges(&reach)?;
        }
        if set.atime.is_some() || set.mtime.is_some() {
            let (last_access, last_modification) = (time(set.atime), time(set.mtime));
            reach.change_times(&Timestamps { last_access, last_modification })?;
        }
        reply.attributes(&self.describe(node, &reach.stat()?));
        Ok(())
    }

    pub(super) fn statistics(&self, reply: &mut Reply) -> Result<(), Error> {
        let it = fs::fstatvfs(&self.tree.root)?;
        reply.statistics(&Statistics {
            blocks: it.f_blocks,
            free: it.f_bfree,
            available: it.f_bavail,
            files: it.f_files,
            free_files: it.f_ffree,
            block_bytes: u32::try_from(it.f_frsize).unwrap_or(4096),
        });
        Ok(())
    }
}

/// Takes the bits away with which a file would run as somebody else.
pub(super) fn kill_privileges(reach: &Reach) -> Result<(), Errno> {
    let mode = reach.stat()?.st_mode;
    let group = if mode & GROUP_EXECUTES != 0 { SET_GROUP_ID } else { 0 };
    let left = mode & !(SET_USER_ID | group);
    if left == mode { Ok(()) } else { reach.change_mode(Mode::from_raw_mode(left & 0o7777)) }
}

fn time(moment: Option<Moment>) -> Timespec {
    let (tv_sec, tv_nsec) = match moment {
        None => (0, UTIME_OMIT),
        Some(Moment::Now) => (0, UTIME_NOW),
        Some(Moment::At(seconds, nanoseconds)) => (seconds, nanoseconds.into()),
    };
    Timespec { tv_sec, tv_nsec }
}
