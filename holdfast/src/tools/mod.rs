//! The tools that stand on their own: one folder a tool, with its command line, its files and its
//! threads. What they know about formats is in the format crates.

pub(crate) mod avb;
pub(crate) mod bootimg;
pub(crate) mod ota;
pub(crate) mod rpmb;
mod signing_helper;
pub(crate) mod verity;
