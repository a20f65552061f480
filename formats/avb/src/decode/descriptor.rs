//! Descriptors.

use super::{Reader, utf8};
use crate::{
    ChainPartitionDescriptor, DecodeError, Descriptor, Extent, HEADER_BYTES, HashDescriptor,
    HashName, HashtreeDescriptor, Header, KernelCmdlineDescriptor, PropertyDescriptor,
};

/// A descriptor before its payload is looked at.
#[derive(Clone, Copy)]
pub(crate) struct RawDescriptor<'a> {
    pub(crate) tag: u64,
    pub(crate) payload: &'a [u8],
    bytes: &'a [u8],
}

impl<'a> RawDescriptor<'a> {
    /// The descriptor at the start of `bytes`, and what follows it.
    pub(super) fn split(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), DecodeError> {
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
        // libavb adds without looking for overflow, and looks where it arrived.
        let offset = (HEADER_BYTES as u64)
            .wrapping_add(header.authentication_size)
            .wrapping_add(header.descriptors.offset);
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
        match self.decode_fields()? {
            Descriptor::ChainPartition(chain) if chain.rollback_index_location == 0 => {
                let problem = "is 0: the top level's";
                Err(DecodeError::field(CHAIN, "rollback_index_location", problem))
            }
            descriptor => Ok(descriptor),
        }
    }

    /// Reads the payload whatever the values of its fields.
    pub(super) fn decode_fields(self) -> Result<Descriptor, DecodeError> {
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

    pub(super) fn decode_strict(self) -> Result<Descriptor, DecodeError> {
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
    /// [`crate::VbmetaImage::descriptors`].
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

const CHAIN: &str = "chain partition descriptor";

fn chain_partition(payload: &[u8]) -> Result<ChainPartitionDescriptor, DecodeError> {
    let mut r = Reader::new(CHAIN, payload);
    let rollback_index_location = r.u32()?;
    let (name_size, key_size, flags) = (r.u32()?, r.u32()?, r.u32()?);
    r.take(RESERVED)?;
    Ok(ChainPartitionDescriptor {
        rollback_index_location,
        flags,
        partition_name: r.text(name_size.into(), "partition_name")?,
        public_key: r.take(key_size.into())?.to_vec(),
    })
}
