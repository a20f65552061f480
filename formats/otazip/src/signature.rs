//! The whole-file signature, exactly as recovery verifies it.
//!
//! The zip file's comment ends with a PKCS#7 message and six bytes: u16 distance from the end of
//! the file to the message, `ff ff`, u16 size of the comment, little-endian. Signed is the whole
//! file without the comment and without the comment's length: so the last two bytes of the
//! end-of-directory record, and only they and the comment, are not covered.

use crate::cms::{self, CmsError, SignedData};
use crate::zip::{END_BYTES, ZipError};
use payload::ReadAt;
use payload::key::{Certificate, KeyError, SigningKey};

/// Bytes behind the message.
const FOOTER_BYTES: usize = 6;
const END_MAGIC: [u8; 4] = *b"PK\x05\x06";
/// In front of the message, for people who look.
const LABEL: &[u8] = b"signed by holdfast\0";

/// Why a whole-file signature is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// No footer: nobody signed the file.
    #[error("the file has no whole-file signature")]
    Unsigned,
    /// A footer whose numbers do not fit.
    #[error("the signature's footer does not fit the file")]
    Footer,
    /// The comment does not begin where the footer says, or hides a second end.
    #[error(transparent)]
    Zip(#[from] ZipError),
    /// A malformed message.
    #[error(transparent)]
    Cms(#[from] CmsError),
    /// A certificate with a key or a hash that recovery does not take.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The certificate is not the key's.
    #[error("the certificate is not that of the key")]
    OtherKey,
    /// What shall be signed has a comment already.
    #[error("the file is signed already, or has a comment")]
    Comment,
    /// A message that does not fit a comment.
    #[error("the signature does not fit a zip file's comment")]
    TooLong,
}

/// A signed file's footer and message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WholeFile {
    comment: u16,
    signed_bytes: u64,
    message: Vec<u8>,
    signature: Vec<u8>,
}

impl WholeFile {
    /// Reads the end of a file of `length` bytes.
    pub fn open(file: &dyn ReadAt, length: u64) -> Result<Self, SignatureError> {
        let comment = comment_size(file, length)?.ok_or(SignatureError::Unsigned)?;
        let size = END_BYTES + usize::from(comment);
        let at = length.checked_sub(size as u64).ok_or(SignatureError::Footer)?;
        let mut end = vec![0; size];
        file.read_at(at, &mut end).map_err(ZipError::Io)?;
        let footer = &end[size - FOOTER_BYTES..];
        let distance = usize::from(u16::from_le_bytes([footer[0], footer[1]]));
        if distance <= FOOTER_BYTES || distance > usize::from(comment) {
            return Err(SignatureError::Footer);
        }
        if end[..4] != END_MAGIC || end[20..22] != comment.to_le_bytes() {
            return Err(ZipError::NoEnd.into());
        }
        if end[4..].windows(4).any(|it| it == END_MAGIC) {
            return Err(ZipError::SecondEnd.into());
        }
        let message = end[size - distance..size - FOOTER_BYTES].to_vec();
        let signature = SignedData::decode(&message)?.signature;
        let signed_bytes = length - u64::from(comment) - 2;
        Ok(Self { comment, signed_bytes, message, signature })
    }

    /// Bytes of the comment.
    #[must_use]
    pub const fn comment(&self) -> u16 {
        self.comment
    }

    /// How many of the file's bytes, from its first on, are signed.
    #[must_use]
    pub const fn signed_bytes(&self) -> u64 {
        self.signed_bytes
    }

    /// The PKCS#7 message.
    #[must_use]
    pub fn message(&self) -> &[u8] {
        &self.message
    }

    /// Which of `certificates` signed, given the SHA-256 of the signed bytes; `None`: none of
    /// them. One that recovery would not take is an error, as it is there.
    pub fn signer(
        &self,
        digest: &[u8; 32],
        certificates: &[Certificate],
    ) -> Result<Option<usize>, KeyError> {
        certificates.iter().try_for_each(acceptable)?;
        let signed = |it: &Certificate| it.public_key.verifies(digest, &self.signature);
        Ok(certificates.iter().position(signed))
    }
}

/// What recovery accepts: SHA-256, RSA of 2048 or 4096 bits with exponent 3 or 65537, or ECDSA on
/// P-256.
pub fn acceptable(certificate: &Certificate) -> Result<(), KeyError> {
    certificate.require_sha256()?;
    certificate.public_key.require_recovery_kind()
}

/// Bytes of the comment of a signed file; `None` where the file does not end with a footer.
pub fn comment_size(file: &dyn ReadAt, length: u64) -> Result<Option<u16>, ZipError> {
    let Some(at) = length.checked_sub(FOOTER_BYTES as u64) else { return Ok(None) };
    let mut footer = [0; FOOTER_BYTES];
    file.read_at(at, &mut footer)?;
    let signed = footer[2..4] == [0xff; 2];
    Ok(signed.then(|| u16::from_le_bytes([footer[4], footer[5]])))
}

/// What to write in place of the last two bytes of a zip file without comment: the comment's
/// length and the comment. `digest` is the SHA-256 of all bytes but those two.
pub fn sign(
    key: &SigningKey,
    certificate: &Certificate,
    digest: &[u8; 32],
) -> Result<Vec<u8>, SignatureError> {
    acceptable(certificate)?;
    if key.public_key()? != certificate.public_key {
        return Err(SignatureError::OtherKey);
    }
    let message = cms::encode(certificate, key.kind()?, &key.sign(digest)?, None);
    // Were the magic in a signature by chance, once in 2^22 files, another timestamp would help.
    let comment = [LABEL, &message].concat();
    let size = u16::try_from(comment.len() + FOOTER_BYTES).map_err(|_| SignatureError::TooLong)?;
    let distance = u16::try_from(message.len() + FOOTER_BYTES).expect("shorter than the comment");
    let mut out = size.to_le_bytes().to_vec();
    out.extend(comment);
    out.extend(distance.to_le_bytes());
    out.extend([0xff; 2]);
    out.extend(size.to_le_bytes());
    if out.windows(4).any(|it| it == END_MAGIC) {
        return Err(ZipError::SecondEnd.into());
    }
    Ok(out)
}

/// Where a zip file that shall be signed ends: in front of its comment's length, which must be 0.
pub fn unsigned_end(file: &dyn ReadAt, length: u64) -> Result<u64, SignatureError> {
    let at = length.checked_sub(END_BYTES as u64).ok_or(ZipError::NoEnd)?;
    let mut end = [0; END_BYTES];
    file.read_at(at, &mut end).map_err(ZipError::Io)?;
    if end[..4] == END_MAGIC && end[20..] == [0; 2] {
        Ok(length - 2)
    } else {
        Err(SignatureError::Comment)
    }
}
