//! The tools that stand on their own, as a person or a script runs them.

mod avb_explain;
mod avb_slot_verify;
mod avbtool;
mod data;
#[path = "../it/document.rs"]
#[expect(dead_code, reason = "the pages of tools start nothing that stays")]
mod document;
mod guest;
mod images;
mod verity;
mod verity_kernel;
