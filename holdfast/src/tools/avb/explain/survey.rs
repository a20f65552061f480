//! What the images say about each other, before anybody judges it.

use super::super::device::read_at;
use super::images::Images;
use avb::{
    Algorithm, ChainPartitionDescriptor, DO_NOT_USE_AB, Descriptor, FOOTER_BYTES, Footer,
    HashDescriptor, HashtreeDescriptor, Header, PublicKeyBlob, VBMETA_MAX_BYTES, VbmetaImage,
};
use std::fs::File;

/// A vbmeta image that was found.
pub(super) struct Found {
    /// The partition, without the slot's suffix.
    pub(super) partition: String,
    pub(super) header: Header,
    /// Where its rollback index is stored.
    pub(super) rollback_index_location: u32,
    /// The public key blob; empty where it is not signed.
    pub(super) public_key: Vec<u8>,
}

/// A partition that a descriptor names.
#[derive(Debug, Clone)]
pub(super) enum Covered {
    Hash(HashDescriptor),
    Hashtree(HashtreeDescriptor),
    Chain(ChainPartitionDescriptor),
}

impl Covered {
    /// The partition, without the slot's suffix.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Hash(d) => &d.partition_name,
            Self::Hashtree(d) => &d.partition_name,
            Self::Chain(d) => &d.partition_name,
        }
    }

    /// The partition, with the slot's suffix where it has slots.
    pub(super) fn full_name(&self, suffix: &str) -> String {
        let flags = match self {
            Self::Hash(d) => d.flags,
            Self::Hashtree(d) => d.flags,
            Self::Chain(d) => d.flags,
        };
        let suffix = if flags & DO_NOT_USE_AB == 0 { suffix } else { "" };
        format!("{}{suffix}", self.name())
    }
}

/// All vbmeta images of a slot, the top-level one first, and what they cover.
#[derive(Default)]
pub(super) struct Survey {
    pub(super) images: Vec<Found>,
    pub(super) covered: Vec<Covered>,
}

impl Survey {
    /// Follows the top-level image of a slot down its chains.
    pub(super) fn of(images: &Images, suffix: &str) -> Self {
        let mut survey = Self::default();
        let top = ["vbmeta", "boot"]
            .into_iter()
            .find(|name| images.files.contains_key(&format!("{name}{suffix}")));
        if let Some(top) = top {
            survey.add(images, top, &format!("{top}{suffix}"), None);
        }
        for covered in survey.covered.clone() {
            if let Covered::Chain(chain) = &covered {
                let location = Some(chain.rollback_index_location);
                survey.add(images, covered.name(), &covered.full_name(suffix), location);
            }
        }
        survey
    }

    fn add(&mut self, images: &Images, partition: &str, full_name: &str, location: Option<u32>) {
        let bytes = images.files.get(full_name).and_then(|file| vbmeta_of(file, partition));
        let Some(bytes) = bytes else { return };
        let Ok((image, _)) = VbmetaImage::parse_prefix(&bytes) else { return };
        let descriptors = image.descriptors_leniently();
        self.covered.extend(descriptors.into_iter().filter_map(covered));
        self.images.push(Found {
            partition: partition.to_owned(),
            header: image.header().clone(),
            rollback_index_location: location
                .unwrap_or_else(|| image.header().rollback_index_location),
            public_key: image.public_key().to_vec(),
        });
    }
}

fn covered(descriptor: Descriptor) -> Option<Covered> {
    Some(match descriptor {
        Descriptor::Hash(hash) => Covered::Hash(hash),
        Descriptor::Hashtree(tree) => Covered::Hashtree(tree),
        Descriptor::ChainPartition(chain) => Covered::Chain(chain),
        Descriptor::Property(_) | Descriptor::KernelCmdline(_) | Descriptor::Unknown { .. } => {
            return None;
        }
    })
}

/// The bytes in which libavb looks for a vbmeta image.
fn vbmeta_of(file: &File, partition: &str) -> Option<Vec<u8>> {
    let size = file.metadata().ok()?.len();
    let footer = if partition.starts_with("vbmeta") { None } else { footer_of(file, size) };
    let (start, bytes) = footer
        .map_or((0, VBMETA_MAX_BYTES as u64), |footer| (footer.vbmeta_offset, footer.vbmeta_size));
    let mut buffer = vec![0; usize::try_from(bytes).ok()?];
    let read = read_at(file, start, &mut buffer).ok()?;
    buffer.truncate(read);
    Some(buffer)
}

fn footer_of(file: &File, size: u64) -> Option<Footer> {
    let mut footer = [0; FOOTER_BYTES];
    let read = read_at(file, size.checked_sub(FOOTER_BYTES as u64)?, &mut footer).ok()?;
    let footer = Footer::decode(&footer).ok().filter(|_| read == FOOTER_BYTES)?;
    (footer.vbmeta_size <= VBMETA_MAX_BYTES as u64).then_some(footer)
}

/// SHA-256 of the public keys of AOSP's test data: everybody has the private half.
const PUBLIC_TEST_KEYS: [(&str, &str); 3] = [
    ("22de3994532196f61c039e90260d78a93a4c57362c7e789be928036e80b77c8c", "testkey_rsa2048"),
    ("7728e30f50bfa5cea165f473175a08803f6a8346642b5aa10913e9d9e6defef6", "testkey_rsa4096"),
    ("e15e2365469ce672a91d02cc8d9c2f29b787481e574d3b56ac774153d7ced614", "testkey_rsa8192"),
];

impl Found {
    /// SHA-256 of the public key; none where it is not signed.
    pub(super) fn key_digest(&self) -> Option<String> {
        let signed = self.header.algorithm != Algorithm::None && !self.public_key.is_empty();
        signed.then(|| super::super::hex(&crypto::digest::sha256(&self.public_key)))
    }

    /// Its name, where the key is one whose private half everybody has.
    pub(super) fn test_key(&self) -> Option<&'static str> {
        let digest = self.key_digest()?;
        PUBLIC_TEST_KEYS.iter().find(|(known, _)| *known == digest).map(|(_, name)| *name)
    }

    /// Whether its key is an ML-DSA key.
    pub(super) fn has_ml_dsa_key(&self) -> bool {
        matches!(PublicKeyBlob::decode(&self.public_key), Ok(PublicKeyBlob::MlDsa(_)))
    }
}
