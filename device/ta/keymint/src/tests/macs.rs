//! HMAC.

use super::*;

fn length(bits: u32) -> Authorizations {
    Authorizations { mac_length: Some(bits), ..digest(Digest::Sha2_256) }
}

fn verify(device: &mut Device, blob: &ByteBuf, message: &[u8], mac: &[u8]) -> Outcome<Vec<u8>> {
    let params = digest(Digest::Sha2_256);
    let operation = device.begin(blob, KeyPurpose::Verify, &params)?.operation;
    device.finish_with(operation, message, Some(mac), None)
}

#[test]
fn s3_2_macs_are_those_of_rfc_4231_for_every_digest() {
    let mut device = Device::new();
    // Test case 2: key `Jefe`; KeyMint's keys have at least 64 bits, so test case 1 with 20 bytes.
    let material = [0x0b; 20];
    for (name, hash) in [
        (Digest::Md5, crypto::hash::Hash::LegacyMd5),
        (Digest::Sha1, crypto::hash::Hash::LegacySha1),
        (Digest::Sha2_224, crypto::hash::Hash::Sha224),
        (Digest::Sha2_256, crypto::hash::Hash::Sha256),
        (Digest::Sha2_384, crypto::hash::Hash::Sha384),
        (Digest::Sha2_512, crypto::hash::Hash::Sha512),
    ] {
        let key = Authorizations {
            digest: [name].into(),
            key_size: None,
            min_mac_length: Some(64),
            ..hmac()
        };
        let blob = device.import(&key, KeyFormat::Raw, &material).unwrap().blob;
        let mut due = crypto::mac::Hmac::new(hash, &material).unwrap();
        due.update(b"Hi There");
        let due = due.finish();
        let bits = due.len() as u32 * 8;
        let params = Authorizations { mac_length: Some(bits), ..digest(name) };
        let mac = device.run(&blob, KeyPurpose::Sign, &params, b"Hi There").unwrap();
        assert_eq!(mac, due[..], "{name}");
        let pieces = device.run_in_pieces(&blob, KeyPurpose::Sign, &params, b"Hi There", 3);
        assert_eq!(pieces.unwrap(), mac);
    }
    let key = Authorizations { key_size: None, min_mac_length: Some(64), ..hmac() };
    let blob = device.import(&key, KeyFormat::Raw, &material).unwrap().blob;
    let mac = device.run(&blob, KeyPurpose::Sign, &length(256), b"Hi There").unwrap();
    assert_eq!(mac[..4], [0xb0, 0x34, 0x4c, 0x61]);
}

#[test]
fn verifies_whole_and_shortened_macs_and_nothing_else() {
    let mut device = Device::new();
    let blob = device.generate(&hmac()).unwrap().blob;
    let mac = device.run(&blob, KeyPurpose::Sign, &length(256), b"message").unwrap();
    let short = device.run(&blob, KeyPurpose::Sign, &length(128), b"message").unwrap();
    assert_eq!(short, mac[..16]);
    for good in [&mac[..], &mac[..16], &mac[..20]] {
        assert_eq!(verify(&mut device, &blob, b"message", good), Ok(Vec::new()));
    }
    let wrong = Err(ErrorCode::VerificationFailed);
    assert_eq!(verify(&mut device, &blob, b"massage", &mac), wrong);
    for at in 0..mac.len() {
        let mut altered = mac.clone();
        altered[at] ^= 1;
        assert_eq!(verify(&mut device, &blob, b"message", &altered), wrong);
    }
    let too_short = verify(&mut device, &blob, b"message", &mac[..15]);
    assert_eq!(too_short, Err(ErrorCode::InvalidMacLength));
    let too_long = verify(&mut device, &blob, b"message", &[0; 33]);
    assert_eq!(too_long, Err(ErrorCode::InvalidMacLength));
    let operation = device.begin(&blob, KeyPurpose::Verify, &none()).unwrap().operation;
    assert_eq!(device.finish(operation, b"message"), Err(ErrorCode::InvalidArgument));
}

#[test]
fn refuses_macs_that_are_too_short_too_long_or_not_said() {
    let mut device = Device::new();
    let blob = device.generate(&hmac()).unwrap().blob;
    for (params, code) in [
        (digest(Digest::Sha2_256), ErrorCode::MissingMacLength),
        (length(120), ErrorCode::InvalidMacLength),
        (length(257), ErrorCode::UnsupportedMacLength),
        (length(264), ErrorCode::UnsupportedMacLength),
        (length(131), ErrorCode::UnsupportedMacLength),
        (
            Authorizations { mac_length: Some(128), ..digest(Digest::Sha1) },
            ErrorCode::IncompatibleDigest,
        ),
    ] {
        assert_eq!(device.begin(&blob, KeyPurpose::Sign, &params), Err(code), "{params:?}");
    }
    let refused = device.begin(&blob, KeyPurpose::Encrypt, &none());
    assert_eq!(refused, Err(ErrorCode::UnsupportedPurpose));
    let signs = Authorizations { purpose: [KeyPurpose::Sign].into(), ..hmac() };
    let blob = device.generate(&signs).unwrap().blob;
    let refused = device.begin(&blob, KeyPurpose::Verify, &none());
    assert_eq!(refused, Err(ErrorCode::IncompatiblePurpose));
}
