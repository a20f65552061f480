//! Android boot images (AOSP `system/tools/mkbootimg/include/bootimg/bootimg.h`): a header, then
//! parts that each begin on a page and end with zeros. Numbers are little-endian.
//!
//! | type | what | versions |
//! |---|---|---|
//! | [`LegacyBootImage`] | `boot`, `recovery` of devices up to Android 10 | 0, 1, 2 |
//! | [`BootImage`] | `boot`, `init_boot` | 3, 4 |
//! | [`VendorBootImage`] | `vendor_boot`, `vendor_kernel_boot` | 3, 4 |
//!
//! Whoever does not know which one it is uses [`Image`]. What is read can be written again, byte
//! for byte: a reader refuses what no writer writes.

mod fields;
mod generic;
mod legacy;
mod os_version;
mod vendor;

pub use generic::{BootImage, CMDLINE_MAX_BYTES, HeaderVersion};
pub use legacy::{
    BOARD_MAX_BYTES, LEGACY_CMDLINE_BYTES, LEGACY_EXTRA_CMDLINE_BYTES, LegacyBootImage,
    LegacyVersion,
};
pub use os_version::OsVersion;
pub use vendor::{
    BOARD_ID_WORDS, RAMDISK_NAME_MAX_BYTES, VENDOR_CMDLINE_MAX_BYTES, VendorBootImage,
    VendorRamdisk, VendorVersion,
};

/// Bytes of a page of versions 3 and 4 of `boot`.
pub const PAGE_BYTES: usize = 4096;
/// The page sizes that the other images may name: powers of two in this range.
pub const PAGE_BYTES_RANGE: std::ops::RangeInclusive<u32> = 2048..=131_072;

const BOOT_MAGIC: [u8; 8] = *b"ANDROID!";
const VENDOR_MAGIC: [u8; 8] = *b"VNDRBOOT";

/// Any of the images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Image<'a> {
    /// `boot` of version 0, 1 or 2.
    Legacy(LegacyBootImage<'a>),
    /// `boot` of version 3 or 4.
    Boot(BootImage<'a>),
    /// `vendor_boot`.
    Vendor(VendorBootImage<'a>),
}

impl<'a> Image<'a> {
    /// Reads an image that ends where `bytes` end.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BootImageError> {
        whole(Self::parse_prefix(bytes)?)
    }

    /// Reads the image at the start of `bytes`; what follows comes beside it.
    pub fn parse_prefix(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), BootImageError> {
        if bytes.starts_with(&VENDOR_MAGIC) {
            return VendorBootImage::parse_prefix(bytes).map(|(it, rest)| (Self::Vendor(it), rest));
        }
        // All versions of `boot` have their number at the same place.
        match bytes.get(40..44) {
            Some([0..=2, 0, 0, 0]) => {
                LegacyBootImage::parse_prefix(bytes).map(|(it, rest)| (Self::Legacy(it), rest))
            }
            _ => BootImage::parse_prefix(bytes).map(|(it, rest)| (Self::Boot(it), rest)),
        }
    }

    /// The image's bytes.
    pub fn encode(&self) -> Result<Vec<u8>, BootImageError> {
        match self {
            Self::Legacy(image) => image.encode(),
            Self::Boot(image) => image.encode(),
            Self::Vendor(image) => image.encode(),
        }
    }
}

/// Nothing may follow the image.
fn whole<T>((image, rest): (T, &[u8])) -> Result<T, BootImageError> {
    if rest.is_empty() { Ok(image) } else { Err(BootImageError::TrailingBytes(rest.len())) }
}

/// What is wrong with a boot image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BootImageError {
    /// The magic is missing.
    #[error("this is not a boot image: it starts with neither ANDROID! nor VNDRBOOT")]
    Magic,
    /// Another version.
    #[error(
        "version {0} of this boot image is not supported: boot has 0 to 4, vendor_boot 3 and 4"
    )]
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
