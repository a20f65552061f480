//! A disk and an RPMB block in memory, where power can go at any operation.

use secure_storage::{ANCHOR_BYTES, Anchor, AnchorError, FileError, FileId, Files, Keys, Owner};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// What a power cut leaves open: each of these may have happened wholly, partly or not at all.
#[derive(Debug, Clone)]
enum Unsure {
    Created(FileId, u32),
    Written(FileId, u32, Vec<u8>),
    Removed(FileId),
    Anchored(Box<[u8; ANCHOR_BYTES]>),
}

/// What lasts.
#[derive(Debug, Clone)]
pub(crate) struct Platter {
    pub(crate) files: BTreeMap<FileId, Vec<u8>>,
    pub(crate) anchor: [u8; ANCHOR_BYTES],
}

impl Default for Platter {
    fn default() -> Self {
        Self { files: BTreeMap::new(), anchor: [0; ANCHOR_BYTES] }
    }
}

#[derive(Default)]
struct State {
    /// What lasts for sure.
    platter: Platter,
    /// What is on its way to the platter, in order.
    unsure: Vec<Unsure>,
    /// What a reader sees as long as there is power.
    seen: Platter,
}

/// The disk, powered. A clone is the same disk.
#[derive(Clone, Default)]
pub(crate) struct Disk {
    state: Rc<RefCell<State>>,
    /// Operations that change something until power goes.
    left: Rc<Cell<Option<u32>>>,
    /// Whether there is room for new files.
    pub(crate) full: Rc<Cell<bool>>,
    /// How many synchronous writes there were, of files and of the anchor.
    pub(crate) syncs: Rc<Cell<(u32, u32)>>,
}

impl Disk {
    pub(crate) fn of(platter: Platter) -> Self {
        let disk = Self::default();
        let seen = platter.clone();
        *disk.state.borrow_mut() = State { platter, unsure: Vec::new(), seen };
        disk
    }

    /// Power goes at the operation after `left` more.
    pub(crate) fn lose_power_after(&self, left: u32) {
        self.left.set(Some(left));
    }

    /// Whether it went.
    pub(crate) fn is_off(&self) -> bool {
        self.left.get() == Some(u32::MAX)
    }

    /// What lasts, had power not gone: everything.
    pub(crate) fn platter(&self) -> Platter {
        self.state.borrow().seen.clone()
    }

    /// What lasts after the power cut. `dice` says for each thing that is unsure how much of it
    /// happened, and in which order.
    pub(crate) fn after_power_cut(&self, mut dice: impl FnMut() -> usize) -> Platter {
        let state = self.state.borrow();
        let mut platter = state.platter.clone();
        let mut unsure = state.unsure.clone();
        while !unsure.is_empty() {
            let happened = unsure.remove(dice() % unsure.len());
            let part = match dice() % 3 {
                0 => 0,
                1 => usize::MAX,
                _ => dice() % 8192,
            };
            apply(&mut platter, &happened, part);
        }
        platter
    }

    fn does(&self, what: Unsure) -> Result<(), FileError> {
        match self.left.get() {
            Some(u32::MAX) => return Err(FileError::Unreachable),
            Some(0) => {
                self.left.set(Some(u32::MAX));
                self.state.borrow_mut().unsure.push(what);
                return Err(FileError::Unreachable);
            }
            Some(left) => self.left.set(Some(left - 1)),
            None => {}
        }
        let mut state = self.state.borrow_mut();
        apply(&mut state.seen, &what, usize::MAX);
        state.unsure.push(what);
        Ok(())
    }

    /// What was done to `file` is durable.
    fn sync(&self, file: Option<FileId>) {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        state.unsure.retain(|it| {
            let synced = match it {
                Unsure::Created(of, _) | Unsure::Written(of, ..) | Unsure::Removed(of) => {
                    file == Some(*of)
                }
                Unsure::Anchored(_) => file.is_none(),
            };
            if synced {
                apply(&mut state.platter, it, usize::MAX);
            }
            !synced
        });
    }
}

/// Does the first `part` bytes of something; 0 is nothing.
fn apply(platter: &mut Platter, what: &Unsure, part: usize) {
    if part == 0 {
        return;
    }
    match what {
        Unsure::Created(file, bytes) => {
            platter.files.insert(*file, vec![0; (*bytes as usize).min(part)]);
        }
        Unsure::Written(file, offset, bytes) => {
            let Some(content) = platter.files.get_mut(file) else { return };
            let end = *offset as usize + bytes.len();
            if content.len() < end {
                content.resize(end, 0);
            }
            let part = part.min(bytes.len());
            content[*offset as usize..*offset as usize + part].copy_from_slice(&bytes[..part]);
        }
        Unsure::Removed(file) => {
            platter.files.remove(file);
        }
        // One block: wholly or not at all.
        Unsure::Anchored(block) => platter.anchor = **block,
    }
}

impl Files for Disk {
    async fn create(&self, file: FileId, bytes: u32) -> Result<(), FileError> {
        if self.full.get() {
            return Err(FileError::Full);
        }
        self.does(Unsure::Created(file, bytes))?;
        self.sync(Some(file));
        Ok(())
    }

    async fn write(
        &self,
        file: FileId,
        offset: u32,
        bytes: Vec<u8>,
        sync: bool,
    ) -> Result<(), FileError> {
        assert!(bytes.len() <= secure_storage::MAX_IO_BYTES);
        let there = self.state.borrow().seen.files.get(&file).map_or(0, Vec::len);
        if there < offset as usize + bytes.len() {
            return Err(FileError::Missing);
        }
        self.does(Unsure::Written(file, offset, bytes))?;
        if sync {
            let (files, anchors) = self.syncs.get();
            self.syncs.set((files + 1, anchors));
            self.sync(Some(file));
        }
        Ok(())
    }

    async fn read(&self, file: FileId, offset: u32, length: u32) -> Result<Vec<u8>, FileError> {
        if self.is_off() {
            return Err(FileError::Unreachable);
        }
        assert!(length as usize <= secure_storage::MAX_IO_BYTES);
        let state = self.state.borrow();
        let content = state.seen.files.get(&file).ok_or(FileError::Missing)?;
        let range = offset as usize..offset as usize + length as usize;
        content.get(range).map(<[u8]>::to_vec).ok_or(FileError::Missing)
    }

    async fn remove(&self, file: FileId) -> Result<(), FileError> {
        self.does(Unsure::Removed(file))
    }

    async fn list(&self) -> Result<Vec<FileId>, FileError> {
        if self.is_off() {
            return Err(FileError::Unreachable);
        }
        Ok(self.state.borrow().seen.files.keys().copied().collect())
    }
}

impl Anchor for Disk {
    async fn load(&self) -> Result<[u8; ANCHOR_BYTES], AnchorError> {
        Ok(self.state.borrow().seen.anchor)
    }

    async fn store(&self, block: [u8; ANCHOR_BYTES]) -> Result<(), AnchorError> {
        self.does(Unsure::Anchored(Box::new(block)))
            .map_err(|_| AnchorError("power is gone".into()))?;
        let (files, anchors) = self.syncs.get();
        self.syncs.set((files, anchors + 1));
        self.sync(None);
        Ok(())
    }
}

/// The keys of a device.
pub(crate) struct DeviceKeys(pub(crate) [u8; 32]);

impl Keys for DeviceKeys {
    fn anchor_key(&self) -> crypto::secret::Secret<32> {
        crypto::kdf::hkdf_sha256(&self.0, &[], &[b"anchor"])
    }

    fn owner_key(&self, owner: &Owner) -> crypto::secret::Secret<32> {
        crypto::kdf::hkdf_sha256(&self.0, owner, &[b"owner"])
    }
}

/// The disk answers at once, so nothing ever waits.
pub(crate) fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the disk answers at once"),
    }
}
