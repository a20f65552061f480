//! The TEE, as the daemon calls it.

use serde_bytes::ByteBuf;
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use tee_api::clock::SecureTime;
use tee_api::gatekeeper::{self, Status};
use tee_api::keymint::{
    self, Algorithm, Authorizations, Bytes, Digest, EcCurve, KeyPurpose, KeySource,
};
use tee_api::ui::Confirmation;
use tee_api::{Protocol, TeeError};
use tee_client::{Identity, Installed, Target};

/// The two trusted applications that the daemon calls, and those that were installed besides.
/// Calls block; those that show a prompt block until the person answered.
pub trait Tee: Send + Sync {
    /// Calls gatekeeper.
    fn gatekeeper(&self, command: gatekeeper::Command) -> Result<gatekeeper::Reply, TeeError>;
    /// Calls KeyMint.
    fn keymint(&self, command: keymint::Command) -> Result<keymint::Reply, TeeError>;
    /// Which trusted applications there are.
    fn installed(&self) -> Result<Vec<Installed>, TeeError>;
    /// Loads a signed image, until power-off.
    fn load(&self, image: &[u8]) -> Result<Installed, TeeError>;
    /// Removes one that was loaded.
    fn remove(&self, identity: Identity) -> Result<(), TeeError>;
    /// Runs a command of any trusted application: CBOR in, CBOR out.
    fn call(&self, target: Target, command: Vec<u8>) -> Result<Vec<u8>, TeeError>;
    /// Takes a prompt off the trusted screen: what is to be done cannot wait for a person.
    fn take_prompt_away(&self);
}

/// The TEE behind its socket. Prompts get a session of their own, so that they hold up nothing.
pub struct TeeSocket {
    tee: tee_client::Tee,
    gatekeeper: tee_client::Session<gatekeeper::Gatekeeper>,
    keymint: tee_client::Session<keymint::KeyMint>,
    /// For new keys, which may take seconds.
    makers: Makers,
    prompting: Mutex<Option<tee_client::Interrupt>>,
}

/// Sessions with KeyMint beside the one in which operations live: so that a key that takes long to
/// make keeps nobody else waiting. At most [`Makers::MOST`] at the same time.
struct Makers {
    tee: tee_client::Tee,
    idle: Mutex<Idle>,
    /// One came back.
    returned: Condvar,
}

#[derive(Default)]
struct Idle {
    sessions: Vec<tee_client::Session<keymint::KeyMint>>,
    lent: usize,
}

impl Makers {
    const MOST: usize = 4;

    fn new(tee: tee_client::Tee) -> Self {
        Self { tee, idle: Mutex::default(), returned: Condvar::new() }
    }

    fn call(&self, command: keymint::Command) -> Result<keymint::Reply, TeeError> {
        let session = self.take();
        let reply = session.as_ref().map_err(Clone::clone).and_then(|it| it.call(command));
        let mut idle = self.lock();
        idle.lent -= 1;
        idle.sessions.extend(session.ok());
        self.returned.notify_one();
        reply
    }

    fn take(&self) -> Result<tee_client::Session<keymint::KeyMint>, TeeError> {
        let mut idle = self
            .returned
            .wait_while(self.lock(), |idle| idle.lent >= Self::MOST)
            .unwrap_or_else(PoisonError::into_inner);
        idle.lent += 1;
        let session = idle.sessions.pop();
        drop(idle);
        session.map_or_else(|| self.tee.session(), Ok)
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TeeSocket {
    /// The TEE at `path`.
    pub fn connect(path: &Path) -> Result<Self, TeeError> {
        let tee = tee_client::Tee::connect(path)?;
        let (gatekeeper, keymint) = (tee.session()?, tee.session()?);
        let makers = Makers::new(tee.clone());
        Ok(Self { tee, gatekeeper, keymint, makers, prompting: Mutex::default() })
    }

    fn prompt<P: Protocol>(&self, command: P::Command) -> Result<P::Reply, TeeError> {
        let session = self.tee.session::<P>()?;
        *self.prompting() = Some(session.interrupt()?);
        let reply = session.call(command);
        let was_interrupted = self.prompting().take().is_none();
        if was_interrupted { Err(TeeError::Cancelled) } else { reply }
    }

    fn prompting(&self) -> MutexGuard<'_, Option<tee_client::Interrupt>> {
        self.prompting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tee for TeeSocket {
    fn gatekeeper(&self, command: gatekeeper::Command) -> Result<gatekeeper::Reply, TeeError> {
        if command.asks_the_person() {
            return self.prompt::<gatekeeper::Gatekeeper>(command);
        }
        self.gatekeeper.call(command)
    }

    fn keymint(&self, command: keymint::Command) -> Result<keymint::Reply, TeeError> {
        match command {
            keymint::Command::Confirm { .. } => self.prompt::<keymint::KeyMint>(command),
            keymint::Command::GenerateKey { .. }
            | keymint::Command::ImportKey { .. }
            | keymint::Command::ImportWrappedKey { .. } => self.makers.call(command),
            _ => self.keymint.call(command),
        }
    }

    fn installed(&self) -> Result<Vec<Installed>, TeeError> {
        self.tee.installed()
    }

    fn load(&self, image: &[u8]) -> Result<Installed, TeeError> {
        self.tee.load(image)
    }

    fn remove(&self, identity: Identity) -> Result<(), TeeError> {
        self.tee.remove(identity)
    }

    fn call(&self, target: Target, command: Vec<u8>) -> Result<Vec<u8>, TeeError> {
        self.tee.call(target, command)
    }

    fn take_prompt_away(&self) {
        if let Some(interrupt) = self.prompting().take() {
            interrupt.fire();
        }
    }
}

/// An answer that does not belong to the question.
fn unexpected<T>() -> Result<T, TeeError> {
    Err(TeeError::Communication("the answer does not belong to the question".into()))
}

/// The system's own keys: ECDSA on P-256 with SHA-256, usable without a person. The TEE knows no
/// date, so their certificates are not bounded.
fn signing_key() -> Authorizations {
    Authorizations {
        purpose: [KeyPurpose::Sign].into(),
        algorithm: Some(Algorithm::Ec),
        ec_curve: Some(EcCurve::P256),
        digest: [Digest::Sha2_256].into(),
        no_auth_required: true,
        attestation_application_id: Some(Bytes(APPLICATION_ID.to_vec())),
        certificate_not_before: Some(0),
        certificate_not_after: Some(NO_END_MS),
        ..Authorizations::default()
    }
}

/// The system as an application: `AttestationApplicationId` with the one package
/// `holdfast.system`, version 1, and no signer.
const APPLICATION_ID: &[u8] =
    b"\x30\x1a\x31\x16\x30\x14\x04\x0fholdfast.system\x02\x01\x01\x31\x00";
/// 9999-12-31T23:59:59Z: no end (RFC 5280, 4.1.2.5).
const NO_END_MS: u64 = 253_402_300_799_000;

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

    /// What the secure clock says.
    pub fn time(&self) -> Result<SecureTime, TeeError> {
        self.ask_time(gatekeeper::Command::Time)
    }

    /// A nonce for the next time token.
    pub fn time_nonce(&self) -> Result<[u8; 32], TeeError> {
        match self.gatekeeper(gatekeeper::Command::TimeNonce)? {
            gatekeeper::Reply::Nonce(nonce) => Ok(nonce),
            _ => unexpected(),
        }
    }

    /// Sets the secure clock to what a token of the cloud says.
    pub fn set_time(&self, token: String) -> Result<SecureTime, TeeError> {
        self.ask_time(gatekeeper::Command::SetTime { token })
    }

    fn ask_time(&self, command: gatekeeper::Command) -> Result<SecureTime, TeeError> {
        match self.gatekeeper(command)? {
            gatekeeper::Reply::Time(time) => Ok(time),
            _ => unexpected(),
        }
    }

    /// Destroys the keys, gatekeeper's and then KeyMint's; says how often that was done.
    pub fn erase(&self) -> Result<u64, TeeError> {
        match self.gatekeeper(gatekeeper::Command::Erase)? {
            gatekeeper::Reply::Erased { erasures } => {
                self.ask_keymint(keymint::Command::DeleteAllKeys)?;
                Ok(erasures)
            }
            _ => unexpected(),
        }
    }

    /// A fresh signing key with an attestation over `challenge`: its blob and its chain.
    pub fn attested_key(&self, challenge: &[u8]) -> Result<(Vec<u8>, Vec<Vec<u8>>), TeeError> {
        self.generate_key(challenge, signing_key())
    }

    /// The same, and [`Self::delete_key`] makes an end of it that no copy of the blob survives.
    pub fn deletable_attested_key(
        &self,
        challenge: &[u8],
    ) -> Result<(Vec<u8>, Vec<Vec<u8>>), TeeError> {
        let params = Authorizations { rollback_resistance: true, ..signing_key() };
        self.generate_key(challenge, params)
    }

    /// The same, for a key that signs only what a person confirmed.
    pub fn confirmation_key(&self, challenge: &[u8]) -> Result<(Vec<u8>, Vec<Vec<u8>>), TeeError> {
        let trusted_confirmation_required = true;
        let params = Authorizations { trusted_confirmation_required, ..signing_key() };
        self.generate_key(challenge, params)
    }

    /// Calls KeyMint; a refusal by one of its rules is an error.
    fn ask_keymint(&self, command: keymint::Command) -> Result<keymint::Reply, TeeError> {
        match self.keymint(command)? {
            keymint::Reply::Refused(code) => Err(code.into()),
            reply => Ok(reply),
        }
    }

    /// The key in `blob` under what runs now, in another blob; `None` where it is so already.
    pub fn upgrade_key(&self, blob: &[u8]) -> Result<Option<Vec<u8>>, TeeError> {
        let (blob, params) = (ByteBuf::from(blob), Authorizations::default());
        match self.ask_keymint(keymint::Command::UpgradeKey { blob, params })? {
            keymint::Reply::Blob(blob) => Ok((!blob.is_empty()).then(|| blob.into_vec())),
            _ => unexpected(),
        }
    }

    /// Makes the key in `blob` useless for good.
    pub fn delete_key(&self, blob: &[u8]) -> Result<(), TeeError> {
        match self.ask_keymint(keymint::Command::DeleteKey { blob: blob.to_vec().into() })? {
            keymint::Reply::Done => Ok(()),
            _ => unexpected(),
        }
    }

    fn generate_key(
        &self,
        challenge: &[u8],
        params: Authorizations,
    ) -> Result<(Vec<u8>, Vec<Vec<u8>>), TeeError> {
        let attestation_challenge = Some(Bytes::from(challenge));
        let params = Authorizations { attestation_challenge, ..params };
        match self.ask_keymint(keymint::Command::GenerateKey { params, attest: None })? {
            keymint::Reply::Key(key) => {
                Ok((key.blob.into_vec(), key.chain.into_iter().map(|der| der.into_vec()).collect()))
            }
            _ => unexpected(),
        }
    }

    /// An ES256 signature (`r || s`) with the key in `blob`.
    pub fn sign_es256(&self, blob: &[u8], message: &[u8]) -> Result<Vec<u8>, TeeError> {
        let signature = self.sign(blob, message, None)?;
        crypto::ec::to_fixed(crypto::ec::Curve::P256, &signature)
            .map_err(|error| TeeError::Communication(format!("KeyMint's signature: {error}")))
    }

    /// An ECDSA signature over SHA-256 (ASN.1 DER).
    fn sign(
        &self,
        blob: &[u8],
        message: &[u8],
        confirmation: Option<ByteBuf>,
    ) -> Result<Vec<u8>, TeeError> {
        let begin = keymint::Command::Begin {
            key: KeySource::Blob(ByteBuf::from(blob)),
            purpose: KeyPurpose::Sign,
            params: Authorizations {
                digest: [Digest::Sha2_256].into(),
                ..Authorizations::default()
            },
            token: None,
        };
        let keymint::Reply::Begun(begun) = self.ask_keymint(begin)? else { return unexpected() };
        let finish = keymint::Command::Finish {
            operation: begun.operation,
            input: ByteBuf::from(message),
            signature: None,
            token: None,
            confirmation,
        };
        match self.ask_keymint(finish)? {
            keymint::Reply::Output(signature) => Ok(signature.into_vec()),
            _ => unexpected(),
        }
    }

    /// Asks the person to confirm `text` for the key in `blob`.
    pub fn confirm(&self, blob: &[u8], text: &str, extra: &[u8]) -> Result<Confirmation, TeeError> {
        let (blob, extra) = (ByteBuf::from(blob), ByteBuf::from(extra));
        let (text, params) = (text.to_owned(), Authorizations::default());
        match self.ask_keymint(keymint::Command::Confirm { blob, params, text, extra })? {
            keymint::Reply::Confirmed(given) => Ok(given),
            _ => unexpected(),
        }
    }

    /// An ECDSA signature (ASN.1 DER) over what a person confirmed, with the key in `blob`.
    pub fn sign_confirmed(&self, blob: &[u8], given: &Confirmation) -> Result<Vec<u8>, TeeError> {
        let Confirmation { message, token } = given.clone();
        self.sign(blob, &message, Some(token))
    }

    /// The certificate chain of the device key (DER, device first); empty in the factory.
    pub fn device_chain(&self) -> Result<Vec<Vec<u8>>, TeeError> {
        match self.ask_keymint(keymint::Command::DeviceChain)? {
            keymint::Reply::Chain(chain) => {
                Ok(chain.into_iter().map(|der| der.into_vec()).collect())
            }
            _ => unexpected(),
        }
    }
}
