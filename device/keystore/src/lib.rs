//! The keystore (SPEC S3.2): the system service in front of KeyMint.
//!
//! KeyMint makes keys and uses them, and keeps none: what it gives is a blob that opens in this
//! TEE only. The keystore keeps the blobs, says whose they are, and enforces what the TEE can't:
//!
//! - [`Caller`]: each user, and each labelled program, has keys of its own and sees no others;
//!   grants let others in, bit by bit (`access`);
//! - `create`, `usage`: new keys, and every way to use one;
//! - `enforcement`, `tokens`: dates, counts of uses, who authenticated;
//! - `remote`: keys that attest others with certificates of a server;
//! - `super_key`: keys that need the device unlocked are unreadable while it is not;
//! - `operations`: what is under way, and what is given up when KeyMint has no more room;
//! - `database`, `rows`: SQLite; what was answered is durable, what was not is not half there;
//! - `audit`: a chained line before each answer.
//!
//! Calls block. It is not in the trusted computing base: whoever owns the system can use the keys
//! of its programs, as far as their rules let him; he gets no key out of the TEE.

mod access;
mod audit;
mod caller;
mod create;
mod database;
mod enforcement;
mod error;
mod operations;
mod remote;
mod rows;
mod service;
mod super_key;
mod tokens;
mod usage;

pub use caller::Caller;
pub use error::Error;
pub use remote::CertificateRequest;
pub use service::{Keystore, Parts, Tee};

#[cfg(test)]
mod tests;
