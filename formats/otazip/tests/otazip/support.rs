//! Keys with certificates, and a small OTA file.

use crypto::digest::sha256;
use otazip::make::Parts;
use otazip::metadata::{DeviceState, Kind, Metadata};
use otazip::signature::{sign, unsigned_end};
use payload::compress::Compression;
use payload::der::{container, element, tag};
use payload::key::{Certificate, SigningKey};
use payload::make::{Builder, Image};

/// A key and a certificate for it; the certificate's own signature does not count.
pub(crate) fn signer() -> (SigningKey, Certificate) {
    let key = crypto::sign::EcdsaKey::generate(crypto::sign::Curve::P256).unwrap();
    let key = SigningKey::Ecdsa(key);
    let certificate = certificate(&key, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02]);
    (key, certificate)
}

/// A certificate whose signature claims this algorithm.
pub(crate) fn certificate(key: &SigningKey, algorithm: &[u8]) -> Certificate {
    let spki = key.public_key().unwrap();
    let algorithm = container(tag::SEQUENCE, &[&element(tag::OID, algorithm)]);
    let cn = container(tag::SEQUENCE, &[&element(tag::OID, &[0x55, 4, 3]), &element(0x0c, b"ota")]);
    let name = container(tag::SEQUENCE, &[&element(tag::SET, &cn)]);
    let day = element(0x17, b"260101000000Z");
    let validity = container(tag::SEQUENCE, &[&day, &element(0x17, b"490101000000Z")]);
    let version = element(tag::CONTEXT_0, &element(tag::INTEGER, &[2]));
    let serial = element(tag::INTEGER, &[7]);
    let tbs = container(
        tag::SEQUENCE,
        &[&version, &serial, &algorithm, &name, &validity, &name, spki.spki()],
    );
    let signature = key.sign(&sha256(&tbs)).unwrap();
    let signature = element(tag::BIT_STRING, &[&[0][..], &signature].concat());
    Certificate::from_der(&container(tag::SEQUENCE, &[&tbs, &algorithm, &signature])).unwrap()
}

pub(crate) fn metadata() -> Metadata {
    Metadata {
        kind: Kind::Ab,
        precondition: DeviceState { device: vec!["kelp".to_owned()], ..DeviceState::default() },
        postcondition: DeviceState {
            build: vec!["holdfast/kelp/kelp:16/HF1/2:user/release-keys".to_owned()],
            build_incremental: "2".to_owned(),
            timestamp: 1_790_000_000,
            sdk_level: "36".to_owned(),
            security_patch_level: "2026-11-01".to_owned(),
            ..DeviceState::default()
        },
        ..Metadata::default()
    }
}

/// An OTA file with one partition, not signed.
pub(crate) fn unsigned(key: &SigningKey, certificate: &Certificate) -> Vec<u8> {
    let image = b"kelp".repeat(4096);
    let mut builder = Builder::new(0);
    let new = Image { size: image.len() as u64, sha256: sha256(&image) };
    builder.partition("boot", None, new).max_timestamp(1_790_000_000);
    let mut blobs = Vec::new();
    for step in payload::full::full(0, &image, Compression::Xz(6)).unwrap() {
        builder.step(&step).unwrap();
        blobs.extend(step.blob);
    }
    let mut sealed = builder.seal(&[key]).unwrap();
    let mut payload = sealed.front().to_vec();
    let front = payload.len() as u64;
    sealed.update(&blobs);
    payload.extend(&blobs);
    let (end, properties) = sealed.finish().unwrap();
    payload.extend(end);
    let care = otazip::caremap::encode(&[otazip::caremap::Partition::whole("boot", 4)]);
    let parts = Parts {
        metadata: metadata(),
        certificate: Some(certificate.to_pem()),
        care_map: Some(care),
        others: Vec::new(),
    };
    let frame = parts.frame(&properties, crc32fast::hash(&payload), front).unwrap();
    [frame.head, payload, frame.tail].concat()
}

/// Signs a whole file.
pub(crate) fn signed(file: &[u8], key: &SigningKey, certificate: &Certificate) -> Vec<u8> {
    let end = usize::try_from(unsigned_end(&file.to_vec(), file.len() as u64).unwrap()).unwrap();
    let tail = sign(key, certificate, &sha256(&file[..end])).unwrap();
    [&file[..end], &tail].concat()
}

/// Where the real inputs are, when they are there.
pub(crate) fn real_inputs(folder: &str) -> Option<std::path::PathBuf> {
    let Some(data) = std::env::var_os("HOLDFAST_TEST_DATA") else {
        eprintln!("not run: HOLDFAST_TEST_DATA does not name the folder with real inputs");
        return None;
    };
    Some(std::path::Path::new(&data).join("boot-ota").join(folder))
}

/// Whether a peer is there; under CI it must be.
pub(crate) fn has(program: &str) -> bool {
    let found = std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
    });
    assert!(found || std::env::var_os("CI").is_none(), "{program} is missing");
    if !found {
        eprintln!("not run: {program} is missing");
    }
    found
}
