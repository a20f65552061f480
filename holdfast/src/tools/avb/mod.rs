//! `holdfast avb`: Android Verified Boot images, made and judged.

mod avbtool;
mod case;
mod device;
mod explain;
mod slot_verify;

use crate::exit::{Exit, Lacking};
use anyhow::Result;
use clap::Subcommand;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

/// The subcommands of `holdfast avb`.
#[derive(Debug, Subcommand)]
#[command(infer_long_args = true, args_override_self = true)]
pub(crate) enum Avb {
    #[command(flatten)]
    Avbtool(avbtool::Avbtool),
    /// Decide as libavb whether a slot boots
    ///
    /// A case is a JSON file: `partitions` maps names of image files (`boot_a.img`) to paths,
    /// `input` says what a boot loader passes and what the device stores. The answer has libavb's
    /// result code and all that libavb gives with it.
    #[command(after_help = SLOT_VERIFY)]
    SlotVerify {
        /// The case
        #[arg(long, value_name = "CASE.json")]
        input: PathBuf,
        /// What the paths in the case are relative to [default: two folders above it]
        #[arg(long, value_name = "DIR")]
        root: Option<PathBuf>,
        /// One JSON object on standard output
        #[arg(long)]
        json: bool,
    },
    /// Say for people whether images boot, locked and unlocked, and whether it is safe to lock
    ///
    /// Give all images of a device, or a folder with them. Each stage is asked: the boot loader
    /// with libavb, the boot policy above it, the kernel's dm-verity. Without a key, the one in
    /// the images is taken for trusted, and the answer says so.
    #[command(after_help = EXPLAIN)]
    Explain(explain::Explain),
}

const SLOT_VERIFY: &str = "Exit codes: 0 libavb says OK, 1 it says something else, 2 the command \
                           line or the case is wrong, 3 a file of the case is missing.";

const EXPLAIN: &str = "Exit codes: 0 it is safe to lock, 1 it is not, 2 the command line is wrong, \
                       3 a file is missing.";

/// Runs a subcommand.
pub(crate) fn run(command: Avb) -> Result<Exit> {
    match command {
        Avb::Avbtool(command) => avbtool::run(&command),
        Avb::SlotVerify { input, root, json } => slot_verify::run(&input, root.as_deref(), json),
        Avb::Explain(asked) => explain::run(&asked),
    }
}

/// Opens a file that the command line or a case names.
fn open(path: &Path) -> Result<File> {
    super::open_image(path, OpenOptions::new().read(true)).map_err(|error| lacking(path, &error))
}

/// Reads such a file whole.
fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| lacking(path, &error))
}

fn lacking(path: &Path, error: &std::io::Error) -> anyhow::Error {
    Lacking(format!("{}: {error}", path.display())).into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
