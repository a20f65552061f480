//! CE and DE areas that the kernel encrypts (SPEC S3.1.1): fscrypt policies of version 2 on ext4 and
//! F2FS, AES-256-XTS contents and AES-256-CTS names, or AES-256-HCTR2 names where the kernel has
//! them.
//!
//! [`kernel`] has the ioctls, [`Areas`] the directories: for each user a CE area, open between its
//! first unlock and its lock, and a DE area, open once the device booted; in each a directory for
//! each application, which is its owner's alone.
//!
//! The keys come from outside (the TEE releases them) and are the kernel's from then on: nothing
//! of them is kept here. fscrypt protects confidentiality, not integrity: `device/vault-fuse` has
//! both.

mod areas;
pub mod kernel;

pub use areas::{AreaError, Areas, Class, ClassKey, State};
