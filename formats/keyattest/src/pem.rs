//! Certificates as text (RFC 7468): `-----BEGIN CERTIFICATE-----`, base64, `-----END CERTIFICATE-----`.
//!
//! Text between the blocks is passed over, as other readers do: tools write subjects there.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";
/// The largest file that is read, in bytes.
const MAX_BYTES: usize = 4 << 20;

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
    /// Not UTF-8.
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
    let text = std::str::from_utf8(text).map_err(|_| PemError::NotText)?;
    let mut found = Vec::new();
    let mut block: Option<String> = None;
    for line in text.lines().map(str::trim) {
        let number = found.len() + 1;
        match (line, &mut block) {
            (BEGIN, None) => block = Some(String::new()),
            (BEGIN, Some(_)) => return Err(PemError::Unfinished(number)),
            (END, Some(base64)) => {
                found.push(STANDARD.decode(base64).map_err(|_| PemError::Base64(number))?);
                block = None;
            }
            (line, Some(base64)) => base64.push_str(line),
            (_, None) => {}
        }
    }
    match block {
        Some(_) => Err(PemError::Unfinished(found.len() + 1)),
        None if found.is_empty() => Err(PemError::Empty),
        None => Ok(found),
    }
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
        let chatty = text.replace(BEGIN, &format!("subject=CN = x\n{BEGIN}")).replace('\n', "\r\n");
        assert_eq!(decode(chatty.as_bytes()), Ok(chain.to_vec()));
    }

    #[test]
    fn says_what_is_wrong() {
        let block = |inside: &str| format!("{BEGIN}\n{inside}\n{END}\n");
        for (text, expected) in [
            (String::new(), PemError::Empty),
            ("nothing".into(), PemError::Empty),
            (format!("{BEGIN}\nAA=="), PemError::Unfinished(1)),
            (format!("{}{BEGIN}\n{BEGIN}\n", block("AA==")), PemError::Unfinished(2)),
            (block("A"), PemError::Base64(1)),
            (block("A!=="), PemError::Base64(1)),
            (" ".repeat(MAX_BYTES + 1), PemError::TooLarge),
        ] {
            assert_eq!(decode(text.as_bytes()), Err(expected), "{text:.60}");
        }
        assert_eq!(decode(&[0x30, 0x82, 0xff]), Err(PemError::NotText));
    }
}
