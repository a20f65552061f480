//! The board's own silicon: fuses, crypto engine, RPMB, counter.

use crate::fuses::{FuseError, Fuses};
use crate::rpmb_store;
use board::silicon::{
    self, CryptoEngine, Huk, MonotonicCounter, Rpmb, Timer, Trng, check_label, check_random,
};
use board::{LifeCycle, SiliconError};
use board_tpm2::TpmError;
use crypto::kdf::hkdf_sha256;
use crypto::mac::hmac_sha256;
use crypto::secret::Secret;
use effects::{Clock, Entropy};
use rpmb::RpmbDevice;
use rpmb_chip::FileStore;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What the HUK is extracted with for keys that it gives.
const DERIVE: &[u8] = b"holdfast-huk-v1";
/// What it is extracted with for MACs.
const MAC: &[u8] = b"holdfast-huk-mac-v1";

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
    /// The TPM.
    #[error(transparent)]
    Tpm(#[from] TpmError),
    /// The files of two boards.
    #[error("{0}: here are the files of two boards, fuses.cbor and tpm2.cbor; one is not yours")]
    Ambiguous(PathBuf),
}

/// The emulated silicon of one board, powered.
pub struct EmulatedSilicon {
    fuses: Mutex<Fuses>,
    rpmb: Mutex<RpmbDevice<FileStore>>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    powered_at: Duration,
    /// Whether others could read the chip.
    exposed_chip: bool,
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
        let exposed_chip = rpmb_store::close_to_others(folder)?;
        let rpmb = Mutex::new(RpmbDevice::new(rpmb_store::open(folder)?));
        Ok(Self { fuses, rpmb, clock, entropy, powered_at, exposed_chip })
    }

    /// What of it is weaker than it should be, and how to mend that.
    #[must_use]
    pub fn weaknesses(&self) -> Vec<(String, String)> {
        let said = |what: &str, mend: &str| (what.to_owned(), mend.to_owned());
        let mut found = Vec::new();
        if !self.fuses().huk().is_unmapped_from_kernel() {
            found.push(said(
                "the board's HUK lies in locked memory, not in memfd_secret",
                "boot a kernel with CONFIG_SECRETMEM, and with secretmem.enable=1 before Linux 6.5",
            ));
        }
        if self.fuses().was_exposed() || self.exposed_chip {
            found.push(said(
                "others could read or write the board's files until this power-on",
                "the files are 0600 again; whoever read them has the HUK: make another board if \
                 that was somebody else",
            ));
        }
        found
    }

    pub(crate) fn fuses(&self) -> MutexGuard<'_, Fuses> {
        self.fuses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refused(error: impl ToString) -> SiliconError {
    SiliconError::Refused(error.to_string())
}

impl silicon::Fuses for EmulatedSilicon {
    fn root_key_hashes(&self) -> Result<Vec<[u8; 32]>, SiliconError> {
        Ok(self.fuses().root_key_hashes())
    }

    fn serial(&self) -> Result<String, SiliconError> {
        Ok(self.fuses().serial().to_owned())
    }

    fn life_cycle(&self) -> Result<LifeCycle, SiliconError> {
        Ok(self.fuses().life_cycle())
    }

    fn deploy(&self) -> Result<(), SiliconError> {
        self.fuses().deploy().map_err(refused)
    }
}

impl EmulatedSilicon {
    /// The HUK's key for `use_`, `label` and `context`. The label's length keeps the two apart.
    fn huk_key(
        &self,
        use_: &[u8],
        label: &str,
        context: &[u8],
    ) -> Result<Secret<32>, SiliconError> {
        check_label(label)?;
        let length = (label.len() as u64).to_be_bytes();
        let info: [&[u8]; 3] = [&length, label.as_bytes(), context];
        Ok(hkdf_sha256(self.fuses().huk().expose(), use_, &info))
    }
}

impl Huk for EmulatedSilicon {
    fn derive(&self, label: &str, context: &[u8]) -> Result<[u8; 32], SiliconError> {
        Ok(*self.huk_key(DERIVE, label, context)?.expose())
    }

    fn mac(&self, label: &str, data: &[u8]) -> Result<[u8; 32], SiliconError> {
        Ok(hmac_sha256(self.huk_key(MAC, label, &[])?.expose(), &[data]))
    }
}

impl Trng for EmulatedSilicon {
    fn random(&self, bytes: usize) -> Result<Vec<u8>, SiliconError> {
        check_random(bytes)?;
        let mut out = vec![0; bytes];
        self.entropy.fill(&mut out);
        Ok(out)
    }
}

impl MonotonicCounter for EmulatedSilicon {
    fn counter(&self, location: u8) -> Result<u64, SiliconError> {
        self.fuses().counter(location).map_err(refused)
    }

    fn raise_counter(&self, location: u8, value: u64) -> Result<(), SiliconError> {
        self.fuses().raise_counter(location, value).map_err(refused)
    }
}

impl Rpmb for EmulatedSilicon {
    fn rpmb(&self, frames: &[u8]) -> Result<Vec<u8>, SiliconError> {
        Ok(self.rpmb.lock().unwrap_or_else(PoisonError::into_inner).exchange(frames))
    }
}

impl CryptoEngine for EmulatedSilicon {}

impl Timer for EmulatedSilicon {
    fn uptime_ms(&self) -> Result<u64, SiliconError> {
        let since = self.clock.monotonic().saturating_sub(self.powered_at);
        Ok(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuses::Blank;
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
    fn s2_1_3_a_mac_is_bound_to_board_and_label_and_tells_nothing_of_a_key() {
        let clock = Arc::new(ManualClock::new(UnixMillis(0)));
        let (one, other) = (made(1), made(2));
        let mac = up(&one, &clock).mac("label", b"data").unwrap();
        assert_ne!(up(&other, &clock).mac("label", b"data").unwrap(), mac);
        let board = up(&one, &clock);
        assert_eq!(board.mac("label", b"data").unwrap(), mac);
        assert_ne!(board.mac("other", b"data").unwrap(), mac);
        assert_ne!(board.mac("label", b"").unwrap(), mac);
        let key = board.derive("label", b"").unwrap();
        assert_ne!(hmac_sha256(&key, &[b"data"]), mac);
        assert!(board.mac("", b"data").is_err());
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
