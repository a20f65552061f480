//! The TEE, as the daemon calls it.

use tee_api::TeeError;
use tee_api::gatekeeper::{self, Status};
use tee_api::keymint;

/// The two trusted applications that the daemon calls. Calls block; those that show a prompt
/// block until the person answered.
pub trait Tee: Send + Sync {
    /// Calls gatekeeper.
    fn gatekeeper(&self, command: gatekeeper::Command) -> Result<gatekeeper::Reply, TeeError>;
    /// Calls KeyMint.
    fn keymint(&self, command: keymint::Command) -> Result<keymint::Reply, TeeError>;
}

/// An answer that does not belong to the question.
fn unexpected<T>() -> Result<T, TeeError> {
    Err(TeeError::Communication("the answer does not belong to the question".into()))
}

impl dyn Tee + '_ {
    /// The state of the locks.
    pub fn status(&self) -> Result<Status, TeeError> {
        match self.gatekeeper(gatekeeper::Command::Status)? {
            gatekeeper::Reply::Status(status) => Ok(status),
            _ => unexpected(),
        }
    }

    /// A command of gatekeeper that answers `Done`.
    pub fn do_gatekeeper(&self, command: gatekeeper::Command) -> Result<(), TeeError> {
        match self.gatekeeper(command)? {
            gatekeeper::Reply::Done => Ok(()),
            _ => unexpected(),
        }
    }

    /// The key of the device-encrypted area.
    pub fn device_key(&self) -> Result<[u8; 32], TeeError> {
        match self.gatekeeper(gatekeeper::Command::DeviceKey)? {
            gatekeeper::Reply::Key(key) => key.as_slice().try_into().or_else(|_| unexpected()),
            _ => unexpected(),
        }
    }

    /// A nonce for the next ticket.
    pub fn ticket_nonce(&self) -> Result<[u8; 32], TeeError> {
        match self.gatekeeper(gatekeeper::Command::TicketNonce)? {
            gatekeeper::Reply::Nonce(nonce) => Ok(nonce),
            _ => unexpected(),
        }
    }

    /// Destroys the keys; says how often that was done.
    pub fn erase(&self) -> Result<u64, TeeError> {
        match self.gatekeeper(gatekeeper::Command::Erase)? {
            gatekeeper::Reply::Erased { erasures } => Ok(erasures),
            _ => unexpected(),
        }
    }

    /// A fresh signing key with an attestation over `challenge`: its blob and its chain.
    pub fn attested_key(&self, challenge: &[u8]) -> Result<(Vec<u8>, Vec<Vec<u8>>), TeeError> {
        let challenge = Some(serde_bytes::ByteBuf::from(challenge));
        match self.keymint(keymint::Command::GenerateKey { challenge })? {
            keymint::Reply::Key { blob, chain, .. } => {
                Ok((blob.into_vec(), chain.into_iter().map(|der| der.into_vec()).collect()))
            }
            _ => unexpected(),
        }
    }

    /// An ES256 signature (`r || s`) with the key in `blob`.
    pub fn sign_es256(&self, blob: &[u8], message: &[u8]) -> Result<Vec<u8>, TeeError> {
        let (blob, message) = (blob.to_vec().into(), message.to_vec().into());
        match self.keymint(keymint::Command::Sign { blob, message, fixed: true })? {
            keymint::Reply::Signature(signature) => Ok(signature.into_vec()),
            _ => unexpected(),
        }
    }

    /// The certificate chain of the device key (DER, device first); empty in the factory.
    pub fn device_chain(&self) -> Result<Vec<Vec<u8>>, TeeError> {
        match self.keymint(keymint::Command::DeviceChain)? {
            keymint::Reply::Chain(chain) => {
                Ok(chain.into_iter().map(|der| der.into_vec()).collect())
            }
            _ => unexpected(),
        }
    }
}
