//! The bootloaders' service: verifying bl2, rollback indexes, what was booted.

use crate::mapping::Mapping;
use crate::storage::{Changes, SecureStorage, StorageError};
use board::verdict::libavb_name;
use board::{Silicon, exec};
use rustix::fd::OwnedFd;
use std::os::fd::AsFd;
use tee_api::boot::{BootInfo, BootState, Reply, Request};
use tee_api::{TaId, TeeError};
use zeroize::Zeroizing;

/// The OS's own objects.
const OS: TaId = TaId([0; 16]);
const ROLLBACK_OBJECT: &str = "rollback-indexes";
/// Locations that AVB knows.
const LOCATIONS: usize = 32;
/// The location of the level-2 bootloader's index.
const BL2_LOCATION: u32 = 1;

/// The code of a refusal that is none of AVB's.
const POLICY: &str = "POLICY";

/// What the bootloaders said and did since power-on.
#[derive(Default)]
pub(crate) struct Boot {
    info: Option<BootInfo>,
    bl2_index: Option<u64>,
}

impl Boot {
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
                    Err(reply) => (reply, None),
                };
            }
            Request::RollbackIndexes => rollback_indexes(storage)
                .map(|indexes| Reply::RollbackIndexes(indexes.to_vec()))
                .map_err(TeeError::from),
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

    /// What was booted proved itself: nothing older boots from now on. An unlocked device
    /// raises nothing, for its images are nobody's.
    pub(crate) fn successful(&self, storage: &mut SecureStorage) -> Result<(), TeeError> {
        let info = self.info()?;
        if !matches!(info.boot_state, BootState::Green | BootState::Yellow) {
            return Ok(());
        }
        let bl2 = self.bl2_index.map(|index| (BL2_LOCATION, index));
        let indexes: Vec<_> = info.rollback_indexes.iter().copied().chain(bl2).collect();
        raise(storage, &indexes)
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
    ) -> Result<(Reply, OwnedFd), Reply> {
        let rejected =
            |code: &str, reason: String| Reply::Rejected { code: code.to_owned(), reason };
        let parameters = |reason: String| Reply::Refused(TeeError::BadParameters(reason));
        if !matches!(partition, "bl2_a" | "bl2_b") {
            return Err(parameters(format!("{partition:?} is no partition of bl2")));
        }
        let [image] = <[OwnedFd; 1]>::try_from(fds)
            .map_err(|_| parameters("one descriptor belongs beside VerifyBl2".into()))?;
        let image = Mapping::of(image.as_fd())
            .map_err(|error| parameters(format!("the image of {partition}: {error}")))?;
        let root_key = silicon
            .root_key_hash()
            .map_err(|error| Reply::Refused(TeeError::Communication(error.to_string())))?;
        let minimum = rollback_indexes(storage)
            .map_err(|error| rejected(POLICY, error.to_string()))?[BL2_LOCATION as usize];
        let verified = avb::verify_hash_footer_partition(&image, "bl2", &root_key, minimum)
            .map_err(|refusal| rejected(libavb_name(refusal.code), refusal.reason))?;
        let executable = &image[verified.image.clone()];
        let file = exec::sealed("bl2", executable)
            .map_err(|error| Reply::Refused(TeeError::Resources(error.to_string())))?;
        self.bl2_index = Some(verified.rollback_index);
        let version = verified.version().unwrap_or(&verified.release).to_owned();
        let digest = crypto::digest::sha256(executable);
        Ok((Reply::Verified { version, digest }, file))
    }
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
