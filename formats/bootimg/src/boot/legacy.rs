//! `boot` and `recovery` of version 0, 1 and 2: kernel, ramdisk, second stage; from version 1 a
//! device tree overlay for recovery; in version 2 a device tree. The header says where a boot
//! loader puts each, and has a SHA-1 of them all that finds accidents.

use super::fields::{Reader, page_bytes, put_part, put_text, size, take_part};
use super::{BOOT_MAGIC, BootImageError, OsVersion, whole};
use crypto::digest::LegacySha1;

/// The longest board name; one that long has no NUL behind it.
pub const BOARD_MAX_BYTES: usize = 16;
/// Bytes of the command line's first field.
pub const LEGACY_CMDLINE_BYTES: usize = 512;
/// Bytes of the field in which the command line goes on.
pub const LEGACY_EXTRA_CMDLINE_BYTES: usize = 1024;

const ID_BYTES: usize = 32;

/// Version of the header.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LegacyVersion {
    /// 0: no more than kernel, ramdisk and second stage.
    #[default]
    V0,
    /// 1: recovery's device tree overlay.
    V1,
    /// 2: the device tree.
    V2,
}

impl LegacyVersion {
    /// From the header's field.
    #[must_use]
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::V0),
            1 => Some(Self::V1),
            2 => Some(Self::V2),
            _ => None,
        }
    }

    /// 0, 1 or 2.
    #[must_use]
    pub const fn number(self) -> u32 {
        self as u32
    }

    /// Bytes of the header.
    #[must_use]
    pub const fn header_bytes(self) -> u32 {
        match self {
            Self::V0 => 1632,
            Self::V1 => 1648,
            Self::V2 => 1660,
        }
    }
}

/// A boot image of version 0, 1 or 2.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LegacyBootImage<'a> {
    /// Version of its header.
    pub version: LegacyVersion,
    /// Bytes of a page: see [`super::PAGE_BYTES_RANGE`].
    pub page_bytes: u32,
    /// The kernel.
    pub kernel: &'a [u8],
    /// The ramdisk; may be empty.
    pub ramdisk: &'a [u8],
    /// The second-stage boot loader; mostly empty.
    pub second: &'a [u8],
    /// From version 1: recovery's device tree overlay, or its ACPI tables; may be empty.
    pub recovery_dtbo: &'a [u8],
    /// Version 2: the device tree; not empty.
    pub dtb: &'a [u8],
    /// Where the kernel goes in memory.
    pub kernel_address: u32,
    /// Where the ramdisk goes.
    pub ramdisk_address: u32,
    /// Where the second stage goes.
    pub second_address: u32,
    /// Where the kernel finds its tags.
    pub tags_address: u32,
    /// Version 2: where the device tree goes.
    pub dtb_address: u64,
    /// Version of the system and of its security patches.
    pub os_version: OsVersion,
    /// Name of the board.
    pub board: &'a str,
    /// Kernel command line, first part: up to [`LEGACY_CMDLINE_BYTES`].
    pub cmdline: &'a str,
    /// What of the command line did not fit: up to [`LEGACY_EXTRA_CMDLINE_BYTES`].
    pub extra_cmdline: &'a str,
    /// Names the content: [`LegacyBootImage::computed_id`] where mkbootimg wrote it.
    pub id: [u8; ID_BYTES],
}

impl<'a> LegacyBootImage<'a> {
    /// The SHA-1 over all parts and their sizes that mkbootimg puts into `id`, and zeros.
    #[must_use]
    pub fn computed_id(&self) -> [u8; ID_BYTES] {
        let parts = [self.kernel, self.ramdisk, self.second, self.recovery_dtbo, self.dtb];
        let mut sha1 = LegacySha1::new();
        for part in &parts[..3 + self.version.number() as usize] {
            sha1.update(part);
            sha1.update(&(part.len() as u32).to_le_bytes());
        }
        let mut id = [0; ID_BYTES];
        id[..20].copy_from_slice(&sha1.finish());
        id
    }

    /// Where recovery's overlay is in the image; 0 without one.
    #[must_use]
    pub fn recovery_dtbo_offset(&self) -> u64 {
        if self.recovery_dtbo.is_empty() {
            return 0;
        }
        let page = u64::from(self.page_bytes.max(1));
        let before = [self.kernel, self.ramdisk, self.second];
        page + before.iter().map(|part| (part.len() as u64).next_multiple_of(page)).sum::<u64>()
    }

    /// The image's bytes.
    pub fn encode(&self) -> Result<Vec<u8>, BootImageError> {
        let page = page_bytes(self.page_bytes)?;
        self.check_parts()?;
        let mut out = self.encode_header()?;
        for part in [self.kernel, self.ramdisk, self.second, self.recovery_dtbo, self.dtb] {
            put_part(&mut out, part, page);
        }
        Ok(out)
    }

    /// Parts that the version does not have, or must have.
    fn check_parts(&self) -> Result<(), BootImageError> {
        if self.version < LegacyVersion::V1 && !self.recovery_dtbo.is_empty() {
            return Err(BootImageError::Field("recovery_dtbo_size"));
        }
        let has_dtb = !self.dtb.is_empty();
        if has_dtb != (self.version == LegacyVersion::V2) {
            return Err(BootImageError::Field("dtb_size"));
        }
        Ok(())
    }

    fn encode_header(&self) -> Result<Vec<u8>, BootImageError> {
        let os_version = self.os_version.pack().ok_or(BootImageError::Field("os_version"))?;
        let numbers = [
            size(self.kernel, "kernel")?,
            self.kernel_address,
            size(self.ramdisk, "ramdisk")?,
            self.ramdisk_address,
            size(self.second, "second")?,
            self.second_address,
            self.tags_address,
            self.page_bytes,
            self.version.number(),
            os_version,
        ];
        let mut out = BOOT_MAGIC.to_vec();
        out.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        put_text(&mut out, self.board, BOARD_MAX_BYTES, "board")?;
        put_text(&mut out, self.cmdline, LEGACY_CMDLINE_BYTES, "cmdline")?;
        out.extend(self.id);
        put_text(&mut out, self.extra_cmdline, LEGACY_EXTRA_CMDLINE_BYTES, "extra_cmdline")?;
        if self.version >= LegacyVersion::V1 {
            out.extend(size(self.recovery_dtbo, "recovery_dtbo")?.to_le_bytes());
            out.extend(self.recovery_dtbo_offset().to_le_bytes());
            out.extend(self.version.header_bytes().to_le_bytes());
        }
        if self.version >= LegacyVersion::V2 {
            out.extend(size(self.dtb, "dtb")?.to_le_bytes());
            out.extend(self.dtb_address.to_le_bytes());
        }
        out.resize(self.page_bytes as usize, 0);
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
        let mut start = Reader::new(bytes, 8);
        let numbers: [u32; 10] = {
            let mut numbers = [0; 10];
            for number in &mut numbers {
                *number = start.u32()?;
            }
            numbers
        };
        let [kernel, kernel_address, ramdisk, ramdisk_address, second, second_address, ..] =
            numbers;
        let [.., tags_address, page, version, os_version] = numbers;
        let version =
            LegacyVersion::from_number(version).ok_or(BootImageError::Version(version))?;
        let page_size = page_bytes(page)?;
        let (header, mut rest) =
            bytes.split_at_checked(page_size).ok_or(BootImageError::Size("header"))?;
        let mut fields = Reader::new(header, 48);
        let mut image = Self {
            version,
            page_bytes: page,
            kernel_address,
            ramdisk_address,
            second_address,
            tags_address,
            os_version: OsVersion::unpack(os_version).ok_or(BootImageError::Field("os_version"))?,
            board: fields.text(BOARD_MAX_BYTES, "board")?,
            cmdline: fields.text(LEGACY_CMDLINE_BYTES, "cmdline")?,
            id: fields.array()?,
            extra_cmdline: fields.text(LEGACY_EXTRA_CMDLINE_BYTES, "extra_cmdline")?,
            ..Self::default()
        };
        let (dtbo, dtbo_offset) = image.parse_v1(&mut fields)?;
        let dtb = image.parse_v2(&mut fields)?;
        fields.ends(version.header_bytes())?;
        for (part, size, what) in [
            (&mut image.kernel, kernel, "kernel"),
            (&mut image.ramdisk, ramdisk, "ramdisk"),
            (&mut image.second, second, "second"),
            (&mut image.recovery_dtbo, dtbo, "recovery_dtbo"),
            (&mut image.dtb, dtb, "dtb"),
        ] {
            *part = take_part(&mut rest, size, page_size, what)?;
        }
        image.check_parts()?;
        if image.recovery_dtbo_offset() != dtbo_offset {
            return Err(BootImageError::Field("recovery_dtbo_offset"));
        }
        Ok((image, rest))
    }

    /// Size and offset of recovery's overlay.
    fn parse_v1(&self, fields: &mut Reader<'_>) -> Result<(u32, u64), BootImageError> {
        if self.version < LegacyVersion::V1 {
            return Ok((0, 0));
        }
        let found = (fields.u32()?, fields.u64()?);
        if fields.u32()? != self.version.header_bytes() {
            return Err(BootImageError::Field("header_size"));
        }
        Ok(found)
    }

    /// Size of the device tree; its address goes into the image.
    fn parse_v2(&mut self, fields: &mut Reader<'_>) -> Result<u32, BootImageError> {
        if self.version < LegacyVersion::V2 {
            return Ok(0);
        }
        let size = fields.u32()?;
        self.dtb_address = fields.u64()?;
        Ok(size)
    }
}
