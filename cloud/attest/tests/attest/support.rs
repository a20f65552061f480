//! A cloud over a database file, with makers and devices made for the test.

use cloud_attest::{Attest, Audit, Error, Foundation, Refusal, Sealer};
use crypto::sign::{Curve, EcdsaKey};
use effects::{Clock, ManualClock, SystemEntropy, UnixMillis};
use futures_util::future::BoxFuture;
use keyattest::x509::{
    Certificate, CertificateParams, Name, SerialNumber, SignatureAlgorithm, Spki, Validity,
    build_certificate,
};
use keyattest::{
    AuthorizationList, KeyDescription, KeyOrigin, RootOfTrust, SecurityLevel, VerifiedBootState,
};
use sqlx::SqlitePool;
use sqlx::sqlite::SqliteConnectOptions;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub(crate) const NOW: u64 = 1_767_225_600;

pub(crate) struct Identity {
    pub(crate) key: EcdsaKey,
    pub(crate) certificate: Certificate,
}

pub(crate) struct Maker {
    pub(crate) root: Identity,
    pub(crate) intermediate: Identity,
}

pub(crate) fn spki(key: &EcdsaKey) -> Spki {
    Spki::from_der(&key.public_key_spki().unwrap()).unwrap()
}

pub(crate) fn key() -> EcdsaKey {
    EcdsaKey::generate(Curve::P256).unwrap()
}

pub(crate) fn serial() -> SerialNumber {
    SerialNumber::from_bytes(&crypto::random_array::<16>()).unwrap()
}

pub(crate) fn sign(params: &CertificateParams, issuer: &EcdsaKey) -> Certificate {
    let der = build_certificate(params, SignatureAlgorithm::EcdsaSha256, |tbs| issuer.sign(tbs));
    Certificate::parse(&der.unwrap()).unwrap()
}

impl Maker {
    pub(crate) fn new() -> Self {
        let life = Validity::days(NOW - 1, 9_000);
        let root_key = key();
        let name = Name::authority("Root", "Maker").unwrap();
        let params = CertificateParams::root(name, serial(), life, spki(&root_key));
        let root = Identity { certificate: sign(&params, &root_key), key: root_key };
        let below = key();
        let name = Name::factory("00ff").unwrap();
        let params =
            CertificateParams::intermediate(&root.certificate, name, serial(), life, spki(&below));
        let certificate = sign(&params, &root.key);
        Self { root, intermediate: Identity { key: below, certificate } }
    }

    pub(crate) fn device(&self, number: &str) -> Identity {
        let key = key();
        let params = CertificateParams::device(
            &self.intermediate.certificate,
            Name::factory(number).unwrap(),
            serial(),
            Validity::days(NOW - 1, 9_000),
            spki(&key),
        );
        Identity { certificate: sign(&params, &self.intermediate.key), key }
    }

    pub(crate) fn chain(&self, device: &Identity) -> Vec<Vec<u8>> {
        [device, &self.intermediate, &self.root]
            .map(|identity| identity.certificate.as_der().to_vec())
            .to_vec()
    }

    pub(crate) fn attest(
        &self,
        device: &Identity,
        challenge: &[u8],
        attested: &EcdsaKey,
    ) -> Vec<Vec<u8>> {
        self.attest_as(device, attested, &said(challenge))
    }

    pub(crate) fn attest_as(
        &self,
        device: &Identity,
        attested: &EcdsaKey,
        said: &KeyDescription,
    ) -> Vec<Vec<u8>> {
        let params = CertificateParams::attested(&device.certificate, spki(attested), said);
        let leaf = sign(&params.unwrap(), &device.key);
        [vec![leaf.as_der().to_vec()], self.chain(device)].concat()
    }
}

pub(crate) fn said(challenge: &[u8]) -> KeyDescription {
    KeyDescription {
        attestation_version: 300,
        attestation_security_level: SecurityLevel::TrustedEnvironment,
        key_mint_version: 300,
        key_mint_security_level: SecurityLevel::TrustedEnvironment,
        attestation_challenge: challenge.to_vec(),
        unique_id: Vec::new(),
        software_enforced: AuthorizationList::default(),
        hardware_enforced: AuthorizationList {
            origin: Some(KeyOrigin::Generated),
            root_of_trust: Some(RootOfTrust {
                verified_boot_key: vec![0xab; 32],
                device_locked: true,
                verified_boot_state: VerifiedBootState::Verified,
                verified_boot_hash: Some(vec![0xcd; 32]),
            }),
            os_version: Some(150_000),
            os_patch_level: Some(202_601),
            boot_patch_level: Some(20_260_105),
            ..AuthorizationList::default()
        },
    }
}

pub(crate) struct Cloud {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) attest: Attest,
    pub(crate) maker: Maker,
    pub(crate) log: Arc<Log>,
}

/// Seals as the cloud does: an AEAD, bound to the place.
struct Aead(crypto::aead::Key);

impl Sealer for Aead {
    fn seal(&self, table: &str, column: &str, row: &str, plaintext: &[u8]) -> Vec<u8> {
        let place = format!("{table}/{column}/{row}");
        self.0.seal(place.as_bytes(), plaintext)
    }

    fn open(&self, table: &str, column: &str, row: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let opened = self.0.open(format!("{table}/{column}/{row}").as_bytes(), sealed);
        opened.ok()
    }
}

/// What was recorded, line by line.
#[derive(Default)]
pub(crate) struct Log(Mutex<Vec<String>>);

impl Log {
    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Audit for Log {
    fn record<'a>(
        &'a self,
        actor: &'a str,
        action: &'a str,
        detail: &'a str,
    ) -> BoxFuture<'a, Result<(), Error>> {
        self.0.lock().unwrap().push(format!("{actor} {action} {detail}"));
        Box::pin(async { Ok(()) })
    }
}

pub(crate) async fn service(folder: &Path, clock: &Arc<ManualClock>, log: &Arc<Log>) -> Attest {
    let options =
        SqliteConnectOptions::new().filename(folder.join("cloud.db")).create_if_missing(true);
    let pool = SqlitePool::connect_with(options).await.unwrap();
    let clock: Arc<dyn Clock> = Arc::clone(clock) as _;
    let opened = Attest::open(Foundation {
        pool,
        clock,
        entropy: Arc::new(SystemEntropy),
        sealer: Arc::new(Aead(crypto::aead::Key::aes_128_gcm(&[7; 16]))),
        audit: Arc::clone(log) as _,
        roots: Vec::new(),
        list_max_age: Duration::from_secs(24 * 3600),
    });
    opened.await.unwrap()
}

/// A cloud that knows one maker.
pub(crate) async fn cloud() -> Cloud {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(UnixMillis(NOW * 1000)));
    let log = Arc::new(Log::default());
    let attest = service(folder.path(), &clock, &log).await;
    let maker = Maker::new();
    attest.register_maker("Maker", maker.root.certificate.as_der()).await.unwrap();
    Cloud { folder, clock, attest, maker, log }
}

impl Cloud {
    pub(crate) async fn enrolled(&self, number: &str) -> Identity {
        let device = self.maker.device(number);
        self.attest.enrol_device(&self.maker.chain(&device)).await.unwrap();
        device
    }

    /// A chain that answers a fresh challenge.
    pub(crate) async fn evidence(&self, device: &Identity) -> Vec<Vec<u8>> {
        let challenge = self.attest.challenge().await.unwrap();
        self.maker.attest(device, &challenge.bytes, &key())
    }
}

pub(crate) fn refusal<T: std::fmt::Debug>(result: Result<T, Error>) -> Refusal {
    match result {
        Err(Error::Refused(refusal)) => refusal,
        other => panic!("not a refusal: {other:?}"),
    }
}
