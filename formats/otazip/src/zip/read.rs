//! Reading.

use super::{
    CENTRAL, CENTRAL_BYTES, END, END_64, END_64_BYTES, END_BYTES, EXTRA_64, IN_64, LOCAL,
    LOCAL_BYTES, LOCATOR_64, LOCATOR_64_BYTES, ZipError, is_plain, u16_at, u32_at, u64_at,
};
use payload::ReadAt;
use std::collections::BTreeMap;
use std::ops::Range;

/// The largest directory. Real OTA files have a few kilobytes.
const DIRECTORY_LIMIT: u64 = 16 << 20;
/// The largest entry that is read into memory.
const MEMORY_LIMIT: u64 = 64 << 20;
/// Encrypted, patched, strongly encrypted, masked.
const REFUSED_FLAGS: u16 = 1 | 1 << 5 | 1 << 6 | 1 << 13;
/// Sizes stand behind the data.
const DESCRIPTOR: u16 = 1 << 3;

/// An entry of the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its path.
    pub name: String,
    /// Whether its data stands as it is, and can be read by range.
    pub stored: bool,
    /// CRC-32 of its content.
    pub crc32: u32,
    /// Bytes of its content.
    pub size: u64,
    /// Where its data lies in the file, compressed if it is.
    pub data: Range<u64>,
}

/// A zip file whose directory holds together.
pub struct Archive<'a> {
    file: &'a dyn ReadAt,
    entries: BTreeMap<String, Entry>,
    directory: Range<u64>,
}

/// Where the directory is.
struct End {
    entries: u64,
    directory: Range<u64>,
}

impl<'a> Archive<'a> {
    /// Opens a file of `length` bytes, of which the last `comment` are the zip file's comment.
    pub fn open(file: &'a dyn ReadAt, length: u64, comment: u16) -> Result<Self, ZipError> {
        let end = End::read(file, length, comment)?;
        let size = end.directory.end - end.directory.start;
        limit("the central directory", size, DIRECTORY_LIMIT)?;
        let bytes = read(file, end.directory.start, size)?;
        let mut entries = BTreeMap::new();
        let mut places = Vec::new();
        let mut rest = &bytes[..];
        for _ in 0..end.entries {
            let (record, tail) = Central::read(rest)?;
            rest = tail;
            let entry = record.locate(file, end.directory.start)?;
            places.push((record.local_at, entry.data.end, entry.name.clone()));
            if let Some(entry) = entries.insert(entry.name.clone(), entry) {
                return Err(ZipError::Twice(entry.name));
            }
        }
        if !rest.is_empty() {
            return Err(ZipError::Directory);
        }
        places.sort();
        if let Some(pair) = places.windows(2).find(|pair| pair[0].1 > pair[1].0) {
            return Err(ZipError::Overlap(pair[1].2.clone()));
        }
        Ok(Self { file, entries, directory: end.directory })
    }

    /// Every entry, by name.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// Where the directory lies: behind all entries.
    #[must_use]
    pub fn directory(&self) -> Range<u64> {
        self.directory.clone()
    }

    /// The entry of this name.
    pub fn entry(&self, name: &str) -> Result<&Entry, ZipError> {
        self.entries.get(name).ok_or_else(|| ZipError::Missing(name.to_owned()))
    }

    /// An entry's content, of 64 MiB at most, checked against its CRC-32.
    pub fn read(&self, name: &str) -> Result<Vec<u8>, ZipError> {
        let entry = self.entry(name)?;
        limit(name, entry.size, MEMORY_LIMIT)?;
        limit(name, entry.data.end - entry.data.start, MEMORY_LIMIT)?;
        let raw = read(self.file, entry.data.start, entry.data.end - entry.data.start)?;
        let damaged = || ZipError::Damaged(name.to_owned());
        let content = if entry.stored {
            raw
        } else {
            let size = usize::try_from(entry.size).map_err(|_| damaged())?;
            miniz_oxide::inflate::decompress_to_vec_with_limit(&raw, size).map_err(|_| damaged())?
        };
        let right = content.len() as u64 == entry.size && crc32fast::hash(&content) == entry.crc32;
        if right { Ok(content) } else { Err(damaged()) }
    }
}

fn limit(what: &str, size: u64, limit: u64) -> Result<(), ZipError> {
    let what = || what.to_owned();
    if size > limit { Err(ZipError::TooLarge { what: what(), size, limit }) } else { Ok(()) }
}

fn read(file: &dyn ReadAt, at: u64, size: u64) -> Result<Vec<u8>, ZipError> {
    let mut bytes = vec![0; usize::try_from(size).map_err(|_| ZipError::Directory)?];
    file.read_at(at, &mut bytes)?;
    Ok(bytes)
}

impl End {
    fn read(file: &dyn ReadAt, length: u64, comment: u16) -> Result<Self, ZipError> {
        let size = END_BYTES as u64 + u64::from(comment);
        let at = length.checked_sub(size).ok_or(ZipError::NoEnd)?;
        let end = read(file, at, size)?;
        if u32_at(&end, 0) != END || u16_at(&end, 20) != comment {
            return Err(ZipError::NoEnd);
        }
        if end[4..].windows(4).any(|it| it == END.to_le_bytes()) {
            return Err(ZipError::SecondEnd);
        }
        let entries = u16_at(&end, 10);
        if u16_at(&end, 8) != entries || end[4..8] != [0; 4] {
            return Err(ZipError::Parts);
        }
        let (directory_size, start) = (u32_at(&end, 12), u32_at(&end, 16));
        let mut found = Self {
            entries: u64::from(entries),
            directory: Range { start: u64::from(start), end: 0 },
        };
        let mut size = u64::from(directory_size);
        let mut directory_end = at;
        if entries == u16::MAX || directory_size == IN_64 || start == IN_64 {
            let wide = Wide::read(file, at)?;
            let agrees = |narrow: u64, full: u64, wide: u64| narrow == full || narrow == wide;
            let agree = agrees(found.entries, u64::from(u16::MAX), wide.entries)
                && agrees(size, u64::from(IN_64), wide.size)
                && agrees(found.directory.start, u64::from(IN_64), wide.start);
            if !agree {
                return Err(ZipError::Zip64);
            }
            (found.entries, size, found.directory.start) = (wide.entries, wide.size, wide.start);
            directory_end = wide.at;
        }
        if found.directory.start.checked_add(size) != Some(directory_end) {
            return Err(ZipError::Directory);
        }
        found.directory.end = directory_end;
        Ok(found)
    }
}

/// The zip64 end record.
struct Wide {
    entries: u64,
    size: u64,
    start: u64,
    at: u64,
}

impl Wide {
    /// The record and its locator stand directly in front of the end record at `end`.
    fn read(file: &dyn ReadAt, end: u64) -> Result<Self, ZipError> {
        let both = (END_64_BYTES + LOCATOR_64_BYTES) as u64;
        let at = end.checked_sub(both).ok_or(ZipError::Zip64)?;
        let bytes = read(file, at, both)?;
        let (record, locator) = bytes.split_at(END_64_BYTES);
        let holds = u32_at(record, 0) == END_64
            && u64_at(record, 4) == END_64_BYTES as u64 - 12
            && record[16..24] == [0; 8]
            && u64_at(record, 24) == u64_at(record, 32)
            && u32_at(locator, 0) == LOCATOR_64
            && u32_at(locator, 4) == 0
            && u64_at(locator, 8) == at
            && u32_at(locator, 16) == 1;
        if !holds {
            return Err(ZipError::Zip64);
        }
        let (entries, size) = (u64_at(record, 32), u64_at(record, 40));
        Ok(Self { entries, size, start: u64_at(record, 48), at })
    }
}

/// A record of the directory.
struct Central {
    name: String,
    flags: u16,
    method: u16,
    crc32: u32,
    packed: u64,
    size: u64,
    local_at: u64,
}

impl Central {
    /// The record in front of `bytes`, and what is behind it.
    fn read(bytes: &[u8]) -> Result<(Self, &[u8]), ZipError> {
        let (fixed, rest) = bytes.split_at_checked(CENTRAL_BYTES).ok_or(ZipError::Directory)?;
        if u32_at(fixed, 0) != CENTRAL {
            return Err(ZipError::Directory);
        }
        let split = |bytes, at| {
            let length = usize::from(u16_at(fixed, at));
            <[u8]>::split_at_checked(bytes, length).ok_or(ZipError::Directory)
        };
        let (name, rest) = split(rest, 28)?;
        let (extra, rest) = split(rest, 30)?;
        let (_, rest) = split(rest, 32)?;
        let text = std::str::from_utf8(name).ok().filter(|name| is_plain(name));
        let name = text.ok_or_else(|| ZipError::Name(name.escape_ascii().to_string()))?;
        if u16_at(fixed, 34) != 0 {
            return Err(ZipError::Parts);
        }
        let fields = [u32_at(fixed, 24), u32_at(fixed, 20), u32_at(fixed, 42)];
        let [size, packed, local_at] = widen(fields, extra)?;
        let (flags, method) = (u16_at(fixed, 8), u16_at(fixed, 10));
        if flags & REFUSED_FLAGS != 0 || ![0, 8].contains(&method) || method == 0 && packed != size
        {
            return Err(ZipError::Method(name.to_owned()));
        }
        let (name, crc32) = (name.to_owned(), u32_at(fixed, 16));
        Ok((Self { name, flags, method, crc32, packed, size, local_at }, rest))
    }

    /// The entry, after a look at its local header.
    fn locate(&self, file: &dyn ReadAt, directory: u64) -> Result<Entry, ZipError> {
        let overlap = || ZipError::Overlap(self.name.clone());
        let header_end = self.local_at.checked_add(LOCAL_BYTES as u64).ok_or_else(overlap)?;
        if header_end > directory {
            return Err(overlap());
        }
        let header = read(file, self.local_at, LOCAL_BYTES as u64)?;
        let (name, extra) = (u16_at(&header, 26), u16_at(&header, 28));
        let start = header_end + u64::from(name) + u64::from(extra);
        let end = start.checked_add(self.packed).ok_or_else(overlap)?;
        if end > directory {
            return Err(overlap());
        }
        let rest = read(file, header_end, u64::from(name) + u64::from(extra))?;
        let (name, extra) = rest.split_at(usize::from(name));
        if u32_at(&header, 0) != LOCAL || !self.agrees(&header, name, extra)? {
            return Err(ZipError::Local(self.name.clone()));
        }
        Ok(Entry {
            name: self.name.clone(),
            stored: self.method == 0,
            crc32: self.crc32,
            size: self.size,
            data: start..end,
        })
    }

    /// Whether the local header says the same. With a data descriptor it may say nothing about
    /// sizes: the directory is what counts.
    fn agrees(&self, header: &[u8], name: &[u8], extra: &[u8]) -> Result<bool, ZipError> {
        let flags = u16_at(header, 6);
        let same = name == self.name.as_bytes()
            && u16_at(header, 8) == self.method
            && (flags ^ self.flags) & (DESCRIPTOR | REFUSED_FLAGS) == 0;
        let fields = [u32_at(header, 22), u32_at(header, 18), 0];
        let [size, packed, _] = widen(fields, extra)?;
        let said = (u32_at(header, 14), packed, size);
        let silent = flags & DESCRIPTOR != 0 && said == (0, 0, 0);
        Ok(same && (silent || said == (self.crc32, self.packed, self.size)))
    }
}

/// Size, compressed size and offset, from the zip64 extra field where they say so.
fn widen(fields: [u32; 3], mut extra: &[u8]) -> Result<[u64; 3], ZipError> {
    let mut wide: Option<&[u8]> = None;
    while extra.len() >= 4 {
        let (kind, length) = (u16_at(extra, 0), usize::from(u16_at(extra, 2)));
        let (value, rest) = extra[4..].split_at_checked(length).ok_or(ZipError::Directory)?;
        if kind == EXTRA_64 && wide.replace(value).is_some() {
            return Err(ZipError::Zip64);
        }
        extra = rest;
    }
    let mut out = fields.map(u64::from);
    let mut rest = wide.unwrap_or_default();
    for value in &mut out {
        if *value == u64::from(IN_64) {
            let (wide, tail) = rest.split_at_checked(8).ok_or(ZipError::Zip64)?;
            *value = u64_at(wide, 0);
            rest = tail;
        }
    }
    Ok(out)
}
