//! The engine of the trusted OS in memory: the real one, over another HUK.

use super::{FakeOs, State};
use crypto::kdf::hkdf_sha256;
use crypto::secret::Secret;
use tee_api::engine::{Answer, Attributes, Call, Handle, Usage};
use tee_api::{Identity, TaId, TeeError};
use tee_engine::Roots;

/// What the engine of one TA hangs on.
struct OfTa {
    huk: Secret<32>,
    auth_token_key: Secret<32>,
    owner: [u8; 32],
}

impl Roots for OfTa {
    fn derive(&self, info: &[&[u8]]) -> Result<Secret<32>, TeeError> {
        Ok(hkdf_sha256(self.huk.expose(), &self.owner, info))
    }

    fn auth_token_key(&self) -> Result<(Secret<32>, Usage), TeeError> {
        Ok((self.auth_token_key.duplicate(), Usage::MAC | Usage::VERIFY))
    }
}

impl State {
    pub(super) fn auth_token_key(&self) -> Secret<32> {
        self.agreement.key(&self.shared_secret_key()).expect("a key for everybody who takes part")
    }

    pub(super) fn shared_secret_key(&self) -> Secret<32> {
        hkdf_sha256(&self.huk, &[], &[b"shared secret"])
    }

    pub(super) fn engine(&mut self, ta: TaId, call: Call) -> Result<Answer, TeeError> {
        let auth_token_key = self.auth_token_key();
        let owner = Identity::of_maker(ta).owner();
        let roots = OfTa { huk: Secret::new(self.huk), auth_token_key, owner };
        self.engines.entry(ta).or_default().call(call, &roots)
    }
}

impl FakeOs {
    /// Makes a key that a command of the TA waits for.
    pub fn make_key(&self, ta: TaId, attributes: Attributes) -> Result<Handle, TeeError> {
        match self.state().engine(ta, Call::Generate { attributes })? {
            Answer::Handle(handle) => Ok(handle),
            _ => Err(TeeError::Communication("the engine gave no key".into())),
        }
    }

    /// What all who agree on the auth tokens' key have from their factory.
    #[must_use]
    pub fn shared_secret_key(&self) -> [u8; 32] {
        *self.state().shared_secret_key().expose()
    }

    /// How many key objects and operations a TA has open: for tests that nothing is left behind.
    #[must_use]
    pub fn open_handles(&self, ta: TaId) -> usize {
        self.state().engines.get(&ta).map_or(0, tee_engine::Engine::open)
    }
}
