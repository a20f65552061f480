//! Writing an update: spooled blobs, the payload around them, the zip file around that.

use super::file::Disk;
use super::lacking;
use super::make::Census;
use super::sign::Keys;
use anyhow::{Context, Result};
use otazip::make::Parts;
use otazip::metadata::Metadata;
use otazip::signature;
use payload::make::{Builder, Sealed};
use payload::properties::Properties;
use serde_json::json;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Blobs that wait for the manifest in front of them. The file has no name and goes with us.
pub(super) struct Spool {
    file: BufWriter<File>,
    length: u64,
}

impl Spool {
    /// In the folder where the output will be.
    pub(super) fn beside(output: &Path) -> Result<Self> {
        let path = output.with_added_extension("blobs");
        let file = create(&path)?;
        std::fs::remove_file(&path).map_err(|error| lacking(&path, &error))?;
        Ok(Self { file: BufWriter::new(file), length: 0 })
    }
}

impl Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn create(path: &Path) -> Result<File> {
    let options = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path);
    options.map_err(|error| lacking(path, &error))
}

/// What was written.
pub(super) struct Written {
    pub(super) output: PathBuf,
    pub(super) size: u64,
    pub(super) payload_size: u64,
    pub(super) signed: bool,
    pub(super) properties: Properties,
}

/// Writes the update around spooled blobs, in one step: it is there whole or not at all.
pub(super) fn finish(
    builder: Builder,
    spool: Spool,
    keys: &Keys,
    metadata: Metadata,
    output: &Path,
) -> Result<Written> {
    let length = spool.length;
    let blobs = Disk(spool.file.into_inner().map_err(io::IntoInnerError::into_error)?);
    let parts = Parts { metadata, ..Parts::default() };
    write(builder, &|see| blobs.pieces(0..length, see), keys, parts, output)
}

/// What shows every blob, piece by piece.
type Blobs<'a> = dyn Fn(&mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> + 'a;

/// Writes the update around blobs.
pub(super) fn write(
    builder: Builder,
    blobs: &Blobs<'_>,
    keys: &Keys,
    mut parts: Parts,
    output: &Path,
) -> Result<Written> {
    let sealed = builder.seal(&keys.payload())?;
    let temporary = output.with_added_extension("part");
    let mut file =
        Out { file: BufWriter::new(create(&temporary)?), crc32: crc32fast::Hasher::new() };
    let front = sealed.front().len() as u64;
    let payload_size = sealed.length();
    let head = if keys.bare { 0 } else { head_bytes(payload_size)? };
    file.file.write_all(&vec![0; usize::try_from(head)?])?;
    let properties = write_payload(sealed, blobs, &mut file)?;
    let mut disk = file.file.into_inner().map_err(io::IntoInnerError::into_error)?;
    if !keys.bare {
        parts.certificate = keys.certificate.as_ref().map(payload::key::Certificate::to_pem);
        let frame = parts.frame(&properties, file.crc32.finalize(), front)?;
        anyhow::ensure!(frame.head.len() as u64 == head, "the zip header has another length");
        disk.write_all(&frame.tail)?;
        io::Seek::rewind(&mut disk)?;
        disk.write_all(&frame.head)?;
        let length = head + payload_size + frame.tail.len() as u64;
        disk = sign_whole(disk, length, keys)?;
    }
    disk.sync_all()?;
    let size = disk.metadata()?.len();
    std::fs::rename(&temporary, output).map_err(|error| lacking(output, &error))?;
    effects::durable::sync_folder_of(output)?;
    if let Some(index) = &keys.index {
        super::sign::write_index(output, keys, index)?;
    }
    let signed = !keys.payload().is_empty();
    let output = output.to_owned();
    Ok(Written { output, size, payload_size, signed, properties })
}

/// Bytes of the zip header in front of the payload.
fn head_bytes(payload_size: u64) -> Result<u64> {
    let mut writer = otazip::zip::Writer::new();
    Ok(writer.begin(otazip::package::PAYLOAD, payload_size, 0)?.len() as u64)
}

/// A file whose CRC-32 is known when it is written.
struct Out {
    file: BufWriter<File>,
    crc32: crc32fast::Hasher,
}

impl Out {
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.crc32.update(bytes);
        Ok(self.file.write_all(bytes)?)
    }
}

fn write_payload(mut sealed: Sealed<'_>, blobs: &Blobs<'_>, out: &mut Out) -> Result<Properties> {
    out.put(sealed.front())?;
    blobs(&mut |piece| {
        sealed.update(piece);
        out.put(piece)
    })?;
    let (end, properties) = sealed.finish()?;
    out.put(&end)?;
    Ok(properties)
}

/// Puts the whole-file signature into the comment, where there is a certificate.
fn sign_whole(file: File, length: u64, keys: &Keys) -> Result<File> {
    let (Some(key), Some(certificate)) = (keys.payload().first().copied(), &keys.certificate)
    else {
        return Ok(file);
    };
    let disk = Disk(file);
    let end = signature::unsigned_end(&disk, length)?;
    let digest = disk.sha256(0..end)?;
    let tail = signature::sign(key, certificate, &digest).context("signing the whole file")?;
    payload::WriteAt::write_at(&disk, end, &tail)?;
    Ok(disk.0)
}

impl Written {
    /// Says what was written.
    pub(super) fn report(&self, census: &Census, json: bool) {
        let hash = otazip::index::hex(&self.properties.file_hash);
        if json {
            let operations: serde_json::Map<_, _> = census
                .iter()
                .map(|(kind, (count, bytes))| {
                    (kind.clone(), json!({"count": count, "bytes": bytes}))
                })
                .collect();
            println!(
                "{}",
                json!({
                    "output": self.output.display().to_string(),
                    "size": self.size,
                    "payload_size": self.payload_size,
                    "payload_sha256": hash,
                    "signed": self.signed,
                    "operations": operations,
                })
            );
            return;
        }
        let signed = if self.signed { "signed" } else { "not signed" };
        println!("{}: {} bytes, {signed}", self.output.display(), self.size);
        for (kind, (count, bytes)) in census {
            println!("  {kind:<14} {count:>6} operations, {bytes} bytes");
        }
    }
}
