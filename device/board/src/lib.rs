//! What the silicon gives: the traits and the messages to the board.
//!
//! A stage reaches the board only through the descriptors that it inherits ([`fds`]); what it
//! may ask there is [`secure`] (for the trusted side) and [`ui`] (the trusted screen: display and
//! keys). What hardware gives, trait by trait, is [`silicon`]. The board never hands out the HUK:
//! [`silicon::Huk`] is all there is.

pub mod argument;
pub mod build;
pub mod channel;
pub mod exec;
pub mod fds;
pub mod flash;
pub mod look;
pub mod modem;
pub mod power;
pub mod report;
pub mod secure;
pub mod silicon;
pub mod ui;
pub mod users;
pub mod verdict;
pub mod verity;

pub use silicon::{LifeCycle, Silicon, SiliconError};
