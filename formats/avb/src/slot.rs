//! Does a slot boot? What libavb answers (`avb_slot_verify`).
//!
//! The answer is libavb's, not the one that a careful boot loader wants: a requested partition
//! without a descriptor is silently absent, descriptors behind a malformed one are ignored, and
//! a signed image may switch verification off. [`crate::policy`] closes these doors.
//!
//! Two deliberate differences, both stricter. An error that was allowed stays the result: libavb
//! forgets it when a hashtree descriptor with a persistent digest comes later, and in a chain
//! even without `ALLOW_VERIFICATION_ERROR`. And nothing is allocated for an image that is larger
//! than its partition.

use crate::{
    Algorithm, ChainPartitionDescriptor, DecodeError, Descriptor, FOOTER_BYTES, Footer, Hash,
    HashDescriptor, Header, IoError, KernelCmdlineDescriptor, Ops, PARTITION_NAME_MAX_BYTES,
    ROLLBACK_LOCATIONS, Refusal, RefusalCode, VBMETA_MAX_BYTES, VbmetaFlags, VbmetaVerdict,
    cmdline::{self, Substitution},
    decode::{HashtreeFields, RawDescriptor},
    descriptor::DO_NOT_USE_AB,
    verify_vbmeta,
};
use std::fmt;

/// What `avb_slot_verify` says (`AvbSlotVerifyResult`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SlotVerifyResult {
    /// All that was looked at is as signed.
    Ok,
    /// Not enough memory, or too many partitions.
    ErrorOom,
    /// The device did not answer.
    ErrorIo,
    /// A signature or a digest is wrong.
    ErrorVerification,
    /// A rollback index is below the stored one.
    ErrorRollbackIndex,
    /// A key is not trusted.
    ErrorPublicKeyRejected,
    /// Metadata is malformed.
    ErrorInvalidMetadata,
    /// Metadata is made for another version of libavb.
    ErrorUnsupportedVersion,
    /// The caller asked for something impossible.
    ErrorInvalidArgument,
}

impl SlotVerifyResult {
    /// libavb's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::ErrorOom => "ERROR_OOM",
            Self::ErrorIo => "ERROR_IO",
            Self::ErrorVerification => "ERROR_VERIFICATION",
            Self::ErrorRollbackIndex => "ERROR_ROLLBACK_INDEX",
            Self::ErrorPublicKeyRejected => "ERROR_PUBLIC_KEY_REJECTED",
            Self::ErrorInvalidMetadata => "ERROR_INVALID_METADATA",
            Self::ErrorUnsupportedVersion => "ERROR_UNSUPPORTED_VERSION",
            Self::ErrorInvalidArgument => "ERROR_INVALID_ARGUMENT",
        }
    }

    /// The refusal that it stands for, unless something more exact is known.
    const fn code(self) -> RefusalCode {
        match self {
            Self::Ok | Self::ErrorOom | Self::ErrorIo => RefusalCode::Io,
            Self::ErrorVerification => RefusalCode::SignatureInvalid,
            Self::ErrorRollbackIndex => RefusalCode::Rollback,
            Self::ErrorPublicKeyRejected => RefusalCode::KeyRejected,
            Self::ErrorInvalidMetadata | Self::ErrorUnsupportedVersion => {
                RefusalCode::VbmetaMalformed
            }
            Self::ErrorInvalidArgument => RefusalCode::InvalidArgument,
        }
    }

    /// Whether an unlocked device may go on after it.
    const fn may_continue(self) -> bool {
        matches!(
            self,
            Self::Ok
                | Self::ErrorVerification
                | Self::ErrorRollbackIndex
                | Self::ErrorPublicKeyRejected
        )
    }
}

impl fmt::Display for SlotVerifyResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How slot verification is done (`AvbSlotVerifyFlags`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SlotVerifyFlags {
    /// For unlocked devices: wrong signatures, digests, keys and rollback indexes are the result,
    /// but the data comes with it.
    pub allow_verification_error: bool,
    /// The device restarts because dm-verity found corruption.
    pub restart_caused_by_hashtree_corruption: bool,
    /// There is no vbmeta partition: each requested partition has a vbmeta image of its own.
    pub no_vbmeta_partition: bool,
}

impl SlotVerifyFlags {
    /// From libavb's number. Unknown bits are ignored, as libavb does.
    #[must_use]
    pub const fn from_number(number: u32) -> Self {
        Self {
            allow_verification_error: number & 1 != 0,
            restart_caused_by_hashtree_corruption: number & 2 != 0,
            no_vbmeta_partition: number & 4 != 0,
        }
    }
}

/// What the system does when dm-verity finds corruption (`AvbHashtreeErrorMode`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum HashtreeErrorMode {
    /// Restart, and the slot is invalid.
    #[default]
    RestartAndInvalidate = 0,
    /// Restart.
    Restart = 1,
    /// The read fails.
    Eio = 2,
    /// It is logged only. For unlocked devices.
    Logging = 3,
    /// Restart; after a restart that corruption caused, reads fail until the system changes.
    ManagedRestartAndEio = 4,
    /// The kernel panics.
    Panic = 5,
}

impl HashtreeErrorMode {
    /// The mode with libavb's number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        const ALL: [HashtreeErrorMode; 6] = [
            HashtreeErrorMode::RestartAndInvalidate,
            HashtreeErrorMode::Restart,
            HashtreeErrorMode::Eio,
            HashtreeErrorMode::Logging,
            HashtreeErrorMode::ManagedRestartAndEio,
            HashtreeErrorMode::Panic,
        ];
        ALL.get(usize::try_from(number).ok()?).copied()
    }
}

/// A vbmeta image that slot verification read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VbmetaData {
    /// The partition, without the slot's suffix.
    pub partition: String,
    /// Exactly the image.
    pub image: Vec<u8>,
    /// Whether it is signed.
    pub verdict: VbmetaVerdict,
}

/// A requested partition that slot verification loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedPartition {
    /// The partition, without the slot's suffix.
    pub partition: String,
    /// The bytes that the descriptor covers; the whole partition where errors are allowed.
    pub data: Vec<u8>,
    /// Whether it is as signed.
    pub verdict: SlotVerifyResult,
    /// The digest of what was read. None where verification is disabled.
    pub digest: Option<(Hash, Vec<u8>)>,
}

/// What slot verification found (`AvbSlotVerifyData`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotData {
    /// The slot's suffix.
    pub suffix: String,
    /// The vbmeta images: the top-level one first, then chained ones.
    pub vbmeta_images: Vec<VbmetaData>,
    /// The partitions that were requested and that a descriptor covers.
    pub loaded_partitions: Vec<LoadedPartition>,
    /// The kernel command line.
    pub cmdline: String,
    /// The rollback index that the images have, by location. To be stored once the slot was
    /// marked successful.
    pub rollback_indexes: [u64; ROLLBACK_LOCATIONS],
    /// The mode that the command line asks for, with a managed one resolved.
    pub hashtree_error_mode: HashtreeErrorMode,
}

impl SlotData {
    /// The digest of all vbmeta images: `ro.boot.vbmeta.digest`, and the verified boot hash of
    /// key attestation.
    #[must_use]
    pub fn vbmeta_digest(&self, hash: Hash) -> Vec<u8> {
        let images: Vec<&[u8]> = self.vbmeta_images.iter().map(|v| v.image.as_slice()).collect();
        hash.digest(&images)
    }

    /// A loaded partition by its name without suffix.
    #[must_use]
    pub fn loaded(&self, partition: &str) -> Option<&LoadedPartition> {
        self.loaded_partitions.iter().find(|loaded| loaded.partition == partition)
    }
}

/// The result, and what was found on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotOutcome {
    /// libavb's result.
    pub result: SlotVerifyResult,
    /// What went wrong last. None where the result is OK.
    pub refusal: Option<Refusal>,
    /// Present where the result is OK, or where errors are allowed and it is one of them.
    pub data: Option<SlotData>,
}

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
    let mut session = Session {
        ops,
        requested,
        suffix,
        flags,
        algorithm: Algorithm::None,
        toplevel_key: None,
        substitutions: Vec::new(),
        cmdline: None,
        refusal: None,
        data: SlotData {
            suffix: suffix.to_owned(),
            vbmeta_images: Vec::new(),
            loaded_partitions: Vec::new(),
            cmdline: String::new(),
            rollback_indexes: [0; ROLLBACK_LOCATIONS],
            hashtree_error_mode: HashtreeErrorMode::default(),
        },
    };
    match session.run(hashtree_error_mode) {
        Ok(result) => SlotOutcome { result, refusal: session.refusal, data: Some(session.data) },
        Err(Stop(result)) => SlotOutcome { result, refusal: session.refusal, data: None },
    }
}

/// Verification ends here with this result.
pub(crate) struct Stop(pub(crate) SlotVerifyResult);

/// Where a vbmeta image is expected, and who must have signed it.
struct Source<'s> {
    partition: &'s str,
    with_suffix: bool,
    chain: Option<&'s ChainPartitionDescriptor>,
    toplevel_flags: VbmetaFlags,
}

/// A vbmeta image as it was read: more bytes may follow it.
struct Loaded {
    buffer: Vec<u8>,
    header: Header,
    verdict: VbmetaVerdict,
}

pub(crate) struct Session<'a, O> {
    pub(crate) ops: &'a O,
    requested: &'a [&'a str],
    pub(crate) suffix: &'a str,
    pub(crate) flags: SlotVerifyFlags,
    pub(crate) algorithm: Algorithm,
    pub(crate) toplevel_key: Option<Vec<u8>>,
    pub(crate) substitutions: Vec<Substitution>,
    pub(crate) cmdline: Option<String>,
    refusal: Option<Refusal>,
    pub(crate) data: SlotData,
}

impl<O: Ops> Session<'_, O> {
    fn run(&mut self, mode: HashtreeErrorMode) -> Result<SlotVerifyResult, Stop> {
        let allow = self.flags.allow_verification_error;
        if mode == HashtreeErrorMode::Logging && !allow {
            return Err(self.stop(
                SlotVerifyResult::ErrorInvalidArgument,
                "logging of dm-verity errors needs verification errors to be allowed",
            ));
        }
        let result = self.load_images()?;
        if result != SlotVerifyResult::Ok && !(allow && result.may_continue()) {
            return Err(Stop(result));
        }
        cmdline::finish(self, mode)?;
        self.data.cmdline = self.cmdline.take().unwrap_or_default();
        Ok(result)
    }

    fn load_images(&mut self) -> Result<SlotVerifyResult, Stop> {
        let source = |partition| Source {
            partition,
            with_suffix: true,
            chain: None,
            toplevel_flags: VbmetaFlags::default(),
        };
        if !self.flags.no_vbmeta_partition {
            return Ok(self.load_vbmeta(&source("vbmeta")));
        }
        if self.requested.is_empty() {
            return Err(self.stop(
                SlotVerifyResult::ErrorInvalidArgument,
                "without a vbmeta partition, at least one partition must be requested",
            ));
        }
        let mut result = SlotVerifyResult::Ok;
        for &partition in self.requested {
            match self.load_vbmeta(&source(partition)) {
                SlotVerifyResult::Ok => {}
                error if self.flags.allow_verification_error => result = error,
                error => return Err(Stop(error)),
            }
        }
        Ok(result)
    }

    pub(crate) fn stop(&mut self, result: SlotVerifyResult, reason: impl Into<String>) -> Stop {
        self.refusal = Some(Refusal::new(result.code(), reason));
        Stop(result)
    }

    fn io(&mut self, place: &str, error: IoError) -> Stop {
        let result = match error {
            IoError::Oom => SlotVerifyResult::ErrorOom,
            _ => SlotVerifyResult::ErrorIo,
        };
        self.stop(result, format!("{place}: {error}"))
    }

    fn malformed(&mut self, place: &str, error: &DecodeError) -> Stop {
        self.stop(SlotVerifyResult::ErrorInvalidMetadata, format!("{place}: {error}"))
    }

    /// A finding that an unlocked device may pass over: it becomes the result.
    fn tolerate(
        &mut self,
        result: &mut SlotVerifyResult,
        found: SlotVerifyResult,
        reason: String,
    ) -> Result<(), Stop> {
        let stop = self.stop(found, reason);
        *result = found;
        if self.flags.allow_verification_error { Ok(()) } else { Err(stop) }
    }

    fn full_name(&mut self, name: &str, with_suffix: bool) -> Result<String, Stop> {
        let full = if with_suffix { format!("{name}{}", self.suffix) } else { name.to_owned() };
        if full.len() <= PARTITION_NAME_MAX_BYTES {
            return Ok(full);
        }
        let reason = format!("{full}: the partition's name is too long");
        Err(self.stop(SlotVerifyResult::ErrorInvalidMetadata, reason))
    }

    /// The image of `source` and all that its descriptors speak about.
    fn load_vbmeta(&mut self, source: &Source<'_>) -> SlotVerifyResult {
        let mut result = SlotVerifyResult::Ok;
        match self.load_vbmeta_into(source, &mut result) {
            Ok(()) => result,
            Err(Stop(stopped)) => stopped,
        }
    }

    fn load_vbmeta_into(
        &mut self,
        source: &Source<'_>,
        result: &mut SlotVerifyResult,
    ) -> Result<(), Stop> {
        let is_main = source.chain.is_none() && !self.flags.no_vbmeta_partition;
        let name = self.full_name(source.partition, source.with_suffix)?;
        let Some(buffer) = self.read_vbmeta(source.partition, &name, is_main)? else {
            let boot = Source { partition: "boot", toplevel_flags: VbmetaFlags(0), ..*source };
            match self.load_vbmeta(&boot) {
                SlotVerifyResult::Ok => return Ok(()),
                error => return Err(Stop(error)),
            }
        };
        let loaded = self.judge_vbmeta(buffer, &name, result)?;
        let header = &loaded.header;
        if is_main && loaded.verdict == VbmetaVerdict::Ok {
            self.toplevel_key = Some(public_key(&loaded).to_vec());
        }
        if !is_main && header.flags.0 != 0 {
            let reason = format!("{name}: flags are set in a vbmeta image that is not on top");
            return Err(self.stop(SlotVerifyResult::ErrorInvalidMetadata, reason));
        }
        let flags = if is_main { header.flags } else { source.toplevel_flags };
        let location = self.check_key(source, &name, &loaded, is_main, result)?;
        self.check_rollback(&name, header, location, result)?;
        self.keep_vbmeta(source.partition, &loaded)?;
        if header.flags.verification_disabled() {
            return self.load_requested();
        }
        self.follow_descriptors(source, &name, &loaded, flags, is_main, result)?;
        match self.data.rollback_indexes.get_mut(location as usize) {
            Some(index) => *index = header.rollback_index,
            None => {
                let reason = format!("{name}: rollback index location {location} does not exist");
                return Err(self.stop(SlotVerifyResult::ErrorInvalidMetadata, reason));
            }
        }
        if source.chain.is_none() {
            self.algorithm = header.algorithm;
        }
        Ok(())
    }

    /// The bytes in which a vbmeta image should be. None = there is no vbmeta partition, and the
    /// boot partition may stand in.
    fn read_vbmeta(
        &mut self,
        partition: &str,
        name: &str,
        is_main: bool,
    ) -> Result<Option<Vec<u8>>, Stop> {
        let (mut offset, mut size) = (0, VBMETA_MAX_BYTES);
        if partition.starts_with("vbmeta") {
            match self.ops.partition_size(name) {
                Ok(bytes @ 1..) => size = size.min(usize::try_from(bytes).unwrap_or(size)),
                Ok(0) => {}
                Err(IoError::NoSuchPartition) if is_main => return Ok(None),
                Err(error) => return Err(self.io(name, error)),
            }
        } else if let Some(footer) = self.read_footer(name)? {
            offset = i64::try_from(footer.vbmeta_offset)
                .map_err(|_| self.io(name, IoError::RangeOutsidePartition))?;
            size = usize::try_from(footer.vbmeta_size).unwrap_or(size);
        }
        let mut buffer = vec![0; size];
        let read = self
            .ops
            .read_from_partition(name, offset, &mut buffer)
            .map_err(|error| self.io(name, error))?;
        buffer.truncate(read);
        Ok(Some(buffer))
    }

    /// The footer, if there is one that libavb would believe.
    fn read_footer(&mut self, name: &str) -> Result<Option<Footer>, Stop> {
        let mut bytes = [0; FOOTER_BYTES];
        let read = self.ops.read_from_partition(name, -(FOOTER_BYTES as i64), &mut bytes);
        match read {
            Ok(FOOTER_BYTES) => {}
            Ok(_) => return Err(self.io(name, IoError::RangeOutsidePartition)),
            Err(error) => return Err(self.io(name, error)),
        }
        let footer = Footer::decode(&bytes).ok();
        Ok(footer.filter(|footer| footer.vbmeta_size <= VBMETA_MAX_BYTES as u64))
    }

    fn judge_vbmeta(
        &mut self,
        buffer: Vec<u8>,
        name: &str,
        result: &mut SlotVerifyResult,
    ) -> Result<Loaded, Stop> {
        let verdict = verify_vbmeta(&buffer);
        let reason = format!("{name}: the vbmeta image is {verdict}");
        match verdict {
            VbmetaVerdict::Ok => {}
            VbmetaVerdict::OkNotSigned
            | VbmetaVerdict::HashMismatch
            | VbmetaVerdict::SignatureMismatch => {
                self.tolerate(result, SlotVerifyResult::ErrorVerification, reason)?;
            }
            VbmetaVerdict::InvalidVbmetaHeader => {
                return Err(self.stop(SlotVerifyResult::ErrorInvalidMetadata, reason));
            }
            VbmetaVerdict::UnsupportedVersion => {
                return Err(self.stop(SlotVerifyResult::ErrorUnsupportedVersion, reason));
            }
        }
        match Header::decode(&buffer) {
            Ok(header) => Ok(Loaded { buffer, header, verdict }),
            Err(error) => Err(self.malformed(name, &error)),
        }
    }

    /// Is the key the one that may sign here? Gives the rollback index location.
    fn check_key(
        &mut self,
        source: &Source<'_>,
        name: &str,
        loaded: &Loaded,
        is_main: bool,
        result: &mut SlotVerifyResult,
    ) -> Result<u32, Stop> {
        let mut location = match source.chain {
            Some(chain) => chain.rollback_index_location,
            None if is_main => loaded.header.rollback_index_location,
            None => 0,
        };
        if loaded.verdict != VbmetaVerdict::Ok {
            return Ok(location);
        }
        let key = public_key(loaded);
        let metadata = public_key_metadata(loaded);
        let trusted = match source.chain {
            Some(chain) => Ok(chain.public_key == key),
            None if is_main => self.ops.validate_vbmeta_public_key(key, metadata),
            None => match self.ops.validate_public_key_for_partition(name, key, metadata) {
                Some(trust) => trust.map(|trust| {
                    location = trust.rollback_index_location;
                    trust.trusted
                }),
                None => {
                    return Err(self.stop(
                        SlotVerifyResult::ErrorInvalidArgument,
                        "the device cannot judge keys of single partitions",
                    ));
                }
            },
        };
        match trusted {
            Ok(true) => {}
            Ok(false) => {
                let reason = format!("{name}: signed with a key that is not trusted for it");
                self.tolerate(result, SlotVerifyResult::ErrorPublicKeyRejected, reason)?;
            }
            Err(error) => return Err(self.io(name, error)),
        }
        Ok(location)
    }

    fn check_rollback(
        &mut self,
        name: &str,
        header: &Header,
        location: u32,
        result: &mut SlotVerifyResult,
    ) -> Result<(), Stop> {
        let stored =
            self.ops.read_rollback_index(location).map_err(|error| self.io(name, error))?;
        if header.rollback_index >= stored {
            return Ok(());
        }
        let reason = format!(
            "{name}: rollback index {} is below {stored}, the stored one of location {location}",
            header.rollback_index
        );
        self.tolerate(result, SlotVerifyResult::ErrorRollbackIndex, reason)
    }

    fn keep_vbmeta(&mut self, partition: &str, loaded: &Loaded) -> Result<(), Stop> {
        if self.data.vbmeta_images.len() == MAX_IMAGES {
            return Err(self.stop(SlotVerifyResult::ErrorOom, "more than 32 vbmeta images"));
        }
        let size = usize::try_from(loaded.header.image_size())
            .expect("the header was checked against the buffer");
        self.data.vbmeta_images.push(VbmetaData {
            partition: partition.to_owned(),
            image: loaded.buffer[..size].to_vec(),
            verdict: loaded.verdict,
        });
        Ok(())
    }

    fn follow_descriptors(
        &mut self,
        source: &Source<'_>,
        name: &str,
        loaded: &Loaded,
        flags: VbmetaFlags,
        is_main: bool,
        result: &mut SlotVerifyResult,
    ) -> Result<(), Stop> {
        for raw in RawDescriptor::all_lenient(&loaded.buffer, &loaded.header) {
            match raw.tag {
                Descriptor::HASHTREE => self.hashtree(name, raw, source.chain.is_none())?,
                Descriptor::HASH | Descriptor::KERNEL_CMDLINE | Descriptor::CHAIN_PARTITION => {
                    let descriptor =
                        raw.decode_lenient().map_err(|error| self.malformed(name, &error))?;
                    self.follow(name, &descriptor, flags, is_main, result)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn follow(
        &mut self,
        name: &str,
        descriptor: &Descriptor,
        flags: VbmetaFlags,
        is_main: bool,
        result: &mut SlotVerifyResult,
    ) -> Result<(), Stop> {
        match descriptor {
            Descriptor::Hash(hash) => match self.hash_partition(hash) {
                SlotVerifyResult::Ok => {}
                error => {
                    *result = error;
                    if !self.flags.allow_verification_error || !error.may_continue() {
                        return Err(Stop(error));
                    }
                }
            },
            Descriptor::ChainPartition(chain) if is_main => {
                let error = self.load_vbmeta(&Source {
                    partition: &chain.partition_name,
                    with_suffix: chain.flags & DO_NOT_USE_AB == 0,
                    chain: Some(chain),
                    toplevel_flags: flags,
                });
                if error != SlotVerifyResult::Ok {
                    *result = error;
                    if !error.may_continue() {
                        return Err(Stop(error));
                    }
                }
            }
            Descriptor::ChainPartition(_) => {
                let reason = format!("{name}: a chain descriptor outside the top-level image");
                return Err(self.stop(SlotVerifyResult::ErrorInvalidMetadata, reason));
            }
            Descriptor::KernelCmdline(piece) => self.append_cmdline(piece, flags),
            Descriptor::Property(_) | Descriptor::Hashtree(_) | Descriptor::Unknown { .. } => {}
        }
        Ok(())
    }

    fn append_cmdline(&mut self, piece: &KernelCmdlineDescriptor, flags: VbmetaFlags) {
        let unwanted = if flags.hashtree_disabled() {
            KernelCmdlineDescriptor::ONLY_IF_HASHTREE_ENABLED
        } else {
            KernelCmdlineDescriptor::ONLY_IF_HASHTREE_DISABLED
        };
        if piece.flags & unwanted == 0 {
            self.cmdline = Some(match self.cmdline.take() {
                Some(before) => format!("{before} {}", piece.cmdline),
                None => piece.cmdline.clone(),
            });
        }
    }

    /// Looks at a hashtree descriptor only where its digest is a persistent value: dm-verity
    /// checks all others while the system runs.
    fn hashtree(
        &mut self,
        name: &str,
        raw: RawDescriptor<'_>,
        substitute: bool,
    ) -> Result<(), Stop> {
        let fields =
            HashtreeFields::decode(raw.payload).map_err(|error| self.malformed(name, &error))?;
        if !fields.is_persistent() {
            return Ok(());
        }
        let tree = fields.with_text().map_err(|error| self.malformed(name, &error))?;
        if tree.flags & DO_NOT_USE_AB == 0 && !self.suffix.is_empty() {
            return Err(self.persistent_in_slot(&tree.partition_name));
        }
        let partition = self.full_name(&tree.partition_name, false)?;
        let Some(digest_bytes) = tree.hash_algorithm.digest_bytes() else {
            let reason = format!("{partition}: the hash function is not supported");
            return Err(self.stop(SlotVerifyResult::ErrorInvalidMetadata, reason));
        };
        let digest = self.persistent_digest(&partition, digest_bytes, None)?;
        if substitute {
            if self.substitutions.len() == cmdline::MAX_SUBSTITUTIONS {
                let reason = "more than 10 root digests for the command line";
                return Err(self.stop(SlotVerifyResult::ErrorInvalidMetadata, reason));
            }
            self.substitutions.push(Substitution::root_digest(&partition, &digest));
        }
        Ok(())
    }

    fn persistent_in_slot(&mut self, partition: &str) -> Stop {
        let reason = format!("{partition}: a partition with slots cannot have a persistent digest");
        self.stop(SlotVerifyResult::ErrorInvalidMetadata, reason)
    }

    /// The persistent digest of a partition. Where there is none yet and the device is locked,
    /// `initial` becomes it.
    fn persistent_digest(
        &mut self,
        partition: &str,
        digest_bytes: usize,
        initial: Option<&[u8]>,
    ) -> Result<Vec<u8>, Stop> {
        let name = format!("avb.persistent_digest.{partition}");
        let wrong_size = "the persistent digest has another size";
        match self.ops.read_persistent_value(&name) {
            Ok(value) if value.len() == digest_bytes => Ok(value),
            Ok(_) | Err(IoError::InvalidValueSize) => Err(self.stop(
                SlotVerifyResult::ErrorInvalidMetadata,
                format!("{partition}: {wrong_size}"),
            )),
            Err(IoError::NoSuchValue) => {
                if let Some(initial) = initial {
                    let unlocked = self.ops.is_device_unlocked();
                    if !unlocked.map_err(|error| self.io(partition, error))? {
                        self.ops
                            .write_persistent_value(&name, initial)
                            .map_err(|error| self.io(partition, error))?;
                        return self.persistent_digest(partition, digest_bytes, None);
                    }
                }
                let reason = format!("{partition}: the persistent digest does not exist");
                Err(self.stop(SlotVerifyResult::ErrorVerification, reason))
            }
            Err(error) => Err(self.io(partition, error)),
        }
    }

    /// Loads and checks the partition of a hash descriptor, if it was requested.
    fn hash_partition(&mut self, hash: &HashDescriptor) -> SlotVerifyResult {
        if !self.requested.contains(&hash.partition_name.as_str()) {
            return SlotVerifyResult::Ok;
        }
        let (name, data) = match self.load_hashed(hash) {
            Ok(loaded) => loaded,
            Err(Stop(result)) => return result,
        };
        let covered = usize::try_from(hash.image_size).unwrap_or(usize::MAX).min(data.len());
        let Some(function) = hash.hash_algorithm.hash() else {
            let reason = format!("{name}: the hash function is not supported");
            return self.stop(SlotVerifyResult::ErrorInvalidMetadata, reason).0;
        };
        let digest = function.digest(&[&hash.salt, &data[..covered]]);
        let verdict = match self.check_digest(hash, &name, &digest) {
            Ok(()) => SlotVerifyResult::Ok,
            Err(Stop(result)) => result,
        };
        if verdict.may_continue() {
            let digest = Some((function, digest));
            let partition = hash.partition_name.clone();
            let loaded = LoadedPartition { partition, data, verdict, digest };
            if let Err(Stop(result)) = self.keep_loaded(loaded) {
                return result;
            }
        }
        verdict
    }

    fn load_hashed(&mut self, hash: &HashDescriptor) -> Result<(String, Vec<u8>), Stop> {
        let without_slots = hash.flags & DO_NOT_USE_AB != 0;
        if !without_slots && hash.digest.is_empty() && !self.suffix.is_empty() {
            return Err(self.persistent_in_slot(&hash.partition_name));
        }
        let name = self.full_name(&hash.partition_name, !without_slots)?;
        let partition_size =
            self.ops.partition_size(&name).map_err(|error| self.io(&name, error))?;
        let size = match self.flags.allow_verification_error {
            // The image may have been replaced by a larger one: a developer's every day.
            true => partition_size,
            false if hash.image_size > partition_size => {
                return Err(self.io(&name, IoError::RangeOutsidePartition));
            }
            false => hash.image_size,
        };
        let data = self.load(&name, size)?;
        Ok((name, data))
    }

    fn check_digest(
        &mut self,
        hash: &HashDescriptor,
        name: &str,
        digest: &[u8],
    ) -> Result<(), Stop> {
        let expected = match hash.digest.is_empty() {
            true => self.persistent_digest(name, digest.len(), Some(digest))?,
            false => hash.digest.clone(),
        };
        if expected.len() != digest.len() {
            let reason = format!("{name}: the digest in the descriptor has another size");
            return Err(self.stop(SlotVerifyResult::ErrorInvalidMetadata, reason));
        }
        if expected == digest {
            return Ok(());
        }
        let reason = format!("{name}: the image is not the one that was signed");
        self.refusal = Some(Refusal::new(RefusalCode::DigestMismatch, reason));
        Err(Stop(SlotVerifyResult::ErrorVerification))
    }

    /// Loads all requested partitions whole, because verification is disabled.
    fn load_requested(&mut self) -> Result<(), Stop> {
        for &partition in self.requested {
            let name = self.full_name(partition, true)?;
            let size = self.ops.partition_size(&name).map_err(|error| self.io(&name, error))?;
            let data = self.load(&name, size)?;
            self.keep_loaded(LoadedPartition {
                partition: partition.to_owned(),
                data,
                verdict: SlotVerifyResult::Ok,
                digest: None,
            })?;
        }
        Ok(())
    }

    /// The first `size` bytes of a partition, which is at least that large.
    fn load(&mut self, name: &str, size: u64) -> Result<Vec<u8>, Stop> {
        let size = usize::try_from(size).map_err(|_| self.io(name, IoError::Oom))?;
        let mut data = vec![0; size];
        match self.ops.read_from_partition(name, 0, &mut data) {
            Ok(read) if read == size => Ok(data),
            Ok(_) => Err(self.io(name, IoError::RangeOutsidePartition)),
            Err(error) => Err(self.io(name, error)),
        }
    }

    fn keep_loaded(&mut self, loaded: LoadedPartition) -> Result<(), Stop> {
        if self.data.loaded_partitions.len() == MAX_IMAGES {
            return Err(self.stop(SlotVerifyResult::ErrorOom, "more than 32 loaded partitions"));
        }
        self.data.loaded_partitions.push(loaded);
        Ok(())
    }
}

/// libavb keeps at most as many vbmeta images and loaded partitions.
const MAX_IMAGES: usize = 32;

fn public_key(loaded: &Loaded) -> &[u8] {
    auxiliary(loaded).and_then(|block| loaded.header.public_key.of(block)).unwrap_or_default()
}

fn public_key_metadata(loaded: &Loaded) -> Option<&[u8]> {
    let extent = loaded.header.public_key_metadata;
    if extent.size == 0 { None } else { extent.of(auxiliary(loaded)?) }
}

fn auxiliary(loaded: &Loaded) -> Option<&[u8]> {
    let start = crate::HEADER_BYTES + usize::try_from(loaded.header.authentication_size).ok()?;
    loaded.buffer.get(start..)
}
