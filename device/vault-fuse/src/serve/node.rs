//! Nodes: what the kernel knows, by number.

use crate::error::{Damage, Error};
use crate::file::File;
use crate::tree::{Directory, Tree, proc_path, reopen};
use rustix::fs::{self, AtFlags, FileType, Gid, Mode, OFlags, Stat, Timestamps, Uid};
use rustix::io::Errno;
use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Locks; what a panic left behind is as good as what was there before.
pub(super) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where a node is: a name in a directory. The root has none.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) parent: Arc<Node>,
    pub(super) entry: String,
}

/// What is open of a node.
#[derive(Clone)]
pub(super) enum Held {
    Nothing,
    File(Arc<File>),
    Directory(Arc<Directory>),
    /// `O_PATH`.
    Path(Arc<OwnedFd>),
}

/// A file, directory, link or special file that the kernel knows.
pub(super) struct Node {
    pub(super) id: u64,
    pub(super) inode: u64,
    pub(super) kind: FileType,
    place: Mutex<Option<Place>>,
    held: Mutex<Held>,
    /// It may have lost its name: what is open stays open.
    pinned: AtomicBool,
    /// How often the kernel was told of it and has not forgotten it.
    known: AtomicU64,
    opens: AtomicU32,
}

/// How a node is reached: by what is open, or by its place.
pub(super) enum Reach {
    Held(Held),
    Place(Arc<Directory>, String),
}

impl Node {
    pub(super) fn place(&self) -> Option<Place> {
        lock(&self.place).clone()
    }

    /// It was found at, or moved to, this place.
    pub(super) fn set_place(&self, place: Place) {
        *lock(&self.place) = Some(place);
        self.pinned.store(false, Ordering::Release);
    }

    /// One more program has it open.
    pub(super) fn opened(&self) {
        self.opens.fetch_add(1, Ordering::AcqRel);
    }

    /// One less; whether it was the last.
    pub(super) fn closed(&self) -> bool {
        self.opens.fetch_sub(1, Ordering::AcqRel) == 1
    }

    fn held(&self) -> Held {
        lock(&self.held).clone()
    }

    /// How it is reached now.
    pub(super) fn reach(&self, tree: &Tree) -> Result<Reach, Error> {
        match self.held() {
            Held::Nothing => match self.place() {
                Some(place) => Ok(Reach::Place(place.parent.directory(tree)?, place.entry)),
                None => Ok(Reach::Held(Held::Directory(self.directory(tree)?))),
            },
            held => Ok(Reach::Held(held)),
        }
    }

    /// The directory that it is.
    pub(super) fn directory(&self, tree: &Tree) -> Result<Arc<Directory>, Error> {
        if self.kind != FileType::Directory {
            return Err(Error::Os(Errno::NOTDIR));
        }
        let mut held = lock(&self.held);
        if let Held::Directory(directory) = &*held {
            return Ok(Arc::clone(directory));
        }
        let directory = Arc::new(tree.directory(self.open_path(tree)?)?);
        *held = Held::Directory(Arc::clone(&directory));
        Ok(directory)
    }

    /// Opens its place, `O_PATH`; `ESTALE` where something else is there by now.
    fn open_path(&self, tree: &Tree) -> Result<OwnedFd, Error> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = match self.place() {
            None => fs::openat(&tree.root, ".", flags, Mode::empty())?,
            Some(place) => {
                let parent = place.parent.directory(tree)?;
                fs::openat(&parent.fd, &*place.entry, flags, Mode::empty())?
            }
        };
        let same = fs::fstat(&fd)?.st_ino == self.inode;
        if same { Ok(fd) } else { Err(Error::Os(Errno::STALE)) }
    }

    /// The file that it is. Where only reading is allowed it is opened for that.
    pub(super) fn file(&self, tree: &Tree, table: &Table) -> Result<Arc<File>, Error> {
        if self.kind != FileType::RegularFile {
            let is = if self.kind == FileType::Directory { Errno::ISDIR } else { Errno::INVAL };
            return Err(Error::Os(is));
        }
        let mut held = lock(&self.held);
        if let Held::File(file) = &*held {
            return Ok(Arc::clone(file));
        }
        let path = match &*held {
            Held::Path(path) => Arc::clone(path),
            _ => Arc::new(self.open_path(tree)?),
        };
        let fd = match reopen(&*path, OFlags::RDWR) {
            Err(Errno::ACCESS | Errno::ROFS | Errno::PERM) => reopen(&*path, OFlags::RDONLY),
            opened => opened,
        };
        let file = Arc::new(File::open(fd?.into(), &tree.keys)?);
        *held = Held::File(Arc::clone(&file));
        table.files.fetch_add(1, Ordering::Relaxed);
        Ok(file)
    }

    /// The file, if it is open already.
    pub(super) fn open_file(&self) -> Option<Arc<File>> {
        match self.held() {
            Held::File(file) => Some(file),
            _ => None,
        }
    }

    /// Opens the file again, after its permissions changed.
    pub(super) fn file_to_write(&self, tree: &Tree, table: &Table) -> Result<Arc<File>, Error> {
        let file = self.file(tree, table)?;
        if file.is_writable() {
            return Ok(file);
        }
        let mut held = lock(&self.held);
        let file = Arc::new(File::open(reopen(&*file, OFlags::RDWR)?.into(), &tree.keys)?);
        *held = Held::File(Arc::clone(&file));
        Ok(file)
    }

    /// Keeps it, though it may lose its name next.
    pub(super) fn pin(&self, tree: &Tree) -> Result<(), Error> {
        if self.kind == FileType::Directory {
            self.directory(tree)?;
        } else {
            let mut held = lock(&self.held);
            if matches!(*held, Held::Nothing) {
                *held = Held::Path(Arc::new(self.open_path(tree)?));
            }
        }
        self.pinned.store(true, Ordering::Release);
        Ok(())
    }

    /// Closes the file, where it can be opened again.
    fn let_go(&self) -> bool {
        let mut held = lock(&self.held);
        let idle = self.opens.load(Ordering::Acquire) == 0 && !self.pinned.load(Ordering::Acquire);
        let file = matches!(&*held, Held::File(file) if Arc::strong_count(file) == 1);
        if idle && file {
            *held = Held::Nothing;
        }
        idle && file
    }
}

impl Reach {
    pub(super) fn stat(&self) -> Result<Stat, Errno> {
        match self {
            Self::Held(Held::File(file)) => fs::fstat(file),
            Self::Held(Held::Directory(directory)) => fs::fstat(&directory.fd),
            Self::Held(Held::Path(path)) => fs::fstat(path),
            Self::Held(Held::Nothing) => Err(Errno::STALE),
            Self::Place(directory, entry) => {
                fs::statat(&directory.fd, &**entry, AtFlags::SYMLINK_NOFOLLOW)
            }
        }
    }

    pub(super) fn change_owner(&self, uid: Option<Uid>, gid: Option<Gid>) -> Result<(), Errno> {
        let flags = AtFlags::EMPTY_PATH;
        match self {
            Self::Held(Held::File(file)) => fs::chownat(file, "", uid, gid, flags),
            Self::Held(Held::Directory(directory)) => {
                fs::chownat(&directory.fd, "", uid, gid, flags)
            }
            Self::Held(Held::Path(path)) => fs::chownat(path, "", uid, gid, flags),
            Self::Held(Held::Nothing) => Err(Errno::STALE),
            Self::Place(directory, entry) => {
                fs::chownat(&directory.fd, &**entry, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
            }
        }
    }

    pub(super) fn change_mode(&self, mode: Mode) -> Result<(), Errno> {
        match self {
            Self::Held(Held::File(file)) => fs::fchmod(file, mode),
            Self::Held(Held::Directory(directory)) => fs::chmod(proc_path(&directory.fd), mode),
            Self::Held(Held::Path(path)) => fs::chmod(proc_path(path), mode),
            Self::Held(Held::Nothing) => Err(Errno::STALE),
            Self::Place(directory, entry) => {
                fs::chmodat(&directory.fd, &**entry, mode, AtFlags::empty())
            }
        }
    }

    pub(super) fn change_times(&self, times: &Timestamps) -> Result<(), Errno> {
        let flags = AtFlags::EMPTY_PATH;
        match self {
            Self::Held(Held::File(file)) => fs::futimens(file, times),
            Self::Held(Held::Directory(directory)) => {
                fs::utimensat(&directory.fd, "", times, flags)
            }
            Self::Held(Held::Path(path)) => fs::utimensat(path, "", times, flags),
            Self::Held(Held::Nothing) => Err(Errno::STALE),
            Self::Place(directory, entry) => {
                fs::utimensat(&directory.fd, &**entry, times, AtFlags::SYMLINK_NOFOLLOW)
            }
        }
    }
}

/// All nodes.
pub(super) struct Table {
    nodes: Mutex<Nodes>,
    /// Files that are open, about.
    files: AtomicUsize,
    /// How many may be.
    most_files: usize,
}

struct Nodes {
    by_id: HashMap<u64, Arc<Node>>,
    by_inode: HashMap<u64, u64>,
    next: u64,
}

impl Table {
    /// With the root alone; at most about `most_files` files stay open that nobody uses.
    pub(super) fn new(root: u64, most_files: usize) -> Self {
        let nodes = Nodes { by_id: HashMap::new(), by_inode: HashMap::new(), next: 1 };
        let table = Self { nodes: Mutex::new(nodes), files: AtomicUsize::new(0), most_files };
        table.know(root, FileType::Directory, None);
        table
    }

    pub(super) fn get(&self, id: u64) -> Result<Arc<Node>, Errno> {
        lock(&self.nodes).by_id.get(&id).cloned().ok_or(Errno::STALE)
    }

    /// The node of a backing inode, if the kernel knows it.
    pub(super) fn of_inode(&self, inode: u64) -> Option<Arc<Node>> {
        let nodes = lock(&self.nodes);
        nodes.by_inode.get(&inode).and_then(|id| nodes.by_id.get(id)).cloned()
    }

    /// The kernel is told of what is at `place`, once more.
    pub(super) fn know(&self, inode: u64, kind: FileType, place: Option<Place>) -> Arc<Node> {
        let mut nodes = lock(&self.nodes);
        if let Some(node) = nodes.by_inode.get(&inode).and_then(|id| nodes.by_id.get(id)) {
            node.known.fetch_add(1, Ordering::AcqRel);
            if let Some(place) = place {
                node.set_place(place);
            }
            return Arc::clone(node);
        }
        let id = nodes.next;
        nodes.next += 1;
        let node = Arc::new(Node {
            id,
            inode,
            kind,
            place: Mutex::new(place),
            held: Mutex::new(Held::Nothing),
            pinned: AtomicBool::new(false),
            known: AtomicU64::new(1),
            opens: AtomicU32::new(0),
        });
        nodes.by_id.insert(id, Arc::clone(&node));
        nodes.by_inode.insert(inode, id);
        node
    }

    /// The kernel forgets a node, `times` times.
    pub(super) fn forget(&self, id: u64, times: u64) {
        let mut nodes = lock(&self.nodes);
        let Some(node) = nodes.by_id.get(&id) else { return };
        let left = node.known.load(Ordering::Acquire).saturating_sub(times);
        node.known.store(left, Ordering::Release);
        if left > 0 || id == crate::wire::ROOT {
            return;
        }
        let inode = node.inode;
        if let Some(node) = nodes.by_id.remove(&id) {
            nodes.by_inode.remove(&inode);
            drop(nodes);
            if node.open_file().is_some() {
                self.files.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// A file that was made is open in `node`.
    pub(super) fn hold(&self, node: &Node, file: File) -> Arc<File> {
        let file = Arc::new(file);
        *lock(&node.held) = Held::File(Arc::clone(&file));
        self.files.fetch_add(1, Ordering::Relaxed);
        file
    }

    /// Closes files that nobody uses where too many are open.
    pub(super) fn tidy(&self) {
        if self.files.load(Ordering::Relaxed) < self.most_files {
            return;
        }
        let all: Vec<Arc<Node>> = lock(&self.nodes).by_id.values().cloned().collect();
        let closed = all.iter().filter(|node| node.let_go()).count();
        self.files.fetch_sub(closed, Ordering::Relaxed);
    }

    /// All files that are open, for the end.
    pub(super) fn open_files(&self) -> Vec<Arc<File>> {
        lock(&self.nodes).by_id.values().filter_map(|node| node.open_file()).collect()
    }
}

/// Whether an error says that something was altered.
pub(super) const fn damage(error: Error) -> Option<Damage> {
    match error {
        Error::Damaged(damage) => Some(damage),
        Error::Os(_) => None,
    }
}

/// The place of a node on the disk, for the log: encrypted names only.
pub(super) fn place_on_disk(node: &Node) -> String {
    let mut names = Vec::new();
    let mut next = node.place();
    while let Some(place) = next {
        names.push(place.entry);
        next = place.parent.place();
    }
    names.push(crate::tree::TREE.to_owned());
    names.reverse();
    names.join("/")
}

/// A descriptor for calls that take none of `O_PATH`.
pub(super) fn path_of(node: &Node, tree: &Tree) -> Result<(Held, String), Error> {
    let held = match node.kind {
        FileType::Directory => Held::Directory(node.directory(tree)?),
        _ => node.held(),
    };
    let path = match &held {
        Held::File(file) => proc_path(file.as_fd()),
        Held::Directory(directory) => proc_path(&directory.fd),
        Held::Path(path) => proc_path(path),
        Held::Nothing => return Err(Error::Os(Errno::OPNOTSUPP)),
    };
    Ok((held, path))
}
