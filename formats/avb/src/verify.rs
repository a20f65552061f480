//! Is a vbmeta image signed, and with which key (`avb_vbmeta_image_verify`)?

use crate::{Algorithm, DecodeError, HEADER_BYTES, Hash, Header, RsaPublicKeyBlob, key::EXPONENT};
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

/// Judges the vbmeta image at the start of `image`; bytes behind it do not matter.
///
/// An ML-DSA image is [`VbmetaVerdict::InvalidVbmetaHeader`], as it is to libavb 1.3.
#[must_use]
pub fn verify_vbmeta(image: &[u8]) -> VbmetaVerdict {
    match Header::decode(image) {
        Ok(header) => verify_signature(&header, image),
        Err(DecodeError::UnsupportedVersion { .. }) => VbmetaVerdict::UnsupportedVersion,
        Err(_) => VbmetaVerdict::InvalidVbmetaHeader,
    }
}

/// Judges the hash and the signature of `image`, whose header was decoded from it.
pub(crate) fn verify_signature(header: &Header, image: &[u8]) -> VbmetaVerdict {
    let Some((hash, bits)) = header.algorithm.rsa() else {
        return match header.algorithm {
            Algorithm::None => VbmetaVerdict::OkNotSigned,
            _ => VbmetaVerdict::InvalidVbmetaHeader,
        };
    };
    if header.hash.size != hash.digest_bytes() as u64 {
        return VbmetaVerdict::InvalidVbmetaHeader;
    }
    let Some(parts) = Parts::of(header, image) else {
        return VbmetaVerdict::InvalidVbmetaHeader;
    };
    if hash.digest(&[parts.header, parts.auxiliary]) != parts.hash {
        return VbmetaVerdict::HashMismatch;
    }
    if verifies(hash, bits, &parts) { VbmetaVerdict::Ok } else { VbmetaVerdict::SignatureMismatch }
}

fn verifies(hash: Hash, bits: usize, parts: &Parts<'_>) -> bool {
    let Ok(key) = RsaPublicKeyBlob::decode(parts.public_key) else { return false };
    let message = [parts.header, parts.auxiliary].concat();
    key.bits() == bits
        && crypto::sign::rsa_pkcs1_verify(
            hash.of_signature(),
            key.modulus(),
            &EXPONENT,
            &message,
            parts.signature,
        )
        .is_ok()
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
}
