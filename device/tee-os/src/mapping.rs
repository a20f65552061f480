//! A sealed memfd, mapped to be read.

use board::exec;
use rustix::fd::{AsFd, BorrowedFd};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::io;
use std::ops::Deref;

/// The content of a sealed memfd. The seals hold it still, whoever else has the descriptor.
pub(crate) struct Mapping {
    start: *mut std::ffi::c_void,
    bytes: usize,
}

impl Mapping {
    /// Maps `fd`, which must be sealed and not empty.
    pub(crate) fn of(fd: BorrowedFd<'_>) -> io::Result<Self> {
        if !exec::is_sealed(fd) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a sealed memfd"));
        }
        let size = rustix::fs::fstat(fd.as_fd())?.st_size;
        let bytes = usize::try_from(size).map_err(|_| io::ErrorKind::InvalidInput)?;
        // SAFETY: a new, private, read-only mapping at an address of the kernel's choice.
        let start = unsafe {
            mmap(std::ptr::null_mut(), bytes, ProtFlags::READ, MapFlags::PRIVATE, fd, 0)
        }?;
        Ok(Self { start, bytes })
    }
}

impl Deref for Mapping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the range is mapped as long as `self`; the seals against writing and
        // shrinking keep the content from ever changing or going.
        unsafe { std::slice::from_raw_parts(self.start.cast(), self.bytes) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `of` mapped this range for `self` alone.
        let _ = unsafe { munmap(self.start, self.bytes) };
    }
}
