//! The emulated element from outside: APDUs in, responses out.

mod administration;
mod board;
mod door;
mod hostile;
mod power;
mod standard;
mod strangers;
mod support;
