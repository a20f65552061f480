//! Renaming.

use super::names::stat;
use super::node::{Node, Place};
use super::{FileSystem, field};
use crate::error::Error;
use crate::format::names::BackingName;
use crate::tree::Directory;
use crate::wire::Fields;
use rustix::fs::{self, FileType, RenameFlags, Stat};
use rustix::io::Errno;
use std::sync::Arc;

/// One end of a renaming.
struct End {
    node: Arc<Node>,
    directory: Arc<Directory>,
    name: BackingName,
    found: Option<Stat>,
}

impl FileSystem {
    /// `fuse_rename_in` or `fuse_rename2_in`, whose names begin at `names`.
    pub(super) fn rename(
        &self,
        parent: &Arc<Node>,
        fields: Fields<'_>,
        names: usize,
    ) -> Result<(), Error> {
        let flags = if names > 8 { field(fields.u32(8))? } else { 0 };
        let flags = RenameFlags::from_bits(flags).ok_or(Errno::INVAL)?;
        let target = self.table.get(field(fields.u64(0))?)?;
        let (from, rest) = field(fields.name(names))?;
        let (to, _) = field(rest.name(0))?;
        let (from, to) = (self.end_of(parent, from)?, self.end_of(&target, to)?);
        let source = from.found.ok_or(Errno::NOENT)?;
        if flags == RenameFlags::EXCHANGE {
            return self.exchange(&from, &to);
        }
        if !(flags - RenameFlags::NOREPLACE).is_empty() {
            return Err(Error::Os(Errno::INVAL));
        }
        match to.found {
            None => self.move_entry(&from, &to)?,
            Some(_) if flags == RenameFlags::NOREPLACE => return Err(Error::Os(Errno::EXIST)),
            // Two names of one file: both stay.
            Some(there) if there.st_ino == source.st_ino => return Ok(()),
            Some(there) => self.replace(&from, &source, &to, &there)?,
        }
        self.tree.remove_companion(&from.directory, &from.name);
        self.moved(&source, &to);
        Ok(())
    }

    fn end_of(&self, node: &Arc<Node>, name: &[u8]) -> Result<End, Error> {
        let directory = node.directory(&self.tree)?;
        let name = self.tree.names(&directory).backing(name)?;
        let found = match stat(&directory, &name.entry) {
            Ok(stat) => Some(stat),
            Err(Errno::NOENT) => None,
            Err(error) => return Err(error.into()),
        };
        Ok(End { node: Arc::clone(node), directory, name, found })
    }

    fn move_entry(&self, from: &End, to: &End) -> Result<(), Error> {
        self.tree.write_companion(&to.directory, &to.name)?;
        let (old, new) = (&from.directory.fd, &to.directory.fd);
        Ok(fs::renameat(old, &*from.name.entry, new, &*to.name.entry)?)
    }

    fn exchange(&self, from: &End, to: &End) -> Result<(), Error> {
        let (Some(source), Some(target)) = (from.found, to.found) else {
            return Err(Error::Os(Errno::NOENT));
        };
        self.swap(from, to)?;
        self.moved(&source, to);
        self.moved(&target, from);
        Ok(())
    }

    fn swap(&self, from: &End, to: &End) -> Result<(), Errno> {
        let (old, new) = (&from.directory.fd, &to.directory.fd);
        let how = RenameFlags::EXCHANGE;
        fs::renameat_with(old, &*from.name.entry, new, &*to.name.entry, how)
    }

    /// Moves over what is there.
    fn replace(&self, from: &End, source: &Stat, to: &End, there: &Stat) -> Result<(), Error> {
        let is_directory =
            |stat: &Stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        match (is_directory(source), is_directory(there)) {
            (true, true) => self.replace_directory(from, to, there),
            (true, false) => Err(Error::Os(Errno::NOTDIR)),
            (false, true) => Err(Error::Os(Errno::ISDIR)),
            (false, false) => {
                self.pin_at(&to.directory, &to.name)?;
                self.move_entry(from, to)
            }
        }
    }

    /// Moves a directory over an empty one. That one has its id in it, so the system would not do
    /// it: they change places in one step, and the empty one is removed.
    fn replace_directory(&self, from: &End, to: &End, there: &Stat) -> Result<(), Error> {
        let place = Place { parent: Arc::clone(&to.node), entry: to.name.entry.clone() };
        let node = self.table.know(there.st_ino, FileType::Directory, Some(place));
        let replaced = node.pin(&self.tree).and_then(|()| {
            let gone = node.directory(&self.tree)?;
            if !self.tree.is_empty(&gone)? {
                return Err(Error::Os(Errno::NOTEMPTY));
            }
            self.swap(from, to)?;
            Ok(self.tree.remove_directory(&from.directory, &from.name.entry, &gone)?)
        });
        self.table.forget(node.id, 1);
        replaced
    }

    /// Notes where something is now.
    fn moved(&self, what: &Stat, to: &End) {
        if let Some(node) = self.table.of_inode(what.st_ino) {
            let entry = to.name.entry.clone();
            node.set_place(Place { parent: Arc::clone(&to.node), entry });
        }
    }
}
