//! Policies and contexts (`fscrypt_policy_v1`, `fscrypt_policy_v2`, `fscrypt_context`).

use crate::error::Error;

/// Bytes of a policy of version 1, of version 2, and of a nonce.
const V1_BYTES: usize = 12;
const V2_BYTES: usize = 24;
const NONCE_BYTES: usize = 16;
const CONTEXT_V1: u8 = 1;
const CONTEXT_V2: u8 = 2;

/// An encryption mode, by the kernel's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mode(u8);

impl Mode {
    /// Contents: AES-256-XTS.
    pub const AES_256_XTS: Self = Self(1);
    /// Names: AES-256-CBC-CTS.
    pub const AES_256_CTS: Self = Self(4);
    /// Names: AES-256-HCTR2, where the kernel has it.
    pub const AES_256_HCTR2: Self = Self(10);

    /// The kernel's number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    fn decode(number: u8, field: &'static str) -> Result<Self, Error> {
        // 1 and 4 to 10: FSCRYPT_MODE_*; 2 and 3 were never used.
        match number {
            1 | 4..=10 => Ok(Self(number)),
            value => Err(Error::Field { field, value }),
        }
    }
}

/// A policy's flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Flags(u8);

impl Flags {
    /// Names are filled up to a multiple of 4 bytes.
    pub const PAD_4: Self = Self(0);
    /// To 8 bytes.
    pub const PAD_8: Self = Self(1);
    /// To 16 bytes.
    pub const PAD_16: Self = Self(2);
    /// To 32 bytes.
    pub const PAD_32: Self = Self(3);
    const PAD_MASK: u8 = 3;
    const DIRECT_KEY: u8 = 0x04;
    const IV_INO_LBLK_64: u8 = 0x08;
    const IV_INO_LBLK_32: u8 = 0x10;

    /// One key for all files of a mode; the inode's number is in the initial vector.
    #[must_use]
    pub const fn with_iv_ino_lblk_64(self) -> Self {
        Self(self.0 | Self::IV_INO_LBLK_64)
    }

    /// One key for all files of a mode; a hash of the inode's number is in the 32 bits of the
    /// initial vector.
    #[must_use]
    pub const fn with_iv_ino_lblk_32(self) -> Self {
        Self(self.0 | Self::IV_INO_LBLK_32)
    }

    /// As the kernel keeps them.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Names are filled up to a multiple of so many bytes.
    #[must_use]
    pub const fn padding(self) -> usize {
        4 << (self.0 & Self::PAD_MASK)
    }

    pub(crate) const fn is_lblk_64(self) -> bool {
        self.0 & Self::IV_INO_LBLK_64 != 0
    }

    pub(crate) const fn is_lblk_32(self) -> bool {
        self.0 & Self::IV_INO_LBLK_32 != 0
    }

    pub(crate) const fn is_direct_key(self) -> bool {
        self.0 & Self::DIRECT_KEY != 0
    }

    fn decode(bits: u8, version: u8) -> Result<Self, Error> {
        let flags = Self(bits);
        let known = if version == CONTEXT_V1 { 0x07 } else { 0x1f };
        let ways = bits & (Self::DIRECT_KEY | Self::IV_INO_LBLK_64 | Self::IV_INO_LBLK_32);
        match bits & !known == 0 && ways.count_ones() <= 1 {
            true => Ok(flags),
            false => Err(Error::Field { field: "flags", value: bits }),
        }
    }
}

/// How a directory tree is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Policy {
    /// Version 1: the key is only named, and derivation is reversible.
    V1 {
        /// Of file contents.
        contents: Mode,
        /// Of names and symbolic links.
        names: Mode,
        /// Padding and more.
        flags: Flags,
        /// The master key's name, chosen by whoever made it.
        descriptor: [u8; 8],
    },
    /// Version 2.
    V2 {
        /// Of file contents.
        contents: Mode,
        /// Of names and symbolic links.
        names: Mode,
        /// Padding and more.
        flags: Flags,
        /// Bytes of a data unit are two to this; 0: a block of the file system.
        log2_data_unit: u8,
        /// The master key's name, derived from it.
        identifier: [u8; 16],
    },
}

impl Policy {
    /// From the 12 or 24 bytes that the kernel's ioctls take.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let wrong = Error::Length { what: "policy", length: bytes.len() };
        let [version, contents, names, flags, rest @ ..] = bytes else { return Err(wrong) };
        let contents = Mode::decode(*contents, "contents mode")?;
        let names = Mode::decode(*names, "names mode")?;
        let flags = Flags::decode(*flags, (*version).max(CONTEXT_V1))?;
        match (*version, bytes.len()) {
            // The ioctls say 0 for version 1, the context says 1.
            (0 | CONTEXT_V1, V1_BYTES) => {
                let descriptor = rest.try_into().map_err(|_| wrong)?;
                Ok(Self::V1 { contents, names, flags, descriptor })
            }
            (CONTEXT_V2, V2_BYTES) => Self::decode_v2(contents, names, flags, rest),
            (0..=CONTEXT_V2, _) => Err(wrong),
            (value, _) => Err(Error::Field { field: "version", value }),
        }
    }

    fn decode_v2(contents: Mode, names: Mode, flags: Flags, rest: &[u8]) -> Result<Self, Error> {
        let wrong = Error::Length { what: "policy", length: rest.len() + 4 };
        let [log2_data_unit, reserved @ ..] = rest else { return Err(wrong) };
        let (reserved, identifier) = reserved.split_first_chunk::<3>().ok_or(wrong)?;
        if let Some(value) = reserved.iter().find(|byte| **byte != 0) {
            return Err(Error::Field { field: "reserved", value: *value });
        }
        if !matches!(*log2_data_unit, 0 | 9..=16) {
            return Err(Error::Field { field: "log2 of the data unit", value: *log2_data_unit });
        }
        let identifier = identifier.try_into().map_err(|_| wrong)?;
        Ok(Self::V2 { contents, names, flags, log2_data_unit: *log2_data_unit, identifier })
    }

    /// As a context has it. For the ioctls the first byte of version 1 is 0.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let head = |version, contents: &Mode, names: &Mode, flags: &Flags| {
            vec![version, contents.0, names.0, flags.0]
        };
        match self {
            Self::V1 { contents, names, flags, descriptor } => {
                let mut out = head(CONTEXT_V1, contents, names, flags);
                out.extend(descriptor);
                out
            }
            Self::V2 { contents, names, flags, log2_data_unit, identifier } => {
                let mut out = head(CONTEXT_V2, contents, names, flags);
                out.extend([*log2_data_unit, 0, 0, 0]);
                out.extend(identifier);
                out
            }
        }
    }

    pub(crate) const fn flags(&self) -> Flags {
        match self {
            Self::V1 { flags, .. } | Self::V2 { flags, .. } => *flags,
        }
    }

    pub(crate) const fn modes(&self) -> (Mode, Mode) {
        match self {
            Self::V1 { contents, names, .. } | Self::V2 { contents, names, .. } => {
                (*contents, *names)
            }
        }
    }

    /// Bytes of a data unit on a file system with blocks of `block_bytes`.
    #[must_use]
    pub const fn data_unit_bytes(&self, block_bytes: usize) -> usize {
        match self {
            Self::V2 { log2_data_unit: 1.., .. } => {
                let Self::V2 { log2_data_unit, .. } = self else { return block_bytes };
                1 << *log2_data_unit
            }
            _ => block_bytes,
        }
    }
}

/// What an encrypted file, directory or link carries: the policy and its own nonce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Context {
    /// Its policy.
    pub policy: Policy,
    /// Its nonce.
    pub nonce: [u8; 16],
}

impl Context {
    /// From the 28 or 40 bytes of the hidden attribute.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let wrong = Error::Length { what: "context", length: bytes.len() };
        let (policy, nonce) =
            bytes.len().checked_sub(NONCE_BYTES).map(|at| bytes.split_at(at)).ok_or(wrong)?;
        if policy.first() == Some(&0) {
            return Err(Error::Field { field: "version", value: 0 });
        }
        let nonce = nonce.try_into().map_err(|_| wrong)?;
        Ok(Self { policy: Policy::decode(policy)?, nonce })
    }

    /// As it stands in the hidden attribute.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.policy.encode();
        out.extend(self.nonce);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_decodes_encodes_to_the_same_bytes(bytes in prop::collection::vec(any::<u8>(), 0..48)) {
            if let Ok(context) = Context::decode(&bytes) {
                prop_assert_eq!(context.encode(), bytes);
            }
        }

        #[test]
        fn contexts_come_back(names in prop::sample::select(vec![4_u8, 9, 10]), pad in 0..4_u8,
                              way in prop::sample::select(vec![0_u8, 8, 16]), unit in prop::sample::select(vec![0_u8, 9, 12]),
                              identifier: [u8; 16], nonce: [u8; 16]) {
            let mut bytes = vec![2, 1, names, pad | way, unit, 0, 0, 0];
            bytes.extend(identifier);
            bytes.extend(nonce);
            let context = Context::decode(&bytes).unwrap();
            prop_assert_eq!(context.nonce, nonce);
            prop_assert_eq!(context.policy.flags().padding(), 4 << pad);
            prop_assert_eq!(context.encode(), bytes);
        }
    }

    #[test]
    fn impossible_policies_are_refused_with_their_field() {
        let good = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = vec![2, 1, 4, 3, 0, 0, 0, 0];
            bytes.extend([7; 32]);
            change(&mut bytes);
            Context::decode(&bytes)
        };
        assert!(good(&|_| ()).is_ok());
        let field = |field, value| Err(Error::Field { field, value });
        assert_eq!(good(&|it| it[0] = 3), field("version", 3));
        assert_eq!(good(&|it| it[0] = 0), field("version", 0));
        assert_eq!(good(&|it| it[1] = 2), field("contents mode", 2));
        assert_eq!(good(&|it| it[2] = 11), field("names mode", 11));
        assert_eq!(good(&|it| it[3] = 0x18), field("flags", 0x18));
        assert_eq!(good(&|it| it[4] = 8), field("log2 of the data unit", 8));
        assert_eq!(good(&|it| it[7] = 1), field("reserved", 1));
        assert!(good(&|it| it.push(0)).is_err());
        assert!(good(&|it| it[0] = 1).is_err());
    }
}
