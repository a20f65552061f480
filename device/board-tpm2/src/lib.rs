//! A board whose HUK, fuses and counters are in a TPM 2.0 (TPM 2.0 Library, revision 1.59).
//!
//! - The HUK is an HMAC key that the TPM made and never gives away. It works only while PCR 23
//!   holds what the boot ROM measured: serial number and root keys ([`measure`]).
//! - Life cycle and revoked root keys are bits of an NV bit field: they can be set, not cleared.
//! - Rollback counters are NV counters. They rise by one.
//! - The RPMB chip is a file, sealed to one more NV counter ([`chip`]).
//! - What remains are places and names, in `tpm2.cbor`, under a MAC of the HUK ([`record`]).
//!
//! [`TpmSilicon`] is the board with power; [`make()`] makes one. Below them [`commands`] knows the
//! commands, [`session`] keeps secrets off the bus, [`wire`] reads and writes, [`link`] carries.
//! No command stays open: after each use of the TPM there is no session and no connection left.
//!
//! Not covered: TPM 1.2, other hierarchies than the owner's, an owner hierarchy with a password.

pub mod address;
pub mod chip;
pub mod code;
pub mod commands;
pub mod error;
pub mod link;
mod make;
pub mod measure;
pub mod record;
pub mod session;
mod silicon;
pub mod wire;

pub use address::Address;
pub use error::TpmError;
pub use make::{Order, discard, make};
pub use silicon::TpmSilicon;
