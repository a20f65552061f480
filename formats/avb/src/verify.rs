//! Is a vbmeta image signed, and with which key (`avb_vbmeta_image_verify`)?

use crate::{
    Algorithm, DecodeError, HEADER_BYTES, Hash, Header, MlDsaPublicKeyBlob, RsaPublicKeyBlob,
    SUPPORTED_VERSION, Version, key::EXPONENT,
};
use crypto::ml_dsa::Parameters;
use std::fmt;

/// What `avb_vbmeta_image_verify` says (`AvbVBMetaVerifyResult`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VbmetaVerdict {
    /// The signature is that of the key in the image. Whether that key is trusted is another
    /// question.
    Ok,
    /// Well-formed, but not signed.
    OkNotSigned,
    /// The header is malformed.
    InvalidVbmetaHeader,
    /// Made for another version of libavb.
    UnsupportedVersion,
    /// The hash in the image is not that of the image.
    HashMismatch,
    /// The signature is not that of the key in the image.
    SignatureMismatch,
}

impl VbmetaVerdict {
    /// libavb's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::OkNotSigned => "OK_NOT_SIGNED",
            Self::InvalidVbmetaHeader => "INVALID_VBMETA_HEADER",
            Self::UnsupportedVersion => "UNSUPPORTED_VERSION",
            Self::HashMismatch => "HASH_MISMATCH",
            Self::SignatureMismatch => "SIGNATURE_MISMATCH",
        }
    }
}

impl fmt::Display for VbmetaVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Judges the vbmeta image at the start of `image` as the newest libavb does; bytes behind it do
/// not matter.
#[must_use]
pub fn verify_vbmeta(image: &[u8]) -> VbmetaVerdict {
    verify_vbmeta_as(SUPPORTED_VERSION, image)
}

/// Judges the vbmeta image at the start of `image` as this version of libavb does.
///
/// Before 1.4 an ML-DSA image is [`VbmetaVerdict::InvalidVbmetaHeader`], or
/// [`VbmetaVerdict::UnsupportedVersion`] where it says that it needs 1.4.
#[must_use]
pub fn verify_vbmeta_as(libavb: Version, image: &[u8]) -> VbmetaVerdict {
    match Header::decode(image) {
        Ok(header) if header.required_version.minor > libavb.minor => {
            VbmetaVerdict::UnsupportedVersion
        }
        Ok(header) if header.algorithm.needs_libavb() > libavb => {
            VbmetaVerdict::InvalidVbmetaHeader
        }
        Ok(header) => verify_signature(&header, image),
        Err(DecodeError::UnsupportedVersion { .. }) => VbmetaVerdict::UnsupportedVersion,
        Err(_) => VbmetaVerdict::InvalidVbmetaHeader,
    }
}

/// Judges the hash and the signature of `image`, whose header was decoded from it.
fn verify_signature(header: &Header, image: &[u8]) -> VbmetaVerdict {
    let algorithm = header.algorithm;
    if algorithm == Algorithm::None {
        return VbmetaVerdict::OkNotSigned;
    }
    if header.hash.size != algorithm.hash_bytes() as u64 {
        return VbmetaVerdict::InvalidVbmetaHeader;
    }
    let Some(parts) = Parts::of(header, image) else {
        return VbmetaVerdict::InvalidVbmetaHeader;
    };
    let verifies = match (algorithm.rsa(), algorithm.ml_dsa()) {
        (Some((hash, _)), _) if hash.digest(&[parts.header, parts.auxiliary]) != parts.hash => {
            return VbmetaVerdict::HashMismatch;
        }
        (Some((hash, bits)), _) => verifies_rsa(hash, bits, &parts),
        (None, Some(parameters)) => verifies_ml_dsa(parameters, &parts),
        (None, None) => false,
    };
    if verifies { VbmetaVerdict::Ok } else { VbmetaVerdict::SignatureMismatch }
}

fn verifies_rsa(hash: Hash, bits: usize, parts: &Parts<'_>) -> bool {
    let Ok(key) = RsaPublicKeyBlob::decode(parts.public_key) else { return false };
    key.bits() == bits
        && crypto::sign::rsa_pkcs1_verify(
            hash.of_signature(),
            key.modulus(),
            &EXPONENT,
            &parts.message(),
            parts.signature,
        )
        .is_ok()
}

fn verifies_ml_dsa(parameters: Parameters, parts: &Parts<'_>) -> bool {
    let Ok(key) = MlDsaPublicKeyBlob::decode(parts.public_key) else { return false };
    key.parameters() == parameters
        && crypto::ml_dsa::verify(parameters, key.raw(), &parts.message(), parts.signature).is_ok()
}

struct Parts<'a> {
    header: &'a [u8],
    auxiliary: &'a [u8],
    hash: &'a [u8],
    signature: &'a [u8],
    public_key: &'a [u8],
}

impl<'a> Parts<'a> {
    fn of(header: &Header, image: &'a [u8]) -> Option<Self> {
        let (head, rest) = image.split_at_checked(HEADER_BYTES)?;
        let (authentication, rest) =
            rest.split_at_checked(usize::try_from(header.authentication_size).ok()?)?;
        let auxiliary = rest.get(..usize::try_from(header.auxiliary_size).ok()?)?;
        Some(Self {
            header: head,
            auxiliary,
            hash: header.hash.of(authentication)?,
            signature: header.signature.of(authentication)?,
            public_key: header.public_key.of(auxiliary)?,
        })
    }

    /// What is signed.
    fn message(&self) -> Vec<u8> {
        [self.header, self.auxiliary].concat()
    }
}
