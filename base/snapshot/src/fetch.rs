//! The answer of `POST /v1/sync/blocks`: a stream of sealed blocks, each with its wrapped key.
//!
//! [`wire::sync::FETCH_MAGIC`], version (u8), then repeated { id (32), u16 length, wrapped data
//! key, u32 length, sealed block }. Numbers are big-endian.

use crate::block::{BlockId, ID_BYTES};
use crate::pack::{Error, check_block_length, check_key_length, check_wrapped_key};
use std::io::{self, Read};
use wire::sync::{FETCH_MAGIC, VERSION};

/// What the stream begins with.
pub const HEAD: [u8; 5] = [FETCH_MAGIC[0], FETCH_MAGIC[1], FETCH_MAGIC[2], FETCH_MAGIC[3], VERSION];

/// What comes before a sealed block of `sealed_bytes`.
#[must_use]
pub fn frame_head(id: &BlockId, wrapped_key: &str, sealed_bytes: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(ID_BYTES + 6 + wrapped_key.len());
    out.extend_from_slice(&id.0);
    out.extend_from_slice(&(wrapped_key.len() as u16).to_be_bytes());
    out.extend_from_slice(wrapped_key.as_bytes());
    out.extend_from_slice(&sealed_bytes.to_be_bytes());
    out
}

/// A block as it arrives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Its name, as the server says.
    pub id: BlockId,
    /// The key that it is sealed under, wrapped.
    pub wrapped_key: String,
    /// The sealed block.
    pub sealed: Vec<u8>,
}

/// Why the stream cannot be read on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The bytes are not such a stream.
    #[error("the answer with blocks is malformed: {0}")]
    Malformed(#[from] Error),
    /// The connection broke.
    #[error("the answer with blocks broke off: {0}")]
    Io(#[from] io::Error),
}

/// Reads the stream, block by block.
pub struct FetchReader<R> {
    from: R,
    position: u64,
}

impl<R: Read> FetchReader<R> {
    /// Reads the head.
    pub fn new(from: R) -> Result<Self, ReadError> {
        let mut reader = Self { from, position: 0 };
        let mut head = [0; HEAD.len()];
        reader.fill(&mut head)?;
        if head[..4] != FETCH_MAGIC {
            return Err(Error::Magic.into());
        }
        if head[4] != VERSION {
            return Err(Error::Version(head[4]).into());
        }
        Ok(reader)
    }

    /// The next block; `None` where the stream ends between two.
    pub fn next_block(&mut self) -> Result<Option<Fetched>, ReadError> {
        self.next_block_in(Vec::new())
    }

    /// The same, with the sealed block in `buffer`, whose old content is dropped.
    pub fn next_block_in(&mut self, buffer: Vec<u8>) -> Result<Option<Fetched>, ReadError> {
        let mut id = [0; ID_BYTES];
        if !self.fill_or_end(&mut id)? {
            return Ok(None);
        }
        let mut length = [0; 2];
        let at = self.position;
        self.fill(&mut length)?;
        let length = usize::from(u16::from_be_bytes(length));
        check_key_length(length, at)?;
        let mut wrapped_key = vec![0; length];
        self.fill(&mut wrapped_key)?;
        check_wrapped_key(&wrapped_key, at)?;
        let wrapped_key = String::from_utf8_lossy(&wrapped_key).into_owned();
        Ok(Some(Fetched { id: BlockId(id), wrapped_key, sealed: self.sealed(buffer)? }))
    }

    fn sealed(&mut self, mut sealed: Vec<u8>) -> Result<Vec<u8>, ReadError> {
        let (mut length, at) = ([0; 4], self.position);
        self.fill(&mut length)?;
        let length = u32::from_be_bytes(length);
        check_block_length(length, at)?;
        sealed.resize(length as usize, 0);
        self.fill(&mut sealed)?;
        Ok(sealed)
    }

    fn fill(&mut self, out: &mut [u8]) -> Result<(), ReadError> {
        if self.fill_or_end(out)? {
            Ok(())
        } else {
            Err(Error::Truncated { at: self.position }.into())
        }
    }

    /// Fills `out`; false where the stream ends before its first byte.
    fn fill_or_end(&mut self, out: &mut [u8]) -> Result<bool, ReadError> {
        let mut filled = 0;
        while filled < out.len() {
            match self.from.read(&mut out[filled..]) {
                Ok(0) if filled == 0 => return Ok(false),
                Ok(0) => return Err(Error::Truncated { at: self.position }.into()),
                Ok(read) => {
                    filled += read;
                    self.position += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stream(blocks: &[Fetched]) -> Vec<u8> {
        let mut out = HEAD.to_vec();
        for block in blocks {
            out.extend(frame_head(&block.id, &block.wrapped_key, block.sealed.len() as u32));
            out.extend(&block.sealed);
        }
        out
    }

    fn read(bytes: &[u8]) -> Result<Vec<Fetched>, ReadError> {
        let mut reader = FetchReader::new(bytes)?;
        let mut blocks = Vec::new();
        while let Some(block) = reader.next_block()? {
            blocks.push(block);
        }
        Ok(blocks)
    }

    fn fetched() -> impl Strategy<Value = Fetched> {
        (any::<[u8; 32]>(), "[!-~]{1,40}", proptest::collection::vec(any::<u8>(), 29..300))
            .prop_map(|(id, wrapped_key, sealed)| Fetched { id: BlockId(id), wrapped_key, sealed })
    }

    proptest! {
        #[test]
        fn s5_2_reads_what_a_server_writes(blocks in proptest::collection::vec(fetched(), 0..5)) {
            prop_assert_eq!(read(&stream(&blocks)).expect("a stream"), blocks);
        }

        #[test]
        fn never_panics_on_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
            let _ = read(&[&HEAD[..], &bytes].concat());
        }
    }

    #[test]
    fn refuses_a_stream_that_ends_inside_a_block() {
        let block = Fetched { id: BlockId([1; 32]), wrapped_key: "k".into(), sealed: vec![2; 40] };
        let bytes = stream(std::slice::from_ref(&block));
        for length in 0..bytes.len() {
            let good = length == HEAD.len();
            assert_eq!(read(&bytes[..length]).is_ok(), good, "{length}");
        }
        assert!(matches!(read(b"HFBL\x02"), Err(ReadError::Malformed(Error::Version(2)))));
        assert!(matches!(read(b"HFPK\x01"), Err(ReadError::Malformed(Error::Magic))));
    }
}
