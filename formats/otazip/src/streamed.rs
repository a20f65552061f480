//! An OTA file that is read by range, bound by its signed index.
//!
//! Nothing of the zip file's own structure is believed or even read: the index says where the
//! metadata, the properties and the payload lie, and what their hashes are. The payload's front
//! names the hash of every blob behind it, so each blob can be used as it comes.

use crate::index::{File, Index};
use crate::metadata::{self, Metadata};
use crate::package::{
    PAYLOAD, PAYLOAD_METADATA, PROPERTIES, PackageError, agreeing, check_properties,
};
use payload::Payload;
use payload::properties::Properties;

/// The largest metadata or properties. Real ones have a few kilobytes.
const TEXT_LIMIT: u64 = 1 << 20;
/// The largest front of a payload: manifest and metadata signature.
const FRONT_LIMIT: u64 = 66 << 20;

/// An OTA file whose parts belong together, and to the index.
#[derive(Debug, Clone)]
pub struct Streamed {
    /// What it is for.
    pub metadata: Metadata,
    /// What it does.
    pub payload: Payload,
    /// The payload's hashes.
    pub properties: Properties,
    /// Where the payload begins in the file.
    pub start: u64,
}

impl Streamed {
    /// Opens the file that `index` describes. `read` brings the bytes of a range, of 66 MiB at
    /// most; each is checked against its hash before anything is made of it.
    pub fn open<E: From<PackageError>>(
        index: &Index,
        mut read: impl FnMut(&File) -> Result<Vec<u8>, E>,
    ) -> Result<Self, E> {
        let mut take = |name: &'static str, limit: u64| -> Result<Vec<u8>, E> {
            let file = named(index, name)?;
            if file.size > limit {
                return Err(PackageError::TooLarge(name).into());
            }
            let bytes = read(file)?;
            file.check(&bytes).map_err(PackageError::from)?;
            Ok(bytes)
        };
        let text = take(metadata::TEXT, TEXT_LIMIT)?;
        let protobuf = index.file(metadata::PROTOBUF).is_some();
        let protobuf = protobuf.then(|| take(metadata::PROTOBUF, TEXT_LIMIT)).transpose()?;
        let properties = take(PROPERTIES, TEXT_LIMIT)?;
        let front = take(PAYLOAD_METADATA, FRONT_LIMIT)?;
        let (whole, start) = (named(index, PAYLOAD)?, named(index, PAYLOAD_METADATA)?.offset);
        Ok(Self::of(&text, protobuf.as_deref(), &properties, &front, whole, start)?)
    }

    fn of(
        text: &[u8],
        protobuf: Option<&[u8]>,
        properties: &[u8],
        front: &[u8],
        whole: &File,
        start: u64,
    ) -> Result<Self, PackageError> {
        let metadata = agreeing(text, protobuf)?;
        let payload = Payload::open(front, whole.size)?;
        if start != whole.offset || front.len() as u64 != payload.header().blobs_start() {
            return Err(PackageError::Front);
        }
        let properties = Properties::decode(properties)?;
        check_properties(&properties, &payload)?;
        Ok(Self { metadata, payload, properties, start })
    }
}

fn named<'i>(index: &'i Index, name: &'static str) -> Result<&'i File, PackageError> {
    index.file(name).ok_or(PackageError::NotIndexed(name))
}
