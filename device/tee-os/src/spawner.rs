//! Starts TA processes: a small process that the trusted OS forks off before it knows any
//! secret. When it ends, the kernel ends them. Each TA locks itself in as it starts
//! (`tee_sdk::isolation` says why not earlier).

use crate::image::Program;
use board::channel::{self, ChannelError};
use board::exec::Launch;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType,
    recvmsg, socketpair, sockopt,
};
use rustix::process::{WaitOptions, waitpid};
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use tee_api::ta::CHANNEL_FD;
use tee_sdk::{isolation, sandbox};

/// What a new TA process says before it becomes the TA, so that the kernel tells who it is.
const HELLO: [u8; 1] = [0xF6];

/// System calls beyond those of every TEE process: what starting a static program takes, and
/// what that program needs to lock itself in.
const STARTS_PROGRAMS: &[i64] = &[
    libc::SYS_arch_prctl,
    libc::SYS_capget,
    libc::SYS_capset,
    libc::SYS_chdir,
    libc::SYS_clone,
    libc::SYS_close_range,
    libc::SYS_dup2,
    libc::SYS_execveat,
    libc::SYS_getgid,
    libc::SYS_getppid,
    libc::SYS_getuid,
    libc::SYS_landlock_create_ruleset,
    libc::SYS_landlock_restrict_self,
    libc::SYS_mount,
    libc::SYS_openat,
    libc::SYS_pipe2,
    libc::SYS_pivot_root,
    libc::SYS_prctl,
    libc::SYS_prlimit64,
    libc::SYS_rseq,
    libc::SYS_sched_getaffinity,
    libc::SYS_seccomp,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_setrlimit,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_wait4,
];

/// The spawner's name among the processes.
const NAME: &std::ffi::CStr = c"tee-spawner";

/// The trusted OS's end of the spawner.
pub(crate) struct Spawner {
    channel: OwnedFd,
    pid: i32,
}

/// A TA process that just started.
pub(crate) struct Started {
    /// Its channel.
    pub(crate) channel: OwnedFd,
    /// Its process, as the trusted OS and the board see it.
    pub(crate) pid: i32,
}

impl Spawner {
    /// Forks the spawner off. In it, everything in `keep_out` is closed. Must be called while
    /// the process has one thread.
    pub(crate) fn fork(programs: &[Program], keep_out: &[BorrowedFd<'_>]) -> io::Result<Self> {
        let (ours, theirs) = pair()?;
        // SAFETY: this process has one thread, so the child may do whatever it could do.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                drop(ours);
                for fd in keep_out {
                    // SAFETY: the child ends in `serve` and never touches them again; their
                    // owners in the parent are not affected.
                    unsafe { rustix::io::close(rustix::fd::AsRawFd::as_raw_fd(fd)) };
                }
                let code = i32::from(serve(&theirs, programs).is_err());
                // SAFETY: ends the child without running the parent's exit handlers.
                unsafe { libc::_exit(code) }
            }
            pid => Ok(Self { channel: ours, pid }),
        }
    }

    /// Its name and process.
    pub(crate) fn process(&self) -> (&'static str, i32) {
        (NAME.to_str().expect("the name is ASCII"), self.pid)
    }

    /// Starts the program at `index` of those that the spawner was made with.
    pub(crate) fn start(&self, index: usize) -> Result<Started, ChannelError> {
        let (ours, theirs) = pair()?;
        sockopt::set_socket_passcred(&ours, true)?;
        channel::send_with_fds(&self.channel, &(index as u32), &[theirs.as_fd()])?;
        drop(theirs);
        let pid = receive_hello(&ours)?;
        sockopt::set_socket_passcred(&ours, false)?;
        Ok(Started { channel: ours, pid })
    }
}

impl AsFd for Spawner {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

/// The kernel's word for who wrote the hello.
fn receive_hello(socket: &OwnedFd) -> Result<i32, ChannelError> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut iov = [IoSliceMut::new(&mut byte)];
    let got = rustix::io::retry_on_intr(|| {
        recvmsg(socket, &mut iov, &mut control, RecvFlags::CMSG_CLOEXEC)
    })?;
    let pid = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmCredentials(who) => Some(who.pid.as_raw_nonzero().get()),
        _ => None,
    });
    match pid {
        Some(pid) if got.bytes == 1 => Ok(pid),
        _ => Err(ChannelError::Closed),
    }
}

/// The spawner's life: one request after the other, until the trusted OS is gone.
fn serve(control: &OwnedFd, programs: &[Program]) -> Result<(), Box<dyn std::error::Error>> {
    rustix::thread::set_name(NAME)?;
    isolation::drop_capabilities()?;
    sandbox::close_to_observers()?;
    sandbox::allow_only(STARTS_PROGRAMS)?;
    loop {
        let (index, fds): (u32, _) = match channel::receive_with_fds(control) {
            Err(ChannelError::Closed) => return Ok(()),
            other => other?,
        };
        while let Ok(Some(_)) = waitpid(None, WaitOptions::NOHANG) {}
        let (Some(program), Some(fd)) = (programs.get(index as usize), fds.first()) else {
            continue;
        };
        // A program that does not start closes its channel, which tells enough.
        let started = Launch::new(program.file.as_fd(), &program.name)
            .give(fd.as_fd(), CHANNEL_FD)
            .dying_with_parent()
            .spawn_after(|| rustix::io::write(fd, &HELLO).map(drop));
        if let Err(error) = started {
            eprintln!("tee-os: {} did not start: {error}", program.name);
        }
    }
}
