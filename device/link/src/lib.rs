//! The device's end of the cloud: sync, push, find.
//!
//! - [`session`]: the cloud's client, the device's own session, the cloud's clock.
//! - [`push`]: the link on which events come, and messages for applications.
//! - [`find`]: the rules of find-device.
//! - [`sync`]: snapshots of the vault, up and back.
//! - [`update`]: what there is to update, and packages in ranges.
//! - [`activation`]: tickets that end the activation lock and lost mode.
//! - [`clock`]: the time for the TEE's secure clock.
//! - [`provision`]: certificates for keys that attest others.

pub mod activation;
pub mod clock;
pub mod find;
pub mod provision;
pub mod push;
pub mod session;
pub mod sync;
pub mod update;
