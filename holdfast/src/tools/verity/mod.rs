//! `holdfast verity`: dm-verity hash trees and their parity, interchangeable with veritysetup.

mod area;
mod cores;
mod parity;
mod print;
mod repair;
mod setup;
mod tree;

use crate::exit::Exit;
use anyhow::Result;
use clap::{Args, Subcommand};
use std::path::PathBuf;

const EXITS: &str = "Exit codes: 0 it holds, 1 it does not, or it can't be done, 2 the command \
                     line is wrong, 3 a file is missing or can't be read or written.";

/// The subcommands of `holdfast verity`.
#[derive(Debug, Subcommand)]
pub(crate) enum Verity {
    /// Make the hash tree over an image, and parity with --fec-device (veritysetup format)
    ///
    /// Prints the root hash: whoever trusts it can trust every block of the image.
    #[command(after_help = EXITS)]
    Build {
        #[command(flatten)]
        image: Image,
        #[command(flatten)]
        shape: Shape,
        /// Names the hash device, in the superblock [default: random]
        #[arg(long, value_name = "UUID", conflicts_with = "no_superblock")]
        uuid: Option<String>,
        /// Write the root hash to this file as well
        #[arg(long, value_name = "FILE")]
        root_hash_file: Option<PathBuf>,
        /// One JSON object on standard output
        #[arg(long)]
        json: bool,
    },
    /// Check every block of image and tree against the root hash, and the parity against both
    #[command(after_help = EXITS)]
    Verify {
        #[command(flatten)]
        image: Image,
        #[command(flatten)]
        root: Root,
        #[command(flatten)]
        shape: Shape,
        /// One JSON object on standard output
        #[arg(long)]
        json: bool,
    },
    /// Restore damaged blocks of image and tree from the parity, in place
    ///
    /// A block is written only when its hash leads up to the root hash. Exit code 0: image, tree
    /// and parity are right now.
    #[command(after_help = EXITS)]
    Repair {
        #[command(flatten)]
        image: Image,
        #[command(flatten)]
        root: Root,
        #[command(flatten)]
        shape: Shape,
        /// One JSON object on standard output
        #[arg(long)]
        json: bool,
    },
    /// Print the line that `dmsetup create --readonly --table` takes
    #[command(after_help = EXITS)]
    Table {
        #[command(flatten)]
        image: Image,
        #[command(flatten)]
        root: Root,
        #[command(flatten)]
        shape: Shape,
        #[command(flatten)]
        named: Named,
        /// One JSON object on standard output
        #[arg(long)]
        json: bool,
    },
}

/// What is protected, and where its tree is.
#[derive(Debug, Args)]
pub(crate) struct Image {
    /// The image: a file or a block device
    #[arg(value_name = "DATA")]
    pub(crate) data: PathBuf,
    /// The file or block device with the tree; may be the image itself with --hash-offset
    #[arg(value_name = "HASH")]
    pub(crate) hash: PathBuf,
}

/// What is trusted.
#[derive(Debug, Args)]
pub(crate) struct Root {
    /// The root hash in hexadecimal
    #[arg(
        value_name = "ROOT",
        required_unless_present = "root_hash_file",
        conflicts_with = "root_hash_file"
    )]
    pub(crate) root: Option<String>,
    /// Read the root hash from this file
    #[arg(long, value_name = "FILE")]
    pub(crate) root_hash_file: Option<PathBuf>,
}

/// How the tree is made and where it is. With a superblock all but offsets and parity comes from
/// there once it is written.
#[derive(Debug, Args)]
pub(crate) struct Shape {
    /// sha1, sha256, sha512 or blake2b-256
    #[arg(long = "hash", value_name = "NAME", default_value = "sha256")]
    pub(crate) algorithm: String,
    /// In hexadecimal, up to 256 bytes; `-` for none [default: 32 random bytes for build, else
    /// none]
    #[arg(long, short = 's', value_name = "HEX")]
    pub(crate) salt: Option<String>,
    /// 1, or 0 for that of the first Chrome OS
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub(crate) format: u32,
    /// A power of two from 512 to 65536
    #[arg(long, value_name = "BYTES", default_value_t = 4096)]
    pub(crate) data_block_size: u32,
    /// A power of two from 512 to 65536
    #[arg(long, value_name = "BYTES", default_value_t = 4096)]
    pub(crate) hash_block_size: u32,
    /// How many blocks are protected [default: all of DATA]
    #[arg(long, value_name = "BLOCKS")]
    pub(crate) data_blocks: Option<u64>,
    /// Where superblock and tree begin in HASH
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    pub(crate) hash_offset: u64,
    /// The tree has no superblock, as in AVB images
    #[arg(long)]
    pub(crate) no_superblock: bool,
    /// The file or block device with the parity; may be DATA or HASH with --fec-offset
    #[arg(long, value_name = "FILE")]
    pub(crate) fec_device: Option<PathBuf>,
    /// Where the parity begins there
    #[arg(long, value_name = "BYTES", default_value_t = 0, requires = "fec_device")]
    pub(crate) fec_offset: u64,
    /// Bytes of parity for each 255 − roots bytes: 2 to 24
    #[arg(long, value_name = "ROOTS", default_value_t = 2, requires = "fec_device")]
    pub(crate) fec_roots: u32,
}

/// What the table says beyond where things are.
#[derive(Debug, Args)]
pub(crate) struct Named {
    /// The image's device in the table [default: DATA]
    #[arg(long, value_name = "DEVICE")]
    pub(crate) data_name: Option<String>,
    /// The tree's device in the table [default: HASH]
    #[arg(long, value_name = "DEVICE")]
    pub(crate) hash_name: Option<String>,
    /// The parity's device in the table [default: that of --fec-device]
    #[arg(long, value_name = "DEVICE", requires = "fec_device")]
    pub(crate) fec_name: Option<String>,
    /// Log corruption, and give out the corrupted block
    #[arg(long, conflicts_with_all = ["restart_on_corruption", "panic_on_corruption"])]
    pub(crate) ignore_corruption: bool,
    /// Restart the machine on corruption
    #[arg(long, conflicts_with = "panic_on_corruption")]
    pub(crate) restart_on_corruption: bool,
    /// Panic on corruption
    #[arg(long)]
    pub(crate) panic_on_corruption: bool,
    /// Give out blocks that are to be zero without reading them
    #[arg(long)]
    pub(crate) ignore_zero_blocks: bool,
    /// Check a block only when it is read first
    #[arg(long)]
    pub(crate) check_at_most_once: bool,
}

impl Named {
    /// The kernel's names of the options that are set.
    pub(crate) fn options(&self) -> Vec<&'static str> {
        let all = [
            (self.ignore_corruption, "ignore_corruption"),
            (self.restart_on_corruption, "restart_on_corruption"),
            (self.panic_on_corruption, "panic_on_corruption"),
            (self.ignore_zero_blocks, "ignore_zero_blocks"),
            (self.check_at_most_once, "check_at_most_once"),
        ];
        all.into_iter().filter(|(set, _)| *set).map(|(_, name)| name).collect()
    }
}

/// Runs a subcommand.
pub(crate) fn run(command: Verity) -> Result<Exit> {
    match command {
        Verity::Build { image, shape, uuid, root_hash_file, json } => {
            let setup = setup::Setup::to_build(&image, &shape, uuid.as_deref())?;
            let root = tree::build(&setup)?;
            let parity = setup.fec.as_ref().map(|fec| parity::build(&setup, fec)).transpose()?;
            if let Some(file) = root_hash_file {
                setup::write_file(&file, print::hex(root.as_bytes()).as_bytes())?;
            }
            print::built(&setup, &root, parity.as_ref(), json);
            Ok(Exit::Held)
        }
        Verity::Verify { image, root, shape, json } => {
            let setup = setup::Setup::to_read(&image, &shape, setup::Access::Read)?;
            let root = setup.root(&root)?;
            let wrong = tree::check(&setup, &root)?;
            let fec = setup.fec.as_ref().filter(|_| wrong.is_empty());
            let parity = fec.map(|fec| parity::check(&setup, fec)).transpose()?;
            Ok(print::verified(&setup, &wrong, parity, json))
        }
        Verity::Repair { image, root, shape, json } => {
            let setup = setup::Setup::to_read(&image, &shape, setup::Access::Write)?;
            let root = setup.root(&root)?;
            let report = repair::run(&setup, &root)?;
            Ok(print::repaired(&setup, &report, json))
        }
        Verity::Table { image, root, shape, named, json } => {
            let setup = setup::Setup::to_read(&image, &shape, setup::Access::Read)?;
            let root = setup.root(&root)?;
            print::table(&setup, &image, root, &named, shape.fec_device.as_deref(), json)?;
            Ok(Exit::Held)
        }
    }
}
