//! Seals: of contents, of records, of the anchor. And the sizes that things have outside.

use crate::io::{ANCHOR_BYTES, FileId, Keys, Owner};
use crate::record::{AnchorState, Record};
use crypto::aead::{Key, NONCE_BYTES, OVERHEAD_BYTES, TAG_BYTES};
use crypto::kdf::hkdf_sha256;
use crypto::secret::Secret;
use zeroize::Zeroizing;

/// Nothing is smaller outside.
const MIN_PADDED: usize = 256;
/// In front of a record inside its seal: how long it is without padding.
const LENGTH_BYTES: usize = 4;
/// Of the anchor, inside its seal.
const ANCHOR_PLAIN: usize = ANCHOR_BYTES - OVERHEAD_BYTES;
const ANCHOR_AAD: &[u8] = b"holdfast secure storage anchor 1";
const RECORD_AAD: &[u8] = b"holdfast secure storage record 1";

/// The size class of `length`: Padmé, which adds at most 12 % and tells little more than the
/// order of magnitude.
pub(crate) fn padded(length: usize) -> usize {
    let length = length.max(MIN_PADDED);
    let exponent = length.ilog2();
    let shown = exponent.ilog2() + 1;
    length.next_multiple_of(1 << (exponent - shown))
}

/// A content, sealed.
pub(crate) struct Sealed {
    /// What goes to the REE.
    pub(crate) bytes: Vec<u8>,
    pub(crate) secret: [u8; 16],
    pub(crate) tag: [u8; TAG_BYTES],
}

/// Seals a content of `owner`, padded to its class.
pub(crate) fn seal_content(keys: &dyn Keys, owner: &Owner, content: &[u8]) -> Sealed {
    let secret = crypto::random_array();
    let mut bytes = Vec::with_capacity(padded(content.len()));
    bytes.extend_from_slice(content);
    bytes.resize(padded(content.len()), 0);
    // The key is used for this one message.
    let tag = content_key(keys, owner, &secret).seal_in_place([0; NONCE_BYTES], &[], &mut bytes);
    Sealed { bytes, secret, tag }
}

/// Opens a content; gives its first `length` bytes.
pub(crate) fn open_content(
    keys: &dyn Keys,
    owner: &Owner,
    secret: &[u8; 16],
    tag: &[u8; TAG_BYTES],
    mut bytes: Vec<u8>,
    length: usize,
) -> Option<Zeroizing<Vec<u8>>> {
    let sealed_bytes = bytes.len();
    bytes.extend_from_slice(tag);
    let mut bytes = Zeroizing::new(bytes);
    content_key(keys, owner, secret).open_in_place([0; NONCE_BYTES], &[], &mut bytes).ok()?;
    (length <= sealed_bytes).then(|| bytes.truncate(length))?;
    Some(bytes)
}

fn content_key(keys: &dyn Keys, owner: &Owner, secret: &[u8; 16]) -> Key {
    let key = hkdf_sha256::<32>(keys.owner_key(owner).expose(), secret, &[b"content"]);
    Key::aes_256_gcm(key.expose())
}

/// Seals the anchor.
pub(crate) fn seal_anchor(keys: &dyn Keys, state: &AnchorState) -> [u8; ANCHOR_BYTES] {
    let mut plain = Zeroizing::new([0; ANCHOR_PLAIN]);
    let encoded = Zeroizing::new(state.encode());
    plain[..encoded.len()].copy_from_slice(&encoded);
    plain[ANCHOR_PLAIN - 1] = encoded.len() as u8;
    let sealed = Key::aes_256_gcm(keys.anchor_key().expose()).seal(ANCHOR_AAD, &plain[..]);
    sealed.try_into().expect("the plain form fills the block")
}

/// Opens the anchor; `None` where it is not one of this device.
pub(crate) fn open_anchor(keys: &dyn Keys, block: &[u8; ANCHOR_BYTES]) -> Option<AnchorState> {
    let plain = Key::aes_256_gcm(keys.anchor_key().expose()).open(ANCHOR_AAD, block).ok()?;
    let plain = Zeroizing::new(plain);
    let length = usize::from(*plain.last()?);
    AnchorState::decode(plain.get(..length)?)
}

/// What the records of one epoch are sealed with, and what its files are called.
pub(crate) struct Epoch {
    key: Secret<32>,
    records: Key,
}

impl Epoch {
    pub(crate) fn new(key: Secret<32>) -> Self {
        let records = hkdf_sha256::<32>(key.expose(), &[], &[b"records"]);
        Self { key, records: Key::aes_256_gcm(records.expose()) }
    }

    /// The key, for the anchor.
    pub(crate) const fn key(&self) -> Secret<32> {
        self.key.duplicate()
    }

    /// The name of a segment that is made in this epoch.
    pub(crate) fn file(&self, segment: u32) -> FileId {
        let name = hkdf_sha256::<16>(self.key.expose(), &segment.to_le_bytes(), &[b"file"]);
        FileId(*name.expose())
    }

    /// Seals a record for its place, padded to its class. Its tag stands at the end.
    pub(crate) fn seal(&self, segment: u32, offset: u32, record: &Record) -> Vec<u8> {
        let encoded = Zeroizing::new(record.encode());
        let mut plain = Zeroizing::new(Vec::with_capacity(padded(encoded.len() + LENGTH_BYTES)));
        plain.extend((encoded.len() as u32).to_le_bytes());
        plain.extend_from_slice(&encoded);
        plain.resize(padded(encoded.len() + LENGTH_BYTES), 0);
        self.records.seal(&place(segment, offset), &plain)
    }

    /// Opens what [`Epoch::seal`] made for this place.
    pub(crate) fn open(&self, segment: u32, offset: u32, sealed: &[u8]) -> Option<Record> {
        let plain = Zeroizing::new(self.records.open(&place(segment, offset), sealed).ok()?);
        let (length, rest) = plain.split_first_chunk()?;
        Record::decode(rest.get(..u32::from_le_bytes(*length) as usize)?)
    }
}

fn place(segment: u32, offset: u32) -> Vec<u8> {
    [RECORD_AAD, &segment.to_le_bytes(), &offset.to_le_bytes()].concat()
}

/// How long a sealed record is whose plain form has `length` bytes.
pub(crate) fn sealed_record_bytes(length: usize) -> usize {
    padded(length + LENGTH_BYTES) + OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn sizes_outside_are_few_and_not_much_larger() {
        let sizes: BTreeSet<usize> = (0..=16 * 1024).map(padded).collect();
        assert!(sizes.len() < 100, "{} classes", sizes.len());
        for length in MIN_PADDED..=16 * 1024 {
            let grown = padded(length) - length;
            assert!(grown * 100 <= length * 12, "{length} grows by {grown}");
        }
        assert_eq!((padded(0), padded(4096), padded(16_384)), (256, 4096, 16_384));
    }
}
