//! payload_properties.txt: hashes and sizes that tell an update server which payload it is.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The four properties; others are kept as they stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Properties {
    /// SHA-256 of the whole payload.
    pub file_hash: [u8; 32],
    /// Bytes of the whole payload.
    pub file_size: u64,
    /// SHA-256 of header and manifest.
    pub metadata_hash: [u8; 32],
    /// Bytes of header and manifest.
    pub metadata_size: u64,
    /// Other lines, as `SWITCH_SLOT_ON_REBOOT=0`.
    pub others: Vec<(String, String)>,
}

/// Why a payload_properties.txt is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PropertiesError {
    /// Not `KEY=value`.
    #[error("payload_properties.txt, line {0}: not KEY=value in UTF-8")]
    Line(usize),
    /// A line that is missing, doubled or malformed.
    #[error("payload_properties.txt: {0} is missing, doubled or malformed")]
    Key(&'static str),
}

impl Properties {
    /// Reads the file.
    pub fn decode(bytes: &[u8]) -> Result<Self, PropertiesError> {
        let text = std::str::from_utf8(bytes).map_err(|_| PropertiesError::Line(0))?;
        let mut lines = Vec::new();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
            let pair = line.split_once('=').ok_or(PropertiesError::Line(number + 1))?;
            lines.push((pair.0.to_owned(), pair.1.to_owned()));
        }
        Ok(Self {
            file_hash: hash(&mut lines, "FILE_HASH")?,
            file_size: size(&mut lines, "FILE_SIZE")?,
            metadata_hash: hash(&mut lines, "METADATA_HASH")?,
            metadata_size: size(&mut lines, "METADATA_SIZE")?,
            others: lines,
        })
    }

    /// The file.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut out = format!(
            "FILE_HASH={}\nFILE_SIZE={}\nMETADATA_HASH={}\nMETADATA_SIZE={}\n",
            STANDARD.encode(self.file_hash),
            self.file_size,
            STANDARD.encode(self.metadata_hash),
            self.metadata_size
        );
        for (key, value) in &self.others {
            out.push_str(&format!("{key}={value}\n"));
        }
        out
    }
}

fn take(lines: &mut Vec<(String, String)>, key: &'static str) -> Result<String, PropertiesError> {
    let at = lines.iter().position(|(it, _)| it == key).ok_or(PropertiesError::Key(key))?;
    let (_, value) = lines.remove(at);
    if lines.iter().any(|(it, _)| it == key) { Err(PropertiesError::Key(key)) } else { Ok(value) }
}

fn hash(lines: &mut Vec<(String, String)>, key: &'static str) -> Result<[u8; 32], PropertiesError> {
    let bytes = STANDARD.decode(take(lines, key)?).ok().and_then(|it| it.try_into().ok());
    bytes.ok_or(PropertiesError::Key(key))
}

fn size(lines: &mut Vec<(String, String)>, key: &'static str) -> Result<u64, PropertiesError> {
    take(lines, key)?.parse().map_err(|_| PropertiesError::Key(key))
}
