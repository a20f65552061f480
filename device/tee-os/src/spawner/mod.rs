//! Starts and ends TA processes: a small process that the trusted OS forks off before it knows
//! any secret. When it ends, the kernel ends them. A TA's program is locked in before its first
//! instruction, see [`child`].

mod child;

use crate::image::Program;
use board::channel::{self, ChannelError};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType,
    recvmsg, socketpair, sockopt,
};
use serde::{Deserialize, Serialize};
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;

/// What a new TA process says before it becomes the TA, so that the kernel tells who it is.
const HELLO: [u8; 1] = [0xF6];

/// What the trusted OS tells the spawner.
#[derive(Debug, Serialize, Deserialize)]
enum Order {
    /// Start a program. Beside it: the TA's end of its channel, the executable.
    Start {
        /// Its `argv[0]`.
        name: String,
        /// Bytes of memory that it may ask for.
        memory_bytes: u64,
    },
    /// End a program that was started.
    Kill {
        /// As it said hello.
        pid: i32,
    },
}

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
    pub(crate) fn fork(keep_out: &[BorrowedFd<'_>]) -> io::Result<Self> {
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
                let code = i32::from(child::serve(&theirs).is_err());
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

    /// Starts a program.
    pub(crate) fn start(&self, program: &Program) -> Result<Started, ChannelError> {
        let (ours, theirs) = pair()?;
        sockopt::set_socket_passcred(&ours, true)?;
        let order =
            Order::Start { name: program.name.clone(), memory_bytes: program.limits.memory_bytes };
        channel::send_with_fds(&self.channel, &order, &[theirs.as_fd(), program.file.as_fd()])?;
        drop(theirs);
        let pid = receive_hello(&ours)?;
        sockopt::set_socket_passcred(&ours, false)?;
        Ok(Started { channel: ours, pid })
    }

    /// Ends a program that [`Self::start`] started; one that has ended already is no error.
    pub(crate) fn kill(&self, pid: i32) -> Result<(), ChannelError> {
        channel::send(&self.channel, &Order::Kill { pid })
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
