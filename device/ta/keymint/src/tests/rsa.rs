//! RSA: signatures and decryption.

use super::*;
use crypto::rsa::{Encryption, Floor, PublicKey, Signature};

const SIGNING: &[PaddingMode] =
    &[PaddingMode::None, PaddingMode::RsaPkcs1Sign, PaddingMode::RsaPss];
const DECRYPTION: &[PaddingMode] =
    &[PaddingMode::None, PaddingMode::RsaOaep, PaddingMode::RsaPkcs1Encrypt];

fn how(padding: PaddingMode, digest: Option<Digest>) -> Authorizations {
    Authorizations { padding: [padding].into(), digest: digest.into_iter().collect(), ..none() }
}

fn public(key: &KeyCreation) -> PublicKey {
    PublicKey::from_spki(leaf(key).public_key().as_der(), Floor::Bits2048).unwrap()
}

fn hashed(hash: crypto::hash::Hash, message: &[u8]) -> Vec<u8> {
    let mut hasher = crypto::hash::Hasher::new(hash);
    hasher.update(message);
    hasher.finish().to_vec()
}

#[test]
fn s3_2_signs_with_every_padding_and_digest() {
    use crypto::hash::Hash;
    let mut device = Device::new();
    let made = device.generate(&rsa(KeyPurpose::Sign, SIGNING, Digest::ALL)).unwrap();
    let public = public(&made);
    let mut sign = |params: &Authorizations, message: &[u8]| {
        device.run(&made.blob, KeyPurpose::Sign, params, message).unwrap()
    };
    for (digest, hash) in [
        (Digest::Md5, Hash::LegacyMd5),
        (Digest::Sha1, Hash::LegacySha1),
        (Digest::Sha2_224, Hash::Sha224),
        (Digest::Sha2_256, Hash::Sha256),
        (Digest::Sha2_384, Hash::Sha384),
        (Digest::Sha2_512, Hash::Sha512),
    ] {
        let due = hashed(hash, b"message");
        let signature = sign(&how(PaddingMode::RsaPkcs1Sign, Some(digest)), b"message");
        assert!(public.verify(Signature::Pkcs1(hash), &due, &signature).is_ok(), "{digest}");
        let signature = sign(&how(PaddingMode::RsaPss, Some(digest)), b"message");
        let pss = Signature::Pss { hash, mask: hash, salt: due.len() };
        assert!(public.verify(pss, &due, &signature).is_ok(), "{digest}");
    }
    let signature = sign(&how(PaddingMode::RsaPkcs1Sign, Some(Digest::None)), &[7; 245]);
    assert!(public.verify(Signature::Pkcs1Bare, &[7; 245], &signature).is_ok());
    let signature = sign(&how(PaddingMode::None, Some(Digest::None)), b"short");
    assert!(public.verify(Signature::Bare, b"short", &signature).is_ok());
}

#[test]
fn refuses_what_the_key_or_the_padding_does_not_go_with() {
    use ErrorCode::*;
    let mut device = Device::new();
    let some = [Digest::None, Digest::Sha2_256];
    let all = device.generate(&rsa(KeyPurpose::Sign, SIGNING, &some)).unwrap().blob;
    let bare = rsa(KeyPurpose::Sign, &[PaddingMode::None], &[Digest::None]);
    let bare = device.generate(&bare).unwrap().blob;
    let decrypts = device.generate(&rsa(KeyPurpose::Decrypt, DECRYPTION, &some)).unwrap().blob;
    let sha256 = Some(Digest::Sha2_256);
    let two_paddings = Authorizations {
        padding: [PaddingMode::None, PaddingMode::RsaPss].into(),
        ..how(PaddingMode::None, Some(Digest::None))
    };
    let two_digests =
        Authorizations { digest: some.into(), ..how(PaddingMode::RsaPkcs1Sign, None) };
    for (blob, params, code) in [
        (&all, two_paddings, UnsupportedPaddingMode),
        (&all, two_digests, UnsupportedDigest),
        (&all, digest(Digest::None), UnsupportedPaddingMode),
        (&all, how(PaddingMode::Pkcs7, Some(Digest::None)), UnsupportedPaddingMode),
        (&all, how(PaddingMode::RsaOaep, sha256), IncompatiblePaddingMode),
        (&all, how(PaddingMode::RsaPss, Some(Digest::None)), IncompatibleDigest),
        (&all, how(PaddingMode::RsaPss, None), UnsupportedDigest),
        (&all, how(PaddingMode::RsaPss, Some(Digest::Sha2_512)), IncompatibleDigest),
        (&all, how(PaddingMode::None, sha256), IncompatibleDigest),
        (&bare, how(PaddingMode::RsaPkcs1Sign, Some(Digest::None)), IncompatiblePaddingMode),
        (&decrypts, how(PaddingMode::None, Some(Digest::None)), IncompatiblePurpose),
    ] {
        assert_eq!(device.begin(blob, KeyPurpose::Sign, &params), Err(code), "{params:?}");
    }
    for purpose in [KeyPurpose::Verify, KeyPurpose::Encrypt, KeyPurpose::AgreeKey] {
        let refused = device.begin(&all, purpose, &how(PaddingMode::None, Some(Digest::None)));
        assert_eq!(refused, Err(UnsupportedPurpose));
    }
}

#[test]
fn refuses_messages_that_do_not_fit_the_key() {
    let mut device = Device::new();
    let made = device.generate(&rsa(KeyPurpose::Sign, SIGNING, &[Digest::None])).unwrap().blob;
    let bare = how(PaddingMode::None, Some(Digest::None));
    let pkcs1 = how(PaddingMode::RsaPkcs1Sign, Some(Digest::None));
    for (params, length, byte, code) in [
        (&bare, 257, 1, ErrorCode::InvalidInputLength),
        (&bare, 256, 0xFF, ErrorCode::InvalidArgument),
        (&pkcs1, 246, 1, ErrorCode::InvalidInputLength),
    ] {
        let message = vec![byte; length];
        let whole = device.run(&made, KeyPurpose::Sign, params, &message);
        assert_eq!(whole, Err(code), "{length}");
        let pieces = device.run_in_pieces(&made, KeyPurpose::Sign, params, &message, 100);
        assert_eq!(pieces, Err(code), "{length}");
    }
}

#[test]
fn s3_2_decrypts_with_every_padding() {
    use crypto::hash::Hash;
    let mut device = Device::new();
    let digests = [Digest::Sha1, Digest::Sha2_256];
    let params = Authorizations {
        rsa_oaep_mgf_digest: digests.into(),
        ..rsa(KeyPurpose::Decrypt, DECRYPTION, &digests)
    };
    let made = device.generate(&params).unwrap();
    let public = public(&made);
    let oaep = |hash, mask| Encryption::Oaep { hash, mask, label: &[] };
    let with_mask = |mask: Digest| Authorizations {
        rsa_oaep_mgf_digest: [mask].into(),
        ..how(PaddingMode::RsaOaep, Some(Digest::Sha2_256))
    };
    for (padding, params) in [
        (oaep(Hash::Sha256, Hash::LegacySha1), how(PaddingMode::RsaOaep, Some(Digest::Sha2_256))),
        (oaep(Hash::Sha256, Hash::Sha256), with_mask(Digest::Sha2_256)),
        (oaep(Hash::Sha256, Hash::LegacySha1), with_mask(Digest::Sha1)),
        (Encryption::LegacyPkcs1, how(PaddingMode::RsaPkcs1Encrypt, None)),
    ] {
        let sealed = public.encrypt(padding, b"secret").unwrap();
        let opened = device.run(&made.blob, KeyPurpose::Decrypt, &params, &sealed);
        assert_eq!(opened.unwrap(), b"secret");
    }
    let sealed = public.encrypt(Encryption::Bare, b"secret").unwrap();
    let opened =
        device.run(&made.blob, KeyPurpose::Decrypt, &how(PaddingMode::None, None), &sealed);
    assert!(opened.unwrap().ends_with(b"\0secret"));
}

#[test]
fn the_digest_of_the_mask_has_rules_of_its_own() {
    let mut device = Device::new();
    let key = rsa(KeyPurpose::Decrypt, &[PaddingMode::RsaOaep], &[Digest::Sha2_256]);
    let of_default = device.generate(&key).unwrap().blob;
    let of_sha256 = Authorizations { rsa_oaep_mgf_digest: [Digest::Sha2_256].into(), ..key };
    let of_sha256 = device.generate(&of_sha256).unwrap().blob;
    let with = |masks: &[Digest]| Authorizations {
        rsa_oaep_mgf_digest: masks.iter().copied().collect(),
        ..how(PaddingMode::RsaOaep, Some(Digest::Sha2_256))
    };
    for (blob, masks, code) in [
        (&of_default, &[Digest::Sha2_256][..], ErrorCode::IncompatibleMgfDigest),
        (&of_sha256, &[Digest::Sha2_224], ErrorCode::IncompatibleMgfDigest),
        (&of_sha256, &[], ErrorCode::IncompatibleMgfDigest),
        (&of_sha256, &[Digest::None], ErrorCode::UnsupportedMgfDigest),
        (&of_sha256, &[Digest::Sha1, Digest::Sha2_256], ErrorCode::UnsupportedMgfDigest),
    ] {
        let refused = device.begin(blob, KeyPurpose::Decrypt, &with(masks));
        assert_eq!(refused, Err(code), "{masks:?}");
    }
    let none = how(PaddingMode::RsaOaep, Some(Digest::None));
    let refused = device.begin(&of_default, KeyPurpose::Decrypt, &none);
    assert_eq!(refused, Err(ErrorCode::IncompatibleDigest));
}

#[test]
fn whatever_is_wrong_inside_a_ciphertext_has_one_answer() {
    let mut device = Device::new();
    let made = device.generate(&rsa(KeyPurpose::Decrypt, DECRYPTION, &[Digest::Sha2_256])).unwrap();
    let public = public(&made);
    let wrongly_padded = [
        public.encrypt(Encryption::Bare, b"no padding at all").unwrap(),
        public.encrypt(Encryption::Bare, &[&[0, 2][..], &[9; 200]].concat()).unwrap(),
        public.encrypt(Encryption::LegacyPkcs1, &[1; 245]).unwrap(),
        vec![0; 256],
    ];
    let oaep = how(PaddingMode::RsaOaep, Some(Digest::Sha2_256));
    for sealed in &wrongly_padded {
        let refused = device.run(&made.blob, KeyPurpose::Decrypt, &oaep, sealed);
        assert_eq!(refused, Err(ErrorCode::UnknownError));
    }
    let pkcs1 = how(PaddingMode::RsaPkcs1Encrypt, None);
    for sealed in [&wrongly_padded[0], &wrongly_padded[3]] {
        let refused = device.run(&made.blob, KeyPurpose::Decrypt, &pkcs1, sealed);
        assert_eq!(refused, Err(ErrorCode::UnknownError));
    }
    let long = device.run(&made.blob, KeyPurpose::Decrypt, &oaep, &[0; 257]);
    assert_eq!(long, Err(ErrorCode::InvalidInputLength));
}
