//! The system's files, served to the normal world from the flash.

use super::fuse::{Answer, Request};
use super::{Damage, Files, System};
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use std::cell::RefCell;
use std::ffi::CString;
use std::path::Path;

/// Room for the longest request that there can be here.
const REQUEST_BYTES: usize = 16 * 1024;
/// Room for what one read does on the way.
const STACK_BYTES: usize = 256 * 1024;

/// Why the files can't be served.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {cause}")]
pub struct ServeError {
    step: &'static str,
    cause: std::io::Error,
}

impl ServeError {
    /// Adds to an error what was being done.
    pub fn at<E: Into<std::io::Error>>(step: &'static str) -> impl FnOnce(E) -> Self {
        move |cause| Self { step, cause: cause.into() }
    }

    /// The first stage found no `/dev/fuse`.
    #[must_use]
    pub fn no_device() -> Self {
        Self { step: "finding /dev/fuse", cause: std::io::ErrorKind::NotFound.into() }
    }

    /// What to do about it, for people.
    #[must_use]
    pub fn mend(&self) -> String {
        format!(
            "this host gave the system no FUSE ({self}): load the kernel's fuse module, and let \
             this user (and its container) open /dev/fuse"
        )
    }
}

/// Mounts `files` at `place`, read-only, and serves them from a thread of its own for as long as
/// this process lives. `device` is the place of `/dev/fuse` ([`board::fds::FUSE`]): it is opened
/// here, for the kernel wants a device that was opened inside the world that uses it.
///
/// `watch` is told of each bad block, after its reader has had the answer.
pub fn serve(
    device: &OwnedFd,
    place: &Path,
    system: System<'static>,
    files: Files,
    watch: impl Fn(Damage) + Send + 'static,
) -> Result<(), ServeError> {
    let path = format!("/proc/self/fd/{}", device.as_fd().as_raw_fd());
    let device = openat(CWD, path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .map_err(ServeError::at("opening /dev/fuse"))?;
    let options = format!(
        "fd={},rootmode=40755,user_id=0,group_id=0,default_permissions,allow_other",
        device.as_raw_fd()
    );
    let options = CString::new(options).expect("numbers and words have no NUL in them");
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::RDONLY;
    mount("system", place, "fuse", flags, options.as_c_str())
        .map_err(ServeError::at("mounting"))?;
    let server = Server { device, system, files };
    let thread = std::thread::Builder::new().name("system-files".into()).stack_size(STACK_BYTES);
    thread.spawn(move || server.run(watch)).map_err(ServeError::at("making a thread"))?;
    Ok(())
}

struct Server {
    device: OwnedFd,
    system: System<'static>,
    files: Files,
}

impl Server {
    /// Answers until the file system is unmounted: its world may do that, to its own loss.
    fn run(&self, watch: impl Fn(Damage)) {
        let mut buffer = vec![0; REQUEST_BYTES];
        loop {
            match rustix::io::read(&self.device, buffer.as_mut_slice()) {
                Ok(length) => self.answer(&buffer[..length], &watch),
                // Whoever asked was interrupted before the request was taken.
                Err(Errno::INTR | Errno::AGAIN | Errno::NOENT) => {}
                Err(_) => return,
            }
        }
    }

    fn answer(&self, bytes: &[u8], watch: &impl Fn(Damage)) {
        let Some(request) = Request::parse(bytes) else { return };
        let seen = RefCell::new(Vec::new());
        let blocks = self.system.blocks();
        let answer = match request.answer(&self.files, blocks) {
            Answer::Nothing => return,
            Answer::Now(answer) => answer,
            Answer::Data(range) => {
                let data = self.system.read(range, |damage| seen.borrow_mut().push(damage));
                data.ok_or(Errno::IO)
            }
        };
        // Nobody waits any more where this fails.
        let _ = rustix::io::write(&self.device, &request.reply(answer.as_deref().map_err(|e| *e)));
        seen.into_inner().into_iter().for_each(watch);
    }
}
