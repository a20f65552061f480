//! UUIDs as text (RFC 9562, section 4).

use crate::TaId;
use std::fmt;
use std::str::FromStr;

/// Hexadecimal digits of each group.
const GROUPS: [usize; 5] = [8, 4, 4, 4, 12];

/// A text that is no UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a UUID, as 8e3f1a52-94c6-4f0e-8d51-6d2a1c5b7e90")]
pub struct NotAUuid;

impl fmt::Display for TaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            let dash = if matches!(at, 4 | 6 | 8 | 10) { "-" } else { "" };
            write!(f, "{dash}{byte:02x}")?;
        }
        Ok(())
    }
}

impl FromStr for TaId {
    type Err = NotAUuid;

    /// Reads the one canonical form; letters may be large.
    fn from_str(text: &str) -> Result<Self, NotAUuid> {
        let groups: Vec<&str> = text.split('-').collect();
        if !groups.iter().map(|group| group.len()).eq(GROUPS) {
            return Err(NotAUuid);
        }
        let digits = groups.concat();
        let mut id = [0; 16];
        for (byte, pair) in id.iter_mut().zip(digits.as_bytes().chunks(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Ok(Self(id))
    }
}

fn digit(character: u8) -> Result<u8, NotAUuid> {
    let value = char::from(character).to_digit(16).ok_or(NotAUuid)?;
    Ok(value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_nothing_else() {
        let id = TaId(*b"\x8e\x3f\x1a\x52\x94\xc6\x4f\x0e\x8d\x51\x6d\x2a\x1c\x5b\x7e\x90");
        assert_eq!(id.to_string(), "8e3f1a52-94c6-4f0e-8d51-6d2a1c5b7e90");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("8E3F1A52-94C6-4F0E-8D51-6D2A1C5B7E90".parse(), Ok(id));
        for bad in [
            "",
            "8e3f1a5294c64f0e8d516d2a1c5b7e90",
            "8e3f1a52-94c6-4f0e-8d51-6d2a1c5b7e9",
            "8e3f1a52-94c6-4f0e-8d51-6d2a1c5b7e90-",
            "8e3f1a52-94c6-4f0e-8d51-6d2a1c5b7e9g",
            "8e3f1a52-94c6-4f0e-8d51-6d2a1c5b7eé",
            "{8e3f1a52-94c6-4f0e-8d51-6d2a1c5b7e90}",
        ] {
            assert_eq!(bad.parse::<TaId>(), Err(NotAUuid), "{bad}");
        }
    }
}
