//! System updates on the device (SPEC S2.6).
//!
//! One engine, used twice: the system uses it to prepare the other slot while it runs, recovery
//! uses it as the authority. [`package`] says whether a package is the maker's and for this device;
//! [`install`] writes it into the slot that does not run, and only there; [`activate`] makes that
//! slot the next to boot. [`storage`] is what they write to, [`outcome`] what recovery tells the
//! system.
//!
//! [`updater`] is what drives them on the running system: how far an update is, durably ([`state`]
//! has its types); [`partial`] is a package that comes in pieces, [`copied`] one that somebody
//! copies over.
//!
//! Everything can be cut short at any write and be done again: the slot that is written to is
//! unbootable from before the first write until it was verified as the bootloader will.

pub mod activate;
pub mod copied;
pub mod install;
pub mod outcome;
pub mod package;
pub mod partial;
pub mod recovery;
pub mod state;
pub mod storage;
pub mod updater;
mod witness;

pub use activate::{ActivateError, activate};
pub use board::build::Build;
pub use install::{InstallError, Installed, Progress, install};
pub use package::{Package, Refusal};
pub use storage::SlotStorage;
