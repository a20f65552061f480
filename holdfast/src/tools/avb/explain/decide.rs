//! What each stage would decide about a slot.

use super::Stored;
use super::images::Images;
use super::report::{Decision, Locking, Partition, Signed, Slot, Stage};
use super::survey::{Covered, Found, Survey};
use super::tree;
use crate::tools::avb::device::{Device, TrustedKeys};
use avb::policy::{BootPolicy, BootState, Judgement, judge};
use avb::{HashtreeErrorMode, Refusal, RefusalCode};
use std::collections::BTreeSet;

/// Partitions that a boot loader asks for, wherever they exist.
const BOOT_PARTITIONS: [&str; 6] =
    ["boot", "init_boot", "vendor_boot", "vendor_kernel_boot", "dtbo", "recovery"];

/// Explains one slot.
pub(super) fn slot(images: &Images, suffix: &str, stored: &Stored) -> Slot {
    let survey = Survey::of(images, suffix);
    let questions = Questions::of(images, suffix, &survey);
    let trees = check_trees(images, suffix, &survey, stored.skip_trees);
    let asking = Asking { images, suffix, stored, survey: &survey, questions, trees };
    let locked = asking.decide(false);
    let unlocked = asking.decide(true);
    let partitions = asking.partitions();
    Slot {
        suffix: suffix.to_owned(),
        signed: survey.images.iter().map(signed).collect(),
        after_locking: asking.locking(&locked, &partitions),
        partitions,
        locked,
        unlocked,
    }
}

fn signed(found: &Found) -> Signed {
    Signed {
        partition: found.partition.clone(),
        algorithm: found.header.algorithm.name(),
        key: found.key_digest(),
        rollback_index: found.header.rollback_index,
        rollback_index_location: found.rollback_index_location,
        flags: found.header.flags.0,
        release: found.header.release.to_string(),
        needs_libavb: found.header.required_version.to_string(),
    }
}

/// What the boot loader asks libavb for.
struct Questions {
    partitions: BTreeSet<String>,
    hashtrees: BTreeSet<String>,
}

impl Questions {
    /// All that has a hash descriptor and was given, and what a boot loader cannot do without.
    fn of(images: &Images, suffix: &str, survey: &Survey) -> Self {
        let given = |covered: &&Covered| images.files.contains_key(&covered.full_name(suffix));
        let (mut partitions, mut hashtrees) = (BTreeSet::new(), BTreeSet::new());
        for covered in survey.covered.iter().filter(given) {
            match covered {
                Covered::Hash(hash) => partitions.insert(hash.partition_name.clone()),
                Covered::Hashtree(tree) => hashtrees.insert(tree.partition_name.clone()),
                Covered::Chain(_) => false,
            };
        }
        let needed = images.names(suffix).filter(|name| BOOT_PARTITIONS.contains(name));
        partitions.extend(needed.map(str::to_owned));
        Self { partitions, hashtrees }
    }
}

/// What came of reading a partition under dm-verity.
type Trees = Vec<(String, Result<(), String>)>;

fn check_trees(images: &Images, suffix: &str, survey: &Survey, skip: bool) -> Trees {
    let check = |covered: &Covered| {
        let Covered::Hashtree(descriptor) = covered else { return None };
        let file = images.files.get(&covered.full_name(suffix))?;
        if skip || descriptor.root_digest.is_empty() {
            return None;
        }
        Some((descriptor.partition_name.clone(), tree::check(file, descriptor)))
    };
    survey.covered.iter().filter_map(check).collect()
}

struct Asking<'a> {
    images: &'a Images,
    suffix: &'a str,
    stored: &'a Stored,
    survey: &'a Survey,
    questions: Questions,
    trees: Trees,
}

impl Asking<'_> {
    fn decide(&self, unlocked: bool) -> Decision {
        let judgement = self.judge(unlocked);
        let (libavb, policy) = match &judgement {
            Ok(judgement) => (libavb_stage(judgement), self.policy_stage(judgement)),
            Err(refusal) => {
                let says = vec![refusal.to_string()];
                (Stage { stage: LIBAVB, passes: false, says }, none(POLICY))
            }
        };
        let kernel = self.kernel_stage();
        let boots = libavb.passes && policy.passes && kernel.passes;
        let slot = judgement.as_ref().ok().and_then(|judgement| judgement.slot.as_ref());
        let state = match slot.map(|slot| slot.state).filter(|_| boots) {
            Some(BootState::Yellow) if self.is_makers(slot.map(|s| s.public_key_digest)) => "green",
            Some(state) => state.name(),
            None => "red",
        };
        let result = judgement.map_or("ERROR_IO", |judgement| judgement.result.name());
        Decision { boots, state, libavb: result, stages: vec![libavb, policy, kernel] }
    }

    fn is_makers(&self, digest: Option<[u8; 32]>) -> bool {
        digest.is_some_and(|digest| self.stored.maker_keys.contains(&digest))
    }

    fn judge(&self, unlocked: bool) -> Result<Judgement, Refusal> {
        let device = Device {
            libavb: self.stored.libavb,
            unlocked,
            trusted_keys: self.stored.trusted_keys.clone(),
            rollback: self.stored.rollback.clone(),
            persistent: self.stored.persistent.clone().into(),
            ..Device::new(&self.images.files)
        };
        let partitions: Vec<&str> = self.questions.partitions.iter().map(String::as_str).collect();
        let hashtrees: Vec<&str> = self.questions.hashtrees.iter().map(String::as_str).collect();
        let policy = BootPolicy {
            partitions: &partitions,
            hashtrees: &hashtrees,
            suffix: self.suffix,
            maker_key_digest: self.stored.maker_keys.first().copied().unwrap_or_default(),
            hashtree_error_mode: HashtreeErrorMode::Restart,
            restart_caused_by_hashtree_corruption: false,
        };
        judge(&device, &policy)
    }

    fn policy_stage(&self, judgement: &Judgement) -> Stage {
        let (stray, grave): (Vec<_>, Vec<_>) =
            judgement.refusals.iter().partition(|refusal| !self.stored.strict && is_stray(refusal));
        let passed_over = judgement.unlocked && judgement.slot.is_some();
        let word = if passed_over { "passed over: " } else { "" };
        let mut says: Vec<String> =
            grave.iter().map(|refusal| format!("{word}{refusal}")).collect();
        let passes = grave.is_empty() || passed_over;
        if grave.is_empty() {
            says.push("nothing to refuse".into());
        }
        says.extend(stray.iter().map(|refusal| format!("{LEFT_ALONE}: {refusal}")));
        Stage { stage: POLICY, passes, says }
    }

    fn kernel_stage(&self) -> Stage {
        let flags = self.survey.images.first().map(|top| top.header.flags);
        if flags.is_some_and(|f| f.hashtree_disabled() || f.verification_disabled()) {
            let says = vec!["dm-verity is off: the system is read unchecked".to_owned()];
            return Stage { stage: KERNEL, passes: true, says };
        }
        let mut says = Vec::new();
        for (name, checked) in &self.trees {
            if let Err(error) = checked {
                says.push(format!("{name}: {error}: a read of it fails"));
            }
        }
        let passes = says.is_empty();
        if passes {
            says.push(match (self.questions.hashtrees.len(), self.trees.len()) {
                (0, _) => "nothing here is under dm-verity".into(),
                (_, 0) => "not read".into(),
                (_, _) => "every block is as signed".into(),
            });
        }
        Stage { stage: KERNEL, passes, says }
    }

    /// Each partition that is named or given, once.
    fn partitions(&self) -> Vec<Partition> {
        let mut seen = BTreeSet::new();
        let named = self.survey.covered.iter().filter(|covered| {
            let is_image = !matches!(covered, Covered::Chain(_));
            is_image && seen.insert(covered.full_name(self.suffix))
        });
        let mut partitions: Vec<Partition> = named.map(|covered| self.partition(covered)).collect();
        let vbmeta = self.survey.images.iter().map(|found| found.partition.as_str());
        let known: BTreeSet<&str> =
            vbmeta.chain(self.survey.covered.iter().map(Covered::name)).collect();
        for covered in &self.survey.covered {
            let full_name = covered.full_name(self.suffix);
            let lacking = !self.images.files.contains_key(&full_name);
            if matches!(covered, Covered::Chain(_)) && lacking && seen.insert(full_name) {
                partitions.push(self.partition(covered));
            }
        }
        let uncovered = self.images.names(self.suffix).filter(|name| !known.contains(name));
        partitions.extend(uncovered.map(|name| Partition {
            name: name.to_owned(),
            covered_by: "nothing",
            given: true,
            as_signed: None,
            says: "nothing vouches for it".into(),
        }));
        partitions
    }

    fn partition(&self, covered: &Covered) -> Partition {
        let file = self.images.files.get(&covered.full_name(self.suffix));
        let (covered_by, how) = match covered {
            Covered::Hash(d) => {
                let function = String::from_utf8_lossy(d.hash_algorithm.as_bytes()).into_owned();
                ("hash", format!("{function} over {} bytes", d.image_size))
            }
            Covered::Hashtree(d) => {
                let function = String::from_utf8_lossy(d.hash_algorithm.as_bytes()).into_owned();
                ("hashtree", format!("dm-verity, {function} over {} bytes", d.image_size))
            }
            Covered::Chain(_) => ("chain", "has its own vbmeta image".into()),
        };
        let as_signed = file.and_then(|_| self.as_signed(covered));
        let verdict = match (file, as_signed) {
            (None, _) => "not given",
            (_, Some(true)) => "as signed",
            (_, Some(false)) => "NOT as signed",
            (_, None) => "not checked",
        };
        Partition {
            name: covered.name().to_owned(),
            covered_by,
            given: file.is_some(),
            as_signed,
            says: format!("{how}: {verdict}"),
        }
    }

    fn as_signed(&self, covered: &Covered) -> Option<bool> {
        match covered {
            Covered::Hash(hash) => {
                let judgement = self.judge(true).ok()?;
                let loaded = judgement.slot.as_ref()?.data.loaded(&hash.partition_name)?;
                loaded.digest.as_ref()?;
                Some(loaded.verdict == avb::SlotVerifyResult::Ok)
            }
            Covered::Hashtree(tree) => {
                let found = self.trees.iter().find(|(name, _)| *name == tree.partition_name);
                found.map(|(_, checked)| checked.is_ok())
            }
            Covered::Chain(_) => None,
        }
    }

    fn locking(&self, locked: &Decision, partitions: &[Partition]) -> Locking {
        let mut reasons = Vec::new();
        if !locked.boots {
            reasons.push(
                "a locked device refuses these images, and can't be unlocked from a \
                          system that does not start"
                    .to_owned(),
            );
        }
        for partition in partitions.iter().filter(|partition| !partition.given) {
            let name = &partition.name;
            reasons.push(format!("{name} is signed and was not given: nobody knows if it boots"));
        }
        for found in &self.survey.images {
            if let Some(key) = found.test_key() {
                let name = &found.partition;
                reasons.push(format!(
                    "{name} is signed with AOSP's {key}: everybody can sign with it"
                ));
            }
        }
        let mut cautions = self.cautions(partitions);
        let says = locked.stages.iter().flat_map(|stage| &stage.says);
        cautions.extend(says.filter(|line| line.starts_with(LEFT_ALONE)).cloned());
        Locking { boots: locked.boots, safe: reasons.is_empty(), reasons, cautions }
    }

    fn cautions(&self, partitions: &[Partition]) -> Vec<String> {
        let mut cautions = vec!["locking erases the user's data".to_owned()];
        let top = self.survey.images.first();
        if let (TrustedKeys::Any, Some(key)) =
            (&self.stored.trusted_keys, top.and_then(Found::key_digest))
        {
            cautions
                .push(format!("no --key was given: this holds only where the device trusts {key}"));
            if top.is_some_and(Found::has_ml_dsa_key) {
                cautions.push("few devices take an ML-DSA key from their user".into());
            }
        }
        if self.stored.rollback.is_empty() {
            cautions.push("no --rollback-index was given: none is taken to be stored".into());
        }
        for partition in partitions.iter().filter(|p| p.covered_by == "nothing") {
            cautions.push(format!("nothing vouches for {}", partition.name));
        }
        cautions
    }
}

const LIBAVB: &str = "boot loader (libavb)";
const POLICY: &str = "boot policy";
const KERNEL: &str = "kernel (dm-verity)";

fn none(stage: &'static str) -> Stage {
    Stage { stage, passes: false, says: vec!["not asked".into()] }
}

/// Bytes that no boot loader of Android uses: avbtool itself leaves a footer behind an image whose
/// descriptor was copied elsewhere.
const LEFT_ALONE: &str = "only --strict refuses";

const fn is_stray(refusal: &Refusal) -> bool {
    matches!(refusal.code, RefusalCode::StrayBytes | RefusalCode::FooterMalformed)
}

fn libavb_stage(judgement: &Judgement) -> Stage {
    let result = judgement.result;
    let says = match (&judgement.slot, judgement.unlocked) {
        (Some(_), true) if result != avb::SlotVerifyResult::Ok => {
            format!("{result}, passed over because the device is unlocked")
        }
        _ => result.name().to_owned(),
    };
    Stage { stage: LIBAVB, passes: judgement.slot.is_some(), says: vec![says] }
}
