//! Remote key provisioning, the keystore's side: keys that attest others, with short-lived
//! certificates of a server.
//!
//! The keystore has a few such keys. Each namespace keeps to one of them, so that two programs are
//! not told apart from one by their attestations, nor linked across all of them. Once their
//! certificates lapse they attest nothing; new keys with new certificates take their place before.

use crate::audit::{Event, What};
use crate::caller::{Caller, label};
use crate::enforcement::Time;
use crate::error::Error;
use crate::rows::{self, Key, Sealed, Sealing};
use crate::service::Keystore;
use crypto::digest::sha256;
use keyattest::verify_issued;
use keyattest::x509::{Certificate, Spki};
use keymint::{Algorithm, Authorizations, Digest, EcCurve, KeyPurpose};
use keystore_client::KeystoreCode;
use keystore_client::api::{Namespace, Provisioned};
use serde_bytes::ByteBuf;
use std::time::Duration;
use tee_api::keymint::{AttestKey, Command, KeyCreation, Reply};

/// How many keys there are.
const KEYS: usize = 4;
/// They are made anew so long before their certificates lapse.
const RENEWED_BEFORE: Duration = Duration::from_secs(10 * 24 * 3600);

/// Whose they are: no process has this user id, so no caller ever names one of them.
fn owner() -> Namespace {
    Namespace { uid: u32::MAX, label: Some("remote provisioning".to_owned()) }
}

/// Keys that wait for their certificates.
pub struct CertificateRequest {
    /// What the server gets.
    pub request: Vec<u8>,
    keys: Vec<KeyCreation>,
}

impl CertificateRequest {
    /// The keys, in the request's order; `None` where KeyMint gave one without a certificate.
    #[must_use]
    pub fn public_keys(&self) -> Option<Vec<Spki>> {
        self.keys.iter().map(|key| public_key(&key.chain)).collect()
    }
}

/// A key with certificates.
pub(crate) struct RemoteKey {
    pub(crate) attest: AttestKey,
    /// DER, the key's own first.
    pub(crate) chain: Vec<Vec<u8>>,
}

impl Keystore {
    /// Makes keys, and asks for their certificates: the server's challenge comes back signed by the
    /// device's own key.
    pub fn certificate_request(&self, challenge: &[u8]) -> Result<CertificateRequest, Error> {
        let keys = (0..KEYS).map(|_| self.attesting_key()).collect::<Result<Vec<_>, _>>()?;
        let command = Command::CertificateRequest {
            keys: keys.iter().map(|key| key.blob.clone()).collect(),
            challenge: ByteBuf::from(challenge),
        };
        let Reply::CertificateRequest(request) = self.keymint(command)? else {
            return Err(Error::unexpected());
        };
        Ok(CertificateRequest { request: request.into_vec(), keys })
    }

    /// Keeps what the server gave for each key, in the place of what was there. All chains are
    /// sound, for these keys and for now, or nothing changes.
    pub fn install_certificates(
        &self,
        asked: CertificateRequest,
        chains: Vec<Vec<Vec<u8>>>,
    ) -> Result<Provisioned, Error> {
        let now_ms = self.time().latest_ms();
        if chains.len() != asked.keys.len() {
            return Err(Error::malformed("the server certified another number of keys"));
        }
        let mut keys = Vec::with_capacity(KEYS);
        for (number, (made, chain)) in asked.keys.into_iter().zip(chains).enumerate() {
            check(&made, &chain, now_ms)?;
            keys.push(self.row(number, made, chain));
        }
        let now = self.parts.clock.now();
        self.db.write(move |on| {
            for key in &keys {
                let old = on.run(async |db| rows::by_alias(db, &key.owner, &key.alias).await)?;
                if let Some(old) = old {
                    on.run(async |db| rows::doom(db, old.id).await)?;
                }
                on.run(async |db| rows::insert(db, key).await)?;
                on.audit(&Event::new(now, &key.owner, What::Provision, key.id))?;
            }
            Ok(())
        })?;
        self.reap();
        self.provisioned()
    }

    /// How many keys have certificates that count, and until when all of them do.
    pub fn provisioned(&self) -> Result<Provisioned, Error> {
        let time = self.time();
        let mut ends = Vec::new();
        for number in 0..KEYS {
            let key = self.remote_row(number)?;
            ends.extend(key.and_then(|key| end_of(&key.certificates, time)));
        }
        Ok(Provisioned { keys: ends.len(), expires_ms: ends.into_iter().min() })
    }

    /// Whether certificates should be asked for: there were some, and they end soon. With `wanted`
    /// also where there never were any.
    pub fn provisioning_is_due(&self, wanted: bool) -> Result<bool, Error> {
        let has_been = self.remote_row(0)?.is_some();
        let Provisioned { keys, expires_ms } = self.provisioned()?;
        let until = self.time().latest_ms().saturating_add(RENEWED_BEFORE.as_millis() as u64);
        let is_fresh = keys == KEYS && expires_ms.is_some_and(|end| until < end);
        Ok((wanted || has_been) && !is_fresh)
    }

    /// The key that attests for this caller.
    pub(crate) fn remote_key(&self, caller: &Caller) -> Result<RemoteKey, Error> {
        let Namespace { uid, .. } = caller.namespace;
        let name = [&uid.to_be_bytes(), label(&caller.namespace).as_bytes()].concat();
        let number = usize::from(sha256(&name)[0]) % KEYS;
        let key = self.remote_row(number)?.ok_or_else(out_of_keys)?;
        end_of(&key.certificates, self.time()).ok_or_else(out_of_keys)?;
        let own = key.certificates.first().and_then(|der| Certificate::parse(der).ok());
        let own = own.ok_or_else(|| Error::corrupted("a provisioned certificate"))?;
        let params = Authorizations::default();
        let issuer_subject = ByteBuf::from(own.subject().as_der());
        let blob = self.current_blob(&key, &params)?;
        let attest = AttestKey { blob, params, issuer_subject };
        Ok(RemoteKey { attest, chain: key.certificates })
    }

    fn attesting_key(&self) -> Result<KeyCreation, Error> {
        let params = Authorizations {
            purpose: [KeyPurpose::AttestKey].into(),
            algorithm: Some(Algorithm::Ec),
            ec_curve: Some(EcCurve::P256),
            digest: [Digest::Sha2_256].into(),
            no_auth_required: true,
            certificate_not_before: Some(0),
            certificate_not_after: Some(self.parts.clock.now().0),
            ..Authorizations::default()
        };
        match self.keymint(Command::GenerateKey { params, attest: None })? {
            Reply::Key(key) => Ok(key),
            _ => Err(Error::unexpected()),
        }
    }

    fn remote_row(&self, number: usize) -> Result<Option<Key>, Error> {
        self.db.read(async move |db| rows::by_alias(db, &owner(), &number.to_string()).await)
    }

    fn row(&self, number: usize, made: KeyCreation, certificates: Vec<Vec<u8>>) -> Key {
        Key {
            id: self.fresh_id(),
            owner: owner(),
            alias: number.to_string(),
            blob: Some(Sealed { sealing: Sealing::None, bytes: made.blob.into_vec() }),
            characteristics: made.characteristics,
            certificates,
            extra: None,
            created_ms: self.parts.clock.now().0,
            uses_left: None,
        }
    }
}

fn out_of_keys() -> Error {
    let reason = "there is no key with a certificate of the provisioning server that still counts; \
                  let the device reach its cloud, or have the device's own key attest \
                  (`--key-source factory`)";
    Error::refused(KeystoreCode::OutOfKeys, reason)
}

/// A chain from the key that was made up to some root. Whether anybody believes that root is the
/// business of who verifies.
fn check(made: &KeyCreation, chain: &[Vec<u8>], now_ms: u64) -> Result<(), Error> {
    let malformed = |why: &str| Error::malformed(format!("the server's certificates: {why}"));
    let path = verify_issued(chain).map_err(|refusal| malformed(&refusal.to_string()))?;
    if public_key(&made.chain) != Some(path.device.public_key().clone()) {
        return Err(malformed("for another key"));
    }
    let time = Time { secure: None, system_ms: now_ms };
    end_of(chain, time).map(drop).ok_or_else(|| malformed("they have lapsed already"))
}

/// The key of a chain's first certificate.
fn public_key(chain: &[ByteBuf]) -> Option<Spki> {
    let first = Certificate::parse(chain.first()?).ok()?;
    Some(first.public_key().clone())
}

/// When the first of the certificates lapses, in milliseconds since 1970; `None` where one has.
fn end_of(chain: &[Vec<u8>], time: Time) -> Option<u64> {
    let ends = chain.iter().map(|der| Certificate::parse(der).ok().map(|it| it.validity().1));
    let end_s = ends.collect::<Option<Vec<_>>>()?.into_iter().min()?;
    let end_ms = end_s.saturating_mul(1000);
    (time.latest_ms() < end_ms).then_some(end_ms)
}
