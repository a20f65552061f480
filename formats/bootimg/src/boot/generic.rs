//! `boot` and `init_boot` of version 3 and 4: kernel, ramdisk and, in version 4, a boot signature.

use super::fields::{Reader, put_part, put_text, size, take_part};
use super::{BOOT_MAGIC, BootImageError, OsVersion, PAGE_BYTES, whole};

/// The longest kernel command line, without the NUL that ends it.
pub const CMDLINE_MAX_BYTES: usize = 1535;

const CMDLINE_FIELD: usize = 1536;
const V3_HEADER_BYTES: u32 = 1580;
/// What mkbootimg of Android 11 wrote into the header of version 3, which had 1580 bytes even so.
const V3_HEADER_BYTES_OF_ANDROID_11: u32 = 1596;
const V4_HEADER_BYTES: u32 = 1584;

/// Version of the header.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HeaderVersion {
    /// 3.
    V3,
    /// 3 with the header size that mkbootimg of Android 11 wrote: 16 too many.
    V3OfAndroid11,
    /// 4.
    #[default]
    V4,
}

impl HeaderVersion {
    /// 3 or 4.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::V3 | Self::V3OfAndroid11 => 3,
            Self::V4 => 4,
        }
    }

    /// What the header says of its own size, in bytes.
    #[must_use]
    pub const fn header_bytes(self) -> u32 {
        match self {
            Self::V3 => V3_HEADER_BYTES,
            Self::V3OfAndroid11 => V3_HEADER_BYTES_OF_ANDROID_11,
            Self::V4 => V4_HEADER_BYTES,
        }
    }
}

/// A boot image of version 3 or 4.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BootImage<'a> {
    /// Version of its header.
    pub version: HeaderVersion,
    /// The kernel; empty in `init_boot`.
    pub kernel: &'a [u8],
    /// The ramdisk; may be empty.
    pub ramdisk: &'a [u8],
    /// Version of the system and of its security patches.
    pub os_version: OsVersion,
    /// Kernel command line. A boot loader that trusts vbmeta takes its command line instead.
    pub cmdline: &'a str,
    /// Version 4: a vbmeta image of the generic kernel; may be empty.
    pub signature: &'a [u8],
}

impl<'a> BootImage<'a> {
    /// The image's bytes.
    pub fn encode(&self) -> Result<Vec<u8>, BootImageError> {
        if self.cmdline.len() > CMDLINE_MAX_BYTES {
            return Err(BootImageError::Field("cmdline"));
        }
        let os_version = self.os_version.pack().ok_or(BootImageError::Field("os_version"))?;
        let mut out = Vec::with_capacity(self.kernel.len() + self.ramdisk.len() + 4 * PAGE_BYTES);
        out.extend(BOOT_MAGIC);
        out.extend(size(self.kernel, "kernel")?.to_le_bytes());
        out.extend(size(self.ramdisk, "ramdisk")?.to_le_bytes());
        out.extend(os_version.to_le_bytes());
        out.extend(self.version.header_bytes().to_le_bytes());
        out.extend([0; 16]);
        out.extend(self.version.number().to_le_bytes());
        put_text(&mut out, self.cmdline, CMDLINE_FIELD, "cmdline")?;
        match self.version {
            HeaderVersion::V4 => out.extend(size(self.signature, "signature")?.to_le_bytes()),
            _ if self.signature.is_empty() => {}
            _ => return Err(BootImageError::Field("signature_size")),
        }
        out.resize(PAGE_BYTES, 0);
        for part in [self.kernel, self.ramdisk, self.signature] {
            put_part(&mut out, part, PAGE_BYTES);
        }
        Ok(out)
    }

    /// Reads an image that ends where `bytes` end.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BootImageError> {
        whole(Self::parse_prefix(bytes)?)
    }

    /// Reads the image at the start of `bytes`; what follows comes beside it.
    pub fn parse_prefix(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), BootImageError> {
        if !bytes.starts_with(&BOOT_MAGIC) {
            return Err(BootImageError::Magic);
        }
        let (header, mut rest) =
            bytes.split_at_checked(PAGE_BYTES).ok_or(BootImageError::Size("header"))?;
        let mut fields = Reader::new(header, 8);
        let (kernel, ramdisk) = (fields.u32()?, fields.u32()?);
        let (os_version, header_bytes) = (fields.u32()?, fields.u32()?);
        let reserved = fields.array::<16>()?;
        let version = version(fields.u32()?, header_bytes)?;
        if reserved != [0; 16] {
            return Err(BootImageError::Padding("header"));
        }
        let cmdline = fields.text(CMDLINE_FIELD, "cmdline")?;
        if cmdline.len() > CMDLINE_MAX_BYTES {
            return Err(BootImageError::Field("cmdline"));
        }
        let (signature, end) = match version {
            HeaderVersion::V4 => (fields.u32()?, V4_HEADER_BYTES),
            _ => (0, V3_HEADER_BYTES),
        };
        fields.ends(end)?;
        let image = Self {
            version,
            cmdline,
            os_version: OsVersion::unpack(os_version).ok_or(BootImageError::Field("os_version"))?,
            kernel: take_part(&mut rest, kernel, PAGE_BYTES, "kernel")?,
            ramdisk: take_part(&mut rest, ramdisk, PAGE_BYTES, "ramdisk")?,
            signature: take_part(&mut rest, signature, PAGE_BYTES, "signature")?,
        };
        Ok((image, rest))
    }
}

fn version(number: u32, header_bytes: u32) -> Result<HeaderVersion, BootImageError> {
    let all = [HeaderVersion::V3, HeaderVersion::V3OfAndroid11, HeaderVersion::V4];
    if !all.iter().any(|version| version.number() == number) {
        return Err(BootImageError::Version(number));
    }
    all.into_iter()
        .find(|version| (version.number(), version.header_bytes()) == (number, header_bytes))
        .ok_or(BootImageError::Field("header_size"))
}
