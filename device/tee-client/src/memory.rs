//! Memory that a program shares with its commands (GlobalPlatform's registered shared memory): for
//! messages that are larger than a command.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use tee_api::TeeError;
use tee_api::ree::MAX_SHARED_BYTES;

/// Memory that the TEE works on while a command of this program runs.
///
/// ```no_run
/// # use tee_api::gatekeeper::{Command, Gatekeeper};
/// let session = tee_client::Tee::connect("/run/tee.sock")?.session::<Gatekeeper>()?;
/// let mut memory = tee_client::SharedMemory::new(1 << 20)?;
/// memory.write(0, b"a large message")?;
/// let reply = session.call_with_memory(Command::Status, &mut memory)?;
/// # Ok::<(), tee_client::TeeError>(())
/// ```
#[derive(Debug)]
pub struct SharedMemory {
    /// Which one: no other of this process ever has it.
    pub(crate) id: u64,
    file: OwnedFd,
    start: NonNull<c_void>,
    bytes: usize,
}

// SAFETY: the mapping belongs to this value alone, and goes with it.
unsafe impl Send for SharedMemory {}

impl SharedMemory {
    /// Memory of zeros; 1 byte to [`MAX_SHARED_BYTES`].
    pub fn new(bytes: usize) -> Result<Self, TeeError> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        if !(1..=MAX_SHARED_BYTES).contains(&(bytes as u64)) {
            let said = format!("shared memory has 1 to {MAX_SHARED_BYTES} bytes");
            return Err(TeeError::BadParameters(said));
        }
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = memfd_create("tee-shared-memory", flags).map_err(lacking)?;
        ftruncate(&file, bytes as u64).map_err(lacking)?;
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW).map_err(lacking)?;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at a place that the kernel chooses.
        let start =
            unsafe { mmap(std::ptr::null_mut(), bytes, access, MapFlags::SHARED, &file, 0) };
        let start = NonNull::new(start.map_err(lacking)?)
            .ok_or_else(|| TeeError::Resources("shared memory at address zero".into()))?;
        Ok(Self { id: NEXT.fetch_add(1, Ordering::Relaxed), file, start, bytes })
    }

    /// How large it is.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Puts `data` at `offset`.
    pub fn write(&mut self, offset: usize, data: &[u8]) -> Result<(), TeeError> {
        let place = self.place(offset, data.len())?;
        // SAFETY: `place` has room for `data` inside the mapping; nothing else of this process
        // refers to it, and the TEE works on it only while a command runs, which borrows it.
        unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), place, data.len()) };
        Ok(())
    }

    /// Takes what is at `offset`.
    pub fn read(&self, offset: usize, out: &mut [u8]) -> Result<(), TeeError> {
        let place = self.place(offset, out.len())?;
        // SAFETY: as for `write`.
        unsafe { std::ptr::copy_nonoverlapping(place, out.as_mut_ptr(), out.len()) };
        Ok(())
    }

    /// Appends the first `bytes` of it to `out`.
    pub fn append_to(&self, out: &mut Vec<u8>, bytes: usize) -> Result<(), TeeError> {
        let place = self.place(0, bytes)?;
        out.reserve(bytes);
        // SAFETY: as for `write`; `out` has room for so many bytes more, and all of them are
        // written before they count.
        unsafe {
            std::ptr::copy_nonoverlapping(place, out.as_mut_ptr().add(out.len()), bytes);
            out.set_len(out.len() + bytes);
        }
        Ok(())
    }

    fn place(&self, offset: usize, bytes: usize) -> Result<*mut u8, TeeError> {
        if offset.checked_add(bytes).is_none_or(|end| end > self.bytes) {
            return Err(TeeError::BadParameters("the shared memory ends before that".into()));
        }
        // SAFETY: inside the mapping, as was just checked.
        Ok(unsafe { self.start.as_ptr().cast::<u8>().add(offset) })
    }
}

impl AsFd for SharedMemory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's, and nothing refers to it any more.
        let _ = unsafe { munmap(self.start.as_ptr(), self.bytes) };
    }
}

fn lacking(error: rustix::io::Errno) -> TeeError {
    TeeError::Resources(format!("shared memory: {error}"))
}
