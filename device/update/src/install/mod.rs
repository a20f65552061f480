//! Writing a package into the slot that does not run.
//!
//! Nothing is written before everything that can be known beforehand holds: every partition is
//! there and has the size, the old partitions are those that a delta was made for. Then the target
//! slot becomes unbootable, durably; then its partitions are written, one after the other, each on
//! all cores, each read back and hashed. A partition that holds the right bytes already is left
//! alone: so an installation that was cut short goes on where it was, whatever was lost. Partitions
//! that the package does not have are copied from the slot that runs, so that the target is whole.

mod cores;
mod error;
mod partition;
mod plan;

pub use error::InstallError;

use crate::package::Package;
use crate::storage::SlotStorage;
use bootimg::misc::Slot;
use partition::Target;
use plan::{Content, Plan};
use std::sync::atomic::{AtomicU64, Ordering};

/// How far an installation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The partition that is written, without its slot's suffix.
    pub partition: &'a str,
    /// Bytes of all partitions that are done.
    pub done: u64,
    /// Bytes of all partitions.
    pub total: u64,
}

/// What an installation did, partition by partition (names without suffix).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Installed {
    /// Written from the package.
    pub written: Vec<String>,
    /// Held the right bytes already.
    pub unchanged: Vec<String>,
    /// Copied from the slot that runs.
    pub copied: Vec<String>,
}

/// Writes `package` into the slot `target`; the other one is the slot that runs, and is only read.
/// The target stays unbootable: [`crate::activate()`] is the next step. `progress` is called from
/// any thread.
///
/// The caller has judged the package ([`Package::check`]).
pub fn install(
    package: &Package,
    storage: &dyn SlotStorage,
    target: Slot,
    progress: &(dyn Fn(Progress<'_>) + Sync),
) -> Result<Installed, InstallError> {
    let plan = Plan::new(package.payload().manifest(), storage, target)?;
    let complete = plan.look(storage)?;
    close(storage, target)?;
    let mut installed = Installed::default();
    let done = AtomicU64::new(0);
    let total = plan.parts.iter().map(|part| part.size).sum();
    for (part, complete) in plan.parts.iter().zip(complete) {
        let name = || part.name.clone();
        let before = done.load(Ordering::Relaxed);
        let more = |bytes: u64| {
            let done = done.fetch_add(bytes, Ordering::Relaxed) + bytes;
            progress(Progress { partition: &part.name, done, total });
        };
        if complete {
            installed.unchanged.push(name());
        } else {
            Target::new(storage, part, package).write(&more)?;
            match part.content {
                Content::Update(_) => installed.written.push(name()),
                Content::Copy => installed.copied.push(name()),
            }
        }
        done.store(before + part.size, Ordering::Relaxed);
        progress(Progress { partition: &part.name, done: before + part.size, total });
    }
    Ok(installed)
}

/// Makes the target unbootable before anything of it is written, durably. Refuses where the slot
/// that runs has not proved itself: the target is what the device would fall back to.
fn close(storage: &dyn SlotStorage, target: Slot) -> Result<(), InstallError> {
    let mut slots = storage.slots()?;
    if !slots.get(target.other()).is_successful() {
        return Err(InstallError::OnTrial);
    }
    if slots.get(target) != bootimg::misc::SlotState::UNBOOTABLE {
        slots.mark_unbootable(target);
        storage.put_slots(&slots)?;
    }
    Ok(())
}
