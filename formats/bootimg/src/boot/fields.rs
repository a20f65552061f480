//! Reading and writing what all headers have: numbers, texts in fixed fields, parts on pages.

use super::{BootImageError, PAGE_BYTES_RANGE};

/// Fields of a header, one after the other.
pub(super) struct Reader<'a> {
    header: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// From byte `at` of `header` on.
    pub(super) const fn new(header: &'a [u8], at: usize) -> Self {
        Self { header, at }
    }

    pub(super) fn take(&mut self, bytes: usize) -> Result<&'a [u8], BootImageError> {
        let field = self.header.get(self.at..).and_then(|rest| rest.get(..bytes));
        self.at += bytes;
        field.ok_or(BootImageError::Size("header"))
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], BootImageError> {
        Ok(self.take(N)?.try_into().expect("as many bytes were taken"))
    }

    pub(super) fn u32(&mut self) -> Result<u32, BootImageError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, BootImageError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A text that ends with the field, or with zeros that fill it.
    pub(super) fn text(
        &mut self,
        bytes: usize,
        what: &'static str,
    ) -> Result<&'a str, BootImageError> {
        text(self.take(bytes)?, what)
    }

    /// The rest of the header must be zero; `bytes` is where its fields must have ended.
    pub(super) fn ends(self, bytes: u32) -> Result<(), BootImageError> {
        let rest = self.header.get(self.at..).ok_or(BootImageError::Size("header"))?;
        if self.at != bytes as usize {
            return Err(BootImageError::Field("header_size"));
        }
        if is_zero(rest) { Ok(()) } else { Err(BootImageError::Padding("header")) }
    }
}

/// A text in a fixed field.
pub(super) fn text<'a>(field: &'a [u8], what: &'static str) -> Result<&'a str, BootImageError> {
    let end = field.iter().position(|&byte| byte == 0).unwrap_or(field.len());
    let (text, rest) = field.split_at(end);
    if !is_zero(rest) {
        return Err(BootImageError::Padding(what));
    }
    std::str::from_utf8(text).map_err(|_| BootImageError::Field(what))
}

/// Puts a text into a field of `bytes`; one that fills it has no NUL behind it.
pub(super) fn put_text(
    out: &mut Vec<u8>,
    text: &str,
    bytes: usize,
    what: &'static str,
) -> Result<(), BootImageError> {
    if text.len() > bytes || text.contains('\0') {
        return Err(BootImageError::Field(what));
    }
    out.extend(text.as_bytes());
    out.resize(out.len() + bytes - text.len(), 0);
    Ok(())
}

/// The length of a part, as a header has it.
pub(super) fn size(part: &[u8], what: &'static str) -> Result<u32, BootImageError> {
    u32::try_from(part.len()).map_err(|_| BootImageError::Size(what))
}

/// Appends a part and the zeros behind it.
pub(super) fn put_part(out: &mut Vec<u8>, part: &[u8], page_bytes: usize) {
    out.extend(part);
    out.resize(out.len().next_multiple_of(page_bytes), 0);
}

/// Takes `size` bytes and the padding behind them.
pub(super) fn take_part<'a>(
    rest: &mut &'a [u8],
    size: u32,
    page_bytes: usize,
    what: &'static str,
) -> Result<&'a [u8], BootImageError> {
    let cut_off = BootImageError::Size(what);
    let size = usize::try_from(size).map_err(|_| cut_off.clone())?;
    let padded = size.checked_next_multiple_of(page_bytes).ok_or_else(|| cut_off.clone())?;
    let (part, after) = rest.split_at_checked(padded).ok_or(cut_off)?;
    *rest = after;
    let (part, padding) = part.split_at(size);
    if is_zero(padding) { Ok(part) } else { Err(BootImageError::Padding(what)) }
}

/// A page size that an image may have.
pub(super) fn page_bytes(field: u32) -> Result<usize, BootImageError> {
    if field.is_power_of_two() && PAGE_BYTES_RANGE.contains(&field) {
        Ok(field as usize)
    } else {
        Err(BootImageError::Field("page_size"))
    }
}

pub(super) fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == 0)
}
