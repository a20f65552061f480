//! `holdfast bootimg pack`: mkbootimg.

use super::arguments::{integer, os_patch_level, os_version, word};
use super::fragments::{Fragment, Fragments};
use super::{hex, misused, read, write};
use crate::exit::Exit;
use anyhow::Result;
use bootimg::boot::{
    BootImage, BootImageError, HeaderVersion, LEGACY_CMDLINE_BYTES, LEGACY_EXTRA_CMDLINE_BYTES,
    LegacyBootImage, LegacyVersion, OsVersion, VendorBootImage, VendorRamdisk, VendorVersion,
};
use clap::Args;
use serde_json::json;
use std::path::{Path, PathBuf};

pub(super) const AFTER_HELP: &str = "\
Names, values and defaults are those of AOSP's mkbootimg, and so are the bytes that come out. Two \
options are more: --boot_signature and --android11_header_size.

Exit codes: 0 made, 1 what was given does not fit into an image, 2 the command line is wrong, 3 a \
file is missing.";

/// The options of mkbootimg.
#[derive(Debug, Args)]
pub(crate) struct Pack {
    /// The kernel
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,
    /// The ramdisk
    #[arg(long, value_name = "FILE")]
    ramdisk: Option<PathBuf>,
    /// The second-stage boot loader (version 0 to 2)
    #[arg(long, value_name = "FILE")]
    second: Option<PathBuf>,
    /// The device tree (version 2, and vendor boot images)
    #[arg(long, value_name = "FILE")]
    dtb: Option<PathBuf>,
    /// Recovery's device tree overlay (version 1 and 2)
    #[arg(long = "recovery_dtbo", value_name = "FILE", conflicts_with = "recovery_acpio")]
    recovery_dtbo: Option<PathBuf>,
    /// Recovery's ACPI tables instead
    #[arg(long = "recovery_acpio", value_name = "FILE")]
    recovery_acpio: Option<PathBuf>,
    /// Kernel command line
    #[arg(long, value_name = "TEXT", default_value = "", allow_hyphen_values = true)]
    cmdline: String,
    /// The vendor's part of the kernel command line
    #[arg(long = "vendor_cmdline", value_name = "TEXT", default_value = "")]
    #[arg(allow_hyphen_values = true)]
    vendor_cmdline: String,
    /// What every offset is added to
    #[arg(long, value_name = "ADDRESS", default_value = "0x10000000", value_parser = word)]
    base: u32,
    /// Where the kernel goes
    #[arg(long = "kernel_offset", value_name = "OFFSET", default_value = "0x00008000")]
    #[arg(value_parser = word)]
    kernel_offset: u32,
    /// Where the ramdisk goes
    #[arg(long = "ramdisk_offset", value_name = "OFFSET", default_value = "0x01000000")]
    #[arg(value_parser = word)]
    ramdisk_offset: u32,
    /// Where the second stage goes
    #[arg(long = "second_offset", value_name = "OFFSET", default_value = "0x00f00000")]
    #[arg(value_parser = word)]
    second_offset: u32,
    /// Where the device tree goes: 64 bits
    #[arg(long = "dtb_offset", value_name = "OFFSET", default_value = "0x01f00000")]
    #[arg(value_parser = integer)]
    dtb_offset: u64,
    /// Version of the system, as 16.0.1
    #[arg(long = "os_version", value_name = "VERSION", default_value = "")]
    #[arg(value_parser = os_version)]
    os_version: (u8, u8, u8),
    /// Month of the security patches, as 2026-11
    #[arg(long = "os_patch_level", value_name = "MONTH", default_value = "")]
    #[arg(value_parser = os_patch_level)]
    os_patch_level: (u16, u8),
    /// Where the kernel finds its tags
    #[arg(long = "tags_offset", value_name = "OFFSET", default_value = "0x00000100")]
    #[arg(value_parser = word)]
    tags_offset: u32,
    /// Name of the board
    #[arg(long, value_name = "NAME", default_value = "")]
    board: String,
    /// Bytes of a page: a power of two from 2048 on
    #[arg(long, value_name = "BYTES", default_value = "2048", value_parser = word)]
    pagesize: u32,
    /// Print the image's id (version 0 to 2)
    #[arg(long)]
    id: bool,
    /// Version of the header: 0 to 4
    #[arg(long = "header_version", value_name = "NUMBER", default_value = "0")]
    #[arg(value_parser = word)]
    header_version: u32,
    /// Where the boot image goes
    #[arg(short, long, value_name = "FILE", required_unless_present = "vendor_boot")]
    output: Option<PathBuf>,
    /// Where the vendor boot image goes (version 3 and 4)
    #[arg(long = "vendor_boot", value_name = "FILE")]
    vendor_boot: Option<PathBuf>,
    /// The vendor ramdisk
    #[arg(long = "vendor_ramdisk", value_name = "FILE")]
    vendor_ramdisk: Option<PathBuf>,
    /// The boot configuration (version 4)
    #[arg(long = "vendor_bootconfig", value_name = "FILE")]
    vendor_bootconfig: Option<PathBuf>,
    #[command(flatten)]
    fragments: Fragments,
    /// A boot signature: a vbmeta image over the generic kernel (version 4)
    #[arg(long = "boot_signature", value_name = "FILE")]
    boot_signature: Option<PathBuf>,
    /// Write into headers of version 3 the sizes that mkbootimg of Android 11 wrote
    #[arg(long = "android11_header_size")]
    android11_header_size: bool,
    /// One JSON object on standard output
    #[arg(long)]
    json: bool,
}

/// Makes the images.
pub(crate) fn run(options: &Pack) -> Result<Exit> {
    let mut told = json!({"ok": true, "header_version": options.header_version});
    if let Some(path) = &options.vendor_boot {
        let image = options.vendor_image()?;
        write(path, &image)?;
        told["vendor_boot"] = json!({"path": path, "bytes": image.len()});
    }
    if let Some(path) = &options.output {
        let (image, id) = options.boot_image()?;
        write(path, &image)?;
        told["output"] = json!({"path": path, "bytes": image.len(), "id": id.map(|id| hex(&id))});
        if let (Some(id), true, false) = (id, options.id, options.json) {
            println!("0x{}", hex(&id));
        }
    }
    if options.json {
        println!("{told}");
    }
    Ok(Exit::Held)
}

impl Pack {
    fn boot_image(&self) -> Result<(Vec<u8>, Option<[u8; 32]>)> {
        match LegacyVersion::from_number(self.header_version) {
            Some(version) => self.legacy_image(version).map(|(image, id)| (image, Some(id))),
            None => self.generic_image().map(|image| (image, None)),
        }
    }

    fn legacy_image(&self, version: LegacyVersion) -> Result<(Vec<u8>, [u8; 32])> {
        let (kernel, ramdisk) = (optional(&self.kernel)?, optional(&self.ramdisk)?);
        let second = optional(&self.second)?;
        let dtbo = self.recovery_dtbo.clone().or_else(|| self.recovery_acpio.clone());
        // As mkbootimg: what the version does not have is left out.
        let dtbo = if version >= LegacyVersion::V1 { optional(&dtbo)? } else { Vec::new() };
        let dtb = if version >= LegacyVersion::V2 { optional(&self.dtb)? } else { Vec::new() };
        if version == LegacyVersion::V2 && dtb.is_empty() {
            return Err(misused("a boot image of version 2 needs a --dtb that is not empty"));
        }
        let (cmdline, extra_cmdline) = split(&self.cmdline)?;
        let mut image = LegacyBootImage {
            version,
            page_bytes: self.pagesize,
            kernel_address: self.address(self.kernel_offset)?,
            ramdisk_address: self.address_of(&ramdisk, self.ramdisk_offset)?,
            second_address: self.address_of(&second, self.second_offset)?,
            tags_address: self.address(self.tags_offset)?,
            dtb_address: if dtb.is_empty() { 0 } else { self.dtb_address()? },
            kernel: &kernel,
            ramdisk: &ramdisk,
            second: &second,
            recovery_dtbo: &dtbo,
            dtb: &dtb,
            os_version: self.os_version(),
            board: &self.board,
            cmdline,
            extra_cmdline,
            id: [0; 32],
        };
        image.id = image.computed_id();
        Ok((image.encode().map_err(fits_not)?, image.id))
    }

    fn generic_image(&self) -> Result<Vec<u8>> {
        let version = match (self.header_version, self.android11_header_size) {
            (3, false) => HeaderVersion::V3,
            (3, true) => HeaderVersion::V3OfAndroid11,
            (4, _) => HeaderVersion::V4,
            (other, _) => return Err(misused(format!("--header_version {other}: 0 to 4 exist"))),
        };
        if self.second.is_some() {
            return Err(misused("--second: from version 3 on there is no second stage"));
        }
        let image = BootImage {
            version,
            kernel: &optional(&self.kernel)?,
            ramdisk: &optional(&self.ramdisk)?,
            os_version: self.os_version(),
            cmdline: &self.cmdline,
            signature: &optional(&self.boot_signature)?,
        };
        image.encode().map_err(fits_not)
    }

    fn vendor_image(&self) -> Result<Vec<u8>> {
        let version = match (self.header_version, self.android11_header_size) {
            (3, false) => VendorVersion::V3,
            (3, true) => VendorVersion::V3OfAndroid11,
            (4, _) => VendorVersion::V4,
            (other, _) => {
                let why = "vendor boot images have 3 or 4";
                return Err(misused(format!("--header_version {other}: {why}")));
            }
        };
        let is_v4 = version == VendorVersion::V4;
        if !is_v4 && (self.vendor_ramdisk.is_none() || !self.fragments.0.is_empty()) {
            return Err(misused("version 3 has one --vendor_ramdisk, and no fragments"));
        }
        let dtb = optional(&self.dtb)?;
        if !is_v4 && dtb.is_empty() {
            return Err(misused("a vendor boot image needs a --dtb that is not empty"));
        }
        let files = self.ramdisk_files()?;
        let bootconfig = if is_v4 { optional(&self.vendor_bootconfig)? } else { Vec::new() };
        let image = VendorBootImage {
            version,
            page_bytes: self.pagesize,
            kernel_address: self.address(self.kernel_offset)?,
            ramdisk_address: self.address(self.ramdisk_offset)?,
            tags_address: self.address(self.tags_offset)?,
            dtb_address: self.dtb_address()?,
            cmdline: &self.vendor_cmdline,
            board: &self.board,
            ramdisks: files.iter().map(|(fragment, data)| ramdisk(fragment, data)).collect(),
            dtb: &dtb,
            bootconfig: &bootconfig,
        };
        image.encode().map_err(fits_not)
    }

    /// The vendor ramdisk without a name comes first.
    fn ramdisk_files(&self) -> Result<Vec<(Fragment, Vec<u8>)>> {
        let plain = self.vendor_ramdisk.iter().map(|path| {
            let name = Some(String::new());
            Fragment { path: path.clone(), name, ..Fragment::default() }
        });
        plain
            .chain(self.fragments.0.iter().cloned())
            .map(|fragment| read(&fragment.path).map(|data| (fragment, data)))
            .collect()
    }

    const fn os_version(&self) -> OsVersion {
        OsVersion { version: self.os_version, patch_level: self.os_patch_level }
    }

    fn address(&self, offset: u32) -> Result<u32> {
        let sum = self.base.checked_add(offset);
        sum.ok_or_else(|| misused(format!("--base and {offset:#010x} need more than 32 bits")))
    }

    /// Parts that are empty have no address.
    fn address_of(&self, part: &[u8], offset: u32) -> Result<u32> {
        if part.is_empty() { Ok(0) } else { self.address(offset) }
    }

    fn dtb_address(&self) -> Result<u64> {
        let sum = u64::from(self.base).checked_add(self.dtb_offset);
        sum.ok_or_else(|| misused("--base and --dtb_offset need more than 64 bits"))
    }
}

fn ramdisk<'a>(fragment: &'a Fragment, data: &'a [u8]) -> VendorRamdisk<'a> {
    let name = fragment.name.as_deref().unwrap_or_default();
    VendorRamdisk { data, kind: fragment.kind, name, board_id: fragment.board_id }
}

fn optional(path: &Option<PathBuf>) -> Result<Vec<u8>> {
    path.as_deref().map_or_else(|| Ok(Vec::new()), |path: &Path| read(path))
}

/// A command line over the two fields that it has in version 0 to 2.
fn split(cmdline: &str) -> Result<(&str, &str)> {
    let at = (0..=cmdline.len().min(LEGACY_CMDLINE_BYTES)).rev();
    let at = at.into_iter().find(|&at| cmdline.is_char_boundary(at)).unwrap_or_default();
    let (first, rest) = cmdline.split_at(at);
    if rest.len() > LEGACY_EXTRA_CMDLINE_BYTES {
        let most = LEGACY_CMDLINE_BYTES + LEGACY_EXTRA_CMDLINE_BYTES;
        return Err(misused(format!("--cmdline has more than {most} bytes")));
    }
    Ok((first, rest))
}

/// An image that can't be: what was given breaks a rule of the format.
fn fits_not(error: BootImageError) -> anyhow::Error {
    anyhow::Error::new(error).context("this makes no boot image")
}
