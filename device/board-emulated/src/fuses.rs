//! The one-time-programmable fuses, in a file.
//!
//! `fuses.cbor` = CBOR of the fuses, then their CRC-32 in 4 bytes, big-endian. Written once at
//! manufacture; after that the life cycle moves forward and the counters rise, nothing else.
//! Every change is on the disk before it is answered.

use crate::secret_memory::SecretPage;
use board::LifeCycle;
use crypto::secret::Secret;
use effects::durable;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Anti-rollback counters.
pub const COUNTERS: usize = 8;
/// The counter that guards the level-1 bootloader.
pub const BL1_COUNTER: u8 = 0;
/// The counter that guards the TEE.
pub const TEE_COUNTER: u8 = 1;
const FILE: &str = "fuses.cbor";
const FORMAT: u8 = 1;

/// Why the fuses were not read or blown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FuseError {
    /// The board was never made.
    #[error("{0}: there is no board here; make one first (holdfast device make)")]
    Missing(PathBuf),
    /// Fuses are blown once.
    #[error("{0}: these fuses are blown already; a board is made once")]
    Blown(PathBuf),
    /// The file is not what was written.
    #[error("{0}: the fuses are damaged ({1}); this board is broken for good")]
    Damaged(PathBuf, &'static str),
    /// A counter would fall, or the life cycle go back.
    #[error("{0}")]
    WriteOnce(String),
    /// The operating system refused.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
}

/// What manufacture puts into a board.
#[derive(Debug)]
pub struct Blank {
    /// SHA-256 of the maker's AVB public-key blob.
    pub root_key_hash: [u8; 32],
    /// Serial number: 1 to 32 letters, digits and dashes.
    pub serial: String,
    /// The hardware unique key.
    pub huk: Secret<32>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    format: u8,
    root_key_hash: ByteBuf,
    serial: String,
    huk: Zeroizing<Vec<u8>>,
    life_cycle: LifeCycle,
    counters: [u64; COUNTERS],
}

/// The fuses of a board.
#[derive(Debug)]
pub struct Fuses {
    path: PathBuf,
    root_key_hash: [u8; 32],
    serial: String,
    huk: SecretPage,
    life_cycle: LifeCycle,
    counters: [u64; COUNTERS],
}

impl Fuses {
    /// Blows the fuses of a new board in `folder`, which is made (0700) where it is missing.
    pub fn blow(folder: &Path, blank: &Blank) -> Result<Self, FuseError> {
        let path = folder.join(FILE);
        let serial_ok = (1..=32).contains(&blank.serial.len())
            && blank.serial.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if !serial_ok {
            return Err(FuseError::WriteOnce(
                "a serial number has 1 to 32 letters, digits and dashes".into(),
            ));
        }
        make_private_folder(folder).map_err(|error| FuseError::Io(folder.to_owned(), error))?;
        if path.exists() {
            return Err(FuseError::Blown(path));
        }
        let fuses = Self {
            root_key_hash: blank.root_key_hash,
            serial: blank.serial.clone(),
            huk: SecretPage::hold(&blank.huk)
                .map_err(|error| FuseError::Io(path.clone(), error))?,
            life_cycle: LifeCycle::Factory,
            counters: [0; COUNTERS],
            path,
        };
        fuses.store()?;
        Ok(fuses)
    }

    /// Reads the fuses of the board in `folder`.
    pub fn open(folder: &Path) -> Result<Self, FuseError> {
        let path = folder.join(FILE);
        let bytes = match fs::read(&path) {
            Ok(bytes) => Zeroizing::new(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(FuseError::Missing(folder.to_owned()));
            }
            Err(error) => return Err(FuseError::Io(path, error)),
        };
        let stored = decode(&bytes).map_err(|reason| FuseError::Damaged(path.clone(), reason))?;
        let damaged = |what| FuseError::Damaged(path.clone(), what);
        let huk = Secret::from_slice(&stored.huk).map_err(|_| damaged("HUK"))?;
        Ok(Self {
            root_key_hash: stored
                .root_key_hash
                .into_vec()
                .try_into()
                .map_err(|_| damaged("root key hash"))?,
            serial: stored.serial,
            huk: SecretPage::hold(&huk).map_err(|error| FuseError::Io(path.clone(), error))?,
            life_cycle: stored.life_cycle,
            counters: stored.counters,
            path,
        })
    }

    /// SHA-256 of the maker's AVB public-key blob.
    #[must_use]
    pub const fn root_key_hash(&self) -> &[u8; 32] {
        &self.root_key_hash
    }

    /// The serial number.
    #[must_use]
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// The page with the HUK, for the crypto engine only.
    pub(crate) const fn huk(&self) -> &SecretPage {
        &self.huk
    }

    /// Where in its life the board is.
    #[must_use]
    pub const fn life_cycle(&self) -> LifeCycle {
        self.life_cycle
    }

    /// Leaves the factory. There is no way back.
    pub fn deploy(&mut self) -> Result<(), FuseError> {
        if self.life_cycle == LifeCycle::Deployed {
            return Err(FuseError::WriteOnce("the board is deployed already".into()));
        }
        self.life_cycle = LifeCycle::Deployed;
        self.store().inspect_err(|_| self.life_cycle = LifeCycle::Factory)
    }

    /// The anti-rollback counter `location`.
    pub fn counter(&self, location: u8) -> Result<u64, FuseError> {
        self.counters
            .get(usize::from(location))
            .copied()
            .ok_or_else(|| FuseError::WriteOnce(format!("there is no fuse counter {location}")))
    }

    /// Raises the anti-rollback counter `location` to `value`.
    pub fn raise_counter(&mut self, location: u8, value: u64) -> Result<(), FuseError> {
        let old = self.counter(location)?;
        if value < old {
            return Err(FuseError::WriteOnce(format!(
                "fuse counter {location} stands at {old} and can't fall to {value}"
            )));
        }
        if value == old {
            return Ok(());
        }
        self.counters[usize::from(location)] = value;
        self.store().inspect_err(|_| self.counters[usize::from(location)] = old)
    }

    fn store(&self) -> Result<(), FuseError> {
        let stored = Stored {
            format: FORMAT,
            root_key_hash: ByteBuf::from(self.root_key_hash),
            serial: self.serial.clone(),
            huk: Zeroizing::new(self.huk.expose().to_vec()),
            life_cycle: self.life_cycle,
            counters: self.counters,
        };
        // Room from the start: a growing vector would leave copies of the HUK behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(1024));
        ciborium::into_writer(&stored, &mut *bytes).expect("a vector takes what is written");
        let crc = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&crc.to_be_bytes());
        durable::replace(&self.path, &bytes, 0o600)
            .map_err(|error| FuseError::Io(self.path.clone(), error))
    }
}

fn decode(bytes: &[u8]) -> Result<Stored, &'static str> {
    let (body, crc) = bytes.split_last_chunk::<4>().ok_or("too short")?;
    if crc32fast::hash(body) != u32::from_be_bytes(*crc) {
        return Err("CRC");
    }
    let mut rest = body;
    let stored: Stored = ciborium::from_reader(&mut rest).map_err(|_| "CBOR")?;
    match (rest.is_empty(), stored.format) {
        (true, FORMAT) => Ok(stored),
        (true, _) => Err("another format"),
        (false, _) => Err("bytes behind the end"),
    }
}

/// Makes a folder that only its owner can enter.
pub fn make_private_folder(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blank() -> Blank {
        Blank { root_key_hash: [7; 32], serial: "HF-0001".into(), huk: Secret::new([9; 32]) }
    }

    #[test]
    fn s2_1_3_fuses_are_blown_once() {
        let folder = tempfile::tempdir().unwrap();
        Fuses::blow(folder.path(), &blank()).unwrap();
        let again = Fuses::blow(folder.path(), &Blank { huk: Secret::random(), ..blank() });
        assert!(matches!(again, Err(FuseError::Blown(_))));
        assert_eq!(Fuses::open(folder.path()).unwrap().huk().expose(), &[9; 32]);
    }

    #[test]
    fn counters_only_rise_and_the_life_cycle_only_moves_on() {
        let folder = tempfile::tempdir().unwrap();
        let mut fuses = Fuses::blow(folder.path(), &blank()).unwrap();
        fuses.raise_counter(TEE_COUNTER, 5).unwrap();
        assert!(fuses.raise_counter(TEE_COUNTER, 4).is_err());
        assert!(fuses.raise_counter(8, 1).is_err());
        fuses.deploy().unwrap();
        assert!(fuses.deploy().is_err());
        let reread = Fuses::open(folder.path()).unwrap();
        assert_eq!(reread.counter(TEE_COUNTER).unwrap(), 5);
        assert_eq!(reread.counter(BL1_COUNTER).unwrap(), 0);
        assert_eq!(reread.life_cycle(), LifeCycle::Deployed);
    }

    #[test]
    fn refuses_fuses_with_one_altered_bit() {
        let folder = tempfile::tempdir().unwrap();
        Fuses::blow(folder.path(), &blank()).unwrap();
        let path = folder.path().join(FILE);
        let good = fs::read(&path).unwrap();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, &bad).unwrap();
            assert!(matches!(Fuses::open(folder.path()), Err(FuseError::Damaged(..))), "{bit}");
        }
    }

    #[test]
    fn only_the_owner_can_look() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let board = folder.path().join("board");
        Fuses::blow(&board, &blank()).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&board), mode(&board.join(FILE))), (0o700, 0o600));
        assert!(!format!("{:?}", Fuses::open(&board).unwrap()).contains("9, 9"));
    }
}
