//! RSA PKCS#1 v1.5 (RFC 8017, 8.2) and ECDSA on P-256 and P-384 (FIPS 186-5).

use crate::Error;
use aws_lc_rs::digest::{Digest, SHA256};
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    self as lc, EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair, ParsedPublicKey, RsaKeyPair,
    RsaPublicKeyComponents,
};
use zeroize::Zeroizing;

/// A hash function inside a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hash {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// Verifies an RSA PKCS#1 v1.5 signature with the key given as big-endian modulus and exponent.
/// Keys of 2048 to 8192 bits.
pub fn rsa_pkcs1_verify(
    hash: Hash,
    modulus: &[u8],
    exponent: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<(), Error> {
    let algorithm = match hash {
        Hash::Sha256 => &lc::RSA_PKCS1_2048_8192_SHA256,
        Hash::Sha384 => &lc::RSA_PKCS1_2048_8192_SHA384,
        Hash::Sha512 => &lc::RSA_PKCS1_2048_8192_SHA512,
    };
    RsaPublicKeyComponents { n: modulus, e: exponent }
        .verify(algorithm, message, signature)
        .map_err(|_| Error::Authentication)
}

/// Verifies an ECDSA signature (ASN.1 DER `Ecdsa-Sig-Value`) over `message` with the public key
/// given as SubjectPublicKeyInfo DER or as an uncompressed point.
pub fn ecdsa_verify(
    curve: Curve,
    hash: Hash,
    public_key: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<(), Error> {
    ParsedPublicKey::new(algorithm_for(curve, hash)?, public_key)
        .map_err(|_| Error::MalformedKey)?
        .verify_sig(message, signature)
        .map_err(|_| Error::Authentication)
}

/// A public key that verifies signatures over a SHA-256 digest which was computed elsewhere: of a
/// file that is too large to be one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DigestVerifier {
    /// RSA PKCS#1 v1.5, keys of 2048 to 8192 bits.
    RsaPkcs1,
    /// ECDSA (ASN.1 DER).
    Ecdsa(Curve),
}

impl DigestVerifier {
    /// Verifies `signature` over the message whose SHA-256 is `digest` with the key given as
    /// SubjectPublicKeyInfo DER.
    pub fn verify(
        self,
        public_key: &[u8],
        digest: &[u8; 32],
        signature: &[u8],
    ) -> Result<(), Error> {
        let key = match self {
            Self::RsaPkcs1 => ParsedPublicKey::new(&lc::RSA_PKCS1_2048_8192_SHA256, public_key),
            Self::Ecdsa(curve) => {
                ParsedPublicKey::new(algorithm_for(curve, Hash::Sha256)?, public_key)
            }
        };
        key.map_err(|_| Error::MalformedKey)?
            .verify_digest_sig(&sha256_digest(digest)?, signature)
            .map_err(|_| Error::Authentication)
    }
}

fn sha256_digest(digest: &[u8; 32]) -> Result<Digest, Error> {
    Digest::import_less_safe(digest, &SHA256).map_err(|_| Error::Internal)
}

fn algorithm_for(
    curve: Curve,
    hash: Hash,
) -> Result<&'static lc::EcdsaVerificationAlgorithm, Error> {
    Ok(match (curve, hash) {
        (Curve::P256, Hash::Sha256) => &lc::ECDSA_P256_SHA256_ASN1,
        (Curve::P256, Hash::Sha384) => &lc::ECDSA_P256_SHA384_ASN1,
        (Curve::P384, Hash::Sha256) => &lc::ECDSA_P384_SHA256_ASN1,
        (Curve::P384, Hash::Sha384) => &lc::ECDSA_P384_SHA384_ASN1,
        _ => return Err(Error::MalformedKey),
    })
}

/// An elliptic curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Curve {
    /// NIST P-256.
    P256,
    /// NIST P-384.
    P384,
}

impl Curve {
    const fn algorithm(self) -> &'static EcdsaSigningAlgorithm {
        match self {
            Self::P256 => &lc::ECDSA_P256_SHA256_ASN1_SIGNING,
            Self::P384 => &lc::ECDSA_P384_SHA384_ASN1_SIGNING,
        }
    }

    const fn algorithm_fixed(self) -> &'static EcdsaSigningAlgorithm {
        match self {
            Self::P256 => &lc::ECDSA_P256_SHA256_FIXED_SIGNING,
            Self::P384 => &lc::ECDSA_P384_SHA384_FIXED_SIGNING,
        }
    }
}

/// An ECDSA private key: P-256 signs with SHA-256, P-384 with SHA-384.
pub struct EcdsaKey {
    pair: EcdsaKeyPair,
    curve: Curve,
    pkcs8: Zeroizing<Vec<u8>>,
}

impl EcdsaKey {
    /// A fresh key.
    pub fn generate(curve: Curve) -> Result<Self, Error> {
        let document = EcdsaKeyPair::generate_pkcs8(curve.algorithm(), &SystemRandom::new())
            .map_err(|_| Error::Internal)?;
        Self::from_pkcs8(curve, document.as_ref())
    }

    /// From PKCS#8 DER (RFC 5958).
    pub fn from_pkcs8(curve: Curve, der: &[u8]) -> Result<Self, Error> {
        let pair =
            EcdsaKeyPair::from_pkcs8(curve.algorithm(), der).map_err(|_| Error::MalformedKey)?;
        Ok(Self { pair, curve, pkcs8: Zeroizing::new(der.to_vec()) })
    }

    /// The private key as PKCS#8 DER.
    #[must_use]
    pub fn to_pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// The public key as SubjectPublicKeyInfo DER (RFC 5480).
    pub fn public_key_spki(&self) -> Result<Vec<u8>, Error> {
        let der: PublicKeyX509Der<'_> =
            self.pair.public_key().as_der().map_err(|_| Error::Internal)?;
        Ok(der.as_ref().to_vec())
    }

    /// The public key as an uncompressed point (`04 || x || y`).
    #[must_use]
    pub fn public_key_point(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// An ASN.1 DER signature over `message`.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        self.pair
            .sign(&SystemRandom::new(), message)
            .map(|signature| signature.as_ref().to_vec())
            .map_err(|_| Error::Internal)
    }

    /// An ASN.1 DER signature over the message whose SHA-256 is `digest`; P-256 only.
    pub fn sign_sha256_digest(&self, digest: &[u8; 32]) -> Result<Vec<u8>, Error> {
        self.pair
            .sign_digest(&sha256_digest(digest)?)
            .map(|signature| signature.as_ref().to_vec())
            .map_err(|_| Error::Internal)
    }

    /// A signature as `r || s`, the form of JWS (RFC 7518, 3.4).
    pub fn sign_fixed(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        EcdsaKeyPair::from_pkcs8(self.curve.algorithm_fixed(), &self.pkcs8)
            .map_err(|_| Error::MalformedKey)?
            .sign(&SystemRandom::new(), message)
            .map(|signature| signature.as_ref().to_vec())
            .map_err(|_| Error::Internal)
    }
}

/// Verifies an ES256 signature (`r || s`, RFC 7518 3.4) with a P-256 public key given as
/// SubjectPublicKeyInfo DER or as an uncompressed point.
pub fn es256_verify(public_key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), Error> {
    ParsedPublicKey::new(&lc::ECDSA_P256_SHA256_FIXED, public_key)
        .map_err(|_| Error::MalformedKey)?
        .verify_sig(message, signature)
        .map_err(|_| Error::Authentication)
}

/// An RSA private key.
pub struct RsaKey {
    pair: RsaKeyPair,
    pkcs8: Zeroizing<Vec<u8>>,
}

impl RsaKey {
    /// A fresh key of 2048, 3072, 4096 or 8192 bits. 4096 bits take about a second.
    pub fn generate(bits: usize) -> Result<Self, Error> {
        let size = match bits {
            2048 => KeySize::Rsa2048,
            3072 => KeySize::Rsa3072,
            4096 => KeySize::Rsa4096,
            8192 => KeySize::Rsa8192,
            _ => return Err(Error::MalformedKey),
        };
        let pair = RsaKeyPair::generate(size).map_err(|_| Error::Internal)?;
        let pkcs8: aws_lc_rs::encoding::Pkcs8V1Der<'_> =
            pair.as_der().map_err(|_| Error::Internal)?;
        Self::from_pkcs8(pkcs8.as_ref())
    }

    /// From PKCS#8 DER (RFC 5958).
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, Error> {
        let pair = RsaKeyPair::from_pkcs8(der).map_err(|_| Error::MalformedKey)?;
        Ok(Self { pair, pkcs8: Zeroizing::new(der.to_vec()) })
    }

    /// The private key as PKCS#8 DER.
    #[must_use]
    pub fn to_pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// The modulus, big-endian, without leading zeros.
    #[must_use]
    pub fn modulus(&self) -> Vec<u8> {
        self.pair.public_key().modulus().big_endian_without_leading_zero().to_vec()
    }

    /// The public key as SubjectPublicKeyInfo DER (RFC 4055, 1.2).
    pub fn public_key_spki(&self) -> Result<Vec<u8>, Error> {
        let der: PublicKeyX509Der<'_> =
            self.pair.public_key().as_der().map_err(|_| Error::Internal)?;
        Ok(der.as_ref().to_vec())
    }

    /// A PKCS#1 v1.5 signature over the message whose SHA-256 is `digest`.
    pub fn sign_sha256_digest(&self, digest: &[u8; 32]) -> Result<Vec<u8>, Error> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign_digest(&lc::RSA_PKCS1_SHA256, &sha256_digest(digest)?, &mut signature)
            .map_err(|_| Error::Internal)?;
        Ok(signature)
    }

    /// A PKCS#1 v1.5 signature over `message`.
    pub fn sign_pkcs1(&self, hash: Hash, message: &[u8]) -> Result<Vec<u8>, Error> {
        let encoding: &dyn lc::RsaEncoding = match hash {
            Hash::Sha256 => &lc::RSA_PKCS1_SHA256,
            Hash::Sha384 => &lc::RSA_PKCS1_SHA384,
            Hash::Sha512 => &lc::RSA_PKCS1_SHA512,
        };
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(encoding, &SystemRandom::new(), message, &mut signature)
            .map_err(|_| Error::Internal)?;
        Ok(signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ecdsa_signatures_verify_in_both_forms() {
        let key = EcdsaKey::generate(Curve::P256).unwrap();
        let again = EcdsaKey::from_pkcs8(Curve::P256, key.to_pkcs8()).unwrap();
        let spki = key.public_key_spki().unwrap();
        let signature = again.sign(b"message").unwrap();
        for public_key in [&spki[..], key.public_key_point()] {
            let verify =
                |m: &[u8]| ecdsa_verify(Curve::P256, Hash::Sha256, public_key, m, &signature);
            assert_eq!(verify(b"message"), Ok(()));
            assert_eq!(verify(b"massage"), Err(Error::Authentication));
            let fixed = key.sign_fixed(b"message").unwrap();
            assert_eq!(es256_verify(public_key, b"message", &fixed), Ok(()));
            assert!(es256_verify(public_key, b"massage", &fixed).is_err());
        }
    }

    #[test]
    fn a_digest_signs_as_its_message_does() {
        let digest = crate::digest::sha256(b"message");
        let rsa = RsaKey::generate(2048).unwrap();
        let spki = rsa.public_key_spki().unwrap();
        let signature = rsa.sign_sha256_digest(&digest).unwrap();
        assert_eq!(signature, rsa.sign_pkcs1(Hash::Sha256, b"message").unwrap());
        let verify = |digest| DigestVerifier::RsaPkcs1.verify(&spki, digest, &signature);
        assert_eq!(verify(&digest), Ok(()));
        assert_eq!(verify(&[7; 32]), Err(Error::Authentication));

        let ec = EcdsaKey::generate(Curve::P256).unwrap();
        let spki = ec.public_key_spki().unwrap();
        let signature = ec.sign_sha256_digest(&digest).unwrap();
        let verify = |digest| DigestVerifier::Ecdsa(Curve::P256).verify(&spki, digest, &signature);
        assert_eq!(verify(&digest), Ok(()));
        assert_eq!(verify(&[7; 32]), Err(Error::Authentication));
    }

    #[test]
    fn rsa_signatures_verify_with_modulus_and_exponent() {
        let key = RsaKey::generate(2048).unwrap();
        let signature = key.sign_pkcs1(Hash::Sha256, b"message").unwrap();
        let verify =
            |m: &[u8]| rsa_pkcs1_verify(Hash::Sha256, &key.modulus(), &[1, 0, 1], m, &signature);
        assert_eq!(verify(b"message"), Ok(()));
        assert_eq!(verify(b"massage"), Err(Error::Authentication));
    }
}
