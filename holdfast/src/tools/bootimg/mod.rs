//! `holdfast bootimg`: boot images with the options of AOSP's mkbootimg and unpack_bootimg,
//! partition tables, slot metadata.

mod arguments;
mod describe;
mod fragments;
mod gpt;
mod pack;
mod slots;
mod unpack;

use crate::args::EXITS;
use crate::exit::{Exit, Lacking, Misused};
use anyhow::{Context, Result};
use clap::Subcommand;
use std::path::{Path, PathBuf};

/// The subcommands of `holdfast bootimg`.
#[derive(Debug, Subcommand)]
pub(crate) enum Bootimg {
    /// Make a boot image, a vendor boot image, or both, as mkbootimg does
    #[command(after_help = pack::AFTER_HELP)]
    Pack(Box<pack::Pack>),
    /// Take a boot image apart, as unpack_bootimg does
    #[command(after_help = unpack::AFTER_HELP)]
    Unpack(unpack::Unpack),
    /// Say what a boot image holds
    #[command(after_help = EXITS)]
    Info {
        /// The image: boot, init_boot, recovery or vendor_boot; what follows it is left alone
        image: PathBuf,
        /// One JSON object on standard output
        #[arg(long)]
        json: bool,
    },
    /// Check the partition table of a disk image, and write a damaged copy of it again
    #[command(after_help = EXITS)]
    Gpt(gpt::GptCommand),
    /// Say which slot boots next, by a misc partition
    #[command(after_help = EXITS)]
    Slots {
        /// The partition, or an image of it
        misc: PathBuf,
        /// One JSON object on standard output
        #[arg(long)]
        json: bool,
    },
}

/// Runs a subcommand.
pub(crate) fn run(command: Bootimg) -> Result<Exit> {
    match command {
        Bootimg::Pack(pack) => pack::run(&pack),
        Bootimg::Unpack(unpack) => unpack::run(&unpack),
        Bootimg::Info { image, json } => describe::run(&image, json),
        Bootimg::Gpt(command) => gpt::run(&command),
        Bootimg::Slots { misc, json } => slots::run(&misc, json),
    }
}

/// Reads a file that the command line names.
fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| Lacking(format!("{}: {error}", path.display())).into())
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).with_context(|| path.display().to_string())
}

fn misused(what: impl Into<String>) -> anyhow::Error {
    Misused(what.into()).into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
