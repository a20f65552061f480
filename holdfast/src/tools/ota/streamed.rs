//! Updates on a server, read by range: no byte counts that the signed index does not vouch for.

use super::arguments::Streaming;
use super::file::Source;
use super::lacking;
use super::remote::{Input, Remote};
use crate::exit::Misused;
use anyhow::{Context, Result, bail, ensure};
use crypto::digest::Sha256;
use otazip::index::{File, Index};
use otazip::metadata::Metadata;
use otazip::package::PAYLOAD;
use otazip::streamed::Streamed;
use payload::key::{Certificate, PublicKey};
use payload::{Hasher, Payload, signature};
use std::ops::Range;
use std::path::Path;

/// The largest signed index. Real ones have a few kilobytes.
const INDEX_LIMIT: usize = 1 << 20;

/// An update on a server.
pub(super) struct Online {
    remote: Remote,
    index: Index,
    parts: Streamed,
}

impl Online {
    /// Opens the update at `url` with an index that one of `trusted` signed.
    pub(super) fn open(url: &str, how: &Streaming, trusted: &[Certificate]) -> Result<Self> {
        let Some(index) = &how.index else {
            let missing = "--index is missing: an update is read from a server by its signed index";
            return Err(Misused(missing.to_owned()).into());
        };
        let index = signed_index(index, how.ca.as_deref(), trusted)?;
        let remote = Remote::new(url, how.ca.as_deref())?;
        let parts = Streamed::open(&index, |file| whole(&remote, file, index.size));
        let parts = parts.with_context(|| url.to_owned())?;
        Ok(Self { remote, index, parts })
    }

    /// Who vouches for what was read until now: all that applying needs.
    pub(super) fn judge_front(&self, trusted: &[Certificate]) -> Result<Vec<&'static str>> {
        let metadata = crypto::digest::sha256(self.parts.payload.metadata());
        let message = self.parts.payload.metadata_signature();
        let signer = signature::signer(message, &metadata, &keys(trusted))?;
        ensure!(signer.is_some(), "none of the trusted certificates signed the payload's metadata");
        Ok(vec!["signed index", "parts belong together", "payload metadata signature"])
    }

    /// Reads every range that the index names, and judges the payload's signature too.
    pub(super) fn judge(&self, trusted: &[Certificate]) -> Result<Vec<&'static str>> {
        let mut checked = self.judge_front(trusted)?;
        let payload = &self.parts.payload;
        let mut hasher = Hasher::new(payload);
        let mut end = Vec::new();
        let place = payload.signatures().context("the payload is not signed")?;
        for file in &self.index.files {
            let mut at = 0;
            self.check(file, |piece| {
                if file.name == PAYLOAD {
                    hasher.update(piece);
                    end.extend(inside(&place, at, piece));
                }
                at += piece.len() as u64;
            })?;
        }
        checked.push("every range of the index");
        let digests = hasher.finish();
        ensure!(
            digests.file == self.parts.properties.file_hash,
            "payload.bin is not what its properties name"
        );
        checked.push("payload properties");
        let signer = signature::signer(&end, &digests.signed, &keys(trusted))?;
        ensure!(signer.is_some(), "none of the trusted certificates signed the payload");
        checked.push("payload signature");
        Ok(checked)
    }

    /// Reads a range and compares its hash.
    fn check(&self, file: &File, mut see: impl FnMut(&[u8])) -> Result<()> {
        let mut hash = Sha256::new();
        let range = file.offset..file.offset + file.size;
        self.remote.pieces(range, self.index.size, |piece| {
            hash.update(piece);
            see(piece);
            Ok(())
        })?;
        Ok(file.check_digest(&hash.finish(), file.size)?)
    }
}

impl Source for Online {
    fn payload(&self) -> &Payload {
        &self.parts.payload
    }

    fn metadata(&self) -> Option<&Metadata> {
        Some(&self.parts.metadata)
    }

    fn read_payload(&self, range: Range<u64>) -> Result<Vec<u8>> {
        let start = self.parts.start;
        read(&self.remote, start + range.start..start + range.end, self.index.size)
    }
}

/// A signed index, out of a file or from a server.
pub(super) fn signed_index(
    from: &Input,
    ca: Option<&Path>,
    trusted: &[Certificate],
) -> Result<Index> {
    let (name, bytes) = match from {
        Input::File(path) => {
            let bytes = std::fs::read(path).map_err(|error| lacking(path, &error))?;
            (path.display().to_string(), bytes)
        }
        Input::Url(url) => (url.clone(), Remote::new(url, ca)?.whole(INDEX_LIMIT)?),
    };
    Index::open(&bytes, trusted).context(name)
}

fn keys(trusted: &[Certificate]) -> Vec<PublicKey> {
    trusted.iter().map(|it| it.public_key.clone()).collect()
}

fn whole(remote: &Remote, file: &File, size: u64) -> Result<Vec<u8>> {
    read(remote, file.offset..file.offset + file.size, size)
}

fn read(remote: &Remote, range: Range<u64>, size: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if bytes.try_reserve_exact(usize::try_from(range.end - range.start)?).is_err() {
        bail!("a range of {} bytes does not fit memory", range.end - range.start);
    }
    remote.pieces(range, size, |piece| {
        bytes.extend_from_slice(piece);
        Ok(())
    })?;
    Ok(bytes)
}

/// What of a piece, the first byte of which lies at `at`, lies in `range`.
fn inside<'p>(range: &Range<u64>, at: u64, piece: &'p [u8]) -> &'p [u8] {
    let place = |point: u64| {
        usize::try_from(point.saturating_sub(at)).map_or(piece.len(), |it| it.min(piece.len()))
    };
    &piece[place(range.start)..place(range.end)]
}
