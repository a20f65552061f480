//! A visit to a running normal world, as its root: for those who want to see what an attacker
//! there could reach.

use board::exec::{Launch, sealed};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, WaitOptions, pidfd_open, waitpid};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// Why a visit did not come about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VisitError {
    /// There is no such process.
    #[error("process {0} can't be visited: {1}")]
    NoWorld(i32, Errno),
    /// The world has no namespaces of its own, so there is nothing to enter.
    #[error(
        "process {0} runs in the host's own namespaces; allow unprivileged user namespaces and \
         boot anew"
    )]
    NotIsolated(i32),
    /// The program can't be read or started there.
    #[error("the visiting program: {0}")]
    Program(#[from] io::Error),
    /// It ended without success.
    #[error("the visiting program failed")]
    Failed,
}

/// Runs the static executable at `program` as root inside all namespaces of `ree_pid` (the
/// board's status tells it) and gives what it printed.
pub fn enter(ree_pid: i32, program: &Path, arguments: &[&str]) -> Result<String, VisitError> {
    let world = Pid::from_raw(ree_pid).ok_or(VisitError::NoWorld(ree_pid, Errno::SRCH))?;
    let world = pidfd_open(world, PidfdFlags::empty())
        .map_err(|error| VisitError::NoWorld(ree_pid, error))?;
    if !is_isolated(ree_pid)? {
        return Err(VisitError::NotIsolated(ree_pid));
    }
    let image = sealed("visitor", &fs::read(program)?)?;
    let (read, write) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(io::Error::from)?;
    let nothing = File::open("/dev/null")?;
    let launch = arguments
        .iter()
        .fold(Launch::new(image.as_fd(), "visitor"), |launch, text| launch.argument(text))
        .give(nothing.as_fd(), 0)
        .give(write.as_fd(), 1)
        .in_new_session();
    let visitor = launch.spawn_after(|| go_inside(&world))?;
    drop(launch);
    drop(write);
    let mut said = String::new();
    let heard = File::from(read).read_to_string(&mut said);
    let ended = waitpid(Some(visitor), WaitOptions::empty()).map_err(io::Error::from)?;
    heard?;
    match ended.and_then(|(_, status)| status.exit_status()) {
        Some(0) => Ok(said),
        _ => Err(VisitError::Failed),
    }
}

/// Whether the process lives in a user namespace other than the caller's.
fn is_isolated(pid: i32) -> io::Result<bool> {
    let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/user"));
    Ok(namespace("self")? != namespace(&pid.to_string())?)
}

/// In the child: joins every namespace at once, then forks into the process namespace; what
/// stays outside waits and ends as the inner one does.
fn go_inside(world: &OwnedFd) -> Result<(), Errno> {
    let all = libc::CLONE_NEWUSER
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWCGROUP;
    let fd = std::os::fd::AsRawFd::as_raw_fd(world);
    // SAFETY: plain system call in a child with one thread.
    if unsafe { libc::setns(fd, all) } != 0 {
        return Err(last_errno());
    }
    // SAFETY: the child has one thread and does system calls only.
    match unsafe { libc::fork() } {
        -1 => Err(last_errno()),
        0 => Ok(()),
        inner => {
            let mut status = 0;
            // SAFETY: `status` lives through the call; `_exit` ends this child at once.
            unsafe {
                // The inner process holds what it needs: here nothing may keep the pipe open.
                libc::syscall(libc::SYS_close_range, 0, libc::c_int::MAX, 0);
                libc::waitpid(inner, &raw mut status, 0);
                let code = if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 1 };
                libc::_exit(code)
            }
        }
    }
}

fn last_errno() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)
}
