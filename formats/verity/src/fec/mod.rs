//! Forward error correction: Reed-Solomon codes over data and tree.
//!
//! The code is RS(255, 255 − roots) over GF(2^8), as `drivers/md/dm-verity-fec.c`, `veritysetup`
//! and AVB's `fec` use it. [`FecLayout`] says where things are, [`FecEncoder`] makes parity, and
//! [`correct_fec`] corrects with it.

mod decode;
mod encode;
mod field;
mod lanes;
mod layout;

pub use decode::{FecOutcome, correct_fec};
pub use encode::{FecEncoder, encode_fec};
pub use layout::FecLayout;
