//! Which descriptors lead to a chip.

use libc::c_int;
use std::ffi::CStr;
use std::mem::ManuallyDrop;
use std::ops::DerefMut;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// The socket that answers for other files.
const SOCKET: &str = "HOLDFAST_RPMB_SOCKET";
/// The only file that it answers for.
const DEVICE: &str = "HOLDFAST_RPMB_DEVICE";

/// Connects to the socket at `path`.
pub(crate) fn open(path: &CStr, flags: c_int) -> Option<RawFd> {
    let path = Path::new(path.to_str().ok()?);
    let socket = UnixStream::connect(path).ok()?;
    if flags & libc::O_CLOEXEC == 0 {
        // SAFETY: the descriptor is ours; std opened it with CLOEXEC set.
        unsafe { libc::fcntl(socket.as_raw_fd(), libc::F_SETFD, 0) };
    }
    Some(socket.into_raw_fd())
}

/// The chip that `fd` leads to: a connection of [`open`]'s, or by the environment.
pub(crate) fn of(fd: RawFd) -> Option<Chip> {
    if is_unix_socket(fd) {
        // SAFETY: the descriptor is open and stays the caller's: it is never dropped here.
        let socket = unsafe { UnixStream::from_raw_fd(fd) };
        return Some(Chip::Opened(ManuallyDrop::new(socket)));
    }
    let socket = std::env::var_os(SOCKET)?;
    if let Some(device) = std::env::var_os(DEVICE) {
        let opened = std::fs::read_link(format!("/proc/self/fd/{fd}")).ok()?;
        let device = std::fs::canonicalize(device).ok()?;
        (opened == device).then_some(())?;
    }
    UnixStream::connect(socket).ok().map(Chip::Named)
}

fn is_unix_socket(fd: RawFd) -> bool {
    if fd < 0 {
        return false;
    }
    // SAFETY: a descriptor that is not open makes the call fail; it is not kept.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    fd.try_clone_to_owned().is_ok_and(|copy| UnixStream::from(copy).peer_addr().is_ok())
}

/// A way to a chip.
pub(crate) enum Chip {
    /// The program opened it and will close it.
    Opened(ManuallyDrop<UnixStream>),
    /// Opened for one ioctl.
    Named(UnixStream),
}

impl Chip {
    pub(crate) fn socket(&mut self) -> &mut UnixStream {
        match self {
            Self::Opened(socket) => socket.deref_mut(),
            Self::Named(socket) => socket,
        }
    }
}
