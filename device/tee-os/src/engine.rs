//! The crypto engine of the trusted OS: one [`tee_engine::Engine`] for each trusted application,
//! hanging on the HUK and on who the application is (SPEC S2.1.3, S2.1.4).

use crate::os::Os;
use crate::secrets::MasterSecrets;
use crate::syscalls::only;
use crypto::kdf::hkdf_sha256;
use crypto::secret::Secret;
use tee_api::engine::{Answer, Call, Usage};
use tee_api::gatekeeper::Gatekeeper;
use tee_api::keymint::KeyMint;
use tee_api::{Identity, Protocol, TeeError};
use tee_engine::Roots;

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
    /// Answers a call of the trusted application at `at`.
    pub(crate) fn engine(&mut self, at: usize, call: Call) -> Result<Answer, TeeError> {
        let ta = &mut self.tas[at];
        let roots = OfTa { secrets: &self.secrets, identity: ta.identity };
        ta.engine.call(call, &roots)
    }
}
