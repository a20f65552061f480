//! Other TAs, which the one under test calls.

use super::FakeOs;
use board::channel;
use serde_bytes::ByteBuf;
use std::collections::BTreeMap;
use tee_api::call::{Answer, Call};
use tee_api::{Protocol, TaId, TeeError};

type Handler = Box<dyn FnMut(&[u8]) -> Result<Vec<u8>, TeeError>>;

/// The TAs that may be called, and the sessions with them.
#[derive(Default)]
pub(super) struct Peers {
    handlers: BTreeMap<TaId, Handler>,
    sessions: BTreeMap<u32, TaId>,
    next: u32,
}

impl Peers {
    pub(super) fn answer(&mut self, call: Call) -> Result<Answer, TeeError> {
        match call {
            Call::Open { ta } if self.handlers.contains_key(&ta) => {
                self.next += 1;
                self.sessions.insert(self.next, ta);
                Ok(Answer::Opened { session: self.next })
            }
            Call::Open { ta } => Err(TeeError::Denied(format!("no call of {ta} is declared"))),
            Call::Invoke { session, command } => {
                let ta = self.sessions.get(&session);
                let handler = ta.and_then(|ta| self.handlers.get_mut(ta));
                let handler = handler.ok_or_else(|| unknown(session))?;
                handler(&command).map(|reply| Answer::Done(ByteBuf::from(reply)))
            }
            Call::Close { session } => self
                .sessions
                .remove(&session)
                .map(|_| Answer::Closed)
                .ok_or_else(|| unknown(session)),
        }
    }
}

fn unknown(session: u32) -> TeeError {
    TeeError::NotFound(format!("session {session}"))
}

impl FakeOs {
    /// The TA under test may call the one that speaks `P`; `handler` answers for it.
    pub fn answers_for<P: Protocol>(
        &self,
        mut handler: impl FnMut(P::Command) -> Result<P::Reply, TeeError> + 'static,
    ) {
        let handler = move |command: &[u8]| {
            let command = channel::decode(command)
                .map_err(|error| TeeError::BadParameters(error.to_string()))?;
            let reply = handler(command)?;
            channel::encode(&reply).map_err(|error| TeeError::Resources(error.to_string()))
        };
        self.state().peers.handlers.insert(P::TA, Box::new(handler));
    }

    /// How many sessions with other TAs stand.
    #[must_use]
    pub fn sessions_with_others(&self) -> usize {
        self.state().peers.sessions.len()
    }
}
