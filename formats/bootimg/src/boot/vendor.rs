//! `vendor_boot` of version 3 and 4: vendor ramdisks and the device tree; in version 4 a table of
//! the ramdisks and the boot configuration.

use super::fields::{Reader, page_bytes, put_part, put_text, size, take_part};
use super::{BOARD_MAX_BYTES, BootImageError, VENDOR_MAGIC, whole};

/// The longest vendor command line; one that long has no NUL behind it.
pub const VENDOR_CMDLINE_MAX_BYTES: usize = 2048;
/// The longest name of a vendor ramdisk; one that long has no NUL behind it.
pub const RAMDISK_NAME_MAX_BYTES: usize = 32;
/// Numbers of 32 bits in a board id.
pub const BOARD_ID_WORDS: usize = 16;

const ENTRY_BYTES: usize = 108;
const V3_HEADER_BYTES: u32 = 2112;

/// Version of the header.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum VendorVersion {
    /// 3: one ramdisk.
    V3,
    /// 3 with the header size that mkbootimg of Android 11 wrote: 4 too few.
    V3OfAndroid11,
    /// 4: a table of ramdisks, and the boot configuration.
    #[default]
    V4,
}

impl VendorVersion {
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
            Self::V3OfAndroid11 => 2108,
            Self::V4 => 2128,
        }
    }

    /// Where the header's fields end.
    const fn field_bytes(self) -> u32 {
        match self {
            Self::V4 => 2128,
            _ => V3_HEADER_BYTES,
        }
    }
}

/// A ramdisk and what the table says of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VendorRamdisk<'a> {
    /// Its bytes.
    pub data: &'a [u8],
    /// 0 none, 1 platform, 2 recovery, 3 dlkm (modules); others are the vendor's.
    pub kind: u32,
    /// Its name, of which there is one each.
    pub name: &'a str,
    /// Which hardware it is for, as the vendor numbers it.
    pub board_id: [u32; BOARD_ID_WORDS],
}

/// A vendor boot image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VendorBootImage<'a> {
    /// Version of its header.
    pub version: VendorVersion,
    /// Bytes of a page: see [`super::PAGE_BYTES_RANGE`].
    pub page_bytes: u32,
    /// Where the kernel goes in memory.
    pub kernel_address: u32,
    /// Where the ramdisks go.
    pub ramdisk_address: u32,
    /// Where the kernel finds its tags.
    pub tags_address: u32,
    /// Where the device tree goes.
    pub dtb_address: u64,
    /// The vendor's part of the kernel command line.
    pub cmdline: &'a str,
    /// Name of the board.
    pub board: &'a str,
    /// Version 3: exactly one, with nothing but data. Version 4: as many as there are.
    pub ramdisks: Vec<VendorRamdisk<'a>>,
    /// The device tree; may be empty.
    pub dtb: &'a [u8],
    /// Version 4: the boot configuration; may be empty.
    pub bootconfig: &'a [u8],
}

impl<'a> VendorBootImage<'a> {
    /// The image's bytes.
    pub fn encode(&self) -> Result<Vec<u8>, BootImageError> {
        let page = page_bytes(self.page_bytes)?;
        self.check()?;
        let (table, ramdisks) = self.encode_table()?;
        let mut out = VENDOR_MAGIC.to_vec();
        let numbers = [
            self.version.number(),
            self.page_bytes,
            self.kernel_address,
            self.ramdisk_address,
            size(&ramdisks, "vendor ramdisk")?,
        ];
        out.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        put_text(&mut out, self.cmdline, VENDOR_CMDLINE_MAX_BYTES, "vendor_cmdline")?;
        out.extend(self.tags_address.to_le_bytes());
        put_text(&mut out, self.board, BOARD_MAX_BYTES, "board")?;
        out.extend(self.version.header_bytes().to_le_bytes());
        out.extend(size(self.dtb, "dtb")?.to_le_bytes());
        out.extend(self.dtb_address.to_le_bytes());
        let is_v4 = self.version == VendorVersion::V4;
        if is_v4 {
            let bootconfig = size(self.bootconfig, "bootconfig")?;
            let entries = self.ramdisks.len() as u32;
            let numbers = [size(&table, "ramdisk table")?, entries, ENTRY_BYTES as u32, bootconfig];
            out.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        }
        out.resize(out.len().next_multiple_of(page), 0);
        let table = if is_v4 { &table[..] } else { &[] };
        for part in [&ramdisks[..], self.dtb, table, self.bootconfig] {
            put_part(&mut out, part, page);
        }
        Ok(out)
    }

    /// The table, and all ramdisks behind each other.
    fn encode_table(&self) -> Result<(Vec<u8>, Vec<u8>), BootImageError> {
        let (mut table, mut ramdisks) = (Vec::new(), Vec::new());
        for ramdisk in &self.ramdisks {
            let offset = size(&ramdisks, "vendor ramdisk")?;
            for number in [size(ramdisk.data, "vendor ramdisk")?, offset, ramdisk.kind] {
                table.extend(number.to_le_bytes());
            }
            put_text(&mut table, ramdisk.name, RAMDISK_NAME_MAX_BYTES, "ramdisk_name")?;
            table.extend(ramdisk.board_id.iter().flat_map(|word| word.to_le_bytes()));
            ramdisks.extend(ramdisk.data);
        }
        Ok((table, ramdisks))
    }

    /// The rules that hold between fields.
    fn check(&self) -> Result<(), BootImageError> {
        if self.version != VendorVersion::V4 {
            let plain = |it: &VendorRamdisk<'_>| {
                *it == VendorRamdisk { data: it.data, ..VendorRamdisk::default() }
            };
            return match &self.ramdisks[..] {
                [only] if plain(only) && self.bootconfig.is_empty() => Ok(()),
                _ => Err(BootImageError::Field("vendor_ramdisk_size")),
            };
        }
        for (nth, ramdisk) in self.ramdisks.iter().enumerate() {
            if self.ramdisks[..nth].iter().any(|other| other.name == ramdisk.name) {
                return Err(BootImageError::Field("ramdisk_name"));
            }
        }
        Ok(())
    }

    /// Reads an image that ends where `bytes` end.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BootImageError> {
        whole(Self::parse_prefix(bytes)?)
    }

    /// Reads the image at the start of `bytes`; what follows comes beside it.
    pub fn parse_prefix(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), BootImageError> {
        if !bytes.starts_with(&VENDOR_MAGIC) {
            return Err(BootImageError::Magic);
        }
        let mut start = Reader::new(bytes, 8);
        let (number, page) = (start.u32()?, start.u32()?);
        let page_size = page_bytes(page)?;
        // A header may take more than a page of 2048 bytes.
        let header_bytes = if number == 4 { 2128 } else { V3_HEADER_BYTES as usize };
        let (header, mut rest) = bytes
            .split_at_checked(header_bytes.next_multiple_of(page_size))
            .ok_or(BootImageError::Size("header"))?;
        let mut fields = Reader::new(header, 16);
        let mut image = Self {
            page_bytes: page,
            kernel_address: fields.u32()?,
            ramdisk_address: fields.u32()?,
            ..Self::default()
        };
        let ramdisk_bytes = fields.u32()?;
        image.cmdline = fields.text(VENDOR_CMDLINE_MAX_BYTES, "vendor_cmdline")?;
        image.tags_address = fields.u32()?;
        image.board = fields.text(BOARD_MAX_BYTES, "board")?;
        image.version = version(number, fields.u32()?)?;
        let dtb_bytes = fields.u32()?;
        image.dtb_address = fields.u64()?;
        let sizes = image.parse_sizes(&mut fields)?;
        fields.ends(image.version.field_bytes())?;
        let ramdisks = take_part(&mut rest, ramdisk_bytes, page_size, "vendor ramdisk")?;
        image.dtb = take_part(&mut rest, dtb_bytes, page_size, "dtb")?;
        let table = take_part(&mut rest, sizes.table, page_size, "ramdisk table")?;
        image.bootconfig = take_part(&mut rest, sizes.bootconfig, page_size, "bootconfig")?;
        image.ramdisks = match image.version {
            VendorVersion::V4 => parse_table(table, ramdisks)?,
            _ => vec![VendorRamdisk { data: ramdisks, ..VendorRamdisk::default() }],
        };
        image.check()?;
        Ok((image, rest))
    }

    fn parse_sizes(&self, fields: &mut Reader<'_>) -> Result<Sizes, BootImageError> {
        if self.version != VendorVersion::V4 {
            return Ok(Sizes { table: 0, bootconfig: 0 });
        }
        let (table, entries, entry) = (fields.u32()?, fields.u32()?, fields.u32()?);
        if entry != ENTRY_BYTES as u32 || entries.checked_mul(entry) != Some(table) {
            return Err(BootImageError::Field("vendor_ramdisk_table_size"));
        }
        Ok(Sizes { table, bootconfig: fields.u32()? })
    }
}

/// Bytes of what only version 4 has.
struct Sizes {
    table: u32,
    bootconfig: u32,
}

fn version(number: u32, header_bytes: u32) -> Result<VendorVersion, BootImageError> {
    let all = [VendorVersion::V3, VendorVersion::V3OfAndroid11, VendorVersion::V4];
    if !all.iter().any(|version| version.number() == number) {
        return Err(BootImageError::Version(number));
    }
    all.into_iter()
        .find(|version| (version.number(), version.header_bytes()) == (number, header_bytes))
        .ok_or(BootImageError::Field("header_size"))
}

/// The ramdisks: they lie behind each other in the table's order, and nothing lies between.
fn parse_table<'a>(
    table: &'a [u8],
    mut ramdisks: &'a [u8],
) -> Result<Vec<VendorRamdisk<'a>>, BootImageError> {
    let total = ramdisks.len();
    let mut found = Vec::new();
    for entry in table.chunks_exact(ENTRY_BYTES) {
        let mut fields = Reader::new(entry, 0);
        let (bytes, offset) = (fields.u32()? as usize, fields.u32()? as usize);
        if offset != total - ramdisks.len() {
            return Err(BootImageError::Field("ramdisk_offset"));
        }
        let (data, behind) =
            ramdisks.split_at_checked(bytes).ok_or(BootImageError::Size("vendor ramdisk"))?;
        ramdisks = behind;
        let kind = fields.u32()?;
        let name = fields.text(RAMDISK_NAME_MAX_BYTES, "ramdisk_name")?;
        let mut board_id = [0; BOARD_ID_WORDS];
        for word in &mut board_id {
            *word = fields.u32()?;
        }
        found.push(VendorRamdisk { data, kind, name, board_id });
    }
    if ramdisks.is_empty() { Ok(found) } else { Err(BootImageError::Field("vendor_ramdisk_size")) }
}
