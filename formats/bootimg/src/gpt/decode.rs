//! Sectors to table. Strict: what it accepts is what [`Gpt::encode`] writes, up to the layout of
//! the protective MBR's ending address and the order of entries.

use super::{
    ENTRIES, ENTRY_BYTES, FIRST_USABLE, Gpt, GptError, Guid, HEAD_BYTES, HEADER_BYTES, MAX_SECTORS,
    Partition, SECTOR_BYTES, TAIL_BYTES, encode::protective_mbr,
};

/// A table, and what is wrong with one of its copies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedGpt {
    /// The table.
    pub gpt: Gpt,
    /// The copy that is bad; it can be written again from [`Gpt::encode`].
    pub damaged: Option<Damaged>,
}

/// The copy of the table that is bad.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Damaged {
    /// The one at the start of the disk, or the MBR before it.
    Primary(GptError),
    /// The one at the end of the disk.
    Backup(GptError),
}

impl Gpt {
    /// Reads the table from the first [`HEAD_BYTES`] and the last [`TAIL_BYTES`] of a disk.
    ///
    /// If one copy is bad, the other one counts. If both are good but differ, nothing does.
    pub fn parse(head: &[u8], tail: &[u8], disk_bytes: u64) -> Result<ParsedGpt, GptError> {
        let bad_size = GptError::DiskSize(disk_bytes);
        let head = head.first_chunk::<HEAD_BYTES>().ok_or_else(|| bad_size.clone())?;
        let tail = tail.last_chunk::<TAIL_BYTES>().ok_or_else(|| bad_size.clone())?;
        let sectors = disk_bytes / SECTOR_BYTES;
        // One sector at least is usable.
        let smallest = (HEAD_BYTES + TAIL_BYTES) as u64 + SECTOR_BYTES;
        if !disk_bytes.is_multiple_of(SECTOR_BYTES)
            || disk_bytes < smallest
            || sectors > MAX_SECTORS
        {
            return Err(bad_size);
        }
        let primary = check_mbr(&head[..512], sectors).and_then(|()| {
            let place = Place { own: 1, other: sectors - 1, entries: 2, sectors };
            parse_copy(&head[512..1024], &head[1024..], place)
        });
        let (entries, header) = tail.split_at(TAIL_BYTES - 512);
        let place = Place { own: sectors - 1, other: 1, entries: sectors - 33, sectors };
        let backup = parse_copy(header, entries, place);
        match (primary, backup) {
            (Ok(a), Ok(b)) if a == b => Ok(ParsedGpt { gpt: a, damaged: None }),
            (Ok(_), Ok(_)) => Err(GptError::CopiesDiffer),
            (Ok(gpt), Err(error)) => Ok(ParsedGpt { gpt, damaged: Some(Damaged::Backup(error)) }),
            (Err(error), Ok(gpt)) => Ok(ParsedGpt { gpt, damaged: Some(Damaged::Primary(error)) }),
            (Err(primary), Err(backup)) => {
                Err(GptError::BothBad { primary: Box::new(primary), backup: Box::new(backup) })
            }
        }
    }
}

/// The ending address in cylinders, heads and sectors: writers disagree about it.
const MBR_ENDING_CHS: std::ops::Range<usize> = 451..454;

fn check_mbr(sector: &[u8], sectors: u64) -> Result<(), GptError> {
    let mut expected = protective_mbr(sectors);
    expected[MBR_ENDING_CHS].copy_from_slice(&sector[MBR_ENDING_CHS]);
    if expected == sector {
        Ok(())
    } else {
        Err(GptError::Mbr("it is not one partition of type 0xEE over the whole disk"))
    }
}

/// Where a copy of the table must say that things are.
#[derive(Clone, Copy)]
struct Place {
    own: u64,
    other: u64,
    entries: u64,
    sectors: u64,
}

fn parse_copy(header: &[u8], entries: &[u8], place: Place) -> Result<Gpt, GptError> {
    let (fields, padding) = header.split_at(HEADER_BYTES);
    if fields[..8] != *b"EFI PART" {
        return Err(GptError::Header("the signature is missing"));
    }
    let mut unsummed = fields.to_vec();
    unsummed[16..20].fill(0);
    if crc32fast::hash(&unsummed) != u32_at(fields, 16) {
        return Err(GptError::Header("its CRC-32 is wrong"));
    }
    let known = u32_at(fields, 8) == 0x0001_0000
        && u32_at(fields, 12) == HEADER_BYTES as u32
        && u32_at(fields, 20) == 0
        && padding.iter().all(|&byte| byte == 0);
    if !known {
        return Err(GptError::Header("another revision, or reserved bytes are not zero"));
    }
    let placed = u64_at(fields, 24) == place.own
        && u64_at(fields, 32) == place.other
        && u64_at(fields, 72) == place.entries;
    if !placed {
        return Err(GptError::Header("it is for another place or another disk"));
    }
    let usable = (u64_at(fields, 40), u64_at(fields, 48));
    if !(FIRST_USABLE <= usable.0 && usable.0 <= usable.1 && usable.1 <= place.sectors - 34) {
        return Err(GptError::Header("its usable sectors are not between the table's copies"));
    }
    if u32_at(fields, 80) != ENTRIES as u32 || u32_at(fields, 84) != ENTRY_BYTES as u32 {
        return Err(GptError::Header("it does not have 128 entries of 128 bytes"));
    }
    if crc32fast::hash(entries) != u32_at(fields, 88) {
        return Err(GptError::Header("the CRC-32 of the entries is wrong"));
    }
    Gpt::new(guid_at(fields, 56), place.sectors, usable, parse_entries(entries)?)
}

/// The used entries; they come before the unused ones.
fn parse_entries(entries: &[u8]) -> Result<Vec<Partition>, GptError> {
    let mut partitions = Vec::new();
    for (number, entry) in entries.chunks_exact(ENTRY_BYTES).enumerate() {
        let is_empty = entry.iter().all(|&byte| byte == 0);
        match (is_empty, partitions.len() == number) {
            (true, _) => {}
            (false, true) => partitions.push(parse_entry(number, entry)?),
            (false, false) => return Err(GptError::Entry(number, "it follows an unused one")),
        }
    }
    Ok(partitions)
}

fn parse_entry(number: usize, entry: &[u8]) -> Result<Partition, GptError> {
    let units: Vec<u16> =
        entry[56..].chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]])).collect();
    let end = units.iter().position(|&unit| unit == 0).unwrap_or(units.len());
    let (name, rest) = units.split_at(end);
    if rest.iter().any(|&unit| unit != 0) {
        return Err(GptError::Entry(number, "something follows the end of the name"));
    }
    let name =
        String::from_utf16(name).map_err(|_| GptError::Entry(number, "the name is not UTF-16"))?;
    Ok(Partition {
        name,
        type_guid: guid_at(entry, 0),
        unique_guid: guid_at(entry, 16),
        first_lba: u64_at(entry, 32),
        last_lba: u64_at(entry, 40),
        attributes: u64_at(entry, 48),
    })
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("a range of N bytes")
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

fn guid_at(bytes: &[u8], at: usize) -> Guid {
    Guid::from_bytes(array_at(bytes, at))
}
