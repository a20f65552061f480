//! Keys that attest others with certificates of a server, over a server made for the test.

use super::*;
use crypto::sign::EcdsaKey;
use keyattest::ProvisioningInfo;
use keyattest::x509::{
    Certificate, CertificateParams, Name, SerialNumber, SignatureAlgorithm, Spki, Validity,
    build_certificate,
};
use keystore_client::KeystoreCode;
use keystore_client::api::AttestationSource;
use std::time::Duration;

const DAY: u64 = 24 * 3600;

struct Server {
    key: EcdsaKey,
    own: Certificate,
    root: Certificate,
}

fn spki(key: &EcdsaKey) -> Spki {
    Spki::from_der(&key.public_key_spki().unwrap()).unwrap()
}

fn certificate(params: &CertificateParams, issuer: &EcdsaKey) -> Certificate {
    let sign = |tbs: &[u8]| issuer.sign(tbs);
    let der = build_certificate(params, SignatureAlgorithm::EcdsaSha256, sign).unwrap();
    Certificate::parse(&der).unwrap()
}

impl Server {
    fn new() -> Self {
        let [root_key, key] = [(); 2].map(|()| EcdsaKey::generate(Curve::P256).unwrap());
        let life = Validity::days(NOW / 1000 - 100 * DAY, 9000);
        let name = Name::authority("Root", "Provisioning").unwrap();
        let root = CertificateParams::root(name, SerialNumber::one(), life, spki(&root_key));
        let root = certificate(&root, &root_key);
        let name = Name::authority("Server", "Provisioning").unwrap();
        let serial = SerialNumber::one();
        let own = CertificateParams::intermediate(&root, name, serial, life, spki(&key));
        let own = certificate(&own, &root_key);
        Self { key, own, root }
    }

    fn certify(&self, key: &Spki, days: u32, now_ms: u64) -> Vec<Vec<u8>> {
        let params = CertificateParams::provisioned(
            &self.own,
            Name::authority("attests", "TEE").unwrap(),
            SerialNumber::one(),
            Validity::days(now_ms / 1000 - 60, days),
            key.clone(),
            &ProvisioningInfo { certificates_issued: 1 },
        );
        let key = certificate(&params, &self.key);
        [&key, &self.own, &self.root].map(|it| it.as_der().to_vec()).to_vec()
    }
}

/// Asks, and gets certificates for so many days.
fn provision(bench: &Bench, server: &Server, days: u32) {
    let asked = bench.keystore.certificate_request(b"challenge").unwrap();
    let now_ms = effects::Clock::now(&*bench.clock).0;
    let chains =
        asked.public_keys().unwrap().iter().map(|key| server.certify(key, days, now_ms)).collect();
    let provisioned = bench.keystore.install_certificates(asked, chains).unwrap();
    assert_eq!(provisioned.keys, 4);
}

fn attested(bench: &Bench, caller: &Caller, name: &str) -> Result<KeyInfo, Error> {
    let mut params = signing();
    params.attestation_challenge = Some(keymint::Bytes::from(b"challenge"));
    let key_source = AttestationSource::Remote;
    bench.keystore.generate(caller, NewKey { key_source, ..NewKey::new(name, params) })
}

fn is_out_of_keys(made: &Result<KeyInfo, Error>) -> bool {
    made.as_ref().err().and_then(Error::code) == Some(KeystoreCode::OutOfKeys.into())
}

#[test]
fn s3_2_a_provisioned_key_attests_and_its_chain_follows() {
    let bench = Bench::new();
    assert!(is_out_of_keys(&attested(&bench, &user(7), "early")));
    let due = |wanted| bench.keystore.provisioning_is_due(wanted).unwrap();
    assert!(due(true) && !due(false), "nobody asked for any yet");
    let server = Server::new();
    provision(&bench, &server, 30);
    assert!(!due(true) && !due(false));
    let info = attested(&bench, &user(7), "key").unwrap();
    assert_eq!(info.certificates.len(), 4);
    let chain: Vec<_> =
        info.certificates.iter().map(|der| Certificate::parse(der).unwrap()).collect();
    assert_eq!(chain[3].as_der(), server.root.as_der());
    assert_eq!(chain[1].issuer(), chain[2].subject());
    // One program keeps to one key; of many programs some have another.
    let of =
        |uid| attested(&bench, &user(uid), &format!("of {uid}")).unwrap().certificates[1].clone();
    assert_eq!(of(7), info.certificates[1]);
    assert!((8..40).any(|uid| of(uid) != info.certificates[1]));
    // Nobody sees these keys, nor names them.
    assert!(bench.keystore.list(&system(), "", "", 100).unwrap().keys.is_empty());
    assert_eq!(bench.audit_lines().iter().filter(|it| it.contains("provision")).count(), 4);
}

#[test]
fn s3_2_lapsed_certificates_attest_nothing_and_are_renewed_before() {
    let bench = Bench::new();
    let server = Server::new();
    provision(&bench, &server, 30);
    let first = attested(&bench, &user(7), "first").unwrap();
    let due = || bench.keystore.provisioning_is_due(false).unwrap();
    bench.clock.advance(Duration::from_secs(19 * DAY));
    assert!(!due());
    bench.clock.advance(Duration::from_secs(2 * DAY));
    assert!(due(), "ten days before");
    assert!(attested(&bench, &user(7), "second").is_ok(), "they count still");
    bench.clock.advance(Duration::from_secs(10 * DAY));
    assert!(is_out_of_keys(&attested(&bench, &user(7), "third")));
    assert_eq!(bench.keystore.provisioned().unwrap().keys, 0);
    let bench = bench.restart();
    provision(&bench, &server, 30);
    let fourth = attested(&bench, &user(7), "fourth").unwrap();
    assert_ne!(fourth.certificates[1], first.certificates[1]);
    assert_eq!(bench.tee.deleted(), 4, "the keys before are gone from the TEE");
    // The secure clock decides where it is trusted: a system's clock set back lengthens nothing.
    bench.tee.says_it_is(NOW + 100 * DAY * 1000);
    assert!(is_out_of_keys(&attested(&bench, &user(7), "fifth")));
}

#[test]
fn certificates_that_are_unsound_late_or_for_other_keys_change_nothing() {
    let bench = Bench::new();
    let server = Server::new();
    provision(&bench, &server, 30);
    let before = bench.keystore.provisioned().unwrap();
    type Change = fn(&mut Vec<Vec<Vec<u8>>>);
    let changes: [Change; 6] = [
        |chains| drop(chains.pop()),
        |chains| chains.swap(0, 1),
        |chains| *chains[3][0].last_mut().unwrap() ^= 1,
        |chains| drop(chains[2].pop()),
        |chains| chains[1].clear(),
        |chains| chains[0] = vec![b"no certificate".to_vec(); 3],
    ];
    for change in changes {
        let asked = bench.keystore.certificate_request(b"x").unwrap();
        let keys = asked.public_keys().unwrap();
        let mut chains: Vec<_> = keys.iter().map(|key| server.certify(key, 60, NOW)).collect();
        change(&mut chains);
        assert!(bench.keystore.install_certificates(asked, chains).is_err());
        assert_eq!(bench.keystore.provisioned().unwrap(), before);
    }
    let asked = bench.keystore.certificate_request(b"x").unwrap();
    let keys = asked.public_keys().unwrap();
    let old = NOW - 40 * DAY * 1000;
    let lapsed = keys.iter().map(|key| server.certify(key, 30, old)).collect();
    assert!(bench.keystore.install_certificates(asked, lapsed).is_err());
    assert!(attested(&bench, &user(7), "key").is_ok());
}

#[test]
fn a_provisioned_key_outlives_an_update_of_the_system() {
    let bench = Bench::new();
    provision(&bench, &Server::new(), 30);
    bench.tee.state().version = 2;
    assert!(attested(&bench, &user(7), "key").is_ok());
}

#[test]
fn boot_levels_and_two_attesting_keys_are_refused() {
    let bench = Bench::new();
    let leveled = bench.generate_with(&user(7), "leveled", |it| it.max_boot_level = Some(3));
    let code = leveled.err().and_then(|error| error.code());
    assert_eq!(code, Some(keymint::ErrorCode::UnsupportedTag.into()));
    let attest_key = keystore_client::api::AttestKey { key: alias("any"), params: signing() };
    let key_source = AttestationSource::Remote;
    let both = NewKey { attest_key: Some(attest_key), key_source, ..NewKey::new("key", signing()) };
    let refused = bench.keystore.generate(&user(7), both).unwrap_err();
    assert_eq!(refused.code(), Some(KeystoreCode::InvalidArgument.into()));
}
