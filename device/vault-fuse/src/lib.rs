//! A vault: an encrypted folder of any file system, mounted over FUSE without privileges.
//!
//! Like gocryptfs, and unlike it: each file has its own key (SPEC S3.1.1); every block of 4096
//! bytes is AES-256-GCM, bound to its file and its place; the size and the holes of a file are
//! authenticated too; and the key can hang on a TEE.
//!
//! # What somebody who can write the folder cannot do unseen
//! Alter, cut, reorder, exchange, remove or add blocks, or make holes; give an entry another name,
//! or take it to another directory; alter links, attributes or ids. What was altered reads as
//! `EIO`, with a line in the log, and [`check`] finds it.
//!
//! **Not detected**: an older state of a whole file, or of a group of 64 of its blocks at the same
//! place; of one block, the version just before. A missing entry. Two whole files that change
//! places under their names. Modes, owners and times, which lie in the clear.
//!
//! # What it costs to look at
//! Names, sizes to the block, the shape of the tree and which extended attributes are equal in
//! name are seen by whoever has the folder: sizes and shape as they are, names encrypted.

mod check;
mod error;
mod file;
mod format;
mod mount;
mod serve;
mod tree;
mod vault;
mod wire;

pub use check::{Checked, Problem, check};
pub use error::{Damage, Error, VaultError};
pub use format::config::{Config, Cost};
pub use format::keys::MasterKey;
pub use vault::{Locking, Mounted, User, create, lock, mounted, serve, unmount};
