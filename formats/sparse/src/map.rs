//! Which bytes of the file are which bytes of the image.

use crate::types::{le_u16, le_u32};
use crate::{CHUNK_HEADER_BYTES, Chunk, Content, Error, HEADER_BYTES, Header};

/// Reads chunk headers one after the other. Memory grows with the chunks that are really there.
#[derive(Debug, Clone)]
pub struct MapReader {
    header: Header,
    chunks: Vec<Chunk>,
    file_offset: u64,
    output: u64,
}

impl MapReader {
    pub(crate) const fn new(header: Header) -> Self {
        Self { header, chunks: Vec::new(), file_offset: HEADER_BYTES as u64, output: 0 }
    }

    /// Where the next chunk header is in the file; `None` after the last one.
    #[must_use]
    pub fn next_offset(&self) -> Option<u64> {
        (self.chunks.len() as u64).lt(&self.header.total_chunks.into()).then_some(self.file_offset)
    }

    /// Takes the file's bytes from [`Self::next_offset`] on: 16, or all that are left.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let head = bytes.get(..CHUNK_HEADER_BYTES).ok_or(Error::Truncated)?;
        let (blocks, total) = (u64::from(le_u32(head, 4)), u64::from(le_u32(head, 8)));
        let size = blocks * u64::from(self.header.block_size);
        let data = total.checked_sub(CHUNK_HEADER_BYTES as u64).ok_or(Error::Truncated)?;
        let value = bytes.get(CHUNK_HEADER_BYTES..).and_then(|rest| rest.first_chunk::<4>());
        let (kind, content) = match le_u16(head, 0) {
            0xcac1 => ("Raw", Content::Raw),
            0xcac2 => ("Fill", Content::Fill(*value.ok_or(Error::Truncated)?)),
            0xcac3 => ("Don't care", Content::DontCare),
            0xcac4 => ("CRC32", Content::Crc32),
            tag => return Err(Error::ChunkType(tag)),
        };
        let need = content.data_bytes(size);
        if data != need {
            return Err(Error::ChunkSize { kind, have: data, need });
        }
        if content == Content::Crc32 && blocks != 0 {
            return Err(Error::ChunkSize { kind, have: size, need: 0 });
        }
        let end = self.output.checked_add(size).ok_or(Error::TooLarge("total_blks"))?;
        let chunk = Chunk { file_offset: self.file_offset, output: self.output..end, content };
        self.chunks.push(chunk);
        self.file_offset += total;
        self.output = end;
        Ok(())
    }

    /// The map, if all chunks were read, fill the image and end where the file of `file_size`
    /// bytes ends.
    pub fn finish(self, file_size: u64) -> Result<Map, Error> {
        let Self { header, chunks, file_offset, output } = self;
        if (chunks.len() as u64) < header.total_chunks.into() || file_offset > file_size {
            return Err(Error::Truncated);
        }
        let have = output / u64::from(header.block_size);
        if have != u64::from(header.total_blocks) {
            return Err(Error::Blocks { need: header.total_blocks.into(), have });
        }
        match file_size - file_offset {
            0 => Ok(Map { header, chunks, end: file_offset }),
            extra => Err(Error::TrailingBytes(extra)),
        }
    }
}

/// What to do to the file when the image is cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Truncation {
    /// The header of the chunk that is cut through, and where it goes.
    pub chunk_header: Option<(u64, Vec<u8>)>,
    /// How long the file is then.
    pub file_size: u64,
}

/// The chunks of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Map {
    header: Header,
    chunks: Vec<Chunk>,
    end: u64,
}

impl Map {
    /// An image of no bytes.
    pub fn empty(block_size: u32) -> Result<Self, Error> {
        let header = Header { block_size, total_blocks: 0, total_chunks: 0, image_checksum: 0 };
        if block_size == 0 || !block_size.is_multiple_of(4) {
            return Err(Error::HeaderField { field: "blk_sz", value: block_size });
        }
        Ok(Self { header, chunks: Vec::new(), end: HEADER_BYTES as u64 })
    }

    /// The file's header.
    #[must_use]
    pub const fn header(&self) -> Header {
        self.header
    }

    /// The number of blocks and of chunks, as the file has them 16 bytes from its start.
    #[must_use]
    pub fn counts(&self) -> [u8; 8] {
        let header = self.header.encode();
        header[16..24].try_into().expect("8 bytes of 28")
    }

    /// Bytes of the image.
    #[must_use]
    pub fn image_size(&self) -> u64 {
        self.chunks.last().map_or(0, |chunk| chunk.output.end)
    }

    /// Where the file ends.
    #[must_use]
    pub const fn file_size(&self) -> u64 {
        self.end
    }

    /// All chunks.
    #[must_use]
    pub fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }

    /// The chunk that has the byte at `offset` of the image.
    #[must_use]
    pub fn chunk_at(&self, offset: u64) -> Option<&Chunk> {
        let at = self.chunks.partition_point(|chunk| chunk.output.end <= offset);
        self.chunks.get(at)
    }

    /// Cuts the image to its first `size` bytes, a multiple of the block. Says what changes in
    /// the file beside [`Self::counts`].
    pub fn truncate(&mut self, size: u64) -> Result<Truncation, Error> {
        if !size.is_multiple_of(self.header.block_size.into()) || size > self.image_size() {
            return Err(Error::Unaligned(size));
        }
        if size == self.image_size() {
            return Ok(Truncation { chunk_header: None, file_size: self.end });
        }
        // A chunk that starts at `size` goes, with all behind it; of two that start there (one
        // of them is empty) avbtool keeps the first.
        let after = self.chunks.partition_point(|chunk| chunk.output.start <= size);
        let last = after.saturating_sub(1);
        let chunk = &mut self.chunks[last];
        let cut = if chunk.output.start == size {
            let file_size = chunk.file_offset;
            self.chunks.truncate(last);
            Truncation { chunk_header: None, file_size }
        } else {
            chunk.output.end = size;
            let kept = size - chunk.output.start;
            let data = chunk.content.data_bytes(kept);
            let (blocks, total) = sizes(chunk.content, kept, self.header.block_size)?;
            let head = chunk.content.encode(blocks, total)[..CHUNK_HEADER_BYTES].to_vec();
            let cut = Truncation {
                chunk_header: Some((chunk.file_offset, head)),
                file_size: chunk.data_offset() + data,
            };
            self.chunks.truncate(after);
            cut
        };
        self.end = cut.file_size;
        self.count()?;
        Ok(cut)
    }

    /// Appends a chunk that stands for `size` bytes, a multiple of the block. Gives what goes to
    /// the end of the file; the data of a raw chunk follows it.
    pub fn append(&mut self, content: Content, size: u64) -> Result<Vec<u8>, Error> {
        let (blocks, total) = sizes(content, size, self.header.block_size)?;
        let start = self.image_size();
        let end = start.checked_add(size).ok_or(Error::TooLarge("total_blks"))?;
        self.chunks.push(Chunk { file_offset: self.end, output: start..end, content });
        if let Err(error) = self.count() {
            self.chunks.pop();
            return Err(error);
        }
        self.end += u64::from(total);
        Ok(content.encode(blocks, total))
    }

    fn count(&mut self) -> Result<(), Error> {
        let blocks = self.image_size() / u64::from(self.header.block_size);
        self.header.total_blocks = blocks.try_into().map_err(|_| Error::TooLarge("total_blks"))?;
        let chunks = self.chunks.len();
        self.header.total_chunks =
            chunks.try_into().map_err(|_| Error::TooLarge("total_chunks"))?;
        Ok(())
    }
}

/// The two sizes in the header of a chunk.
fn sizes(content: Content, size: u64, block_size: u32) -> Result<(u32, u32), Error> {
    if !size.is_multiple_of(block_size.into()) {
        return Err(Error::Unaligned(size));
    }
    let blocks = size / u64::from(block_size);
    let total = content.data_bytes(size).saturating_add(CHUNK_HEADER_BYTES as u64);
    let blocks = u32::try_from(blocks).map_err(|_| Error::TooLarge("chunk_sz"))?;
    Ok((blocks, u32::try_from(total).map_err(|_| Error::TooLarge("total_sz"))?))
}
