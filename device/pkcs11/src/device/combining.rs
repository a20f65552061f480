//! Operations of several threads go to the TEE together.
//!
//! One thread at a time carries: it takes what waits, its own operation among it, and sends all in
//! one message; meanwhile others gather for the next. A thread carries until its own operation is
//! done, then another that waits does.

use crate::error::{Result, Rv};
use cryptoki_sys::*;
use keymint::ErrorCode;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;
use tee_api::keymint::{MAX_INPUT_BYTES, MAX_USES, Output, Use};

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
struct Turn {
    thread: Thread,
    state: Mutex<State>,
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
    /// This thread's.
    fn new() -> Self {
        Self { thread: std::thread::current(), state: Mutex::default() }
    }

    /// From another thread.
    fn tell(&self, state: State) {
        *self.lock() = state;
        self.thread.unpark();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What came of its operation; `None`: it is to carry.
    fn wait(&self) -> Option<Result<Used>> {
        loop {
            let state = std::mem::take(&mut *self.lock());
            match state {
                State::Done(result) => return Some(result),
                State::Carries => return None,
                State::Waits => std::thread::park(),
            }
        }
    }

    /// What came of its operation, if it is done.
    fn look(&self) -> Option<Result<Used>> {
        match std::mem::take(&mut *self.lock()) {
            State::Done(result) => Some(result),
            _ => None,
        }
    }
}

impl Combiner {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Uses a key; `send` sends what one message carries.
    pub(super) fn perform(
        &self,
        wanted: Use,
        send: impl Fn(Vec<Use>) -> Result<Vec<Used>>,
    ) -> Result<Used> {
        let turn = Arc::new(Turn::new());
        let carries = {
            let mut queue = self.queue();
            queue.waiting.push_back((wanted, Arc::clone(&turn)));
            !std::mem::replace(&mut queue.carried, true)
        };
        if !carries && let Some(result) = turn.wait() {
            return result;
        }
        loop {
            self.carry(&send);
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
    fn carry(&self, send: impl Fn(Vec<Use>) -> Result<Vec<Used>>) {
        let (uses, turns) = self.batch();
        let count = turns.len();
        let results = match send(uses) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use keymint::{Authorizations, KeyPurpose};
    use serde_bytes::ByteBuf;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tee_api::keymint::Ticket;

    fn wanted(input: Vec<u8>) -> Use {
        Use {
            ticket: Ticket([1; 16]),
            purpose: KeyPurpose::Sign,
            params: Authorizations::default(),
            aad: None,
            input: ByteBuf::from(input),
            signature: None,
            token: None,
        }
    }

    /// Gives each input back, and refuses what is empty.
    fn echo(uses: Vec<Use>) -> Result<Vec<Used>> {
        let answer = |wanted: Use| match wanted.input.is_empty() {
            true => Err(ErrorCode::InvalidInputLength),
            false => Ok(Output { output: wanted.input, nonce: None }),
        };
        Ok(uses.into_iter().map(answer).collect())
    }

    #[test]
    fn each_thread_gets_what_came_of_its_own_operation() {
        let (combiner, most) = (Combiner::default(), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for thread in 0..8u8 {
                let (combiner, most) = (&combiner, &most);
                scope.spawn(move || {
                    for number in 0..500u16 {
                        let [high, low] = number.to_be_bytes();
                        let used = combiner.perform(wanted(vec![thread, high, low]), |uses| {
                            most.fetch_max(uses.len(), Ordering::Relaxed);
                            std::thread::yield_now();
                            echo(uses)
                        });
                        assert_eq!(used.unwrap().unwrap().output[..], [thread, high, low]);
                    }
                });
            }
        });
        assert!(most.into_inner() <= MAX_USES);
    }

    #[test]
    fn a_refusal_and_a_lost_message_reach_who_they_concern() {
        let combiner = Combiner::default();
        let refused = combiner.perform(wanted(vec![]), echo).unwrap();
        assert_eq!(refused.unwrap_err(), ErrorCode::InvalidInputLength);
        let lost = combiner.perform(wanted(vec![1]), |_| Err(Rv(CKR_DEVICE_REMOVED)));
        assert_eq!(lost.err(), Some(Rv(CKR_DEVICE_REMOVED)));
        let short = combiner.perform(wanted(vec![1]), |_| Ok(vec![]));
        assert_eq!(short.err(), Some(Rv(CKR_DEVICE_ERROR)));
        assert!(combiner.perform(wanted(vec![1]), echo).unwrap().is_ok());
    }
}
