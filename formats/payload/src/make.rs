//! Putting a payload together, with blobs that need not fit memory.
//!
//! A [`Builder`] is told every step in order, and the caller spools the blobs in that order.
//! [`Builder::seal`] gives the front of the payload; the caller writes it, then the spooled blobs,
//! which pass [`Sealed::update`]; [`Sealed::finish`] gives the end.

use crate::error::{MakeError, PartitionFault, Refusal};
use crate::full::Step;
use crate::hasher::Hasher;
use crate::key::SigningKey;
use crate::layout::{HEADER_BYTES, Header, Payload};
use crate::manifest::{Manifest, PartitionInfo, PartitionUpdate, VerityExtents};
use crate::properties::Properties;
use crate::signature;

/// A payload that is being made.
#[derive(Debug, Clone, Default)]
pub struct Builder {
    manifest: Manifest,
    blob_bytes: u64,
}

/// Size and SHA-256 of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Image {
    /// Bytes: whole blocks.
    pub size: u64,
    /// SHA-256.
    pub sha256: [u8; 32],
}

impl Image {
    fn info(self) -> PartitionInfo {
        PartitionInfo { size: self.size, hash: self.sha256.to_vec(), unknown: Vec::new() }
    }
}

impl Builder {
    /// A payload without partitions; `minor_version` is 0 for a full update, else
    /// [`crate::delta::Options::minor_version`].
    #[must_use]
    pub fn new(minor_version: u32) -> Self {
        let manifest = Manifest {
            block_size: Some(4096),
            minor_version: Some(minor_version),
            ..Manifest::default()
        };
        Self { manifest, blob_bytes: 0 }
    }

    /// A payload that exists, to be signed with other keys. Its blobs stay as they are.
    #[must_use]
    pub fn resign(payload: &Payload) -> Self {
        let blobs = payload.blobs();
        let mut manifest = payload.manifest().clone();
        (manifest.signatures_offset, manifest.signatures_size) = (None, None);
        Self { manifest, blob_bytes: blobs.end - blobs.start }
    }

    /// Seconds since 1970 of the build: no device with a newer one takes it.
    pub const fn max_timestamp(&mut self, seconds: i64) -> &mut Self {
        self.manifest.max_timestamp = Some(seconds);
        self
    }

    /// `YYYY-MM-DD`.
    pub fn security_patch_level(&mut self, level: &str) -> &mut Self {
        self.manifest.security_patch_level = Some(level.to_owned());
        self
    }

    /// Partitions that are not in the payload keep what they have.
    pub const fn partial_update(&mut self) -> &mut Self {
        self.manifest.partial_update = Some(true);
        self
    }

    /// Begins a partition; the steps that follow are its.
    pub fn partition(&mut self, name: &str, old: Option<Image>, new: Image) -> &mut Self {
        self.manifest.partitions.push(PartitionUpdate {
            partition_name: name.to_owned(),
            old_partition_info: old.map(Image::info),
            new_partition_info: Some(new.info()),
            ..PartitionUpdate::default()
        });
        self
    }

    /// The device computes these parts of the partition that was begun last. No step writes there.
    pub fn computed(&mut self, extents: VerityExtents) -> &mut Self {
        if let Some(partition) = self.manifest.partitions.last_mut() {
            partition.verity = extents;
        }
        self
    }

    /// The next step of the partition that was begun last. Its blob comes next in the spool.
    pub fn step(&mut self, step: &Step) -> Result<&mut Self, MakeError> {
        let mut operation = step.operation.clone();
        if operation.data_length.is_some() {
            operation.data_offset = Some(self.blob_bytes);
            self.blob_bytes += step.blob.len() as u64;
        }
        let partition = self
            .manifest
            .partitions
            .last_mut()
            .ok_or(Refusal::Partition { partition: String::new(), fault: PartitionFault::Name })?;
        partition.operations.push(operation);
        Ok(self)
    }

    /// Signs the metadata with each of `keys` (none: an unsigned payload) and gives the front.
    pub fn seal<'k>(mut self, keys: &[&'k SigningKey]) -> Result<Sealed<'k>, MakeError> {
        let signature_bytes = if keys.is_empty() { 0 } else { signature::signed_bytes(keys)? };
        if !keys.is_empty() {
            self.manifest.signatures_offset = Some(self.blob_bytes);
            self.manifest.signatures_size = Some(signature_bytes as u64);
        }
        let manifest = self.manifest.encode();
        let header = Header {
            manifest_size: manifest.len() as u64,
            metadata_signature_size: u32::try_from(signature_bytes).expect("a few signatures"),
        };
        let mut front = [&header.encode()[..], &manifest].concat();
        let metadata_hash = crypto::digest::sha256(&front);
        if !keys.is_empty() {
            front.extend(signature::sign(keys, &metadata_hash)?);
        }
        let blobs = header.blobs_start()..header.blobs_start() + self.blob_bytes;
        let length = blobs.end + signature_bytes as u64;
        Payload::open(&front, length)?;
        let mut hasher = Hasher::over([0..header.metadata_size(), blobs]);
        hasher.update(&front);
        let metadata = (metadata_hash, HEADER_BYTES as u64 + header.manifest_size);
        Ok(Sealed { keys: keys.to_vec(), front, length, metadata, hasher })
    }
}

/// A payload whose metadata stands.
pub struct Sealed<'k> {
    keys: Vec<&'k SigningKey>,
    front: Vec<u8>,
    length: u64,
    metadata: ([u8; 32], u64),
    hasher: Hasher,
}

impl Sealed<'_> {
    /// Header, manifest and metadata signature: the payload's first bytes.
    #[must_use]
    pub fn front(&self) -> &[u8] {
        &self.front
    }

    /// Bytes of the whole payload.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// Sees the next bytes of the spooled blobs go by.
    pub fn update(&mut self, blobs: &[u8]) {
        self.hasher.update(blobs);
    }

    /// After the last blob: the payload's last bytes (its signatures), and its properties.
    pub fn finish(mut self) -> Result<(Vec<u8>, Properties), MakeError> {
        let mut end = Vec::new();
        if !self.keys.is_empty() {
            let signed = self.hasher.clone().finish().signed;
            end = signature::sign(&self.keys, &signed)?;
            self.hasher.update(&end);
        }
        let digests = self.hasher.finish();
        if digests.length != self.length {
            let (need, have) = (self.length, digests.length);
            return Err(Refusal::Truncated { need, have }.into());
        }
        let (metadata_hash, metadata_size) = self.metadata;
        let (file_hash, file_size) = (digests.file, digests.length);
        let others = Vec::new();
        Ok((end, Properties { file_hash, file_size, metadata_hash, metadata_size, others }))
    }
}
