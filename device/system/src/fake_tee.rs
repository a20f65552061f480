//! For tests: a TEE inside the test's process that keeps gatekeeper's and KeyMint's rules. What
//! the person types on the trusted screen is queued beforehand.

use crate::device::Images;
use crate::tee::Tee;
use crypto::sign::{Curve, EcdsaKey};
use keyattest::x509::{
    Certificate, CertificateParams, Name, SerialNumber, SignatureAlgorithm, Spki, Validity,
    build_certificate,
};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use tee_api::TeeError;
use tee_api::boot::{BootLock, Trust};
use tee_api::clock::{SecureTime, TimeClaims, TimeTrust};
use tee_api::gatekeeper::{
    self, LockSettings, Reply, Status, TicketClaims, TicketPurpose, USERDATA_BYTES,
};
use tee_api::keymint::{
    self, Authorizations, BegunOperation, ErrorCode, KeyCharacteristics, KeyCreation, KeySource,
};
use tee_api::ui::Confirmation;
use tee_client::{Identity, Installed, Target};

/// Wrong PINs that are free.
const FREE_TRIES: u32 = 4;

/// The fake.
pub(crate) struct FakeTee {
    state: Mutex<State>,
    serial: String,
    device_key: EcdsaKey,
}

struct State {
    /// Answers of the person; `None` turns the prompt away.
    typed: VecDeque<Option<String>>,
    in_factory: bool,
    chain: Vec<Vec<u8>>,
    ticket_key: Option<Vec<u8>>,
    pin: Option<String>,
    settings: LockSettings,
    unlocked_once: bool,
    failures: u32,
    throttled: bool,
    armed: bool,
    due: bool,
    lost: Option<String>,
    erasures: u64,
    deleted_keys: Vec<Vec<u8>>,
    operations: Vec<Vec<u8>>,
    keys: (u8, u8),
    committed: Option<[u8; 32]>,
    begun: Option<[u8; 32]>,
    nonce: Option<[u8; 32]>,
    time_nonce: Option<[u8; 32]>,
    time: SecureTime,
    boot_successful: bool,
    boot_lock: BootLock,
    /// Why the images would not boot locked.
    bad_images: Option<String>,
    applications: Vec<Installed>,
}

impl FakeTee {
    /// A device that left the factory.
    pub(crate) fn deployed(serial: &str) -> Arc<Self> {
        let tee = Self::in_factory(serial);
        let chain = tee.certify();
        tee.lock().chain = chain;
        tee.lock().in_factory = false;
        tee
    }

    /// How many keys were deleted.
    pub(crate) fn deleted_keys(&self) -> usize {
        self.lock().deleted_keys.len()
    }

    /// A device in the factory.
    pub(crate) fn in_factory(serial: &str) -> Arc<Self> {
        let state = State {
            typed: VecDeque::new(),
            in_factory: true,
            chain: Vec::new(),
            ticket_key: None,
            pin: None,
            settings: LockSettings::default(),
            unlocked_once: false,
            failures: 0,
            throttled: false,
            armed: false,
            due: false,
            lost: None,
            erasures: 0,
            deleted_keys: Vec::new(),
            operations: Vec::new(),
            keys: (1, 2),
            committed: None,
            begun: None,
            nonce: None,
            time_nonce: None,
            time: SecureTime { unix_ms: 1, tick: 0, trust: None },
            boot_successful: false,
            boot_lock: BootLock::default(),
            bad_images: None,
            applications: Vec::new(),
        };
        let device_key = EcdsaKey::generate(Curve::P256).unwrap();
        Arc::new(Self { state: Mutex::new(state), serial: serial.to_owned(), device_key })
    }

    /// The person will answer the next prompts so.
    pub(crate) fn types(&self, answers: &[&str]) {
        self.lock().typed.extend(answers.iter().map(|answer| Some((*answer).to_owned())));
    }

    /// The person will turn the next prompt away.
    pub(crate) fn turns_away(&self) {
        self.lock().typed.push_back(None);
    }

    /// The cloud's ticket key, as the factory provisions it.
    pub(crate) fn trusts(&self, ticket_key: Vec<u8>) {
        self.lock().ticket_key = Some(ticket_key);
    }

    /// Power off and on.
    pub(crate) fn reboot(&self) {
        let mut state = self.lock();
        state.unlocked_once = false;
        state.nonce = None;
        state.time_nonce = None;
        state.time.trust = None;
        state.applications.clear();
    }

    /// Time passed: the next try counts.
    pub(crate) fn throttle_is_over(&self) {
        self.lock().throttled = false;
    }

    /// The images on the flash are such that a locked device refuses them.
    pub(crate) fn has_bad_images(&self, why: Option<&str>) {
        self.lock().bad_images = why.map(str::to_owned);
    }

    /// Whether the system said that it is up.
    pub(crate) fn boot_was_successful(&self) -> bool {
        self.lock().boot_successful
    }

    /// A certificate chain for the device key: device, then a root.
    pub(crate) fn certify(&self) -> Vec<Vec<u8>> {
        let root_key = EcdsaKey::generate(Curve::P256).unwrap();
        let spki = |key: &EcdsaKey| Spki::from_der(&key.public_key_spki().unwrap()).unwrap();
        let name = Name::authority("Root", "Test").unwrap();
        let serial = || SerialNumber::from_bytes(&[7]).unwrap();
        let root = CertificateParams::root(name, serial(), Validity::UNBOUNDED, spki(&root_key));
        let build = |params: &CertificateParams| {
            build_certificate(params, SignatureAlgorithm::EcdsaSha256, |tbs| root_key.sign(tbs))
                .unwrap()
        };
        let root = build(&root);
        let device = CertificateParams::device(
            &Certificate::parse(&root).unwrap(),
            Name::factory(&self.serial).unwrap(),
            serial(),
            Validity::UNBOUNDED,
            spki(&self.device_key),
        );
        vec![build(&device), root]
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl State {
    fn status(&self) -> Status {
        Status {
            enrolled: self.pin.is_some(),
            secure_user_id: self.pin.is_some().then_some(7),
            unlocked_once: self.unlocked_once,
            locks: Vec::new(),
            settings: self.settings,
            failures: self.failures,
            retry_after_ms: if self.throttled { 30_000 } else { 0 },
            activation_armed: self.armed,
            activation_due: self.due,
            lost: self.lost.clone(),
            erasures: self.erasures,
        }
    }

    fn prompt(&mut self) -> Result<String, TeeError> {
        self.typed
            .pop_front()
            .expect("the test said what the person types")
            .ok_or(TeeError::Cancelled)
    }

    fn enrol(&mut self) -> Result<gatekeeper::Reply, TeeError> {
        if self.due {
            return Err(TeeError::Denied("activation is due".into()));
        }
        if self.pin.is_some() {
            return Err(TeeError::BadState("a screen lock is set".into()));
        }
        let (first, second) = (self.prompt()?, self.prompt()?);
        if first != second || !(4..=16).contains(&first.len()) {
            return Err(TeeError::BadParameters("the PINs differ or have the wrong length".into()));
        }
        self.pin = Some(first);
        Ok(gatekeeper::Reply::Done)
    }

    fn unlock(&mut self) -> Result<gatekeeper::Reply, TeeError> {
        if self.lost.is_some() {
            return Err(TeeError::Denied("the device is in lost mode".into()));
        }
        let Some(pin) = self.pin.clone() else {
            return Err(TeeError::BadState("no screen lock is set".into()));
        };
        if self.throttled {
            return Ok(gatekeeper::Reply::Throttled { retry_after_ms: 30_000 });
        }
        if self.prompt()? == pin {
            self.failures = 0;
            self.unlocked_once = true;
            return Ok(gatekeeper::Reply::Unlocked {
                space: gatekeeper::Space::MAIN,
                ce_key: vec![self.keys.0; 32].into(),
                keystore_key: vec![self.keys.0 + 1; 32].into(),
                auth_token: vec![0; 69].into(),
            });
        }
        self.failures += 1;
        self.throttled = self.failures > FREE_TRIES;
        let retry_after_ms = if self.throttled { 30_000 } else { 0 };
        Ok(gatekeeper::Reply::Wrong { failures: self.failures, retry_after_ms })
    }

    /// The old PIN, then the new one twice.
    fn change(&mut self) -> Result<gatekeeper::Reply, TeeError> {
        let before = self.pin.clone();
        if let refused @ (Reply::Wrong { .. } | Reply::Throttled { .. }) = self.unlock()? {
            return Ok(refused);
        }
        self.pin = None;
        let changed = self.enrol();
        self.pin = self.pin.take().or(before);
        changed
    }

    fn change_settings(&mut self, chosen: LockSettings) -> Result<gatekeeper::Reply, TeeError> {
        if let refused @ (Reply::Wrong { .. } | Reply::Throttled { .. }) = self.unlock()? {
            return Ok(refused);
        }
        self.settings = chosen;
        Ok(Reply::Done)
    }

    fn redeem(&mut self, serial: &str, ticket: &str) -> Result<gatekeeper::Reply, TeeError> {
        use base64::Engine as _;
        let key = self.ticket_key.as_ref().ok_or_else(|| TeeError::BadState("no key".into()))?;
        let claims: TicketClaims =
            jws::verify(ticket, key).map_err(|error| TeeError::Security(error.to_string()))?;
        let nonce = self.nonce.take().ok_or_else(|| TeeError::Security("no nonce".into()))?;
        let nonce = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(nonce);
        if claims.serial != serial || claims.nonce != nonce {
            return Err(TeeError::Security("a ticket of another device or moment".into()));
        }
        match claims.purpose {
            TicketPurpose::Activate => self.due = false,
            TicketPurpose::EndLostMode => self.lost = None,
            TicketPurpose::Disarm => self.armed = false,
        }
        Ok(gatekeeper::Reply::Done)
    }

    fn set_time(&mut self, serial: &str, token: &str) -> Result<gatekeeper::Reply, TeeError> {
        use base64::Engine as _;
        let key = self.ticket_key.as_ref().ok_or_else(|| TeeError::BadState("no key".into()))?;
        let claims: TimeClaims =
            jws::verify(token, key).map_err(|error| TeeError::Security(error.to_string()))?;
        let nonce = self.time_nonce.take().ok_or_else(|| TeeError::Security("no nonce".into()))?;
        let nonce = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(nonce);
        if claims.serial != serial || claims.nonce != nonce {
            return Err(TeeError::Security("a time for another device or moment".into()));
        }
        let trust = Some(TimeTrust { error_ms: 5, age_ms: 0 });
        self.time = SecureTime { unix_ms: claims.time_ms, tick: 0, trust };
        Ok(gatekeeper::Reply::Time(self.time))
    }

    fn erase(&mut self) -> gatekeeper::Reply {
        self.pin = None;
        self.unlocked_once = false;
        self.failures = 0;
        self.throttled = false;
        self.keys = (self.keys.0 + 2, self.keys.1 + 2);
        self.due = self.armed;
        self.lost = None;
        self.erasures += 1;
        gatekeeper::Reply::Erased { erasures: self.erasures }
    }
}

impl Images for FakeTee {
    fn would_boot_locked(&self, _: &Trust) -> Result<&'static str, String> {
        self.lock().bad_images.clone().map_or(Ok("green"), Err)
    }
}

impl Tee for FakeTee {
    fn take_prompt_away(&self) {}

    fn installed(&self) -> Result<Vec<Installed>, TeeError> {
        Ok(self.lock().applications.clone())
    }

    /// An image is one line of text here: the name, then the UUID.
    fn load(&self, image: &[u8]) -> Result<Installed, TeeError> {
        let refused = || TeeError::Security("not a signed image".into());
        let text = std::str::from_utf8(image).map_err(|_| refused())?;
        let (name, uuid) = text.split_once(' ').ok_or_else(refused)?;
        let identity = Identity::of_maker(uuid.parse().map_err(|_| refused())?);
        let name = name.to_owned();
        let installed = Installed { identity, name, version: 1, built_in: false, sessions: 0 };
        self.lock().applications.retain(|it| it.identity != identity);
        self.lock().applications.push(installed.clone());
        Ok(installed)
    }

    fn remove(&self, identity: Identity) -> Result<(), TeeError> {
        self.lock().applications.retain(|it| it.identity != identity);
        Ok(())
    }

    /// Says what it was told.
    fn call(&self, target: Target, command: Vec<u8>) -> Result<Vec<u8>, TeeError> {
        let known = self.lock().applications.iter().any(|it| it.identity.uuid == target.uuid);
        known.then_some(command).ok_or_else(|| TeeError::NotFound(target.uuid.to_string()))
    }

    fn gatekeeper(&self, command: gatekeeper::Command) -> Result<gatekeeper::Reply, TeeError> {
        use gatekeeper::{Command, Reply};
        let mut state = self.lock();
        match command {
            Command::Status => Ok(Reply::Status(state.status())),
            Command::Enrol { .. } => state.enrol(),
            Command::Unlock => state.unlock(),
            Command::Authenticate { .. } => Ok(match state.unlock()? {
                Reply::Unlocked { auth_token, .. } => Reply::Authenticated { auth_token },
                other => other,
            }),
            Command::DeviceKey if state.due => Err(TeeError::Denied("activation is due".into())),
            Command::DeviceKey => Ok(Reply::Key(vec![state.keys.1; 32].into())),
            Command::CheckUserdata { digest } => {
                let virgin = crypto::digest::sha256(&vec![0; USERDATA_BYTES]);
                let known = [Some(state.committed.unwrap_or(virgin)), state.begun];
                if known.contains(&Some(digest)) {
                    return Ok(Reply::Done);
                }
                Err(TeeError::Security("the digest is another one".into()))
            }
            Command::BeginUserdata { digest } => {
                state.begun = Some(digest);
                Ok(Reply::Done)
            }
            Command::CommitUserdata => {
                let begun = state.begun.take();
                state.committed =
                    Some(begun.ok_or_else(|| TeeError::BadState("nothing was begun".into()))?);
                Ok(Reply::Done)
            }
            Command::Provision { ticket_key } if state.in_factory => {
                state.ticket_key = Some(ticket_key.into_vec());
                Ok(Reply::Done)
            }
            Command::Provision { .. } => Err(TeeError::Denied("not in the factory".into())),
            Command::ArmActivation => {
                state.armed = true;
                Ok(Reply::Done)
            }
            Command::TicketNonce => {
                let nonce = crypto::random_array();
                state.nonce = Some(nonce);
                Ok(Reply::Nonce(nonce))
            }
            Command::Redeem { ticket } => state.redeem(&self.serial, &ticket),
            Command::Time => Ok(Reply::Time(state.time)),
            Command::TimeNonce => {
                let nonce = crypto::random_array();
                state.time_nonce = Some(nonce);
                Ok(Reply::Nonce(nonce))
            }
            Command::SetTime { token } => state.set_time(&self.serial, &token),
            Command::EnterLostMode { message } => {
                state.lost = Some(message);
                state.unlocked_once = false;
                Ok(Reply::Done)
            }
            Command::BootSuccessful => {
                state.boot_successful = true;
                Ok(Reply::Done)
            }
            Command::Erase => Ok(state.erase()),
            Command::Change { .. } => state.change(),
            Command::SetLockSettings(chosen) => state.change_settings(chosen),
            Command::Replace { .. }
            | Command::Delete { .. }
            | Command::SetDuress { .. }
            | Command::MakeRecoveryKey { .. }
            | Command::Recover { .. }
            | Command::MakeEscrow { .. }
            | Command::EndEscrow { .. }
            | Command::RedeemEscrow { .. } => {
                Err(TeeError::BadState("the fake keeps one plain lock".into()))
            }
            Command::Trust => {
                let lock = state.boot_lock.clone();
                Ok(Reply::Trust(Trust { lock, ..Trust::default() }))
            }
            Command::SetBootLock { locked } => {
                if state.boot_lock.unlocked != locked {
                    return Err(TeeError::BadState("the bootloader is so already".into()));
                }
                state.prompt()?;
                state.boot_lock.unlocked = !locked;
                Ok(state.erase())
            }
            Command::SetCustomKey { .. } if !state.boot_lock.unlocked => {
                Err(TeeError::BadState("the bootloader is locked".into()))
            }
            Command::SetCustomKey { key } => {
                state.boot_lock.custom_key = key;
                Ok(Reply::Done)
            }
        }
    }

    fn keymint(&self, command: keymint::Command) -> Result<keymint::Reply, TeeError> {
        use keymint::{Command, Reply};
        let mut state = self.lock();
        match command {
            Command::FactoryGenerate if state.in_factory => {
                Ok(Reply::PublicKey(self.device_key.public_key_spki().unwrap().into()))
            }
            Command::FactoryIds(_) if state.in_factory => Ok(Reply::Done),
            Command::FactoryInstall { chain } if state.in_factory => {
                state.chain = chain.into_iter().map(|der| der.into_vec()).collect();
                state.in_factory = false;
                Ok(Reply::Done)
            }
            Command::FactoryGenerate | Command::FactoryInstall { .. } => {
                Err(TeeError::Denied("not in the factory".into()))
            }
            Command::GenerateKey { params, .. } => {
                let key = EcdsaKey::generate(Curve::P256).unwrap();
                // The "leaf" is the bare public key: what a real leaf says is keymint's to test.
                let leaf = key.public_key_spki().unwrap();
                let chain = std::iter::once(leaf).chain(state.chain.clone());
                Ok(Reply::Key(KeyCreation {
                    blob: key.to_pkcs8().to_vec().into(),
                    characteristics: KeyCharacteristics {
                        hardware_enforced: params,
                        ..KeyCharacteristics::default()
                    },
                    chain: chain.map(Into::into).collect(),
                }))
            }
            Command::Confirm { text, extra, .. } => {
                state.prompt()?;
                let message = tee_api::ui::message(&text, &extra)?.into();
                let token = crypto::random_array::<40>().to_vec().into();
                Ok(Reply::Confirmed(Confirmation { message, token }))
            }
            Command::Begin { key: KeySource::Blob(blob), .. } => {
                if state.deleted_keys.contains(&blob) {
                    return Ok(Reply::Refused(ErrorCode::InvalidKeyBlob));
                }
                state.operations.push(blob.into_vec());
                let operation = state.operations.len() as u64 - 1;
                let params = Authorizations::default();
                Ok(Reply::Begun(BegunOperation { operation, params }))
            }
            Command::Finish { operation, input, .. } => {
                let blob = &state.operations[operation as usize];
                let key = EcdsaKey::from_pkcs8(Curve::P256, blob)
                    .map_err(|_| TeeError::Security("not a key of this device".into()))?;
                Ok(Reply::Output(key.sign(&input).unwrap().into()))
            }
            Command::UpgradeKey { .. } => Ok(Reply::Blob(Vec::new().into())),
            Command::DeleteAllKeys => Ok(Reply::Done),
            Command::DeleteKey { blob } => {
                state.deleted_keys.push(blob.into_vec());
                Ok(Reply::Done)
            }
            Command::DeviceChain => {
                Ok(Reply::Chain(state.chain.iter().cloned().map(Into::into).collect()))
            }
            _ => Ok(Reply::Refused(ErrorCode::Unimplemented)),
        }
    }
}
