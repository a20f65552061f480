//! The tools that stand on their own, as a person or a script runs them.

mod attest_commands;
mod avb_explain;
mod avb_slot_verify;
mod avbtool;
mod bootimg_commands;
mod data;
#[path = "../it/document.rs"]
mod document;
mod guest;
mod images;
mod ota;
mod rpmb_commands;
mod vault;
mod verity;
mod verity_kernel;
