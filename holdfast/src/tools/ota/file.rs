//! Files as updates read and write them, and what kind of update one is.

use super::{lacking, open};
use anyhow::{Context, Result};
use crypto::digest::Sha256;
use otazip::metadata::Metadata;
use otazip::package::Package;
use payload::manifest::Manifest;
use payload::properties::Properties;
use payload::{HEADER_BYTES, Header, Payload, ReadAt, WriteAt};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes that are read at once.
pub(super) const PIECE: usize = 1 << 20;

/// A file that is read and written at offsets.
#[derive(Debug)]
pub(super) struct Disk(pub(super) File);

impl ReadAt for Disk {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }
}

impl WriteAt for Disk {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }
}

impl Disk {
    /// Opens a file to read, and says how long it is.
    pub(super) fn open(path: &Path) -> Result<(Self, u64)> {
        let file = open(path)?;
        let length = file.metadata().map_err(|error| lacking(path, &error))?.len();
        Ok((Self(file), length))
    }

    /// The bytes of a range that fits memory.
    pub(super) fn read(&self, range: Range<u64>) -> Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(range.end - range.start)?];
        self.read_at(range.start, &mut bytes)?;
        Ok(bytes)
    }

    /// Shows every byte of a range, piece by piece.
    pub(super) fn pieces(
        &self,
        range: Range<u64>,
        mut see: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut at = range.start;
        let mut buffer = vec![0; PIECE];
        while at < range.end {
            let now = usize::try_from(range.end - at).unwrap_or(PIECE).min(PIECE);
            self.read_at(at, &mut buffer[..now])?;
            see(&buffer[..now])?;
            at += now as u64;
        }
        Ok(())
    }

    /// SHA-256 of a range.
    pub(super) fn sha256(&self, range: Range<u64>) -> Result<[u8; 32]> {
        let mut hash = Sha256::new();
        self.pieces(range, |piece| {
            hash.update(piece);
            Ok(())
        })?;
        Ok(hash.finish())
    }
}

/// Where an update is read from, on this machine or another.
pub(super) trait Source: Sync {
    /// The payload, whose front was read.
    fn payload(&self) -> &Payload;

    /// What a zip file says that it is for.
    fn metadata(&self) -> Option<&Metadata>;

    /// Bytes of the payload, not checked.
    fn read_payload(&self, range: Range<u64>) -> Result<Vec<u8>>;
}

/// An update: an OTA zip file, or a payload alone.
pub(super) struct Update {
    pub(super) path: PathBuf,
    pub(super) file: Disk,
    pub(super) length: u64,
    pub(super) payload: Payload,
    /// Where the payload begins in the file.
    pub(super) start: u64,
    /// Of a zip file.
    pub(super) about: Option<About>,
}

/// What a zip file says about its payload.
pub(super) struct About {
    pub(super) metadata: Metadata,
    pub(super) properties: Properties,
    pub(super) entries: Vec<otazip::zip::Entry>,
}

impl Update {
    /// Opens an update whose parts belong together.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let (file, length) = Disk::open(path)?;
        let mut magic = [0; 4];
        let read = file.read_at(0, &mut magic);
        let context = || path.display().to_string();
        let path = path.to_owned();
        if read.is_ok() && &magic == b"CrAU" {
            let payload = alone(&file, length).with_context(context)?;
            return Ok(Self { path, file, length, payload, start: 0, about: None });
        }
        let package = Package::open(&file, length).with_context(context)?;
        let start = package.payload_entry.data.start;
        let about = About {
            metadata: package.metadata,
            properties: package.properties,
            entries: package.archive.entries().cloned().collect(),
        };
        let payload = package.payload;
        Ok(Self { path, file, length, payload, start, about: Some(about) })
    }

    pub(super) const fn manifest(&self) -> &Manifest {
        self.payload.manifest()
    }

    /// Shows every byte of a range of the payload.
    pub(super) fn payload_pieces(
        &self,
        range: Range<u64>,
        see: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        self.file.pieces(self.start + range.start..self.start + range.end, see)
    }
}

impl Source for Update {
    fn payload(&self) -> &Payload {
        &self.payload
    }

    fn metadata(&self) -> Option<&Metadata> {
        self.about.as_ref().map(|about| &about.metadata)
    }

    fn read_payload(&self, range: Range<u64>) -> Result<Vec<u8>> {
        self.file.read(self.start + range.start..self.start + range.end)
    }
}

/// A payload that is a file of its own.
fn alone(file: &Disk, length: u64) -> Result<Payload> {
    let header = Header::decode(&file.read(0..length.min(HEADER_BYTES as u64))?)?;
    let front = file.read(0..length.min(header.blobs_start()))?;
    Ok(Payload::open(&front, length)?)
}

/// `NAME.img` in a folder, or the path itself: name and path, sorted, each name once.
pub(super) fn images(paths: &[PathBuf]) -> Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for path in paths {
        if !path.is_dir() {
            found.push(path.clone());
            continue;
        }
        for entry in std::fs::read_dir(path).map_err(|error| lacking(path, &error))? {
            let entry = entry?.path();
            if entry.extension().is_some_and(|it| it == "img") {
                found.push(entry);
            }
        }
    }
    let mut images = Vec::new();
    for path in found {
        let name = path.file_stem().and_then(|name| name.to_str());
        let name = name.with_context(|| format!("{} has no name", path.display()))?;
        images.push((name.to_owned(), path));
    }
    images.sort();
    if let Some(pair) = images.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        anyhow::bail!("{} and {} are the same partition", pair[0].1.display(), pair[1].1.display());
    }
    anyhow::ensure!(!images.is_empty(), "there is no image NAME.img");
    Ok(images)
}
