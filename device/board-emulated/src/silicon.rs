//! The board's own silicon: fuses, crypto engine, RPMB, counter.

use crate::fuses::{FuseError, Fuses};
use crate::rpmb_store;
use board::{LifeCycle, Silicon, SiliconError};
use effects::{Clock, Entropy};
use rpmb::RpmbDevice;
use rpmb_chip::FileStore;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The most random bytes that one question gets.
const MAX_RANDOM_BYTES: usize = 256;
const MAX_LABEL_BYTES: usize = 256;

/// Why the silicon does not come up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PowerUpError {
    /// The fuses.
    #[error(transparent)]
    Fuses(#[from] FuseError),
    /// The RPMB chip.
    #[error("the RPMB chip: {0}")]
    Rpmb(#[from] io::Error),
}

/// The emulated silicon of one board, powered.
pub struct EmulatedSilicon {
    fuses: Mutex<Fuses>,
    rpmb: Mutex<RpmbDevice<FileStore>>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    powered_at: Duration,
}

impl EmulatedSilicon {
    /// Powers the board in `folder` up.
    pub fn power_up(
        folder: &Path,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, PowerUpError> {
        let powered_at = clock.monotonic();
        let fuses = Mutex::new(Fuses::open(folder)?);
        let rpmb = Mutex::new(RpmbDevice::new(rpmb_store::open(folder)?));
        Ok(Self { fuses, rpmb, clock, entropy, powered_at })
    }

    /// What of its memory is weaker than it should be, and how to mend that.
    #[must_use]
    pub fn weakness(&self) -> Option<(&'static str, &'static str)> {
        let unmapped = self.fuses().huk().is_unmapped_from_kernel();
        (!unmapped).then_some((
            "the board's HUK lies in locked memory, not in memfd_secret",
            "boot a kernel with CONFIG_SECRETMEM, and with secretmem.enable=1 before Linux 6.5",
        ))
    }

    pub(crate) fn fuses(&self) -> MutexGuard<'_, Fuses> {
        self.fuses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refused(error: impl ToString) -> SiliconError {
    SiliconError::Refused(error.to_string())
}

impl Silicon for EmulatedSilicon {
    fn root_key_hashes(&self) -> Result<Vec<[u8; 32]>, SiliconError> {
        Ok(self.fuses().root_key_hashes())
    }

    fn serial(&self) -> Result<String, SiliconError> {
        Ok(self.fuses().serial().to_owned())
    }

    fn derive(&self, label: &str, context: &[u8]) -> Result<[u8; 32], SiliconError> {
        if label.is_empty() || label.len() > MAX_LABEL_BYTES {
            return Err(refused("a label has 1 to 256 bytes"));
        }
        // The label's length keeps label and context apart.
        let length = (label.len() as u64).to_be_bytes();
        let info: [&[u8]; 3] = [&length, label.as_bytes(), context];
        let salt = b"holdfast-huk-v1";
        Ok(*crypto::kdf::hkdf_sha256::<32>(self.fuses().huk().expose(), salt, &info).expose())
    }

    fn random(&self, bytes: usize) -> Result<Vec<u8>, SiliconError> {
        if bytes > MAX_RANDOM_BYTES {
            return Err(refused("at most 256 random bytes at once"));
        }
        let mut out = vec![0; bytes];
        self.entropy.fill(&mut out);
        Ok(out)
    }

    fn life_cycle(&self) -> Result<LifeCycle, SiliconError> {
        Ok(self.fuses().life_cycle())
    }

    fn deploy(&self) -> Result<(), SiliconError> {
        self.fuses().deploy().map_err(refused)
    }

    fn fuse_counter(&self, location: u8) -> Result<u64, SiliconError> {
        self.fuses().counter(location).map_err(refused)
    }

    fn raise_fuse_counter(&self, location: u8, value: u64) -> Result<(), SiliconError> {
        self.fuses().raise_counter(location, value).map_err(refused)
    }

    fn rpmb(&self, frames: &[u8]) -> Result<Vec<u8>, SiliconError> {
        Ok(self.rpmb.lock().unwrap_or_else(PoisonError::into_inner).exchange(frames))
    }

    fn uptime_ms(&self) -> Result<u64, SiliconError> {
        let since = self.clock.monotonic().saturating_sub(self.powered_at);
        Ok(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuses::Blank;
    use crypto::secret::Secret;
    use effects::{ManualClock, SystemEntropy, UnixMillis};
    use tempfile::TempDir;

    fn made(huk: u8) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        let blank = Blank {
            root_key_hash: [1; 32],
            second_root_key_hash: None,
            serial: "S".into(),
            huk: Secret::new([huk; 32]),
        };
        Fuses::blow(folder.path(), &blank).unwrap();
        rpmb_store::create(folder.path()).unwrap();
        folder
    }

    fn up(folder: &TempDir, clock: &Arc<ManualClock>) -> EmulatedSilicon {
        EmulatedSilicon::power_up(folder.path(), clock.clone(), Arc::new(SystemEntropy)).unwrap()
    }

    #[test]
    fn s2_1_3_keys_depend_on_board_label_and_context() {
        let clock = Arc::new(ManualClock::new(UnixMillis(0)));
        let (one, other) = (made(1), made(2));
        let key = up(&one, &clock).derive("label", b"context").unwrap();
        let board = up(&one, &clock);
        assert_eq!(board.derive("label", b"context").unwrap(), key);
        assert_ne!(up(&other, &clock).derive("label", b"context").unwrap(), key);
        assert_ne!(board.derive("labelc", b"ontext").unwrap(), key);
        assert_ne!(board.derive("label", b"").unwrap(), key);
        assert_ne!(key, [1; 32]);
        assert!(board.derive("", b"context").is_err());
    }

    #[test]
    fn uptime_counts_from_power_on() {
        let clock = Arc::new(ManualClock::new(UnixMillis(0)));
        clock.advance(Duration::from_secs(50));
        let folder = made(1);
        let board = up(&folder, &clock);
        clock.advance(Duration::from_millis(1234));
        assert_eq!(board.uptime_ms().unwrap(), 1234);
    }

    #[test]
    fn gives_random_bytes_in_small_portions() {
        let clock = Arc::new(ManualClock::new(UnixMillis(0)));
        let folder = made(1);
        let board = up(&folder, &clock);
        assert_ne!(board.random(32).unwrap(), board.random(32).unwrap());
        assert!(board.random(257).is_err());
    }
}
