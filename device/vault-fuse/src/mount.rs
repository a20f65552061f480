//! Mounting: by the kernel for root, by `fusermount3` for everybody else.

use crate::error::VaultError;
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType,
    recvmsg, socketpair,
};
use std::ffi::CString;
use std::fs;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::path::Path;
use std::process::{Command, Stdio};

const SOURCE: &str = "holdfast-vault";
const KIND: &str = "fuse.holdfast";
/// Who mounts for those who may not.
const HELPERS: [&str; 2] = ["fusermount3", "fusermount"];
/// How far ahead the kernel reads, where this program may say so.
const READ_AHEAD_KIB: &str = "1024";

/// Mounts at `mount`; what comes back is the file system's end of the kernel's queue.
pub(crate) fn mount(mount: &Path) -> Result<OwnedFd, VaultError> {
    let refused = |why: String| VaultError::Mount { mount: mount.to_owned(), why };
    if !fs::metadata(mount).map_err(VaultError::at(mount))?.is_dir() {
        return Err(refused("it is no directory".into()));
    }
    if !rustix::process::geteuid().is_root() {
        return by_helper(mount).map_err(refused);
    }
    let device = open("/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| refused(format!("/dev/fuse: {error}; is FUSE in the kernel?")))?;
    let number = device.as_fd().as_raw_fd();
    let options =
        format!("fd={number},rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other");
    let options = CString::new(options).expect("options have no NUL");
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    rustix::mount::mount(SOURCE, mount, KIND, flags, Some(options.as_c_str()))
        .map_err(|error| refused(error.to_string()))?;
    Ok(device)
}

/// `fusermount3` opens `/dev/fuse`, mounts, and sends the descriptor through a socket.
fn by_helper(mount: &Path) -> Result<OwnedFd, String> {
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .map_err(|error| error.to_string())?;
    fcntl_setfd(&theirs, FdFlags::empty()).map_err(|error| error.to_string())?;
    let options = format!("rw,nosuid,nodev,default_permissions,fsname={SOURCE},subtype=holdfast");
    let mut command = helper()?;
    command
        .args(["-o", &options, "--"])
        .arg(mount)
        .env("_FUSE_COMMFD", theirs.as_fd().as_raw_fd().to_string());
    let ended = command.stderr(Stdio::piped()).output().map_err(|error| error.to_string())?;
    drop(theirs);
    if !ended.status.success() {
        return Err(String::from_utf8_lossy(&ended.stderr).trim().to_owned());
    }
    receive(&ours).map_err(|error| format!("the helper sent no descriptor: {error}"))
}

fn receive(socket: &OwnedFd) -> io::Result<OwnedFd> {
    let mut byte = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut control, flags)?;
    let received = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    received.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// The helper that is installed.
fn helper() -> Result<Command, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> =
        std::env::split_paths(&path).chain(["/usr/bin".into(), "/bin".into()]).collect();
    let all = HELPERS.iter().flat_map(|name| folders.iter().map(move |it| it.join(name)));
    let found = all.into_iter().find(|path| path.is_file());
    found
        .map(Command::new)
        .ok_or_else(|| "fusermount3 is missing: install the package fuse3, or mount as root".into())
}

/// Unmounts; `EBUSY` where something of it is in use. With `detach` what is in use goes on with
/// what it has open.
pub(crate) fn unmount(mount: &Path, detach: bool) -> Result<(), Errno> {
    let detached = if detach { UnmountFlags::DETACH } else { UnmountFlags::empty() };
    match rustix::mount::unmount(mount, detached | UnmountFlags::NOFOLLOW) {
        Err(Errno::PERM) => {}
        ended => return ended,
    }
    let mut command = helper().map_err(|_| Errno::PERM)?;
    command.arg(if detach { "-uz" } else { "-u" }).arg("--").arg(mount);
    let ended = command.stdout(Stdio::null()).stderr(Stdio::piped()).output();
    let ended = ended.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    let said = String::from_utf8_lossy(&ended.stderr);
    match ended.status.success() {
        true => Ok(()),
        false if said.contains("busy") => Err(Errno::BUSY),
        false if said.contains("not found") || said.contains("not mounted") => Err(Errno::INVAL),
        false => Err(Errno::PERM),
    }
}

/// The number of the mounted file system, as `0:45`, without asking it.
pub(crate) fn device_number(mount: &Path) -> Option<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let wanted = mount.to_str()?;
    table
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(2);
            let (number, place) = (fields.next()?, fields.nth(1)?);
            (unescape(place) == wanted).then(|| number.to_owned())
        })
        .next_back()
}

/// Spaces and the like are octal numbers in that table.
fn unescape(place: &str) -> String {
    let codes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    codes.iter().fold(place.to_owned(), |place, (code, plain)| place.replace(code, plain))
}

/// Lets the kernel read farther ahead. Only root may say so; without it reads are smaller.
pub(crate) fn read_farther_ahead(mount: &Path) {
    if let Some(number) = device_number(mount) {
        let _ = fs::write(format!("/sys/class/bdi/{number}/read_ahead_kb"), READ_AHEAD_KIB);
    }
}

/// Ends a connection: whoever still uses the file system gets errors, and its keys go.
pub(crate) fn abort(number: &str) -> io::Result<()> {
    let minor = number.split(':').next_back().unwrap_or_default();
    fs::write(format!("/sys/fs/fuse/connections/{minor}/abort"), "1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_with_spaces_are_found_in_the_table() {
        assert_eq!(unescape("/a\\040b\\134c"), "/a b\\c");
        assert!(device_number(Path::new("/")).is_some_and(|number| number.contains(':')));
        assert_eq!(device_number(Path::new("/no such mount")), None);
    }
}
