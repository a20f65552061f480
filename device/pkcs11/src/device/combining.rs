//! Operations of several threads go to the TEE together.
//!
//! One thread at a time carries: it takes what waits, its own operation among it, and sends all in
//! one message; meanwhile others gather for the next. A thread carries until its own operation is
//! done, then another that waits does.

use super::tee::{Tee, ask, unexpected};
use crate::error::{Result, Rv};
use cryptoki_sys::*;
use keymint::ErrorCode;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use tee_api::keymint::{Command, MAX_INPUT_BYTES, MAX_USES, Output, Reply, Use};

/// What came of a use: what came out, or which of KeyMint's rules said no.
pub(super) type Used = std::result::Result<Output, ErrorCode>;

/// Brings operations together.
#[derive(Default)]
pub(super) struct Combiner {
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<(Use, Arc<Turn>)>,
    /// Somebody carries.
    carried: bool,
}

/// Where a thread waits.
#[derive(Default)]
struct Turn {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
enum State {
    #[default]
    Waits,
    /// It is to carry.
    Carries,
    Done(Result<Used>),
}

impl Turn {
    fn tell(&self, state: State) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
        self.changed.notify_one();
    }

    /// What came of its operation; `None`: it is to carry.
    fn wait(&self) -> Option<Result<Used>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match std::mem::take(&mut *state) {
                State::Done(result) => return Some(result),
                State::Carries => return None,
                State::Waits => {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    /// What came of its operation, if it is done.
    fn look(&self) -> Option<Result<Used>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::take(&mut *state) {
            State::Done(result) => Some(result),
            _ => None,
        }
    }
}

impl Combiner {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Uses a key.
    pub(super) fn perform(&self, tee: &Tee, wanted: Use) -> Result<Used> {
        let turn = Arc::new(Turn::default());
        let carries = {
            let mut queue = self.queue();
            queue.waiting.push_back((wanted, Arc::clone(&turn)));
            !std::mem::replace(&mut queue.carried, true)
        };
        if !carries && let Some(result) = turn.wait() {
            return result;
        }
        loop {
            self.carry(tee);
            if let Some(result) = turn.look() {
                self.pass_on();
                return result;
            }
        }
    }

    /// Another that waits is to carry.
    fn pass_on(&self) {
        let mut queue = self.queue();
        match queue.waiting.front() {
            Some((_, next)) => next.tell(State::Carries),
            None => queue.carried = false,
        }
    }

    /// Sends what waits.
    fn carry(&self, tee: &Tee) {
        let (uses, turns) = self.batch();
        let count = turns.len();
        let results = match send(tee, uses) {
            Ok(results) if results.len() == count => results.into_iter().map(Ok).collect(),
            Ok(_) => vec![Err(Rv(CKR_DEVICE_ERROR)); count],
            Err(error) => vec![Err(error); count],
        };
        for (turn, result) in turns.into_iter().zip(results) {
            turn.tell(State::Done(result));
        }
    }

    /// As many as go into one message.
    fn batch(&self) -> (Vec<Use>, Vec<Arc<Turn>>) {
        let mut queue = self.queue();
        let (mut uses, mut turns, mut bytes) = (Vec::new(), Vec::new(), 0);
        while let Some((next, _)) = queue.waiting.front() {
            bytes += next.input.len() + next.aad.as_ref().map_or(0, |aad| aad.len());
            if !uses.is_empty() && (bytes > MAX_INPUT_BYTES || uses.len() == MAX_USES) {
                break;
            }
            if let Some((next, turn)) = queue.waiting.pop_front() {
                uses.push(next);
                turns.push(turn);
            }
        }
        (uses, turns)
    }
}

fn send(tee: &Tee, uses: Vec<Use>) -> Result<Vec<Used>> {
    let session = tee.session()?;
    let reply = ask(&session, &Command::Use(uses))?;
    tee.give_back(session);
    match reply {
        Reply::Used(results) => Ok(results),
        other => Err(unexpected(&other)),
    }
}
