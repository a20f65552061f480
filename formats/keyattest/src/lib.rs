//! Android key attestation: the X.509 extension and the chain rules.
