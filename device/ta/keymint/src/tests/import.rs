//! Keys from outside, in the clear and wrapped.

use super::*;
use crypto::curve25519::{Ed25519, X25519};
use keyattest::{AuthorizationList, KeyDescription, SecurityLevel as Level};

fn raw_ec(curve: crypto::ec::Curve) -> Vec<u8> {
    crypto::ec::PrivateKey::generate(curve).unwrap().to_pkcs8().unwrap().to_vec()
}

fn raw_rsa() -> Vec<u8> {
    crypto::rsa::PrivateKey::generate(2048).unwrap().to_pkcs8().unwrap().to_vec()
}

/// Parameters that say nothing of the key itself.
fn open(params: Authorizations) -> Authorizations {
    Authorizations { key_size: None, ec_curve: None, rsa_public_exponent: None, ..params }
}

#[test]
fn s3_2_imports_keys_and_finds_out_what_they_are() {
    let mut device = Device::new();
    let signing = rsa(KeyPurpose::Sign, &[PaddingMode::RsaPss], &[Digest::Sha2_256]);
    for params in [signing.clone(), open(signing)] {
        let made = device.import(&params, KeyFormat::Pkcs8, &raw_rsa()).unwrap();
        let hardware = &made.characteristics.hardware_enforced;
        assert_eq!((hardware.key_size, hardware.rsa_public_exponent), (Some(2048), Some(65_537)));
        assert_eq!(hardware.origin, Some(KeyOrigin::Imported));
    }
    for (curve, of) in [
        (crypto::ec::Curve::P224, EcCurve::P224),
        (crypto::ec::Curve::P256, EcCurve::P256),
        (crypto::ec::Curve::P384, EcCurve::P384),
        (crypto::ec::Curve::P521, EcCurve::P521),
    ] {
        let made = device.import(&open(ec()), KeyFormat::Pkcs8, &raw_ec(curve)).unwrap();
        assert_eq!(made.characteristics.hardware_enforced.ec_curve, Some(of));
        assert!(device.sign(&made.blob).is_ok());
    }
    let aes = aes(&[BlockMode::Ecb], &[PaddingMode::None]);
    for bytes in [16, 24, 32_u32] {
        let made =
            device.import(&open(aes.clone()), KeyFormat::Raw, &vec![7; bytes as usize]).unwrap();
        assert_eq!(made.characteristics.hardware_enforced.key_size, Some(bytes * 8));
    }
    let des = key(Algorithm::TripleDes, &[KeyPurpose::Encrypt]);
    let made = device.import(&des, KeyFormat::Raw, &[7; 24]).unwrap();
    assert_eq!(made.characteristics.hardware_enforced.key_size, Some(168));
}

#[test]
fn s3_2_keys_of_curve_25519_come_raw_and_as_pkcs_8() {
    let mut device = Device::new();
    let of = |purpose, digests: &[Digest]| Authorizations {
        ec_curve: Some(EcCurve::Curve25519),
        purpose: [purpose].into(),
        digest: digests.iter().copied().collect(),
        ..ec()
    };
    let signing = of(KeyPurpose::Sign, &[Digest::None]);
    let agreeing = of(KeyPurpose::AgreeKey, &[]);
    let seed = [9; 32];
    let ed25519 = Ed25519::from_seed(&seed).unwrap();
    let x25519 = X25519::from_seed(&seed).unwrap();
    let (ed_pkcs8, x_pkcs8) = (ed25519.to_pkcs8().unwrap(), x25519.to_pkcs8().unwrap());
    for (params, format, data, spki) in [
        (&signing, KeyFormat::Raw, &seed[..], ed25519.to_spki()),
        (&signing, KeyFormat::Pkcs8, &ed_pkcs8, ed25519.to_spki()),
        (&agreeing, KeyFormat::Raw, &seed, x25519.to_spki()),
        (&agreeing, KeyFormat::Pkcs8, &x_pkcs8, x25519.to_spki()),
    ] {
        let made = device.import(params, format, data).unwrap();
        assert_eq!(leaf(&made).public_key().as_der(), spki.unwrap());
    }
    let p256 = Authorizations { ec_curve: Some(EcCurve::P256), ..signing.clone() };
    for (params, format, data, code) in [
        (&signing, KeyFormat::Pkcs8, &x_pkcs8[..], ErrorCode::IncompatiblePurpose),
        (&agreeing, KeyFormat::Pkcs8, &ed_pkcs8, ErrorCode::IncompatiblePurpose),
        (&p256, KeyFormat::Pkcs8, &ed_pkcs8, ErrorCode::ImportParameterMismatch),
        (&p256, KeyFormat::Raw, &seed, ErrorCode::UnsupportedKeyFormat),
        (&signing, KeyFormat::Pkcs8, &seed, ErrorCode::InvalidArgument),
        (&signing, KeyFormat::Raw, &ed_pkcs8, ErrorCode::InvalidArgument),
    ] {
        assert_eq!(device.import(params, format, data).map(drop), Err(code), "{format}");
    }
}

#[test]
fn refuses_keys_that_are_not_what_is_said_of_them() {
    use ErrorCode::*;
    let mut device = Device::new();
    let signing = rsa(KeyPurpose::Sign, &[PaddingMode::RsaPss], &[Digest::Sha2_256]);
    let rsa_key = raw_rsa();
    let p256 = raw_ec(crypto::ec::Curve::P256);
    let aes = aes(&[BlockMode::Ecb], &[PaddingMode::None]);
    let early = Authorizations { early_boot_only: true, ..ec() };
    let small = crypto::rsa::PrivateKey::generate_legacy_1024().unwrap().to_pkcs8().unwrap();
    let larger = Authorizations { key_size: Some(3072), ..signing.clone() };
    let exponent = Authorizations { rsa_public_exponent: Some(3), ..signing.clone() };
    let p384 = Authorizations { ec_curve: Some(EcCurve::P384), ..ec() };
    let two = Authorizations { purpose: [KeyPurpose::Sign, KeyPurpose::AttestKey].into(), ..ec() };
    for (params, format, data, code) in [
        (&larger, KeyFormat::Pkcs8, &rsa_key[..], ImportParameterMismatch),
        (&exponent, KeyFormat::Pkcs8, &rsa_key, ImportParameterMismatch),
        (&open(signing.clone()), KeyFormat::Pkcs8, &small, UnsupportedKeySize),
        (&signing, KeyFormat::Raw, &rsa_key, UnsupportedKeyFormat),
        (&signing, KeyFormat::X509, &rsa_key, UnsupportedKeyFormat),
        (&signing, KeyFormat::Pkcs8, &p256, InvalidArgument),
        (&p384, KeyFormat::Pkcs8, &p256, ImportParameterMismatch),
        (&ec(), KeyFormat::Pkcs8, b"\x30\x80", InvalidArgument),
        (&two, KeyFormat::Pkcs8, &p256, IncompatiblePurpose),
        (&early, KeyFormat::Pkcs8, &p256, EarlyBootEnded),
        (&aes, KeyFormat::Raw, &[0; 32], ImportParameterMismatch),
        (&open(aes.clone()), KeyFormat::Raw, &[0; 15], UnsupportedKeySize),
        (&aes, KeyFormat::Pkcs8, &[0; 16], UnsupportedKeyFormat),
        (&open(hmac()), KeyFormat::Raw, &[0; 7], UnsupportedKeySize),
        (&none(), KeyFormat::Raw, &[0; 16], UnsupportedAlgorithm),
    ] {
        assert_eq!(device.import(params, format, data).map(drop), Err(code), "{code:?}");
    }
}

/// DER, written out for the test.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = match content.len() {
        short @ 0..=127 => vec![short as u8],
        medium @ 128..=255 => vec![0x81, medium as u8],
        long => [&[0x82][..], &(long as u16).to_be_bytes()].concat(),
    };
    [&[tag][..], &length, content].concat()
}

/// The list's DER: an attestation holds it as its last element.
fn list_der(list: AuthorizationList) -> Vec<u8> {
    let with = |list| KeyDescription {
        attestation_version: 300,
        attestation_security_level: Level::TrustedEnvironment,
        key_mint_version: 300,
        key_mint_security_level: Level::TrustedEnvironment,
        attestation_challenge: Vec::new(),
        unique_id: Vec::new(),
        software_enforced: AuthorizationList::default(),
        hardware_enforced: list,
    };
    let fields = 2 * 4 + 2 * 3 + 2 + 2 + 2;
    let whole = with(list).encode().unwrap();
    let front =
        whole.len() - if whole[1] < 0x80 { usize::from(whole[1]) } else { usize::from(whole[2]) };
    whole[front + fields..].to_vec()
}

/// Who wraps keys, and for which key of the device.
struct Sender {
    wrapping: KeyCreation,
    transport: [u8; 32],
    mask: [u8; 32],
}

impl Sender {
    fn new(device: &mut Device) -> Self {
        let params =
            rsa(KeyPurpose::WrapKey, &[PaddingMode::RsaOaep], &[Digest::Sha2_256, Digest::Sha1]);
        let wrapping = device.generate(&params).unwrap();
        Self { wrapping, transport: [0x77; 32], mask: [0x0F; 32] }
    }

    /// `SecureKeyWrapper` of a key in this format.
    fn wrap(&self, format: u8, list: AuthorizationList, material: &[u8]) -> Vec<u8> {
        let spki = leaf(&self.wrapping).public_key().as_der().to_vec();
        let public =
            crypto::rsa::PublicKey::from_spki(&spki, crypto::rsa::Floor::Bits2048).unwrap();
        let (hash, mask) = (crypto::hash::Hash::Sha256, crypto::hash::Hash::LegacySha1);
        let oaep = crypto::rsa::Encryption::Oaep { hash, mask, label: &[] };
        let masked: Vec<u8> =
            self.transport.iter().zip(self.mask).map(|(byte, mask)| byte ^ mask).collect();
        let transport = public.encrypt(oaep, &masked).unwrap();
        let description = der(0x30, &[der(2, &[format]), list_der(list)].concat());
        let sealed = crypto::aead::Key::aes_256_gcm(&self.transport).seal(&description, material);
        let (nonce, rest) = sealed.split_at(12);
        let (text, tag) = rest.split_at(rest.len() - 16);
        let fields = [
            der(2, &[0]),
            der(4, &transport),
            der(4, nonce),
            description,
            der(4, text),
            der(4, tag),
        ];
        der(0x30, &fields.concat())
    }

    fn import(
        &self,
        device: &mut Device,
        wrapped: &[u8],
        change: impl FnOnce(&mut Authorizations, &mut ByteBuf),
    ) -> Outcome<KeyCreation> {
        let mut params =
            Authorizations { padding: [PaddingMode::RsaOaep].into(), ..digest(Digest::Sha2_256) };
        let mut mask = ByteBuf::from(self.mask);
        change(&mut params, &mut mask);
        let command = Command::ImportWrappedKey {
            wrapped: ByteBuf::from(wrapped),
            wrapping_key: self.wrapping.blob.clone(),
            masking_key: mask,
            params,
            password_sid: 42,
            biometric_sid: 24,
        };
        match device.call(&command)? {
            Reply::Key(key) => Ok(key),
            other => panic!("not a key: {other:?}"),
        }
    }
}

fn aes_list() -> AuthorizationList {
    AuthorizationList {
        purpose: [0, 1].into(),
        algorithm: Some(32),
        key_size: Some(256),
        block_mode: [1].into(),
        padding: [64].into(),
        no_auth_required: true,
        ..AuthorizationList::default()
    }
}

#[test]
fn s3_2_imports_wrapped_keys_of_every_kind() {
    let mut device = Device::new();
    let sender = Sender::new(&mut device);
    let wrapped = sender.wrap(3, aes_list(), &[5; 32]);
    let made = sender.import(&mut device, &wrapped, |_, _| ()).unwrap();
    let hardware = &made.characteristics.hardware_enforced;
    assert_eq!(hardware.origin, Some(KeyOrigin::SecurelyImported));
    assert_eq!(hardware.key_size, Some(256));
    let params = Authorizations {
        block_mode: [BlockMode::Ecb].into(),
        padding: [PaddingMode::Pkcs7].into(),
        ..none()
    };
    let sealed = device.run(&made.blob, KeyPurpose::Encrypt, &params, b"text").unwrap();
    assert_eq!(device.run(&made.blob, KeyPurpose::Decrypt, &params, &sealed).unwrap(), b"text");
    let ec = AuthorizationList {
        purpose: [2].into(),
        algorithm: Some(3),
        ec_curve: Some(1),
        digest: [4].into(),
        no_auth_required: true,
        ..AuthorizationList::default()
    };
    let wrapped = sender.wrap(1, ec, &raw_ec(crypto::ec::Curve::P256));
    let made = sender.import(&mut device, &wrapped, |_, _| ()).unwrap();
    assert!(device.sign(&made.blob).is_ok());
    assert_eq!(made.chain.len(), 1);
    let rsa = AuthorizationList {
        purpose: [2].into(),
        algorithm: Some(1),
        key_size: Some(2048),
        rsa_public_exponent: Some(65_537),
        digest: [4].into(),
        padding: [5].into(),
        no_auth_required: true,
        ..AuthorizationList::default()
    };
    let wrapped = sender.wrap(1, rsa, &raw_rsa());
    assert!(sender.import(&mut device, &wrapped, |_, _| ()).is_ok());
}

#[test]
fn secure_ids_of_a_wrapped_key_are_those_of_this_device() {
    let mut device = Device::new();
    let sender = Sender::new(&mut device);
    let wrapped = sender.wrap(3, aes_list(), &[5; 32]);
    let made = sender.import(&mut device, &wrapped, |_, _| ()).unwrap();
    assert!(made.characteristics.hardware_enforced.user_secure_id.is_empty());
    for (ways, due) in [(1, &[42][..]), (2, &[24]), (3, &[24, 42])] {
        let list = AuthorizationList {
            no_auth_required: false,
            user_secure_id: Some(u64::from(u32::MAX)),
            user_auth_type: Some(ways),
            ..aes_list()
        };
        let wrapped = sender.wrap(3, list, &[5; 32]);
        let made = sender.import(&mut device, &wrapped, |_, _| ()).unwrap();
        let ids = &made.characteristics.hardware_enforced.user_secure_id;
        assert_eq!(ids.iter().copied().collect::<Vec<_>>(), due);
    }
}

#[test]
fn refuses_wrapped_keys_that_were_altered_or_wrapped_for_another() {
    use ErrorCode::*;
    let mut device = Device::new();
    let sender = Sender::new(&mut device);
    let wrapped = sender.wrap(3, aes_list(), &[5; 32]);
    let mut import = |wrapped: &[u8], change: fn(&mut Authorizations, &mut ByteBuf)| {
        sender.import(&mut device, wrapped, change).map(drop)
    };
    assert_eq!(import(&wrapped, |_, mask| mask[0] ^= 1), Err(VerificationFailed));
    assert_eq!(import(&wrapped, |_, mask| mask.truncate(31)), Err(InvalidInputLength));
    let pss = |params: &mut Authorizations, _: &mut ByteBuf| {
        params.padding = [PaddingMode::RsaPss].into();
    };
    assert_eq!(import(&wrapped, pss), Err(IncompatiblePaddingMode));
    let sha1 = |params: &mut Authorizations, _: &mut ByteBuf| {
        params.digest = [Digest::Sha1].into();
    };
    assert_eq!(import(&wrapped, sha1), Err(IncompatibleDigest));
    for at in 0..wrapped.len() {
        let mut altered = wrapped.clone();
        altered[at] ^= 0x10;
        let refused = import(&altered, |_, _| ());
        assert!(matches!(refused, Err(InvalidArgument | VerificationFailed)), "{at}: {refused:?}");
    }
    for length in 0..wrapped.len() {
        assert_eq!(import(&wrapped[..length], |_, _| ()), Err(InvalidArgument));
    }
    let of_device = AuthorizationList { os_version: Some(1), ..aes_list() };
    assert_eq!(import(&sender.wrap(3, of_device, &[5; 32]), |_, _| ()), Err(InvalidTag));
    let unknown = AuthorizationList { algorithm: Some(77), ..aes_list() };
    assert_eq!(import(&sender.wrap(3, unknown, &[5; 32]), |_, _| ()), Err(InvalidArgument));
    assert_eq!(import(&sender.wrap(9, aes_list(), &[5; 32]), |_, _| ()), Err(UnsupportedKeyFormat));
    let other = Sender::new(&mut device);
    let refused = other.import(&mut device, &wrapped, |_, _| ());
    assert_eq!(refused.map(drop), Err(VerificationFailed));
    let signing = rsa(KeyPurpose::Decrypt, &[PaddingMode::RsaOaep], &[Digest::Sha2_256]);
    let wrong = Sender { wrapping: device.generate(&signing).unwrap(), ..sender };
    let refused = wrong.import(&mut device, &wrapped, |_, _| ());
    assert_eq!(refused.map(drop), Err(IncompatiblePurpose));
}
