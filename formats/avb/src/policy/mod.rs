//! The boot policy above libavb. It fails closed.
//!
//! [`slot_verify`] answers as libavb does, and some of its answers are too
//! kind for a boot loader. On a locked device this policy refuses, beside all that libavb
//! refuses:
//!
//! - an error that libavb found and forgot again,
//! - a partition that was asked for and that no descriptor covers,
//! - flags that switch verification or dm-verity off, and bits that nobody defined,
//! - a descriptor area that is malformed, padded or followed by anything, and unknown descriptors,
//! - bytes that nothing vouches for: behind the vbmeta image, behind an image in its partition,
//!   in reserved fields. A chain may lead only to `vbmeta*` partitions, to those asked for and to
//!   those under dm-verity.
//!
//! Partitions under dm-verity are checked by whoever checks the tree, the bytes behind it too.
//!
//! An unlocked device boots what it finds, as libavb lets it; what the policy would have refused
//! comes along as a list. [`judge`] gives libavb's answer and the whole list for either.

mod rest;

use crate::{
    Descriptor, Hash, HashDescriptor, HashtreeDescriptor, HashtreeErrorMode, IoError, Ops,
    PropertyDescriptor, Refusal, RefusalCode, SlotData, SlotOutcome, SlotVerifyFlags,
    SlotVerifyResult, VbmetaData, VbmetaImage, partition::vbmeta_malformed, slot_verify,
};
use rest::{check_rest_of_partition, check_rest_of_vbmeta};

/// What must hold for a slot to boot.
#[derive(Debug, Clone, Copy)]
pub struct BootPolicy<'a> {
    /// Partitions to load, each covered by exactly one hash descriptor.
    pub partitions: &'a [&'a str],
    /// Partitions that dm-verity protects, each with exactly one hashtree descriptor.
    pub hashtrees: &'a [&'a str],
    /// The slot's suffix: `_a`, `_b`, or empty.
    pub suffix: &'a str,
    /// SHA-256 of the maker's public key blob: decides between green and yellow.
    pub maker_key_digest: [u8; 32],
    /// What the system does about corruption that dm-verity finds.
    pub hashtree_error_mode: HashtreeErrorMode,
    /// Whether the device restarted because dm-verity found corruption: a managed mode gives I/O
    /// errors from now on.
    pub restart_caused_by_hashtree_corruption: bool,
}

/// The colour of a boot (Android's verified boot states). Red is [`Refusal`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BootState {
    /// Locked, signed by the maker.
    Green,
    /// Locked, signed with a key that the user set.
    Yellow,
    /// Unlocked: nothing is promised.
    Orange,
}

impl BootState {
    /// The name in `androidboot.verifiedbootstate`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Green => "green",
            Self::Yellow => "yellow",
            Self::Orange => "orange",
        }
    }
}

/// A slot that may boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedSlot {
    /// Its colour.
    pub state: BootState,
    /// What libavb found: loaded partitions, command line, rollback indexes.
    pub data: SlotData,
    /// SHA-256 of all vbmeta images: the verified boot hash of key attestation.
    pub vbmeta_digest: [u8; 32],
    /// SHA-256 of the public key blob of the top-level image; zeros where it is not signed.
    pub public_key_digest: [u8; 32],
    /// Which program made the top-level image.
    pub release: String,
    /// The hashtree descriptors.
    pub hashtrees: Vec<HashtreeDescriptor>,
    /// The signed properties.
    pub properties: Vec<PropertyDescriptor>,
    /// What would have been refused, had the device been locked.
    pub overlooked: Vec<Refusal>,
}

impl VerifiedSlot {
    /// The value of the signed property `key`, where it is text.
    #[must_use]
    pub fn property(&self, key: &str) -> Option<&str> {
        let property = self.properties.iter().find(|property| property.key == key)?;
        std::str::from_utf8(&property.value).ok()
    }

    /// The hashtree descriptor of a partition.
    #[must_use]
    pub fn hashtree(&self, partition: &str) -> Option<&HashtreeDescriptor> {
        self.hashtrees.iter().find(|tree| tree.partition_name == partition)
    }
}

/// What libavb says about a slot, and what the policy says above it.
#[derive(Debug, Clone)]
pub struct Judgement {
    /// libavb's answer.
    pub result: SlotVerifyResult,
    /// Whether the device is unlocked.
    pub unlocked: bool,
    /// What a locked device refuses, in the order in which it was found: the errors of libavb
    /// first, then those that only the policy sees.
    pub refusals: Vec<Refusal>,
    /// What was found. None where libavb gives no data; then there is a refusal.
    pub slot: Option<VerifiedSlot>,
}

/// Decides whether a slot boots. A locked device gets a slot in which everything was checked, or
/// the first refusal.
pub fn verify_boot(ops: &impl Ops, policy: &BootPolicy<'_>) -> Result<VerifiedSlot, Refusal> {
    let Judgement { result, unlocked, refusals, slot } = judge(ops, policy)?;
    match slot {
        Some(slot) if unlocked => Ok(VerifiedSlot { overlooked: refusals, ..slot }),
        Some(slot) if refusals.is_empty() => Ok(slot),
        Some(_) => Err(first(refusals, result)),
        // Without data the last error is the one that ended it.
        None => Err(first(refusals.into_iter().rev(), result)),
    }
}

fn first(refusals: impl IntoIterator<Item = Refusal>, result: SlotVerifyResult) -> Refusal {
    let first = refusals.into_iter().next();
    first.unwrap_or_else(|| Refusal::new(RefusalCode::Io, result.name()))
}

/// Judges a slot, and lists all that a locked device would refuse. An error is that the device
/// does not say whether it is locked.
pub fn judge(ops: &impl Ops, policy: &BootPolicy<'_>) -> Result<Judgement, Refusal> {
    let unlocked = ops.is_device_unlocked().map_err(|error| io("the lock state", error))?;
    let flags = SlotVerifyFlags {
        allow_verification_error: unlocked,
        restart_caused_by_hashtree_corruption: policy.restart_caused_by_hashtree_corruption,
        ..SlotVerifyFlags::default()
    };
    let mode = policy.hashtree_error_mode;
    let SlotOutcome { result, mut findings, data, .. } =
        slot_verify(ops, policy.partitions, policy.suffix, flags, mode);
    if let (Some(last), false) = (findings.last_mut(), result == SlotVerifyResult::Ok) {
        *last = with_result(last, result);
    }
    let Some(data) = data else {
        return Ok(Judgement { result, unlocked, refusals: findings, slot: None });
    };
    let mut strict = Strict { refusals: findings, ..Strict::default() };
    strict.check(ops, policy, &data);
    let refusals = std::mem::take(&mut strict.refusals);
    Ok(Judgement { result, unlocked, refusals, slot: Some(strict.slot(policy, data, unlocked)) })
}

fn with_result(refusal: &Refusal, result: SlotVerifyResult) -> Refusal {
    Refusal { reason: format!("{} ({result})", refusal.reason), ..*refusal }
}

fn io(place: &str, error: IoError) -> Refusal {
    Refusal::new(RefusalCode::Io, format!("{place}: {error}"))
}

/// The checks that libavb does not make, and what they collect on the way.
#[derive(Default)]
struct Strict {
    refusals: Vec<Refusal>,
    public_key_digest: Option<[u8; 32]>,
    release: String,
    hashes: Vec<HashDescriptor>,
    hashtrees: Vec<HashtreeDescriptor>,
    properties: Vec<PropertyDescriptor>,
}

impl Strict {
    fn slot(self, policy: &BootPolicy<'_>, data: SlotData, unlocked: bool) -> VerifiedSlot {
        let public_key_digest = self.public_key_digest.unwrap_or_default();
        let state = match (unlocked, public_key_digest == policy.maker_key_digest) {
            (true, _) => BootState::Orange,
            (false, true) => BootState::Green,
            (false, false) => BootState::Yellow,
        };
        let vbmeta_digest = data.vbmeta_digest(Hash::Sha256);
        VerifiedSlot {
            state,
            data,
            vbmeta_digest: vbmeta_digest.try_into().expect("SHA-256 gives 32 bytes"),
            public_key_digest,
            release: self.release,
            hashtrees: self.hashtrees,
            properties: self.properties,
            overlooked: Vec::new(),
        }
    }

    fn check(&mut self, ops: &impl Ops, policy: &BootPolicy<'_>, data: &SlotData) {
        for (nth, vbmeta) in data.vbmeta_images.iter().enumerate() {
            let checked = self.check_image(ops, policy, vbmeta, nth == 0);
            self.note(checked);
        }
        for partition in policy.partitions {
            let checked = self.check_partition(ops, policy, data, partition);
            self.note(checked);
        }
        for partition in policy.hashtrees {
            let checked = self.check_hashtree(partition);
            self.note(checked);
        }
    }

    fn note(&mut self, checked: Result<(), Refusal>) {
        self.refusals.extend(checked.err());
    }

    fn check_image(
        &mut self,
        ops: &impl Ops,
        policy: &BootPolicy<'_>,
        vbmeta: &VbmetaData,
        is_top: bool,
    ) -> Result<(), Refusal> {
        let image = VbmetaImage::parse(&vbmeta.image).map_err(vbmeta_malformed)?;
        if is_top {
            self.release = image.header().release.to_string();
            self.public_key_digest = (!image.public_key().is_empty())
                .then(|| crypto::digest::sha256(image.public_key()));
        }
        let flags = image.header().flags;
        if flags.0 != 0 {
            let reason = format!("{}: vbmeta flags {:#x} are set", vbmeta.partition, flags.0);
            self.refusals.push(Refusal::new(RefusalCode::FlagsRefused, reason));
        }
        image.check_canonical().map_err(vbmeta_malformed)?;
        let descriptors = image.descriptors().map_err(|error| {
            let reason = format!("{}: {error}", vbmeta.partition);
            Refusal::new(RefusalCode::DescriptorMalformed, reason)
        })?;
        for descriptor in descriptors {
            self.collect(descriptor)?;
        }
        if vbmeta.partition.starts_with("vbmeta") {
            check_rest_of_vbmeta(ops, vbmeta)
        } else if [policy.partitions, policy.hashtrees]
            .concat()
            .contains(&vbmeta.partition.as_str())
        {
            Ok(()) // its bytes are counted with those of the partition
        } else {
            let reason = format!("{}: nobody counts the bytes beside it", vbmeta.full_name);
            Err(Refusal::new(RefusalCode::StrayBytes, reason))
        }
    }

    fn collect(&mut self, descriptor: Descriptor) -> Result<(), Refusal> {
        match descriptor {
            Descriptor::Hash(hash) => self.hashes.push(hash),
            Descriptor::Hashtree(tree) => self.hashtrees.push(tree),
            Descriptor::Property(property) => self.properties.push(property),
            Descriptor::KernelCmdline(cmdline) if cmdline.cmdline.contains('\0') => {
                let reason = "a NUL would cut the kernel command line";
                return Err(Refusal::new(RefusalCode::DescriptorMalformed, reason));
            }
            Descriptor::KernelCmdline(_) | Descriptor::ChainPartition(_) => {}
            Descriptor::Unknown { tag, .. } => {
                let reason = format!("a descriptor has the unknown tag {tag}");
                return Err(Refusal::new(RefusalCode::DescriptorMalformed, reason));
            }
        }
        Ok(())
    }

    fn check_partition(
        &self,
        ops: &impl Ops,
        policy: &BootPolicy<'_>,
        data: &SlotData,
        partition: &str,
    ) -> Result<(), Refusal> {
        let named = || self.hashes.iter().filter(|hash| hash.partition_name == partition);
        let loaded = data.loaded_partitions.iter().filter(|l| l.partition == partition).count();
        let (1, 1, Some(hash)) = (named().count(), loaded, named().next()) else {
            let count = named().count();
            let reason = match count {
                0 => format!("{partition}: no hash descriptor covers it"),
                1 => format!("{partition}: its hash descriptor was not followed"),
                _ => format!("{partition}: {count} hash descriptors instead of one"),
            };
            return Err(Refusal::new(RefusalCode::DescriptorMissing, reason));
        };
        check_rest_of_partition(ops, policy.suffix, hash, data)
    }

    fn check_hashtree(&self, partition: &str) -> Result<(), Refusal> {
        let named = || self.hashtrees.iter().filter(|tree| tree.partition_name == partition);
        match (named().count(), named().next()) {
            (1, Some(tree)) if !tree.root_digest.is_empty() => Ok(()),
            (count, _) => {
                let reason = format!(
                    "{partition}: {count} hashtree descriptors instead of one with a root digest"
                );
                Err(Refusal::new(RefusalCode::DescriptorMissing, reason))
            }
        }
    }
}
