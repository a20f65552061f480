//! Sync's data, without I/O: how a tree becomes blocks, packs and a manifest, and back.
//!
//! A file is cut into blocks of [`wire::sync::BLOCK_BYTES`]. A block's name is a keyed hash of
//! its plaintext ([`block::IdKey`]); the block itself is sealed under a data key of the Key
//! Center ([`block::DataKey`]). Sealed blocks travel up in packs ([`pack`]) and down in a
//! stream ([`fetch`]). The [`manifest`] says which blocks make which file; it is cut and sealed
//! like a file.
//!
//! The device writes and reads all of it; the cloud reads frames only ([`pack::Scanner`],
//! [`fetch::frame_head`]) until the signed-in owner's keys are unwrapped for a restore.
//!
//! ```
//! use snapshot::block::{DataKey, IdKey};
//! use snapshot::pack::PackWriter;
//!
//! let (ids, key) = (IdKey::new(&[1; 32]), DataKey::new(&[2; 32], "account"));
//! let id = ids.name(b"plaintext");
//! let mut writer = PackWriter::new("vault:v1:d3JhcHBlZA==")?;
//! writer.push(&key, &id, b"plaintext");
//! let pack = writer.finish();
//! let index = snapshot::pack::parse(&pack.bytes)?;
//! let mut sealed = index.blocks[0].of(&pack.bytes).to_vec();
//! assert_eq!(key.open(&id, &mut sealed)?, b"plaintext");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod block;
pub mod fetch;
pub mod manifest;
pub mod pack;
pub mod path;
