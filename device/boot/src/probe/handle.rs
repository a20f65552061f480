//! File handles: what a file system calls its files by, whatever folder they are in. `/data` lies
//! on the same one as the board's files.

use serde::{Deserialize, Serialize};
use std::ffi::{CString, c_int, c_uint};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// `MAX_HANDLE_SZ` of the kernel.
const MAX_BYTES: usize = 128;

/// A file's handle (`name_to_handle_at(2)`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileHandle {
    kind: c_int,
    bytes: Vec<u8>,
}

/// `struct file_handle`, with room for the largest handle.
#[repr(C)]
struct RawHandle {
    length: c_uint,
    kind: c_int,
    bytes: [u8; MAX_BYTES],
}

impl FileHandle {
    /// The handle of the file at `path`.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        let mut raw = RawHandle { length: MAX_BYTES as c_uint, kind: 0, bytes: [0; MAX_BYTES] };
        let mut mount: c_int = 0;
        // SAFETY: `path` ends with NUL, `raw` has room for as many bytes as it says, and both
        // live through the call.
        let done = unsafe {
            libc::syscall(
                libc::SYS_name_to_handle_at,
                libc::AT_FDCWD,
                path.as_ptr(),
                &raw mut raw,
                &raw mut mount,
                0,
            )
        };
        if done != 0 {
            return Err(io::Error::last_os_error());
        }
        let length = usize::try_from(raw.length).unwrap_or(MAX_BYTES).min(MAX_BYTES);
        Ok(Self { kind: raw.kind, bytes: raw.bytes[..length].to_vec() })
    }

    /// Opens the file through `mount`, any file on the same file system.
    pub(super) fn open(&self, mount: impl AsRawFd) -> io::Result<OwnedFd> {
        let mut raw = RawHandle { length: 0, kind: self.kind, bytes: [0; MAX_BYTES] };
        let room = raw.bytes.get_mut(..self.bytes.len());
        room.ok_or(io::ErrorKind::InvalidInput)?.copy_from_slice(&self.bytes);
        raw.length = self.bytes.len() as c_uint;
        let flags = libc::O_RDONLY | libc::O_CLOEXEC;
        // SAFETY: `raw` holds as many bytes as it says and lives through the call.
        let fd = unsafe {
            libc::syscall(libc::SYS_open_by_handle_at, mount.as_raw_fd(), &raw const raw, flags)
        };
        match c_int::try_from(fd) {
            // SAFETY: the kernel just gave this descriptor to nobody else.
            Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
            _ => Err(io::Error::last_os_error()),
        }
    }
}
