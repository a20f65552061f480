//! KeyMint over a trusted OS in memory, with a maker made for the test.

mod confirmation;

use crate::keymint::KeyMintTa;
use crypto::sign::{Curve, EcdsaKey, Hash, ecdsa_verify};
use keyattest::x509::{
    Certificate, CertificateParams, Name, SerialNumber, SignatureAlgorithm, Spki, Validity,
    build_certificate,
};
use keyattest::{SecurityLevel, VerifiedBootState, verify_chain};
use proptest::prelude::*;
use serde_bytes::ByteBuf;
use tee_api::boot::{BootInfo, BootState};
use tee_api::keymint::{
    Algorithm, Authorizations, Bytes, Command, Digest, EcCurve, KeyCreation, KeyMint, KeyPurpose,
    KeySource, Reply,
};
use tee_sdk::testing::{FakeOs, Harness};
use tee_sdk::{Protocol, TeeError};

const NOW: u64 = 1_767_225_600;

struct Maker {
    root: Certificate,
    intermediate: Certificate,
    key: EcdsaKey,
}

fn certificate(params: &CertificateParams, issuer: &EcdsaKey) -> Certificate {
    let der = build_certificate(params, SignatureAlgorithm::EcdsaSha256, |tbs| issuer.sign(tbs));
    Certificate::parse(&der.unwrap()).unwrap()
}

fn spki(key: &EcdsaKey) -> Spki {
    Spki::from_der(&key.public_key_spki().unwrap()).unwrap()
}

impl Maker {
    fn new() -> Self {
        let root_key = EcdsaKey::generate(Curve::P256).unwrap();
        let key = EcdsaKey::generate(Curve::P256).unwrap();
        let life = Validity::days(NOW, 9_000);
        let name = Name::authority("Root", "Maker").unwrap();
        let params = CertificateParams::root(name, SerialNumber::one(), life, spki(&root_key));
        let root = certificate(&params, &root_key);
        let name = Name::factory("00ff").unwrap();
        let params =
            CertificateParams::intermediate(&root, name, SerialNumber::one(), life, spki(&key));
        let intermediate = certificate(&params, &root_key);
        Self { root, intermediate, key }
    }

    /// Device, intermediate, root.
    fn certify(&self, public_key: &[u8], serial: &str) -> Vec<ByteBuf> {
        let params = CertificateParams::device(
            &self.intermediate,
            Name::factory(serial).unwrap(),
            SerialNumber::from_bytes(&[7; 16]).unwrap(),
            Validity::days(NOW, 9_000),
            Spki::from_der(public_key).unwrap(),
        );
        [&certificate(&params, &self.key), &self.intermediate, &self.root]
            .map(|certificate| ByteBuf::from(certificate.as_der()))
            .to_vec()
    }
}

fn public_key(reply: Reply) -> Vec<u8> {
    let Reply::PublicKey(key) = reply else { panic!("not a public key: {reply:?}") };
    key.into_vec()
}

fn install(ta: &mut Harness<KeyMintTa>, chain: Vec<ByteBuf>) -> Result<(), TeeError> {
    ta.call(&Command::FactoryInstall { chain }).map(|reply| assert!(matches!(reply, Reply::Done)))
}

/// A device that left the factory of `maker`.
fn device(maker: &Maker) -> (FakeOs, Harness<KeyMintTa>) {
    let os = FakeOs::in_factory();
    let mut ta = os.start();
    let public_key = public_key(ta.call(&Command::FactoryGenerate).unwrap());
    install(&mut ta, maker.certify(&public_key, "HF-TEST-0001")).unwrap();
    (os, ta)
}

/// What the system's own keys are.
fn params() -> Authorizations {
    Authorizations {
        purpose: [KeyPurpose::Sign].into(),
        algorithm: Some(Algorithm::Ec),
        ec_curve: Some(EcCurve::P256),
        digest: [Digest::Sha2_256].into(),
        no_auth_required: true,
        attestation_challenge: Some(Bytes::from(b"x")),
        ..Authorizations::default()
    }
}

/// A key's blob, public key and chain.
fn generate_with(
    ta: &mut Harness<KeyMintTa>,
    params: Authorizations,
) -> (ByteBuf, Vec<u8>, Vec<ByteBuf>) {
    match ta.call(&Command::GenerateKey { params, attest: None }).unwrap() {
        Reply::Key(KeyCreation { blob, chain, .. }) => {
            let leaf = Certificate::parse(&chain[0]).unwrap();
            (blob, leaf.public_key().as_der().to_vec(), chain)
        }
        other => panic!("not a key: {other:?}"),
    }
}

fn generate(
    ta: &mut Harness<KeyMintTa>,
    challenge: Option<&[u8]>,
) -> (ByteBuf, Vec<u8>, Vec<ByteBuf>) {
    let challenge = Some(Bytes::from(challenge.unwrap_or(b"x")));
    generate_with(ta, Authorizations { attestation_challenge: challenge, ..params() })
}

fn sign(ta: &mut Harness<KeyMintTa>, blob: &[u8]) -> Result<Vec<u8>, TeeError> {
    sign_message(ta, blob, b"message", None)
}

fn sign_message(
    ta: &mut Harness<KeyMintTa>,
    blob: &[u8],
    message: &[u8],
    confirmation: Option<&ByteBuf>,
) -> Result<Vec<u8>, TeeError> {
    let begin = Command::Begin {
        key: KeySource::Blob(ByteBuf::from(blob)),
        purpose: KeyPurpose::Sign,
        params: Authorizations { digest: [Digest::Sha2_256].into(), ..Authorizations::default() },
        token: None,
    };
    let operation = match ta.call(&begin)? {
        Reply::Begun(begun) => begun.operation,
        Reply::Refused(code) => return Err(code.into()),
        other => panic!("not an operation: {other:?}"),
    };
    let input = ByteBuf::from(message);
    let confirmation = confirmation.cloned();
    let finish = Command::Finish { operation, input, signature: None, token: None, confirmation };
    match ta.call(&finish)? {
        Reply::Output(signature) => Ok(signature.into_vec()),
        Reply::Refused(code) => Err(code.into()),
        other => panic!("not a signature: {other:?}"),
    }
}

#[test]
fn s2_1_2_attests_a_key_with_the_challenge_and_what_was_booted() {
    let maker = Maker::new();
    let (_, mut ta) = device(&maker);
    let (_, public_key, chain) = generate(&mut ta, Some(&[0xc5; 32]));
    let roots = [maker.root.public_key().clone()];
    let statement = verify_chain(&chain, &roots, &|_| None, NOW).unwrap();
    assert_eq!(statement.public_key.as_der(), public_key);
    assert_eq!(statement.security_level, SecurityLevel::TrustedEnvironment);
    assert_eq!(statement.description.attestation_challenge, [0xc5; 32]);
    let boot = &statement.root_of_trust;
    assert_eq!(boot.verified_boot_key, [0xab; 32]);
    assert_eq!(boot.verified_boot_hash.as_deref(), Some(&[0xcd; 32][..]));
    assert_eq!(boot.verified_boot_state, VerifiedBootState::Verified);
    assert!(boot.device_locked);
    assert_eq!(statement.description.hardware_enforced.os_patch_level, Some(202_611));
    assert_eq!(statement.oddities, []);
}

#[test]
fn s2_1_2_an_unlocked_device_says_so() {
    let maker = Maker::new();
    let (os, mut ta) = device(&maker);
    os.set_boot_info(Some(booted(|info| {
        info.device_locked = false;
        info.boot_state = BootState::Orange;
    })));
    let (_, _, chain) = generate(&mut ta, Some(b"x"));
    let roots = [maker.root.public_key().clone()];
    let boot = verify_chain(&chain, &roots, &|_| None, NOW).unwrap().root_of_trust;
    assert_eq!(boot.verified_boot_state, VerifiedBootState::Unverified);
    assert!(!boot.device_locked);
}

#[test]
fn signs_after_a_restart() {
    let maker = Maker::new();
    let (os, mut ta) = device(&maker);
    let (blob, public_key, _) = generate(&mut ta, None);
    os.power_cycle();
    let mut ta = os.start();
    let der = sign(&mut ta, &blob).unwrap();
    ecdsa_verify(Curve::P256, Hash::Sha256, &public_key, b"message", &der).unwrap();
}

#[test]
fn refuses_a_blob_under_another_root_of_trust() {
    let (os, mut ta) = device(&Maker::new());
    let (blob, ..) = generate(&mut ta, None);
    let others: [fn(&mut BootInfo); 4] = [
        |info| info.verified_boot_key[31] ^= 1,
        |info| info.device_locked = false,
        |info| info.boot_state = BootState::Yellow,
        |info| info.boot_state = BootState::Orange,
    ];
    for change in others {
        os.set_boot_info(Some(booted(change)));
        assert!(matches!(sign(&mut ta, &blob), Err(TeeError::Security(_))));
    }
    // Another version of the same maker's system has another vbmeta digest: that is allowed.
    os.set_boot_info(Some(booted(|info| info.verified_boot_hash[0] ^= 1)));
    assert!(sign(&mut ta, &blob).is_ok());
}

#[test]
fn refuses_a_blob_of_newer_software_and_takes_one_of_older() {
    let (os, mut ta) = device(&Maker::new());
    let (blob, ..) = generate(&mut ta, None);
    let newer: [fn(&mut BootInfo); 3] = [
        |info| info.os_version += 1,
        |info| info.os_patch_level += 1,
        |info| info.boot_patch_level += 1,
    ];
    for change in newer {
        os.set_boot_info(Some(booted(change)));
        let (newer, ..) = generate(&mut ta, None);
        assert!(sign(&mut ta, &blob).is_ok());
        os.set_boot_info(Some(booted(|_| ())));
        assert!(matches!(sign(&mut ta, &newer), Err(TeeError::Security(_))));
    }
    os.set_boot_info(Some(booted(|info| info.os_version = 0)));
    assert!(sign(&mut ta, &blob).is_ok());
}

#[test]
fn refuses_a_blob_of_another_device() {
    let maker = Maker::new();
    let (_, mut ta) = device(&maker);
    let (_, mut other) = device(&maker);
    let (blob, ..) = generate(&mut ta, None);
    assert!(matches!(sign(&mut other, &blob), Err(TeeError::Security(_))));
}

#[test]
fn refuses_every_altered_and_every_cut_blob() {
    let (_, mut ta) = device(&Maker::new());
    let (blob, ..) = generate(&mut ta, None);
    for bit in 0..blob.len() * 8 {
        let mut altered = blob.to_vec();
        altered[bit / 8] ^= 1 << (bit % 8);
        assert!(matches!(sign(&mut ta, &altered), Err(TeeError::Security(_))), "{bit}");
    }
    for length in 0..blob.len() {
        assert!(matches!(sign(&mut ta, &blob[..length]), Err(TeeError::Security(_))));
    }
}

#[test]
fn a_blob_shows_nothing_of_the_key_and_no_two_are_alike() {
    let (_, mut ta) = device(&Maker::new());
    let (first, public_key, _) = generate(&mut ta, None);
    let (second, ..) = generate(&mut ta, None);
    assert_ne!(first[1..33], second[1..33]);
    let point = &public_key[public_key.len() - 64..];
    assert!(!first.windows(16).any(|window| window == &point[..16]));
}

#[test]
fn the_device_key_is_made_once_and_only_in_the_factory() {
    let os = FakeOs::in_factory();
    let mut ta = os.start::<KeyMintTa>();
    let first = public_key(ta.call(&Command::FactoryGenerate).unwrap());
    let mut again = os.start::<KeyMintTa>();
    assert_eq!(public_key(again.call(&Command::FactoryGenerate).unwrap()), first);
    install(&mut ta, Maker::new().certify(&first, "HF-TEST-0001")).unwrap();
    assert!(!os.is_in_factory());
    assert!(matches!(ta.call(&Command::FactoryGenerate), Err(TeeError::Denied(_))));
    let chain = Maker::new().certify(&first, "HF-TEST-0001");
    assert!(matches!(install(&mut ta, chain), Err(TeeError::Denied(_))));
}

#[test]
fn refuses_a_chain_for_another_key_another_board_or_with_a_flaw() {
    let (maker, os) = (Maker::new(), FakeOs::in_factory());
    let mut ta = os.start::<KeyMintTa>();
    let early = install(&mut ta, maker.certify(maker.root.public_key().as_der(), "HF-TEST-0001"));
    assert!(matches!(early, Err(TeeError::BadState(_))));
    let ours = public_key(ta.call(&Command::FactoryGenerate).unwrap());
    let mut flawed = maker.certify(&ours, "HF-TEST-0001");
    let last = flawed[0].len() - 1;
    flawed[0][last] ^= 1;
    let mut cut = maker.certify(&ours, "HF-TEST-0001");
    cut.pop();
    let refused = [
        maker.certify(maker.root.public_key().as_der(), "HF-TEST-0001"),
        maker.certify(&ours, "HF-TEST-0002"),
        flawed,
        cut,
        Vec::new(),
    ];
    for chain in refused {
        assert!(matches!(install(&mut ta, chain), Err(TeeError::BadParameters(_))));
        assert!(os.is_in_factory());
    }
    install(&mut ta, maker.certify(&ours, "HF-TEST-0001")).unwrap();
}

#[test]
fn a_power_cut_during_installation_leaves_the_device_in_the_factory() {
    let (maker, os) = (Maker::new(), FakeOs::in_factory());
    let mut ta = os.start::<KeyMintTa>();
    let ours = public_key(ta.call(&Command::FactoryGenerate).unwrap());
    os.lose_power_after(0);
    assert!(install(&mut ta, maker.certify(&ours, "HF-TEST-0001")).is_err());
    assert!(os.is_in_factory());
    os.power_cycle();
    let mut ta = os.start::<KeyMintTa>();
    install(&mut ta, maker.certify(&ours, "HF-TEST-0001")).unwrap();
    assert!(!os.is_in_factory());
}

#[test]
fn attests_nothing_before_it_is_provisioned_or_booted() {
    let (maker, os) = (Maker::new(), FakeOs::in_factory());
    let mut ta = os.start::<KeyMintTa>();
    let challenge = || Command::GenerateKey { params: params(), attest: None };
    assert!(matches!(ta.call(&challenge()), Err(TeeError::BadState(_))));
    assert!(matches!(ta.call(&Command::DeviceChain), Err(TeeError::BadState(_))));
    let (os, mut ta) = device(&maker);
    let Reply::Chain(chain) = ta.call(&Command::DeviceChain).unwrap() else { panic!() };
    assert_eq!(chain.len(), 3);
    os.set_boot_info(None);
    assert!(matches!(ta.call(&challenge()), Err(TeeError::BadState(_))));
}

#[test]
fn refuses_a_challenge_of_129_bytes() {
    let (_, mut ta) = device(&Maker::new());
    assert_eq!(generate(&mut ta, Some(&[1; 128])).2.len(), 4);
    let attestation_challenge = Some(Bytes::from(&[1; 129]));
    let params = Authorizations { attestation_challenge, ..params() };
    let long = Command::GenerateKey { params, attest: None };
    assert!(matches!(ta.call(&long), Err(TeeError::BadParameters(_))));
}

#[test]
fn secure_storage_holds_the_devices_key_and_chain_and_no_generated_key() {
    let (os, mut ta) = device(&Maker::new());
    generate(&mut ta, Some(b"x"));
    let names: Vec<_> = os.objects().into_iter().map(|(ta, name, _)| (ta, name)).collect();
    let of = |name: &str| (KeyMint::TA, name.to_owned());
    assert_eq!(names, [of("device-chain"), of("device-key")]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn hostile_commands_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut ta = FakeOs::new().start::<KeyMintTa>();
        let _ = ta.call_raw(&bytes);
        let blob = ByteBuf::from(bytes);
        let _ = sign(&mut ta, &blob);
    }
}

/// What [`FakeOs`] boots, changed.
fn booted(change: impl FnOnce(&mut BootInfo)) -> BootInfo {
    let mut info = BootInfo {
        verified_boot_key: [0xab; 32],
        device_locked: true,
        boot_state: BootState::Green,
        verified_boot_hash: ByteBuf::from([0xcd; 32]),
        os_version: 10_000,
        os_patch_level: 202_611,
        boot_patch_level: 20_261_101,
        rollback_indexes: vec![(0, 1), (1, 1)],
    };
    change(&mut info);
    info
}

#[test]
fn s3_1_2_a_rollback_resistant_key_is_gone_once_it_is_deleted_and_no_copy_brings_it_back() {
    let (os, mut ta) = device(&Maker::new());
    let params = Authorizations { rollback_resistance: true, ..params() };
    let (first, ..) = generate_with(&mut ta, params.clone());
    let (second, ..) = generate_with(&mut ta, params);
    assert!(sign(&mut ta, &first).is_ok() && sign(&mut ta, &second).is_ok());
    // Its rules, behind version, derivation input and versions, are its own.
    let mut as_plain = first.clone();
    as_plain[1 + 32 + 12] = 0;
    assert!(matches!(sign(&mut ta, &as_plain), Err(TeeError::Security(_))));
    os.keep_files(false);
    assert!(matches!(sign(&mut ta, &first), Err(TeeError::Communication(_))));
    os.keep_files(true);
    for _ in 0..2 {
        let deleted = ta.call(&Command::DeleteKey { blob: first.clone() });
        assert!(matches!(deleted, Ok(Reply::Done)));
        assert!(matches!(sign(&mut ta, &first), Err(TeeError::Security(_))));
    }
    assert!(sign(&mut ta, &second).is_ok());
    for malformed in [&[][..], &[2; 20], &[9; 60]] {
        let refused = ta.call(&Command::DeleteKey { blob: ByteBuf::from(malformed) });
        assert!(matches!(refused, Err(TeeError::Security(_))));
    }
}
