//! Android's A/B update payload (`CrAU`, major version 2): read, verify, apply, make, and deltas
//! between images.
//!
//! Follows update_engine's update_metadata.proto and payload_metadata.cc. Covered: full payloads
//! and deltas of minor versions 2 to 10 with `REPLACE`, `REPLACE_BZ`, `REPLACE_XZ`,
//! `REPLACE_ZSTD`, `ZERO`, `DISCARD`, `SOURCE_COPY`, `SOURCE_BSDIFF` and `BROTLI_BSDIFF`; metadata
//! and payload signatures, RSA and ECDSA, by several signers; hash trees and error correction that
//! the device computes itself ([`Computed`]). Not covered: `PUFFDIFF`, `ZUCCHINI`
//! and the two `LZ4DIFF` (no well-kept library applies them: refused by name), version 1
//! (`MOVE`, `BSDIFF`), merge operations of Virtual A/B (kept, not used).
//!
//! Pure: partitions come as [`ReadAt`] and [`WriteAt`], work is offered by operation
//! ([`apply()`]) and by stretch ([`full::full`], [`delta::Source::steps`]), so that a caller uses
//! all of its cores.
//!
//! ```
//! use payload::compress::Compression;
//! use payload::make::{Builder, Image};
//! use payload::{Payload, WriteAt, apply};
//! use std::sync::Mutex;
//!
//! // A partition in memory; a device has a block device here.
//! struct Memory(Mutex<Vec<u8>>);
//! impl WriteAt for Memory {
//!     fn write_at(&self, offset: u64, bytes: &[u8]) -> std::io::Result<()> {
//!         let at = offset as usize;
//!         self.0.lock().unwrap()[at..at + bytes.len()].copy_from_slice(bytes);
//!         Ok(())
//!     }
//! }
//!
//! let image = b"boot".repeat(2048);
//! let new = Image { size: 8192, sha256: crypto::digest::sha256(&image) };
//! let mut builder = Builder::new(0);
//! builder.partition("boot", None, new);
//! let mut blobs = Vec::new();
//! for step in payload::full::full(0, &image, Compression::Xz(6))? {
//!     builder.step(&step)?;
//!     blobs.extend(step.blob);
//! }
//! let mut sealed = builder.seal(&[])?;
//! let mut file = sealed.front().to_vec();
//! sealed.update(&blobs);
//! file.extend(&blobs);
//! file.extend(sealed.finish()?.0);
//!
//! let payload = Payload::open(&file, file.len() as u64)?;
//! let partition = Memory(Mutex::new(vec![0; 8192]));
//! for operation in &payload.manifest().partitions[0].operations {
//!     let blob = payload.blob(operation);
//!     let blob = &file[blob.start as usize..blob.end as usize];
//!     apply(operation, blob, None, &partition)?;
//! }
//! assert_eq!(*partition.0.lock().unwrap(), image);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod apply;
pub mod bsdiff;
mod check;
mod checkpoint;
pub mod compress;
mod computed;
pub mod delta;
pub mod der;
mod error;
pub mod full;
mod hasher;
mod io;
pub mod key;
mod layout;
pub mod make;
pub mod manifest;
pub mod properties;
pub mod signature;
pub mod wire;

pub use apply::apply;
pub use checkpoint::{CHECKPOINT_BYTES, Checkpoint};
pub use computed::{Computed, Phase};
pub use error::{
    ApplyError, DecodeError, MakeError, OperationFault, PartitionFault, Refusal, VerityFault,
};
pub use hasher::{Digests, Hasher};
pub use io::{ReadAt, WriteAt, bytes_in};
pub use layout::{HEADER_BYTES, Header, Payload};
