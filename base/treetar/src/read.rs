//! Reads archives: ustar, pax, GNU long names, GNU sparse 1.0.

use crate::{Entry, Kind, RECORD, padding};
use std::collections::VecDeque;
use std::io::{self, Read};
use std::ops::Range;

/// The most bytes of pax records, of a long name, or of a sparse map.
const EXTENSION_BYTES: u64 = 4 << 20;

/// Why an archive cannot be read on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The archive breaks the format.
    #[error("byte {at} of the archive: {what}")]
    Malformed {
        /// Where.
        at: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// The stream broke.
    #[error("the archive cannot be read on: {0}")]
    Io(#[from] io::Error),
}

/// A stretch of a file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chunk {
    /// So many bytes were put at the front of the buffer.
    Data(usize),
    /// So many zero bytes that were not stored.
    Hole(u64),
    /// The file is complete.
    End,
}

/// Reads entries one after the other.
pub struct Reader<R> {
    from: R,
    position: u64,
    /// Stored bytes of the current entry that were not read yet.
    stored: u64,
    pad: u64,
    /// What the current file still has.
    parts: VecDeque<Part>,
}

#[derive(Debug)]
enum Part {
    Data(u64),
    Hole(u64),
}

/// What extension headers say about the next entry.
#[derive(Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    size: Option<u64>,
    mtime: Option<(i64, u32)>,
    uid: Option<u32>,
    gid: Option<u32>,
    sparse_name: Option<Vec<u8>>,
    sparse_size: Option<u64>,
    sparse_version: (Option<u64>, Option<u64>),
    other_sparse: bool,
}

impl<R: Read> Reader<R> {
    /// An archive that begins at `from`.
    pub const fn new(from: R) -> Self {
        Self { from, position: 0, stored: 0, pad: 0, parts: VecDeque::new() }
    }

    /// The next entry; what is left of the one before is passed over. `None` at the end of the
    /// archive: the stream is read to its end, so that whoever sends it is not cut off.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, ReadError> {
        self.pass_over(self.stored + self.pad)?;
        let mut extensions = Extensions::default();
        loop {
            let Some(header) = self.header()? else { return Ok(None) };
            let size = self.number(&header[124..136])?;
            (self.stored, self.pad) = (size, padding(size));
            match header[156] {
                b'x' => {
                    let records = self.extension(size)?;
                    self.pax(&records, &mut extensions)?;
                }
                b'g' => self.pass_over(size + padding(size))?,
                b'L' => extensions.path = Some(until_zero(&self.extension(size)?).to_vec()),
                b'K' => extensions.target = Some(until_zero(&self.extension(size)?).to_vec()),
                _ => return self.entry(&header, extensions).map(Some),
            }
        }
    }

    /// The next stretch of the current file. `buffer` is filled as far as the stretch goes.
    pub fn chunk(&mut self, buffer: &mut [u8]) -> Result<Chunk, ReadError> {
        match self.parts.front_mut() {
            None => Ok(Chunk::End),
            Some(Part::Hole(length)) => {
                let length = *length;
                self.parts.pop_front();
                Ok(Chunk::Hole(length))
            }
            Some(Part::Data(left)) => {
                let take = buffer.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= take as u64;
                if *left == 0 {
                    self.parts.pop_front();
                }
                self.stored -= take as u64;
                self.exact(&mut buffer[..take])?;
                Ok(Chunk::Data(take))
            }
        }
    }

    fn entry(&mut self, header: &[u8; 512], said: Extensions) -> Result<Entry, ReadError> {
        let stored = said.size.unwrap_or(self.stored);
        (self.stored, self.pad) = (stored, padding(stored));
        let flag = header[156];
        let sparse = said.sparse_version == (Some(1), Some(0));
        let path = said.sparse_name.or(said.path).unwrap_or_else(|| ustar_path(header));
        let target = said.target.unwrap_or_else(|| until_zero(&header[157..257]).to_vec());
        self.parts.clear();
        let kind = match flag {
            b'0' | 0 | b'7' if said.other_sparse && !sparse => Kind::Other("an old sparse format"),
            b'0' | 0 | b'7' if flag != b'7' && path.ends_with(b"/") => Kind::Directory,
            b'0' | 0 | b'7' => {
                Kind::File { size: self.parts_of(stored, sparse, said.sparse_size)? }
            }
            b'1' => Kind::Hardlink { target },
            b'2' => Kind::Symlink { target },
            b'3' => Kind::Other("a character device"),
            b'4' => Kind::Other("a block device"),
            b'5' => Kind::Directory,
            b'6' => Kind::Other("a fifo"),
            b'S' => Kind::Other("an old sparse format"),
            _ => Kind::Other("an entry of a type that is not known"),
        };
        let plain_time = self.signed(&header[136..148])?;
        let (mtime_s, mtime_ns) = said.mtime.unwrap_or((plain_time, 0));
        Ok(Entry {
            path,
            kind,
            mode: (self.number(&header[100..108])? & 0o7777) as u32,
            mtime_s,
            mtime_ns,
            uid: said.uid.unwrap_or(self.number(&header[108..116])? as u32),
            gid: said.gid.unwrap_or(self.number(&header[116..124])? as u32),
        })
    }

    /// Lays out what the current file consists of; its size.
    fn parts_of(&mut self, stored: u64, sparse: bool, real: Option<u64>) -> Result<u64, ReadError> {
        if !sparse {
            if stored > 0 {
                self.parts.push_back(Part::Data(stored));
            }
            return Ok(stored);
        }
        let size = real.ok_or_else(|| self.malformed("a sparse file without its size"))?;
        let mut at = 0;
        for stretch in self.sparse_map()? {
            if stretch.start < at || stretch.end > size {
                return Err(self.malformed("a sparse map that is out of order"));
            }
            if stretch.start > at {
                self.parts.push_back(Part::Hole(stretch.start - at));
            }
            if !stretch.is_empty() {
                self.parts.push_back(Part::Data(stretch.end - stretch.start));
            }
            at = stretch.end;
        }
        if at < size {
            self.parts.push_back(Part::Hole(size - at));
        }
        let data: u64 = self.parts.iter().map(Part::stored).sum();
        if data == self.stored {
            Ok(size)
        } else {
            Err(self.malformed("a sparse map that does not fit its content"))
        }
    }

    fn sparse_map(&mut self) -> Result<Vec<Range<u64>>, ReadError> {
        let mut text = Vec::new();
        let mut count = None;
        loop {
            let lines = text.iter().filter(|byte| **byte == b'\n').count() as u64;
            if count.is_none() && lines > 0 {
                let first = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
                count = Some(self.decimal(first)?);
            }
            if count.is_some_and(|count| count.checked_mul(2).is_none_or(|n| n < lines)) {
                break;
            }
            if self.stored < RECORD || text.len() as u64 >= EXTENSION_BYTES {
                return Err(self.malformed("a sparse map without an end"));
            }
            let mut record = [0; RECORD as usize];
            self.exact(&mut record)?;
            self.stored -= RECORD;
            text.extend_from_slice(&record);
        }
        let count = count.unwrap_or_default() as usize;
        let numbers: Vec<u64> = text
            .split(|byte| *byte == b'\n')
            .skip(1)
            .take(count * 2)
            .map(|number| self.decimal(number))
            .collect::<Result<_, _>>()?;
        let stretch = |pair: &[u64; 2]| {
            let end = pair[0].checked_add(pair[1]);
            end.map(|end| pair[0]..end).ok_or_else(|| self.malformed("a sparse map out of range"))
        };
        numbers.as_chunks::<2>().0.iter().map(stretch).collect()
    }

    fn pax(&self, mut records: &[u8], said: &mut Extensions) -> Result<(), ReadError> {
        while !records.is_empty() {
            let broken = || self.malformed("a pax record that is malformed");
            let space = records.iter().position(|byte| *byte == b' ').ok_or_else(broken)?;
            let length = self.decimal(&records[..space])? as usize;
            let record = records.get(space + 1..length).ok_or_else(broken)?;
            let record = record.strip_suffix(b"\n").ok_or_else(broken)?;
            let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(broken)?;
            self.pax_record(&record[..equals], &record[equals + 1..], said)?;
            records = &records[length..];
        }
        Ok(())
    }

    fn pax_record(&self, key: &[u8], value: &[u8], said: &mut Extensions) -> Result<(), ReadError> {
        match key {
            b"path" => said.path = Some(value.to_vec()),
            b"linkpath" => said.target = Some(value.to_vec()),
            b"size" => said.size = Some(self.decimal(value)?),
            b"mtime" => said.mtime = Some(self.time(value)?),
            b"uid" => said.uid = u32::try_from(self.decimal(value)?).ok(),
            b"gid" => said.gid = u32::try_from(self.decimal(value)?).ok(),
            b"GNU.sparse.major" => said.sparse_version.0 = Some(self.decimal(value)?),
            b"GNU.sparse.minor" => said.sparse_version.1 = Some(self.decimal(value)?),
            b"GNU.sparse.name" => said.sparse_name = Some(value.to_vec()),
            b"GNU.sparse.realsize" => said.sparse_size = Some(self.decimal(value)?),
            _ => said.other_sparse |= key.starts_with(b"GNU.sparse."),
        }
        Ok(())
    }

    fn header(&mut self) -> Result<Option<[u8; 512]>, ReadError> {
        let mut header = [0; 512];
        let mut filled = 0;
        while filled < header.len() {
            match self.from.read(&mut header[filled..]) {
                Ok(0) if filled == 0 => return Err(self.malformed("the archive has no end mark")),
                Ok(0) => return Err(self.malformed("the archive ends inside a header")),
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        if header == [0; 512] {
            io::copy(&mut self.from, &mut io::sink())?;
            return Ok(None);
        }
        let sum =
            |byte: (usize, &u8)| if (148..156).contains(&byte.0) { 32 } else { u64::from(*byte.1) };
        if header.iter().enumerate().map(sum).sum::<u64>() != self.number(&header[148..156])? {
            return Err(self.malformed("a header whose checksum is wrong"));
        }
        self.position += RECORD;
        Ok(Some(header))
    }

    fn extension(&mut self, size: u64) -> Result<Vec<u8>, ReadError> {
        if size > EXTENSION_BYTES {
            return Err(self.malformed("an extension header of more than 4 MiB"));
        }
        let mut bytes = vec![0; (size + padding(size)) as usize];
        self.exact(&mut bytes)?;
        bytes.truncate(size as usize);
        (self.stored, self.pad) = (0, 0);
        Ok(bytes)
    }

    fn exact(&mut self, out: &mut [u8]) -> Result<(), ReadError> {
        self.from.read_exact(out).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => self.malformed("the archive ends inside an entry"),
            _ => error.into(),
        })?;
        self.position += out.len() as u64;
        Ok(())
    }

    fn pass_over(&mut self, bytes: u64) -> Result<(), ReadError> {
        let passed = io::copy(&mut (&mut self.from).take(bytes), &mut io::sink())?;
        self.position += passed;
        (self.stored, self.pad) = (0, 0);
        if passed == bytes {
            Ok(())
        } else {
            Err(self.malformed("the archive ends inside an entry"))
        }
    }

    fn number(&self, field: &[u8]) -> Result<u64, ReadError> {
        let number = self.signed(field)?;
        u64::try_from(number).map_err(|_| self.malformed("a header field below zero"))
    }

    /// Octal digits, or base 256 in two's complement where the first bit is set (GNU).
    fn signed(&self, field: &[u8]) -> Result<i64, ReadError> {
        let broken = || self.malformed("a header field that is no number");
        if field[0] & 0x80 != 0 {
            // Twelve bytes at most: 95 bits and the sign.
            let first = i128::from(field[0] & 0x7f) - (i128::from(field[0] & 0x40) << 1);
            let number = field[1..].iter().fold(first, |sum, byte| sum << 8 | i128::from(*byte));
            return i64::try_from(number).map_err(|_| broken());
        }
        let text = until_zero(field).trim_ascii();
        if text.is_empty() {
            return Ok(0);
        }
        let text = std::str::from_utf8(text).map_err(|_| broken())?;
        i64::from_str_radix(text, 8)
            .ok()
            .filter(|_| !text.starts_with(['+', '-']))
            .ok_or_else(broken)
    }

    fn decimal(&self, text: &[u8]) -> Result<u64, ReadError> {
        let digits = text.iter().all(u8::is_ascii_digit);
        let number = std::str::from_utf8(text).ok().filter(|_| digits).and_then(|t| t.parse().ok());
        number
            .filter(|number: &u64| number >> 62 == 0)
            .ok_or_else(|| self.malformed("a pax value that is no number"))
    }

    /// Seconds with a fraction, rounded towards the past.
    fn time(&self, text: &[u8]) -> Result<(i64, u32), ReadError> {
        let (negative, text) = match text.strip_prefix(b"-") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let mut halves = text.splitn(2, |byte| *byte == b'.');
        let seconds = self.decimal(halves.next().unwrap_or_default())? as i64;
        let mut fraction = halves.next().unwrap_or_default().to_vec();
        fraction.resize(9, b'0');
        let nanoseconds = self.decimal(&fraction)? as u32;
        Ok(match (negative, nanoseconds) {
            (false, _) => (seconds, nanoseconds),
            (true, 0) => (-seconds, 0),
            (true, _) => (-seconds - 1, 1_000_000_000 - nanoseconds),
        })
    }

    const fn malformed(&self, what: &'static str) -> ReadError {
        ReadError::Malformed { at: self.position, what }
    }
}

impl Part {
    const fn stored(&self) -> u64 {
        match self {
            Self::Data(length) => *length,
            Self::Hole(_) => 0,
        }
    }
}

fn ustar_path(header: &[u8; 512]) -> Vec<u8> {
    let name = until_zero(&header[..100]);
    let prefix = until_zero(&header[345..500]);
    // GNU's own format has times where ustar has the prefix.
    if &header[257..263] != b"ustar\0" || prefix.is_empty() {
        return name.to_vec();
    }
    [prefix, name].join(&b'/')
}

fn until_zero(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}
