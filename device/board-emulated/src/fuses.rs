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
/// Slots for the maker's root keys.
pub const ROOT_KEYS: usize = 2;
/// The fuses' file in the board's folder: with it the folder is an emulated board.
pub const FILE: &str = "fuses.cbor";
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
    /// That of the maker's second key, for the day on which the first one is revoked.
    pub second_root_key_hash: Option<[u8; 32]>,
    /// Serial number: 1 to 32 letters, digits and dashes.
    pub serial: String,
    /// The hardware unique key.
    pub huk: Secret<32>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    format: u8,
    root_key_hash: ByteBuf,
    #[serde(default)]
    second_root_key_hash: Option<ByteBuf>,
    #[serde(default)]
    revoked: [bool; ROOT_KEYS],
    serial: String,
    huk: Zeroizing<Vec<u8>>,
    life_cycle: LifeCycle,
    counters: [u64; COUNTERS],
}

/// The fuses of a board.
#[derive(Debug)]
pub struct Fuses {
    path: PathBuf,
    root_keys: [Option<[u8; 32]>; ROOT_KEYS],
    revoked: [bool; ROOT_KEYS],
    serial: String,
    huk: SecretPage,
    life_cycle: LifeCycle,
    counters: [u64; COUNTERS],
    exposed: bool,
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
            root_keys: [Some(blank.root_key_hash), blank.second_root_key_hash],
            revoked: [false; ROOT_KEYS],
            serial: blank.serial.clone(),
            huk: SecretPage::hold(&blank.huk)
                .map_err(|error| FuseError::Io(path.clone(), error))?,
            life_cycle: LifeCycle::Factory,
            counters: [0; COUNTERS],
            exposed: false,
            path,
        };
        fuses.store()?;
        Ok(fuses)
    }

    /// Reads the fuses of the board in `folder`. Where others than the owner could read or write
    /// the file, they can't any more; see [`Self::was_exposed`].
    pub fn open(folder: &Path) -> Result<Self, FuseError> {
        let path = folder.join(FILE);
        let (exposed, bytes) = match close_to_others(&path)
            .and_then(|exposed| fs::read(&path).map(|bytes| (exposed, Zeroizing::new(bytes))))
        {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(FuseError::Missing(folder.to_owned()));
            }
            Err(error) => return Err(FuseError::Io(path, error)),
        };
        let stored = decode(&bytes).map_err(|reason| FuseError::Damaged(path.clone(), reason))?;
        let damaged = |what| FuseError::Damaged(path.clone(), what);
        let huk = Secret::from_slice(&stored.huk).map_err(|_| damaged("HUK"))?;
        let hash =
            |bytes: ByteBuf| bytes.into_vec().try_into().map_err(|_| damaged("a root key's hash"));
        Ok(Self {
            root_keys: [
                Some(hash(stored.root_key_hash)?),
                stored.second_root_key_hash.map(hash).transpose()?,
            ],
            revoked: stored.revoked,
            serial: stored.serial,
            huk: SecretPage::hold(&huk).map_err(|error| FuseError::Io(path.clone(), error))?,
            life_cycle: stored.life_cycle,
            counters: stored.counters,
            exposed,
            path,
        })
    }

    /// SHA-256 of the maker's AVB public-key blobs that still count: burnt in, not revoked.
    #[must_use]
    pub fn root_key_hashes(&self) -> Vec<[u8; 32]> {
        let slots = self.root_keys.iter().zip(self.revoked);
        slots.filter(|(_, revoked)| !revoked).filter_map(|(key, _)| *key).collect()
    }

    /// What [`Self::root_key_hashes`] will be once the key in slot `number` is revoked.
    #[must_use]
    pub fn root_key_hashes_without(&self, number: usize) -> Vec<[u8; 32]> {
        let gone = number.checked_sub(1).and_then(|slot| *self.root_keys.get(slot)?);
        self.root_key_hashes().into_iter().filter(|key| Some(*key) != gone).collect()
    }

    /// Revokes the root key in slot `number` (1 or 2) for good: what it signed does not boot any
    /// more. The last key that counts stays.
    pub fn revoke_root_key(&mut self, number: usize) -> Result<(), FuseError> {
        let refuse = |reason: &str| Err(FuseError::WriteOnce(reason.into()));
        let Some(slot) = number
            .checked_sub(1)
            .filter(|slot| self.root_keys.get(*slot).is_some_and(Option::is_some))
        else {
            return refuse("this board has no root key in that slot; its slots are 1 and 2");
        };
        if self.revoked[slot] {
            return refuse("this root key was revoked before");
        }
        if self.root_key_hashes().len() == 1 {
            return refuse("this is the last root key that counts: without it nothing boots");
        }
        self.revoked[slot] = true;
        self.store().inspect_err(|_| self.revoked[slot] = false)
    }

    /// Whether others than the owner could read or write the file until it was opened.
    #[must_use]
    pub const fn was_exposed(&self) -> bool {
        self.exposed
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
            root_key_hash: ByteBuf::from(self.root_keys[0].unwrap_or_default()),
            second_root_key_hash: self.root_keys[1].map(ByteBuf::from),
            revoked: self.revoked,
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

/// Leaves a file to its owner alone (0600). Whether it was open to others.
pub(crate) fn close_to_others(path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::PermissionsExt;
    let open = fs::metadata(path)?.permissions().mode() & 0o077 != 0;
    if open {
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    }
    Ok(open)
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
    use board::secure::{BL1_COUNTER, TEE_COUNTER};

    fn blank() -> Blank {
        Blank {
            root_key_hash: [7; 32],
            second_root_key_hash: Some([8; 32]),
            serial: "HF-0001".into(),
            huk: Secret::new([9; 32]),
        }
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
    fn s2_2_a_root_key_is_revoked_for_good_and_the_last_one_stays() {
        let folder = tempfile::tempdir().unwrap();
        let mut fuses = Fuses::blow(folder.path(), &blank()).unwrap();
        assert_eq!(fuses.root_key_hashes(), [[7; 32], [8; 32]]);
        for number in [0, 3, usize::MAX] {
            assert!(fuses.revoke_root_key(number).is_err(), "{number}");
        }
        fuses.revoke_root_key(1).unwrap();
        assert!(fuses.revoke_root_key(1).is_err());
        let mut reread = Fuses::open(folder.path()).unwrap();
        assert_eq!(reread.root_key_hashes(), [[8; 32]]);
        assert!(reread.revoke_root_key(2).is_err());

        let alone = tempfile::tempdir().unwrap();
        let one = Blank { second_root_key_hash: None, ..blank() };
        let mut fuses = Fuses::blow(alone.path(), &one).unwrap();
        assert!(fuses.revoke_root_key(1).is_err());
        assert!(fuses.revoke_root_key(2).is_err());
        assert_eq!(Fuses::open(alone.path()).unwrap().root_key_hashes(), [[7; 32]]);
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
        assert!(!Fuses::open(&board).unwrap().was_exposed());
        for open_to_others in [0o644, 0o620, 0o606] {
            let file = board.join(FILE);
            fs::set_permissions(&file, fs::Permissions::from_mode(open_to_others)).unwrap();
            assert!(Fuses::open(&board).unwrap().was_exposed(), "{open_to_others:o}");
            assert_eq!(mode(&file), 0o600);
        }
    }
}
