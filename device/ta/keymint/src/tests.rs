//! KeyMint over a trusted OS in memory, with a maker made for the test.

mod agreement;
mod attestation;
mod authentication;
mod batches;
mod blobs;
mod ciphers;
mod codes;
mod confirmation;
mod creation;
mod factory;
mod hostile;
mod import;
mod limits;
mod macs;
mod provisioning;
mod rsa;
mod shared_secret;
mod signing;
mod tickets;
mod timing;
mod vts;

use crate::keymint::KeyMintTa;
use crypto::sign::{Curve, EcdsaKey};
use keyattest::x509::{
    Certificate, CertificateParams, Name, SerialNumber, SignatureAlgorithm, Spki, Validity,
    build_certificate,
};
use serde_bytes::ByteBuf;
use tee_api::boot::{BootInfo, BootState};
use tee_api::keymint::*;
use tee_sdk::TeeError;
use tee_sdk::testing::{FakeOs, Harness};

/// 2026-01-01.
const NOW: u64 = 1_767_225_600;
/// `holdfast.system`, version 1, no signer.
const APPLICATION: &[u8] = b"\x30\x1a\x31\x16\x30\x14\x04\x0fholdfast.system\x02\x01\x01\x31\x00";

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

/// A device that left the factory of its maker.
struct Device {
    os: FakeOs,
    ta: Harness<KeyMintTa>,
    maker: Maker,
}

/// What a command comes to: a refusal by a rule, or what was asked for.
type Outcome<T> = Result<T, ErrorCode>;

impl Device {
    fn new() -> Self {
        let (maker, os) = (Maker::new(), FakeOs::in_factory());
        let mut ta: Harness<KeyMintTa> = os.start();
        ta.open(1, 0).unwrap();
        let Ok(Reply::PublicKey(key)) = ta.call(&Command::FactoryGenerate) else {
            panic!("the factory gets a key");
        };
        let ids = DeviceIds {
            brand: Some(ByteBuf::from(*b"holdfast")),
            imei: Some(ByteBuf::from(*b"490154203237518")),
            second_imei: Some(ByteBuf::from(*b"490154203237526")),
            ..DeviceIds::default()
        };
        ta.call(&Command::FactoryIds(ids)).unwrap();
        let chain = maker.certify(&key, "HF-TEST-0001");
        ta.call(&Command::FactoryInstall { chain }).unwrap();
        Self { os, ta, maker }
    }

    /// The process ends and starts anew.
    fn restart(&mut self) {
        self.ta = self.os.start();
        self.ta.open(1, 0).unwrap();
    }

    fn call(&mut self, command: &Command) -> Outcome<Reply> {
        match self.ta.call(command) {
            Ok(Reply::Refused(code)) => Err(code),
            Ok(reply) => Ok(reply),
            Err(error) => panic!("{command:?}: {error}"),
        }
    }

    fn generate(&mut self, params: &Authorizations) -> Outcome<KeyCreation> {
        self.generate_attested(params, None)
    }

    fn generate_attested(
        &mut self,
        params: &Authorizations,
        attest: Option<AttestKey>,
    ) -> Outcome<KeyCreation> {
        match self.call(&Command::GenerateKey { params: params.clone(), attest })? {
            Reply::Key(key) => Ok(key),
            other => panic!("not a key: {other:?}"),
        }
    }

    fn import(
        &mut self,
        params: &Authorizations,
        format: KeyFormat,
        data: &[u8],
    ) -> Outcome<KeyCreation> {
        let data = ByteBuf::from(data);
        let command = Command::ImportKey { params: params.clone(), format, data, attest: None };
        match self.call(&command)? {
            Reply::Key(key) => Ok(key),
            other => panic!("not a key: {other:?}"),
        }
    }

    fn characteristics(&mut self, blob: &ByteBuf) -> Outcome<KeyCharacteristics> {
        let blob = blob.clone();
        let command =
            Command::Characteristics { blob, application_id: None, application_data: None };
        match self.call(&command)? {
            Reply::Characteristics(characteristics) => Ok(characteristics),
            other => panic!("not characteristics: {other:?}"),
        }
    }

    fn begin(
        &mut self,
        blob: &ByteBuf,
        purpose: KeyPurpose,
        params: &Authorizations,
    ) -> Outcome<BegunOperation> {
        self.begin_with(KeySource::Blob(blob.clone()), purpose, params, None)
    }

    fn begin_with(
        &mut self,
        key: KeySource,
        purpose: KeyPurpose,
        params: &Authorizations,
        token: Option<HardwareAuthToken>,
    ) -> Outcome<BegunOperation> {
        let params = params.clone();
        match self.call(&Command::Begin { key, purpose, params, token })? {
            Reply::Begun(begun) => Ok(begun),
            other => panic!("not an operation: {other:?}"),
        }
    }

    fn aad(&mut self, operation: u64, input: &[u8]) -> Outcome<()> {
        let input = ByteBuf::from(input);
        self.call(&Command::UpdateAad { operation, input, token: None }).map(drop)
    }

    fn update(&mut self, operation: u64, input: &[u8]) -> Outcome<Vec<u8>> {
        let input = ByteBuf::from(input);
        match self.call(&Command::Update { operation, input, token: None })? {
            Reply::Output(out) => Ok(out.into_vec()),
            other => panic!("not an output: {other:?}"),
        }
    }

    fn finish(&mut self, operation: u64, input: &[u8]) -> Outcome<Vec<u8>> {
        self.finish_with(operation, input, None, None)
    }

    fn finish_with(
        &mut self,
        operation: u64,
        input: &[u8],
        signature: Option<&[u8]>,
        token: Option<HardwareAuthToken>,
    ) -> Outcome<Vec<u8>> {
        let (input, signature) = (ByteBuf::from(input), signature.map(ByteBuf::from));
        let command = Command::Finish { operation, input, signature, token, confirmation: None };
        match self.call(&command)? {
            Reply::Output(out) => Ok(out.into_vec()),
            other => panic!("not an output: {other:?}"),
        }
    }

    /// Begins and finishes.
    fn run(
        &mut self,
        blob: &ByteBuf,
        purpose: KeyPurpose,
        params: &Authorizations,
        input: &[u8],
    ) -> Outcome<Vec<u8>> {
        let operation = self.begin(blob, purpose, params)?.operation;
        self.finish(operation, input)
    }

    /// The same in pieces of so many bytes.
    fn run_in_pieces(
        &mut self,
        blob: &ByteBuf,
        purpose: KeyPurpose,
        params: &Authorizations,
        input: &[u8],
        piece: usize,
    ) -> Outcome<Vec<u8>> {
        let operation = self.begin(blob, purpose, params)?.operation;
        let mut out = Vec::new();
        for piece in input.chunks(piece) {
            out.extend(self.update(operation, piece)?);
        }
        out.extend(self.finish(operation, &[])?);
        Ok(out)
    }

    fn upgrade(&mut self, blob: &ByteBuf) -> Outcome<ByteBuf> {
        let (blob, params) = (blob.clone(), Authorizations::default());
        match self.call(&Command::UpgradeKey { blob, params })? {
            Reply::Blob(blob) => Ok(blob),
            other => panic!("not a blob: {other:?}"),
        }
    }

    /// A signature with the one digest of [`ec`].
    fn sign(&mut self, blob: &ByteBuf) -> Outcome<Vec<u8>> {
        self.run(blob, KeyPurpose::Sign, &digest(Digest::Sha2_256), b"message")
    }
}

fn none() -> Authorizations {
    Authorizations::default()
}

fn digest(digest: Digest) -> Authorizations {
    Authorizations { digest: [digest].into(), ..none() }
}

/// Usable without a person; of a key pair, with an unbounded certificate.
fn key(algorithm: Algorithm, purposes: &[KeyPurpose]) -> Authorizations {
    Authorizations {
        algorithm: Some(algorithm),
        purpose: purposes.iter().copied().collect(),
        no_auth_required: true,
        certificate_not_before: Some(0),
        certificate_not_after: Some(253_402_300_799_000),
        ..none()
    }
}

/// ECDSA on P-256 with SHA-256.
fn ec() -> Authorizations {
    let ec_curve = Some(EcCurve::P256);
    Authorizations {
        ec_curve,
        digest: [Digest::Sha2_256].into(),
        ..key(Algorithm::Ec, &[KeyPurpose::Sign])
    }
}

/// [`ec`] with an attestation.
fn attested_ec() -> Authorizations {
    Authorizations {
        attestation_challenge: Some(Bytes::from(b"challenge")),
        attestation_application_id: Some(Bytes::from(APPLICATION)),
        ..ec()
    }
}

/// RSA of 2048 bits.
fn rsa(purpose: KeyPurpose, paddings: &[PaddingMode], digests: &[Digest]) -> Authorizations {
    Authorizations {
        key_size: Some(2048),
        rsa_public_exponent: Some(65_537),
        padding: paddings.iter().copied().collect(),
        digest: digests.iter().copied().collect(),
        ..key(Algorithm::Rsa, &[purpose])
    }
}

/// AES of 128 bits.
fn aes(modes: &[BlockMode], paddings: &[PaddingMode]) -> Authorizations {
    Authorizations {
        key_size: Some(128),
        block_mode: modes.iter().copied().collect(),
        padding: paddings.iter().copied().collect(),
        min_mac_length: modes.contains(&BlockMode::Gcm).then_some(96),
        ..key(Algorithm::Aes, &[KeyPurpose::Encrypt, KeyPurpose::Decrypt])
    }
}

/// HMAC-SHA-256.
fn hmac() -> Authorizations {
    Authorizations {
        key_size: Some(256),
        digest: [Digest::Sha2_256].into(),
        min_mac_length: Some(128),
        ..key(Algorithm::Hmac, &[KeyPurpose::Sign, KeyPurpose::Verify])
    }
}

/// The leaf of a new key's chain.
fn leaf(key: &KeyCreation) -> Certificate {
    Certificate::parse(&key.chain[0]).unwrap()
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
