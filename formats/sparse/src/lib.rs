//! Android sparse images: an image as chunks of data, of one repeated value, and of nothing.
//!
//! Follows `system/core/libsparse/sparse_format.h`, version 1.0, little-endian. No I/O: a caller
//! reads the chunk headers where [`MapReader::next_offset`] says, and gets a [`Map`] that says
//! which bytes of the file are which bytes of the image. Editing is what avbtool does: cut the
//! image ([`Map::truncate`]) and append chunks ([`Map::append`]); both say which bytes of the
//! file change.
//!
//! Not covered: checksums (a CRC chunk is skipped, as avbtool and libsparse skip it).
//!
//! ```
//! use sparse::{Content, Header, Map};
//!
//! let mut map = Map::empty(4096)?;
//! let mut file = map.header().encode().to_vec();
//! let head = map.append(Content::Fill([1, 2, 3, 4]), 8192)?;
//! file.extend(head);
//! file[16..24].copy_from_slice(&map.counts());
//!
//! let header = Header::decode(&file)?.expect("a sparse image");
//! let mut reader = map.header().reader();
//! while let Some(offset) = reader.next_offset() {
//!     reader.push(&file[offset as usize..])?;
//! }
//! let map = reader.finish(file.len() as u64)?;
//! assert_eq!((header.total_blocks, map.image_size()), (2, 8192));
//! # Ok::<(), sparse::Error>(())
//! ```

mod error;
mod map;
mod types;

pub use error::Error;
pub use map::{Map, MapReader, Truncation};
pub use types::{CHUNK_HEADER_BYTES, Chunk, Content, HEADER_BYTES, Header};
