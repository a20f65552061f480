//! Calls of other trusted applications, and whether anybody still waits for this one.
//!
//! Whom a TA may call its signed image declares (`holdfast.ta.calls`).

use super::{Context, unexpected};
use board::channel;
use serde_bytes::ByteBuf;
use std::borrow::Borrow;
use std::marker::PhantomData;
use tee_api::call::{Answer, Call};
use tee_api::ta::{Syscall, SyscallReply};
use tee_api::{Protocol, TeeError};

/// A session with another TA. It ends with [`Context::close`], or with this TA's process.
#[derive(Debug)]
pub struct Peer<P> {
    session: u32,
    protocol: PhantomData<fn() -> P>,
}

impl Context<'_> {
    /// Calls the TA that speaks `P` once: a session of its own for the one command.
    pub fn call_once<P: Protocol>(
        &mut self,
        command: impl Borrow<P::Command>,
    ) -> Result<P::Reply, TeeError> {
        let peer = self.connect::<P>()?;
        let reply = self.call_peer(&peer, command);
        // One that died has no session that could be closed.
        let _ = self.close(peer);
        reply
    }

    /// Opens a session with the TA that speaks `P`; it hears that this TA called. Refused
    /// `Denied` where the signed list does not have it, `BadState` where it waits for this TA.
    pub fn connect<P: Protocol>(&mut self) -> Result<Peer<P>, TeeError> {
        match self.peer_call(Call::Open { ta: P::TA })? {
            Answer::Opened { session } => Ok(Peer { session, protocol: PhantomData }),
            other => Err(unexpected(&SyscallReply::Call(other))),
        }
    }

    /// Runs a command in a session; waits until it is done. `Cancelled` once whoever called this
    /// TA withdrew the request.
    pub fn call_peer<P: Protocol>(
        &mut self,
        peer: &Peer<P>,
        command: impl Borrow<P::Command>,
    ) -> Result<P::Reply, TeeError> {
        let command = channel::encode(command.borrow())
            .map_err(|error| TeeError::BadParameters(error.to_string()))?;
        let (session, command) = (peer.session, ByteBuf::from(command));
        match self.peer_call(Call::Invoke { session, command })? {
            Answer::Done(reply) => channel::decode(&reply)
                .map_err(|error| TeeError::Communication(format!("the other's reply: {error}"))),
            other => Err(unexpected(&SyscallReply::Call(other))),
        }
    }

    /// Closes a session.
    pub fn close<P: Protocol>(&mut self, peer: Peer<P>) -> Result<(), TeeError> {
        self.peer_call(Call::Close { session: peer.session }).map(drop)
    }

    /// Whether whoever waits for this request withdrew it. A command that computes for long asks
    /// now and then, and ends with [`TeeError::Cancelled`].
    pub fn is_cancelled(&mut self) -> bool {
        self.os.is_cancelled()
    }

    fn peer_call(&mut self, call: Call) -> Result<Answer, TeeError> {
        match self.call(Syscall::Call(call))? {
            SyscallReply::Call(answer) => Ok(answer),
            other => Err(unexpected(&other)),
        }
    }
}
