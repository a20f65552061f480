//! Unix sockets in folders whose path may be longer than a socket's address can be.

use rustix::fd::OwnedFd;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
};
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 64;

/// Listens at `folder/name` and takes the place of whatever was left there.
pub fn listen_at(folder: &Path, name: &str, kind: SocketType) -> io::Result<OwnedFd> {
    clear(&folder.join(name))?;
    let socket = socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
    with_address(folder, name, |address| Ok(bind(&socket, address)?))?;
    listen(&socket, BACKLOG)?;
    Ok(socket)
}

/// The system may have left anything, a folder too: that must not keep the device from booting.
fn clear(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => fs::remove_dir_all(path),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Connects to the stream socket `folder/name`. The system can write in some of these folders,
/// so a link is not followed: it could lead to a socket that is none of the system's.
pub fn connect_to(folder: &Path, name: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let place = rustix::fs::open(folder.join(name), flags, Mode::empty())?;
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&place)?.st_mode);
    if kind != FileType::Socket {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{name} is no socket")));
    }
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    let short = format!("/proc/self/fd/{}", place.as_raw_fd());
    connect(&socket, &SocketAddrUnix::new(short.as_str())?)?;
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
        fs::create_dir_all(deep.join("a.sock/left")).unwrap();
        for _ in 0..2 {
            let _listener = listen_at(&deep, "a.sock", SocketType::STREAM).unwrap();
            connect_to(&deep, "a.sock").unwrap();
        }
        assert!(connect_to(&deep, "a.sock").is_err());
    }

    #[test]
    fn does_not_follow_a_link_out_of_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let _listener = listen_at(folder.path(), "board.sock", SocketType::STREAM).unwrap();
        let run = folder.path().join("run");
        fs::create_dir(&run).unwrap();
        std::os::unix::fs::symlink("../board.sock", run.join("screen.sock")).unwrap();
        assert!(connect_to(&run, "screen.sock").is_err());
        fs::write(run.join("file"), "").unwrap();
        assert!(connect_to(&run, "file").is_err());
    }
}
