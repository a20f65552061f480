//! Android boot image, version 3 and 4 (AOSP `system/tools/mkbootimg/include/bootimg/bootimg.h`).
//!
//! Header, kernel, ramdisk and, in version 4, a boot signature, each padded with zeros to pages
//! of 4096 bytes; numbers are little-endian. Versions 0 to 2 are not covered.

/// Bytes of a page.
pub const PAGE_BYTES: usize = 4096;
/// The longest kernel command line in the header, without the NUL that ends it.
pub const CMDLINE_MAX_BYTES: usize = 1535;

const MAGIC: [u8; 8] = *b"ANDROID!";
const V3_HEADER_BYTES: u32 = 1580;
/// What mkbootimg of Android 11 wrote into the header of version 3, which had 1580 bytes even so.
const V3_HEADER_BYTES_OF_ANDROID_11: u32 = 1596;
const V4_HEADER_BYTES: u32 = 1584;

/// A boot image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BootImage<'a> {
    /// The kernel.
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

/// Version of the system and of its security patches, as the header packs them into 32 bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OsVersion {
    /// 0 to 127 each: 16.0.1 is `(16, 0, 1)`.
    pub version: (u8, u8, u8),
    /// Year (2000 to 2127) and month (1 to 12) of the security patches; (0, 0) = none.
    pub patch_level: (u16, u8),
}

impl OsVersion {
    fn pack(self) -> Option<u32> {
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

    fn unpack(packed: u32) -> Option<Self> {
        let seven = |shift: u32| (packed >> shift & 0x7f) as u8;
        let patch_level = match packed & 0x7ff {
            0 => (0, 0),
            _ => (2000 + u16::from(seven(4)), (packed & 0xf) as u8),
        };
        let version = Self { version: (seven(25), seven(18), seven(11)), patch_level };
        (version.pack() == Some(packed)).then_some(version)
    }
}

/// What is wrong with a boot image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BootImageError {
    /// The magic is missing.
    #[error("this is not a boot image: it does not start with ANDROID!")]
    Magic,
    /// Another version.
    #[error("version {0} of the boot image is not supported: 3 and 4 are")]
    Version(u32),
    /// A part does not fit, or is cut off.
    #[error("the {0} is cut off, or has an impossible size")]
    Size(&'static str),
    /// A field has a value that it may not have.
    #[error("the field {0} has a value that is not allowed")]
    Field(&'static str),
    /// Padding or reserved bytes are not zero.
    #[error("bytes behind the {0} are not zero")]
    Padding(&'static str),
    /// Bytes follow the image.
    #[error("{0} bytes follow the boot image")]
    TrailingBytes(usize),
}

impl<'a> BootImage<'a> {
    /// The image in version 4.
    pub fn encode(&self) -> Result<Vec<u8>, BootImageError> {
        let size =
            |part: &[u8], what| u32::try_from(part.len()).map_err(|_| BootImageError::Size(what));
        if self.cmdline.len() > CMDLINE_MAX_BYTES || self.cmdline.contains('\0') {
            return Err(BootImageError::Field("cmdline"));
        }
        let os_version = self.os_version.pack().ok_or(BootImageError::Field("os_version"))?;
        let mut out = Vec::with_capacity(self.kernel.len() + self.ramdisk.len() + 4 * PAGE_BYTES);
        out.extend(MAGIC);
        out.extend(size(self.kernel, "kernel")?.to_le_bytes());
        out.extend(size(self.ramdisk, "ramdisk")?.to_le_bytes());
        out.extend(os_version.to_le_bytes());
        out.extend(V4_HEADER_BYTES.to_le_bytes());
        out.extend([0; 16]);
        out.extend(4_u32.to_le_bytes());
        out.extend(self.cmdline.as_bytes());
        out.resize(V3_HEADER_BYTES as usize, 0);
        out.extend(size(self.signature, "signature")?.to_le_bytes());
        out.resize(PAGE_BYTES, 0);
        for part in [self.kernel, self.ramdisk, self.signature] {
            out.extend(part);
            out.resize(out.len().next_multiple_of(PAGE_BYTES), 0);
        }
        Ok(out)
    }

    /// Reads an image of version 3 or 4 that ends where `bytes` end.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BootImageError> {
        let (image, rest) = Self::parse_prefix(bytes)?;
        match rest.len() {
            0 => Ok(image),
            extra => Err(BootImageError::TrailingBytes(extra)),
        }
    }

    /// Reads an image of version 3 or 4 at the start of `bytes`; what follows comes beside it.
    pub fn parse_prefix(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), BootImageError> {
        if !bytes.starts_with(&MAGIC) {
            return Err(BootImageError::Magic);
        }
        let (header, mut rest) =
            bytes.split_at_checked(PAGE_BYTES).ok_or(BootImageError::Size("header"))?;
        let field = |at: usize| {
            u32::from_le_bytes(header[at..at + 4].try_into().expect("a range of 4 bytes"))
        };
        let (header_bytes, signature_bytes) = match field(40) {
            3 => (V3_HEADER_BYTES, 0),
            4 => (V4_HEADER_BYTES, field(V3_HEADER_BYTES as usize)),
            other => return Err(BootImageError::Version(other)),
        };
        let old = field(40) == 3 && field(20) == V3_HEADER_BYTES_OF_ANDROID_11;
        if field(20) != header_bytes && !old {
            return Err(BootImageError::Field("header_size"));
        }
        if !is_zero(&header[24..40]) || !is_zero(&header[header_bytes as usize..]) {
            return Err(BootImageError::Padding("header"));
        }
        let image = Self {
            cmdline: cmdline(&header[44..V3_HEADER_BYTES as usize])?,
            os_version: OsVersion::unpack(field(16)).ok_or(BootImageError::Field("os_version"))?,
            kernel: take_part(&mut rest, field(8), "kernel")?,
            ramdisk: take_part(&mut rest, field(12), "ramdisk")?,
            signature: take_part(&mut rest, signature_bytes, "signature")?,
        };
        Ok((image, rest))
    }
}

fn cmdline(field: &[u8]) -> Result<&str, BootImageError> {
    let end = field.iter().position(|&byte| byte == 0);
    let (text, rest) = field.split_at(end.ok_or(BootImageError::Field("cmdline"))?);
    if !is_zero(rest) {
        return Err(BootImageError::Padding("cmdline"));
    }
    std::str::from_utf8(text).map_err(|_| BootImageError::Field("cmdline"))
}

/// Takes `size` bytes and the padding behind them.
fn take_part<'a>(
    rest: &mut &'a [u8],
    size: u32,
    what: &'static str,
) -> Result<&'a [u8], BootImageError> {
    let cut_off = BootImageError::Size(what);
    let size = usize::try_from(size).map_err(|_| cut_off.clone())?;
    let padded = size.checked_next_multiple_of(PAGE_BYTES).ok_or_else(|| cut_off.clone())?;
    let (part, after) = rest.split_at_checked(padded).ok_or(cut_off)?;
    *rest = after;
    let (part, padding) = part.split_at(size);
    if is_zero(padding) { Ok(part) } else { Err(BootImageError::Padding(what)) }
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == 0)
}
