//! `holdfast bootimg unpack`: unpack_bootimg.

use super::arguments::quote;
use super::describe::{arguments, json_of, ramdisk_file, text};
use super::{read, write};
use crate::exit::Exit;
use anyhow::{Context, Result, ensure};
use bootimg::boot::{Image, VendorBootImage, VendorVersion};
use clap::{Args, ValueEnum};
use std::io::Write as _;
use std::path::{Path, PathBuf};

pub(super) const AFTER_HELP: &str = "\
With --format=mkbootimg the output makes the image again:

  holdfast bootimg unpack --boot_img boot.img --out out --format=mkbootimg > arguments
  sh -c \"holdfast bootimg pack $(cat arguments) -o again.img\"

(for vendor_boot, --vendor_boot instead of -o). With -0 the arguments are not quoted and each ends \
with a zero byte, as xargs -0 wants them.

Exit codes: 0 unpacked, 1 the image is malformed, 2 the command line is wrong, 3 it is missing.";

/// The options of unpack_bootimg.
#[derive(Debug, Args)]
pub(crate) struct Unpack {
    /// The image: boot, init_boot, recovery or vendor_boot
    #[arg(long = "boot_img", value_name = "FILE")]
    boot_img: PathBuf,
    /// The folder for its parts
    #[arg(long, value_name = "DIR", default_value = "out")]
    out: PathBuf,
    /// What is printed
    #[arg(long, value_enum, default_value_t = Format::Info)]
    format: Format,
    /// With --format=mkbootimg: arguments that end with a zero byte
    #[arg(short = '0', long)]
    null: bool,
    /// One JSON object on standard output instead
    #[arg(long, conflicts_with_all = ["format", "null"])]
    json: bool,
}

/// What is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Text for people
    Info,
    /// Arguments that make the image again
    Mkbootimg,
}

/// Unpacks.
pub(crate) fn run(options: &Unpack) -> Result<Exit> {
    let bytes = read(&options.boot_img)?;
    let (image, rest) =
        Image::parse_prefix(&bytes).with_context(|| options.boot_img.display().to_string())?;
    std::fs::create_dir_all(&options.out).with_context(|| options.out.display().to_string())?;
    for (name, content) in parts(&image) {
        write(&options.out.join(name), content)?;
    }
    if let Image::Vendor(image) = &image {
        link_by_name(image, &options.out)?;
    }
    let arguments = || arguments(&image, &options.out.to_string_lossy());
    let said = match (options.json, options.format, options.null) {
        (true, ..) => format!("{}\n", json_of(&image, rest.len())),
        (_, Format::Info, _) => text(&image) + "\n",
        (_, Format::Mkbootimg, true) => arguments().iter().map(|it| format!("{it}\0")).collect(),
        (_, Format::Mkbootimg, false) => {
            arguments().iter().map(|it| quote(it)).collect::<Vec<_>>().join(" ") + "\n"
        }
    };
    std::io::stdout().write_all(said.as_bytes())?;
    Ok(Exit::Held)
}

/// The files that an image becomes. Kernel and ramdisk are there even where they are empty.
fn parts<'a>(image: &Image<'a>) -> Vec<(String, &'a [u8])> {
    let always = |name: &str| ["kernel", "ramdisk", "vendor_ramdisk", "bootconfig"].contains(&name);
    let found = match image {
        Image::Legacy(image) => vec![
            ("kernel", image.kernel),
            ("ramdisk", image.ramdisk),
            ("second", image.second),
            ("recovery_dtbo", image.recovery_dtbo),
            ("dtb", image.dtb),
        ],
        Image::Boot(image) => vec![
            ("kernel", image.kernel),
            ("ramdisk", image.ramdisk),
            ("boot_signature", image.signature),
        ],
        Image::Vendor(image) if image.version == VendorVersion::V4 => {
            let ramdisks = image.ramdisks.iter().enumerate();
            let ramdisks = ramdisks.map(|(nth, ramdisk)| (ramdisk_file(nth), ramdisk.data));
            let dtb = Some(("dtb".to_owned(), image.dtb)).filter(|(_, dtb)| !dtb.is_empty());
            let bootconfig = ("bootconfig".to_owned(), image.bootconfig);
            return ramdisks.chain([bootconfig]).chain(dtb).collect();
        }
        Image::Vendor(image) => {
            let ramdisk = image.ramdisks.first().map_or(&[][..], |ramdisk| ramdisk.data);
            vec![("vendor_ramdisk", ramdisk), ("dtb", image.dtb)]
        }
    };
    found
        .into_iter()
        .filter(|(name, content)| always(name) || !content.is_empty())
        .map(|(name, content)| (name.to_owned(), content))
        .collect()
}

/// Links to the vendor ramdisks by their names.
fn link_by_name(image: &VendorBootImage<'_>, out: &Path) -> Result<()> {
    if image.version != VendorVersion::V4 {
        return Ok(());
    }
    let folder = out.join("vendor-ramdisk-by-name");
    std::fs::create_dir_all(&folder)?;
    for (nth, ramdisk) in image.ramdisks.iter().enumerate() {
        let name = ramdisk.name;
        ensure!(!name.contains('/'), "a vendor ramdisk is named {name:?}: no file can be");
        let link = folder.join(format!("ramdisk_{name}"));
        match std::fs::remove_file(&link) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        std::os::unix::fs::symlink(Path::new("..").join(ramdisk_file(nth)), &link)?;
    }
    Ok(())
}
