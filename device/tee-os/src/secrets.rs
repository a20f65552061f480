//! Memory for the keys that everything hangs on.

use board::{Silicon, SiliconError};
use rustix::mm::{Advice, MapFlags, ProtFlags};
use std::ops::Deref;
use std::ptr::NonNull;
use zeroize::Zeroize;

/// Bytes that are mapped: one page.
const PAGE_BYTES: usize = 4096;

/// The keys of the trusted OS. It holds none that opens anything without the RPMB's content.
#[derive(Zeroize)]
pub(crate) struct MasterSecrets {
    /// Signs what is written to RPMB.
    pub(crate) rpmb_key: [u8; 32],
    /// The keys of index and objects derive from it.
    pub(crate) storage_key: [u8; 32],
    /// The keys of trusted applications derive from it.
    pub(crate) engine_key: [u8; 32],
    /// The key that signs hardware auth tokens is agreed on with it.
    pub(crate) shared_secret_key: [u8; 32],
    /// Signs what a person confirmed; another one after each power-on.
    pub(crate) confirmation_key: [u8; 32],
}

impl MasterSecrets {
    /// Derives them from the HUK, into `place`.
    pub(crate) fn derive_into(&mut self, silicon: &dyn Silicon) -> Result<(), SiliconError> {
        let boot_nonce = silicon.random(32)?;
        let derive = |key: &mut [u8; 32], label: &str, context: &[u8]| {
            let mut derived = silicon.derive(label, context)?;
            key.copy_from_slice(&derived);
            derived.zeroize();
            Ok::<_, SiliconError>(())
        };
        derive(&mut self.rpmb_key, "tee-os/rpmb", &[])?;
        derive(&mut self.storage_key, "tee-os/storage", &[])?;
        derive(&mut self.engine_key, "tee-os/engine", &[])?;
        derive(&mut self.shared_secret_key, "tee-os/shared-secret", &[])?;
        derive(&mut self.confirmation_key, "tee-os/confirmation", &boot_nonce)
    }
}

/// A value in memory that no other process can map or read, root included (`memfd_secret(2)`).
/// It is wiped when it goes.
pub(crate) struct SecretBox<T: Zeroize> {
    place: NonNull<T>,
    protected: bool,
}

impl SecretBox<MasterSecrets> {
    /// All zero, to be filled where it lies.
    pub(crate) fn zeroed() -> rustix::io::Result<Self> {
        const { assert!(size_of::<MasterSecrets>() <= PAGE_BYTES) };
        let (page, protected) = match secret_page() {
            Ok(page) => (page, true),
            Err(_) => (locked_page()?, false),
        };
        let place = NonNull::new(page.cast()).expect("the kernel maps nothing at address 0");
        Ok(Self { place, protected })
    }
}

impl<T: Zeroize> SecretBox<T> {
    /// Whether the kernel keeps the memory from every other process; else it is locked into
    /// memory and left out of dumps, no more.
    pub(crate) const fn is_protected(&self) -> bool {
        self.protected
    }

    /// The value, to fill it.
    pub(crate) const fn get_mut(&mut self) -> &mut T {
        // SAFETY: the page is mapped as long as `self`, aligned beyond any `T`, zeroed at
        // first (a valid `T`, which only `zeroed` chooses), and borrowed through `self` alone.
        unsafe { self.place.as_mut() }
    }
}

impl<T: Zeroize> Deref for SecretBox<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: as in `get_mut`.
        unsafe { self.place.as_ref() }
    }
}

impl<T: Zeroize> Drop for SecretBox<T> {
    fn drop(&mut self) {
        self.get_mut().zeroize();
        // SAFETY: this page was mapped by `secret_page` or `locked_page` for this value only.
        let _ = unsafe { rustix::mm::munmap(self.place.as_ptr().cast(), PAGE_BYTES) };
    }
}

/// A page of `memfd_secret(2)`, which the C library does not wrap.
fn secret_page() -> rustix::io::Result<*mut std::ffi::c_void> {
    use rustix::fd::{FromRawFd, OwnedFd};
    // SAFETY: the call takes flags only and gives a new descriptor or an error.
    let number = unsafe { libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC) };
    if number < 0 {
        return Err(rustix::io::Errno::NOSYS);
    }
    // SAFETY: the descriptor is new, so nobody else owns it.
    let file = unsafe { OwnedFd::from_raw_fd(number as i32) };
    rustix::fs::ftruncate(&file, PAGE_BYTES as u64)?;
    // SAFETY: a new mapping at an address of the kernel's choice touches no existing memory.
    let page = unsafe {
        rustix::mm::mmap(
            std::ptr::null_mut(),
            PAGE_BYTES,
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::SHARED,
            &file,
            0,
        )
    }?;
    keep_from_children(page)?;
    Ok(page)
}

/// An ordinary page, kept out of swap and dumps.
fn locked_page() -> rustix::io::Result<*mut std::ffi::c_void> {
    // SAFETY: a new mapping at an address of the kernel's choice touches no existing memory.
    let page = unsafe {
        rustix::mm::mmap_anonymous(
            std::ptr::null_mut(),
            PAGE_BYTES,
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::PRIVATE,
        )
    }?;
    // SAFETY: the range is the page that was just mapped.
    unsafe {
        let _ = rustix::mm::mlock(page, PAGE_BYTES);
        rustix::mm::madvise(page, PAGE_BYTES, Advice::LinuxDontDump)?;
    }
    keep_from_children(page)?;
    Ok(page)
}

fn keep_from_children(page: *mut std::ffi::c_void) -> rustix::io::Result<()> {
    // SAFETY: the range is a page that the caller mapped; the advice only affects children.
    unsafe { rustix::mm::madvise(page, PAGE_BYTES, Advice::LinuxDontFork) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s2_1_1_secret_memory_can_not_be_read_through_proc() {
        let mut secrets = SecretBox::zeroed().unwrap();
        secrets.get_mut().rpmb_key = [0x5A; 32];
        assert_eq!(secrets.rpmb_key, [0x5A; 32]);
        if !secrets.is_protected() {
            eprintln!("not run: this kernel has no memfd_secret");
            return;
        }
        let own = std::fs::File::open("/proc/self/mem").unwrap();
        let at = secrets.place.as_ptr() as u64;
        let mut out = [0; 32];
        let read = std::os::unix::fs::FileExt::read_at(&own, &mut out, at);
        assert!(!matches!(read, Ok(count) if count > 0), "{read:?}");
        assert_eq!(out, [0; 32]);
    }
}
