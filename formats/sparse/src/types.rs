//! The headers of the file and of a chunk.

use crate::{Error, MapReader};
use std::ops::Range;

/// Bytes of the file's header.
pub const HEADER_BYTES: usize = 28;
/// Bytes of a chunk's header.
pub const CHUNK_HEADER_BYTES: usize = 12;

const MAGIC: u32 = 0xed26_ff3a;

/// The file's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Bytes of a block: a multiple of 4.
    pub block_size: u32,
    /// Blocks of the image.
    pub total_blocks: u32,
    /// Chunks of the file.
    pub total_chunks: u32,
    /// CRC-32 of the image, 0 where nobody computed it.
    pub image_checksum: u32,
}

impl Header {
    /// Reads the header at the start of `file`. `None` is a file that is no sparse image: a raw
    /// one.
    pub fn decode(file: &[u8]) -> Result<Option<Self>, Error> {
        let Some(fixed) = file.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        let (u32_at, u16_at) = (|at| le_u32(fixed, at), |at| le_u16(fixed, at));
        if u32_at(0) != MAGIC {
            return Ok(None);
        }
        let (major, minor) = (u16_at(4), u16_at(6));
        if (major, minor) != (1, 0) {
            return Err(Error::Version { major, minor });
        }
        for (field, at, need) in
            [("file_hdr_sz", 8, HEADER_BYTES), ("chunk_hdr_sz", 10, CHUNK_HEADER_BYTES)]
        {
            if usize::from(u16_at(at)) != need {
                return Err(Error::HeaderField { field, value: u16_at(at).into() });
            }
        }
        let block_size = u32_at(12);
        if block_size == 0 || block_size % 4 != 0 {
            return Err(Error::HeaderField { field: "blk_sz", value: block_size });
        }
        Ok(Some(Self {
            block_size,
            total_blocks: u32_at(16),
            total_chunks: u32_at(20),
            image_checksum: u32_at(24),
        }))
    }

    /// The header's 28 bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend(MAGIC.to_le_bytes());
        for field in [1, 0, 28, 12_u16] {
            out.extend(field.to_le_bytes());
        }
        for field in [self.block_size, self.total_blocks, self.total_chunks, self.image_checksum] {
            out.extend(field.to_le_bytes());
        }
        out.try_into().expect("4 + 4 * 2 + 4 * 4 bytes")
    }

    /// Reads the chunks behind this header.
    #[must_use]
    pub const fn reader(self) -> MapReader {
        MapReader::new(self)
    }
}

/// What a chunk is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// The bytes behind its header.
    Raw,
    /// Four bytes, repeated.
    Fill([u8; 4]),
    /// Nobody cares; it reads as zeros.
    DontCare,
    /// Nothing: a CRC-32 of the image so far.
    Crc32,
}

impl Content {
    pub(crate) const fn tag(self) -> u16 {
        match self {
            Self::Raw => 0xcac1,
            Self::Fill(_) => 0xcac2,
            Self::DontCare => 0xcac3,
            Self::Crc32 => 0xcac4,
        }
    }

    /// Bytes behind the header of a chunk that stands for `size` bytes of the image.
    pub(crate) const fn data_bytes(self, size: u64) -> u64 {
        match self {
            Self::Raw => size,
            Self::Fill(_) | Self::Crc32 => 4,
            Self::DontCare => 0,
        }
    }

    /// The chunk's header and, for a fill, its value.
    pub(crate) fn encode(self, blocks: u32, total: u32) -> Vec<u8> {
        let mut out = Vec::with_capacity(CHUNK_HEADER_BYTES + 4);
        out.extend(self.tag().to_le_bytes());
        out.extend([0, 0]);
        out.extend(blocks.to_le_bytes());
        out.extend(total.to_le_bytes());
        if let Self::Fill(value) = self {
            out.extend(value);
        }
        out
    }
}

/// A chunk: where it is in the file, and which bytes of the image it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Where its header is in the file.
    pub file_offset: u64,
    /// The bytes of the image. Empty for a CRC, and where a writer left an empty chunk.
    pub output: Range<u64>,
    /// What it is made of.
    pub content: Content,
}

impl Chunk {
    /// Where its data is in the file.
    #[must_use]
    pub const fn data_offset(&self) -> u64 {
        self.file_offset + CHUNK_HEADER_BYTES as u64
    }
}

pub(crate) fn le_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

pub(crate) fn le_u16(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}
