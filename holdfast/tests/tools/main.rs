//! The tools that stand on their own, as a person or a script runs them.

mod avb_slot_verify;
mod data;
