//! An emulated secure element: a chip with storage and rules of its own, which speaks ISO/IEC 7816-4
//! APDUs and nothing else. It carries the PIV application (NIST SP 800-73-5) with the administrative
//! extensions that `yubico-piv-tool` and its like use.
//!
//! - [`card`]: the card's operating system: power, chains, long answers, selecting;
//! - [`piv`]: the application;
//! - [`state`], [`store`]: what it remembers, sealed to its board, and how that survives power cuts
//!   and refuses to be taken back to an earlier day;
//! - [`binding`]: what makes the board the only one: the HUK and a counter, or a key file;
//! - [`link`], [`door`]: the wires: `vpcd` for pcscd, a Unix socket for programs that are named.
//!
//! A private key that was made here never leaves: no command reads one.

pub mod binding;
pub mod card;
pub mod door;
pub mod link;
pub mod make;
pub mod piv;
pub mod presence;
pub mod state;
pub mod store;
mod x509;
