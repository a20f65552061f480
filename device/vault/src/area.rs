//! The area and its tree.

use crate::disk::{
    DIRECTORY_FILE, HEAD, HEAD_MAGIC, OPEN, OPEN_DIRECTORY, TEMPORARY, WRITING, check_binding,
    checked_directory, directory_metadata, open_folder, open_part, read_header, read_small,
    remove_all, remove_temporaries, write_directory_file, write_head, write_new,
};
use crate::error::VaultError;
use crate::header::{self, Attributes, HEADER_BYTES, Header, NodeKind, Opened};
use crate::keys::{Id, Keys, is_own};
use crate::node::NewNode;
use crate::reader::FileReader;
use crypto::secret::Secret;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use snapshot::path::TreePath;
use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

const TREE: &str = "tree";
const NOTES: &str = "notes";
/// Directories that are kept open.
const OPEN_DIRECTORIES: usize = 128;

/// A tree of encrypted files. Clones are the same area.
#[derive(Clone)]
pub struct Area(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    id: Id,
    pub(crate) keys: Keys,
    root: Arc<Directory>,
    pub(crate) notes: Arc<Directory>,
    base: OwnedFd,
    writing: OnceLock<()>,
    open: Mutex<HashMap<TreePath, Arc<Directory>>>,
    counter: AtomicU64,
}

/// An open directory.
pub(crate) struct Directory {
    pub(crate) fd: OwnedFd,
    pub(crate) id: Id,
    pub(crate) path: TreePath,
}

/// What an entry is and when it changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// What.
    pub kind: Kind,
    /// Mode, time, owner.
    pub attributes: Attributes,
    /// How many names it has.
    pub links: u64,
    /// Equal for names of one file, as long as the area is open.
    pub inode: u64,
    /// Another one whenever the content was written: random, never used again.
    pub version: Id,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A file.
    File {
        /// Bytes.
        size: u64,
    },
    /// A symbolic link.
    Symlink,
}

impl Area {
    /// Makes an area in `folder`, which holds none yet. What a killed earlier attempt left is
    /// removed.
    pub fn create(folder: &Path, class_key: &Secret<32>) -> Result<Self, VaultError> {
        let io = |error: Errno| VaultError::system(&TreePath::root(), error);
        match rustix::fs::mkdir(folder, Mode::from(0o700)) {
            Err(Errno::EXIST) | Ok(()) => {}
            Err(error) => return Err(io(error)),
        }
        let base = open_folder(folder).map_err(io)?;
        if rustix::fs::statat(&base, HEAD, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
            return Err(VaultError::Exists { path: TreePath::root() });
        }
        for part in [TREE, NOTES] {
            remove_all(&base, part).map_err(io)?;
            rustix::fs::mkdirat(&base, part, Mode::from(0o700)).map_err(io)?;
        }
        let id: Id = crypto::random_array();
        let keys = Keys::new(class_key, &id);
        let root_id = crypto::random_array();
        let tree = open_part(&base, TREE).map_err(io)?;
        let attributes = Attributes { mode: 0o755, ..Attributes::default() };
        let binding = keys.binding(&id, b"");
        write_directory_file(&tree, &keys, &root_id, attributes, binding).map_err(io)?;
        write_head(&base, &keys, &id, &root_id).map_err(io)?;
        drop(keys);
        Self::open(folder, class_key, &id)
    }

    /// Opens the area in `folder`, which must be the one called `id`. Temporaries that a killed
    /// process left are removed.
    pub fn open(folder: &Path, class_key: &Secret<32>, id: &Id) -> Result<Self, VaultError> {
        let io = |error: Errno| VaultError::system(&TreePath::root(), error);
        let base = open_folder(folder).map_err(|_| VaultError::NoArea)?;
        let head = read_small(&base, HEAD).map_err(|_| VaultError::NoArea)?;
        let sealed = head.strip_prefix(&HEAD_MAGIC).ok_or(VaultError::NoArea)?;
        let (found, sealed) = sealed.split_first_chunk::<32>().ok_or(VaultError::NoArea)?;
        if found != id {
            return Err(VaultError::Foreign);
        }
        let keys = Keys::new(class_key, id);
        let root_id = keys.head.open(id, sealed).map_err(|_| VaultError::WrongKey)?;
        let root_id: Id = root_id.try_into().map_err(|_| VaultError::NoArea)?;
        let part = |name| open_part(&base, name).map_err(io);
        let (tree, notes) = (part(TREE)?, part(NOTES)?);
        if rustix::fs::statat(&base, WRITING, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
            [&tree, &notes].into_iter().try_for_each(remove_temporaries).map_err(io)?;
            remove_all(&base, WRITING).map_err(io)?;
        }
        let root = checked_directory(tree, &keys, id, b"", TreePath::root())?;
        if root.id != root_id {
            return Err(VaultError::altered(&TreePath::root(), "the root directory"));
        }
        let notes = Arc::new(Directory { fd: notes, id: *id, path: TreePath::root() });
        Ok(Self(Arc::new(Inner {
            id: *id,
            keys,
            root: Arc::new(root),
            notes,
            base,
            writing: OnceLock::new(),
            open: Mutex::default(),
            counter: AtomicU64::new(0),
        })))
    }

    /// The area's random name; it goes into the sealed metadata of the userdata partition.
    #[must_use]
    pub fn id(&self) -> Id {
        self.0.id
    }

    /// Makes a directory.
    pub fn create_dir(&self, path: &TreePath, attributes: Attributes) -> Result<(), VaultError> {
        self.make_directory(path, attributes)?;
        self.sync()
    }

    /// Writes a file from `content`, new or in place of the one there. An old file stays until
    /// the new one is whole.
    pub fn write_file(
        &self,
        path: &TreePath,
        attributes: Attributes,
        mut content: impl Read,
    ) -> Result<(), VaultError> {
        let (directory, name) = self.place_of(path)?;
        let mut node = NewNode::create(self, path, &directory, NodeKind::File)?;
        node.write_stream(&mut content)?;
        node.finish(attributes, &name)?;
        self.sync()
    }

    /// Makes a symbolic link, new or in place of a file or link there.
    pub fn symlink(
        &self,
        path: &TreePath,
        target: &[u8],
        attributes: Attributes,
    ) -> Result<(), VaultError> {
        self.make_symlink(path, target, attributes)?;
        self.sync()
    }

    /// Gives the file or link at `target` the further name `path`.
    pub fn hard_link(&self, target: &TreePath, path: &TreePath) -> Result<(), VaultError> {
        self.make_hard_link(target, path)?;
        self.sync()
    }

    /// Sets mode, time and owner.
    pub fn set_attributes(
        &self,
        path: &TreePath,
        attributes: Attributes,
    ) -> Result<(), VaultError> {
        self.change_attributes(path, attributes)?;
        self.sync()
    }

    /// Removes a file, a link, or an empty directory.
    pub fn remove(&self, path: &TreePath) -> Result<(), VaultError> {
        let (directory, name) = self.place_of(path)?;
        let system = |error| VaultError::system(path, error);
        let disk = self.0.keys.disk_name(&directory.id, &name);
        if self.metadata(path)?.kind == Kind::Directory {
            if !self.list(path)?.is_empty() {
                return Err(VaultError::NotEmpty { path: path.clone() });
            }
            let temporary = self.temporary_name(path)?;
            self.forget_open(path);
            rustix::fs::renameat(&directory.fd, &disk.name, &directory.fd, &temporary)
                .map_err(system)?;
            remove_all(&directory.fd, &temporary).map_err(system)?;
        } else {
            rustix::fs::unlinkat(&directory.fd, &disk.name, AtFlags::empty()).map_err(system)?;
        }
        if let Some((beside, _)) = disk.beside {
            rustix::fs::unlinkat(&directory.fd, beside, AtFlags::empty()).map_err(system)?;
        }
        self.sync()
    }

    /// Removes what is at `path`, a directory with everything in it; no error where there is
    /// nothing. Durable with the next sync.
    pub fn remove_tree(&self, path: &TreePath) -> Result<(), VaultError> {
        let (directory, name) = self.place_of(path)?;
        let system = |error| VaultError::system(path, error);
        let disk = self.0.keys.disk_name(&directory.id, &name);
        let temporary = self.temporary_name(path)?;
        // Gone in one step; a killed process leaves a temporary.
        match rustix::fs::renameat(&directory.fd, &disk.name, &directory.fd, &temporary) {
            Err(Errno::NOENT) => return Ok(()),
            renamed => renamed.map_err(system)?,
        }
        self.open_directories().clear();
        remove_all(&directory.fd, &temporary).map_err(system)?;
        match disk.beside {
            Some((beside, _)) => remove_all(&directory.fd, &beside).map_err(system),
            None => Ok(()),
        }
    }

    /// What is at `path`.
    pub fn metadata(&self, path: &TreePath) -> Result<Metadata, VaultError> {
        let Some((parent, name)) = path.split() else {
            return directory_metadata(&self.0.root.fd, &self.0.keys, &self.0.id, b"", path);
        };
        let directory = self.directory(&parent)?;
        self.metadata_in(&directory, name, path)
    }

    /// Names and what they are, sorted by name.
    pub fn list(&self, path: &TreePath) -> Result<Vec<(Vec<u8>, Metadata)>, VaultError> {
        let directory = self.directory(path)?;
        let mut entries = Vec::new();
        for name in self.names_in(&directory)? {
            let metadata = self.metadata_in(&directory, &name, &path.join(&name)?)?;
            entries.push((name, metadata));
        }
        Ok(entries)
    }

    /// Opens a file to read it.
    pub fn read_file(&self, path: &TreePath) -> Result<FileReader, VaultError> {
        let reader = self.open_content(path)?;
        if reader.kind() == NodeKind::File {
            Ok(reader)
        } else {
            Err(VaultError::NotAFile { path: path.clone() })
        }
    }

    /// Where a symbolic link points, as it was written.
    pub fn read_link(&self, path: &TreePath) -> Result<Vec<u8>, VaultError> {
        let mut reader = self.open_content(path)?;
        if reader.kind() != NodeKind::Symlink {
            return Err(VaultError::NotAFile { path: path.clone() });
        }
        let mut target = Vec::new();
        reader.read_range(0, usize::MAX, &mut target)?;
        Ok(target)
    }

    /// Calls `visit` for everything below the root: sorted, directories before what they hold.
    pub fn walk<E: From<VaultError>>(
        &self,
        visit: &mut dyn FnMut(&TreePath, &Metadata) -> Result<(), E>,
    ) -> Result<(), E> {
        self.walk_from(&TreePath::root(), visit)
    }

    fn walk_from<E: From<VaultError>>(
        &self,
        directory: &TreePath,
        visit: &mut dyn FnMut(&TreePath, &Metadata) -> Result<(), E>,
    ) -> Result<(), E> {
        for (name, metadata) in self.list(directory)? {
            let path = directory.join(&name).map_err(VaultError::from)?;
            visit(&path, &metadata)?;
            if metadata.kind == Kind::Directory {
                self.walk_from(&path, visit)?;
            }
        }
        Ok(())
    }

    /// Makes everything written so far durable (`syncfs`).
    pub fn sync(&self) -> Result<(), VaultError> {
        rustix::fs::syncfs(&self.0.root.fd)
            .map_err(|error| VaultError::system(&TreePath::root(), error))
    }

    /// Like [`Area::create_dir`], durable with the next sync.
    pub(crate) fn make_directory(
        &self,
        path: &TreePath,
        attributes: Attributes,
    ) -> Result<(), VaultError> {
        let (directory, name) = self.place_of(path)?;
        let system = |error: Errno| VaultError::system(path, error);
        let disk = self.0.keys.disk_name(&directory.id, &name);
        if rustix::fs::statat(&directory.fd, &disk.name, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
            return Err(VaultError::Exists { path: path.clone() });
        }
        let temporary = self.temporary_name(path)?;
        let within = &directory.fd;
        rustix::fs::mkdirat(within, &temporary, Mode::from(0o700)).map_err(system)?;
        let made = open_part(within, &temporary).map_err(system)?;
        let binding = self.0.keys.binding(&directory.id, &name);
        write_directory_file(&made, &self.0.keys, &crypto::random_array(), attributes, binding)
            .map_err(|error| self.write_error(path, HEADER_BYTES as u64, error))?;
        self.write_beside(&directory, disk.beside, path)?;
        let flags = RenameFlags::NOREPLACE;
        rustix::fs::renameat_with(within, &temporary, within, &disk.name, flags).map_err(system)
    }

    pub(crate) fn make_symlink(
        &self,
        path: &TreePath,
        target: &[u8],
        attributes: Attributes,
    ) -> Result<(), VaultError> {
        let (directory, name) = self.place_of(path)?;
        let mut node = NewNode::create(self, path, &directory, NodeKind::Symlink)?;
        node.write_stream(&mut &target[..])?;
        node.finish(attributes, &name)
    }

    pub(crate) fn make_hard_link(
        &self,
        target: &TreePath,
        path: &TreePath,
    ) -> Result<(), VaultError> {
        let system = |error| VaultError::system(path, error);
        let (from, from_name) = self.place_of(target)?;
        let (to, to_name) = self.place_of(path)?;
        if target == path {
            return Ok(());
        }
        self.rewrite_header(target, |header| header.binding = None)?;
        let from_name = self.0.keys.disk_name(&from.id, &from_name).name;
        let disk = self.0.keys.disk_name(&to.id, &to_name);
        self.write_beside(&to, disk.beside, path)?;
        let temporary = self.temporary_name(path)?;
        let flags = AtFlags::empty();
        rustix::fs::linkat(&from.fd, from_name, &to.fd, &temporary, flags).map_err(system)?;
        let renamed = rustix::fs::renameat(&to.fd, &temporary, &to.fd, &disk.name);
        // Where both were one file already, the rename did nothing.
        let _ = rustix::fs::unlinkat(&to.fd, &temporary, flags);
        renamed.map_err(system)
    }

    pub(crate) fn change_attributes(
        &self,
        path: &TreePath,
        attributes: Attributes,
    ) -> Result<(), VaultError> {
        self.rewrite_header(path, |header| header.attributes = attributes)
    }

    /// The directory that `path` lies in, open, and the name in it.
    pub(crate) fn place_of(
        &self,
        path: &TreePath,
    ) -> Result<(Arc<Directory>, Vec<u8>), VaultError> {
        let (parent, name) =
            path.split().ok_or_else(|| VaultError::Exists { path: path.clone() })?;
        Ok((self.directory(&parent)?, name.to_vec()))
    }

    /// Opens the directory at `path`, from the nearest one that is open.
    pub(crate) fn directory(&self, path: &TreePath) -> Result<Arc<Directory>, VaultError> {
        let mut missing = Vec::new();
        let mut at = path.clone();
        let mut directory = loop {
            if let Some(open) = self.open_directories().get(&at) {
                break Arc::clone(open);
            }
            let Some((parent, name)) = at.split() else { break Arc::clone(&self.0.root) };
            missing.push(name.to_vec());
            at = parent;
        };
        while let Some(name) = missing.pop() {
            let path = directory.path.join(&name)?;
            let disk = self.0.keys.disk_name(&directory.id, &name).name;
            let fd = rustix::fs::openat(&directory.fd, &disk, OPEN_DIRECTORY, Mode::empty())
                .map_err(|error| VaultError::system(&path, error))?;
            let opened =
                Arc::new(checked_directory(fd, &self.0.keys, &directory.id, &name, path.clone())?);
            let mut open = self.open_directories();
            if open.len() >= OPEN_DIRECTORIES {
                open.clear();
            }
            open.insert(path, Arc::clone(&opened));
            drop(open);
            directory = opened;
        }
        Ok(directory)
    }

    /// A name for a temporary; the next open of the area will look for it.
    pub(crate) fn temporary_name(&self, path: &TreePath) -> Result<String, VaultError> {
        if self.0.writing.get().is_none() {
            match write_new(&self.0.base, WRITING, b"") {
                Err(Errno::EXIST) => {}
                written => written.map_err(|error| self.write_error(path, 0, error))?,
            }
            self.0.writing.get_or_init(|| ());
        }
        Ok(format!("{TEMPORARY}{}", self.0.counter.fetch_add(1, Ordering::Relaxed)))
    }

    /// Writes the file that holds a name too long for the disk.
    pub(crate) fn write_beside(
        &self,
        directory: &Directory,
        beside: Option<(String, Vec<u8>)>,
        path: &TreePath,
    ) -> Result<(), VaultError> {
        let Some((name, sealed)) = beside else { return Ok(()) };
        let (temporary, fd) = (self.temporary_name(path)?, &directory.fd);
        write_new(fd, &temporary, &sealed)
            .and_then(|()| rustix::fs::renameat(fd, &temporary, fd, name))
            .map_err(|error| self.write_error(path, sealed.len() as u64, error))
    }

    /// What the system said to a write of `needed_bytes`.
    pub(crate) fn write_error(
        &self,
        path: &TreePath,
        needed_bytes: u64,
        error: Errno,
    ) -> VaultError {
        if !matches!(error, Errno::NOSPC | Errno::DQUOT) {
            return VaultError::system(path, error);
        }
        let free = rustix::fs::fstatvfs(&self.0.base).map(|fs| fs.f_bavail * fs.f_frsize);
        VaultError::NoSpace { path: path.clone(), needed_bytes, free_bytes: free.unwrap_or(0) }
    }

    fn open_content(&self, path: &TreePath) -> Result<FileReader, VaultError> {
        let (directory, name) =
            self.place_of(path).map_err(|error| not_a_file_at_root(error, path))?;
        let disk = self.0.keys.disk_name(&directory.id, &name).name;
        let file = rustix::fs::openat(&directory.fd, &disk, OPEN, Mode::empty())
            .map(File::from)
            .map_err(|error| VaultError::system(path, error))?;
        let reader = FileReader::open(file, &self.0.keys, path.clone())?;
        self.check_place(reader.binding(), &directory.id, &name, path)?;
        Ok(reader)
    }

    pub(crate) fn check_place(
        &self,
        binding: Option<[u8; 32]>,
        directory: &Id,
        name: &[u8],
        path: &TreePath,
    ) -> Result<(), VaultError> {
        check_binding(&self.0.keys, binding, directory, name, path)
    }

    fn metadata_in(
        &self,
        directory: &Directory,
        name: &[u8],
        path: &TreePath,
    ) -> Result<Metadata, VaultError> {
        let disk = self.0.keys.disk_name(&directory.id, name).name;
        let system = |error| VaultError::system(path, error);
        let fd = rustix::fs::openat(&directory.fd, &disk, OPEN, Mode::empty()).map_err(system)?;
        let stat = rustix::fs::fstat(&fd).map_err(system)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            return directory_metadata(&fd, &self.0.keys, &directory.id, name, path);
        }
        let opened = read_header(&File::from(fd), &self.0.keys, path)?;
        self.check_place(opened.header.binding, &directory.id, name, path)?;
        Ok(Metadata {
            kind: match opened.header.kind {
                NodeKind::File => Kind::File { size: opened.header.size },
                NodeKind::Symlink => Kind::Symlink,
                NodeKind::Directory => return Err(VaultError::altered(path, "the kind")),
            },
            attributes: opened.header.attributes,
            links: stat.st_nlink as u64,
            inode: stat.st_ino,
            version: opened.version,
        })
    }

    pub(crate) fn names_in(&self, directory: &Directory) -> Result<Vec<Vec<u8>>, VaultError> {
        let system = |error| VaultError::system(&directory.path, error);
        let mut names = Vec::new();
        for entry in Dir::read_from(&directory.fd).map_err(system)? {
            let entry = entry.map_err(system)?;
            let disk = entry.file_name().to_bytes();
            if is_own(disk) {
                continue;
            }
            let read = |name: &str| read_small(&directory.fd, name).ok();
            let name = std::str::from_utf8(disk)
                .ok()
                .and_then(|disk| self.0.keys.plain_name(&directory.id, disk, read));
            names.push(name.ok_or_else(|| VaultError::altered(&directory.path, "a name in it"))?);
        }
        names.sort_unstable();
        Ok(names)
    }

    fn rewrite_header(
        &self,
        path: &TreePath,
        change: impl FnOnce(&mut Header),
    ) -> Result<(), VaultError> {
        let flags = OPEN.difference(OFlags::RDONLY) | OFlags::RDWR;
        let opened = match path.split() {
            None => rustix::fs::openat(&self.0.root.fd, DIRECTORY_FILE, flags, Mode::empty()),
            Some((parent, name)) => {
                let directory = self.directory(&parent)?;
                let disk = self.0.keys.disk_name(&directory.id, name).name;
                match rustix::fs::openat(&directory.fd, &disk, flags, Mode::empty()) {
                    Err(Errno::ISDIR) => {
                        let fd = &self.directory(path)?.fd;
                        rustix::fs::openat(fd, DIRECTORY_FILE, flags, Mode::empty())
                    }
                    opened => opened,
                }
            }
        };
        let file = File::from(opened.map_err(|error| VaultError::system(path, error))?);
        let Opened { version, key, mut header } = read_header(&file, &self.0.keys, path)?;
        if header.kind != NodeKind::Directory
            && let Some((parent, name)) = path.split()
        {
            self.check_place(header.binding, &self.directory(&parent)?.id, name, path)?;
        }
        let before = header.clone();
        change(&mut header);
        if header.kind == NodeKind::Directory && header.binding.is_none() {
            return Err(VaultError::NotAFile { path: path.clone() });
        }
        if header == before {
            return Ok(());
        }
        // Fewer bytes than a disk sector, inside one: written whole or not at all.
        file.write_all_at(&header::seal(&version, &key, &header), 0)
            .map_err(|source| VaultError::Io { path: path.clone(), source })
    }

    fn forget_open(&self, path: &TreePath) {
        self.open_directories().remove(path);
    }

    fn open_directories(&self) -> MutexGuard<'_, HashMap<TreePath, Arc<Directory>>> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn not_a_file_at_root(error: VaultError, path: &TreePath) -> VaultError {
    if path.is_root() { VaultError::NotAFile { path: path.clone() } } else { error }
}
