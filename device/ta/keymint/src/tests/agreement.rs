//! ECDH and X25519.

use super::*;

fn agreeing(curve: EcCurve) -> Authorizations {
    let ec_curve = Some(curve);
    Authorizations { ec_curve, ..key(Algorithm::Ec, &[KeyPurpose::AgreeKey]) }
}

#[test]
fn s3_2_two_sides_agree_on_every_curve() {
    let mut device = Device::new();
    for (curve, bytes) in [
        (EcCurve::P224, 28),
        (EcCurve::P256, 32),
        (EcCurve::P384, 48),
        (EcCurve::P521, 66),
        (EcCurve::Curve25519, 32),
    ] {
        let ours = device.generate(&agreeing(curve)).unwrap();
        let theirs = device.generate(&agreeing(curve)).unwrap();
        let public = |key: &KeyCreation| leaf(key).public_key().as_der().to_vec();
        let (to_them, to_us) = (public(&ours), public(&theirs));
        let first = device.run(&ours.blob, KeyPurpose::AgreeKey, &none(), &to_us).unwrap();
        let second = device
            .run_in_pieces(&theirs.blob, KeyPurpose::AgreeKey, &none(), &to_them, 11)
            .unwrap();
        assert_eq!(first, second, "{curve}");
        assert_eq!(first.len(), bytes);
    }
}

#[test]
fn refuses_peers_of_another_curve_and_what_is_no_key() {
    let mut device = Device::new();
    let p256 = device.generate(&agreeing(EcCurve::P256)).unwrap();
    let p384 = device.generate(&agreeing(EcCurve::P384)).unwrap();
    let x25519 = device.generate(&agreeing(EcCurve::Curve25519)).unwrap();
    let public = |key: &KeyCreation| leaf(key).public_key().as_der().to_vec();
    let mut off_curve = public(&p256);
    *off_curve.last_mut().unwrap() ^= 1;
    for (blob, peer) in [
        (&p256.blob, public(&p384)),
        (&p256.blob, public(&x25519)),
        (&x25519.blob, public(&p256)),
        (&x25519.blob, vec![9; 31]),
        (&p256.blob, off_curve),
        (&p256.blob, Vec::new()),
    ] {
        let refused = device.run(blob, KeyPurpose::AgreeKey, &none(), &peer);
        assert_eq!(refused, Err(ErrorCode::InvalidArgument), "{peer:02x?}");
    }
    let refused = device.run(&p256.blob, KeyPurpose::AgreeKey, &none(), &[0x30; 2000]);
    assert_eq!(refused, Err(ErrorCode::InvalidInputLength));
}

#[test]
fn a_point_of_small_order_gives_no_secret() {
    let mut device = Device::new();
    let x25519 = device.generate(&agreeing(EcCurve::Curve25519)).unwrap();
    let mut spki = leaf(&x25519).public_key().as_der().to_vec();
    let at = spki.len() - 32;
    spki[at..].fill(0);
    let refused = device.run(&x25519.blob, KeyPurpose::AgreeKey, &none(), &spki);
    assert!(refused.is_err());
}
