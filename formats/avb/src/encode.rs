//! Values to bytes.

use crate::{
    ChainPartitionDescriptor, Descriptor, Extent, FOOTER_BYTES, Footer, HEADER_BYTES,
    HashDescriptor, HashtreeDescriptor, Header, KernelCmdlineDescriptor, PropertyDescriptor,
};

impl Header {
    /// The header's 256 bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend(b"AVB0");
        out.extend(self.required_version.major.to_be_bytes());
        out.extend(self.required_version.minor.to_be_bytes());
        out.extend(self.authentication_size.to_be_bytes());
        out.extend(self.auxiliary_size.to_be_bytes());
        out.extend(self.algorithm.number().to_be_bytes());
        for Extent { offset, size } in
            [self.hash, self.signature, self.public_key, self.public_key_metadata, self.descriptors]
        {
            out.extend(offset.to_be_bytes());
            out.extend(size.to_be_bytes());
        }
        out.extend(self.rollback_index.to_be_bytes());
        out.extend(self.flags.0.to_be_bytes());
        out.extend(self.rollback_index_location.to_be_bytes());
        out.extend(self.release.as_bytes());
        out.resize(HEADER_BYTES, 0);
        out.try_into().expect("resized to the header's size")
    }
}

impl Footer {
    /// The footer's 64 bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; FOOTER_BYTES] {
        let mut out = Vec::with_capacity(FOOTER_BYTES);
        out.extend(b"AVBf");
        out.extend(self.version.major.to_be_bytes());
        out.extend(self.version.minor.to_be_bytes());
        out.extend(self.original_image_size.to_be_bytes());
        out.extend(self.vbmeta_offset.to_be_bytes());
        out.extend(self.vbmeta_size.to_be_bytes());
        out.resize(FOOTER_BYTES, 0);
        out.try_into().expect("resized to the footer's size")
    }
}

impl Descriptor {
    /// The descriptor's bytes, padded with zeros to a multiple of 8.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (tag, mut payload) = match self {
            Self::Property(d) => (Self::PROPERTY, property(d)),
            Self::Hashtree(d) => (Self::HASHTREE, hashtree(d)),
            Self::Hash(d) => (Self::HASH, hash(d)),
            Self::KernelCmdline(d) => (Self::KERNEL_CMDLINE, kernel_cmdline(d)),
            Self::ChainPartition(d) => (Self::CHAIN_PARTITION, chain_partition(d)),
            Self::Unknown { tag, payload } => (*tag, payload.clone()),
        };
        payload.resize(payload.len().next_multiple_of(8), 0);
        let mut out = Vec::with_capacity(16 + payload.len());
        out.extend(tag.to_be_bytes());
        out.extend((payload.len() as u64).to_be_bytes());
        out.extend(payload);
        out
    }
}

fn property(d: &PropertyDescriptor) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend((d.key.len() as u64).to_be_bytes());
    out.extend((d.value.len() as u64).to_be_bytes());
    out.extend(d.key.as_bytes());
    out.push(0);
    out.extend(&d.value);
    out.push(0);
    out
}

fn hashtree(d: &HashtreeDescriptor) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(d.dm_verity_version.to_be_bytes());
    out.extend(d.image_size.to_be_bytes());
    out.extend(d.tree_offset.to_be_bytes());
    out.extend(d.tree_size.to_be_bytes());
    out.extend(d.data_block_size.to_be_bytes());
    out.extend(d.hash_block_size.to_be_bytes());
    out.extend(d.fec_num_roots.to_be_bytes());
    out.extend(d.fec_offset.to_be_bytes());
    out.extend(d.fec_size.to_be_bytes());
    put_hash_name(&mut out, d.hash_algorithm.as_bytes());
    put_u32_length(&mut out, d.partition_name.as_bytes());
    put_u32_length(&mut out, &d.salt);
    put_u32_length(&mut out, &d.root_digest);
    out.extend(d.flags.to_be_bytes());
    out.extend([0; 60]);
    out.extend(d.partition_name.as_bytes());
    out.extend(&d.salt);
    out.extend(&d.root_digest);
    out
}

fn hash(d: &HashDescriptor) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(d.image_size.to_be_bytes());
    put_hash_name(&mut out, d.hash_algorithm.as_bytes());
    put_u32_length(&mut out, d.partition_name.as_bytes());
    put_u32_length(&mut out, &d.salt);
    put_u32_length(&mut out, &d.digest);
    out.extend(d.flags.to_be_bytes());
    out.extend([0; 60]);
    out.extend(d.partition_name.as_bytes());
    out.extend(&d.salt);
    out.extend(&d.digest);
    out
}

fn kernel_cmdline(d: &KernelCmdlineDescriptor) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(d.flags.to_be_bytes());
    put_u32_length(&mut out, d.cmdline.as_bytes());
    out.extend(d.cmdline.as_bytes());
    out
}

fn chain_partition(d: &ChainPartitionDescriptor) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(d.rollback_index_location.to_be_bytes());
    put_u32_length(&mut out, d.partition_name.as_bytes());
    put_u32_length(&mut out, &d.public_key);
    out.extend(d.flags.to_be_bytes());
    out.extend([0; 60]);
    out.extend(d.partition_name.as_bytes());
    out.extend(&d.public_key);
    out
}

/// A longer name is cut to the field: no longer name exists.
fn put_hash_name(out: &mut Vec<u8>, name: &[u8]) {
    let mut field = [0; 32];
    let size = name.len().min(field.len());
    field[..size].copy_from_slice(&name[..size]);
    out.extend(field);
}

/// A field of 4 GiB does not fit any vbmeta image; the saturated length makes the decoder refuse.
fn put_u32_length(out: &mut Vec<u8>, field: &[u8]) {
    out.extend(u32::try_from(field.len()).unwrap_or(u32::MAX).to_be_bytes());
}
