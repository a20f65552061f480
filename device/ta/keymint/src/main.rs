//! Trusted application: keys and attestation.

fn main() {}
