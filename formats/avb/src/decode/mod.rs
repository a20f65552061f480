//! Bytes to values. Nothing here panics or reads past the end, whatever the bytes are.
//!
//! Two degrees of strictness live side by side. The *lenient* reading is libavb's: it tolerates
//! non-zero reserved bytes and padding of any length inside a descriptor, and slot verification
//! needs it to decide as libavb does. The *strict* reading adds one rule: the value encodes to
//! exactly the bytes that it came from.

mod descriptor;
mod image;
mod inspect;

pub(crate) use descriptor::{HashtreeFields, RawDescriptor};
pub use image::VbmetaImage;

use crate::{
    Algorithm, DecodeError, Extent, FOOTER_BYTES, Footer, HEADER_BYTES, Header, Release,
    SUPPORTED_VERSION, VbmetaFlags, Version,
};

/// Reads big-endian fields from the front of a byte string.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    what: &'static str,
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self { what, bytes }
    }

    pub(crate) fn take(&mut self, count: u64) -> Result<&'a [u8], DecodeError> {
        let have = self.bytes.len() as u64;
        let split = usize::try_from(count).ok().and_then(|n| self.bytes.split_at_checked(n));
        let (head, tail) =
            split.ok_or(DecodeError::Truncated { what: self.what, need: count, have })?;
        self.bytes = tail;
        Ok(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        Ok(self.take(N as u64)?.try_into().expect("take gives as many bytes as asked for"))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_be_bytes)
    }

    /// Bytes that were not read yet.
    pub(crate) const fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn extent(&mut self) -> Result<Extent, DecodeError> {
        Ok(Extent { offset: self.u64()?, size: self.u64()? })
    }

    fn text(&mut self, count: u64, field: &'static str) -> Result<String, DecodeError> {
        let bytes = self.take(count)?;
        utf8(self.what, field, bytes)
    }
}

/// Text, as libavb understands UTF-8. The strict reading refuses what is not UTF-8 after all: it
/// does not encode to the bytes that it came from.
fn utf8(what: &'static str, field: &'static str, bytes: &[u8]) -> Result<String, DecodeError> {
    if looks_like_utf8(bytes) {
        Ok(String::from_utf8_lossy(bytes).into_owned())
    } else {
        Err(DecodeError::field(what, field, "is not UTF-8"))
    }
}

/// Whether each leading byte has as many continuation bytes as it announces. Nothing else counts
/// for `avb_validate_utf8`: surrogates and overlong forms pass.
fn looks_like_utf8(bytes: &[u8]) -> bool {
    let mut due = 0;
    for byte in bytes {
        due = match (due, byte.leading_ones()) {
            (0, 0) => 0,
            (0, ones @ 2..=4) => ones - 1,
            (1.., 1) => due - 1,
            _ => return false,
        };
    }
    due == 0
}

impl Header {
    /// Reads the header of the vbmeta image at the start of `image`, which may be followed by
    /// other bytes.
    ///
    /// Checks what libavb checks: the version, that both blocks lie within `image`, and that
    /// hash, signature, public key and its metadata lie in their block. Reserved bytes may have
    /// any value.
    pub fn decode(image: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(HEADER, image);
        let fixed = r.take(HEADER_BYTES as u64)?;
        let mut r = Reader::new(HEADER, fixed);
        if r.array()? != *b"AVB0" {
            return Err(DecodeError::Magic { what: HEADER });
        }
        let required_version = Version { major: r.u32()?, minor: r.u32()? };
        check_version(required_version)?;
        let (authentication_size, auxiliary_size) = (r.u64()?, r.u64()?);
        let algorithm = r.u32()?;
        let (hash, signature, public_key) = (r.extent()?, r.extent()?, r.extent()?);
        let (public_key_metadata, descriptors) = (r.extent()?, r.extent()?);
        let header = Self {
            required_version,
            authentication_size,
            auxiliary_size,
            algorithm: Algorithm::from_number(algorithm)
                .ok_or(DecodeError::UnsupportedAlgorithm(algorithm))?,
            hash,
            signature,
            public_key,
            public_key_metadata,
            descriptors,
            rollback_index: r.u64()?,
            flags: VbmetaFlags(r.u32()?),
            rollback_index_location: r.u32()?,
            release: release(r.array()?)?,
        };
        header.check_blocks(image.len() as u64)?;
        header.check_extents()?;
        Ok(header)
    }

    fn check_blocks(&self, available: u64) -> Result<(), DecodeError> {
        for (field, size) in [
            ("authentication_data_block_size", self.authentication_size),
            ("auxiliary_data_block_size", self.auxiliary_size),
        ] {
            if size % 64 != 0 {
                return Err(DecodeError::field(HEADER, field, "is not a multiple of 64"));
            }
        }
        let total = (HEADER_BYTES as u64)
            .checked_add(self.authentication_size)
            .and_then(|sum| sum.checked_add(self.auxiliary_size))
            .unwrap_or(u64::MAX);
        if total > available {
            return Err(DecodeError::Truncated {
                what: "vbmeta image",
                need: total,
                have: available,
            });
        }
        Ok(())
    }

    fn check_extents(&self) -> Result<(), DecodeError> {
        for (field, extent, block) in [
            ("hash", self.hash, self.authentication_size),
            ("signature", self.signature, self.authentication_size),
            ("public_key", self.public_key, self.auxiliary_size),
        ] {
            if !extent.is_within(block) {
                return Err(DecodeError::field(HEADER, field, OUTSIDE));
            }
        }
        let metadata = self.public_key_metadata;
        if metadata.size > 0 && !metadata.is_within(self.auxiliary_size) {
            return Err(DecodeError::field(HEADER, "public_key_metadata", OUTSIDE));
        }
        Ok(())
    }
}

const HEADER: &str = "vbmeta header";
const OUTSIDE: &str = "is not inside its block";

const fn check_version(required: Version) -> Result<(), DecodeError> {
    if required.major != SUPPORTED_VERSION.major || required.minor > SUPPORTED_VERSION.minor {
        let Version { major, minor } = required;
        return Err(DecodeError::UnsupportedVersion { what: HEADER, major, minor });
    }
    Ok(())
}

fn release(field: [u8; 48]) -> Result<Release, DecodeError> {
    let end = field.iter().position(|&byte| byte == 0);
    match end {
        Some(end) if field[47] == 0 => {
            Ok(Release::from_bytes(&field[..end]).expect("47 bytes at most, none of them NUL"))
        }
        _ => Err(DecodeError::field(HEADER, "release_string", "does not end with NUL")),
    }
}

impl Footer {
    /// Reads a footer. libavb lets the reserved bytes have any value; see
    /// [`Footer::decode_strict`].
    pub fn decode(bytes: &[u8; FOOTER_BYTES]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(FOOTER, bytes);
        if r.array()? != *b"AVBf" {
            return Err(DecodeError::Magic { what: FOOTER });
        }
        let version = Version { major: r.u32()?, minor: r.u32()? };
        if version.major != 1 {
            let Version { major, minor } = version;
            return Err(DecodeError::UnsupportedVersion { what: FOOTER, major, minor });
        }
        Ok(Self {
            version,
            original_image_size: r.u64()?,
            vbmeta_offset: r.u64()?,
            vbmeta_size: r.u64()?,
        })
    }

    /// Reads a footer whose reserved bytes must be zero.
    pub fn decode_strict(bytes: &[u8; FOOTER_BYTES]) -> Result<Self, DecodeError> {
        let footer = Self::decode(bytes)?;
        if footer.encode() == *bytes {
            Ok(footer)
        } else {
            Err(DecodeError::NotCanonical { what: FOOTER })
        }
    }
}

const FOOTER: &str = "footer";
