//! Unix sockets in folders whose path may be longer than a socket's address can be.

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
};
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 64;

/// Listens at `folder/name` and takes the place of a socket that was left there.
pub fn listen_at(folder: &Path, name: &str, kind: SocketType) -> io::Result<OwnedFd> {
    match fs::remove_file(folder.join(name)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
    with_address(folder, name, |address| Ok(bind(&socket, address)?))?;
    listen(&socket, BACKLOG)?;
    Ok(socket)
}

/// Connects to the stream socket `folder/name`.
pub fn connect_to(folder: &Path, name: &str) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    with_address(folder, name, |address| Ok(connect(&socket, address)?))?;
    Ok(socket)
}

/// Names the socket through a descriptor of its folder: short, however deep that lies.
fn with_address<T>(
    folder: &Path,
    name: &str,
    action: impl FnOnce(&SocketAddrUnix) -> io::Result<T>,
) -> io::Result<T> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::open(folder, flags, Mode::empty())?;
    let short = format!("/proc/self/fd/{}/{name}", folder.as_raw_fd());
    action(&SocketAddrUnix::new(short.as_str())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listens_in_a_folder_with_a_long_path() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("x".repeat(200));
        fs::create_dir(&deep).unwrap();
        for _ in 0..2 {
            let _listener = listen_at(&deep, "a.sock", SocketType::STREAM).unwrap();
            connect_to(&deep, "a.sock").unwrap();
        }
        assert!(connect_to(&deep, "a.sock").is_err());
    }
}
