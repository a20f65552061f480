//! File contents: AES-256-XTS, each data unit by itself.

use crate::error::Error;
use crate::keys::FileKey;
use crypto::cipher::{Direction, xts_256};

/// Opens and seals the content of one file.
pub struct Contents(pub(crate) FileKey);

impl Contents {
    /// Decrypts the data unit with this index where it lies.
    pub fn open(&self, index: u64, unit: &mut [u8]) -> Result<(), Error> {
        self.work(index, unit, Direction::Decrypt)
    }

    /// Encrypts it. XTS protects no integrity: whoever alters a unit garbles 16 bytes of it.
    pub fn seal(&self, index: u64, unit: &mut [u8]) -> Result<(), Error> {
        self.work(index, unit, Direction::Encrypt)
    }

    fn work(&self, index: u64, unit: &mut [u8], direction: Direction) -> Result<(), Error> {
        let wrong = Error::Length { what: "data unit", length: unit.len() };
        if unit.is_empty() || !unit.len().is_multiple_of(16) {
            return Err(wrong);
        }
        let key = self.0.key[..].try_into().expect("XTS keys have 64 bytes");
        let vector = self.0.vector.of(index).ok_or(wrong)?;
        xts_256(key, &vector, direction, unit).map_err(|_| wrong)
    }
}

#[cfg(test)]
mod tests {
    use crate::{Context, Error, Flags, Mode, Owner, Policy, identifier};

    #[test]
    fn units_come_back_and_other_keys_and_lengths_are_refused() {
        let master = [7; 64];
        let flags = Flags::PAD_16.with_iv_ino_lblk_32();
        let policy = Policy::V2 {
            contents: Mode::AES_256_XTS,
            names: Mode::AES_256_CTS,
            flags,
            log2_data_unit: 9,
            identifier: identifier(&master),
        };
        let context = Context { policy, nonce: [3; 16] };
        let owner = Owner { uuid: [1; 16], inode: 9 };
        let contents = context.contents(&master, &owner).unwrap();
        let mut unit = [5; 512];
        contents.seal(4, &mut unit).unwrap();
        assert_ne!(unit, [5; 512]);
        contents.open(4, &mut unit).unwrap();
        assert_eq!(unit, [5; 512]);
        assert!(contents.open(u64::MAX, &mut unit).is_err());
        assert!(contents.open(0, &mut unit[..15]).is_err());
        assert_eq!(context.contents(&[8; 64], &owner).err(), Some(Error::OtherKey));
        let short = context.contents(&[8; 8], &owner).err();
        assert_eq!(short, Some(Error::Length { what: "master key", length: 8 }));
    }
}
