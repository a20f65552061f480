//! The crypto engine of the trusted OS: one [`tee_engine::Engine`] for each trusted application,
//! hanging on the HUK and on who the application is (SPEC S2.1.3, S2.1.4).

use crate::os::Os;
use crate::secrets::MasterSecrets;
use crate::syscalls::{self, only};
use crate::workers::{Customer, Made, Order};
use crypto::kdf::hkdf_sha256;
use crypto::secret::Secret;
use tee_api::engine::{Answer, Attributes, Call, Handle, Usage};
use tee_api::gatekeeper::Gatekeeper;
use tee_api::keymint::KeyMint;
use tee_api::ta::SyscallReply;
use tee_api::{Identity, Protocol, TeeError};
use tee_engine::shared_secret::Agreement;
use tee_engine::{Key, Next, Roots};

/// What the engine of one trusted application hangs on.
struct OfTa<'os> {
    secrets: &'os MasterSecrets,
    agreement: &'os Agreement,
    identity: Identity,
}

impl Roots for OfTa<'_> {
    /// Two trusted applications never get the same key, nor does one ever get a key of the OS.
    fn derive(&self, info: &[&[u8]]) -> Result<Secret<32>, TeeError> {
        Ok(hkdf_sha256(&self.secrets.engine_key, &self.identity.owner(), info))
    }

    /// Gatekeeper makes tokens, KeyMint checks them.
    fn auth_token_key(&self) -> Result<(Secret<32>, Usage), TeeError> {
        only(self.identity, &[Gatekeeper::TA, KeyMint::TA])?;
        let usage = if self.identity.uuid == Gatekeeper::TA {
            Usage::MAC | Usage::VERIFY
        } else {
            Usage::VERIFY
        };
        let common = Secret::new(self.secrets.shared_secret_key);
        Ok((self.agreement.key(&common)?, usage))
    }
}

impl Os {
    /// Answers a call of the trusted application at `at`. What takes long goes to the workers.
    pub(crate) fn engine(&mut self, at: usize, call: Call) -> Result<syscalls::Answer, TeeError> {
        let ta = &mut self.tas[at];
        let (secrets, agreement) = (&self.secrets, &self.agreement);
        let roots = OfTa { secrets, agreement, identity: ta.identity };
        let answer = match ta.engine.next(call, &roots)? {
            Next::Answer(answer) => answer,
            Next::Generate(attributes) => return Ok(self.order(at, Order::Generate(attributes))),
            Next::Run(task) => return Ok(self.order(at, Order::Run(task))),
            Next::RunAll(tasks) => Answer::All(self.workers.run_all(tasks)),
            Next::RunOnMemory(task, input, output) => {
                Answer::Written(self.run_on_memory(at, task, input, output)?)
            }
        };
        Ok(syscalls::Answer::Now(SyscallReply::Engine(answer)))
    }

    fn order(&self, at: usize, order: Order) -> syscalls::Answer {
        self.workers.order(self.customer(at, None), order);
        syscalls::Answer::Later
    }

    fn customer(&self, at: usize, question: Option<u32>) -> Customer {
        let process = self.tas[at].process.as_ref().map_or(0, |process| process.pid);
        Customer { ta: at, process, question }
    }

    /// A key for a command of the TA at `at`, which does others meanwhile.
    pub(crate) fn order_key(
        &mut self,
        at: usize,
        question: u32,
        attributes: Attributes,
    ) -> Result<Option<Handle>, TeeError> {
        let ta = &mut self.tas[at];
        let (secrets, agreement) = (&self.secrets, &self.agreement);
        let roots = OfTa { secrets, agreement, identity: ta.identity };
        match ta.engine.next(Call::Generate { attributes }, &roots)? {
            Next::Answer(Answer::Handle(handle)) => Ok(Some(handle)),
            Next::Generate(attributes) => {
                self.workers.order(self.customer(at, Some(question)), Order::Generate(attributes));
                Ok(None)
            }
            _ => Err(TeeError::BadState("the engine made no key".into())),
        }
    }

    /// Hands out what the workers made. Whoever ordered it may be gone.
    pub(crate) fn serve_workers(&mut self) {
        for (customer, made) in self.workers.take_made() {
            let at = customer.ta;
            let ta = &mut self.tas[at];
            let process = ta.process.as_ref().map(|process| process.pid);
            if process != Some(customer.process) {
                continue;
            }
            let answer = match made {
                Made::Key(key) if customer.question.is_some() => {
                    self.hand_out(at, customer.question, key);
                    continue;
                }
                _ if !ta.waiting => continue,
                Made::Key(key) => key.and_then(|key| ta.engine.insert(key)),
                Made::Bytes(bytes) => bytes.map(Answer::Bytes),
            };
            self.answer(at, answer.map_or_else(SyscallReply::Refused, SyscallReply::Engine));
        }
    }

    /// Gives a key to the command that waits for it; that may have been withdrawn.
    fn hand_out(&mut self, at: usize, question: Option<u32>, key: Result<Key, TeeError>) {
        let ta = &mut self.tas[at];
        let Some(question) = question.filter(|question| ta.making.contains_key(question)) else {
            return;
        };
        let handle = key.and_then(|key| match ta.engine.insert(key)? {
            Answer::Handle(handle) => Ok(handle),
            _ => Err(TeeError::BadState("the engine kept no key".into())),
        });
        self.made(at, question, handle);
    }
}
