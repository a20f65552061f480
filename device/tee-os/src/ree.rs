//! Programs of the system, at the other end of connections that they opened.

use crate::memory::SharedMemory;
use crate::ta::Sessions;
use board::channel::{self, ChannelError};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::net::{SocketFlags, accept_with, sockopt};
use tee_api::ree::{Reply, Request};
use tee_api::{Login, LoginMethod};

/// The most connections at a time.
pub(crate) const MAX_CONNECTIONS: usize = 128;
/// The most connections of one user, so that one can't shut the others out.
pub(crate) const MAX_PER_USER: usize = 96;
/// The most connections of one process.
pub(crate) const MAX_PER_PROCESS: usize = 32;
/// The most sessions of one connection.
pub(crate) const MAX_SESSIONS: usize = 16;
/// The longest security label.
const MAX_LABEL_BYTES: usize = 256;

/// Who connected, as the kernel tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer {
    /// The user.
    pub(crate) uid: u32,
    /// The process; another one may hold the connection by now.
    pub(crate) pid: i32,
}

/// A connection. One request at a time.
pub(crate) struct Connection {
    socket: OwnedFd,
    /// Who is at the other end.
    pub(crate) peer: Peer,
    /// The sessions that it has.
    pub(crate) sessions: Sessions,
    /// The memory that it shares.
    pub(crate) memory: Option<SharedMemory>,
    /// Whether a request is being worked on.
    pub(crate) busy: bool,
}

impl Connection {
    /// Takes the next connection from `listener`.
    pub(crate) fn accept(listener: &OwnedFd) -> Result<Self, ChannelError> {
        let socket = accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
        let credentials = sockopt::socket_peercred(&socket)?;
        let (uid, pid) = (credentials.uid.as_raw(), credentials.pid.as_raw_nonzero().get());
        Ok(Self {
            socket,
            peer: Peer { uid, pid },
            sessions: Sessions::new(),
            memory: None,
            busy: false,
        })
    }

    /// Takes the next request and the descriptors beside it.
    pub(crate) fn receive(&self) -> Result<(Request, Vec<OwnedFd>), ChannelError> {
        channel::receive_with_fds(&self.socket)
    }

    /// Answers. A peer that does not read its answers is no reason to wait.
    pub(crate) fn reply(&mut self, reply: &Reply) -> Result<(), ChannelError> {
        self.busy = false;
        channel::send(&self.socket, reply)
    }

    /// Who the peer is, as far as it wants to be known.
    pub(crate) fn login(&self, method: LoginMethod) -> Login {
        let uid = self.peer.uid;
        match method {
            LoginMethod::Public => Login::Public,
            LoginMethod::User => Login::User { uid },
            LoginMethod::Application => Login::Application { uid, label: self.label() },
        }
    }

    /// The label that the kernel's security module gave the process that connected.
    fn label(&self) -> Option<String> {
        let mut label = [0_u8; MAX_LABEL_BYTES];
        let mut length = label.len() as libc::socklen_t;
        let (level, option) = (libc::SOL_SOCKET, libc::SO_PEERSEC);
        // SAFETY: the call writes at most `length` bytes into `label`, and the length that it
        // has; both outlive it.
        let done = unsafe {
            let place = label.as_mut_ptr().cast();
            libc::getsockopt(self.socket.as_raw_fd(), level, option, place, &raw mut length)
        };
        let given = label.get(..length as usize).filter(|_| done == 0)?;
        let text = std::str::from_utf8(given).ok()?.trim_end_matches('\0');
        (!text.is_empty()).then(|| text.to_owned())
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
