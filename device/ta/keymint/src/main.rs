//! KeyMint: keys that are born in the TEE and never leave it, and the statements about them.
//!
//! - [`keymint`]: the commands;
//! - [`factory`]: the device's own key and its certificates, from the maker;
//! - [`blob`]: a key in the caller's keeping, useless outside this device and its root of trust;
//! - [`attestation`]: what the device says about a key (Android's `KeyDescription`, KeyMint 3).

mod attestation;
mod blob;
mod factory;
mod keymint;
#[cfg(test)]
mod tests;

fn main() -> std::process::ExitCode {
    tee_sdk::run::<keymint::KeyMintTa>()
}
