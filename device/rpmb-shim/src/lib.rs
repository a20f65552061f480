//! Preloaded (`LD_PRELOAD`), this library lets programs that know an eMMC's RPMB partition use a
//! chip that `holdfast rpmb serve` keeps: Debian's `mmc rpmb …`, unchanged.
//!
//! `open` of a Unix socket, which the kernel refuses, becomes a connection to it. The ioctls
//! `MMC_IOC_CMD` and `MMC_IOC_MULTI_CMD` on such a connection become one batch each ([`wire`]).
//! With `HOLDFAST_RPMB_SOCKET` in the environment they go to that socket whatever file they are
//! called on; `HOLDFAST_RPMB_DEVICE` limits that to one path. All else goes to the kernel.

mod connection;
mod mmc;
#[path = "../../rpmb-chip/src/wire.rs"]
#[allow(dead_code)]
pub mod wire;

use libc::{c_char, c_int, c_uint, c_ulong, c_void, mode_t};
use std::ffi::CStr;

/// Sets `errno` and gives -1, as libc's functions do.
fn failed(errno: c_int) -> c_int {
    // SAFETY: the address of this thread's errno is always valid.
    unsafe { *libc::__errno_location() = errno };
    -1
}

/// # Safety
/// As libc's `open`: `path` is a C string.
unsafe fn open_at(folder: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: the arguments are the caller's; the kernel checks what it reads.
    let opened = unsafe { libc::syscall(libc::SYS_openat, folder, path, flags, mode) } as c_int;
    // ENXIO is what the kernel says to the open of a socket.
    if opened >= 0 || std::io::Error::last_os_error().raw_os_error() != Some(libc::ENXIO) {
        return opened;
    }
    // SAFETY: the kernel has just read the string.
    let path = unsafe { CStr::from_ptr(path) };
    connection::open(path, flags).unwrap_or_else(|| failed(libc::ENXIO))
}

/// libc's `open`; `mode` counts where `flags` creates.
///
/// # Safety
/// `path` is a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn open(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { open_at(libc::AT_FDCWD, path, flags, mode) }
}

/// libc's `open64`.
///
/// # Safety
/// `path` is a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn open64(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { open_at(libc::AT_FDCWD, path, flags | libc::O_LARGEFILE, mode) }
}

/// libc's `openat`.
///
/// # Safety
/// `path` is a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn openat(
    folder: c_int,
    path: *const c_char,
    flags: c_int,
    mode: mode_t,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { open_at(folder, path, flags, mode) }
}

/// What `open` is where the compiler checks its arguments.
///
/// # Safety
/// `path` is a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __open_2(path: *const c_char, flags: c_int) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { open_at(libc::AT_FDCWD, path, flags, 0) }
}

/// What `open64` is where the compiler checks its arguments.
///
/// # Safety
/// `path` is a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __open64_2(path: *const c_char, flags: c_int) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { open_at(libc::AT_FDCWD, path, flags | libc::O_LARGEFILE, 0) }
}

/// libc's `ioctl`.
///
/// # Safety
/// `argument` is what `request` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ioctl(fd: c_int, request: c_ulong, argument: *mut c_void) -> c_int {
    if let Some(kind) = mmc::Kind::of(request as c_uint)
        && let Some(mut chip) = connection::of(fd)
    {
        // SAFETY: this request's argument points to what `kind` says; the caller's promise.
        return match unsafe { mmc::run(kind, argument, &mut chip) } {
            Ok(()) => 0,
            Err(errno) => failed(errno),
        };
    }
    // SAFETY: the arguments are the caller's; the kernel checks what it reads.
    unsafe { libc::syscall(libc::SYS_ioctl, fd, request, argument) as c_int }
}
