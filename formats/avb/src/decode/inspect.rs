//! Reading as avbtool does: what the bytes say, not whether a device would accept it.

use super::{FOOTER, HEADER, RawDescriptor, Reader};
use crate::{
    Algorithm, DecodeError, Descriptor, Extent, FOOTER_BYTES, Footer, HEADER_BYTES, HashName,
    Header, Release, VbmetaFlags, Version,
};

impl Header {
    /// Reads the fields of a header without judging them: any version, blocks of any size,
    /// extents that lie anywhere. For tools that show an image; [`Header::decode`] is what a
    /// device asks for.
    pub fn inspect(header: &[u8; HEADER_BYTES]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(HEADER, header);
        if r.array()? != *b"AVB0" {
            return Err(DecodeError::Magic { what: HEADER });
        }
        let required_version = Version { major: r.u32()?, minor: r.u32()? };
        let (authentication_size, auxiliary_size) = (r.u64()?, r.u64()?);
        let algorithm = r.u32()?;
        let (hash, signature, public_key) = (r.extent()?, r.extent()?, r.extent()?);
        let (public_key_metadata, descriptors) = (r.extent()?, r.extent()?);
        Ok(Self {
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
            release: Release::inspect(&r.array::<48>()?),
        })
    }

    /// The bytes of `extent` in the auxiliary block of the image that starts with this header,
    /// or those of them that are there.
    #[must_use]
    pub fn auxiliary<'a>(&self, image: &'a [u8], extent: Extent) -> &'a [u8] {
        match (HEADER_BYTES as u64).checked_add(self.authentication_size) {
            Some(block) => inside(image, block, extent),
            None => &[],
        }
    }

    /// The same in the authentication block.
    #[must_use]
    pub fn authentication<'a>(&self, image: &'a [u8], extent: Extent) -> &'a [u8] {
        inside(image, HEADER_BYTES as u64, extent)
    }
}

/// The bytes of `extent`, counted from `block`, that `image` has.
fn inside(image: &[u8], block: u64, extent: Extent) -> &[u8] {
    let start = block.checked_add(extent.offset).and_then(|start| usize::try_from(start).ok());
    let rest = start.and_then(|start| image.get(start..)).unwrap_or_default();
    &rest[..rest.len().min(usize::try_from(extent.size).unwrap_or(usize::MAX))]
}

impl Release {
    /// The text before the zeros; a NUL inside, which no tool writes, ends it.
    fn inspect(field: &[u8; 48]) -> Self {
        let text = &field[..47];
        let end = text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
        Self::from_bytes(&text[..end]).expect("47 bytes at most, none of them NUL")
    }
}

impl Footer {
    /// Reads a footer of any version; `None` where the magic is missing.
    #[must_use]
    pub fn inspect(bytes: &[u8; FOOTER_BYTES]) -> Option<Self> {
        let mut r = Reader::new(FOOTER, bytes);
        let fields = (r.array().ok()?, r.u32().ok()?, r.u32().ok()?);
        let (magic, major, minor): ([u8; 4], u32, u32) = fields;
        (magic == *b"AVBf").then_some(())?;
        Some(Self {
            version: Version { major, minor },
            original_image_size: r.u64().ok()?,
            vbmeta_offset: r.u64().ok()?,
            vbmeta_size: r.u64().ok()?,
        })
    }
}

impl Descriptor {
    /// Reads a descriptor area: sizes must fit, but reserved bytes, padding, unknown flags and
    /// rollback index locations may have any value. [`crate::VbmetaImage::descriptors`] is
    /// strict.
    pub fn inspect_all(area: &[u8]) -> Result<Vec<Self>, DecodeError> {
        let mut found = Vec::new();
        let mut rest = area;
        while !rest.is_empty() {
            let (raw, after) = RawDescriptor::split(rest)?;
            let descriptor = raw.decode_fields()?;
            if descriptor.encode().len() != rest.len() - after.len() {
                return Err(DecodeError::field(
                    "descriptor",
                    "num_bytes_following",
                    "is not the size of its fields",
                ));
            }
            descriptor.check_digest_size()?;
            found.push(descriptor);
            rest = after;
        }
        Ok(found)
    }

    fn check_digest_size(&self) -> Result<(), DecodeError> {
        let (name, digest) = match self {
            Self::Hash(d) => (&d.hash_algorithm, &d.digest),
            Self::Hashtree(d) => (&d.hash_algorithm, &d.root_digest),
            _ => return Ok(()),
        };
        let size = match name {
            HashName::Blake2b256 => Some(32),
            name => name.digest_bytes(),
        };
        match size {
            Some(size) if !digest.is_empty() && digest.len() != size => {
                Err(DecodeError::field("descriptor", "digest", "has not the size of its function"))
            }
            _ => Ok(()),
        }
    }
}
