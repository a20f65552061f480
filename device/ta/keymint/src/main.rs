//! KeyMint: keys that are born in the TEE and never leave it, and the statements about them.
//!
//! - [`keymint`]: the commands;
//! - [`rules`]: what each algorithm can, as tables; [`authentication`] and [`boot_state`]: who, and
//!   until when;
//! - [`create`]: new keys, with [`material`] of keys from outside; [`blob`], [`versions`] and
//!   [`secrets`]: a key in the caller's keeping, useless outside this device, its root of trust,
//!   its application, and once it was deleted;
//! - [`operation`] and [`table`]: operations and opened keys;
//! - [`certificate`] and [`description`]: what the device says about a key (Android's
//!   `KeyDescription`, KeyMint 3 and 4); [`factory`] and [`provisioning`]: with which key.

mod authentication;
mod blob;
mod boot_state;
mod certificate;
mod create;
mod description;
mod entropy;
mod factory;
mod failure;
mod keymint;
mod material;
mod open_key;
mod operation;
mod peer;
mod provisioning;
mod rules;
mod secrets;
mod table;
#[cfg(test)]
mod tests;
mod uses;
mod versions;

fn main() -> std::process::ExitCode {
    tee_sdk::run::<keymint::KeyMintTa>()
}
