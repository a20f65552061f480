//! Where everything lies in a payload, and opening one.

use crate::check;
use crate::error::Refusal;
use crate::manifest::{Manifest, Operation};
use std::ops::Range;

/// Bytes of the header: `CrAU`, u64 version, u64 manifest size, u32 metadata signature size, all
/// big-endian.
pub const HEADER_BYTES: usize = 24;

/// The largest manifest. Real ones have a few megabytes.
const MANIFEST_LIMIT: u64 = 64 << 20;
const SIGNATURE_LIMIT: u64 = 1 << 20;

/// The fixed header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Bytes of the manifest.
    pub manifest_size: u64,
    /// Bytes of the metadata signature.
    pub metadata_signature_size: u32,
}

impl Header {
    /// Reads the header at the start of `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        let have = bytes.len() as u64;
        let header = bytes
            .first_chunk::<HEADER_BYTES>()
            .ok_or(Refusal::Truncated { need: HEADER_BYTES as u64, have })?;
        if !header.starts_with(b"CrAU") {
            return Err(Refusal::Magic);
        }
        let u64_at =
            |at: usize| u64::from_be_bytes(header[at..at + 8].try_into().expect("8 of 24 bytes"));
        if u64_at(4) != 2 {
            return Err(Refusal::MajorVersion(u64_at(4)));
        }
        let size = u32::from_be_bytes(header[20..].try_into().expect("4 of 24 bytes"));
        let header = Self { manifest_size: u64_at(12), metadata_signature_size: size };
        limit("manifest", header.manifest_size, MANIFEST_LIMIT)?;
        limit("metadata signature", u64::from(size), SIGNATURE_LIMIT)?;
        Ok(header)
    }

    /// The header's bytes.
    #[must_use]
    pub fn encode(self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[..4].copy_from_slice(b"CrAU");
        out[4..12].copy_from_slice(&2_u64.to_be_bytes());
        out[12..20].copy_from_slice(&self.manifest_size.to_be_bytes());
        out[20..].copy_from_slice(&self.metadata_signature_size.to_be_bytes());
        out
    }

    /// Bytes of header and manifest: what the metadata signature is over, `METADATA_SIZE` of
    /// payload_properties.txt.
    #[must_use]
    pub const fn metadata_size(self) -> u64 {
        HEADER_BYTES as u64 + self.manifest_size
    }

    /// Where the first blob begins.
    #[must_use]
    pub const fn blobs_start(self) -> u64 {
        self.metadata_size() + self.metadata_signature_size as u64
    }
}

const fn limit(what: &'static str, size: u64, limit: u64) -> Result<(), Refusal> {
    if size > limit { Err(Refusal::TooLarge { what, size, limit }) } else { Ok(()) }
}

/// A payload whose manifest holds together: all extents are inside their partitions, no block is
/// written twice, every blob is inside the payload and has a hash.
///
/// Whether it is signed by anyone is another question: [`crate::signature`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    header: Header,
    manifest: Manifest,
    metadata: Vec<u8>,
    metadata_signature: Vec<u8>,
    length: u64,
}

impl Payload {
    /// Opens a payload of `length` bytes from its front: at least [`Header::blobs_start`] bytes.
    pub fn open(front: &[u8], length: u64) -> Result<Self, Refusal> {
        let header = Header::decode(front)?;
        let need = header.blobs_start();
        if length < need {
            return Err(Refusal::Truncated { need, have: length });
        }
        let split = |size: u64| usize::try_from(size).ok().filter(|&size| size <= front.len());
        let (Some(metadata), Some(end)) = (split(header.metadata_size()), split(need)) else {
            return Err(Refusal::Truncated { need, have: front.len() as u64 });
        };
        let manifest = Manifest::decode(&front[HEADER_BYTES..metadata])?;
        check::manifest(&manifest, length - need)?;
        Ok(Self {
            header,
            manifest,
            metadata: front[..metadata].to_vec(),
            metadata_signature: front[metadata..end].to_vec(),
            length,
        })
    }

    /// The header.
    #[must_use]
    pub const fn header(&self) -> Header {
        self.header
    }

    /// The manifest.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Header and manifest, as they stand.
    #[must_use]
    pub fn metadata(&self) -> &[u8] {
        &self.metadata
    }

    /// The metadata signature message; empty where there is none.
    #[must_use]
    pub fn metadata_signature(&self) -> &[u8] {
        &self.metadata_signature
    }

    /// Bytes of the whole payload.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// Where all blobs lie, without the signatures behind them.
    #[must_use]
    pub fn blobs(&self) -> Range<u64> {
        let start = self.header.blobs_start();
        let end = self.manifest.signatures_offset.map_or(self.length, |offset| start + offset);
        start..end
    }

    /// Where the payload's signature message lies; `None` where there is none.
    #[must_use]
    pub fn signatures(&self) -> Option<Range<u64>> {
        self.manifest.signatures_offset.map(|_| self.blobs().end..self.length)
    }

    /// Where an operation's blob lies in the payload; empty where it has none.
    #[must_use]
    pub fn blob(&self, operation: &Operation) -> Range<u64> {
        let start = self.header.blobs_start() + operation.data_offset.unwrap_or(0);
        start..start + operation.data_length.unwrap_or(0)
    }
}
