//! Keys that certificates vouch for: AOSP's own certificates, and a family of keys made here.

use crate::device::test_data;
use avb::RsaPublicKeyBlob;
use avb::cert::{
    CERTIFICATE_BYTES, CertRefusal, Certificate, CertificateData, KeyVersions,
    PERMANENT_ATTRIBUTES_BYTES, PUBLIC_KEY_METADATA_BYTES, PermanentAttributes, Product,
    PublicKeyMetadata, UNLOCK_CHALLENGE_BYTES, UNLOCK_CREDENTIAL_BYTES, UnlockChallenge,
    UnlockCredential, Usage,
};
use crypto::digest::sha256;
use crypto::sign::{Hash, RsaKey};
use proptest::prelude::*;
use std::sync::LazyLock;

/// Root and signing key, intermediate and unlock key: two, because making one takes a moment.
static KEYS: LazyLock<[RsaKey; 2]> =
    LazyLock::new(|| std::array::from_fn(|_| RsaKey::generate(4096).expect("a key")));

const ID: [u8; 16] = *b"a product's name";
const CHALLENGE: [u8; 16] = *b"sixteen randomly";

fn blob(key: &RsaKey) -> [u8; 1032] {
    let blob = RsaPublicKeyBlob::from_modulus(&key.modulus()).expect("4096 bits");
    blob.as_bytes().try_into().expect("1032 bytes")
}

fn sign(key: &RsaKey, message: &[u8]) -> [u8; 512] {
    key.sign_pkcs1(Hash::Sha512, message).expect("it signs").try_into().expect("512 bytes")
}

fn certificate(key: &RsaKey, by: &RsaKey, usage: Usage, subject: [u8; 32]) -> Certificate {
    let signed_data = CertificateData {
        version: 1,
        public_key: blob(key),
        subject,
        usage: usage.digest(),
        key_version: 7,
    };
    signed(signed_data, by)
}

fn signed(signed_data: CertificateData, by: &RsaKey) -> Certificate {
    let signature = sign(by, &signed_data.encode());
    Certificate { signed_data, signature }
}

fn attributes() -> PermanentAttributes {
    PermanentAttributes { version: 1, product_root_public_key: blob(&KEYS[0]), product_id: ID }
}

fn product() -> Product {
    Product::new(&attributes().encode(), &attributes().digest()).expect("a product")
}

fn metadata() -> PublicKeyMetadata {
    let [root, intermediate] = &*KEYS;
    let signing = root;
    PublicKeyMetadata {
        version: 1,
        product_intermediate_key_certificate: certificate(
            intermediate,
            root,
            Usage::IntermediateAuthority,
            [0; 32],
        ),
        product_signing_key_certificate: certificate(
            signing,
            intermediate,
            Usage::Signing,
            sha256(&ID),
        ),
    }
}

fn credential() -> UnlockCredential {
    let intermediate = &KEYS[1];
    let unlock = intermediate;
    UnlockCredential {
        version: 1,
        product_intermediate_key_certificate: metadata().product_intermediate_key_certificate,
        product_unlock_key_certificate: certificate(
            unlock,
            intermediate,
            Usage::Unlock,
            sha256(&ID),
        ),
        challenge_signature: sign(unlock, &CHALLENGE),
    }
}

fn judged(metadata: &PublicKeyMetadata) -> Result<KeyVersions, CertRefusal> {
    let stored = KeyVersions { intermediate: 7, signing: 7 };
    product().validate_vbmeta_public_key(&blob(&KEYS[0]), &metadata.encode(), stored)
}

#[test]
fn a_certified_key_signs_images() {
    assert_eq!(judged(&metadata()), Ok(KeyVersions { intermediate: 7, signing: 7 }));
}

#[test]
fn refuses_what_libavb_cert_refuses_in_its_order() {
    let intermediate = &KEYS[1];
    let broken = |change: &dyn Fn(&mut PublicKeyMetadata)| {
        let mut metadata = metadata();
        change(&mut metadata);
        judged(&metadata).expect_err("it is refused")
    };
    assert_eq!(
        broken(&|m| m.version = 2),
        CertRefusal::Version { what: "public key metadata", version: 2 }
    );
    assert_eq!(
        broken(&|m| m.product_intermediate_key_certificate.signature[9] ^= 1),
        CertRefusal::Signature("PIK")
    );
    assert_eq!(
        broken(&|m| m.product_signing_key_certificate.signed_data.key_version = 9),
        CertRefusal::Signature("PSK")
    );
    let resigned = |change: &dyn Fn(&mut CertificateData)| {
        broken(&|m| {
            let mut data = m.product_signing_key_certificate.signed_data.clone();
            change(&mut data);
            m.product_signing_key_certificate = signed(data, intermediate);
        })
    };
    assert_eq!(resigned(&|d| d.version = 0), CertRefusal::Version { what: "PSK", version: 0 });
    assert_eq!(
        resigned(&|d| d.key_version = 6),
        CertRefusal::Rollback { what: "PSK", version: 6, minimum: 7 }
    );
    assert_eq!(
        resigned(&|d| d.usage = Usage::Unlock.digest()),
        CertRefusal::Usage { what: "PSK", usage: Usage::Signing }
    );
    assert_eq!(resigned(&|d| d.subject = [0; 32]), CertRefusal::Product("PSK"));
    assert_eq!(resigned(&|d| d.public_key = blob(intermediate)), CertRefusal::OtherKey);
    let short = product().validate_vbmeta_public_key(&[], b"", KeyVersions::default());
    assert!(matches!(short, Err(CertRefusal::Malformed(_))));
}

#[test]
fn the_attributes_are_those_in_the_fuses() {
    let attributes = attributes();
    let other = Product::new(&attributes.encode(), &[0; 32]);
    assert_eq!(other, Err(CertRefusal::PermanentAttributes));
    let newer = PermanentAttributes { version: 2, ..attributes };
    let newer = Product::new(&newer.encode(), &newer.digest());
    assert!(matches!(newer, Err(CertRefusal::Version { version: 2, .. })));
}

#[test]
fn an_unlock_credential_answers_one_challenge() {
    let product = product();
    let challenge = product.unlock_challenge(CHALLENGE);
    assert_eq!(challenge.product_id_hash, sha256(&ID));
    let judged = |credential: &UnlockCredential, challenge: &[u8; 16]| {
        product.validate_unlock_credential(
            &credential.encode(),
            challenge,
            KeyVersions { intermediate: 7, signing: 7 },
        )
    };
    let good = credential();
    assert_eq!(judged(&good, &CHALLENGE), Ok(()));
    assert_eq!(judged(&good, &[0; 16]), Err(CertRefusal::ChallengeSignature));
    let signing = metadata().product_signing_key_certificate;
    let with_psk = UnlockCredential { product_unlock_key_certificate: signing, ..good };
    let refusal = judged(&with_psk, &CHALLENGE);
    assert_eq!(refusal, Err(CertRefusal::Usage { what: "PUK", usage: Usage::Unlock }));
}

#[test]
fn agrees_with_the_certificates_of_aosp() {
    let Some(data) = test_data("boot-ota/avb") else { return };
    let read = |name: &str| std::fs::read(data.join(name)).expect("the sample is there");
    let attributes = read("cert_permanent_attributes.bin");
    let decoded = PermanentAttributes::decode(&attributes).unwrap();
    assert_eq!(decoded.encode()[..], attributes);
    assert_eq!(decoded.product_id[..], read("cert_product_id.bin"));
    let metadata = read("cert_metadata.bin");
    let decoded = PublicKeyMetadata::decode(&metadata).unwrap();
    assert_eq!(decoded.encode()[..], metadata);
    let pik = Certificate::decode(&read("cert_pik_certificate.bin")).unwrap();
    assert_eq!(decoded.product_intermediate_key_certificate, pik);

    let product = Product::new(&attributes, &sha256(&attributes)).unwrap();
    let psk = &decoded.product_signing_key_certificate.signed_data;
    let none = KeyVersions::default();
    let versions = product.validate_vbmeta_public_key(&psk.public_key, &metadata, none).unwrap();
    let newer = KeyVersions { intermediate: versions.intermediate + 1, ..none };
    let refused = product.validate_vbmeta_public_key(&psk.public_key, &metadata, newer);
    assert!(matches!(refused, Err(CertRefusal::Rollback { what: "PIK", .. })), "{refused:?}");

    let credential = read("cert_unlock_credential.bin");
    assert_eq!(UnlockCredential::decode(&credential).unwrap().encode()[..], credential);
    let challenge = read("cert_unlock_challenge.bin").try_into().unwrap();
    product.validate_unlock_credential(&credential, &challenge, none).unwrap();
}

proptest! {
    #[test]
    fn certificates_round_trip(bytes in prop::collection::vec(any::<u8>(), UNLOCK_CREDENTIAL_BYTES)) {
        let part = |size: usize| &bytes[..size];
        let attributes = PermanentAttributes::decode(part(PERMANENT_ATTRIBUTES_BYTES)).unwrap();
        prop_assert_eq!(&attributes.encode()[..], part(PERMANENT_ATTRIBUTES_BYTES));
        let certificate = Certificate::decode(part(CERTIFICATE_BYTES)).unwrap();
        prop_assert_eq!(&certificate.encode()[..], part(CERTIFICATE_BYTES));
        let metadata = PublicKeyMetadata::decode(part(PUBLIC_KEY_METADATA_BYTES)).unwrap();
        prop_assert_eq!(&metadata.encode()[..], part(PUBLIC_KEY_METADATA_BYTES));
        let challenge = UnlockChallenge::decode(part(UNLOCK_CHALLENGE_BYTES)).unwrap();
        prop_assert_eq!(&challenge.encode()[..], part(UNLOCK_CHALLENGE_BYTES));
        let credential = UnlockCredential::decode(&bytes).unwrap();
        prop_assert_eq!(&credential.encode()[..], &bytes[..]);
    }

    #[test]
    fn each_structure_has_one_size(bytes in prop::collection::vec(any::<u8>(), 0..4000)) {
        let size = bytes.len();
        let attributes = PermanentAttributes::decode(&bytes).is_ok();
        prop_assert_eq!(attributes, size == PERMANENT_ATTRIBUTES_BYTES);
        prop_assert_eq!(Certificate::decode(&bytes).is_ok(), size == CERTIFICATE_BYTES);
        let metadata = PublicKeyMetadata::decode(&bytes).is_ok();
        prop_assert_eq!(metadata, size == PUBLIC_KEY_METADATA_BYTES);
        prop_assert_eq!(UnlockChallenge::decode(&bytes).is_ok(), size == UNLOCK_CHALLENGE_BYTES);
        prop_assert_eq!(UnlockCredential::decode(&bytes).is_ok(), size == UNLOCK_CREDENTIAL_BYTES);
    }
}
