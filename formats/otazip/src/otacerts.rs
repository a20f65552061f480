//! otacerts.zip: the certificates whose updates a device takes.

use crate::signature::acceptable;
use crate::zip::{Archive, Writer, ZipError};
use payload::ReadAt;
use payload::key::{Certificate, KeyError};

const SUFFIX: &str = ".x509.pem";

/// Why a list of certificates is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OtacertsError {
    /// A zip file that does not hold together.
    #[error(transparent)]
    Zip(#[from] ZipError),
    /// One certificate that recovery would not take: then it takes none of them.
    #[error("{0}: {1}; recovery would trust none of the certificates")]
    Certificate(String, KeyError),
    /// No certificate at all.
    #[error("there is no *.x509.pem in the file")]
    Empty,
}

/// Every certificate in the file, of `length` bytes.
pub fn decode(file: &dyn ReadAt, length: u64) -> Result<Vec<Certificate>, OtacertsError> {
    let archive = Archive::open(file, length, 0)?;
    let mut found = Vec::new();
    for entry in archive.entries().filter(|entry| entry.name.ends_with(SUFFIX)) {
        let text = archive.read(&entry.name)?;
        let certificates = Certificate::from_pem(&String::from_utf8_lossy(&text));
        let named = |error| OtacertsError::Certificate(entry.name.clone(), error);
        let certificates = certificates.map_err(named)?;
        certificates.iter().try_for_each(acceptable).map_err(named)?;
        found.extend(certificates);
    }
    if found.is_empty() { Err(OtacertsError::Empty) } else { Ok(found) }
}

/// The file with these certificates, by name without suffix.
pub fn encode(certificates: &[(&str, &Certificate)]) -> Result<Vec<u8>, ZipError> {
    let mut writer = Writer::new();
    let mut out = Vec::new();
    for (name, certificate) in certificates {
        let text = certificate.to_pem();
        let crc32 = crc32fast::hash(text.as_bytes());
        out.extend(writer.begin(&format!("{name}{SUFFIX}"), text.len() as u64, crc32)?);
        out.extend(text.as_bytes());
    }
    out.extend(writer.finish());
    Ok(out)
}
