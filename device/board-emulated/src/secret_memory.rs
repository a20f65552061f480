//! Memory for key material: unmapped from the kernel's own view where the kernel can do that
//! (`memfd_secret(2)`), else locked; in no dump and in no child.

use crypto::secret::Secret;
use rustix::fd::{FromRawFd, OwnedFd};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mlock, mmap, mmap_anonymous, munmap};
use std::ffi::c_void;
use std::{io, ptr};

const PAGE_BYTES: usize = 4096;

/// Thirty-two secret bytes on a page of their own.
#[derive(Debug)]
pub struct SecretPage {
    address: *mut c_void,
    unmapped_from_kernel: bool,
}

// SAFETY: the page belongs to this value alone and is never written after `hold`.
unsafe impl Send for SecretPage {}
// SAFETY: as above; shared references only read.
unsafe impl Sync for SecretPage {}

impl SecretPage {
    /// Moves `secret` onto a page of its own.
    pub fn hold(secret: &Secret<32>) -> io::Result<Self> {
        let page = match Self::in_secret_memory() {
            Ok(page) => page,
            Err(_) => Self::in_locked_memory()?,
        };
        // SAFETY: the page is mapped writable, belongs to nobody else yet and has 4,096 bytes.
        unsafe {
            madvise(page.address, PAGE_BYTES, Advice::LinuxDontFork)?;
            ptr::copy_nonoverlapping(secret.expose().as_ptr(), page.address.cast(), 32);
        }
        Ok(page)
    }

    /// The bytes, where an algorithm needs them.
    #[must_use]
    pub const fn expose(&self) -> &[u8; 32] {
        // SAFETY: the page is mapped, holds 32 initialised bytes and lives as long as `self`.
        unsafe { &*self.address.cast() }
    }

    /// Whether not even the kernel's own mapping shows the bytes.
    #[must_use]
    pub const fn is_unmapped_from_kernel(&self) -> bool {
        self.unmapped_from_kernel
    }

    fn in_secret_memory() -> io::Result<Self> {
        // SAFETY: plain system call; the flag closes the descriptor on exec.
        let fd = unsafe { libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC) };
        let fd =
            i32::try_from(fd).ok().filter(|fd| *fd >= 0).ok_or_else(io::Error::last_os_error)?;
        // SAFETY: the kernel just gave this descriptor to nobody else.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        rustix::fs::ftruncate(&fd, PAGE_BYTES as u64)?;
        // SAFETY: a fresh mapping at an address that the kernel chooses.
        let address = unsafe {
            mmap(
                ptr::null_mut(),
                PAGE_BYTES,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                &fd,
                0,
            )?
        };
        Ok(Self { address, unmapped_from_kernel: true })
    }

    fn in_locked_memory() -> io::Result<Self> {
        // SAFETY: a fresh mapping at an address that the kernel chooses.
        let address = unsafe {
            mmap_anonymous(
                ptr::null_mut(),
                PAGE_BYTES,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE,
            )?
        };
        let page = Self { address, unmapped_from_kernel: false };
        // SAFETY: the page is mapped and belongs to this value.
        unsafe {
            mlock(address, PAGE_BYTES)?;
            madvise(address, PAGE_BYTES, Advice::LinuxDontDump)?;
        }
        Ok(page)
    }
}

impl Drop for SecretPage {
    fn drop(&mut self) {
        // SAFETY: the page is mapped, writable and belongs to this value, which is never used
        // again; volatile, so that the write is not left out.
        unsafe {
            ptr::write_volatile(self.address.cast::<[u8; 32]>(), [0; 32]);
            let _ = munmap(self.address, PAGE_BYTES);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_it_holds_in_both_kinds_of_memory() {
        let secret = Secret::<32>::random();
        let page = SecretPage::hold(&secret).unwrap();
        assert_eq!(page.expose(), secret.expose());
        let locked = SecretPage::in_locked_memory().unwrap();
        assert!(!locked.is_unmapped_from_kernel());
    }
}
