//! Writing: stored entries, one after the other, the same bytes for the same input.

use super::{
    CENTRAL, END, END_64, END_64_BYTES, EXTRA_64, IN_64, LOCAL, LOCATOR_64, ZipError, is_plain,
};
use std::ops::Range;

/// 1980-01-01 00:00, the first moment there is: no clock in the file.
const DATE: u16 = 0x21;
/// Names are UTF-8.
const UTF8: u16 = 1 << 11;

/// Headers around entries whose data the caller writes.
#[derive(Debug, Clone, Default)]
pub struct Writer {
    entries: Vec<Written>,
    at: u64,
}

#[derive(Debug, Clone)]
struct Written {
    name: String,
    size: u64,
    crc32: u32,
    header_at: u64,
    data: Range<u64>,
}

impl Written {
    const fn is_wide(&self) -> bool {
        self.size >= IN_64 as u64
    }

    fn sizes(&self) -> [u8; 8] {
        let narrow = u32::try_from(self.size).unwrap_or(IN_64).to_le_bytes();
        [narrow, narrow].concat().try_into().expect("twice four bytes")
    }
}

impl Writer {
    /// An empty file.
    #[must_use]
    pub const fn new() -> Self {
        Self { entries: Vec::new(), at: 0 }
    }

    /// The header of the next entry; its data must follow, `size` bytes with this CRC-32.
    pub fn begin(&mut self, name: &str, size: u64, crc32: u32) -> Result<Vec<u8>, ZipError> {
        if !is_plain(name) || name.len() > usize::from(u16::MAX) {
            return Err(ZipError::Name(name.to_owned()));
        }
        if self.entries.iter().any(|entry| entry.name == name) {
            return Err(ZipError::Twice(name.to_owned()));
        }
        let name = name.to_owned();
        let mut entry = Written { name, size, crc32, header_at: self.at, data: 0..0 };
        let mut extra = Vec::new();
        if entry.is_wide() {
            extra.extend(EXTRA_64.to_le_bytes());
            extra.extend(16_u16.to_le_bytes());
            extra.extend([size.to_le_bytes(), size.to_le_bytes()].concat());
        }
        let mut header = LOCAL.to_le_bytes().to_vec();
        header.extend(common(&entry, extra.len()));
        header.extend(entry.name.as_bytes());
        header.extend(extra);
        let start = self.at + header.len() as u64;
        entry.data = start..start.checked_add(size).ok_or(ZipError::Directory)?;
        self.at = entry.data.end;
        self.entries.push(entry);
        Ok(header)
    }

    /// Where the data of an entry lies that was begun.
    #[must_use]
    pub fn data(&self, name: &str) -> Option<Range<u64>> {
        self.entries.iter().find(|entry| entry.name == name).map(|entry| entry.data.clone())
    }

    /// The directory and the end record, without a comment: the file's last bytes.
    #[must_use]
    pub fn finish(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for entry in &self.entries {
            central(entry, &mut out);
        }
        let (count, size, start) = (self.entries.len() as u64, out.len() as u64, self.at);
        let wide =
            count >= u64::from(u16::MAX) || size >= u64::from(IN_64) || start >= u64::from(IN_64);
        if wide {
            end_64(count, size, start, &mut out);
        }
        out.extend(END.to_le_bytes());
        out.extend([0; 4]);
        let count = u16::try_from(count).unwrap_or(u16::MAX).to_le_bytes();
        out.extend([count, count].concat());
        for value in [size, start] {
            out.extend(u32::try_from(value).unwrap_or(IN_64).to_le_bytes());
        }
        out.extend([0; 2]);
        out
    }
}

/// What both headers have: from the version that is needed to the lengths of name and extra field.
fn common(entry: &Written, extra: usize) -> Vec<u8> {
    let version: u16 = if entry.is_wide() { 45 } else { 10 };
    let mut out = Vec::new();
    for value in [version, UTF8, 0, 0, DATE] {
        out.extend(value.to_le_bytes());
    }
    out.extend(entry.crc32.to_le_bytes());
    out.extend(entry.sizes());
    for length in [entry.name.len(), extra] {
        out.extend(
            u16::try_from(length).expect("names are checked, extra fields short").to_le_bytes(),
        );
    }
    out
}

fn central(entry: &Written, out: &mut Vec<u8>) {
    let mut wide = Vec::new();
    if entry.is_wide() {
        wide.extend([entry.size.to_le_bytes(), entry.size.to_le_bytes()].concat());
    }
    if entry.header_at >= u64::from(IN_64) {
        wide.extend(entry.header_at.to_le_bytes());
    }
    let mut extra = Vec::new();
    if !wide.is_empty() {
        extra.extend(EXTRA_64.to_le_bytes());
        extra.extend(u16::try_from(wide.len()).expect("24 bytes at most").to_le_bytes());
        extra.extend(wide);
    }
    out.extend(CENTRAL.to_le_bytes());
    // Made by version 4.5, on Unix.
    out.extend([45, 3]);
    out.extend(common(entry, extra.len()));
    // No comment, first part, no attributes but those of Unix: a file, 0644.
    out.extend([0; 6]);
    out.extend((0o100_644_u32 << 16).to_le_bytes());
    out.extend(u32::try_from(entry.header_at).unwrap_or(IN_64).to_le_bytes());
    out.extend(entry.name.as_bytes());
    out.extend(extra);
}

fn end_64(count: u64, size: u64, start: u64, out: &mut Vec<u8>) {
    let at = start + size;
    out.extend(END_64.to_le_bytes());
    out.extend((END_64_BYTES as u64 - 12).to_le_bytes());
    out.extend([45, 3, 45, 0]);
    out.extend([0; 8]);
    for value in [count, count, size, start] {
        out.extend(value.to_le_bytes());
    }
    out.extend(LOCATOR_64.to_le_bytes());
    out.extend([0; 4]);
    out.extend(at.to_le_bytes());
    out.extend(1_u32.to_le_bytes());
}
