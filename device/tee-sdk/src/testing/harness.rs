//! A TA that runs in the test, over the trusted OS in memory.

use super::FakeOs;
use crate::{Instance, Question, TrustedApplication};
use board::channel;
use serde_bytes::ByteBuf;
use tee_api::ta::{FromTa, ToTa};
use tee_api::ui::Said;
use tee_api::{Login, Protocol, TeeError};

/// A TA that runs in the test. Starting another one from the same [`FakeOs`] is what a panic
/// and a clean restart look like.
pub struct Harness<T: TrustedApplication> {
    pub(super) os: FakeOs,
    pub(super) instance: Instance<T>,
}

impl<T: TrustedApplication> Harness<T> {
    /// A caller's `uid` opens session `session`. [`Harness::call`] needs none.
    pub fn open(&mut self, session: u32, uid: u32) -> Result<(), TeeError> {
        self.open_as(session, Login::User { uid })
    }

    /// A caller opens session `session`.
    pub fn open_as(&mut self, session: u32, login: Login) -> Result<(), TeeError> {
        self.finish(ToTa::Open { session, login }).map(drop)
    }

    /// Runs a command in session 1; questions get the answers that the test set.
    pub fn call(
        &mut self,
        command: &<T::Protocol as Protocol>::Command,
    ) -> Result<<T::Protocol as Protocol>::Reply, TeeError> {
        let command = channel::encode(command).expect("test commands encode");
        let reply = self.call_raw(&command)?;
        Ok(channel::decode(&reply).expect("replies decode as the protocol's type"))
    }

    /// Runs a command in a session of its own.
    pub fn call_in(
        &mut self,
        session: u32,
        command: &<T::Protocol as Protocol>::Command,
    ) -> Result<<T::Protocol as Protocol>::Reply, TeeError> {
        let command = ByteBuf::from(channel::encode(command).expect("test commands encode"));
        let reply = self.finish(ToTa::Invoke { session, command })?;
        Ok(channel::decode(&reply).expect("replies decode as the protocol's type"))
    }

    /// The caller closes a session.
    pub fn close(&mut self, session: u32) {
        let _ = self.finish(ToTa::Close { session });
    }

    /// Sends bytes as a command, as a hostile caller can.
    pub fn call_raw(&mut self, command: &[u8]) -> Result<Vec<u8>, TeeError> {
        let command = ByteBuf::from(command);
        self.finish(ToTa::Invoke { session: 1, command }).map(ByteBuf::into_vec)
    }

    /// Runs a command up to its question, and gives that; the person has not answered yet.
    ///
    /// # Panics
    /// Where the command ends without a question.
    pub fn ask(&mut self, command: &<T::Protocol as Protocol>::Command) -> Asked {
        let command = ByteBuf::from(channel::encode(command).expect("test commands encode"));
        match self.instance.handle(&mut self.os, ToTa::Invoke { session: 1, command }) {
            FromTa::Ask { question, .. } => Asked(question),
            _ => panic!("the command asked nothing"),
        }
    }

    /// The person answers a question that stood.
    pub fn answer(
        &mut self,
        Asked(question): Asked,
        text: &str,
    ) -> Result<<T::Protocol as Protocol>::Reply, TeeError> {
        let answer = Ok(Said::Typed(text.into()));
        let reply = self.finish(ToTa::Answered { question, answer })?;
        Ok(channel::decode(&reply).expect("replies decode as the protocol's type"))
    }

    fn finish(&mut self, mut request: ToTa) -> Result<ByteBuf, TeeError> {
        loop {
            match self.instance.handle(&mut self.os, request) {
                FromTa::Done(result) => return result,
                FromTa::Ask { question, ask } => {
                    let answer = self.os.answer(<T::Protocol as Protocol>::TA, Question(ask));
                    request = ToTa::Answered { question, answer };
                }
                FromTa::Generate { question, attributes } => {
                    let key = self.os.make_key(<T::Protocol as Protocol>::TA, attributes);
                    request = ToTa::Made { question, key };
                }
                FromTa::Syscall(_) => unreachable!("an instance calls the OS through its context"),
            }
        }
    }
}

/// A question that stands.
#[derive(Debug)]
pub struct Asked(u32);
