//! The bootloaders' service: verifying bl2, rollback indexes, what was booted.

use crate::boot_lock;
use crate::corruption;
use crate::mapping::Mapping;
use crate::storage::{Changes, Owner, SecureStorage, StorageError};
use board::report::BootArgs;
use board::secure::{BL1_COUNTER, TEE_COUNTER};
use board::verdict::{libavb_name, verify_under};
use board::{Silicon, SiliconError, exec};
use rustix::fd::OwnedFd;
use std::os::fd::AsFd;
use tee_api::TeeError;
use tee_api::boot::{BootInfo, BootState, KaslrSeed, Reply, Request, Trust};
use zeroize::Zeroizing;

/// The OS's own objects.
pub(crate) const OS: Owner = [0; 32];
const ROLLBACK_OBJECT: &str = "rollback-indexes";
/// Locations that AVB knows.
pub(crate) const LOCATIONS: usize = 32;
/// The location of the level-2 bootloader's index.
const BL2_LOCATION: u32 = 1;

/// The code of a refusal that is none of AVB's.
const POLICY: &str = "POLICY";

/// What the bootloaders said and did since power-on.
pub(crate) struct Boot {
    info: Option<BootInfo>,
    bl2_index: Option<u64>,
    /// Fuse counters, and the indexes of the stages that they guard and that run now.
    fused: [(u8, u64); 2],
}

impl Boot {
    /// At power-on; what was verified before the TEE ran stands in `arguments`.
    pub(crate) const fn new(arguments: &BootArgs) -> Self {
        let fused = [(BL1_COUNTER, arguments.bl1_index), (TEE_COUNTER, arguments.tee_index)];
        Self { info: None, bl2_index: None, fused }
    }

    /// What was booted; `BadState` before the bootloader said so.
    pub(crate) fn info(&self) -> Result<&BootInfo, TeeError> {
        self.info.as_ref().ok_or_else(|| TeeError::BadState("nothing was booted yet".into()))
    }

    /// Answers one request; a descriptor goes beside the answer where there is one.
    pub(crate) fn handle(
        &mut self,
        silicon: &dyn Silicon,
        storage: &mut SecureStorage,
        request: Request,
        fds: Vec<OwnedFd>,
    ) -> (Reply, Option<OwnedFd>) {
        let reply = match request {
            Request::VerifyBl2 { partition } => {
                return match self.verify_bl2(silicon, storage, &partition, fds) {
                    Ok((reply, executable)) => (reply, Some(executable)),
                    Err(reply) => (*reply, None),
                };
            }
            Request::Trust => trust(silicon, storage).map(Reply::Trust),
            Request::KaslrSeed => kaslr_seed(silicon).map(Reply::KaslrSeed),
            Request::SetCorruptSystem { vbmeta_digest } => match self.info {
                None => corruption::remember(storage, vbmeta_digest).map(|()| Reply::Done),
                Some(_) => Err(TeeError::BadState("the system runs already".into())),
            },
            Request::SetBootInfo(info) => self.latch(info).map(|()| Reply::Done),
            Request::RaiseRollbackIndexes { indexes } => {
                raise(storage, &indexes).map(|()| Reply::Done)
            }
        };
        (reply.unwrap_or_else(Reply::Refused), None)
    }

    /// What the bootloaders hear where secure storage did not open: nothing boots then.
    pub(crate) fn without_storage(request: &Request, error: &TeeError) -> Reply {
        match request {
            Request::VerifyBl2 { .. } => {
                Reply::Rejected { code: POLICY.to_owned(), reason: error.to_string() }
            }
            _ => Reply::Refused(error.clone()),
        }
    }

    /// What was booted proved itself: nothing older boots from now on. What the user signed
    /// counts for the user's key; the bootloaders and the TEE are the maker's in any case. An
    /// unlocked device raises nothing, for its images are nobody's.
    pub(crate) fn successful(
        &self,
        silicon: &dyn Silicon,
        storage: &mut SecureStorage,
    ) -> Result<(), TeeError> {
        let info = self.info()?;
        corruption::forget_all_but(storage, &info.verified_boot_hash)?;
        let mut indexes: Vec<_> = self.bl2_index.map(|at| (BL2_LOCATION, at)).into_iter().collect();
        match info.boot_state {
            BootState::Green => indexes.extend(&info.rollback_indexes),
            BootState::Yellow => {
                boot_lock::raise(storage, &info.verified_boot_key, &info.rollback_indexes)?;
            }
            BootState::Orange | BootState::Red => return Ok(()),
        }
        raise(storage, &indexes)?;
        for (counter, index) in self.fused {
            silicon.raise_counter(counter, index).map_err(lost)?;
        }
        Ok(())
    }

    /// Whether what runs was booted unlocked.
    pub(crate) fn is_unlocked(&self) -> Result<bool, TeeError> {
        Ok(!self.info()?.device_locked)
    }

    fn latch(&mut self, info: BootInfo) -> Result<(), TeeError> {
        if self.info.is_some() {
            return Err(TeeError::BadState("what was booted is already known".into()));
        }
        self.info = Some(info);
        Ok(())
    }

    fn verify_bl2(
        &mut self,
        silicon: &dyn Silicon,
        storage: &SecureStorage,
        partition: &str,
        fds: Vec<OwnedFd>,
    ) -> Result<(Reply, OwnedFd), Box<Reply>> {
        let rejected = |code: &str, reason: String| {
            Box::new(Reply::Rejected { code: code.to_owned(), reason })
        };
        let refused = |error: TeeError| Box::new(Reply::Refused(error));
        let parameters = |reason: String| refused(TeeError::BadParameters(reason));
        if !matches!(partition, "bl2_a" | "bl2_b") {
            return Err(parameters(format!("{partition:?} is no partition of bl2")));
        }
        let [image] = <[OwnedFd; 1]>::try_from(fds)
            .map_err(|_| parameters("one descriptor belongs beside VerifyBl2".into()))?;
        let image = Mapping::of(image.as_fd())
            .map_err(|error| parameters(format!("the image of {partition}: {error}")))?;
        let root_keys = silicon.root_key_hashes().map_err(|error| refused(lost(error)))?;
        let minimum = rollback_indexes(storage)
            .map_err(|error| rejected(POLICY, error.to_string()))?[BL2_LOCATION as usize];
        let verified = verify_under(&root_keys, &image, "bl2", minimum)
            .map_err(|refusal| rejected(libavb_name(refusal.code), refusal.reason))?;
        let executable = &image[verified.image.clone()];
        let file = exec::sealed("bl2", executable)
            .map_err(|error| refused(TeeError::Resources(error.to_string())))?;
        self.bl2_index = Some(verified.rollback_index);
        let version = verified.version().unwrap_or(&verified.release).to_owned();
        let digest = crypto::digest::sha256(executable);
        Ok((Reply::Verified { version, digest }, file))
    }
}

/// Whose signature counts, and how old an image may be.
pub(crate) fn trust(silicon: &dyn Silicon, storage: &SecureStorage) -> Result<Trust, TeeError> {
    Ok(Trust {
        maker_keys: silicon.root_key_hashes().map_err(lost)?,
        rollback_indexes: rollback_indexes(storage)?.to_vec(),
        lock: boot_lock::load(storage)?,
        corrupt_system: corruption::load(storage)?,
    })
}

fn kaslr_seed(silicon: &dyn Silicon) -> Result<KaslrSeed, TeeError> {
    let bytes = silicon.random(8).map_err(lost)?;
    let bytes = bytes.try_into().map_err(|_| TeeError::Communication("not 8 bytes".into()))?;
    Ok(KaslrSeed::new(u64::from_le_bytes(bytes)))
}

fn lost(error: SiliconError) -> TeeError {
    TeeError::Communication(error.to_string())
}

/// The 32 stored rollback indexes; zero as long as none was ever raised.
fn rollback_indexes(storage: &SecureStorage) -> Result<[u64; LOCATIONS], StorageError> {
    let bytes = match storage.get(OS, ROLLBACK_OBJECT) {
        Ok(bytes) => bytes,
        Err(StorageError::NotFound(_)) => return Ok([0; LOCATIONS]),
        Err(error) => return Err(error),
    };
    let (indexes, rest) = bytes.as_chunks::<8>();
    let indexes = <&[[u8; 8]; LOCATIONS]>::try_from(indexes).ok().filter(|_| rest.is_empty());
    indexes
        .map(|indexes| indexes.map(u64::from_le_bytes))
        .ok_or_else(|| StorageError::Security("the rollback indexes are malformed".into()))
}

/// Raises stored indexes; lower ones stay as they are.
fn raise(storage: &mut SecureStorage, to: &[(u32, u64)]) -> Result<(), TeeError> {
    let old = rollback_indexes(storage)?;
    let mut new = old;
    for &(location, index) in to {
        let stored = new
            .get_mut(location as usize)
            .ok_or_else(|| TeeError::BadParameters(format!("rollback location {location}")))?;
        *stored = (*stored).max(index);
    }
    if new == old {
        return Ok(());
    }
    let bytes = new.iter().flat_map(|index| index.to_le_bytes()).collect();
    let put = vec![(ROLLBACK_OBJECT.to_owned(), Zeroizing::new(bytes))];
    storage.commit(OS, &Changes { put, delete: Vec::new() }).map_err(TeeError::from)
}
