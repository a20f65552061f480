//! An RPMB chip that lasts: what it stores is a file ([`FileStore`]), and other programs may reach
//! it behind a Unix socket ([`server`], [`client`]).
//!
//! The state machine is the crate `rpmb`'s; here are persistence and transport. The emulated board
//! keeps its chip in a [`FileStore`] and talks to it in its own process; `holdfast rpmb serve`
//! puts one behind a socket for whoever wants an RPMB without the hardware. What goes over the
//! socket is what an eMMC sees ([`wire`]): CMD25 with frames in, CMD18 with frames out.

pub mod client;
mod journal;
mod registers;
pub mod server;
mod store;
pub mod wire;

pub use store::{FileStore, MAX_BLOCKS, Medium};
