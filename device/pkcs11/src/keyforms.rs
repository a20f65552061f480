//! How PKCS #11 writes keys: curves, points, numbers.

use crate::attributes::Attributes;
use crate::error::{Result, Rv, ensure, fail};
use crate::key::Algorithm;
use crate::mechanism::hmac_key;
use crypto::curve25519;
use crypto::ec::{self, Curve};
use crypto::hash::Hash;
use crypto::rsa::{self, Floor};
use cryptoki_sys::*;
use der::asn1::{ObjectIdentifier, OctetString, PrintableStringRef};
use der::{Decode, Encode};

/// Curves by their `CKA_EC_PARAMS`: an object identifier, DER.
const CURVES: &[(&str, Algorithm)] = &[
    ("1.3.132.0.33", Algorithm::Ec(Curve::P224)),
    ("1.2.840.10045.3.1.7", Algorithm::Ec(Curve::P256)),
    ("1.3.132.0.34", Algorithm::Ec(Curve::P384)),
    ("1.3.132.0.35", Algorithm::Ec(Curve::P521)),
    ("1.3.101.112", Algorithm::Ed25519),
    ("1.3.101.110", Algorithm::X25519),
];

/// What OpenSC 0.23 passes for `EC:curve25519`: a PrintableString whose length is one too many.
const OPENSC_CURVE_25519: &[u8] = b"\x13\x0bcurve25519";

/// The curve that `CKA_EC_PARAMS` names.
pub(crate) fn curve(params: &[u8]) -> Result<Algorithm> {
    let unknown = Rv(CKR_CURVE_NOT_SUPPORTED);
    if params == OPENSC_CURVE_25519 {
        return Ok(Algorithm::X25519);
    }
    if let Ok(name) = PrintableStringRef::from_der(params) {
        return match name.as_str() {
            "edwards25519" => Ok(Algorithm::Ed25519),
            "curve25519" => Ok(Algorithm::X25519),
            _ => Err(unknown),
        };
    }
    let oid: ObjectIdentifier = ObjectIdentifier::from_der(params).map_err(|_| unknown)?;
    let oid = oid.to_string();
    let known = CURVES.iter().find(|(name, _)| *name == oid);
    known.map(|(_, algorithm)| *algorithm).ok_or(unknown)
}

/// `CKA_EC_PARAMS` of a key on a curve.
pub(crate) fn params(algorithm: Algorithm) -> Option<Vec<u8>> {
    let (name, _) = CURVES.iter().find(|(_, known)| *known == algorithm)?;
    let oid: ObjectIdentifier = ObjectIdentifier::new(name).ok()?;
    oid.to_der().ok()
}

/// The type of keys of an algorithm.
pub(crate) const fn key_type(algorithm: Algorithm) -> CK_KEY_TYPE {
    match algorithm {
        Algorithm::Rsa(_) => CKK_RSA,
        Algorithm::Ec(_) => CKK_EC,
        Algorithm::Ed25519 => CKK_EC_EDWARDS,
        Algorithm::X25519 => CKK_EC_MONTGOMERY,
        Algorithm::Aes(_) => CKK_AES,
        Algorithm::TripleDes => CKK_DES3,
        Algorithm::Hmac(..) => CKK_GENERIC_SECRET,
    }
}

/// The algorithm of a secret key: its type, its length, and what it may be used with.
pub(crate) fn secret(attributes: &Attributes, bytes: usize) -> Result<Algorithm> {
    match attributes.key_type() {
        CKK_AES if matches!(bytes, 16 | 24 | 32) => Ok(Algorithm::Aes(bytes)),
        CKK_DES3 if bytes == 24 => Ok(Algorithm::TripleDes),
        CKK_AES | CKK_DES3 => fail(CKR_KEY_SIZE_RANGE),
        _ => Ok(Algorithm::Hmac(hmac_hash(attributes)?, bytes)),
    }
}

/// A key for HMAC has one hash function: that of its type, or of the first mechanism that it is
/// allowed, or SHA-256.
fn hmac_hash(attributes: &Attributes) -> Result<Hash> {
    let key_type = attributes.key_type();
    if key_type != CKK_GENERIC_SECRET {
        let named = Hash::ALL.into_iter().find(|hash| hmac_key(*hash) == key_type);
        return named.ok_or(Rv(CKR_ATTRIBUTE_VALUE_INVALID));
    }
    let allowed = attributes.numbers(CKA_ALLOWED_MECHANISMS).unwrap_or_default();
    let hash = |code: &CK_ULONG| match crate::mechanism::Entry::find(*code).map(|it| it.scheme) {
        Ok(crate::mechanism::Scheme::Hmac(hash)) => Some(hash),
        _ => None,
    };
    Ok(allowed.iter().find_map(hash).unwrap_or(Hash::Sha256))
}

/// The algorithm of a key by the attributes that it has for good.
pub(crate) fn algorithm(attributes: &Attributes) -> Result<Algorithm> {
    match attributes.key_type() {
        CKK_RSA => {
            let modulus = attributes.due(CKA_MODULUS)?;
            Ok(Algorithm::Rsa(u32::try_from(modulus.len() * 8).unwrap_or(u32::MAX)))
        }
        CKK_EC | CKK_EC_EDWARDS | CKK_EC_MONTGOMERY => curve(attributes.due(CKA_EC_PARAMS)?),
        _ => secret(attributes, attributes.due_number(CKA_VALUE_LEN)? as usize),
    }
}

/// A public key.
pub(crate) enum PublicKey {
    Rsa(rsa::PublicKey),
    Ec(ec::PublicKey),
    Ed25519([u8; 32]),
    X25519([u8; 32]),
}

impl PublicKey {
    /// From SubjectPublicKeyInfo DER.
    pub(crate) fn from_spki(spki: &[u8], algorithm: Algorithm) -> Result<Self> {
        Ok(match algorithm {
            Algorithm::Rsa(_) => Self::Rsa(rsa::PublicKey::from_spki(spki, Floor::Legacy1024)?),
            Algorithm::Ec(_) => Self::Ec(ec::PublicKey::from_spki(spki)?),
            Algorithm::Ed25519 => Self::Ed25519(curve25519::ed25519_from_spki(spki)?),
            Algorithm::X25519 => Self::X25519(curve25519::x25519_from_spki(spki)?),
            _ => return fail(CKR_KEY_TYPE_INCONSISTENT),
        })
    }

    /// From the attributes of a public key, or of a private one.
    pub(crate) fn from_attributes(attributes: &Attributes) -> Result<Self> {
        if attributes.key_type() == CKK_RSA {
            let (n, e) = (attributes.due(CKA_MODULUS)?, attributes.due(CKA_PUBLIC_EXPONENT)?);
            return Ok(Self::Rsa(rsa::PublicKey::from_numbers(n, e, Floor::Legacy1024)?));
        }
        let algorithm = curve(attributes.due(CKA_EC_PARAMS)?)?;
        ensure(key_type(algorithm) == attributes.key_type(), CKR_TEMPLATE_INCONSISTENT)?;
        Self::from_point(algorithm, attributes.due(CKA_EC_POINT)?)
    }

    /// From a point, bare or as an OCTET STRING of DER.
    pub(crate) fn from_point(algorithm: Algorithm, point: &[u8]) -> Result<Self> {
        let inside = OctetString::from_der(point).map(OctetString::into_bytes);
        let point = inside.as_deref().unwrap_or(point);
        let raw = || point.try_into().map_err(|_| Rv(CKR_ATTRIBUTE_VALUE_INVALID));
        Ok(match algorithm {
            Algorithm::Ec(curve) => Self::Ec(ec::PublicKey::from_point(curve, point)?),
            Algorithm::Ed25519 => Self::Ed25519(raw()?),
            Algorithm::X25519 => Self::X25519(raw()?),
            _ => return fail(CKR_KEY_TYPE_INCONSISTENT),
        })
    }

    /// Sets what a public key, and the private one beside it, says of itself.
    pub(crate) fn describe(&self, attributes: &mut Attributes) -> Result<()> {
        attributes.set(CKA_PUBLIC_KEY_INFO, self.to_spki()?);
        let (algorithm, point) = match self {
            Self::Rsa(key) => {
                let (n, e) = key.numbers();
                if attributes.class() == CKO_PUBLIC_KEY {
                    attributes.expect_number(CKA_MODULUS_BITS, key.bits().into())?;
                }
                attributes.set(CKA_MODULUS, n);
                attributes.set(CKA_PUBLIC_EXPONENT, e);
                return Ok(());
            }
            Self::Ec(key) => (Algorithm::Ec(key.curve()), key.to_point()?),
            Self::Ed25519(point) => (Algorithm::Ed25519, point.to_vec()),
            Self::X25519(point) => (Algorithm::X25519, point.to_vec()),
        };
        if let (None, Some(params)) = (attributes.get(CKA_EC_PARAMS), params(algorithm)) {
            attributes.set(CKA_EC_PARAMS, params);
        }
        let point = OctetString::new(point).and_then(|point| point.to_der());
        attributes.set(CKA_EC_POINT, point.map_err(|_| Rv(CKR_GENERAL_ERROR))?);
        Ok(())
    }

    /// As SubjectPublicKeyInfo DER.
    pub(crate) fn to_spki(&self) -> Result<Vec<u8>> {
        /// `AlgorithmIdentifier` and the head of the bit string (RFC 8410, section 4).
        const fn head(last: u8) -> [u8; 12] {
            [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, last, 0x03, 0x21, 0x00]
        }
        Ok(match self {
            Self::Rsa(key) => key.to_spki()?,
            Self::Ec(key) => key.to_spki()?,
            Self::Ed25519(point) => [&head(0x70), &point[..]].concat(),
            Self::X25519(point) => [&head(0x6e), &point[..]].concat(),
        })
    }
}
