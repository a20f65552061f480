//! An OTA file as a whole: what must be in it, and that its parts belong together.

use crate::index::IndexError;
use crate::metadata::{self, Metadata, MetadataError};
use crate::signature::comment_size;
use crate::zip::{Archive, Entry, ZipError};
use payload::properties::{Properties, PropertiesError};
use payload::{HEADER_BYTES, Header, Payload, ReadAt, Refusal};

/// The payload's entry.
pub const PAYLOAD: &str = "payload.bin";
/// The payload's properties' entry.
pub const PROPERTIES: &str = "payload_properties.txt";
/// The name of the payload's front in property files; not an entry.
pub const PAYLOAD_METADATA: &str = "payload_metadata.bin";
/// The certificate of who signed, for people; nobody trusts it.
pub const CERTIFICATE: &str = "META-INF/com/android/otacert";
/// The list that streaming clients read.
pub const STREAMING_FILES: &str = "ota-streaming-property-files";
/// The list with the payload's metadata in front.
pub const FILES: &str = "ota-property-files";

/// Why an OTA file is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackageError {
    /// A zip file that does not hold together.
    #[error(transparent)]
    Zip(#[from] ZipError),
    /// Malformed metadata.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// Malformed properties.
    #[error(transparent)]
    Properties(#[from] PropertiesError),
    /// A payload that is refused.
    #[error(transparent)]
    Payload(#[from] Refusal),
    /// payload.bin is compressed: it could not be read by range.
    #[error("payload.bin is compressed inside the zip file; it must be stored")]
    Compressed,
    /// Something that a streaming client needs and the index does not name.
    #[error("the index does not name {0}")]
    NotIndexed(&'static str),
    /// Larger than any real one.
    #[error("{0} is larger than any real one: not read")]
    TooLarge(&'static str),
    /// The index, or bytes that are not those which it names.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// payload_metadata.bin is not the front of payload.bin.
    #[error("the index's payload_metadata.bin is not the front of its payload.bin")]
    Front,
    /// payload_properties.txt is another payload's.
    #[error("payload_properties.txt does not describe payload.bin: {0} differs")]
    OtherProperties(&'static str),
}

/// An OTA file whose parts belong together. Who signed it is another question.
pub struct Package<'a> {
    /// The zip file.
    pub archive: Archive<'a>,
    /// What it is for.
    pub metadata: Metadata,
    /// What it does.
    pub payload: Payload,
    /// The payload's hashes.
    pub properties: Properties,
    /// Where the payload lies in the file.
    pub payload_entry: Entry,
}

impl<'a> Package<'a> {
    /// Opens an OTA file of `length` bytes.
    pub fn open(file: &'a dyn ReadAt, length: u64) -> Result<Self, PackageError> {
        let comment = comment_size(file, length)?.unwrap_or(0);
        let archive = Archive::open(file, length, comment)?;
        let metadata = metadata_of(&archive)?;
        let entry = archive.entry(PAYLOAD)?.clone();
        if !entry.stored {
            return Err(PackageError::Compressed);
        }
        let payload = payload_of(file, &entry)?;
        let properties = Properties::decode(&archive.read(PROPERTIES)?)?;
        check_properties(&properties, &payload)?;
        check_places(&archive, &metadata, &payload)?;
        Ok(Self { archive, metadata, payload, properties, payload_entry: entry })
    }
}

fn metadata_of(archive: &Archive<'_>) -> Result<Metadata, PackageError> {
    let text = archive.read(metadata::TEXT)?;
    let protobuf = archive.entry(metadata::PROTOBUF).is_ok();
    let protobuf = protobuf.then(|| archive.read(metadata::PROTOBUF)).transpose()?;
    agreeing(&text, protobuf.as_deref())
}

/// The metadata of a file that has it once or twice.
pub(crate) fn agreeing(text: &[u8], protobuf: Option<&[u8]>) -> Result<Metadata, PackageError> {
    let text = Metadata::from_text(text)?;
    if let Some(protobuf) = protobuf {
        Metadata::agree(&text, &Metadata::from_protobuf(protobuf)?)?;
    }
    Ok(text)
}

/// The payload in front of its blobs.
fn payload_of(file: &dyn ReadAt, entry: &Entry) -> Result<Payload, PackageError> {
    let size = entry.data.end - entry.data.start;
    let short = |need: u64| Refusal::Truncated { need, have: size };
    let read = |count: u64| -> Result<Vec<u8>, PackageError> {
        if size < count {
            return Err(short(count).into());
        }
        let mut bytes = vec![0; usize::try_from(count).map_err(|_| short(count))?];
        file.read_at(entry.data.start, &mut bytes).map_err(ZipError::Io)?;
        Ok(bytes)
    };
    let header = Header::decode(&read(HEADER_BYTES as u64)?)?;
    Ok(Payload::open(&read(header.blobs_start())?, size)?)
}

/// Whether the properties are this payload's.
pub(crate) fn check_properties(
    properties: &Properties,
    payload: &Payload,
) -> Result<(), PackageError> {
    let metadata = payload.metadata();
    let differs = if properties.file_size != payload.length() {
        "FILE_SIZE"
    } else if properties.metadata_size != metadata.len() as u64 {
        "METADATA_SIZE"
    } else if properties.metadata_hash != crypto::digest::sha256(metadata) {
        "METADATA_HASH"
    } else {
        return Ok(());
    };
    Err(PackageError::OtherProperties(differs))
}

/// The lists of property files name entries where they are.
fn check_places(
    archive: &Archive<'_>,
    metadata: &Metadata,
    payload: &Payload,
) -> Result<(), PackageError> {
    for (name, list) in &metadata.property_files {
        let refused = || MetadataError::PropertyFiles(name.clone());
        for token in list.trim_end().split(',') {
            let (file, offset, size) = token_parts(token).ok_or_else(refused)?;
            let place = offset..offset.checked_add(size).ok_or_else(refused)?;
            let right = if file == PAYLOAD_METADATA {
                let start = archive.entry(PAYLOAD)?.data.start;
                place == (start..start + payload.header().blobs_start())
            } else {
                archive.entries().any(|entry| {
                    let base = entry.name.rsplit('/').next().unwrap_or_default();
                    entry.stored && base == file && entry.data == place
                })
            };
            if !right {
                return Err(refused().into());
            }
        }
    }
    Ok(())
}

/// `name:offset:size`.
fn token_parts(token: &str) -> Option<(&str, u64, u64)> {
    let mut parts = token.split(':');
    let parts = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    Some(parts).filter(|_| token.matches(':').count() == 2)
}
