//! Signatures with elliptic curves and ML-DSA.

use super::*;
use crypto::curve25519::{ed25519_from_spki, ed25519_verify};

/// A key on `curve`, for these digests.
fn on(curve: EcCurve, digests: &[Digest]) -> Authorizations {
    let digest = digests.iter().copied().collect();
    Authorizations { ec_curve: Some(curve), digest, ..ec() }
}

/// Whether OpenSSL's half in the facade takes the signature.
fn verifies(key: &KeyCreation, digest: &[u8], signature: &[u8]) -> bool {
    let public = leaf(key).public_key().as_der().to_vec();
    let public = crypto::ec::PublicKey::from_spki(&public).unwrap();
    public.verify(digest, signature).is_ok()
}

#[test]
fn s3_2_signs_on_every_curve_with_every_digest() {
    let mut device = Device::new();
    let digests = [
        (Digest::Sha1, crypto::hash::Hash::LegacySha1),
        (Digest::Sha2_224, crypto::hash::Hash::Sha224),
        (Digest::Sha2_256, crypto::hash::Hash::Sha256),
        (Digest::Sha2_384, crypto::hash::Hash::Sha384),
        (Digest::Sha2_512, crypto::hash::Hash::Sha512),
    ];
    for curve in [EcCurve::P224, EcCurve::P256, EcCurve::P384, EcCurve::P521] {
        let all: Vec<_> = digests.iter().map(|(digest, _)| *digest).collect();
        let made = device.generate(&on(curve, &all)).unwrap();
        for (name, hash) in digests {
            let params = digest(name);
            let signature = device.run(&made.blob, KeyPurpose::Sign, &params, b"message").unwrap();
            let mut hasher = crypto::hash::Hasher::new(hash);
            hasher.update(b"message");
            assert!(verifies(&made, &hasher.finish(), &signature), "{curve} {name}");
            let pieces =
                device.run_in_pieces(&made.blob, KeyPurpose::Sign, &params, b"message", 2).unwrap();
            let mut hasher = crypto::hash::Hasher::new(hash);
            hasher.update(b"message");
            assert!(verifies(&made, &hasher.finish(), &pieces), "{curve} {name}");
        }
    }
}

#[test]
fn without_a_digest_only_the_first_bits_count() {
    let mut device = Device::new();
    let made = device.generate(&on(EcCurve::P256, &[Digest::None])).unwrap();
    let message = [0x5A; 1024];
    for piece in [1024, 7] {
        let signature = device
            .run_in_pieces(&made.blob, KeyPurpose::Sign, &digest(Digest::None), &message, piece)
            .unwrap();
        assert!(verifies(&made, &message[..32], &signature));
    }
}

#[test]
fn s3_2_ed25519_signs_up_to_16_kib_and_no_more() {
    let mut device = Device::new();
    let made = device.generate(&on(EcCurve::Curve25519, &[Digest::None])).unwrap();
    let public = ed25519_from_spki(leaf(&made).public_key().as_der()).unwrap();
    let message = vec![7; 16 * 1024 + 1];
    let params = digest(Digest::None);
    let most = &message[1..];
    let signature = device.run(&made.blob, KeyPurpose::Sign, &params, most).unwrap();
    assert!(ed25519_verify(&public, most, &signature).is_ok());
    let pieces = device.run_in_pieces(&made.blob, KeyPurpose::Sign, &params, most, 1000).unwrap();
    assert_eq!(pieces, signature);
    let too_long = Err(ErrorCode::InvalidInputLength);
    assert_eq!(device.run(&made.blob, KeyPurpose::Sign, &params, &message), too_long);
    let pieces = device.run_in_pieces(&made.blob, KeyPurpose::Sign, &params, &message, 4096);
    assert_eq!(pieces, too_long);
}

#[test]
fn ml_dsa_signs() {
    use crypto::ml_dsa::{Parameters, verify};
    let mut device = Device::new();
    for (variant, set) in
        [(MlDsaVariant::MlDsa65, Parameters::MlDsa65), (MlDsaVariant::MlDsa87, Parameters::MlDsa87)]
    {
        let params = key(Algorithm::MlDsa, &[KeyPurpose::Sign]);
        let params = Authorizations { ml_dsa_variant: Some(variant), ..params };
        let made = device.generate(&params).unwrap();
        let spki = leaf(&made).public_key().as_der().to_vec();
        let raw = &spki[spki.len() - set.public_key_bytes()..];
        let signature = device.run(&made.blob, KeyPurpose::Sign, &none(), b"message").unwrap();
        assert!(verify(set, raw, b"message", &signature).is_ok());
    }
}

#[test]
fn refuses_digests_and_purposes_that_the_key_was_not_made_for() {
    let mut device = Device::new();
    let p256 = device.generate(&on(EcCurve::P256, &[Digest::None, Digest::Sha1])).unwrap().blob;
    let ed25519 =
        device.generate(&on(EcCurve::Curve25519, &[Digest::None, Digest::Sha2_256])).unwrap().blob;
    let two = Authorizations { digest: [Digest::None, Digest::Sha1].into(), ..none() };
    for (blob, purpose, params, code) in [
        (&p256, KeyPurpose::Sign, digest(Digest::Sha2_256), ErrorCode::IncompatibleDigest),
        (&p256, KeyPurpose::Sign, none(), ErrorCode::UnsupportedDigest),
        (&p256, KeyPurpose::Sign, two, ErrorCode::UnsupportedDigest),
        (&p256, KeyPurpose::Verify, digest(Digest::Sha1), ErrorCode::UnsupportedPurpose),
        (&p256, KeyPurpose::Encrypt, none(), ErrorCode::UnsupportedPurpose),
        (&p256, KeyPurpose::AgreeKey, none(), ErrorCode::IncompatiblePurpose),
        (&p256, KeyPurpose::AttestKey, none(), ErrorCode::IncompatiblePurpose),
        (&p256, KeyPurpose::WrapKey, none(), ErrorCode::IncompatiblePurpose),
        (&ed25519, KeyPurpose::Sign, digest(Digest::Sha2_256), ErrorCode::IncompatibleDigest),
    ] {
        assert_eq!(device.begin(blob, purpose, &params), Err(code), "{purpose} {params:?}");
    }
}
