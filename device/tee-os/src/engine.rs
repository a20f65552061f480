//! The crypto engine of the trusted OS: one [`tee_engine::Engine`] for each trusted application,
//! hanging on the HUK and on who the application is (SPEC S2.1.3, S2.1.4).

use crate::os::Os;
use crate::secrets::MasterSecrets;
use crate::syscalls::{self, only};
use crate::workers::{Customer, Made, Order};
use crypto::kdf::hkdf_sha256;
use crypto::secret::Secret;
use tee_api::engine::{Answer, Call, Usage};
use tee_api::gatekeeper::Gatekeeper;
use tee_api::keymint::KeyMint;
use tee_api::ta::SyscallReply;
use tee_api::{Identity, Protocol, TeeError};
use tee_engine::{Next, Roots};

/// What the engine of one trusted application hangs on.
struct OfTa<'os> {
    secrets: &'os MasterSecrets,
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
        Ok((Secret::new(self.secrets.auth_token_key), usage))
    }
}

impl Os {
    /// Answers a call of the trusted application at `at`. What takes long goes to the workers.
    pub(crate) fn engine(&mut self, at: usize, call: Call) -> Result<syscalls::Answer, TeeError> {
        let ta = &mut self.tas[at];
        let roots = OfTa { secrets: &self.secrets, identity: ta.identity };
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
        let process = self.tas[at].process.as_ref().map_or(0, |process| process.pid);
        self.workers.order(Customer { ta: at, process }, order);
        syscalls::Answer::Later
    }

    /// Hands out what the workers made. Whoever ordered it may be gone.
    pub(crate) fn serve_workers(&mut self) {
        for (customer, made) in self.workers.take_made() {
            let at = customer.ta;
            let ta = &mut self.tas[at];
            let process = ta.process.as_ref().map(|process| process.pid);
            if process != Some(customer.process) || !ta.waiting {
                continue;
            }
            let answer = match made {
                Made::Key(key) => key.and_then(|key| ta.engine.insert(key)),
                Made::Bytes(bytes) => bytes.map(Answer::Bytes),
            };
            self.answer(at, answer.map_or_else(SyscallReply::Refused, SyscallReply::Engine));
        }
    }
}
