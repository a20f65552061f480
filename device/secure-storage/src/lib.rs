//! The TEE's secure file system (SPEC S3.1.2): objects of trusted applications in files that the
//! REE keeps, with the root of a hash tree over all of them in RPMB.
//!
//! The REE is the adversary: it may read, alter, delete, swap, cut and bring back any file at any
//! time, answer late or wrongly, or not at all. What it can do is make storage fail, and that is
//! told. It never makes storage wrong.
//!
//! # What lies where
//!
//! - A **segment** is a file of 1 MiB with a random name, zeros at first. What is written goes
//!   behind what was written: the contents of objects, each followed by the record that makes
//!   them count. No byte that counts is ever overwritten.
//! - A **record** is sealed under the epoch's key and names its predecessor: a commit has the
//!   objects that changed, a checkpoint has them all. Names and sizes are inside the seal;
//!   outside everything has one of few sizes (Padmé).
//! - The **anchor** is one block of RPMB: the number of the last commit, the root of the hash
//!   tree, the epoch's key, and where the last record lies. Writing it is the commit.
//! - Each content is sealed with AES-256-GCM under a key of its own: from its owner's key (which
//!   comes from the HUK) and a secret that stands in the record. A checkpoint begins a new epoch;
//!   with the old epoch's key, what was deleted can't be opened any more, not even with the HUK.
//!
//! # Rooms
//!
//! [`Store`] is the engine, straight-line code over two traits ([`Files`], [`Anchor`]) whose
//! answers may come later. [`Service`] is what a trusted OS with one thread runs it in: requests
//! in, operations for the REE out, completions in, answers out; nothing ever blocks.

mod change;
mod compact;
mod error;
mod index;
mod io;
mod open;
mod record;
mod seal;
mod service;
mod store;
mod tree;

pub use change::{Change, Quota};
pub use error::Error;
pub use io::{ANCHOR_BYTES, Anchor, AnchorError, FileError, FileId, Files, Keys, Owner};
pub use record::{AnchorState, Record};
pub use service::{Operation, Outcome, Reply, Request, Service};
pub use store::{Batch, Store};

/// The longest name of an object, in bytes.
pub const MAX_NAME_BYTES: usize = 64;
/// The largest object, in bytes.
pub const MAX_OBJECT_BYTES: u32 = 1 << 20;
/// The most bytes that one read gives.
pub const MAX_READ_BYTES: u32 = 64 << 10;
/// The most changes in one request.
pub const MAX_CHANGES: usize = 64;
/// The most objects, of all owners together.
pub const MAX_OBJECTS: usize = 8192;
/// The most bytes of content, of all owners together.
pub const MAX_BYTES: u64 = 64 << 20;
/// Bytes of a segment: a file of the REE.
pub const SEGMENT_BYTES: u32 = 1 << 20;
/// The most bytes of one operation on a file.
pub const MAX_IO_BYTES: usize = 96 << 10;
/// The most names that one listing gives.
pub const MAX_LISTED: usize = 64;
/// Content is sealed in chunks of so many bytes: a write in the middle rewrites no more.
const CHUNK_BYTES: u32 = 16 << 10;
