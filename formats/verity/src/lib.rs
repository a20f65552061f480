//! dm-verity hash trees, as the kernel, veritysetup and AVB lay them out.
//!
//! Follows `Documentation/admin-guide/device-mapper/verity.rst`, formats 0 and 1: each level is
//! padded with zeros to whole blocks, the level of the root comes first. A tree of AVB is the
//! file of `veritysetup format --no-superblock`; [`Superblock`] is what stands before it without
//! that option. Forward error correction: [`FecLayout`], [`FecEncoder`], [`correct_fec`], and
//! [`Repair`] for a whole image. [`Table`] is the line that hands it all to the kernel.
//!
//! No threads here: [`Geometry`] says which ranges there are, [`TreeBuilder::hash_blocks`] and
//! [`Tree::verify_blocks`] work on any of them, and the caller spreads them over its cores.
//! Trees too large for memory are made and checked a [`Family`] at a time.
//!
//! ```
//! use verity::{HashAlgorithm, Params, Tree};
//!
//! let params = Params::new(HashAlgorithm::Sha256, b"salt")?;
//! let data = vec![7; 100 * 4096];
//! let (tree, root) = verity::build(&params, &data)?;
//!
//! let tree = Tree::open(&params, data.len() as u64, &tree, &root)?;
//! std::thread::scope(|scope| {
//!     let workers: Vec<_> = tree
//!         .geometry()
//!         .split(4)
//!         .map(|blocks| {
//!             let bytes = tree.geometry().byte_range(&params, blocks.clone());
//!             let part = &data[bytes.start as usize..bytes.end as usize];
//!             let tree = &tree;
//!             scope.spawn(move || tree.verify_blocks(blocks.start, part))
//!         })
//!         .collect();
//!     workers.into_iter().try_for_each(|worker| worker.join().expect("no panic"))
//! })?;
//! # Ok::<(), verity::Error>(())
//! ```
//!
//! **Speed.** The state of the hash after the salt is computed once and copied for each block. A
//! salt of a multiple of 64 bytes (128 for SHA-512) costs nothing per block; any other is hashed
//! with the block's first bytes again, at most one compression more in 65.

mod build;
mod error;
mod family;
mod fec;
mod geometry;
mod params;
mod repair;
mod superblock;
mod table;
mod verify;

pub use build::{TreeBuilder, build};
pub use error::Error;
pub use family::{Family, check_top, root_of};
pub use fec::{FecEncoder, FecLayout, FecOutcome, correct_fec, encode_fec};
pub use geometry::{Geometry, Level};
pub use params::{BLOCK_BYTES, HashAlgorithm, HashFormat, Params, RootDigest};
pub use repair::{Media, Repair, RepairReport, restore_block};
pub use superblock::{SUPERBLOCK_BYTES, Superblock};
pub use table::{Table, TableFec};
pub use verify::Tree;
