//! Tests of the crate's interface. The ones that need a peer's data say so where it is absent.

mod cert;
mod device;
mod formats;
mod hostile;
mod libavb;
mod ml_dsa;
mod partition;
mod policy;
mod slot_verify;
