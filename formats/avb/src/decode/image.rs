//! A whole vbmeta image.

use super::{HEADER, OUTSIDE, descriptor::RawDescriptor};
use crate::{DecodeError, Descriptor, Extent, HEADER_BYTES, Header, VBMETA_MAX_BYTES};

/// A vbmeta image of the form that its header says. Nothing is said about its signature: see
/// [`crate::verify_vbmeta`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VbmetaImage<'a> {
    header: Header,
    bytes: &'a [u8],
}

impl<'a> VbmetaImage<'a> {
    /// Reads an image that must end where `bytes` end.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let (image, rest) = Self::parse_prefix(bytes)?;
        match rest.len() {
            0 => Ok(image),
            extra => Err(DecodeError::TrailingBytes { what: "vbmeta image", extra }),
        }
    }

    /// Reads an image at the start of `bytes`; what follows it comes back beside it.
    pub fn parse_prefix(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), DecodeError> {
        let header = Header::decode(bytes)?;
        let size = usize::try_from(header.image_size()).unwrap_or(usize::MAX);
        if size > VBMETA_MAX_BYTES {
            return Err(DecodeError::field("vbmeta image", "size", "is more than 64 KiB"));
        }
        let (bytes, rest) = bytes.split_at(size);
        Ok((Self { header, bytes }, rest))
    }

    /// Its header.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// All its bytes: header, authentication block, auxiliary block.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The public key blob; empty where there is none.
    #[must_use]
    pub fn public_key(&self) -> &'a [u8] {
        self.auxiliary(self.header.public_key)
    }

    /// The metadata of the public key; empty where there is none.
    #[must_use]
    pub fn public_key_metadata(&self) -> &'a [u8] {
        match self.header.public_key_metadata {
            Extent { size: 0, .. } => &[],
            extent => self.auxiliary(extent),
        }
    }

    /// The embedded hash; empty where there is none.
    #[must_use]
    pub fn hash(&self) -> &'a [u8] {
        self.header.hash.of(self.authentication_block()).unwrap_or_default()
    }

    /// The signature; empty where there is none.
    #[must_use]
    pub fn signature(&self) -> &'a [u8] {
        self.header.signature.of(self.authentication_block()).unwrap_or_default()
    }

    /// What the signature covers: the header and the auxiliary block.
    #[must_use]
    pub fn signed_data(&self) -> Vec<u8> {
        [&self.bytes[..HEADER_BYTES], self.auxiliary_block()].concat()
    }

    /// The descriptors, read strictly: the descriptor area lies in the auxiliary block and holds
    /// nothing else, each descriptor encodes to the bytes that it came from, and no flag bit is
    /// unknown. An unknown tag is [`Descriptor::Unknown`].
    pub fn descriptors(&self) -> Result<Vec<Descriptor>, DecodeError> {
        let extent = self.header.descriptors;
        if !extent.is_within(self.header.auxiliary_size) {
            return Err(DecodeError::field(HEADER, "descriptors", OUTSIDE));
        }
        let mut rest = self.auxiliary(extent);
        let mut descriptors = Vec::new();
        while !rest.is_empty() {
            let (raw, after) = RawDescriptor::split(rest)?;
            descriptors.push(raw.decode_strict()?);
            rest = after;
        }
        Ok(descriptors)
    }

    /// The descriptors that libavb sees: those before the first malformed one, each with whatever
    /// reserved bytes and flag bits. What [`Self::descriptors`] refuses is worth showing too.
    #[must_use]
    pub fn descriptors_leniently(&self) -> Vec<Descriptor> {
        let found = RawDescriptor::all_lenient(self.bytes, &self.header);
        found.into_iter().filter_map(|raw| raw.decode_lenient().ok()).collect()
    }

    /// Checks that every byte of the image has a meaning: reserved bytes, and those of the two
    /// blocks that no field of the header points at, are zero.
    pub fn check_canonical(&self) -> Result<(), DecodeError> {
        if self.header.encode() != self.bytes[..HEADER_BYTES] {
            return Err(DecodeError::NotCanonical { what: HEADER });
        }
        let h = &self.header;
        check_gaps("authentication block", self.authentication_block(), &[h.hash, h.signature])?;
        let used = [h.descriptors, h.public_key, h.public_key_metadata];
        check_gaps("auxiliary block", self.auxiliary_block(), &used)
    }

    fn authentication_block(&self) -> &'a [u8] {
        &self.bytes[HEADER_BYTES..self.auxiliary_start()]
    }

    fn auxiliary_block(&self) -> &'a [u8] {
        &self.bytes[self.auxiliary_start()..]
    }

    fn auxiliary_start(&self) -> usize {
        let size = usize::try_from(self.header.authentication_size);
        HEADER_BYTES + size.expect("parse checked that the blocks lie within 64 KiB")
    }

    fn auxiliary(&self, extent: Extent) -> &'a [u8] {
        extent.of(self.auxiliary_block()).unwrap_or_default()
    }
}

fn check_gaps(what: &'static str, block: &[u8], used: &[Extent]) -> Result<(), DecodeError> {
    let is_used = |at: usize| {
        used.iter().any(|e| (e.offset..e.end().unwrap_or(e.offset)).contains(&(at as u64)))
    };
    let clean = block.iter().enumerate().all(|(at, &byte)| byte == 0 || is_used(at));
    if clean { Ok(()) } else { Err(DecodeError::NotCanonical { what }) }
}
