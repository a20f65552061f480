//! The system daemon: it puts the device together.
//!
//! - [`device`]: the state machine and what can be done with it.
//! - [`api`]: the local API, for programs. [`screen`]: the phone's screen, for people. Both call
//!   the device and hold no logic.
//! - [`userdata`], [`record`]: what lasts.
//! - [`tee`], [`modem`], [`images`], [`installer`]: the neighbours.
//! - [`daemon`]: descriptors, sockets and tasks; [`config`]: what the stages before hand over.
//!
//! It runs inside the namespaces that the bootloader made, and starts no program.

pub mod api;
pub mod config;
pub mod daemon;
pub mod device;
pub mod error;
pub mod images;
pub mod installer;
pub mod modem;
pub mod percent;
pub mod record;
pub mod screen;
pub mod tee;
pub mod userdata;

#[cfg(test)]
mod fake_cloud;
#[cfg(test)]
mod fake_tee;
#[cfg(test)]
mod fake_updates;
#[cfg(test)]
mod tests;
