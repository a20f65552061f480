//! The device as a whole, over its real sockets: a TEE that keeps the rules, a cloud that keeps
//! the messages, a clock that the test moves.

mod bench;
mod clock;
mod find;
mod locks;
mod update;

pub(crate) use bench::{Bench, refusal};
