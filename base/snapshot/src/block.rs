//! Blocks: what they are called and how they are sealed.

use crypto::aead::{Key, NONCE_BYTES, OVERHEAD_BYTES};
use crypto::mac::HmacSha256;
use std::fmt;
use std::str::FromStr;
use wire::sync::BLOCK_BYTES;

/// Bytes of a block's name.
pub const ID_BYTES: usize = 32;
/// The least a sealed block has: one byte of plaintext. There is no empty block.
pub const SEALED_BYTES_MIN: usize = OVERHEAD_BYTES + 1;

const PURPOSE: &[u8] = b"holdfast-block-v1";

/// The name of a block: HMAC-SHA-256 of its plaintext under the account's [`IdKey`]. Written as
/// 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlockId(pub [u8; ID_BYTES]);

/// The name of a pack: SHA-256 of its bytes. Written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PackId(pub [u8; ID_BYTES]);

/// A name that is not 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a block or pack name has 64 lower-case hexadecimal digits")]
pub struct NotAName;

/// A list of names that is not a multiple of 32 bytes long, or too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a list of block names has 32 bytes for each and at most {} names",
    wire::sync::IDS_AT_ONCE
)]
pub struct NotNames;

/// Reads the body of a `missing` or `blocks` request or answer: names, end to end.
pub fn split_ids(bytes: &[u8]) -> Result<Vec<BlockId>, NotNames> {
    let (ids, rest) = bytes.as_chunks::<ID_BYTES>();
    if !rest.is_empty() || ids.len() > wire::sync::IDS_AT_ONCE {
        return Err(NotNames);
    }
    Ok(ids.iter().copied().map(BlockId).collect())
}

/// Writes names end to end.
#[must_use]
pub fn join_ids(ids: &[BlockId]) -> Vec<u8> {
    ids.iter().flat_map(|id| id.0).collect()
}

/// The key that names an account's blocks. Equal blocks of one account share a name; across
/// accounts nobody can tell.
#[derive(Clone)]
pub struct IdKey(HmacSha256);

impl IdKey {
    /// Expands `key`.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self(HmacSha256::new(key))
    }

    /// The name of the block `plaintext`.
    #[must_use]
    pub fn name(&self, plaintext: &[u8]) -> BlockId {
        BlockId(self.0.tag(&[plaintext]))
    }
}

/// A data key of the Key Center, for the blocks of one account.
pub struct DataKey {
    key: Key,
    /// Purpose and account; the block's name follows.
    aad: Vec<u8>,
}

/// A sealed block that was altered, belongs to another name or account, or has another key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("block {0} does not open: it was altered, or its key or account is another one")]
pub struct DoesNotOpen(pub BlockId);

impl DataKey {
    /// `key` for the blocks of `account_id`.
    #[must_use]
    pub fn new(key: &[u8; 32], account_id: &str) -> Self {
        let aad = [PURPOSE, account_id.as_bytes()].concat();
        Self { key: Key::aes_256_gcm(key), aad }
    }

    /// Appends the sealed block to `out`.
    ///
    /// # Panics
    /// Where `plaintext` is empty or longer than [`BLOCK_BYTES`]: whoever cuts sees to that.
    pub fn seal_into(&self, id: &BlockId, plaintext: &[u8], out: &mut Vec<u8>) {
        assert!((1..=BLOCK_BYTES).contains(&plaintext.len()), "a block has 1 byte to 1 MiB");
        let nonce: [u8; NONCE_BYTES] = crypto::random_array();
        out.reserve(plaintext.len() + OVERHEAD_BYTES);
        out.extend_from_slice(&nonce);
        let start = out.len();
        out.extend_from_slice(plaintext);
        let tag = self.key.seal_in_place(nonce, &self.aad_of(id), &mut out[start..]);
        out.extend_from_slice(&tag);
    }

    /// Opens `sealed`, which was to be `id`, where it lies. The seal covers the name: whoever
    /// could seal another text under it has the key, and could name another block as well.
    pub fn open<'b>(&self, id: &BlockId, sealed: &'b mut [u8]) -> Result<&'b [u8], DoesNotOpen> {
        let refused = DoesNotOpen(*id);
        if sealed.len() < SEALED_BYTES_MIN {
            return Err(refused);
        }
        let (nonce, rest) = sealed.split_at_mut(NONCE_BYTES);
        let nonce = (&*nonce).try_into().expect("split at the nonce's length");
        self.key.open_in_place(nonce, &self.aad_of(id), rest).map(|it| &*it).map_err(|_| refused)
    }

    fn aad_of(&self, id: &BlockId) -> Vec<u8> {
        [&self.aad[..], &id.0].concat()
    }
}

/// The longest stretch of a text of `size` bytes that block `index` covers.
#[must_use]
pub fn block_len(size: u64, index: u64) -> usize {
    let start = index.saturating_mul(BLOCK_BYTES as u64);
    size.saturating_sub(start).min(BLOCK_BYTES as u64) as usize
}

/// How many blocks a text of `size` bytes is cut into.
#[must_use]
pub const fn block_count(size: u64) -> u64 {
    size.div_ceil(BLOCK_BYTES as u64)
}

/// Whether `bytes` are all zero: such a block is a hole and never stored.
#[must_use]
pub fn is_zero(bytes: &[u8]) -> bool {
    // A zero byte followed by itself shifted: memcmp is as fast as the memory.
    bytes.first().is_none_or(|first| *first == 0 && bytes[1..] == bytes[..bytes.len() - 1])
}

macro_rules! hexadecimal_name {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }

        impl FromStr for $name {
            type Err = NotAName;

            fn from_str(text: &str) -> Result<Self, NotAName> {
                parse_hexadecimal(text).map(Self).ok_or(NotAName)
            }
        }
    };
}

hexadecimal_name!(BlockId);
hexadecimal_name!(PackId);

fn parse_hexadecimal(text: &str) -> Option<[u8; ID_BYTES]> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let mut out = [0; ID_BYTES];
    if pairs.len() != ID_BYTES || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in out.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(out)
}

const fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> (IdKey, DataKey) {
        (IdKey::new(&[1; 32]), DataKey::new(&[2; 32], "a-1"))
    }

    #[test]
    fn s5_2_opens_what_it_sealed_and_refuses_every_flipped_bit() {
        let (ids, key) = keys();
        let id = ids.name(b"block");
        let mut sealed = Vec::new();
        key.seal_into(&id, b"block", &mut sealed);
        assert_eq!(key.open(&id, &mut sealed.clone()), Ok(&b"block"[..]));
        for bit in 0..sealed.len() * 8 {
            let mut altered = sealed.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(key.open(&id, &mut altered), Err(DoesNotOpen(id)));
        }
        for length in 0..sealed.len() {
            let mut cut = sealed[..length].to_vec();
            assert_eq!(key.open(&id, &mut cut), Err(DoesNotOpen(id)));
        }
    }

    #[test]
    fn refuses_a_block_of_another_name_or_account() {
        let (ids, key) = keys();
        let (id, other) = (ids.name(b"block"), ids.name(b"other"));
        let mut sealed = Vec::new();
        key.seal_into(&id, b"block", &mut sealed);
        assert!(key.open(&other, &mut sealed.clone()).is_err());
        assert!(DataKey::new(&[2; 32], "a-2").open(&id, &mut sealed.clone()).is_err());
    }

    #[test]
    fn equal_blocks_share_a_name_but_not_a_ciphertext() {
        let (ids, key) = keys();
        let (mut one, mut two) = (Vec::new(), Vec::new());
        key.seal_into(&ids.name(b"x"), b"x", &mut one);
        key.seal_into(&ids.name(b"x"), b"x", &mut two);
        assert_ne!(one, two);
    }

    #[test]
    fn names_are_written_as_64_lower_case_digits_and_nothing_else_is_read() {
        let id = BlockId([0xa5; 32]);
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in ["", "a5", &id.to_string().to_uppercase(), &format!("{id}0"), &"g".repeat(64)] {
            assert_eq!(bad.parse::<PackId>(), Err(NotAName), "{bad}");
        }
        assert_eq!(split_ids(&join_ids(&[id, id])), Ok(vec![id, id]));
        assert_eq!(split_ids(&[0; 33]), Err(NotNames));
        assert_eq!(split_ids(&vec![0; 32 * (wire::sync::IDS_AT_ONCE + 1)]), Err(NotNames));
    }

    #[test]
    fn zero_is_seen_at_every_length() {
        for length in 0..20 {
            assert!(is_zero(&vec![0; length]));
            for at in 0..length {
                let mut bytes = vec![0; length];
                bytes[at] = 1;
                assert!(!is_zero(&bytes));
            }
        }
    }

    #[test]
    fn a_text_is_cut_into_full_blocks_and_a_rest() {
        let mib = BLOCK_BYTES as u64;
        assert_eq!(
            (block_count(0), block_count(1), block_count(mib), block_count(mib + 1)),
            (0, 1, 1, 2)
        );
        assert_eq!((block_len(mib + 1, 0), block_len(mib + 1, 1)), (BLOCK_BYTES, 1));
    }
}
