//! Manufacture: the maker's keys and certificates, a board's fuses, the signed flash image.
//!
//! What a factory does, in this order: [`Maker::open_or_create`] once; for each device
//! [`make_board`], [`FlashPlan::build`], and, when the device runs, [`Maker::certify_device`]
//! for the key that its TEE made. Time and randomness are parameters.

mod application;
mod board_making;
mod elf;
mod flash;
mod identifiers;
mod image;
mod maker;
mod parity;
mod stages;

pub use application::Application;
pub use board::verity::ErrorMode as VerityErrorMode;
pub use board_emulated::backend::{Backend, discard};
pub use board_making::{BoardOrder, make_board};
pub use elf::{NotAnExecutable, loadable_part};
pub use flash::{
    CloudConfig, FlashError, FlashPlan, Release, RollbackIndexes, SystemFile, Updates,
};
pub use identifiers::{Identifiers, Imei, NoImei};
pub use maker::{AvbKey, KeySize, Maker, MakerError};
pub use stages::{StageError, Stages};
