//! Sync: encrypted blocks, packs and snapshots (SPEC S5.2).
//!
//! | route | who | body → answer |
//! |---|---|---|
//! | `GET /v1/sync/root` | user or device | → [`Root`], 404 before the first |
//! | `PUT /v1/sync/root` | device | [`Root`] → 201; 409 where there is one |
//! | `GET /v1/sync/head` | user or device | → [`Head`], 404 before the first |
//! | `PUT /v1/sync/head` | device | [`Advance`] → 204; 409 where another came first |
//! | `POST /v1/sync/missing` | device | concatenated ids (32 bytes each) → those not stored |
//! | `PUT /v1/sync/packs/{id}` | device | a pack ([`MAGIC`]) → 201 once durable; the same again is no error |
//! | `POST /v1/sync/blocks` | user or device | concatenated ids → [`FETCH_MAGIC`] stream, in order |
//!
//! Pack: [`MAGIC`], version 1 (u8), u16 length, wrapped data key (text), then repeated
//! { id (32), u32 length, sealed block }. Fetched blocks: [`FETCH_MAGIC`], version 1 (u8), then
//! repeated { id (32), u16 length, wrapped data key, u32 length, sealed block }. Numbers are
//! big-endian.

use serde::{Deserialize, Serialize};

/// Begins a pack.
pub const MAGIC: [u8; 4] = *b"HFPK";
/// Begins an answer with blocks.
pub const FETCH_MAGIC: [u8; 4] = *b"HFBL";
/// The version of both.
pub const VERSION: u8 = 1;
/// The most plaintext in a block.
pub const BLOCK_BYTES: usize = 1 << 20;
/// The most a sealed block has.
pub const SEALED_BLOCK_BYTES: usize = BLOCK_BYTES + crypto_overhead();
/// The largest pack that a server takes.
pub const PACK_BYTES: usize = 64 << 20;
/// The most ids in one question.
pub const IDS_AT_ONCE: usize = 16_384;

const fn crypto_overhead() -> usize {
    12 + 16
}

/// What an account's blocks are named with, made once by its first device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// The block-name key, wrapped by the Key Center (`vault:v1:…` under `user-<account>`).
    pub wrapped_id_key: String,
}

/// The newest snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Rises by one with each.
    pub generation: u64,
    /// The blocks of the manifest, in order; hexadecimal ids.
    pub manifest: Vec<String>,
    /// Which device made it.
    pub device_id: String,
    /// When.
    pub at_ms: u64,
    /// Plain figures for the owner: how many files.
    pub files: u64,
    /// Bytes of all of them.
    pub bytes: u64,
}

/// Makes a snapshot the newest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advance {
    /// The generation that this one follows; 0 for the first.
    pub follows: u64,
    /// The blocks of the manifest, in order; hexadecimal ids.
    pub manifest: Vec<String>,
    /// The packs that it needs; what no recent head needs is swept. Hexadecimal.
    pub packs: Vec<String>,
    /// How many files.
    pub files: u64,
    /// Bytes of all of them.
    pub bytes: u64,
}
