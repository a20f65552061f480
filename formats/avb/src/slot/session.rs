//! One verification: from the top-level vbmeta image down its descriptors.

use super::{
    HashtreeErrorMode, SlotData, SlotOutcome, SlotVerifyFlags, SlotVerifyResult, VbmetaData,
    cmdline::{self, Substitution},
};
use crate::{
    Algorithm, ChainPartitionDescriptor, DecodeError, Descriptor, FOOTER_BYTES, Footer, Header,
    IoError, KernelCmdlineDescriptor, Ops, PARTITION_NAME_MAX_BYTES, ROLLBACK_LOCATIONS, Refusal,
    VBMETA_MAX_BYTES, VbmetaFlags, VbmetaVerdict, decode::RawDescriptor, descriptor::DO_NOT_USE_AB,
    verify_vbmeta_as,
};

/// Verification ends here with this result.
pub(super) struct Stop(pub(super) SlotVerifyResult);

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

pub(super) struct Session<'a, O> {
    pub(super) ops: &'a O,
    pub(super) requested: &'a [&'a str],
    pub(super) suffix: &'a str,
    pub(super) flags: SlotVerifyFlags,
    pub(super) algorithm: Algorithm,
    pub(super) toplevel_key: Option<Vec<u8>>,
    pub(super) substitutions: Vec<Substitution>,
    pub(super) cmdline: Option<String>,
    pub(super) findings: Vec<Refusal>,
    pub(super) data: SlotData,
}

impl<'a, O: Ops> Session<'a, O> {
    pub(super) fn new(
        ops: &'a O,
        requested: &'a [&'a str],
        suffix: &'a str,
        flags: SlotVerifyFlags,
    ) -> Self {
        Self {
            ops,
            requested,
            suffix,
            flags,
            algorithm: Algorithm::None,
            toplevel_key: None,
            substitutions: Vec::new(),
            cmdline: None,
            findings: Vec::new(),
            data: SlotData {
                suffix: suffix.to_owned(),
                vbmeta_images: Vec::new(),
                loaded_partitions: Vec::new(),
                cmdline: String::new(),
                rollback_indexes: [0; ROLLBACK_LOCATIONS],
                hashtree_error_mode: HashtreeErrorMode::default(),
            },
        }
    }

    pub(super) fn run(mut self, mode: HashtreeErrorMode) -> SlotOutcome {
        let (result, passed) = match self.verify(mode) {
            Ok(result) => (result, true),
            Err(Stop(result)) => (result, false),
        };
        let refusal = match result {
            SlotVerifyResult::Ok => None,
            _ => self.findings.last().cloned(),
        };
        let data = passed.then_some(self.data);
        SlotOutcome { result, refusal, findings: self.findings, data }
    }

    fn verify(&mut self, mode: HashtreeErrorMode) -> Result<SlotVerifyResult, Stop> {
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
                // Where errors are allowed, only the last partition's verdict counts.
                verdict if self.flags.allow_verification_error => result = verdict,
                SlotVerifyResult::Ok => {}
                error => return Err(Stop(error)),
            }
        }
        Ok(result)
    }

    pub(super) fn stop(&mut self, result: SlotVerifyResult, reason: impl Into<String>) -> Stop {
        self.findings.push(Refusal::new(result.code(), reason));
        Stop(result)
    }

    pub(super) fn io(&mut self, place: &str, error: IoError) -> Stop {
        let result = match error {
            IoError::Oom => SlotVerifyResult::ErrorOom,
            _ => SlotVerifyResult::ErrorIo,
        };
        self.stop(result, format!("{place}: {error}"))
    }

    pub(super) fn malformed(&mut self, place: &str, error: &DecodeError) -> Stop {
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

    pub(super) fn full_name(&mut self, name: &str, with_suffix: bool) -> Result<String, Stop> {
        let full = if with_suffix { format!("{name}{}", self.suffix) } else { name.to_owned() };
        if full.len() <= PARTITION_NAME_MAX_BYTES {
            return Ok(until_nul(&full).to_owned());
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
        self.keep_vbmeta(source.partition, name.clone(), &loaded)?;
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
            // As libavb: an offset of more than 63 bits counts from the end.
            offset = footer.vbmeta_offset.cast_signed();
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
        let verdict = verify_vbmeta_as(self.ops.libavb_version(), &buffer);
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

    fn keep_vbmeta(
        &mut self,
        partition: &str,
        full_name: String,
        loaded: &Loaded,
    ) -> Result<(), Stop> {
        if self.data.vbmeta_images.len() == MAX_IMAGES {
            return Err(self.stop(SlotVerifyResult::ErrorOom, "more than 32 vbmeta images"));
        }
        let size = usize::try_from(loaded.header.image_size())
            .expect("the header was checked against the buffer");
        self.data.vbmeta_images.push(VbmetaData {
            partition: until_nul(partition).to_owned(),
            full_name,
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
                Descriptor::HASHTREE => {
                    let found = self.hashtree(name, raw, source.chain.is_none())?;
                    if found {
                        // As libavb: what was wrong before is forgotten.
                        *result = SlotVerifyResult::Ok;
                    }
                }
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
                Some(before) => format!("{before} {}", until_nul(&piece.cmdline)),
                None => until_nul(&piece.cmdline).to_owned(),
            });
        }
    }
}

/// The text as C sees it.
fn until_nul(text: &str) -> &str {
    text.split('\0').next().unwrap_or(text)
}

/// libavb keeps at most as many vbmeta images and loaded partitions.
pub(super) const MAX_IMAGES: usize = 32;

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
