//! Keys that come from outside: what they are, and whether they are what their parameters say.

use crate::failure::Outcome;
use crypto::curve25519::{Ed25519, X25519};
use crypto::ml_dsa::{MlDsaKey, Parameters};
use crypto::rsa::Floor;
use keymint::{Algorithm, Authorizations, EcCurve, ErrorCode, KeyFormat, KeyPurpose, MlDsaVariant};
use tee_sdk::Zeroizing;

/// A key as the engine imports it, and its parameters with what the key itself tells.
pub(crate) struct Material {
    pub(crate) bytes: Zeroizing<Vec<u8>>,
    pub(crate) params: Authorizations,
}

/// Reads `data` of this format. What the parameters leave open is filled in.
pub(crate) fn read(params: &Authorizations, format: KeyFormat, data: &[u8]) -> Outcome<Material> {
    let mut params = params.clone();
    let algorithm = params.algorithm.ok_or(ErrorCode::UnsupportedAlgorithm)?;
    let raw_pair = algorithm == Algorithm::Ec && params.ec_curve == Some(EcCurve::Curve25519);
    let fits = match algorithm {
        Algorithm::Rsa | Algorithm::MlDsa => format == KeyFormat::Pkcs8,
        Algorithm::Ec => format == KeyFormat::Pkcs8 || (raw_pair && format == KeyFormat::Raw),
        _ => format == KeyFormat::Raw,
    };
    if !fits {
        return Err(ErrorCode::UnsupportedKeyFormat.into());
    }
    let bytes = match algorithm {
        Algorithm::Rsa => rsa(&mut params, data)?,
        Algorithm::Ec => ec(&mut params, format, data)?,
        Algorithm::MlDsa => ml_dsa(&params, data)?,
        Algorithm::TripleDes => symmetric(&mut params, data, 7)?,
        Algorithm::Aes | Algorithm::Hmac => symmetric(&mut params, data, 8)?,
    };
    Ok(Material { bytes, params })
}

/// What a parameter says, where it says anything, is what the key is.
fn agree<T: PartialEq>(said: &mut Option<T>, is: T) -> Result<(), ErrorCode> {
    match said {
        Some(said) if *said != is => Err(ErrorCode::ImportParameterMismatch),
        _ => {
            *said = Some(is);
            Ok(())
        }
    }
}

fn malformed(_: crypto::Error) -> ErrorCode {
    ErrorCode::InvalidArgument
}

fn rsa(params: &mut Authorizations, data: &[u8]) -> Result<Zeroizing<Vec<u8>>, ErrorCode> {
    let key = crypto::rsa::PrivateKey::from_pkcs8(data, Floor::Legacy1024).map_err(malformed)?;
    let (_, exponent) = key.public().numbers();
    let exponent = exponent
        .iter()
        .try_fold(0_u64, |sum, byte| sum.checked_mul(256).map(|sum| sum | u64::from(*byte)));
    agree(&mut params.key_size, key.public().bits())?;
    agree(&mut params.rsa_public_exponent, exponent.ok_or(ErrorCode::InvalidArgument)?)?;
    Ok(Zeroizing::new(data.to_vec()))
}

fn ec(
    params: &mut Authorizations,
    format: KeyFormat,
    data: &[u8],
) -> Result<Zeroizing<Vec<u8>>, ErrorCode> {
    if let Ok(key) = crypto::ec::PrivateKey::from_pkcs8(data) {
        let curve = match key.public().curve() {
            crypto::ec::Curve::P224 => EcCurve::P224,
            crypto::ec::Curve::P256 => EcCurve::P256,
            crypto::ec::Curve::P384 => EcCurve::P384,
            crypto::ec::Curve::P521 => EcCurve::P521,
            crypto::ec::Curve::Secp256k1 => return Err(ErrorCode::UnsupportedEcCurve),
        };
        agree(&mut params.ec_curve, curve)?;
        return Ok(Zeroizing::new(data.to_vec()));
    }
    let bytes = curve_25519(params, format, data)?;
    agree(&mut params.ec_curve, EcCurve::Curve25519)?;
    Ok(bytes)
}

/// A key that agrees is X25519's, any other Ed25519's. PKCS#8 says itself which it is.
fn curve_25519(
    params: &Authorizations,
    format: KeyFormat,
    data: &[u8],
) -> Result<Zeroizing<Vec<u8>>, ErrorCode> {
    let agrees = params.purpose.contains(&KeyPurpose::AgreeKey);
    if format == KeyFormat::Raw {
        let seed: &[u8; 32] = data.try_into().map_err(|_| ErrorCode::InvalidArgument)?;
        return if agrees {
            X25519::from_seed(seed).and_then(|key| key.to_pkcs8())
        } else {
            Ed25519::from_seed(seed).and_then(|key| key.to_pkcs8())
        }
        .map_err(malformed);
    }
    let (signs, exchanges) = (Ed25519::from_pkcs8(data).is_ok(), X25519::from_pkcs8(data).is_ok());
    match (signs, exchanges) {
        (true, _) if agrees => Err(ErrorCode::IncompatiblePurpose),
        (_, true) if !agrees => Err(ErrorCode::IncompatiblePurpose),
        (false, false) => Err(ErrorCode::InvalidArgument),
        _ => Ok(Zeroizing::new(data.to_vec())),
    }
}

fn ml_dsa(params: &Authorizations, data: &[u8]) -> Result<Zeroizing<Vec<u8>>, ErrorCode> {
    let set = match params.ml_dsa_variant.ok_or(ErrorCode::InvalidArgument)? {
        MlDsaVariant::MlDsa65 => Parameters::MlDsa65,
        MlDsaVariant::MlDsa87 => Parameters::MlDsa87,
    };
    MlDsaKey::from_pkcs8(set, data).map_err(malformed)?;
    Ok(Zeroizing::new(data.to_vec()))
}

/// `bits` of each byte count: of 3DES the eighth is parity.
fn symmetric(
    params: &mut Authorizations,
    data: &[u8],
    bits: u32,
) -> Result<Zeroizing<Vec<u8>>, ErrorCode> {
    let bytes = u32::try_from(data.len()).map_err(|_| ErrorCode::UnsupportedKeySize)?;
    let size = bytes.checked_mul(bits).ok_or(ErrorCode::UnsupportedKeySize)?;
    agree(&mut params.key_size, size)?;
    Ok(Zeroizing::new(data.to_vec()))
}
