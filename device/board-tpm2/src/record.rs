//! What the board remembers outside its TPM: `tpm2.cbor`, CBOR and behind it a MAC under the HUK.
//!
//! None of it is secret. What is altered is found by the MAC, which the TPM makes; serial number
//! and root keys are measured besides ([`crate::measure`]). Where the TPM is stands in
//! `tpm2.address`, one line, which may be edited: a TPM that moved is the same TPM.

use crate::address::Address;
use crate::commands::Object;
use crate::error::TpmError;
use crate::measure;
use effects::durable;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::fs;
use std::io;
use std::path::Path;

/// The record's file in the board's folder: with it the folder is a board on a TPM.
pub const FILE: &str = "tpm2.cbor";
const ADDRESS: &str = "tpm2.address";
const FORMAT: u8 = 1;
/// The longest record; real ones have some 300 bytes.
const MAX_BYTES: u64 = 64 * 1024;
const MAC_BYTES: usize = 32;

/// Places and names of what the TPM holds, and what was measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    format: u8,
    /// The serial number.
    pub serial: String,
    root_keys: Vec<ByteBuf>,
    /// The storage key.
    pub anchor: Place,
    /// The hardware unique key.
    pub huk: Place,
    /// The NV bit field with life cycle and revoked keys.
    pub fuses: u32,
    /// The NV counters behind the monotonic counters.
    pub counters: [u32; 2],
    /// What each of them showed when its monotonic counter stood at 0.
    pub bases: [u64; 2],
    /// The NV counter that the RPMB chip is sealed to.
    pub chip: u32,
}

/// Where an object is, and its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// The persistent handle.
    pub handle: u32,
    name: ByteBuf,
}

impl From<&Object> for Place {
    fn from(object: &Object) -> Self {
        Self { handle: object.handle, name: ByteBuf::from(object.name.clone()) }
    }
}

impl From<&Place> for Object {
    fn from(place: &Place) -> Self {
        Self { handle: place.handle, name: place.name.to_vec() }
    }
}

impl Record {
    /// A record of what was measured; places come later.
    pub(crate) fn new(serial: &str, root_keys: &[[u8; 32]], anchor: Place, huk: Place) -> Self {
        Self {
            format: FORMAT,
            serial: serial.to_owned(),
            root_keys: root_keys.iter().map(ByteBuf::from).collect(),
            anchor,
            huk,
            fuses: 0,
            counters: [0; 2],
            bases: [0; 2],
            chip: 0,
        }
    }

    /// SHA-256 of the maker's root keys, in their slots.
    #[must_use]
    pub fn root_keys(&self) -> Vec<[u8; 32]> {
        self.root_keys.iter().filter_map(|key| key[..].try_into().ok()).collect()
    }

    /// What [`measure::PCR`] is extended with at power-on.
    #[must_use]
    pub fn event(&self) -> [u8; 32] {
        measure::event(&self.serial, &self.root_keys())
    }

    /// The bytes that the MAC is over.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(512);
        ciborium::into_writer(self, &mut bytes).expect("a vector takes what is written");
        bytes
    }

    /// Reads a record and the MAC behind it. Nothing is checked but the form.
    pub fn decode(bytes: &[u8]) -> Result<(Self, [u8; MAC_BYTES]), &'static str> {
        let (body, mac) = bytes.split_last_chunk().ok_or("too short")?;
        let mut rest = body;
        let record: Self = ciborium::from_reader(&mut rest).map_err(|_| "CBOR")?;
        if !rest.is_empty() {
            return Err("bytes behind its end");
        }
        if record.format != FORMAT {
            return Err("another format");
        }
        let keys = record.root_keys.len();
        if !(1..=2).contains(&keys) || record.root_keys().len() != keys {
            return Err("its root keys");
        }
        Ok((record, *mac))
    }

    /// Reads the record of the board in `folder`, with the bytes that its MAC is over.
    pub fn read(folder: &Path) -> Result<(Self, [u8; MAC_BYTES]), TpmError> {
        let path = folder.join(FILE);
        let bytes = match read_short(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(TpmError::NoBoard(folder.to_owned()));
            }
            read => read.map_err(|error| TpmError::Io(path.clone(), error))?,
        };
        Self::decode(&bytes).map_err(|what| TpmError::Damaged(path, what))
    }

    /// Writes the record of the board in `folder`, for its owner alone.
    pub(crate) fn write(&self, folder: &Path, mac: &[u8; MAC_BYTES]) -> Result<(), TpmError> {
        let (path, bytes) = (folder.join(FILE), [&self.encode()[..], mac].concat());
        durable::replace(&path, &bytes, 0o600).map_err(|error| TpmError::Io(path, error))
    }
}

/// Where the TPM of the board in `folder` is.
pub fn address(folder: &Path) -> Result<Address, TpmError> {
    let path = folder.join(ADDRESS);
    let bytes = read_short(&path).map_err(|error| TpmError::Io(path, error))?;
    Ok(String::from_utf8_lossy(&bytes).trim_end().parse::<Address>()?)
}

/// Remembers where the TPM of the board in `folder` is.
pub(crate) fn put_address(folder: &Path, address: &Address) -> Result<(), TpmError> {
    let path = folder.join(ADDRESS);
    durable::replace(&path, format!("{address}\n").as_bytes(), 0o600)
        .map_err(|error| TpmError::Io(path, error))
}

fn read_short(path: &Path) -> io::Result<Vec<u8>> {
    use io::Read;
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record() -> Record {
        let place = Object { handle: 0x8100_4800, name: vec![7; 34] };
        let mut record =
            Record::new("HF-1", &[[1; 32], [2; 32]], Place::from(&place), Place::from(&place));
        record.bases = [3, u64::MAX];
        record
    }

    #[test]
    fn a_record_reads_as_it_was_written_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(Record::read(folder.path()), Err(TpmError::NoBoard(_))));
        record().write(folder.path(), &[9; 32]).unwrap();
        assert_eq!(Record::read(folder.path()).unwrap(), (record(), [9; 32]));
        put_address(folder.path(), &Address::Tcp("localhost:1".into())).unwrap();
        assert_eq!(address(folder.path()).unwrap(), Address::Tcp("localhost:1".into()));
        for file in [FILE, ADDRESS] {
            let mode = fs::metadata(folder.path().join(file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn refuses_other_numbers_and_sizes_of_root_keys() {
        let with = |keys: Vec<ByteBuf>| {
            let record = Record { root_keys: keys, ..record() };
            Record::decode(&[&record.encode()[..], &[0; 32]].concat())
        };
        assert!(with(vec![ByteBuf::from([1; 32])]).is_ok());
        assert!(with(vec![]).is_err());
        assert!(with(vec![ByteBuf::from([1; 31])]).is_err());
        assert!(with(vec![ByteBuf::from([1; 32]); 3]).is_err());
    }

    proptest! {
        #[test]
        fn any_file_is_a_record_or_refused(bytes: Vec<u8>, at: usize, flip: u8) {
            let _ = Record::decode(&bytes);
            let mut altered = [&record().encode()[..], &[0; 32]].concat();
            let at = at % altered.len();
            altered[at] ^= flip;
            let _ = Record::decode(&altered);
        }
    }
}
