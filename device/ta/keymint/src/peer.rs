//! Public keys of peers: SubjectPublicKeyInfo of the very curve that the key is on.

use crate::rules::nist_curve;
use keymint::EcCurve;
use tee_sdk::TeeError;

/// The peer's key in a form that the engine takes, where it is one of `curve`.
pub(crate) fn point(curve: EcCurve, spki: &[u8]) -> Result<Vec<u8>, TeeError> {
    let wrong = || TeeError::BadParameters("not a public key of this curve".into());
    if nist_curve(curve).is_none() {
        let point = crypto::curve25519::x25519_from_spki(spki).map_err(|_| wrong())?;
        return Ok(point.to_vec());
    }
    let key = crypto::ec::PublicKey::from_spki(spki).map_err(|_| wrong())?;
    let of_curve = match key.curve() {
        crypto::ec::Curve::P224 => Some(EcCurve::P224),
        crypto::ec::Curve::P256 => Some(EcCurve::P256),
        crypto::ec::Curve::P384 => Some(EcCurve::P384),
        crypto::ec::Curve::P521 => Some(EcCurve::P521),
        crypto::ec::Curve::Secp256k1 => None,
    };
    if of_curve == Some(curve) { Ok(spki.to_vec()) } else { Err(wrong()) }
}
