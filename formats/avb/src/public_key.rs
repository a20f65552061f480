//! Public keys of any algorithm, in the form that vbmeta images hold them.

use crate::{Algorithm, DecodeError, RsaPublicKeyBlob, decode::Reader};
use crypto::ml_dsa::Parameters;

/// An ML-DSA public key (`AvbMLDSAPublicKeyHeader`, libavb 1.4): u32 bytes of the key, then the
/// raw key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MlDsaPublicKeyBlob {
    parameters: Parameters,
    bytes: Vec<u8>,
}

const WHAT: &str = "ML-DSA public key blob";
/// Bytes before the raw key.
const PREFIX_BYTES: usize = 4;

impl MlDsaPublicKeyBlob {
    /// From the raw public key of 1952 (ML-DSA-65) or 2592 (ML-DSA-87) bytes.
    pub fn from_raw(raw: &[u8]) -> Result<Self, DecodeError> {
        let all = [Parameters::MlDsa65, Parameters::MlDsa87];
        let parameters = all.into_iter().find(|p| p.public_key_bytes() == raw.len());
        let parameters =
            parameters.ok_or(DecodeError::field(WHAT, "key", "is not of 1952 or 2592 bytes"))?;
        let size = u32::try_from(raw.len()).expect("2592 bytes at most");
        Ok(Self { parameters, bytes: [&size.to_be_bytes()[..], raw].concat() })
    }

    /// Reads a blob that ends where `bytes` end.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(WHAT, bytes);
        let size = r.u32()?;
        let raw = r.take(size.into())?;
        match bytes.len() - PREFIX_BYTES - raw.len() {
            0 => Self::from_raw(raw),
            extra => Err(DecodeError::TrailingBytes { what: WHAT, extra }),
        }
    }

    /// The blob.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The raw public key (FIPS 204, algorithm 22).
    #[must_use]
    pub fn raw(&self) -> &[u8] {
        &self.bytes[PREFIX_BYTES..]
    }

    /// The parameter set.
    #[must_use]
    pub const fn parameters(&self) -> Parameters {
        self.parameters
    }

    /// SHA-256 of the blob.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        crypto::digest::sha256(&self.bytes)
    }
}

/// A public key of any algorithm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicKeyBlob {
    /// RSA of 2048, 4096 or 8192 bits.
    Rsa(RsaPublicKeyBlob),
    /// ML-DSA-65 or ML-DSA-87.
    MlDsa(MlDsaPublicKeyBlob),
}

impl PublicKeyBlob {
    /// Reads a blob; its size says which kind it is.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let sizes = [Parameters::MlDsa65, Parameters::MlDsa87]
            .map(|parameters| PREFIX_BYTES + parameters.public_key_bytes());
        if sizes.contains(&bytes.len()) {
            MlDsaPublicKeyBlob::decode(bytes).map(Self::MlDsa)
        } else {
            RsaPublicKeyBlob::decode(bytes).map(Self::Rsa)
        }
    }

    /// The blob.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Rsa(key) => key.as_bytes(),
            Self::MlDsa(key) => key.as_bytes(),
        }
    }

    /// SHA-256 of the blob: what fuses hold, and what `avbtool extract_public_key_digest` says.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        crypto::digest::sha256(self.as_bytes())
    }
}

/// A public key that an image can be signed for.
pub trait PublicKey {
    /// The blob.
    fn as_bytes(&self) -> &[u8];

    /// Bits of the modulus, or of the raw key.
    fn bits(&self) -> usize;

    /// Whether it is of the kind and size that `algorithm` takes.
    fn fits(&self, algorithm: Algorithm) -> bool;
}

impl PublicKey for RsaPublicKeyBlob {
    fn as_bytes(&self) -> &[u8] {
        self.as_bytes()
    }

    fn bits(&self) -> usize {
        self.bits()
    }

    fn fits(&self, algorithm: Algorithm) -> bool {
        algorithm.rsa().is_some_and(|(_, bits)| bits == self.bits())
    }
}

impl PublicKey for MlDsaPublicKeyBlob {
    fn as_bytes(&self) -> &[u8] {
        self.as_bytes()
    }

    fn bits(&self) -> usize {
        self.raw().len() * 8
    }

    fn fits(&self, algorithm: Algorithm) -> bool {
        algorithm.ml_dsa() == Some(self.parameters())
    }
}

impl PublicKey for PublicKeyBlob {
    fn as_bytes(&self) -> &[u8] {
        self.as_bytes()
    }

    fn bits(&self) -> usize {
        match self {
            Self::Rsa(key) => key.bits(),
            Self::MlDsa(key) => key.bits(),
        }
    }

    fn fits(&self, algorithm: Algorithm) -> bool {
        match self {
            Self::Rsa(key) => key.fits(algorithm),
            Self::MlDsa(key) => key.fits(algorithm),
        }
    }
}
