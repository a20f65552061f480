//! Reading an archive.

use super::{
    ALIGNMENT, Content, CpioError, Entry, HEADER_BYTES, MAGIC, MAX_PATH_BYTES, TRAILER, Tree,
};

/// An archive that was read and checked as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive<'a> {
    entries: Vec<Entry<'a>>,
}

impl<'a> Archive<'a> {
    /// Reads an archive; behind its trailer there are zeros only, however many.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, CpioError> {
        let mut reader = Reader { bytes, at: 0 };
        let mut tree = Tree::default();
        let mut entries = Vec::new();
        while let Some(entry) = reader.entry()? {
            tree.admit(entry.path, &entry.content)?;
            entries.push(entry);
        }
        reader.check_zeros(bytes.len())?;
        Ok(Self { entries })
    }

    /// The entries: each directory before what is in it.
    #[must_use]
    pub fn entries(&self) -> &[Entry<'a>] {
        &self.entries
    }

    /// The bytes of the regular file at `path`.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<&'a [u8]> {
        let entry = self.entries.iter().find(|entry| entry.path == path)?;
        match entry.content {
            Content::File(data) => Some(data),
            Content::Directory | Content::Symlink(_) => None,
        }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// The 13 fields of a header, in their order.
struct Fields([u32; 13]);

impl Fields {
    const fn mode(&self) -> u32 {
        self.0[1]
    }
    const fn links(&self) -> u32 {
        self.0[4]
    }
    const fn file_bytes(&self) -> u32 {
        self.0[6]
    }
    const fn name_bytes(&self) -> u32 {
        self.0[11]
    }
    const fn check(&self) -> u32 {
        self.0[12]
    }
}

impl<'a> Reader<'a> {
    /// The next entry; None at the trailer.
    fn entry(&mut self) -> Result<Option<Entry<'a>>, CpioError> {
        let start = self.at;
        let malformed = |problem| CpioError::Header { at: start, problem };
        let fields = self.fields()?;
        let path = self.name(fields.name_bytes(), start)?;
        if path == TRAILER {
            let empty = fields.file_bytes() == 0 && fields.mode() == 0;
            return if empty { Ok(None) } else { Err(malformed("the trailer is not empty")) };
        }
        if fields.check() != 0 {
            return Err(malformed("a check sum has no place in this format"));
        }
        let data = self.take(fields.file_bytes() as usize)?;
        self.align()?;
        let content = match fields.mode() & 0o170_000 {
            0o040_000 if data.is_empty() => Content::Directory,
            0o100_000 if fields.links() == 1 => Content::File(data),
            0o100_000 => return Err(malformed("hard links are not supported")),
            0o120_000 => Content::Symlink(
                std::str::from_utf8(data).map_err(|_| malformed("a link is not UTF-8"))?,
            ),
            _ => return Err(malformed("not a directory, a regular file or a symbolic link")),
        };
        if fields.mode() & !0o177_777 != 0 {
            return Err(malformed("the mode has bits that are not defined"));
        }
        Ok(Some(Entry { path, mode: fields.mode() & 0o7777, content }))
    }

    fn fields(&mut self) -> Result<Fields, CpioError> {
        let at = self.at;
        let header = self.take(HEADER_BYTES)?;
        let digits = header
            .strip_prefix(MAGIC)
            .ok_or(CpioError::Header { at, problem: "the magic is not 070701" })?;
        let mut fields = [0; 13];
        for (field, digits) in fields.iter_mut().zip(digits.chunks_exact(8)) {
            *field = hexadecimal(digits)
                .ok_or(CpioError::Header { at, problem: "a field is not hexadecimal" })?;
        }
        Ok(Fields(fields))
    }

    fn name(&mut self, size: u32, start: usize) -> Result<&'a str, CpioError> {
        let malformed = |problem| CpioError::Header { at: start, problem };
        let size = size as usize;
        if !(2..=MAX_PATH_BYTES).contains(&size) {
            return Err(malformed("the name is empty or too long"));
        }
        let (last, name) =
            self.take(size)?.split_last().expect("the size was checked to be at least 2");
        if *last != 0 || name.contains(&0) {
            return Err(malformed("the name does not end where it should"));
        }
        self.align()?;
        std::str::from_utf8(name).map_err(|_| malformed("the name is not UTF-8"))
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], CpioError> {
        let rest = &self.bytes[self.at..];
        let taken = rest.get(..count).ok_or(CpioError::Truncated(self.bytes.len()))?;
        self.at += count;
        Ok(taken)
    }

    fn align(&mut self) -> Result<(), CpioError> {
        let end = self.at.next_multiple_of(ALIGNMENT);
        if end > self.bytes.len() {
            return Err(CpioError::Truncated(self.bytes.len()));
        }
        self.check_zeros(end)
    }

    /// Checks that the bytes up to `end` are zero, and goes there.
    fn check_zeros(&mut self, end: usize) -> Result<(), CpioError> {
        let stray = self.bytes[self.at..end].iter().position(|&byte| byte != 0);
        match stray {
            Some(offset) => Err(CpioError::Padding(self.at + offset)),
            None => {
                self.at = end;
                Ok(())
            }
        }
    }
}

fn hexadecimal(digits: &[u8]) -> Option<u32> {
    digits
        .iter()
        .try_fold(0, |value: u32, &digit| Some(value << 4 | char::from(digit).to_digit(16)?))
}
