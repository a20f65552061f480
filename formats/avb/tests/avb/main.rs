//! Tests of the crate's interface. The ones that need a peer's data say so where it is absent.

mod device;
mod formats;
mod hostile;
mod partition;
mod policy;
mod slot_verify;
