//! Does a slot boot? What libavb answers (`avb_slot_verify`).
//!
//! The answer is libavb's, not the one that a careful boot loader wants: a requested partition
//! without a descriptor is silently absent, descriptors behind a malformed one are ignored, and
//! a signed image may switch verification off. [`crate::policy`] closes these doors.
//!
//! libavb also forgets an error when a hashtree descriptor with a persistent digest comes later,
//! in a chain even without `ALLOW_VERIFICATION_ERROR`. So does this; but [`SlotOutcome::findings`]
//! has it. Nothing is allocated for an image that is larger than its partition.

mod cmdline;
mod partitions;
mod session;
mod types;

pub use types::{
    HashtreeErrorMode, LoadedPartition, SlotData, SlotOutcome, SlotVerifyFlags, SlotVerifyResult,
    VbmetaData,
};

use crate::Ops;
use session::Session;

/// Verifies a slot as `avb_slot_verify` does.
///
/// `requested` names the partitions to load, without suffix; `suffix` is `_a`, `_b` or empty.
pub fn slot_verify(
    ops: &impl Ops,
    requested: &[&str],
    suffix: &str,
    flags: SlotVerifyFlags,
    hashtree_error_mode: HashtreeErrorMode,
) -> SlotOutcome {
    Session::new(ops, requested, suffix, flags).run(hashtree_error_mode)
}
