//! The journal: a write, whole and checked, before it is made.

use rpmb::{BLOCK_BYTES, MAX_WRITE_FRAMES};

const HEAD_BYTES: usize = 32;
/// Bytes of the longest entry.
pub(crate) const ENTRY_BYTES: usize = HEAD_BYTES + MAX_WRITE_FRAMES * BLOCK_BYTES;

/// One write that is about to happen.
pub(crate) struct Entry<'a> {
    pub(crate) sequence: u64,
    pub(crate) counter: u32,
    pub(crate) first: u16,
    pub(crate) blocks: &'a [u8],
}

impl<'a> Entry<'a> {
    /// Sequence, counter, first block, blocks; CRC-32 of these and of the content; the content.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; HEAD_BYTES];
        bytes[..8].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.counter.to_be_bytes());
        bytes[12..14].copy_from_slice(&self.first.to_be_bytes());
        let count = u16::try_from(self.blocks.len() / BLOCK_BYTES).unwrap_or(u16::MAX);
        bytes[14..16].copy_from_slice(&count.to_be_bytes());
        let crc = Self::crc(&bytes[..16], self.blocks);
        bytes[16..20].copy_from_slice(&crc.to_be_bytes());
        bytes.extend_from_slice(self.blocks);
        bytes
    }

    /// From the beginning of a slot; `None` where it holds none, or was torn.
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (head, content) = bytes.split_at_checked(HEAD_BYTES)?;
        let count = usize::from(u16::from_be_bytes(head[14..16].try_into().ok()?));
        let blocks = content.get(..count * BLOCK_BYTES)?;
        let crc = u32::from_be_bytes(head[16..20].try_into().ok()?);
        (crc == Self::crc(&head[..16], blocks)).then_some(())?;
        Some(Self {
            sequence: u64::from_be_bytes(head[..8].try_into().ok()?),
            counter: u32::from_be_bytes(head[8..12].try_into().ok()?),
            first: u16::from_be_bytes(head[12..14].try_into().ok()?),
            blocks,
        })
    }

    fn crc(head: &[u8], blocks: &[u8]) -> u32 {
        let mut crc = crc32fast::Hasher::new();
        crc.update(head);
        crc.update(blocks);
        crc.finalize()
    }
}
