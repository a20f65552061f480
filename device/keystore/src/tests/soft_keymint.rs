//! A KeyMint in the test's process: P-256 signing keys with its rules, as far as the keystore
//! meets them. Blobs are sealed, so an altered one is none. (The real one is met in
//! `holdfast/tests/it/keys.rs`.)

use crate::service::Tee;
use crypto::aead;
use crypto::sign::{Curve, EcdsaKey};
use keyattest::x509::{
    CertificateParams, KeyUsage, Name, SignatureAlgorithm, Spki, build_certificate,
};
use keymint::{Authorizations, Bytes, ErrorCode, HardwareAuthToken, KeyPurpose, Tag};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};
use tee_api::TeeError;
use tee_api::clock::{SecureTime, TimeTrust};
use tee_api::keymint::{
    AttestKey, BegunOperation, Command, KeyCharacteristics, KeyCreation, KeySource, Reply, Ticket,
};

/// Operations at a time.
pub(crate) const ROOM: usize = 4;

#[derive(Serialize, Deserialize)]
struct Inside {
    pkcs8: Vec<u8>,
    rules: Authorizations,
    application_id: Option<Bytes>,
    /// Of the software that made it.
    version: u32,
    number: [u8; 16],
}

/// The KeyMint.
pub(crate) struct SoftKeyMint(Mutex<State>);

pub(crate) struct State {
    operations: BTreeMap<u64, (Inside, Vec<u8>)>,
    next: u64,
    deleted: BTreeSet<[u8; 16]>,
    tickets: BTreeMap<[u8; 16], u32>,
    pub(crate) version: u32,
    pub(crate) time: Option<SecureTime>,
    pub(crate) secure_user_id: Option<u64>,
    pub(crate) answers: bool,
    pub(crate) last_token: Option<HardwareAuthToken>,
}

fn sealer() -> aead::Key {
    aead::Key::aes_256_gcm(&[7; 32])
}

fn seal(inside: &Inside) -> Vec<u8> {
    sealer().seal(b"", &serde_json::to_vec(inside).unwrap())
}

/// Of `key`, signed with the key in `issuer` (PKCS#8).
fn certificate(key: &EcdsaKey, issuer: &[u8]) -> Vec<u8> {
    let issuer = EcdsaKey::from_pkcs8(Curve::P256, issuer).unwrap();
    let spki = Spki::from_der(&key.public_key_spki().unwrap()).unwrap();
    let params = CertificateParams::unattested(
        Name::attested_key(),
        spki,
        KeyUsage::of_purposes(&[].into()),
    );
    build_certificate(&params, SignatureAlgorithm::EcdsaSha256, |tbs| issuer.sign(tbs)).unwrap()
}

impl SoftKeyMint {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(State {
            operations: BTreeMap::new(),
            next: 1,
            deleted: BTreeSet::new(),
            tickets: BTreeMap::new(),
            version: 1,
            time: None,
            secure_user_id: None,
            answers: true,
            last_token: None,
        }))
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(crate) fn deleted(&self) -> usize {
        self.state().deleted.len()
    }

    pub(crate) fn operations(&self) -> usize {
        self.state().operations.len()
    }

    pub(crate) fn tickets(&self) -> usize {
        self.state().tickets.len()
    }

    pub(crate) fn says_it_is(&self, unix_ms: u64) {
        let trust = Some(TimeTrust { error_ms: 1, age_ms: 0 });
        self.state().time = Some(SecureTime { unix_ms, tick: 0, trust });
    }
}

impl State {
    fn open(&self, blob: &[u8]) -> Result<Inside, ErrorCode> {
        let bytes = sealer().open(b"", blob).map_err(|_| ErrorCode::InvalidKeyBlob)?;
        let inside: Inside = serde_json::from_slice(&bytes).unwrap();
        if self.deleted.contains(&inside.number) {
            return Err(ErrorCode::InvalidKeyBlob);
        }
        if inside.version < self.version {
            return Err(ErrorCode::KeyRequiresUpgrade);
        }
        Ok(inside)
    }

    fn open_for(&self, blob: &[u8], params: &Authorizations) -> Result<Inside, ErrorCode> {
        let inside = self.open(blob)?;
        if inside.application_id != params.application_id {
            return Err(ErrorCode::InvalidKeyBlob);
        }
        Ok(inside)
    }

    fn create(
        &self,
        pkcs8: Vec<u8>,
        mut params: Authorizations,
        attest: Option<&AttestKey>,
    ) -> Result<Reply, ErrorCode> {
        let application_id = params.application_id.take();
        let key = EcdsaKey::from_pkcs8(Curve::P256, &pkcs8).unwrap();
        let issuer = attest.map(|attest| self.open(&attest.blob)).transpose()?;
        let leaf = match (issuer, params.purpose.contains(&KeyPurpose::AttestKey)) {
            (Some(issuer), _) => certificate(&key, &issuer.pkcs8),
            (None, true) => certificate(&key, &pkcs8),
            (None, false) => key.public_key_spki().unwrap(),
        };
        for tag in
            [Tag::CertificateNotBefore, Tag::CertificateNotAfter, Tag::AttestationApplicationId]
        {
            params.remove(tag);
        }
        let by_keystore = |tag: Tag| {
            use Tag::{
                ActiveDatetime, CreationDatetime, OriginationExpireDatetime, UsageCountLimit,
            };
            [ActiveDatetime, CreationDatetime, OriginationExpireDatetime, UsageCountLimit]
                .contains(&tag)
        };
        let characteristics = KeyCharacteristics {
            hardware_enforced: params.filtered(|tag| !by_keystore(tag)),
            software_enforced: params.filtered(by_keystore),
        };
        let number = crypto::random_array();
        let inside = Inside { pkcs8, rules: params, application_id, version: self.version, number };
        let blob = seal(&inside).into();
        Ok(Reply::Key(KeyCreation { blob, characteristics, chain: vec![leaf.into()] }))
    }

    fn begin(
        &mut self,
        blob: &[u8],
        purpose: KeyPurpose,
        params: &Authorizations,
        token: Option<HardwareAuthToken>,
    ) -> Result<Reply, ErrorCode> {
        let inside = self.open_for(blob, params)?;
        if !inside.rules.purpose.contains(&purpose) {
            return Err(ErrorCode::IncompatiblePurpose);
        }
        let timed = inside.rules.auth_timeout.is_some();
        if timed && !inside.rules.user_secure_id.is_empty() && token.is_none() {
            return Err(ErrorCode::KeyUserNotAuthenticated);
        }
        self.last_token = token;
        if self.operations.len() >= ROOM {
            return Err(ErrorCode::TooManyOperations);
        }
        let operation = self.next;
        self.next += 1;
        self.operations.insert(operation, (inside, Vec::new()));
        Ok(Reply::Begun(BegunOperation { operation, params: Authorizations::default() }))
    }

    fn finish(
        &mut self,
        operation: u64,
        input: &[u8],
        token: Option<HardwareAuthToken>,
    ) -> Result<Reply, ErrorCode> {
        let gone = ErrorCode::InvalidOperationHandle;
        let (inside, mut data) = self.operations.remove(&operation).ok_or(gone)?;
        let own = !inside.rules.user_secure_id.is_empty() && inside.rules.auth_timeout.is_none();
        if own && token.is_none_or(|token| token.challenge != operation) {
            return Err(ErrorCode::KeyUserNotAuthenticated);
        }
        data.extend(input);
        let key = EcdsaKey::from_pkcs8(Curve::P256, &inside.pkcs8).unwrap();
        Ok(Reply::Output(key.sign(&data).unwrap().into()))
    }

    fn answer(&mut self, command: Command) -> Result<Reply, ErrorCode> {
        match command {
            Command::GenerateKey { params, attest } => {
                let key = EcdsaKey::generate(Curve::P256).unwrap();
                self.create(key.to_pkcs8().to_vec(), params, attest.as_ref())
            }
            Command::Characteristics { blob, .. } => {
                let hardware_enforced = self.open(&blob)?.rules;
                let software_enforced = Authorizations::default();
                let all = KeyCharacteristics { hardware_enforced, software_enforced };
                Ok(Reply::Characteristics(all))
            }
            Command::CertificateRequest { keys, challenge } => {
                keys.iter().try_for_each(|blob| self.open(blob).map(drop))?;
                Ok(Reply::CertificateRequest(challenge))
            }
            Command::ImportKey { params, data, attest, .. } => {
                let known = EcdsaKey::from_pkcs8(Curve::P256, &data);
                known.map_err(|_| ErrorCode::InvalidArgument)?;
                self.create(data.into_vec(), params, attest.as_ref())
            }
            Command::UpgradeKey { blob, .. } => {
                let bytes = sealer().open(b"", &blob).map_err(|_| ErrorCode::InvalidKeyBlob)?;
                let inside: Inside = serde_json::from_slice(&bytes).unwrap();
                Ok(Reply::Blob(seal(&Inside { version: self.version, ..inside }).into()))
            }
            Command::DeleteKey { blob } => {
                let number = self.open(&blob)?.number;
                self.deleted.insert(number);
                Ok(Reply::Done)
            }
            Command::Begin { key: KeySource::Blob(blob), purpose, params, token } => {
                self.begin(&blob, purpose, &params, token)
            }
            Command::Update { operation, input, .. } => {
                let gone = ErrorCode::InvalidOperationHandle;
                self.operations.get_mut(&operation).ok_or(gone)?.1.extend(input.into_vec());
                Ok(Reply::Output(Vec::new().into()))
            }
            Command::Finish { operation, input, token, .. } => {
                self.finish(operation, &input, token)
            }
            Command::Abort { operation } => {
                let gone = ErrorCode::InvalidOperationHandle;
                self.operations.remove(&operation).map(|_| Reply::Done).ok_or(gone)
            }
            Command::Open { blob, params, user, .. } => {
                self.open_for(&blob, &params)?;
                let ticket = crypto::random_array();
                self.tickets.insert(ticket, user);
                Ok(Reply::Opened(Ticket(ticket)))
            }
            Command::Close { ticket } => {
                self.tickets.remove(&ticket.0);
                Ok(Reply::Done)
            }
            _ => Err(ErrorCode::Unimplemented),
        }
    }
}

impl Tee for SoftKeyMint {
    fn keymint(&self, command: Command) -> Result<Reply, TeeError> {
        let mut state = self.state();
        if !state.answers {
            return Err(TeeError::TargetDead);
        }
        Ok(state.answer(command).unwrap_or_else(Reply::Refused))
    }

    fn time(&self) -> Result<SecureTime, TeeError> {
        self.state().time.ok_or(TeeError::TargetDead)
    }

    fn secure_user_id(&self) -> Result<Option<u64>, TeeError> {
        Ok(self.state().secure_user_id)
    }
}
