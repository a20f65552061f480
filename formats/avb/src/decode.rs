//! Bytes to values. Nothing here panics or reads past the end, whatever the bytes are.
//!
//! Two degrees of strictness live side by side. The *lenient* reading is libavb's: it tolerates
//! non-zero reserved bytes and padding of any length inside a descriptor, and slot verification
//! needs it to decide as libavb does. The *strict* reading adds one rule: the value encodes to
//! exactly the bytes that it came from.

use crate::{
    Algorithm, ChainPartitionDescriptor, DecodeError, Descriptor, Extent, FOOTER_BYTES, Footer,
    HEADER_BYTES, HashDescriptor, HashName, HashtreeDescriptor, Header, KernelCmdlineDescriptor,
    PropertyDescriptor, Release, SUPPORTED_VERSION, VBMETA_MAX_BYTES, VbmetaFlags, Version,
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

    fn extent(&mut self) -> Result<Extent, DecodeError> {
        Ok(Extent { offset: self.u64()?, size: self.u64()? })
    }

    fn text(&mut self, count: u64, field: &'static str) -> Result<String, DecodeError> {
        let bytes = self.take(count)?;
        utf8(self.what, field, bytes)
    }
}

fn utf8(what: &'static str, field: &'static str, bytes: &[u8]) -> Result<String, DecodeError> {
    let text = std::str::from_utf8(bytes);
    text.map(str::to_owned).map_err(|_| DecodeError::field(what, field, "is not UTF-8"))
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

/// A descriptor before its payload is looked at.
#[derive(Clone, Copy)]
pub(crate) struct RawDescriptor<'a> {
    pub(crate) tag: u64,
    pub(crate) payload: &'a [u8],
    bytes: &'a [u8],
}

impl<'a> RawDescriptor<'a> {
    /// The descriptor at the start of `bytes`, and what follows it.
    fn split(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), DecodeError> {
        let mut r = Reader::new(DESCRIPTOR, bytes);
        let (tag, following) = (r.u64()?, r.u64()?);
        if following % 8 != 0 {
            return Err(DecodeError::field(
                DESCRIPTOR,
                "num_bytes_following",
                "is not a multiple of 8",
            ));
        }
        let payload = r.take(following)?;
        let raw = Self { tag, payload, bytes: &bytes[..bytes.len() - r.bytes.len()] };
        Ok((raw, r.bytes))
    }

    /// The descriptors as libavb finds them: those before the first malformed one, anywhere in
    /// `buffer`, which starts with the image of `header`.
    pub(crate) fn all_lenient(buffer: &'a [u8], header: &Header) -> Vec<Self> {
        let mut found = Vec::new();
        let start = (HEADER_BYTES as u64)
            .checked_add(header.authentication_size)
            .and_then(|start| start.checked_add(header.descriptors.offset));
        let Some(offset) = start else { return found };
        let area = Extent { offset, size: header.descriptors.size };
        let mut rest = area.of(buffer).unwrap_or_default();
        while let Ok((raw, after)) = Self::split(rest) {
            found.push(raw);
            rest = after;
        }
        found
    }

    /// Reads the payload as libavb does: bytes behind the fields, and reserved ones, may have
    /// any value.
    pub(crate) fn decode_lenient(self) -> Result<Descriptor, DecodeError> {
        Ok(match self.tag {
            Descriptor::PROPERTY => Descriptor::Property(property(self.payload)?),
            Descriptor::HASHTREE => {
                Descriptor::Hashtree(HashtreeFields::decode(self.payload)?.with_text()?)
            }
            Descriptor::HASH => Descriptor::Hash(hash(self.payload)?),
            Descriptor::KERNEL_CMDLINE => Descriptor::KernelCmdline(kernel_cmdline(self.payload)?),
            Descriptor::CHAIN_PARTITION => {
                Descriptor::ChainPartition(chain_partition(self.payload)?)
            }
            tag => Descriptor::Unknown { tag, payload: self.payload.to_vec() },
        })
    }

    fn decode_strict(self) -> Result<Descriptor, DecodeError> {
        let descriptor = self.decode_lenient()?;
        if descriptor.unknown_flags() != 0 {
            return Err(DecodeError::field(DESCRIPTOR, "flags", "has bits that are not defined"));
        }
        if descriptor.encode() != self.bytes {
            return Err(DecodeError::NotCanonical { what: DESCRIPTOR });
        }
        Ok(descriptor)
    }
}

impl Descriptor {
    /// Reads one descriptor that ends where `bytes` end, strictly; see
    /// [`VbmetaImage::descriptors`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (raw, rest) = RawDescriptor::split(bytes)?;
        match rest.len() {
            0 => raw.decode_strict(),
            extra => Err(DecodeError::TrailingBytes { what: DESCRIPTOR, extra }),
        }
    }
}

const DESCRIPTOR: &str = "descriptor";

fn property(payload: &[u8]) -> Result<PropertyDescriptor, DecodeError> {
    let mut r = Reader::new("property descriptor", payload);
    let (key_size, value_size) = (r.u64()?, r.u64()?);
    let key = r.text(key_size, "key")?;
    let after_key: [u8; 1] = r.array()?;
    let value = r.take(value_size)?.to_vec();
    let after_value: [u8; 1] = r.array()?;
    if after_key != [0] || after_value != [0] {
        return Err(DecodeError::field("property descriptor", "key, value", "do not end with NUL"));
    }
    Ok(PropertyDescriptor { key, value })
}

/// A hashtree descriptor whose name may be any bytes: libavb looks at it only where the digest
/// is a persistent value.
pub(crate) struct HashtreeFields<'a> {
    fixed: HashtreeDescriptor,
    pub(crate) partition_name: &'a [u8],
}

impl<'a> HashtreeFields<'a> {
    pub(crate) fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(HASHTREE, payload);
        let mut fixed = HashtreeDescriptor {
            dm_verity_version: r.u32()?,
            image_size: r.u64()?,
            tree_offset: r.u64()?,
            tree_size: r.u64()?,
            data_block_size: r.u32()?,
            hash_block_size: r.u32()?,
            fec_num_roots: r.u32()?,
            fec_offset: r.u64()?,
            fec_size: r.u64()?,
            hash_algorithm: hash_name(r.array()?),
            partition_name: String::new(),
            salt: Vec::new(),
            root_digest: Vec::new(),
            flags: 0,
        };
        let (name_size, salt_size, digest_size) = (r.u32()?, r.u32()?, r.u32()?);
        fixed.flags = r.u32()?;
        r.take(RESERVED)?;
        let partition_name = r.take(name_size.into())?;
        fixed.salt = r.take(salt_size.into())?.to_vec();
        fixed.root_digest = r.take(digest_size.into())?.to_vec();
        Ok(Self { fixed, partition_name })
    }

    pub(crate) fn with_text(self) -> Result<HashtreeDescriptor, DecodeError> {
        let partition_name = utf8(HASHTREE, "partition_name", self.partition_name)?;
        Ok(HashtreeDescriptor { partition_name, ..self.fixed })
    }

    pub(crate) fn is_persistent(&self) -> bool {
        self.fixed.root_digest.is_empty()
    }
}

const HASHTREE: &str = "hashtree descriptor";
const RESERVED: u64 = 60;

fn hash(payload: &[u8]) -> Result<HashDescriptor, DecodeError> {
    let mut r = Reader::new("hash descriptor", payload);
    let image_size = r.u64()?;
    let hash_algorithm = hash_name(r.array()?);
    let (name_size, salt_size, digest_size) = (r.u32()?, r.u32()?, r.u32()?);
    let flags = r.u32()?;
    r.take(RESERVED)?;
    Ok(HashDescriptor {
        image_size,
        hash_algorithm,
        flags,
        partition_name: r.text(name_size.into(), "partition_name")?,
        salt: r.take(salt_size.into())?.to_vec(),
        digest: r.take(digest_size.into())?.to_vec(),
    })
}

fn hash_name(field: [u8; 32]) -> HashName {
    let end = field.iter().position(|&byte| byte == 0).unwrap_or(field.len());
    HashName::from_bytes(&field[..end])
}

fn kernel_cmdline(payload: &[u8]) -> Result<KernelCmdlineDescriptor, DecodeError> {
    let mut r = Reader::new("kernel cmdline descriptor", payload);
    let (flags, size) = (r.u32()?, r.u32()?);
    Ok(KernelCmdlineDescriptor { flags, cmdline: r.text(size.into(), "kernel_cmdline")? })
}

fn chain_partition(payload: &[u8]) -> Result<ChainPartitionDescriptor, DecodeError> {
    const WHAT: &str = "chain partition descriptor";
    let mut r = Reader::new(WHAT, payload);
    let rollback_index_location = r.u32()?;
    let (name_size, key_size, flags) = (r.u32()?, r.u32()?, r.u32()?);
    r.take(RESERVED)?;
    if rollback_index_location == 0 {
        return Err(DecodeError::field(WHAT, "rollback_index_location", "is 0: the top level's"));
    }
    Ok(ChainPartitionDescriptor {
        rollback_index_location,
        flags,
        partition_name: r.text(name_size.into(), "partition_name")?,
        public_key: r.take(key_size.into())?.to_vec(),
    })
}
