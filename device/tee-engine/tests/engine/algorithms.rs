//! Every algorithm of S2.1.4 and its neighbours, against answers that others published.

use crate::{App, SHA_256, app, gcm, unhex};
use serde_bytes::ByteBuf;
use tee_api::TeeError;
use tee_api::engine::{
    Attributes, Call, Cipher, Curve, Derivation, Handle, Hash, Input, KeyType, Operation, Padding,
    Scheme, Usage, Wrapping,
};

const ALL: Usage = Usage::ENCRYPT.union(Usage::DECRYPT);
const MACS: Usage = Usage::MAC.union(Usage::VERIFY);
const SIGNS: Usage = Usage::SIGN.union(Usage::VERIFY);
const SIZES: [usize; 3] = [1, 7, 64];

/// The keys and the text of SP 800-38A and 800-38B.
const KEY_128: &str = "2b7e151628aed2a6abf7158809cf4f3c";
const KEY_192: &str = "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b";
const KEY_256: &str = "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4";
const TEXT: &str = "6bc1bee22e409f96e93d7e117393172a";

#[test]
fn s2_1_4_digests_by_handle() {
    let answers = [
        (Hash::LegacyMd5, "900150983cd24fb0d6963f7d28e17f72"),
        (Hash::LegacySha1, "a9993e364706816aba3e25717850c26c9cd0d89d"),
        (Hash::Sha224, "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7"),
        (SHA_256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            Hash::Sha384,
            "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358ba\
             eca134c825a7",
        ),
        (
            Hash::Sha512,
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba\
             3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        ),
        (Hash::Sha512_224, "4634270f707b6a54daae7530460842e20e37ed265ceee9a43e8924aa"),
        (Hash::Sha512_256, "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23"),
    ];
    let mut app = app();
    for (hash, answer) in answers {
        for size in SIZES {
            let digest = app.stream(None, Operation::Digest(hash), &[], b"abc", None, size);
            assert_eq!(digest.unwrap(), unhex(answer), "{hash:?}");
        }
    }
}

#[test]
fn s2_1_4_macs_by_handle() {
    let hmac = |hash| KeyType::Hmac { hash, bytes: 4 };
    let question = "what do ya want for nothing?".as_bytes();
    let text = unhex(TEXT);
    let jefe = b"Jefe".to_vec();
    let answers: [(KeyType, Vec<u8>, &[u8], &str); 7] = [
        // RFC 2202, 3, test 2; RFC 4231, 4.3.
        (
            hmac(Hash::LegacySha1),
            jefe.clone(),
            question,
            "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79",
        ),
        (
            hmac(SHA_256),
            jefe.clone(),
            question,
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
        (
            hmac(Hash::Sha512),
            jefe,
            question,
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d03\
             4f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
        ),
        // SP 800-38B, D.
        (KeyType::Aes128, unhex(KEY_128), &text, "070a16b46b4d4144f79bdd9dd04a287c"),
        (KeyType::Aes192, unhex(KEY_192), &text, "9e99a7bf31e710900662f65e617c5184"),
        (KeyType::Aes256, unhex(KEY_256), &text, "28a7023f452e8f82bd4bf28d8c37c35c"),
        (
            KeyType::LegacyTripleDes,
            unhex("8aa83bf8cbda10620bc1bf19fbb6cd58bc313d4a371ca8b5"),
            &text[..8],
            "8e8f293136283797",
        ),
    ];
    let mut app = app();
    for (key_type, key, message, answer) in answers {
        let key = app.import(key_type, MACS, &key).unwrap();
        let answer = unhex(answer);
        let tag = app.run(key, Operation::Mac, &[], message, None).unwrap();
        assert_eq!(tag, answer, "{key_type:?}");
        for size in SIZES {
            let tag = app.stream(Some(key), Operation::Mac, &[], message, None, size).unwrap();
            assert_eq!(tag, answer, "{key_type:?}");
        }
        let mut check = |tag: &[u8]| app.run(key, Operation::VerifyMac, &[], message, Some(tag));
        assert_eq!(check(&answer).unwrap(), b"");
        assert_eq!(check(&answer[..answer.len() / 2]).unwrap(), b"");
        assert!(check(&answer[..answer.len() / 2 - 1]).is_err());
        let mut wrong = answer;
        wrong[0] ^= 1;
        assert!(matches!(check(&wrong), Err(TeeError::Security(_))));
    }
}

#[test]
fn s2_1_4_ciphers_by_handle() {
    let ecb = || Cipher::Ecb(Padding::None);
    let cbc = || Cipher::Cbc {
        iv: ByteBuf::from(unhex("000102030405060708090a0b0c0d0e0f")),
        padding: Padding::None,
    };
    let ctr = || Cipher::Ctr { counter: ByteBuf::from(unhex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff")) };
    let des = Cipher::Cbc { iv: ByteBuf::from(unhex("43f791134c5647ba")), padding: Padding::None };
    let answers = [
        // SP 800-38A, F.1, F.2, F.5; CAVP's TCBCMMT3, count 0.
        (KeyType::Aes128, KEY_128, ecb(), TEXT, "3ad77bb40d7a3660a89ecaf32466ef97"),
        (KeyType::Aes128, KEY_128, cbc(), TEXT, "7649abac8119b246cee98e9b12e9197d"),
        (KeyType::Aes128, KEY_128, ctr(), TEXT, "874d6191b620e3261bef6864990db6ce"),
        (KeyType::Aes192, KEY_192, ecb(), TEXT, "bd334f1d6e45f25ff712a214571fa5cc"),
        (KeyType::Aes192, KEY_192, cbc(), TEXT, "4f021db243bc633d7178183a9fa071e8"),
        (KeyType::Aes192, KEY_192, ctr(), TEXT, "1abc932417521ca24f2b0459fe7e6e0b"),
        (KeyType::Aes256, KEY_256, ecb(), TEXT, "f3eed1bdb5d2a03c064b5a7e3db181f8"),
        (KeyType::Aes256, KEY_256, cbc(), TEXT, "f58c4c04d6e5f1ba779eabfb5f7bfbd6"),
        (KeyType::Aes256, KEY_256, ctr(), TEXT, "601ec313775789a5b7a7f504bbf3d228"),
        (
            KeyType::LegacyTripleDes,
            "b5cb1504802326c73df186e3e352a20de643b0d63ee30e37",
            des,
            "dcc153cef81d6f24",
            "92538bd8af18d3ba",
        ),
    ];
    let mut app = app();
    for (key_type, key, cipher, text, answer) in answers {
        let key = app.import(key_type, ALL, &unhex(key)).unwrap();
        let (text, answer) = (unhex(text), unhex(answer));
        let seal = Operation::Encrypt(cipher.clone());
        assert_eq!(app.run(key, seal.clone(), &[], &text, None).unwrap(), answer, "{cipher:?}");
        for size in SIZES {
            let sealed = app.stream(Some(key), seal.clone(), &[], &text, None, size).unwrap();
            assert_eq!(sealed, answer, "{cipher:?}");
        }
        let open = Operation::Decrypt(cipher);
        assert_eq!(app.stream(Some(key), open, &[], &answer, None, 5).unwrap(), text);
    }
}

#[test]
fn padding_fills_up_and_is_checked() {
    let mut app = app();
    for key_type in [KeyType::Aes128, KeyType::Aes256, KeyType::LegacyTripleDes] {
        let block = if key_type == KeyType::LegacyTripleDes { 8 } else { 16 };
        let key = app.generate(key_type, ALL).unwrap();
        let iv = ByteBuf::from(vec![3; block]);
        let cbc = |padding| Cipher::Cbc { iv: iv.clone(), padding };
        for length in 0..=2 * block {
            let text = vec![5; length];
            let seal = Operation::Encrypt(cbc(Padding::Pkcs7));
            let sealed = app.stream(Some(key), seal, &[], &text, None, 3).unwrap();
            assert_eq!(sealed.len(), (length / block + 1) * block);
            let open = Operation::Decrypt(cbc(Padding::Pkcs7));
            assert_eq!(app.stream(Some(key), open, &[], &sealed, None, 3).unwrap(), text);
        }
        let odd = app.run(key, Operation::Encrypt(cbc(Padding::None)), &[], b"odd", None);
        assert!(matches!(odd, Err(TeeError::BadParameters(_))));
    }
}

#[test]
fn s2_1_4_aes_gcm_by_handle() {
    // The GCM specification's test cases 4 and 16 (AES-128 and AES-256).
    let text = unhex(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449\
         a6b525b16aedf5aa0de657ba637b39",
    );
    let associated = unhex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
    let nonce = unhex("cafebabefacedbaddecaf888");
    let answers = [
        (
            KeyType::Aes128,
            "feffe9928665731c6d6a8f9467308308",
            "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a\
             5aac84aa051ba30b396a0aac973d58e0915bc94fbc3221a5db94fae95ae7121a47",
        ),
        (
            KeyType::Aes256,
            "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
            "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b\
             1056828838c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b",
        ),
    ];
    let mut app = app();
    for (key_type, key, answer) in answers {
        let (key, answer) = (app.import(key_type, ALL, &unhex(key)).unwrap(), unhex(answer));
        let seal = || Operation::Encrypt(gcm(&nonce));
        assert_eq!(app.run(key, seal(), &associated, &text, None).unwrap(), answer);
        let (sealed, tag) = answer.split_at(text.len());
        for size in SIZES {
            let got = app.stream(Some(key), seal(), &associated, &text, None, size).unwrap();
            assert_eq!(got, answer);
            let open = Operation::Decrypt(gcm(&nonce));
            let got = app.stream(Some(key), open, &associated, sealed, Some(tag), size).unwrap();
            assert_eq!(got, text);
        }
        for bytes in 12..=16 {
            let cipher =
                Cipher::Gcm { nonce: ByteBuf::from(nonce.clone()), tag_bytes: bytes as u8 };
            let open = Operation::Decrypt(cipher);
            let got = app.run(key, open, &associated, sealed, Some(&tag[..bytes])).unwrap();
            assert_eq!(got, text);
        }
        let open = Operation::Decrypt(gcm(&nonce));
        let refused = app.run(key, open, b"elsewhere", sealed, Some(tag));
        assert!(matches!(refused, Err(TeeError::Security(_))));
    }
}

fn public_key(app: &mut App, key: Handle) -> Vec<u8> {
    app.bytes(Call::PublicKey { key }).unwrap()
}

#[test]
fn s2_1_4_rsa_by_handle_signs_as_openssl_does() {
    const KEY_1024: &[u8] = include_bytes!("data/rsa1024.p8");
    const SIGNED_1024: [&[u8]; 2] =
        [include_bytes!("data/rsa1024.sha1"), include_bytes!("data/rsa1024.sha256")];
    const KEY_2048: &[u8] = include_bytes!("data/rsa2048.p8");
    const SIGNED_2048: [&[u8]; 2] =
        [include_bytes!("data/rsa2048.sha1"), include_bytes!("data/rsa2048.sha256")];
    let keys = [
        (KeyType::LegacyRsa1024, KEY_1024, SIGNED_1024),
        (KeyType::Rsa2048, KEY_2048, SIGNED_2048),
    ];
    let mut app = app();
    for (key_type, pkcs8, signatures) in keys {
        let key = app.import(key_type, SIGNS | ALL, pkcs8).unwrap();
        for (hash, answer) in [Hash::LegacySha1, SHA_256].into_iter().zip(signatures) {
            let scheme = |input| Scheme::RsaPkcs1 { hash, input };
            let sign = Operation::Sign(scheme(Input::Message));
            assert_eq!(app.stream(Some(key), sign, &[], b"message", None, 3).unwrap(), answer);
            let digest = app.stream(None, Operation::Digest(hash), &[], b"message", None, 9);
            let sign = Operation::Sign(scheme(Input::Digest));
            assert_eq!(app.run(key, sign, &[], &digest.unwrap(), None).unwrap(), answer);
            let verify = Operation::Verify(scheme(Input::Message));
            app.run(key, verify.clone(), &[], b"message", Some(answer)).unwrap();
            assert!(app.run(key, verify, &[], b"massage", Some(answer)).is_err());
        }
        let pss =
            Scheme::RsaPss { hash: SHA_256, mask: SHA_256, salt_bytes: 32, input: Input::Message };
        for scheme in [pss, Scheme::RsaPkcs1Bare, Scheme::RsaBare] {
            let signature = app.run(key, Operation::Sign(scheme), &[], b"message", None).unwrap();
            let verify = Operation::Verify(scheme);
            app.run(key, verify, &[], b"message", Some(&signature)).unwrap();
        }
        let oaep = Cipher::RsaOaep {
            hash: SHA_256,
            mask: Hash::LegacySha1,
            label: ByteBuf::from(*b"label"),
        };
        for cipher in [oaep, Cipher::LegacyRsaPkcs1] {
            let sealed =
                app.run(key, Operation::Encrypt(cipher.clone()), &[], b"text", None).unwrap();
            let open = Operation::Decrypt(cipher);
            assert_eq!(app.run(key, open.clone(), &[], &sealed, None).unwrap(), b"text");
            assert!(app.run(key, open, &[], &sealed[1..], None).is_err());
        }
    }
}

#[test]
fn s2_1_4_rsa_keys_of_every_size_are_made_and_only_of_their_size() {
    let mut app = app();
    let types = [(KeyType::LegacyRsa1024, 128), (KeyType::Rsa2048, 256), (KeyType::Rsa3072, 384)];
    for (key_type, bytes) in types {
        let usage = SIGNS | Usage::EXTRACTABLE;
        let key = app.generate(key_type, usage).unwrap();
        let scheme = Scheme::RsaPkcs1 { hash: SHA_256, input: Input::Message };
        let signature = app.run(key, Operation::Sign(scheme), &[], b"message", None).unwrap();
        assert_eq!(signature.len(), bytes);
        let pkcs8 = app.bytes(Call::Export { key }).unwrap();
        for (other, _) in types {
            assert_eq!(app.import(other, usage, &pkcs8).is_ok(), other == key_type);
        }
    }
}

#[test]
fn s2_1_4_ecdsa_by_handle() {
    // RFC 6979, A.2.5: P-256, SHA-256, "sample".
    let number = unhex("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721");
    let rs = unhex(
        "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716f7cb1c942d657c41d436c7a1b6\
         e29f65f3e900dbb9aff4064dc4ab2f843acda8",
    );
    let curve = crypto::ec::Curve::P256;
    let known = crypto::ec::PrivateKey::from_number(curve, &number).unwrap();
    let mut app = app();
    let key = app.import(KeyType::Ec(Curve::P256), SIGNS, &known.to_pkcs8().unwrap()).unwrap();
    let signature = crypto::ec::from_fixed(curve, &rs).unwrap();
    let verify = Operation::Verify(crate::ECDSA);
    app.run(key, verify.clone(), &[], b"sample", Some(&signature)).unwrap();
    assert!(app.run(key, verify, &[], b"simple", Some(&signature)).is_err());

    let curves = [Curve::P224, Curve::P256, Curve::P384, Curve::P521, Curve::Secp256k1];
    for curve in curves {
        let key = app.generate(KeyType::Ec(curve), SIGNS).unwrap();
        let signature =
            app.stream(Some(key), Operation::Sign(crate::ECDSA), &[], b"message", None, 2);
        let public = crypto::ec::PublicKey::from_spki(&public_key(&mut app, key)).unwrap();
        let digest = crypto::digest::sha256(b"message");
        public.verify(&digest, &signature.unwrap()).unwrap();
        let bare = app.run(key, Operation::Sign(Scheme::EcdsaBare), &[], &digest, None).unwrap();
        public.verify(&digest, &bare).unwrap();
    }
}

#[test]
fn s2_1_4_ed25519_and_x25519_by_handle() {
    // RFC 8032, 7.1, test 2; RFC 7748, 5.2.
    let seed = unhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
    let answer = unhex(
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0\
         f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    );
    let known = crypto::curve25519::Ed25519::from_seed(&seed.try_into().unwrap()).unwrap();
    let mut app = app();
    let key = app.import(KeyType::Ed25519, SIGNS, &known.to_pkcs8().unwrap()).unwrap();
    let sign = Operation::Sign(Scheme::Ed25519);
    assert_eq!(app.run(key, sign, &[], &[0x72], None).unwrap(), answer);
    let verify = Operation::Verify(Scheme::Ed25519);
    app.run(key, verify.clone(), &[], &[0x72], Some(&answer)).unwrap();
    assert!(app.run(key, verify, &[], &[0x73], Some(&answer)).is_err());

    let number = unhex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4");
    let known = crypto::curve25519::X25519::from_seed(&number.try_into().unwrap()).unwrap();
    let own = known.to_pkcs8().unwrap();
    let own = app.import(KeyType::X25519, Usage::DERIVE, &own).unwrap();
    let peer = unhex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c");
    let agree = Derivation::Agree { peer: ByteBuf::from(peer) };
    let secret = Usage::DERIVE | Usage::EXTRACTABLE;
    let key = app.derive(own, agree, KeyType::Secret { bytes: 32 }, secret).unwrap();
    let agreed = "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552";
    assert_eq!(app.bytes(Call::Export { key }).unwrap(), unhex(agreed));
    let public = crypto::curve25519::x25519_from_spki(&public_key(&mut app, own)).unwrap();
    assert_eq!(public, known.public().unwrap());
}

#[test]
fn s2_1_4_ecdh_and_hkdf_by_handle() {
    let mut app = app();
    for (curve, bytes) in [(Curve::P256, 32), (Curve::P384, 48), (Curve::P521, 66)] {
        let [one, two] = [0; 2].map(|_| app.generate(KeyType::Ec(curve), Usage::DERIVE).unwrap());
        let mut keys = Vec::new();
        for (own, peer) in [(one, two), (two, one)] {
            let peer = ByteBuf::from(public_key(&mut app, peer));
            let secret = KeyType::Secret { bytes };
            let secret =
                app.derive(own, Derivation::Agree { peer }, secret, Usage::DERIVE).unwrap();
            let hkdf = Derivation::Hkdf {
                hash: SHA_256,
                salt: ByteBuf::new(),
                info: ByteBuf::from(*b"x"),
            };
            let key = app.derive(secret, hkdf, crate::hmac(32), Usage::MAC).unwrap();
            keys.push(app.run(key, Operation::Mac, &[], b"message", None).unwrap());
        }
        assert_eq!(keys[0], keys[1]);
    }
    // RFC 5869, A.1.
    let usage = Usage::DERIVE | Usage::EXTRACTABLE;
    let secret = app.import(KeyType::Secret { bytes: 22 }, usage, &[0x0b; 22]).unwrap();
    let hkdf = Derivation::Hkdf {
        hash: SHA_256,
        salt: ByteBuf::from(unhex("000102030405060708090a0b0c")),
        info: ByteBuf::from(unhex("f0f1f2f3f4f5f6f7f8f9")),
    };
    let key = app.derive(secret, hkdf, KeyType::Secret { bytes: 42 }, usage).unwrap();
    let okm =
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865";
    assert_eq!(app.bytes(Call::Export { key }).unwrap(), unhex(okm));
}

#[test]
fn s2_1_4_ml_dsa_by_handle() {
    let mut app = app();
    let sets = [
        (KeyType::MlDsa65, crypto::ml_dsa::Parameters::MlDsa65),
        (KeyType::MlDsa87, crypto::ml_dsa::Parameters::MlDsa87),
    ];
    for (key_type, set) in sets {
        let key = app.generate(key_type, SIGNS).unwrap();
        let sign = Operation::Sign(Scheme::MlDsa);
        let signature = app.run(key, sign, &[], b"message", None).unwrap();
        crypto::ml_dsa::verify(set, &public_key(&mut app, key), b"message", &signature).unwrap();
        let verify = Operation::Verify(Scheme::MlDsa);
        app.run(key, verify.clone(), &[], b"message", Some(&signature)).unwrap();
        assert!(app.run(key, verify, &[], b"massage", Some(&signature)).is_err());
    }
}

#[test]
fn s2_1_4_key_wrap_by_handle_is_that_of_rfc_5649() {
    // RFC 5649, 6: 20 bytes under AES-192.
    let kek = unhex("5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8");
    let bytes = unhex("c37b7e6492584340bed12207808941155068f738");
    let answer = "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a";
    let mut app = app();
    let under = app.import(KeyType::Aes192, Usage::WRAP | Usage::UNWRAP, &kek).unwrap();
    let attributes = Attributes::new(crate::hmac(20), Usage::MAC | Usage::EXTRACTABLE);
    let key = app.import(attributes.key_type, attributes.usage, &bytes).unwrap();
    let wrapping = Wrapping::AesKwp;
    let wrapped = app.bytes(Call::Wrap { under, key, wrapping: wrapping.clone() }).unwrap();
    assert_eq!(wrapped, unhex(answer));
    let (wrapped, attributes) = (ByteBuf::from(wrapped), Some(attributes));
    let again = app.handle(Call::Unwrap { under, wrapped, wrapping, attributes }).unwrap();
    assert_eq!(app.bytes(Call::Export { key: again }).unwrap(), bytes);
}
