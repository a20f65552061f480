//! Remote key provisioning: the request a device signs, and chains that a server certified.

mod support;

use crypto::ml_dsa::{MlDsaKey, Parameters};
use crypto::sign::{Curve, EcdsaKey};
use keyattest::provisioning::ProvisioningError;
use keyattest::x509::{
    Certificate, CertificateParams, KeyUsage, Name, SignatureAlgorithm, Spki, Validity,
    build_certificate,
};
use keyattest::{
    CertificateRequest, Oddity, Provisioning, ProvisioningInfo, Refusal, verify_chain,
};
use proptest::prelude::*;
use support::{Authority, Maker, NOW, description, serial, sign, spki};

fn key() -> EcdsaKey {
    EcdsaKey::generate(Curve::P256).unwrap()
}

fn request(maker: &Maker, keys: Vec<Spki>) -> CertificateRequest {
    let device = maker.device.certificate.clone();
    CertificateRequest { device, challenge: vec![7; 32], keys }
}

#[test]
fn a_request_goes_around_and_no_byte_of_it_can_be_changed() {
    let maker = Maker::new();
    let request = request(&maker, vec![spki(&key()), spki(&key())]);
    let encoded = request.encode(|data| maker.device.key.sign(data)).unwrap();
    assert_eq!(CertificateRequest::open(&encoded), Ok(request));
    for at in 0..encoded.len() {
        let mut altered = encoded.clone();
        altered[at] ^= 0x01;
        assert!(CertificateRequest::open(&altered).is_err(), "byte {at}");
        assert!(CertificateRequest::open(&encoded[..at]).is_err());
    }
    let longer = [&encoded[..], &[0]].concat();
    assert_eq!(CertificateRequest::open(&longer), Err(ProvisioningError::Cbor("request")));
}

#[test]
fn refuses_another_signer_too_many_keys_and_no_challenge() {
    let maker = Maker::new();
    let forged = request(&maker, vec![spki(&key())]).encode(|data| key().sign(data)).unwrap();
    assert_eq!(CertificateRequest::open(&forged), Err(ProvisioningError::Signature));
    let sign = |data: &[u8]| maker.device.key.sign(data);
    for count in [0, 21] {
        let keys = (0..count).map(|_| spki(&maker.device.key)).collect();
        let refused = request(&maker, keys).encode(sign);
        assert_eq!(refused, Err(ProvisioningError::Schema("keys")));
    }
    for challenge in [vec![], vec![1; 65]] {
        let refused =
            CertificateRequest { challenge, ..request(&maker, vec![spki(&key())]) }.encode(sign);
        assert_eq!(refused, Err(ProvisioningError::Schema("challenge")));
    }
    let p384 = EcdsaKey::generate(Curve::P384).unwrap();
    let refused = request(&maker, vec![spki(&p384)]).encode(sign);
    assert_eq!(refused, Err(ProvisioningError::Schema("keys")));
}

proptest! {
    #[test]
    fn arbitrary_requests_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = CertificateRequest::open(&bytes);
        let _ = ProvisioningInfo::decode(&bytes);
    }
}

/// A server's authorities, and the certificate of one device's key.
struct Server {
    root: Authority,
    above: Vec<Authority>,
}

impl Server {
    fn new() -> Self {
        let life = Validity::days(NOW - 86_400, 100);
        let key = EcdsaKey::generate(Curve::P384).unwrap();
        let name = Name::authority("Provisioning Root", "Cloud").unwrap();
        let params = CertificateParams::root(name, serial(1), life, spki(&key));
        let root = Authority::new(&params, key, None);
        let key = self::key();
        let params = CertificateParams::provisioning_intermediate(
            &root.certificate,
            Name::authority("Provisioning CA", "Cloud").unwrap(),
            serial(2),
            life,
            spki(&key),
        );
        let intermediate = Authority::new(&params, key, Some(&root));
        let key = self::key();
        let params = CertificateParams::intermediate(
            &intermediate.certificate,
            Name::authority("Provisioning Server", "Cloud").unwrap(),
            serial(3),
            life,
            spki(&key),
        );
        let server = Authority::new(&params, key, Some(&intermediate));
        Self { root, above: vec![server, intermediate] }
    }

    fn provision(&self, key: EcdsaKey) -> Authority {
        let params = CertificateParams::provisioned(
            &self.above[0].certificate,
            Name::authority("HF-1", "TEE").unwrap(),
            serial(4),
            Validity::days(NOW - 3600, 30),
            spki(&key),
            &ProvisioningInfo { certificates_issued: 3 },
        );
        Authority::new(&params, key, Some(&self.above[0]))
    }

    fn chain(&self, leaf: Vec<u8>, device: &Authority) -> Vec<Vec<u8>> {
        let above = [&self.above[0], &self.above[1], &self.root];
        let above = above.map(|authority| authority.certificate.as_der().to_vec());
        [vec![leaf, device.certificate.as_der().to_vec()], above.to_vec()].concat()
    }
}

#[test]
fn s2_1_2_a_provisioned_chain_counts_in_its_time_and_says_how_many_were_issued() {
    let server = Server::new();
    let device = server.provision(key());
    let params =
        CertificateParams::attested(&device.certificate, spki(&key()), &description()).unwrap();
    let leaf = sign(&params, &device.key, device.algorithm);
    let chain = server.chain(leaf.clone(), &device);
    let roots = [server.root.certificate.public_key().clone()];
    let at = |chain: &[Vec<u8>], now| verify_chain(chain, &roots, &|_| None, now);
    let statement = at(&chain, NOW).unwrap();
    assert_eq!(statement.provisioning, Provisioning::Remote);
    assert_eq!(statement.provisioning_info, Some(ProvisioningInfo { certificates_issued: 3 }));
    assert_eq!(at(&chain, NOW + 31 * 86_400), Err(Refusal::Expired { index: 1 }));
    assert_eq!(at(&chain, NOW - 7200), Err(Refusal::NotYetValid { index: 1 }));
    // A certificate below the statement, as in a factory's chain.
    let of = Certificate::parse(&leaf).unwrap();
    let extra =
        CertificateParams::unattested(of.subject().clone(), spki(&key()), KeyUsage::default());
    let extra = sign(&extra, &key(), SignatureAlgorithm::EcdsaSha256);
    let refused = at(&[vec![extra], chain.clone()].concat(), NOW).unwrap_err();
    assert_eq!(refused, Refusal::Signature { index: 0 });
}

#[test]
fn provisioning_info_that_is_none_is_noted() {
    let server = Server::new();
    let key = key();
    let mut params = CertificateParams::provisioned(
        &server.above[0].certificate,
        Name::authority("HF-1", "TEE").unwrap(),
        serial(4),
        Validity::days(NOW - 3600, 30),
        spki(&key),
        &ProvisioningInfo { certificates_issued: 0 },
    );
    params.extensions.last_mut().unwrap().value = b"none".to_vec();
    let device = Authority::new(&params, key, Some(&server.above[0]));
    let params =
        CertificateParams::attested(&device.certificate, spki(&self::key()), &description());
    let leaf = sign(&params.unwrap(), &device.key, device.algorithm);
    let roots = [server.root.certificate.public_key().clone()];
    let statement = verify_chain(&server.chain(leaf, &device), &roots, &|_| None, NOW).unwrap();
    assert_eq!(statement.provisioning_info, None);
    assert_eq!(statement.oddities, [Oddity::ProvisioningInfo]);
}

#[test]
fn provisioning_info_may_have_other_entries() {
    let decode = |bytes: &[u8]| ProvisioningInfo::decode(bytes).ok();
    let expected = Some(ProvisioningInfo { certificates_issued: 2 });
    assert_eq!(decode(&[0xa1, 1, 2]), expected);
    assert_eq!(decode(&[0xa2, 1, 2, 3, 0x61, b'x']), expected);
    assert_eq!(decode(&[0xa2, 1, 2, 1, 2]), None);
    assert_eq!(decode(&[0xa1, 1, 0x20]), None);
    assert_eq!(decode(&[0xa1, 1, 2, 0]), None);
    assert_eq!(ProvisioningInfo { certificates_issued: 2 }.encode(), [0xa1, 1, 2]);
}

/// A root, a device and a leaf that sign with ML-DSA where the names of RFC 9881 stand.
#[test]
fn verifies_ml_dsa_signatures() {
    let maker = Maker::new();
    for (parameters, algorithm) in [
        (Parameters::MlDsa65, SignatureAlgorithm::MlDsa65),
        (Parameters::MlDsa87, SignatureAlgorithm::MlDsa87),
    ] {
        let device = MlDsaKey::generate(parameters).unwrap();
        let device_spki = Spki::ml_dsa(parameters, device.public_key());
        let params = CertificateParams::device(
            &maker.intermediate.certificate,
            Name::factory("HF0000000001").unwrap(),
            serial(9),
            Validity::days(NOW - 60, 10),
            device_spki,
        );
        let certificate = sign(&params, &maker.intermediate.key, SignatureAlgorithm::EcdsaSha256);
        let certificate = Certificate::parse(&certificate).unwrap();
        let attested = MlDsaKey::generate(parameters).unwrap();
        let attested_spki = Spki::ml_dsa(parameters, attested.public_key());
        let params =
            CertificateParams::attested(&certificate, attested_spki.clone(), &description());
        let leaf = build_certificate(&params.unwrap(), algorithm, |tbs| device.sign(tbs)).unwrap();
        let mut chain = vec![leaf, certificate.as_der().to_vec()];
        chain.extend(maker.device_chain().into_iter().skip(1));
        let verify = |chain: &[Vec<u8>]| verify_chain(chain, &maker.roots(), &|_| None, NOW);
        assert_eq!(verify(&chain).unwrap().public_key, attested_spki);
        let end = chain[0].len() - 1;
        chain[0][end - 100] ^= 1;
        assert_eq!(verify(&chain), Err(Refusal::Signature { index: 0 }));
    }
}
