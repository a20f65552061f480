//! GUIDs as GPT stores them: the first three fields are little-endian.

use std::{fmt, str::FromStr};

/// A GUID, in the byte order of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Guid([u8; 16]);

impl Guid {
    /// `0fc63daf-8483-4772-8e79-3d69d8477de4`: Linux file system data.
    pub const LINUX_DATA: Self = Self([
        0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47, 0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d,
        0xe4,
    ]);

    /// From the bytes on the disk.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// A random GUID (RFC 9562, version 4) from 16 random bytes.
    #[must_use]
    pub const fn from_random(mut bytes: [u8; 16]) -> Self {
        bytes[7] = (bytes[7] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        Self(bytes)
    }

    /// The bytes on the disk.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    pub(super) fn is_zero(self) -> bool {
        self.0 == [0; 16]
    }
}

/// Position on the disk of each byte of the text form.
const TEXT_ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, at) in TEXT_ORDER.into_iter().enumerate() {
            if [4, 6, 8, 10].contains(&nth) {
                f.write_str("-")?;
            }
            write!(f, "{:02x}", self.0[at])?;
        }
        Ok(())
    }
}

/// The text is not a GUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a GUID: 8-4-4-4-12 hexadecimal digits are needed")]
pub struct NotAGuid;

impl FromStr for Guid {
    type Err = NotAGuid;

    fn from_str(text: &str) -> Result<Self, NotAGuid> {
        let bytes = text.as_bytes();
        let dashes = [8, 13, 18, 23].into_iter().all(|at| bytes.get(at) == Some(&b'-'));
        let digits: Vec<u8> = bytes.iter().copied().filter(|&byte| byte != b'-').collect();
        if bytes.len() != 36 || !dashes || digits.len() != 32 {
            return Err(NotAGuid);
        }
        let mut guid = [0; 16];
        for (pair, at) in digits.chunks_exact(2).zip(TEXT_ORDER) {
            guid[at] = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Ok(Self(guid))
    }
}

fn nibble(digit: u8) -> Result<u8, NotAGuid> {
    let value = char::from(digit).to_digit(16).ok_or(NotAGuid)?;
    Ok(value as u8)
}
