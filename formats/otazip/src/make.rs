//! Putting an OTA file together: the same bytes for the same input.
//!
//! The payload comes first, so that its place does not depend on anything else; the metadata come
//! last, because they name where everything lies, themselves too. Their lists of places are
//! padded with spaces to a length that no place can exceed.

use crate::metadata::{self, Metadata};
use crate::package::{CERTIFICATE, FILES, PAYLOAD, PAYLOAD_METADATA, PROPERTIES, STREAMING_FILES};
use crate::zip::{Writer, ZipError};
use payload::properties::Properties;

/// What goes into the file besides the payload.
#[derive(Debug, Clone, Default)]
pub struct Parts {
    /// What it is for; its lists of property files are filled in here.
    pub metadata: Metadata,
    /// The certificate of who signs, as PEM.
    pub certificate: Option<String>,
    /// care_map.pb.
    pub care_map: Option<Vec<u8>>,
    /// Other entries, as `apex_info.pb`.
    pub others: Vec<(String, Vec<u8>)>,
}

/// The bytes around the payload.
#[derive(Debug, Clone)]
pub struct Frame {
    /// In front of the payload.
    pub head: Vec<u8>,
    /// Behind it, up to the end record without comment.
    pub tail: Vec<u8>,
}

/// An offset that is never reached, as wide as one that is.
const WIDEST: u64 = 1 << 62;

impl Parts {
    /// The file around a payload with these properties, this CRC-32, and `front` bytes in front of
    /// its blobs.
    pub fn frame(
        mut self,
        properties: &Properties,
        crc32: u32,
        front: u64,
    ) -> Result<Frame, ZipError> {
        let properties_text = properties.encode().into_bytes();
        let mut entries = vec![(PROPERTIES.to_owned(), properties_text)];
        let care_map = self.care_map.take().map(|it| (crate::caremap::NAME.to_owned(), it));
        entries.extend(care_map);
        entries.append(&mut self.others);
        let certificate = self.certificate.take().map(String::into_bytes);
        entries.extend(certificate.map(|it| (CERTIFICATE.to_owned(), it)));

        let payload = (properties.file_size, crc32);
        // First with the widest places, to learn how long the metadata are; then with the places.
        let draft = self.with_places(&entries, None, front);
        let (writer, _, _) = layout(payload, &entries, &draft)?;
        let last = self.with_places(&entries, Some(&writer), front);
        let (_, head, tail) = layout(payload, &entries, &last)?;
        Ok(Frame { head, tail })
    }

    /// The metadata with the lists of places, padded to one length.
    fn with_places(
        &self,
        entries: &[(String, Vec<u8>)],
        places: Option<&Writer>,
        front: u64,
    ) -> Metadata {
        let list = |places: Option<&Writer>, with_front: bool| {
            let place = |name: &str| {
                let known = places.and_then(|writer| writer.data(name));
                known.map_or((WIDEST, WIDEST), |data| (data.start, data.end - data.start))
            };
            let base = |name: &str| name.rsplit('/').next().unwrap_or_default().to_owned();
            let mut tokens = Vec::new();
            if with_front {
                let size = if places.is_some() { front } else { WIDEST };
                tokens.push(format!("{PAYLOAD_METADATA}:{}:{size}", place(PAYLOAD).0));
            }
            let names = entries.iter().map(|(name, _)| name.as_str());
            let names = names.filter(|name| *name != CERTIFICATE);
            for name in
                [PAYLOAD].into_iter().chain(names).chain([metadata::TEXT, metadata::PROTOBUF])
            {
                let (offset, size) = place(name);
                tokens.push(format!("{}:{offset}:{size}", base(name)));
            }
            tokens.join(",")
        };
        let mut metadata = self.metadata.clone();
        metadata.property_files.clear();
        for (name, with_front) in [(FILES, true), (STREAMING_FILES, false)] {
            let width = list(None, with_front).len();
            let value = format!("{:width$}", list(places, with_front));
            metadata.property_files.insert(name.to_owned(), value);
        }
        metadata
    }
}

/// All headers and small entries, in front of the payload and behind it.
fn layout(
    payload: (u64, u32),
    entries: &[(String, Vec<u8>)],
    metadata: &Metadata,
) -> Result<(Writer, Vec<u8>, Vec<u8>), ZipError> {
    let mut writer = Writer::new();
    let head = writer.begin(PAYLOAD, payload.0, payload.1)?;
    let mut tail = Vec::new();
    let forms = [
        (metadata::TEXT.to_owned(), metadata.to_text().into_bytes()),
        (metadata::PROTOBUF.to_owned(), metadata.to_protobuf()),
    ];
    for (name, content) in entries.iter().chain(&forms) {
        tail.extend(writer.begin(name, content.len() as u64, crc32fast::hash(content))?);
        tail.extend(content);
    }
    tail.extend(writer.finish());
    Ok((writer, head, tail))
}
