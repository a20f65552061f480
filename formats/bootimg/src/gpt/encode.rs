//! Table to sectors.

use super::{
    ENTRIES, ENTRY_BYTES, Gpt, HEAD_BYTES, HEADER_BYTES, NAME_UNITS, Partition, SECTOR_BYTES,
    TAIL_BYTES,
};

/// The sectors of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedGpt {
    /// From the start of the disk: protective MBR, primary header, entries.
    pub head: Vec<u8>,
    /// At the end of the disk: entries, backup header.
    pub tail: Vec<u8>,
    /// Where `tail` goes, in bytes.
    pub tail_offset: u64,
}

impl Gpt {
    /// The sectors of the table.
    #[must_use]
    pub fn encode(&self) -> EncodedGpt {
        let entries = self.encode_entries();
        let last = self.disk_sectors - 1;
        let primary = Header { own: 1, other: last, entries: 2 };
        let backup = Header { own: last, other: 1, entries: last - 32 };
        let head = [
            protective_mbr(self.disk_sectors),
            self.encode_header(primary, &entries),
            entries.clone(),
        ]
        .concat();
        let tail = [entries.clone(), self.encode_header(backup, &entries)].concat();
        debug_assert_eq!((head.len(), tail.len()), (HEAD_BYTES, TAIL_BYTES));
        EncodedGpt { head, tail, tail_offset: self.disk_bytes() - TAIL_BYTES as u64 }
    }

    fn encode_entries(&self) -> Vec<u8> {
        let mut out: Vec<u8> = self.partitions.iter().flat_map(encode_entry).collect();
        out.resize(ENTRIES * ENTRY_BYTES, 0);
        out
    }

    fn encode_header(&self, place: Header, entries: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(SECTOR_BYTES as usize);
        out.extend(b"EFI PART");
        out.extend(0x0001_0000_u32.to_le_bytes());
        out.extend((HEADER_BYTES as u32).to_le_bytes());
        out.extend([0; 8]); // CRC-32 of the header, and reserved
        out.extend(place.own.to_le_bytes());
        out.extend(place.other.to_le_bytes());
        out.extend(self.usable.0.to_le_bytes());
        out.extend(self.usable.1.to_le_bytes());
        out.extend(self.disk_guid.to_bytes());
        out.extend(place.entries.to_le_bytes());
        out.extend((ENTRIES as u32).to_le_bytes());
        out.extend((ENTRY_BYTES as u32).to_le_bytes());
        out.extend(crc32fast::hash(entries).to_le_bytes());
        let crc = crc32fast::hash(&out);
        out[16..20].copy_from_slice(&crc.to_le_bytes());
        out.resize(SECTOR_BYTES as usize, 0);
        out
    }
}

/// Sectors that a copy of the header names.
#[derive(Clone, Copy)]
struct Header {
    own: u64,
    other: u64,
    entries: u64,
}

fn encode_entry(partition: &Partition) -> [u8; ENTRY_BYTES] {
    let mut out = Vec::with_capacity(ENTRY_BYTES);
    out.extend(partition.type_guid.to_bytes());
    out.extend(partition.unique_guid.to_bytes());
    out.extend(partition.first_lba.to_le_bytes());
    out.extend(partition.last_lba.to_le_bytes());
    out.extend(partition.attributes.to_le_bytes());
    out.extend(partition.name.encode_utf16().take(NAME_UNITS).flat_map(u16::to_le_bytes));
    out.resize(ENTRY_BYTES, 0);
    out.try_into().expect("resized to an entry's size")
}

/// A protective MBR (UEFI 2.10, 5.2.3): one partition of type 0xEE over the whole disk.
pub(super) fn protective_mbr(disk_sectors: u64) -> Vec<u8> {
    let mut out = vec![0; SECTOR_BYTES as usize];
    let size = u32::try_from(disk_sectors - 1).unwrap_or(u32::MAX);
    let entry = &mut out[446..462];
    entry[..8].copy_from_slice(&[0x00, 0x00, 0x02, 0x00, 0xee, 0xff, 0xff, 0xff]);
    entry[8..12].copy_from_slice(&1_u32.to_le_bytes());
    entry[12..].copy_from_slice(&size.to_le_bytes());
    out[510..].copy_from_slice(&[0x55, 0xaa]);
    out
}
