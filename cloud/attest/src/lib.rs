//! Which device is this, and in what state: verifying attestation.
