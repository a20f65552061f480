//! [`Manifest`] to bytes.

use super::{Extent, Manifest, Operation, PartitionInfo, PartitionUpdate, VerityExtents};
use crate::wire::Writer;

impl Manifest {
    /// The message. Unknown fields stand behind the known ones.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.optional(3, self.block_size.map(u64::from));
        out.optional(4, self.signatures_offset);
        out.optional(5, self.signatures_size);
        out.optional(12, self.minor_version.map(u64::from));
        for partition in &self.partitions {
            out.bytes(13, &partition.encode());
        }
        out.optional(14, self.max_timestamp.map(i64::cast_unsigned));
        optional_bytes(&mut out, 15, self.dynamic_partition_metadata.as_deref());
        out.optional(16, self.partial_update.map(u64::from));
        optional_text(&mut out, 18, self.security_patch_level.as_deref());
        out.raw(&self.unknown);
        out.finish()
    }
}

impl PartitionUpdate {
    fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.bytes(1, self.partition_name.as_bytes());
        for (field, info) in [(6, &self.old_partition_info), (7, &self.new_partition_info)] {
            if let Some(info) = info {
                out.bytes(field, &info.encode());
            }
        }
        for operation in &self.operations {
            out.bytes(8, &operation.encode());
        }
        self.verity.encode(&mut out);
        optional_text(&mut out, 17, self.version.as_deref());
        out.raw(&self.unknown);
        out.finish()
    }
}

impl VerityExtents {
    fn encode(&self, out: &mut Writer) {
        optional_extent(out, 10, self.hash_tree_data_extent);
        optional_extent(out, 11, self.hash_tree_extent);
        optional_text(out, 12, self.hash_tree_algorithm.as_deref());
        optional_bytes(out, 13, self.hash_tree_salt.as_deref());
        optional_extent(out, 14, self.fec_data_extent);
        optional_extent(out, 15, self.fec_extent);
        out.optional(16, self.fec_roots.map(u64::from));
    }
}

impl PartitionInfo {
    fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.varint(1, self.size).bytes(2, &self.hash).raw(&self.unknown);
        out.finish()
    }
}

impl Extent {
    fn encode(self) -> Vec<u8> {
        let mut out = Writer::new();
        out.varint(1, self.start_block).varint(2, self.num_blocks);
        out.finish()
    }
}

impl Operation {
    fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.varint(1, u64::from(self.kind.number()));
        out.optional(2, self.data_offset);
        out.optional(3, self.data_length);
        for extent in &self.src_extents {
            out.bytes(4, &extent.encode());
        }
        out.optional(5, self.src_length);
        for extent in &self.dst_extents {
            out.bytes(6, &extent.encode());
        }
        out.optional(7, self.dst_length);
        optional_bytes(&mut out, 8, self.data_sha256_hash.as_deref());
        optional_bytes(&mut out, 9, self.src_sha256_hash.as_deref());
        out.raw(&self.unknown);
        out.finish()
    }
}

fn optional_bytes(out: &mut Writer, field: u32, value: Option<&[u8]>) {
    if let Some(value) = value {
        out.bytes(field, value);
    }
}

fn optional_text(out: &mut Writer, field: u32, value: Option<&str>) {
    optional_bytes(out, field, value.map(str::as_bytes));
}

fn optional_extent(out: &mut Writer, field: u32, value: Option<Extent>) {
    if let Some(extent) = value {
        out.bytes(field, &extent.encode());
    }
}
