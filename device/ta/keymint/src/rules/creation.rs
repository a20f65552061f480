//! The parameters of a new key.

use super::{curve_bits, digest_bits, of};
use keymint::{
    Algorithm, Authorizations, BlockMode, Digest, EcCurve, ErrorCode, KeyPurpose, SetBy, Tag,
};

/// The exponent of all RSA keys.
pub(crate) const RSA_EXPONENT: u64 = 65_537;
/// The shortest MAC or tag that a key of each algorithm may allow, in bits.
const MIN_HMAC_BITS: u32 = 64;
const GCM_TAG_BITS: std::ops::RangeInclusive<u32> = 96..=128;
/// Bits of an HMAC key.
const HMAC_KEY_BITS: std::ops::RangeInclusive<u32> = 64..=1024;

/// Tags that this TEE has no way to enforce, and how they are refused.
const NOT_ENFORCED: [(Tag, ErrorCode); 3] = [
    (Tag::TrustedUserPresenceRequired, ErrorCode::UnsupportedTag),
    (Tag::DeviceUniqueAttestation, ErrorCode::UnsupportedTag),
    (Tag::StorageKey, ErrorCode::StorageKeyUnsupported),
];

/// Checks what a new key is to obey, and fills in what follows from the rest: of an EC key the
/// size, of others nothing.
pub(crate) fn check(params: &Authorizations) -> Result<Authorizations, ErrorCode> {
    check_tags(params)?;
    let mut key = params.clone();
    check_algorithm(&mut key)?;
    check_purposes(&key)?;
    check_authentication(&key)?;
    Ok(key)
}

fn check_tags(params: &Authorizations) -> Result<(), ErrorCode> {
    for (tag, code) in NOT_ENFORCED {
        if params.has(tag) {
            return Err(code);
        }
    }
    let foreign = |tag: Tag| matches!(tag.set_by(), SetBy::Use | SetBy::KeyMint);
    if params.tags().any(foreign) { Err(ErrorCode::InvalidTag) } else { Ok(()) }
}

fn check_algorithm(key: &mut Authorizations) -> Result<(), ErrorCode> {
    match key.algorithm.ok_or(ErrorCode::UnsupportedAlgorithm)? {
        Algorithm::Rsa => {
            check_size(key, &[2048, 3072, 4096])?;
            match key.rsa_public_exponent {
                Some(RSA_EXPONENT) => Ok(()),
                _ => Err(ErrorCode::InvalidArgument),
            }
        }
        Algorithm::Ec => check_curve(key),
        Algorithm::MlDsa => {
            let variant = key.ml_dsa_variant.ok_or(ErrorCode::InvalidArgument)?;
            // Of ML-DSA a size says nothing, so it says the variant's name.
            key.key_size = Some(if variant.number() == 0 { 65 } else { 87 });
            Ok(())
        }
        Algorithm::Aes => {
            check_size(key, &[128, 192, 256])?;
            if key.block_mode.contains(&BlockMode::Gcm) {
                check_min_mac(key, GCM_TAG_BITS)?;
            }
            Ok(())
        }
        Algorithm::TripleDes => check_size(key, &[168]),
        Algorithm::Hmac => check_hmac(key),
    }
}

fn check_size(key: &Authorizations, sizes: &[u32]) -> Result<(), ErrorCode> {
    match key.key_size {
        Some(size) if sizes.contains(&size) => Ok(()),
        _ => Err(ErrorCode::UnsupportedKeySize),
    }
}

/// A curve, or the size of one; both must say the same.
fn check_curve(key: &mut Authorizations) -> Result<(), ErrorCode> {
    const BY_SIZE: [EcCurve; 4] = [EcCurve::P224, EcCurve::P256, EcCurve::P384, EcCurve::P521];
    let by_size = |bits: u32| BY_SIZE.into_iter().find(|curve| curve_bits(*curve) == bits);
    let curve = match (key.ec_curve, key.key_size) {
        (Some(curve), None) => curve,
        (Some(curve), Some(bits)) if bits == curve_bits(curve) => curve,
        (Some(_), Some(_)) => return Err(ErrorCode::InvalidArgument),
        (None, bits) => bits.and_then(by_size).ok_or(ErrorCode::UnsupportedKeySize)?,
    };
    key.ec_curve = Some(curve);
    key.key_size = Some(curve_bits(curve));
    Ok(())
}

fn check_hmac(key: &Authorizations) -> Result<(), ErrorCode> {
    match key.key_size {
        Some(bits) if HMAC_KEY_BITS.contains(&bits) && bits % 8 == 0 => {}
        _ => return Err(ErrorCode::UnsupportedKeySize),
    }
    match key.digest.first() {
        Some(digest) if key.digest.len() == 1 && *digest != Digest::None => {
            check_min_mac(key, MIN_HMAC_BITS..=digest_bits(*digest))
        }
        _ => Err(ErrorCode::UnsupportedDigest),
    }
}

fn check_min_mac(
    key: &Authorizations,
    bits: std::ops::RangeInclusive<u32>,
) -> Result<(), ErrorCode> {
    let least = key.min_mac_length.ok_or(ErrorCode::MissingMinMacLength)?;
    if bits.contains(&least) && least.is_multiple_of(8) {
        return Ok(());
    }
    Err(ErrorCode::UnsupportedMinMacLength)
}

/// An attest key does nothing else; a key on Curve25519 either signs (Ed25519) or agrees (X25519).
fn check_purposes(key: &Authorizations) -> Result<(), ErrorCode> {
    let rules = of(key.algorithm.ok_or(ErrorCode::UnsupportedAlgorithm)?);
    if key.purpose.iter().any(|purpose| !rules.declarable.contains(purpose)) {
        return Err(ErrorCode::UnsupportedPurpose);
    }
    if key.purpose.contains(&KeyPurpose::AttestKey) && key.purpose.len() > 1 {
        return Err(ErrorCode::IncompatiblePurpose);
    }
    let agrees = key.purpose.contains(&KeyPurpose::AgreeKey);
    if key.ec_curve == Some(EcCurve::Curve25519) && agrees && key.purpose.len() > 1 {
        return Err(ErrorCode::IncompatiblePurpose);
    }
    Ok(())
}

/// Somebody must authenticate, or nobody; who must, must know how.
fn check_authentication(key: &Authorizations) -> Result<(), ErrorCode> {
    let by_user = !key.user_secure_id.is_empty();
    if by_user && key.no_auth_required {
        return Err(ErrorCode::InvalidTag);
    }
    if by_user && key.user_auth_type.is_none_or(|ways| ways.0 == 0) {
        return Err(ErrorCode::InvalidArgument);
    }
    if key.auth_timeout == Some(0) {
        return Err(ErrorCode::InvalidAuthorizationTimeout);
    }
    Ok(())
}
