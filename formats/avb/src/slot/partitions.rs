//! The partitions that descriptors speak about.

use super::{
    LoadedPartition, SlotVerifyResult,
    cmdline::{MAX_SUBSTITUTIONS, Substitution},
    session::{MAX_IMAGES, Session, Stop},
};
use crate::{
    HashDescriptor, IoError, Ops, Refusal, RefusalCode,
    decode::{HashtreeFields, RawDescriptor},
    descriptor::DO_NOT_USE_AB,
};

/// What no memory holds, in bytes: libavb allocates what a descriptor says before it looks at the
/// partition, and fails there.
const LARGEST_LOAD: u64 = 1 << 36;
/// The largest partition that is loaded, in bytes: dm-verity checks larger ones.
const LARGEST_PARTITION: u64 = 1 << 32;

impl<O: Ops> Session<'_, O> {
    /// Looks at a hashtree descriptor only where its digest is a persistent value: dm-verity
    /// checks all others while the system runs. Whether a digest was found.
    pub(super) fn hashtree(
        &mut self,
        name: &str,
        raw: RawDescriptor<'_>,
        substitute: bool,
    ) -> Result<bool, Stop> {
        let fields =
            HashtreeFields::decode(raw.payload).map_err(|error| self.malformed(name, &error))?;
        if !fields.is_persistent() {
            return Ok(false);
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
            if self.substitutions.len() == MAX_SUBSTITUTIONS {
                let reason = "more than 10 root digests for the command line";
                return Err(self.stop(SlotVerifyResult::ErrorInvalidMetadata, reason));
            }
            self.substitutions.push(Substitution::root_digest(&partition, &digest));
        }
        Ok(true)
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
    pub(super) fn hash_partition(&mut self, hash: &HashDescriptor) -> SlotVerifyResult {
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
        if !self.flags.allow_verification_error && hash.image_size > LARGEST_LOAD {
            return Err(self.io(&name, IoError::Oom));
        }
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
        self.findings.push(Refusal::new(RefusalCode::DigestMismatch, reason));
        Err(Stop(SlotVerifyResult::ErrorVerification))
    }

    /// Loads all requested partitions whole, because verification is disabled.
    pub(super) fn load_requested(&mut self) -> Result<(), Stop> {
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
        if size > LARGEST_PARTITION {
            return Err(self.io(name, IoError::Oom));
        }
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
