//! The device's side of remote key provisioning.

use super::*;
use keyattest::provisioning::CertificateRequest;

fn request(device: &mut Device, keys: &[ByteBuf], challenge: &[u8]) -> Outcome<Vec<u8>> {
    let (keys, challenge) = (keys.to_vec(), ByteBuf::from(challenge));
    match device.call(&Command::CertificateRequest { keys, challenge })? {
        Reply::CertificateRequest(request) => Ok(request.into_vec()),
        other => panic!("not a request: {other:?}"),
    }
}

#[test]
fn s3_2_asks_for_certificates_of_its_own_attest_keys() {
    let mut device = Device::new();
    let params = Authorizations { purpose: [KeyPurpose::AttestKey].into(), ..ec() };
    let made = [device.generate(&params).unwrap(), device.generate(&params).unwrap()];
    let blobs = made.each_ref().map(|key| key.blob.clone());
    let signed = request(&mut device, &blobs, b"challenge of the server").unwrap();
    let opened = CertificateRequest::open(&signed).unwrap();
    assert_eq!(opened.challenge, b"challenge of the server");
    let due = made.each_ref().map(|key| leaf(key).public_key().clone());
    assert_eq!(opened.keys, due);
    assert_eq!(opened.device.subject().serial_number().as_deref(), Some("HF-TEST-0001"));
}

#[test]
fn refuses_keys_that_are_not_for_attestation_or_not_made_here() {
    use ErrorCode::*;
    let mut device = Device::new();
    let attesting = Authorizations { purpose: [KeyPurpose::AttestKey].into(), ..ec() };
    let good = device.generate(&attesting).unwrap().blob;
    let signing = device.generate(&ec()).unwrap().blob;
    let p384 = Authorizations { ec_curve: Some(EcCurve::P384), ..attesting.clone() };
    let p384 = device.generate(&p384).unwrap().blob;
    let pkcs8 = EcdsaKey::generate(Curve::P256).unwrap().to_pkcs8().to_vec();
    let imported = device.import(&attesting, KeyFormat::Pkcs8, &pkcs8).unwrap().blob;
    for (keys, challenge, code) in [
        (vec![good.clone(), signing], &b"x"[..], IncompatiblePurpose),
        (vec![p384], b"x", IncompatibleAlgorithm),
        (vec![imported], b"x", IncompatibleAlgorithm),
        (vec![ByteBuf::from(*b"none")], b"x", InvalidKeyBlob),
        (Vec::new(), b"x", InvalidInputLength),
        (vec![good.clone(); 21], b"x", InvalidInputLength),
        (vec![good.clone()], b"", InvalidArgument),
        (vec![good], &[1; 65], InvalidArgument),
    ] {
        assert_eq!(request(&mut device, &keys, challenge), Err(code));
    }
    let mut ta = FakeOs::in_factory().start::<KeyMintTa>();
    let generate = Command::GenerateKey { params: attesting, attest: None };
    let Ok(Reply::Key(key)) = ta.call(&generate) else { panic!("a key") };
    let keys = vec![key.blob];
    let early = ta.call(&Command::CertificateRequest { keys, challenge: ByteBuf::from(*b"x") });
    assert!(matches!(early, Ok(Reply::Refused(AttestationKeysNotProvisioned))));
}
