//! Writes archives: ustar headers, with pax records for what does not fit them.

use crate::{Entry, Kind, padding};
use std::io::{self, Write};
use std::ops::Range;

/// Writes entries one after the other.
pub struct Writer<W: Write> {
    to: W,
    /// Content bytes that the current entry still needs.
    due: u64,
    /// Zero bytes after its content.
    pad: u64,
}

impl<W: Write> Writer<W> {
    /// An archive that begins at `to`.
    pub const fn new(to: W) -> Self {
        Self { to, due: 0, pad: 0 }
    }

    /// Begins an entry; a file's content follows through [`Writer::content`].
    pub fn entry(&mut self, entry: &Entry) -> io::Result<()> {
        let Kind::File { size } = entry.kind else {
            return self.head(entry, 0, Vec::new());
        };
        self.head(entry, size, Vec::new())
    }

    /// Begins a file with holes: only the bytes of `data` follow as content, stretch by stretch
    /// (GNU sparse 1.0). The stretches are sorted, and lie inside `size`.
    pub fn sparse(&mut self, entry: &Entry, size: u64, data: &[Range<u64>]) -> io::Result<()> {
        let map = sparse_map(size, data);
        let stored: u64 = data.iter().map(|stretch| stretch.end - stretch.start).sum();
        let mut pax = Vec::new();
        record(&mut pax, "GNU.sparse.major", b"1");
        record(&mut pax, "GNU.sparse.minor", b"0");
        record(&mut pax, "GNU.sparse.name", &entry.path);
        record(&mut pax, "GNU.sparse.realsize", size.to_string().as_bytes());
        self.head(entry, map.len() as u64 + stored, pax)?;
        self.content(&map)
    }

    /// The next bytes of the current file.
    ///
    /// # Panics
    /// Where there are more than the entry announced.
    pub fn content(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.due = self.due.checked_sub(bytes.len() as u64).expect("no more than announced");
        self.to.write_all(bytes)
    }

    /// How many bytes the current file still needs.
    pub const fn due(&self) -> u64 {
        self.due
    }

    /// Ends the archive.
    pub fn finish(mut self) -> io::Result<W> {
        self.end_entry()?;
        self.to.write_all(&[0; 1024])?;
        self.to.flush()?;
        Ok(self.to)
    }

    fn end_entry(&mut self) -> io::Result<()> {
        if self.due != 0 {
            return Err(io::Error::other("a file's content ended early"));
        }
        self.to.write_all(&[0; 512][..self.pad as usize])?;
        self.pad = 0;
        Ok(())
    }

    fn head(&mut self, entry: &Entry, stored: u64, mut pax: Vec<u8>) -> io::Result<()> {
        self.end_entry()?;
        let header = Header::new(entry, stored)?;
        Header::add_pax(entry, stored, &mut pax);
        if !pax.is_empty() {
            let size = pax.len() as u64;
            self.to.write_all(&Header::extension(size).finish())?;
            self.to.write_all(&pax)?;
            self.to.write_all(&[0; 512][..padding(size) as usize])?;
        }
        self.to.write_all(&header.finish())?;
        (self.due, self.pad) = (stored, padding(stored));
        Ok(())
    }
}

fn sparse_map(size: u64, data: &[Range<u64>]) -> Vec<u8> {
    // GNU tar ends the map with an empty stretch where the file ends in a hole.
    let ends_in_hole = data.last().is_none_or(|last| last.end < size);
    let mut map = format!("{}\n", data.len() + usize::from(ends_in_hole));
    for stretch in data {
        map += &format!("{}\n{}\n", stretch.start, stretch.end - stretch.start);
    }
    if ends_in_hole {
        map += &format!("{size}\n0\n");
    }
    let mut map = map.into_bytes();
    map.resize(map.len() + padding(map.len() as u64) as usize, 0);
    map
}

/// One pax record: `length key=value\n`, where the length counts itself.
fn record(pax: &mut Vec<u8>, key: &str, value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    pax.extend_from_slice(format!("{length} {key}=").as_bytes());
    pax.extend_from_slice(value);
    pax.push(b'\n');
}

/// A ustar header.
struct Header([u8; 512]);

impl Header {
    fn new(entry: &Entry, stored: u64) -> io::Result<Self> {
        let mut header = Self([0; 512]);
        let (flag, target): (u8, &[u8]) = match &entry.kind {
            Kind::File { .. } => (b'0', &[]),
            Kind::Hardlink { target } => (b'1', target),
            Kind::Symlink { target } => (b'2', target),
            Kind::Directory => (b'5', &[]),
            Kind::Other(what) => return Err(io::Error::other(*what)),
        };
        header.text(0..100, &entry.path);
        header.octal(100..108, u64::from(entry.mode));
        header.octal(108..116, u64::from(entry.uid));
        header.octal(116..124, u64::from(entry.gid));
        header.octal(124..136, stored);
        header.octal(136..148, entry.mtime_s.max(0) as u64);
        header.0[156] = flag;
        header.text(157..257, target);
        header.0[257..265].copy_from_slice(b"ustar\x0000");
        Ok(header)
    }

    fn extension(size: u64) -> Self {
        let mut header = Self([0; 512]);
        header.text(0..100, b"PaxHeaders/x");
        header.octal(100..108, 0o644);
        header.octal(108..116, 0);
        header.octal(116..124, 0);
        header.octal(124..136, size);
        header.octal(136..148, 0);
        header.0[156] = b'x';
        header.0[257..265].copy_from_slice(b"ustar\x0000");
        header
    }

    /// Adds to `pax` what the header cannot say.
    fn add_pax(entry: &Entry, stored: u64, pax: &mut Vec<u8>) {
        let plain = |bytes: &[u8]| bytes.len() <= 100 && bytes.is_ascii();
        if !plain(&entry.path) {
            record(pax, "path", &entry.path);
        }
        if let Kind::Symlink { target } | Kind::Hardlink { target } = &entry.kind
            && !plain(target)
        {
            record(pax, "linkpath", target);
        }
        if entry.mtime_s < 0 || entry.mtime_s >= 1 << 33 || entry.mtime_ns != 0 {
            record(pax, "mtime", decimal_time(entry.mtime_s, entry.mtime_ns).as_bytes());
        }
        if stored >= 1 << 33 {
            record(pax, "size", stored.to_string().as_bytes());
        }
        for (key, id) in [("uid", entry.uid), ("gid", entry.gid)] {
            if id >= 1 << 21 {
                record(pax, key, id.to_string().as_bytes());
            }
        }
    }

    fn text(&mut self, field: Range<usize>, text: &[u8]) {
        let length = text.len().min(field.len());
        self.0[field][..length].copy_from_slice(&text[..length]);
    }

    /// Octal digits and a zero byte; what does not fit is 0 here and a pax record besides.
    fn octal(&mut self, field: Range<usize>, value: u64) {
        let digits = field.len() - 1;
        let value = if value >> (3 * digits) == 0 { value } else { 0 };
        let text = format!("{value:0digits$o}");
        self.text(field, text.as_bytes());
    }

    fn finish(mut self) -> [u8; 512] {
        self.0[148..156].fill(b' ');
        let sum: u32 = self.0.iter().map(|byte| u32::from(*byte)).sum();
        self.0[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0
    }
}

/// Seconds with nine decimals; a time before 1970 is written as a negative decimal number.
fn decimal_time(seconds: i64, nanoseconds: u32) -> String {
    if seconds >= 0 || nanoseconds == 0 {
        return format!("{seconds}.{nanoseconds:09}");
    }
    format!("-{}.{:09}", -(seconds + 1), 1_000_000_000 - nanoseconds)
}
