//! What is said about the images: for programs as JSON, for people as text.

use super::images::Images;
use serde::Serialize;
use std::fmt;

/// The answer.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Whether each slot is safe to lock.
    pub(super) safe_to_lock: bool,
    /// Files in Android's sparse format, which nobody looked into.
    sparse: Vec<String>,
    slots: Vec<Slot>,
}

/// What is said about a slot.
#[derive(Debug, Serialize)]
pub(super) struct Slot {
    /// Its suffix; empty where there are no slots.
    pub(super) suffix: String,
    /// The vbmeta images, the top-level one first.
    pub(super) signed: Vec<Signed>,
    /// The partitions.
    pub(super) partitions: Vec<Partition>,
    /// On a locked device.
    pub(super) locked: Decision,
    /// On an unlocked device.
    pub(super) unlocked: Decision,
    /// After an unlocked device was locked.
    pub(super) after_locking: Locking,
}

/// A vbmeta image.
#[derive(Debug, Serialize)]
pub(super) struct Signed {
    pub(super) partition: String,
    pub(super) algorithm: &'static str,
    /// SHA-256 of the public key.
    pub(super) key: Option<String>,
    pub(super) rollback_index: u64,
    pub(super) rollback_index_location: u32,
    pub(super) flags: u32,
    pub(super) release: String,
    /// The oldest libavb that reads it.
    pub(super) needs_libavb: String,
}

/// A partition.
#[derive(Debug, Serialize)]
pub(super) struct Partition {
    pub(super) name: String,
    /// `hash`, `hashtree`, `chain` or `nothing`.
    pub(super) covered_by: &'static str,
    /// Whether its image was given.
    pub(super) given: bool,
    /// Whether its image is as signed; null where nobody can say.
    pub(super) as_signed: Option<bool>,
    pub(super) says: String,
}

/// What becomes of a boot.
#[derive(Debug, Serialize)]
pub(super) struct Decision {
    pub(super) boots: bool,
    /// `green`, `yellow`, `orange` or `red`.
    pub(super) state: &'static str,
    /// libavb's result.
    pub(super) libavb: &'static str,
    pub(super) stages: Vec<Stage>,
}

/// What one stage decides.
#[derive(Debug, Serialize)]
pub(super) struct Stage {
    pub(super) stage: &'static str,
    pub(super) passes: bool,
    pub(super) says: Vec<String>,
}

/// What becomes of a device that is locked with these images.
#[derive(Debug, Serialize)]
pub(super) struct Locking {
    pub(super) boots: bool,
    pub(super) safe: bool,
    /// Why it is not safe.
    pub(super) reasons: Vec<String>,
    /// What to know before.
    pub(super) cautions: Vec<String>,
}

impl Report {
    pub(super) fn new(images: &Images, slots: Vec<Slot>) -> Self {
        let safe = !slots.is_empty() && slots.iter().all(|slot| slot.after_locking.safe);
        Self { safe_to_lock: safe, sparse: images.sparse.clone(), slots }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for name in &self.sparse {
            writeln!(f, "{name} is in the sparse format and was left out: `simg2img` unpacks it")?;
        }
        for slot in &self.slots {
            slot.fmt(f)?;
        }
        let safe = if self.safe_to_lock { "yes" } else { "NO" };
        writeln!(f, "Safe to lock: {safe}")
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.suffix.as_str() {
            "" => writeln!(f, "Signed")?,
            suffix => writeln!(f, "Slot {suffix}\n\nSigned")?,
        }
        self.signed.iter().try_for_each(|signed| signed.fmt(f))?;
        writeln!(f, "\nPartitions")?;
        for partition in &self.partitions {
            writeln!(f, "  {:<12} {}", partition.name, partition.says)?;
        }
        for (title, decision) in
            [("On a locked device", &self.locked), ("On an unlocked device", &self.unlocked)]
        {
            let boots = if decision.boots { "boots" } else { "does NOT boot" };
            writeln!(f, "\n{title}: {boots}, {}", decision.state)?;
            decision.stages.iter().try_for_each(|stage| stage.fmt(f))?;
        }
        self.after_locking.fmt(f)
    }
}

impl fmt::Display for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partition, algorithm, rollback_index, rollback_index_location, .. } = self;
        write!(f, "  {partition:<12} {algorithm}, rollback index {rollback_index}")?;
        writeln!(f, " at location {rollback_index_location}, made by {:?}", self.release)?;
        match &self.key {
            Some(key) => writeln!(f, "  {:<12} key {key}", ""),
            None => writeln!(f, "  {:<12} no key", ""),
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.passes { "+" } else { "-" };
        let mut says = self.says.iter();
        let first = says.next().map_or("", String::as_str);
        writeln!(f, "  {mark} {:<22} {first}", self.stage)?;
        says.try_for_each(|line| writeln!(f, "    {:<22} {line}", ""))
    }
}

impl fmt::Display for Locking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let boots = if self.boots { "boots" } else { "does NOT boot" };
        writeln!(f, "\nAfter locking: {boots}")?;
        for reason in &self.reasons {
            writeln!(f, "  - not safe: {reason}")?;
        }
        for caution in &self.cautions {
            writeln!(f, "  ! {caution}")?;
        }
        writeln!(f)
    }
}
