//! Bytes to [`Manifest`].

use super::{
    Extent, Manifest, Operation, OperationKind, PartitionInfo, PartitionUpdate, VerityExtents,
};
use crate::error::DecodeError;
use crate::wire::{Field, Reader};

impl Manifest {
    /// Reads a manifest; a field that stands twice counts as it stands last, as protobuf has it.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        const NAME: &str = "DeltaArchiveManifest";
        let mut it = Self::default();
        let mut fields = Reader::new(NAME, bytes);
        while let Some(field) = fields.next_field()? {
            match field.number {
                3 => it.block_size = Some(field.uint32(NAME)?),
                4 => it.signatures_offset = Some(field.varint(NAME)?),
                5 => it.signatures_size = Some(field.varint(NAME)?),
                12 => it.minor_version = Some(field.uint32(NAME)?),
                13 => it.partitions.push(PartitionUpdate::decode(field.bytes(NAME)?)?),
                14 => it.max_timestamp = Some(field.varint(NAME)?.cast_signed()),
                15 => it.dynamic_partition_metadata = Some(field.bytes(NAME)?.to_vec()),
                16 => it.partial_update = Some(field.varint(NAME)? != 0),
                18 => it.security_patch_level = Some(field.text(NAME)?),
                _ => it.unknown.extend(field.raw),
            }
        }
        Ok(it)
    }
}

impl PartitionUpdate {
    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        const NAME: &str = "PartitionUpdate";
        let mut it = Self::default();
        let mut named = false;
        let mut fields = Reader::new(NAME, bytes);
        while let Some(field) = fields.next_field()? {
            match field.number {
                1 => {
                    it.partition_name = field.text(NAME)?;
                    named = true;
                }
                6 => it.old_partition_info = Some(PartitionInfo::decode(field.bytes(NAME)?)?),
                7 => it.new_partition_info = Some(PartitionInfo::decode(field.bytes(NAME)?)?),
                8 => it.operations.push(Operation::decode(field.bytes(NAME)?)?),
                17 => it.version = Some(field.text(NAME)?),
                10..=16 => it.verity.field(&field)?,
                _ => it.unknown.extend(field.raw),
            }
        }
        if named { Ok(it) } else { Err(DecodeError::Missing { message: NAME, field: 1 }) }
    }
}

impl VerityExtents {
    fn field(&mut self, field: &Field<'_>) -> Result<(), DecodeError> {
        const NAME: &str = "PartitionUpdate";
        match field.number {
            10 => self.hash_tree_data_extent = Some(Extent::decode(field.bytes(NAME)?)?),
            11 => self.hash_tree_extent = Some(Extent::decode(field.bytes(NAME)?)?),
            12 => self.hash_tree_algorithm = Some(field.text(NAME)?),
            13 => self.hash_tree_salt = Some(field.bytes(NAME)?.to_vec()),
            14 => self.fec_data_extent = Some(Extent::decode(field.bytes(NAME)?)?),
            15 => self.fec_extent = Some(Extent::decode(field.bytes(NAME)?)?),
            _ => self.fec_roots = Some(field.uint32(NAME)?),
        }
        Ok(())
    }
}

impl PartitionInfo {
    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        const NAME: &str = "PartitionInfo";
        let mut it = Self::default();
        let mut fields = Reader::new(NAME, bytes);
        while let Some(field) = fields.next_field()? {
            match field.number {
                1 => it.size = field.varint(NAME)?,
                2 => it.hash = field.bytes(NAME)?.to_vec(),
                _ => it.unknown.extend(field.raw),
            }
        }
        Ok(it)
    }
}

impl Extent {
    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        const NAME: &str = "Extent";
        let mut it = Self::default();
        let mut fields = Reader::new(NAME, bytes);
        while let Some(field) = fields.next_field()? {
            match field.number {
                1 => it.start_block = field.varint(NAME)?,
                2 => it.num_blocks = field.varint(NAME)?,
                // Nothing more can be in an extent; dropped, it would change what is signed.
                number => return Err(DecodeError::Unexpected { message: NAME, field: number }),
            }
        }
        Ok(it)
    }
}

impl Operation {
    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        const NAME: &str = "InstallOperation";
        let mut it = Self::default();
        let mut typed = false;
        let mut fields = Reader::new(NAME, bytes);
        while let Some(field) = fields.next_field()? {
            match field.number {
                1 => {
                    it.kind = OperationKind::from_number(field.uint32(NAME)?);
                    typed = true;
                }
                2 => it.data_offset = Some(field.varint(NAME)?),
                3 => it.data_length = Some(field.varint(NAME)?),
                4 => it.src_extents.push(Extent::decode(field.bytes(NAME)?)?),
                5 => it.src_length = Some(field.varint(NAME)?),
                6 => it.dst_extents.push(Extent::decode(field.bytes(NAME)?)?),
                7 => it.dst_length = Some(field.varint(NAME)?),
                8 => it.data_sha256_hash = Some(field.bytes(NAME)?.to_vec()),
                9 => it.src_sha256_hash = Some(field.bytes(NAME)?.to_vec()),
                _ => it.unknown.extend(field.raw),
            }
        }
        if typed { Ok(it) } else { Err(DecodeError::Missing { message: NAME, field: 1 }) }
    }
}
