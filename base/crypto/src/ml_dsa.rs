//! ML-DSA signatures (FIPS 204), with an empty context: the ones that quantum computers do not
//! break.

use crate::Error;
use aws_lc_rs::signature::{
    self as lc, KeyPair, PqdsaKeyPair, PqdsaSigningAlgorithm, PqdsaVerificationAlgorithm,
    UnparsedPublicKey,
};
use zeroize::Zeroizing;

/// A parameter set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Parameters {
    /// ML-DSA-65, security category 3.
    MlDsa65,
    /// ML-DSA-87, security category 5.
    MlDsa87,
}

impl Parameters {
    /// Bytes of a public key.
    #[must_use]
    pub const fn public_key_bytes(self) -> usize {
        match self {
            Self::MlDsa65 => 1952,
            Self::MlDsa87 => 2592,
        }
    }

    /// Bytes of a signature.
    #[must_use]
    pub const fn signature_bytes(self) -> usize {
        match self {
            Self::MlDsa65 => 3309,
            Self::MlDsa87 => 4627,
        }
    }

    const fn signing(self) -> &'static PqdsaSigningAlgorithm {
        match self {
            Self::MlDsa65 => &lc::ML_DSA_65_SIGNING,
            Self::MlDsa87 => &lc::ML_DSA_87_SIGNING,
        }
    }

    const fn verification(self) -> &'static PqdsaVerificationAlgorithm {
        match self {
            Self::MlDsa65 => &lc::ML_DSA_65,
            Self::MlDsa87 => &lc::ML_DSA_87,
        }
    }
}

/// Verifies a signature over `message` with a raw public key (FIPS 204, algorithm 22).
pub fn verify(
    parameters: Parameters,
    public_key: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<(), Error> {
    if public_key.len() != parameters.public_key_bytes() {
        return Err(Error::MalformedKey);
    }
    UnparsedPublicKey::new(parameters.verification(), public_key)
        .verify(message, signature)
        .map_err(|_| Error::Authentication)
}

/// A private key. Its signatures are hedged: two over the same message differ.
pub struct MlDsaKey {
    pair: PqdsaKeyPair,
    parameters: Parameters,
    pkcs8: Zeroizing<Vec<u8>>,
}

impl MlDsaKey {
    /// A fresh key.
    pub fn generate(parameters: Parameters) -> Result<Self, Error> {
        let pair = PqdsaKeyPair::generate(parameters.signing()).map_err(|_| Error::Internal)?;
        Self::of(pair, parameters)
    }

    /// From PKCS#8 DER (RFC 9881), as a seed or expanded.
    pub fn from_pkcs8(parameters: Parameters, der: &[u8]) -> Result<Self, Error> {
        let pair = PqdsaKeyPair::from_pkcs8(parameters.signing(), der);
        Self::of(pair.map_err(|_| Error::MalformedKey)?, parameters)
    }

    fn of(pair: PqdsaKeyPair, parameters: Parameters) -> Result<Self, Error> {
        let pkcs8 = pair.to_pkcs8v1().map_err(|_| Error::Internal)?;
        Ok(Self { pair, parameters, pkcs8: Zeroizing::new(pkcs8.as_ref().to_vec()) })
    }

    /// Its parameter set.
    #[must_use]
    pub const fn parameters(&self) -> Parameters {
        self.parameters
    }

    /// The private key as PKCS#8 DER.
    #[must_use]
    pub fn to_pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// The raw public key.
    #[must_use]
    pub fn public_key(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// A signature over `message`.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let mut signature = vec![0; self.parameters.signature_bytes()];
        let size = self.pair.sign(message, &mut signature).map_err(|_| Error::Internal)?;
        signature.truncate(size);
        Ok(signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_verify_under_the_raw_public_key_only() {
        for parameters in [Parameters::MlDsa65, Parameters::MlDsa87] {
            let key = MlDsaKey::generate(parameters).unwrap();
            let key = MlDsaKey::from_pkcs8(parameters, key.to_pkcs8()).unwrap();
            let mut signature = key.sign(b"message").unwrap();
            assert_eq!(key.public_key().len(), parameters.public_key_bytes());
            assert_eq!(signature.len(), parameters.signature_bytes());
            let check = |m: &[u8], s: &[u8]| verify(parameters, key.public_key(), m, s);
            assert_eq!(check(b"message", &signature), Ok(()));
            assert_eq!(check(b"massage", &signature), Err(Error::Authentication));
            let short = &key.public_key()[1..];
            assert_eq!(verify(parameters, short, b"", &signature), Err(Error::MalformedKey));
            signature[100] ^= 1;
            assert_eq!(check(b"message", &signature), Err(Error::Authentication));
        }
    }
}
