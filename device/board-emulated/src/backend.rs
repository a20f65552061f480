//! What a board stands on: files alone, or a TPM 2.0 beside them.
//!
//! It is chosen at manufacture; the files in the board's folder say which it was. ROM, power,
//! screens and radio are the same on both.

use crate::fuses::{FILE, FuseError};
use crate::silicon::{EmulatedSilicon, PowerUpError};
use board::{Silicon, SiliconError};
use board_tpm2::record;
use board_tpm2::{Address, TpmError, TpmSilicon};
use effects::{Clock, Entropy};
use serde::Serialize;
use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

/// What a board stands on: `emulated`, or `tpm2=` and where the TPM is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Backend {
    /// Files with tight permissions.
    #[default]
    Emulated,
    /// A TPM 2.0 for HUK, fuses and counters.
    Tpm2(Address),
}

/// The kind of a [`Backend`], for the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// See [`Backend::Emulated`].
    Emulated,
    /// See [`Backend::Tpm2`].
    Tpm2,
}

impl Backend {
    /// What the board in `folder` was made on.
    pub fn of(folder: &Path) -> Result<Self, PowerUpError> {
        let there = |file| folder.join(file).exists();
        match (there(FILE), there(record::FILE)) {
            (true, true) => Err(PowerUpError::Ambiguous(folder.to_owned())),
            (false, true) => Ok(Self::Tpm2(record::address(folder)?)),
            (true, false) => Ok(Self::Emulated),
            (false, false) => Err(FuseError::Missing(folder.to_owned()).into()),
        }
    }
}

impl FromStr for Backend {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            None if text == "emulated" => Ok(Self::Emulated),
            Some(("tpm2", address)) => address
                .parse()
                .map(Self::Tpm2)
                .map_err(|error: board_tpm2::address::BadAddress| error.to_string()),
            _ => Err("emulated, or tpm2=ADDRESS as in tpm2=device:/dev/tpmrm0".to_owned()),
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Emulated => f.write_str("emulated"),
            Self::Tpm2(address) => write!(f, "tpm2={address}"),
        }
    }
}

/// A board with power.
pub enum Powered {
    /// On files alone.
    Emulated(Box<EmulatedSilicon>),
    /// On a TPM.
    Tpm2(Box<TpmSilicon>),
}

impl Powered {
    /// Powers the board in `folder` up.
    pub fn up(
        folder: &Path,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, PowerUpError> {
        Ok(match Backend::of(folder)? {
            Backend::Emulated => {
                Self::Emulated(Box::new(EmulatedSilicon::power_up(folder, clock, entropy)?))
            }
            Backend::Tpm2(_) => Self::Tpm2(Box::new(TpmSilicon::power_up(folder, clock, entropy)?)),
        })
    }

    /// Which kind it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Emulated(_) => Kind::Emulated,
            Self::Tpm2(_) => Kind::Tpm2,
        }
    }

    /// What the trusted side can ask.
    #[must_use]
    pub fn silicon(&self) -> &dyn Silicon {
        match self {
            Self::Emulated(silicon) => &**silicon,
            Self::Tpm2(silicon) => &**silicon,
        }
    }

    /// What of it is weaker than it should be, and how to mend that.
    #[must_use]
    pub fn weaknesses(&self) -> Vec<(String, String)> {
        match self {
            Self::Emulated(silicon) => silicon.weaknesses(),
            Self::Tpm2(_) => Vec::new(),
        }
    }

    /// SHA-256 of the root keys that are left once the one in slot `number` is revoked.
    pub fn root_key_hashes_without(&self, number: usize) -> Result<Vec<[u8; 32]>, SiliconError> {
        match self {
            Self::Emulated(silicon) => Ok(silicon.fuses().root_key_hashes_without(number)),
            Self::Tpm2(silicon) => silicon.root_key_hashes_without(number),
        }
    }

    /// Blows the fuse that revokes the root key in slot `number` (1 or 2).
    pub fn revoke_root_key(&self, number: usize) -> Result<(), PowerUpError> {
        match self {
            Self::Emulated(silicon) => Ok(silicon.fuses().revoke_root_key(number)?),
            Self::Tpm2(silicon) => Ok(silicon.revoke_root_key(number)?),
        }
    }
}

/// Takes what a board that is thrown away put into its TPM out of it, where there is one.
pub fn discard(folder: &Path) -> Result<(), TpmError> {
    match Backend::of(folder) {
        Ok(Backend::Tpm2(_)) => board_tpm2::discard(folder),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuses::{Blank, Fuses};
    use crate::rpmb_store;
    use crypto::secret::Secret;
    use effects::{SystemClock, SystemEntropy};

    #[test]
    fn a_backend_reads_as_it_is_written_and_others_are_refused() {
        for text in ["emulated", "tpm2=device:/dev/tpmrm0", "tpm2=swtpm:localhost:2321"] {
            assert_eq!(text.parse::<Backend>().unwrap().to_string(), text);
        }
        for text in ["", "tpm2", "tpm2=", "tpm2=tpm0", "emulated=files", "Emulated"] {
            assert!(text.parse::<Backend>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_folder_says_what_its_board_stands_on() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(Backend::of(folder.path()), Err(PowerUpError::Fuses(_))));
        let blank = Blank {
            root_key_hash: [1; 32],
            second_root_key_hash: None,
            serial: "S".into(),
            huk: Secret::new([7; 32]),
        };
        Fuses::blow(folder.path(), &blank).unwrap();
        rpmb_store::create(folder.path()).unwrap();
        assert_eq!(Backend::of(folder.path()).unwrap(), Backend::Emulated);
        let clock = Arc::new(SystemClock::default());
        let up = Powered::up(folder.path(), clock, Arc::new(SystemEntropy)).unwrap();
        assert_eq!(up.kind(), Kind::Emulated);
        std::fs::write(folder.path().join("tpm2.cbor"), "").unwrap();
        assert!(matches!(Backend::of(folder.path()), Err(PowerUpError::Ambiguous(_))));
    }
}
