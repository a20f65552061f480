//! What an image holds: as unpack_bootimg prints it, as arguments for mkbootimg, as JSON.

use super::{hex, read};
use crate::exit::Exit;
use anyhow::{Context, Result};
use bootimg::boot::{
    BootImage, HeaderVersion, Image, LegacyBootImage, LegacyVersion, OsVersion, VendorBootImage,
    VendorVersion,
};
use serde_json::{Value, json};
use std::path::Path;

/// `holdfast bootimg info`.
pub(crate) fn run(path: &Path, as_json: bool) -> Result<Exit> {
    let bytes = read(path)?;
    let (image, rest) = Image::parse_prefix(&bytes).with_context(|| path.display().to_string())?;
    if as_json {
        println!("{}", json_of(&image, rest.len()));
        return Ok(Exit::Held);
    }
    println!("{}", text(&image));
    if let Image::Legacy(image) = &image {
        let right = if image.id == image.computed_id() { "right" } else { "not of this content" };
        println!("id: 0x{} ({right})", hex(&image.id));
    }
    if !rest.is_empty() {
        println!("bytes behind the image: {}", rest.len());
    }
    Ok(Exit::Held)
}

/// The lines that unpack_bootimg prints.
pub(super) fn text(image: &Image<'_>) -> String {
    match image {
        Image::Legacy(image) => legacy_text(image),
        Image::Boot(image) => boot_text(image),
        Image::Vendor(image) => vendor_text(image),
    }
    .join("\n")
}

fn legacy_text(image: &LegacyBootImage<'_>) -> Vec<String> {
    let mut lines = vec![
        "boot magic: ANDROID!".to_owned(),
        format!("kernel_size: {}", image.kernel.len()),
        format!("kernel load address: {:#010x}", image.kernel_address),
        format!("ramdisk size: {}", image.ramdisk.len()),
        format!("ramdisk load address: {:#010x}", image.ramdisk_address),
        format!("second bootloader size: {}", image.second.len()),
        format!("second bootloader load address: {:#010x}", image.second_address),
        format!("kernel tags load address: {:#010x}", image.tags_address),
        format!("page size: {}", image.page_bytes),
    ];
    lines.extend(os_lines(image.os_version));
    lines.extend([
        format!("boot image header version: {}", image.version.number()),
        format!("product name: {}", image.board),
        format!("command line args: {}", image.cmdline),
        format!("additional command line args: {}", image.extra_cmdline),
    ]);
    if image.version >= LegacyVersion::V1 {
        lines.extend([
            format!("recovery dtbo size: {}", image.recovery_dtbo.len()),
            format!("recovery dtbo offset: {:#018x}", image.recovery_dtbo_offset()),
            format!("boot header size: {}", image.version.header_bytes()),
        ]);
    }
    if image.version >= LegacyVersion::V2 {
        lines.push(format!("dtb size: {}", image.dtb.len()));
        lines.push(format!("dtb address: {:#018x}", image.dtb_address));
    }
    lines
}

fn boot_text(image: &BootImage<'_>) -> Vec<String> {
    let mut lines = vec![
        "boot magic: ANDROID!".to_owned(),
        format!("kernel_size: {}", image.kernel.len()),
        format!("ramdisk size: {}", image.ramdisk.len()),
    ];
    lines.extend(os_lines(image.os_version));
    lines.push(format!("boot image header version: {}", image.version.number()));
    lines.push(format!("command line args: {}", image.cmdline));
    if image.version == HeaderVersion::V4 {
        lines.push(format!("boot.img signature size: {}", image.signature.len()));
    }
    lines
}

fn os_lines(version: OsVersion) -> [String; 2] {
    let none = || "None".to_owned();
    let (os, patch_level) = os_texts(version);
    [
        format!("os version: {}", os.unwrap_or_else(none)),
        format!("os patch level: {}", patch_level.unwrap_or_else(none)),
    ]
}

/// Version and patch level, where there is one.
fn os_texts(version: OsVersion) -> (Option<String>, Option<String>) {
    let (a, b, c) = version.version;
    let (year, month) = version.patch_level;
    let os = (version.version != (0, 0, 0)).then(|| format!("{a}.{b}.{c}"));
    (os, (year != 0).then(|| format!("{year:04}-{month:02}")))
}

fn vendor_text(image: &VendorBootImage<'_>) -> Vec<String> {
    let is_v4 = image.version == VendorVersion::V4;
    let total: usize = image.ramdisks.iter().map(|ramdisk| ramdisk.data.len()).sum();
    let total_name = if is_v4 { "vendor ramdisk total size" } else { "vendor ramdisk size" };
    let mut lines = vec![
        "boot magic: VNDRBOOT".to_owned(),
        format!("vendor boot image header version: {}", image.version.number()),
        format!("page size: {:#010x}", image.page_bytes),
        format!("kernel load address: {:#010x}", image.kernel_address),
        format!("ramdisk load address: {:#010x}", image.ramdisk_address),
        format!("{total_name}: {total}"),
        format!("vendor command line args: {}", image.cmdline),
        format!("kernel tags load address: {:#010x}", image.tags_address),
        format!("product name: {}", image.board),
        format!("vendor boot image header size: {}", image.version.header_bytes()),
        format!("dtb size: {}", image.dtb.len()),
        format!("dtb address: {:#018x}", image.dtb_address),
    ];
    if is_v4 {
        lines.push(format!("vendor ramdisk table size: {}", image.ramdisks.len() * 108));
        lines.push("vendor ramdisk table: [".to_owned());
        lines.extend(ramdisk_lines(image));
        lines.push("]".to_owned());
        lines.push(format!("vendor bootconfig size: {}", image.bootconfig.len()));
    }
    lines
}

fn ramdisk_lines(image: &VendorBootImage<'_>) -> Vec<String> {
    let mut lines = Vec::new();
    let mut offset = 0;
    for (nth, ramdisk) in image.ramdisks.iter().enumerate() {
        lines.push(format!("    {}: {{", ramdisk_file(nth)));
        lines.push(format!("        size: {}", ramdisk.data.len()));
        lines.push(format!("        offset: {offset}"));
        lines.push(format!("        type: {:#x}", ramdisk.kind));
        lines.push(format!("        name: {}", ramdisk.name));
        lines.push("        board_id: [".to_owned());
        for row in ramdisk.board_id.chunks(4) {
            let words: Vec<String> = row.iter().map(|word| format!("{word:#010x},")).collect();
            lines.push(format!("            {}", words.join(" ")));
        }
        lines.push("        ]".to_owned());
        lines.push("    }".to_owned());
        offset += ramdisk.data.len();
    }
    lines
}

/// The file into which a vendor ramdisk of version 4 is unpacked.
pub(super) fn ramdisk_file(nth: usize) -> String {
    format!("vendor_ramdisk{nth:02}")
}

/// The arguments with which mkbootimg makes the image again from the files in `folder`.
///
/// Where mkbootimg can't, an option of ours is among them: `--boot_signature`,
/// `--android11_header_size`.
pub(super) fn arguments(image: &Image<'_>, folder: &str) -> Vec<String> {
    let mut list = List { folder, words: Vec::new() };
    match image {
        Image::Legacy(image) => list.legacy(image),
        Image::Boot(image) => list.boot(image),
        Image::Vendor(image) => list.vendor(image),
    }
    list.words
}

struct List<'a> {
    folder: &'a str,
    words: Vec<String>,
}

impl List<'_> {
    fn option(&mut self, name: &str, value: impl Into<String>) {
        self.words.extend([format!("--{name}"), value.into()]);
    }

    fn file(&mut self, name: &str, file: &str) {
        let folder = self.folder.trim_end_matches('/');
        let root = if folder.is_empty() && !self.folder.is_empty() { "/" } else { "" };
        let slash = if folder.is_empty() { root } else { "/" };
        self.option(name, format!("{folder}{slash}{file}"));
    }

    fn files(&mut self, files: &[(&str, &[u8])]) {
        for (name, _) in files.iter().filter(|(_, content)| !content.is_empty()) {
            self.file(name, name);
        }
    }

    fn os_version(&mut self, version: OsVersion) {
        let (os, patch_level) = os_texts(version);
        if let Some(os) = os {
            self.option("os_version", os);
        }
        if let Some(patch_level) = patch_level {
            self.option("os_patch_level", patch_level);
        }
        self.file("kernel", "kernel");
        self.file("ramdisk", "ramdisk");
    }

    fn legacy(&mut self, image: &LegacyBootImage<'_>) {
        self.option("header_version", image.version.number().to_string());
        self.os_version(image.os_version);
        self.files(&[
            ("second", image.second),
            ("recovery_dtbo", image.recovery_dtbo),
            ("dtb", image.dtb),
        ]);
        for (name, value) in [
            ("pagesize", image.page_bytes),
            ("base", 0),
            ("kernel_offset", image.kernel_address),
            ("ramdisk_offset", image.ramdisk_address),
            ("second_offset", image.second_address),
            ("tags_offset", image.tags_address),
        ] {
            self.option(name, format!("{value:#010x}"));
        }
        if image.version == LegacyVersion::V2 {
            self.option("dtb_offset", format!("{:#018x}", image.dtb_address));
        }
        self.option("board", image.board);
        self.option("cmdline", format!("{}{}", image.cmdline, image.extra_cmdline));
    }

    fn boot(&mut self, image: &BootImage<'_>) {
        self.option("header_version", image.version.number().to_string());
        self.os_version(image.os_version);
        self.option("cmdline", image.cmdline);
        self.files(&[("boot_signature", image.signature)]);
        if image.version == HeaderVersion::V3OfAndroid11 {
            self.words.push("--android11_header_size".to_owned());
        }
    }

    fn vendor(&mut self, image: &VendorBootImage<'_>) {
        self.option("header_version", image.version.number().to_string());
        for (name, value) in [
            ("pagesize", image.page_bytes),
            ("base", 0),
            ("kernel_offset", image.kernel_address),
            ("ramdisk_offset", image.ramdisk_address),
            ("tags_offset", image.tags_address),
        ] {
            self.option(name, format!("{value:#010x}"));
        }
        self.option("dtb_offset", format!("{:#018x}", image.dtb_address));
        self.option("vendor_cmdline", image.cmdline);
        self.option("board", image.board);
        self.files(&[("dtb", image.dtb)]);
        if image.version != VendorVersion::V4 {
            self.file("vendor_ramdisk", "vendor_ramdisk");
            if image.version == VendorVersion::V3OfAndroid11 {
                self.words.push("--android11_header_size".to_owned());
            }
            return;
        }
        self.file("vendor_bootconfig", "bootconfig");
        for (nth, ramdisk) in image.ramdisks.iter().enumerate() {
            self.option("ramdisk_type", ramdisk.kind.to_string());
            self.option("ramdisk_name", ramdisk.name);
            for (word, value) in ramdisk.board_id.iter().enumerate().filter(|(_, it)| **it != 0) {
                self.option(&format!("board_id{word}"), format!("{value:#010x}"));
            }
            self.file("vendor_ramdisk_fragment", &ramdisk_file(nth));
        }
    }
}

/// The same as JSON: sizes and addresses are numbers.
pub(super) fn json_of(image: &Image<'_>, trailing_bytes: usize) -> Value {
    let mut told = match image {
        Image::Legacy(image) => legacy_json(image),
        Image::Boot(image) => boot_json(image),
        Image::Vendor(image) => vendor_json(image),
    };
    told["trailing_bytes"] = trailing_bytes.into();
    told
}

fn legacy_json(image: &LegacyBootImage<'_>) -> Value {
    let (os_version, os_patch_level) = os_texts(image.os_version);
    json!({
        "kind": "boot",
        "header_version": image.version.number(),
        "header_bytes": image.version.header_bytes(),
        "page_bytes": image.page_bytes,
        "kernel_bytes": image.kernel.len(),
        "kernel_address": image.kernel_address,
        "ramdisk_bytes": image.ramdisk.len(),
        "ramdisk_address": image.ramdisk_address,
        "second_bytes": image.second.len(),
        "second_address": image.second_address,
        "recovery_dtbo_bytes": image.recovery_dtbo.len(),
        "recovery_dtbo_offset": image.recovery_dtbo_offset(),
        "dtb_bytes": image.dtb.len(),
        "dtb_address": image.dtb_address,
        "tags_address": image.tags_address,
        "os_version": os_version,
        "os_patch_level": os_patch_level,
        "board": image.board,
        "cmdline": format!("{}{}", image.cmdline, image.extra_cmdline),
        "id": hex(&image.id),
        "id_matches": image.id == image.computed_id(),
    })
}

fn boot_json(image: &BootImage<'_>) -> Value {
    let (os_version, os_patch_level) = os_texts(image.os_version);
    json!({
        "kind": "boot",
        "header_version": image.version.number(),
        "header_bytes": image.version.header_bytes(),
        "page_bytes": bootimg::boot::PAGE_BYTES,
        "kernel_bytes": image.kernel.len(),
        "ramdisk_bytes": image.ramdisk.len(),
        "signature_bytes": image.signature.len(),
        "os_version": os_version,
        "os_patch_level": os_patch_level,
        "cmdline": image.cmdline,
    })
}

fn vendor_json(image: &VendorBootImage<'_>) -> Value {
    let ramdisk = |ramdisk: &bootimg::boot::VendorRamdisk<'_>| {
        json!({
            "bytes": ramdisk.data.len(),
            "type": ramdisk.kind,
            "name": ramdisk.name,
            "board_id": ramdisk.board_id,
        })
    };
    json!({
        "kind": "vendor_boot",
        "header_version": image.version.number(),
        "header_bytes": image.version.header_bytes(),
        "page_bytes": image.page_bytes,
        "kernel_address": image.kernel_address,
        "ramdisk_address": image.ramdisk_address,
        "tags_address": image.tags_address,
        "dtb_bytes": image.dtb.len(),
        "dtb_address": image.dtb_address,
        "vendor_cmdline": image.cmdline,
        "board": image.board,
        "ramdisks": image.ramdisks.iter().map(ramdisk).collect::<Vec<_>>(),
        "bootconfig_bytes": image.bootconfig.len(),
    })
}
