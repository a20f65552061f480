//! Names: finding, making and removing them.

use super::describe::kill_privileges;
use super::node::{Node, Place, Reach};
use super::{FileSystem, field};
use crate::error::{Damage, Error};
use crate::format::names::BackingName;
use crate::tree::{Directory, proc_path};
use crate::wire::{Fields, Header, Reply};
use rustix::fs::{self, AtFlags, CWD, FileType, Gid, Mode, Stat, Uid};
use rustix::io::Errno;
use std::sync::Arc;

const SET_GROUP_ID: u32 = 0o2000;

/// Where something is made: whose it will be, and its name.
struct Making {
    directory: Arc<Directory>,
    name: BackingName,
    uid: u32,
    gid: u32,
    /// Directories hand their group on.
    inherits: bool,
}

impl FileSystem {
    pub(super) fn look_up(
        &self,
        parent: &Arc<Node>,
        fields: Fields<'_>,
        reply: &mut Reply,
    ) -> Result<(), Error> {
        let (name, _) = field(fields.name(0))?;
        let directory = parent.directory(&self.tree)?;
        let name = self.tree.names(&directory).backing(name)?;
        match stat(&directory, &name.entry) {
            Ok(stat) => self.tell(parent, name.entry, &stat, reply),
            Err(Errno::NOENT) => reply.no_entry(),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Tells the kernel of what is at a place, as `fuse_entry_out`.
    pub(super) fn tell(&self, parent: &Arc<Node>, entry: String, stat: &Stat, reply: &mut Reply) {
        self.table.tidy();
        let place = Place { parent: Arc::clone(parent), entry };
        let kind = FileType::from_raw_mode(stat.st_mode);
        let node = self.table.know(stat.st_ino, kind, Some(place));
        reply.entry(node.id, &self.describe(&node, stat));
    }

    pub(super) fn make_directory(
        &self,
        header: Header,
        parent: &Arc<Node>,
        fields: Fields<'_>,
        reply: &mut Reply,
    ) -> Result<(), Error> {
        let (mode, (name, _)) = (field(fields.u32(0))?, field(fields.name(8))?);
        let making = self.making(header, parent, name)?;
        let (made, directory) = self.tree.new_directory()?;
        self.tree.place(&made, &making.directory, &making.name)?;
        if self.own != (making.uid, making.gid) {
            self.own_entry(&making)?;
        }
        // Only now: a directory moves only where its owner may write it.
        let mode = mode | if making.inherits { SET_GROUP_ID } else { 0 };
        fs::chmod(proc_path(&directory.fd), Mode::from_raw_mode(mode & 0o7777))?;
        self.tell_made(parent, making, reply)
    }

    pub(super) fn make_link(
        &self,
        header: Header,
        parent: &Arc<Node>,
        fields: Fields<'_>,
        reply: &mut Reply,
    ) -> Result<(), Error> {
        let (name, rest) = field(fields.name(0))?;
        let (target, _) = field(rest.name(0))?;
        let making = self.making(header, parent, name)?;
        let made = self.tree.new_link(target)?;
        self.place_special(&made, &making)?;
        self.tell_made(parent, making, reply)
    }

    pub(super) fn make_node(
        &self,
        header: Header,
        parent: &Arc<Node>,
        fields: Fields<'_>,
        reply: &mut Reply,
    ) -> Result<(), Error> {
        let (mode, device) = (field(fields.u32(0))?, field(fields.u32(4))?);
        let (name, _) = field(fields.name(16))?;
        let making = self.making(header, parent, name)?;
        if FileType::from_raw_mode(mode) == FileType::RegularFile {
            let (made, file) = self.tree.new_file(mode & 0o7777)?;
            self.own_file(&file, &making, mode)?;
            self.tree.place(&made, &making.directory, &making.name)?;
            file.rest()?;
        } else {
            let kind = FileType::from_raw_mode(mode);
            let made = self.tree.new_special(kind, mode & 0o7777, device.into())?;
            self.place_special(&made, &making)?;
        }
        self.tell_made(parent, making, reply)
    }

    pub(super) fn create(
        &self,
        header: Header,
        parent: &Arc<Node>,
        fields: Fields<'_>,
        reply: &mut Reply,
    ) -> Result<(), Error> {
        let (mode, (name, _)) = (field(fields.u32(4))?, field(fields.name(16))?);
        let making = self.making(header, parent, name)?;
        self.table.tidy();
        let (made, file) = self.tree.new_file(mode & 0o7777)?;
        self.own_file(&file, &making, mode)?;
        self.tree.place(&made, &making.directory, &making.name)?;
        let stat = fs::fstat(&file)?;
        let place = Place { parent: Arc::clone(parent), entry: making.name.entry };
        let node = self.table.know(stat.st_ino, FileType::RegularFile, Some(place));
        self.table.hold(&node, file);
        node.opened();
        reply.entry(node.id, &self.describe(&node, &stat));
        reply.opened(0, super::content::KEEP_CACHE);
        Ok(())
    }

    pub(super) fn link(
        &self,
        parent: &Arc<Node>,
        fields: Fields<'_>,
        reply: &mut Reply,
    ) -> Result<(), Error> {
        let (id, (name, _)) = (field(fields.u64(0))?, field(fields.name(8))?);
        let node = self.table.get(id)?;
        let directory = parent.directory(&self.tree)?;
        let name = self.tree.names(&directory).backing(name)?;
        if stat(&directory, &name.entry).is_ok() {
            return Err(Error::Os(Errno::EXIST));
        }
        self.tree.write_companion(&directory, &name)?;
        let (to, entry) = (&directory.fd, &*name.entry);
        match node.reach(&self.tree)? {
            Reach::Place(from, old) => {
                fs::linkat(&from.fd, &*old, to, entry, AtFlags::empty())?;
            }
            Reach::Held(_) => {
                let (_held, path) = super::node::path_of(&node, &self.tree)?;
                fs::linkat(CWD, path, to, entry, AtFlags::SYMLINK_FOLLOW)?;
            }
        }
        let stat = stat(&directory, entry)?;
        self.tell(parent, name.entry, &stat, reply);
        Ok(())
    }

    pub(super) fn unlink(&self, parent: &Arc<Node>, fields: Fields<'_>) -> Result<(), Error> {
        let (name, _) = field(fields.name(0))?;
        let directory = parent.directory(&self.tree)?;
        let name = self.tree.names(&directory).backing(name)?;
        self.pin_at(&directory, &name)?;
        fs::unlinkat(&directory.fd, &*name.entry, AtFlags::empty())?;
        self.tree.remove_companion(&directory, &name);
        Ok(())
    }

    pub(super) fn remove_directory(
        &self,
        parent: &Arc<Node>,
        fields: Fields<'_>,
    ) -> Result<(), Error> {
        let (name, _) = field(fields.name(0))?;
        let directory = parent.directory(&self.tree)?;
        let name = self.tree.names(&directory).backing(name)?;
        let inode = stat(&directory, &name.entry)?.st_ino;
        let place = Place { parent: Arc::clone(parent), entry: name.entry.clone() };
        // For a moment the kernel is as good as told of it.
        let node = self.table.know(inode, FileType::Directory, Some(place));
        let removed = node.pin(&self.tree).and_then(|()| {
            let gone = node.directory(&self.tree)?;
            Ok(self.tree.remove_directory(&directory, &name.entry, &gone)?)
        });
        self.table.forget(node.id, 1);
        removed?;
        self.tree.remove_companion(&directory, &name);
        Ok(())
    }

    pub(super) fn read_link(&self, node: &Node, reply: &mut Reply) -> Result<(), Error> {
        let sealed = match node.reach(&self.tree)? {
            Reach::Place(directory, entry) => fs::readlinkat(&directory.fd, &*entry, Vec::new())?,
            Reach::Held(super::node::Held::Path(path)) => fs::readlinkat(&path, "", Vec::new())?,
            Reach::Held(_) => return Err(Error::Os(Errno::INVAL)),
        };
        let target = self.tree.keys.open_link(sealed.as_bytes());
        reply.bytes(&target.ok_or(Error::Damaged(Damage::Link))?);
        Ok(())
    }

    /// Keeps what is at a name, if the kernel knows it: it is about to lose the name.
    pub(super) fn pin_at(&self, directory: &Directory, name: &BackingName) -> Result<(), Error> {
        let inode = stat(directory, &name.entry)?.st_ino;
        match self.table.of_inode(inode) {
            Some(node) => node.pin(&self.tree),
            None => Ok(()),
        }
    }

    fn making(&self, header: Header, parent: &Arc<Node>, name: &[u8]) -> Result<Making, Error> {
        let directory = parent.directory(&self.tree)?;
        let name = self.tree.names(&directory).backing(name)?;
        let above = fs::fstat(&directory.fd)?;
        let inherits = above.st_mode & SET_GROUP_ID != 0;
        let gid = if inherits { above.st_gid } else { header.gid };
        Ok(Making { directory, name, uid: header.uid, gid, inherits })
    }

    /// Gives a file that was made to whom it is due; its mode comes afterwards, for a change of
    /// owner takes bits of it away.
    fn own_file(&self, file: &crate::file::File, making: &Making, mode: u32) -> Result<(), Error> {
        if self.own != (making.uid, making.gid) {
            let (uid, gid) = (Uid::from_raw(making.uid), Gid::from_raw(making.gid));
            fs::fchown(file, Some(uid), Some(gid))?;
        }
        if mode & 0o7000 != 0 {
            fs::fchmod(file, Mode::from_raw_mode(mode & 0o7777))?;
        }
        Ok(())
    }

    fn own_entry(&self, making: &Making) -> Result<(), Errno> {
        let (uid, gid) = (Uid::from_raw(making.uid), Gid::from_raw(making.gid));
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        fs::chownat(&making.directory.fd, &*making.name.entry, Some(uid), Some(gid), flags)
    }

    fn place_special(&self, made: &str, making: &Making) -> Result<(), Error> {
        if self.own != (making.uid, making.gid) {
            self.tree.own_new(made, making.uid, making.gid)?;
        }
        Ok(self.tree.place(made, &making.directory, &making.name)?)
    }

    fn tell_made(
        &self,
        parent: &Arc<Node>,
        making: Making,
        reply: &mut Reply,
    ) -> Result<(), Error> {
        let stat = stat(&making.directory, &making.name.entry)?;
        self.tell(parent, making.name.entry, &stat, reply);
        Ok(())
    }

    /// What a write takes away from a file that runs as somebody else.
    pub(super) fn drop_privileges(&self, node: &Node) -> Result<(), Error> {
        Ok(kill_privileges(&node.reach(&self.tree)?)?)
    }
}

/// What is at a name.
pub(super) fn stat(directory: &Directory, entry: &str) -> Result<Stat, Errno> {
    fs::statat(&directory.fd, entry, AtFlags::SYMLINK_NOFOLLOW)
}
