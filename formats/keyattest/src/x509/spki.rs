//! Public keys, signature algorithms and serial numbers.

use crate::asn1::{self, Element, magnitude, null, oid, sequence, unsigned_octets};
use crate::{DecodeError, EncodeError};
use crypto::ml_dsa;
use crypto::sign::{Curve, Hash};
use der::Tag;
use der::asn1::ObjectIdentifier;
use std::fmt;

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P_256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P_384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");

const RSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const RSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12");
const RSA_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13");
const ECDSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");

/// Ed25519 (RFC 8410, 3).
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const ML_DSA_65: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.18");
const ML_DSA_87: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.19");

/// The shortest RSA modulus that counts, in bytes.
const RSA_MIN_BYTES: usize = 256;

/// A `SubjectPublicKeyInfo`, in DER. Two are equal when their bytes are.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Spki(Vec<u8>);

impl Spki {
    /// Takes DER over, after a look at its structure.
    pub fn from_der(der: &[u8]) -> Result<Self, DecodeError> {
        Self::parse(asn1::only(der, "subjectPublicKeyInfo")?)
    }

    pub(crate) fn parse(element: Element<'_>) -> Result<Self, DecodeError> {
        split(element)?;
        Ok(Self(element.raw.to_vec()))
    }

    /// The key of an ML-DSA signer, from the raw octets (RFC 9881, 4).
    #[must_use]
    pub fn ml_dsa(parameters: ml_dsa::Parameters, public_key: &[u8]) -> Self {
        let algorithm = match parameters {
            ml_dsa::Parameters::MlDsa65 => ML_DSA_65,
            ml_dsa::Parameters::MlDsa87 => ML_DSA_87,
        };
        Self(sequence(&[sequence(&[oid(algorithm)]), asn1::bit_string(public_key)]))
    }

    /// A P-256 key, from the uncompressed point.
    #[must_use]
    pub fn p_256(point: &[u8; 65]) -> Self {
        Self(sequence(&[sequence(&[oid(EC), oid(P_256)]), asn1::bit_string(point)]))
    }

    /// The uncompressed point, where this is a P-256 key.
    #[must_use]
    pub fn as_p_256(&self) -> Option<[u8; 65]> {
        let (algorithm, key) = asn1::only(&self.0, "subjectPublicKeyInfo").and_then(split).ok()?;
        match key_kind(algorithm)? {
            KeyKind::Ec(Curve::P256) => key.try_into().ok(),
            _ => None,
        }
    }

    /// The DER bytes.
    #[must_use]
    pub fn as_der(&self) -> &[u8] {
        &self.0
    }

    /// A key identifier: 160 bits of SHA-256 over the key (RFC 7093, 2, method 1).
    #[must_use]
    pub fn key_identifier(&self) -> [u8; 20] {
        let (_, key) = asn1::only(&self.0, "subjectPublicKeyInfo")
            .and_then(split)
            .expect("the structure was looked at on the way in");
        let digest = crypto::digest::sha256(key);
        std::array::from_fn(|index| digest[index])
    }

    /// Verifies `signature` over `message`. `None`: this key and this algorithm do not go
    /// together, or the key is too short or of a kind that is not accepted.
    pub(crate) fn verify(
        &self,
        algorithm: SignatureAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Option<Result<(), crypto::Error>> {
        let (algorithm_id, key) =
            asn1::only(&self.0, "subjectPublicKeyInfo").and_then(split).ok()?;
        match (key_kind(algorithm_id)?, algorithm.scheme()) {
            (KeyKind::Ec(curve), Scheme::Ecdsa(hash)) => {
                Some(crypto::sign::ecdsa_verify(curve, hash, &self.0, message, signature))
            }
            (KeyKind::Rsa, Scheme::Rsa(hash)) => {
                let (modulus, exponent) = rsa_numbers(key).ok()?;
                (modulus.len() >= RSA_MIN_BYTES).then(|| {
                    crypto::sign::rsa_pkcs1_verify(hash, modulus, exponent, message, signature)
                })
            }
            (KeyKind::Ed25519, Scheme::Ed25519) => {
                Some(crypto::curve25519::ed25519_verify(key, message, signature))
            }
            (KeyKind::MlDsa(of_key), Scheme::MlDsa(of_signature)) if of_key == of_signature => {
                Some(ml_dsa::verify(of_key, key, message, signature))
            }
            _ => None,
        }
    }
}

impl fmt::Debug for Spki {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex: String = self.key_identifier().iter().map(|b| format!("{b:02x}")).collect();
        write!(f, "Spki({hex})")
    }
}

enum KeyKind {
    Rsa,
    Ec(Curve),
    Ed25519,
    MlDsa(ml_dsa::Parameters),
}

/// How a signature is made, without the key.
enum Scheme {
    Rsa(Hash),
    Ecdsa(Hash),
    Ed25519,
    MlDsa(ml_dsa::Parameters),
}

/// The content of `AlgorithmIdentifier`, and the key's octets.
fn split(element: Element<'_>) -> Result<(&[u8], &[u8]), DecodeError> {
    let place = "subjectPublicKeyInfo";
    let mut parts = element.sequence(place)?;
    let algorithm = parts.next("algorithm")?.expect(Tag::Sequence, "algorithm")?;
    let key = parts.next("subjectPublicKey")?.bit_string("subjectPublicKey")?;
    parts.finish()?;
    Ok((algorithm, key))
}

fn key_kind(algorithm: &[u8]) -> Option<KeyKind> {
    let is = |parts: &[Vec<u8>]| algorithm == parts.concat();
    if is(&[oid(RSA), null()]) {
        Some(KeyKind::Rsa)
    } else if is(&[oid(EC), oid(P_256)]) {
        Some(KeyKind::Ec(Curve::P256))
    } else if is(&[oid(EC), oid(P_384)]) {
        Some(KeyKind::Ec(Curve::P384))
    } else if is(&[oid(ED25519)]) {
        Some(KeyKind::Ed25519)
    } else if is(&[oid(ML_DSA_65)]) {
        Some(KeyKind::MlDsa(ml_dsa::Parameters::MlDsa65))
    } else if is(&[oid(ML_DSA_87)]) {
        Some(KeyKind::MlDsa(ml_dsa::Parameters::MlDsa87))
    } else {
        None
    }
}

/// `RSAPublicKey` (RFC 8017, A.1.1): modulus and exponent, big-endian without leading zeros.
fn rsa_numbers(key: &[u8]) -> Result<(&[u8], &[u8]), DecodeError> {
    let mut numbers = asn1::only(key, "RSAPublicKey")?.sequence("RSAPublicKey")?;
    let modulus = numbers.next("modulus")?.expect(Tag::Integer, "modulus")?;
    let exponent = numbers.next("publicExponent")?.expect(Tag::Integer, "publicExponent")?;
    numbers.finish()?;
    Ok((magnitude(modulus, "modulus")?, magnitude(exponent, "publicExponent")?))
}

/// How a certificate is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureAlgorithm {
    /// ECDSA with SHA-256 (RFC 5758, 3.2), as P-256 keys sign: `Ecdsa-Sig-Value`.
    EcdsaSha256,
    /// ECDSA with SHA-384, as P-384 keys sign.
    EcdsaSha384,
    /// RSA PKCS#1 v1.5 (RFC 4055, 5) with SHA-256.
    RsaSha256,
    /// RSA PKCS#1 v1.5 with SHA-384.
    RsaSha384,
    /// RSA PKCS#1 v1.5 with SHA-512.
    RsaSha512,
    /// Ed25519 (RFC 8410).
    Ed25519,
    /// ML-DSA-65 (RFC 9881).
    MlDsa65,
    /// ML-DSA-87.
    MlDsa87,
}

impl SignatureAlgorithm {
    const ALL: [Self; 8] = [
        Self::EcdsaSha256,
        Self::EcdsaSha384,
        Self::RsaSha256,
        Self::RsaSha384,
        Self::RsaSha512,
        Self::Ed25519,
        Self::MlDsa65,
        Self::MlDsa87,
    ];

    /// From the DER of an `AlgorithmIdentifier`. RSA's parameters may be absent (RFC 4055, 5).
    pub(crate) fn from_identifier(der: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| {
            let absent = matches!(algorithm.scheme(), Scheme::Rsa(_))
                .then(|| sequence(&[oid(algorithm.oid())]));
            algorithm.identifier() == der || absent.as_deref() == Some(der)
        })
    }

    /// `AlgorithmIdentifier` in DER: RSA's parameters are NULL, the others have none.
    pub(crate) fn identifier(self) -> Vec<u8> {
        match self.scheme() {
            Scheme::Rsa(_) => sequence(&[oid(self.oid()), null()]),
            _ => sequence(&[oid(self.oid())]),
        }
    }

    const fn oid(self) -> ObjectIdentifier {
        match self {
            Self::EcdsaSha256 => ECDSA_SHA256,
            Self::EcdsaSha384 => ECDSA_SHA384,
            Self::RsaSha256 => RSA_SHA256,
            Self::RsaSha384 => RSA_SHA384,
            Self::RsaSha512 => RSA_SHA512,
            Self::Ed25519 => ED25519,
            Self::MlDsa65 => ML_DSA_65,
            Self::MlDsa87 => ML_DSA_87,
        }
    }

    const fn scheme(self) -> Scheme {
        match self {
            Self::EcdsaSha256 => Scheme::Ecdsa(Hash::Sha256),
            Self::EcdsaSha384 => Scheme::Ecdsa(Hash::Sha384),
            Self::RsaSha256 => Scheme::Rsa(Hash::Sha256),
            Self::RsaSha384 => Scheme::Rsa(Hash::Sha384),
            Self::RsaSha512 => Scheme::Rsa(Hash::Sha512),
            Self::Ed25519 => Scheme::Ed25519,
            Self::MlDsa65 => Scheme::MlDsa(ml_dsa::Parameters::MlDsa65),
            Self::MlDsa87 => Scheme::MlDsa(ml_dsa::Parameters::MlDsa87),
        }
    }
}

/// A certificate's serial number: positive, big-endian, without leading zeros.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SerialNumber(Vec<u8>);

impl SerialNumber {
    /// From big-endian bytes, of which at most 20 count (RFC 5280, 4.1.2.2). To stay within 20
    /// with a random number, take 16 bytes.
    pub fn from_bytes(big_endian: &[u8]) -> Result<Self, EncodeError> {
        let content = unsigned_octets(big_endian);
        if content.len() > 20 || content == [0] {
            return Err(EncodeError::SerialNumber);
        }
        Ok(Self(content.strip_prefix(&[0]).unwrap_or(&content).to_vec()))
    }

    /// From hexadecimal digits, as revocation lists write it.
    pub fn from_hex(digits: &str) -> Result<Self, EncodeError> {
        let nibble = |digit: char| digit.to_digit(16).ok_or(EncodeError::SerialNumber);
        let nibbles = digits.chars().map(nibble).collect::<Result<Vec<u32>, _>>()?;
        if nibbles.len() > 42 {
            return Err(EncodeError::SerialNumber);
        }
        let byte = |pair: &[u32]| pair.iter().fold(0, |byte, nibble| byte << 4 | nibble) as u8;
        // An odd digit stands alone in front.
        let (first, rest) = nibbles.split_at(nibbles.len() % 2);
        let bytes: Vec<u8> = first.chunks(1).chain(rest.chunks(2)).map(byte).collect();
        Self::from_bytes(&bytes)
    }

    /// 1: the serial number of every attested key's certificate.
    #[must_use]
    pub fn one() -> Self {
        Self(vec![1])
    }

    pub(crate) fn parse(element: Element<'_>) -> Result<Self, DecodeError> {
        let place = "serialNumber";
        let number = magnitude(element.expect(Tag::Integer, place)?, place)?;
        if number.len() > 20 {
            return Err(DecodeError::Range { place });
        }
        Ok(Self(number.to_vec()))
    }

    /// Big-endian, without leading zeros.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Lower-case hexadecimal digits, as revocation lists write it.
    #[must_use]
    pub fn to_hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        asn1::element(Tag::Integer, &unsigned_octets(&self.0))
    }
}
