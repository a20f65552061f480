//! `META-INF/com/android/metadata` and `metadata.pb` (ota_metadata.proto): what an OTA file is
//! for.

use payload::DecodeError;
use payload::wire::{Field, Reader, Writer};
use std::collections::BTreeMap;

/// The text form's path.
pub const TEXT: &str = "META-INF/com/android/metadata";
/// The protobuf form's path.
pub const PROTOBUF: &str = "META-INF/com/android/metadata.pb";

/// What an OTA file is for and what comes out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Metadata {
    /// Which kind.
    pub kind: Kind,
    /// It erases user data.
    pub wipe: bool,
    /// It may go back to an older build.
    pub downgrade: bool,
    /// It may go back to an older security patch level.
    pub spl_downgrade: bool,
    /// Where the entries lie that a streaming client reads, by the name of the list.
    pub property_files: BTreeMap<String, String>,
    /// What the device must be.
    pub precondition: DeviceState,
    /// What it is afterwards.
    pub postcondition: DeviceState,
    /// Bytes of /cache that it needs.
    pub required_cache: i64,
    /// `serialno`: the only devices it is for; none: any.
    pub serials: Vec<String>,
}

/// `OtaMetadata.OtaType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// Not said.
    #[default]
    Unknown,
    /// For devices with two slots.
    Ab,
    /// For devices with one.
    Block,
    /// Makes a device unusable.
    Brick,
}

/// Number, kind, name in the text form.
const KINDS: [(u64, Kind, &str); 4] = [
    (0, Kind::Unknown, "UNKNOWN"),
    (1, Kind::Ab, "AB"),
    (2, Kind::Block, "BLOCK"),
    (3, Kind::Brick, "BRICK"),
];

impl Kind {
    /// Its name in the text form.
    #[must_use]
    pub fn name(self) -> &'static str {
        KINDS.iter().find(|(_, kind, _)| *kind == self).map_or("UNKNOWN", |entry| entry.2)
    }
}

/// A device, before or after.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeviceState {
    /// `ro.product.device`; several: any of them.
    pub device: Vec<String>,
    /// Build fingerprints; several: any of them.
    pub build: Vec<String>,
    /// `ro.build.version.incremental`.
    pub build_incremental: String,
    /// Seconds since 1970 of the build.
    pub timestamp: i64,
    /// API level.
    pub sdk_level: String,
    /// `YYYY-MM-DD`.
    pub security_patch_level: String,
}

/// Why metadata is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetadataError {
    /// Not `key=value` in UTF-8.
    #[error("the metadata's line {0} is not key=value in UTF-8")]
    Line(usize),
    /// A key that stands twice.
    #[error("the metadata has {0} twice")]
    Twice(String),
    /// A value that is not of its kind.
    #[error("the metadata's {0} is malformed")]
    Value(String),
    /// The protobuf form is malformed.
    #[error("malformed metadata.pb: {0}")]
    Protobuf(#[from] DecodeError),
    /// A list of property files that does not name the entries where they are.
    #[error("the metadata's {0} does not name the entries where they are")]
    PropertyFiles(String),
    /// The two forms say different things.
    #[error("metadata and metadata.pb say different things")]
    Disagree,
}

impl Metadata {
    /// The text form: sorted lines `key=value`.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut lines: BTreeMap<&str, String> = BTreeMap::new();
        let (pre, post) = (&self.precondition, &self.postcondition);
        lines.insert("ota-type", self.kind.name().to_owned());
        lines.insert("ota-required-cache", self.required_cache.to_string());
        lines.insert("post-timestamp", post.timestamp.to_string());
        for (key, value) in [
            ("pre-device", pre.device.join("|")),
            ("pre-build", pre.build.join("|")),
            ("pre-build-incremental", pre.build_incremental.clone()),
            ("post-build", post.build.join("|")),
            ("post-build-incremental", post.build_incremental.clone()),
            ("post-sdk-level", post.sdk_level.clone()),
            ("post-security-patch-level", post.security_patch_level.clone()),
            ("serialno", self.serials.join("|")),
        ] {
            if !value.is_empty() {
                lines.insert(key, value);
            }
        }
        for (key, set) in [
            ("ota-wipe", self.wipe),
            ("ota-downgrade", self.downgrade),
            ("spl-downgrade", self.spl_downgrade),
        ] {
            if set {
                lines.insert(key, "yes".to_owned());
            }
        }
        for (name, value) in &self.property_files {
            lines.insert(name, value.clone());
        }
        lines.into_iter().map(|(key, value)| format!("{key}={value}\n")).collect()
    }

    /// Reads the text form. Keys that this does not know are ignored, as recovery does.
    pub fn from_text(bytes: &[u8]) -> Result<Self, MetadataError> {
        let text = std::str::from_utf8(bytes).map_err(|_| MetadataError::Line(0))?;
        let mut lines = BTreeMap::new();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
            let (key, value) = line.split_once('=').ok_or(MetadataError::Line(number + 1))?;
            if lines.insert(key, value).is_some() {
                return Err(MetadataError::Twice(key.to_owned()));
            }
        }
        let text = |key: &str| lines.get(key).map(|it| (*it).trim_end()).unwrap_or_default();
        let list = |key: &str| -> Vec<String> {
            let parts = text(key).split('|').filter(|part| !part.is_empty());
            parts.map(str::to_owned).collect()
        };
        let malformed = |key: &str| MetadataError::Value(key.to_owned());
        let number = |key: &str| match text(key) {
            "" => Ok(0),
            digits => digits.parse().map_err(|_| malformed(key)),
        };
        let flag = |key: &str| match text(key) {
            "" | "no" => Ok(false),
            "yes" => Ok(true),
            _ => Err(malformed(key)),
        };
        let kind = KINDS.iter().find(|(.., name)| *name == text("ota-type"));
        let files = lines.iter().filter(|(key, _)| key.ends_with("property-files"));
        Ok(Self {
            kind: kind.map_or(Kind::Unknown, |entry| entry.1),
            wipe: flag("ota-wipe")?,
            downgrade: flag("ota-downgrade")?,
            spl_downgrade: flag("spl-downgrade")?,
            property_files: files.map(|(key, it)| ((*key).to_owned(), (*it).to_owned())).collect(),
            precondition: DeviceState {
                device: list("pre-device"),
                build: list("pre-build"),
                build_incremental: text("pre-build-incremental").to_owned(),
                ..DeviceState::default()
            },
            postcondition: DeviceState {
                build: list("post-build"),
                build_incremental: text("post-build-incremental").to_owned(),
                timestamp: number("post-timestamp")?,
                sdk_level: text("post-sdk-level").to_owned(),
                security_patch_level: text("post-security-patch-level").to_owned(),
                ..DeviceState::default()
            },
            required_cache: number("ota-required-cache")?,
            serials: list("serialno"),
        })
    }

    /// The protobuf form. Serial numbers have no field there.
    #[must_use]
    pub fn to_protobuf(&self) -> Vec<u8> {
        let mut out = Writer::new();
        let kind = KINDS.iter().find(|(_, kind, _)| *kind == self.kind).map_or(0, |entry| entry.0);
        for (field, value) in [(1, kind), (2, self.wipe.into()), (3, self.downgrade.into())] {
            out.optional(field, Some(value).filter(|&value| value != 0));
        }
        for (name, value) in &self.property_files {
            let mut entry = Writer::new();
            entry.bytes(1, name.as_bytes()).bytes(2, value.as_bytes());
            out.bytes(4, &entry.finish());
        }
        out.bytes(5, &self.precondition.to_protobuf());
        out.bytes(6, &self.postcondition.to_protobuf());
        let cache = self.required_cache.cast_unsigned();
        out.optional(8, Some(cache).filter(|&value| value != 0));
        out.optional(9, Some(u64::from(self.spl_downgrade)).filter(|&value| value != 0));
        out.finish()
    }

    /// Reads the protobuf form.
    pub fn from_protobuf(bytes: &[u8]) -> Result<Self, MetadataError> {
        const NAME: &str = "OtaMetadata";
        let mut it = Self::default();
        let mut fields = Reader::new(NAME, bytes);
        while let Some(field) = fields.next_field()? {
            match field.number {
                1 => {
                    let number = field.varint(NAME)?;
                    let kind = KINDS.iter().find(|(known, ..)| *known == number);
                    it.kind = kind.map_or(Kind::Unknown, |entry| entry.1);
                }
                2 => it.wipe = field.varint(NAME)? != 0,
                3 => it.downgrade = field.varint(NAME)? != 0,
                4 => {
                    let (name, value) = map_entry(&field)?;
                    it.property_files.insert(name, value);
                }
                5 => it.precondition = DeviceState::from_protobuf(field.bytes(NAME)?)?,
                6 => it.postcondition = DeviceState::from_protobuf(field.bytes(NAME)?)?,
                8 => it.required_cache = field.varint(NAME)?.cast_signed(),
                9 => it.spl_downgrade = field.varint(NAME)? != 0,
                _ => {}
            }
        }
        Ok(it)
    }

    /// Whether the text form and this protobuf form say the same, as far as both can.
    pub fn agree(text: &Self, protobuf: &Self) -> Result<(), MetadataError> {
        let plain = |it: &Self| {
            let mut it = it.clone();
            it.serials.clear();
            it.precondition = DeviceState {
                device: it.precondition.device,
                build: it.precondition.build,
                build_incremental: it.precondition.build_incremental,
                ..DeviceState::default()
            };
            it.postcondition.device.clear();
            it.property_files.values_mut().for_each(|value| *value = value.trim_end().to_owned());
            it
        };
        if plain(text) == plain(protobuf) { Ok(()) } else { Err(MetadataError::Disagree) }
    }
}

fn map_entry(field: &Field<'_>) -> Result<(String, String), DecodeError> {
    const NAME: &str = "property_files";
    let (mut name, mut value) = (String::new(), String::new());
    let mut fields = Reader::new(NAME, field.bytes(NAME)?);
    while let Some(field) = fields.next_field()? {
        match field.number {
            1 => name = field.text(NAME)?,
            2 => value = field.text(NAME)?,
            _ => {}
        }
    }
    Ok((name, value))
}

impl DeviceState {
    fn to_protobuf(&self) -> Vec<u8> {
        let mut out = Writer::new();
        for (field, values) in [(1, &self.device), (2, &self.build)] {
            for value in values {
                out.bytes(field, value.as_bytes());
            }
        }
        for (field, value) in
            [(3, &self.build_incremental), (5, &self.sdk_level), (6, &self.security_patch_level)]
        {
            if field == 5 && self.timestamp != 0 {
                out.varint(4, self.timestamp.cast_unsigned());
            }
            if !value.is_empty() {
                out.bytes(field, value.as_bytes());
            }
        }
        out.finish()
    }

    fn from_protobuf(bytes: &[u8]) -> Result<Self, DecodeError> {
        const NAME: &str = "DeviceState";
        let mut it = Self::default();
        let mut fields = Reader::new(NAME, bytes);
        while let Some(field) = fields.next_field()? {
            match field.number {
                1 => it.device.push(field.text(NAME)?),
                2 => it.build.push(field.text(NAME)?),
                3 => it.build_incremental = field.text(NAME)?,
                4 => it.timestamp = field.varint(NAME)?.cast_signed(),
                5 => it.sdk_level = field.text(NAME)?,
                6 => it.security_patch_level = field.text(NAME)?,
                _ => {}
            }
        }
        Ok(it)
    }
}
