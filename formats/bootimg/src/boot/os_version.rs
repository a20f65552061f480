//! Version of the system and of its security patches, as headers pack them into 32 bits.

/// Version of the system and of its security patches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OsVersion {
    /// 0 to 127 each: 16.0.1 is `(16, 0, 1)`; (0, 0, 0) = none.
    pub version: (u8, u8, u8),
    /// Year (2000 to 2127) and month (1 to 12) of the security patches; (0, 0) = none.
    pub patch_level: (u16, u8),
}

impl OsVersion {
    /// The header's field; `None` if a number is out of range.
    #[must_use]
    pub fn pack(self) -> Option<u32> {
        let (a, b, c) = self.version;
        let (year, month) = self.patch_level;
        let fits = a < 128 && b < 128 && c < 128;
        let patch_level = match (year, month) {
            (0, 0) => 0,
            (2000..=2127, 1..=12) => u32::from(year - 2000) << 4 | u32::from(month),
            _ => return None,
        };
        let version = u32::from(a) << 14 | u32::from(b) << 7 | u32::from(c);
        fits.then_some(version << 11 | patch_level)
    }

    /// From the header's field; `None` if its month is none.
    #[must_use]
    pub fn unpack(packed: u32) -> Option<Self> {
        let seven = |shift: u32| (packed >> shift & 0x7f) as u8;
        let patch_level = match packed & 0x7ff {
            0 => (0, 0),
            _ => (2000 + u16::from(seven(4)), (packed & 0xf) as u8),
        };
        let version = Self { version: (seven(25), seven(18), seven(11)), patch_level };
        (version.pack() == Some(packed)).then_some(version)
    }
}
