//! Certificates as text (RFC 7468): `-----BEGIN CERTIFICATE-----`, base64, `-----END CERTIFICATE-----`.
//!
//! What stands between the blocks is passed over, as other readers do: tools write subjects there,
//! editors a byte order mark, and files that are put together may lack the end of a line.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";
/// The largest file that is read, in bytes.
pub const MAX_BYTES: usize = 4 << 20;
/// SEQUENCE, with a length in two bytes: how certificates in DER begin.
const DER: [u8; 2] = [0x30, 0x82];

/// Why text holds no certificates. Blocks count from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PemError {
    /// No block at all.
    #[error("no certificate in it: PEM starts with {BEGIN}")]
    Empty,
    /// Larger than any chain.
    #[error("larger than 4 MiB")]
    TooLarge,
    /// DER.
    #[error("not text: certificates in DER have to be turned into PEM first")]
    NotText,
    /// A block without its last line, or with another block inside.
    #[error("certificate {0} has no line {END}")]
    Unfinished(usize),
    /// What stands in a block is no base64.
    #[error("certificate {0} is not base64")]
    Base64(usize),
}

/// The certificates in `text`, DER, in their order.
pub fn decode(text: &[u8]) -> Result<Vec<Vec<u8>>, PemError> {
    if text.len() > MAX_BYTES {
        return Err(PemError::TooLarge);
    }
    if text.starts_with(&DER) {
        return Err(PemError::NotText);
    }
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((_, block)) = split(rest, BEGIN) {
        let number = found.len() + 1;
        let (inside, after) = split(block, END).ok_or(PemError::Unfinished(number))?;
        if split(inside, BEGIN).is_some() {
            return Err(PemError::Unfinished(number));
        }
        let base64: Vec<u8> =
            inside.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
        found.push(STANDARD.decode(base64).map_err(|_| PemError::Base64(number))?);
        rest = after;
    }
    if found.is_empty() { Err(PemError::Empty) } else { Ok(found) }
}

/// What stands before and after the first `mark`.
fn split<'a>(text: &'a [u8], mark: &str) -> Option<(&'a [u8], &'a [u8])> {
    let at = text.windows(mark.len()).position(|window| window == mark.as_bytes())?;
    Some((&text[..at], &text[at + mark.len()..]))
}

/// Certificates as text, in their order.
#[must_use]
pub fn encode(certificates: &[impl AsRef<[u8]>]) -> String {
    let mut out = String::new();
    for certificate in certificates {
        let base64 = STANDARD.encode(certificate);
        out.extend([BEGIN, "\n"]);
        for line in base64.as_bytes().chunks(64) {
            out.extend([str::from_utf8(line).expect("base64 is ASCII"), "\n"]);
        }
        out.extend([END, "\n"]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_the_same_also_between_other_text() {
        let chain = [vec![1; 100], vec![], vec![2]];
        let text = encode(&chain);
        assert_eq!(decode(text.as_bytes()), Ok(chain.to_vec()));
        let chatty = text.replace(BEGIN, &format!("subject=CN = x\n{BEGIN}"));
        for ends in ["\r\n", "\r", " \n\t"] {
            assert_eq!(decode(chatty.replace('\n', ends).as_bytes()), Ok(chain.to_vec()));
        }
    }

    #[test]
    fn files_that_editors_and_cat_made_lose_no_certificate() {
        let chain = [vec![1; 100], vec![2; 60]];
        let text = encode(&chain);
        let joined = text.replace(&format!("{END}\n"), END);
        let marked = format!("\u{feff}{text}");
        let latin_1 = [b"Ger\xe4t\n", text.as_bytes()].concat();
        for file in [joined.as_bytes(), marked.as_bytes(), &latin_1] {
            assert_eq!(decode(file), Ok(chain.to_vec()));
        }
    }

    #[test]
    fn says_what_is_wrong() {
        let block = |inside: &str| format!("{BEGIN}\n{inside}\n{END}\n");
        for (text, expected) in [
            (String::new(), PemError::Empty),
            ("nothing".into(), PemError::Empty),
            (format!("{BEGIN}\nAA=="), PemError::Unfinished(1)),
            (format!("{}{BEGIN}\n{BEGIN}\n", block("AA==")), PemError::Unfinished(2)),
            (format!("{BEGIN}\n{}", block("AA==")), PemError::Unfinished(1)),
            (block("A"), PemError::Base64(1)),
            (block("A!=="), PemError::Base64(1)),
            (" ".repeat(MAX_BYTES + 1), PemError::TooLarge),
        ] {
            assert_eq!(decode(text.as_bytes()), Err(expected), "{text:.60}");
        }
        assert_eq!(decode(&[0x30, 0x82, 0xff]), Err(PemError::NotText));
    }
}
