//! Programs of the system, at the other end of connections that they opened.

use board::channel::{self, ChannelError};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::net::{SocketFlags, accept_with, sockopt};
use std::collections::BTreeMap;
use tee_api::ree::{Reply, Request};
use tee_api::ta::Login;

/// The most connections at a time.
pub(crate) const MAX_CONNECTIONS: usize = 64;
/// The most sessions of one connection.
pub(crate) const MAX_SESSIONS: usize = 16;

/// A connection. One request at a time: while one is being worked on, no other is read.
pub(crate) struct Connection {
    socket: OwnedFd,
    /// Who is at the other end, as the kernel tells.
    pub(crate) login: Login,
    /// Sessions and the TA of each (its place among the OS's); `None` once that TA died.
    pub(crate) sessions: BTreeMap<u32, Option<usize>>,
    /// Whether a request is being worked on.
    pub(crate) busy: bool,
}

impl Connection {
    /// Takes the next connection from `listener`.
    pub(crate) fn accept(listener: &OwnedFd) -> Result<Self, ChannelError> {
        let socket = accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
        let uid = sockopt::socket_peercred(&socket)?.uid.as_raw();
        Ok(Self { socket, login: Login { uid }, sessions: BTreeMap::new(), busy: false })
    }

    /// Takes the next request. Descriptors that came beside it are closed.
    pub(crate) fn receive(&self) -> Result<Request, ChannelError> {
        channel::receive(&self.socket)
    }

    /// Answers. A peer that does not read its answers is no reason to wait.
    pub(crate) fn reply(&mut self, reply: &Reply) -> Result<(), ChannelError> {
        self.busy = false;
        channel::send(&self.socket, reply)
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
