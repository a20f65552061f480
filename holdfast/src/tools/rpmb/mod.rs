//! `holdfast rpmb`: an RPMB chip behind a socket, and its client with the commands of mmc-utils.

mod host;
mod serve;

use crate::args::EXITS;
use crate::exit::Exit;
use anyhow::Result;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Rpmb {
    /// Serve a chip in the foreground until a signal
    ///
    /// One JSON line on standard output says that it listens. Each write is on the disk before it
    /// is acknowledged. Debian's `mmc rpmb` uses the chip with librpmb_shim.so preloaded.
    #[command(after_help = EXITS)]
    Serve(Serve),
    /// Read the write counter
    #[command(after_help = EXITS)]
    ReadCounter {
        #[command(flatten)]
        chip: Chip,
        /// The key, to check the answer with: 32 bytes, or - for standard input
        key: Option<PathBuf>,
    },
    /// Read blocks of 256 bytes
    #[command(after_help = EXITS)]
    ReadBlock {
        #[command(flatten)]
        chip: Chip,
        /// The first block, as 2 or 0x02
        #[arg(value_parser = number)]
        address: u16,
        /// How many
        #[arg(value_parser = number)]
        count: u16,
        /// Where they go; - is standard output
        output: PathBuf,
        /// The key, to check the answer with: 32 bytes, or - for standard input
        key: Option<PathBuf>,
    },
    /// Write 1 to 32 blocks of 256 bytes, all or nothing
    #[command(after_help = EXITS)]
    WriteBlock {
        #[command(flatten)]
        chip: Chip,
        /// The first block, as 2 or 0x02
        #[arg(value_parser = number)]
        address: u16,
        /// What is written: a multiple of 256 bytes; - is standard input
        data: PathBuf,
        /// The key: 32 bytes, or - for standard input
        key: PathBuf,
    },
    /// Program the authentication key: once in the chip's life
    #[command(after_help = EXITS)]
    WriteKey {
        #[command(flatten)]
        chip: Chip,
        /// The key: 32 bytes, or - for standard input
        key: PathBuf,
    },
}

/// What `serve` is told.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// The chip's file, or a folder for rpmb.bin; a factory-fresh chip is made where there is none
    #[arg(long, value_name = "FILE|DIR")]
    pub(crate) state: PathBuf,
    /// Where it listens
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: PathBuf,
    /// Size of a new chip: a multiple of 128, at most 16384
    #[arg(long, value_name = "KIB", default_value_t = 4096, value_parser = size_kib)]
    pub(crate) size_kib: u32,
    /// The most blocks of one write (reliable write sector count, EXT_CSD[222])
    #[arg(long, value_name = "BLOCKS", default_value_t = 32,
          value_parser = clap::value_parser!(u8).range(1..=32))]
    pub(crate) max_write_blocks: u8,
}

/// Which chip.
#[derive(Debug, Args)]
pub(crate) struct Chip {
    /// One JSON object on standard output
    #[arg(long)]
    json: bool,
    /// The socket that `holdfast rpmb serve` listens at
    socket: PathBuf,
}

/// Runs a command.
pub(crate) fn run(command: Rpmb) -> Result<Exit> {
    match command {
        Rpmb::Serve(serve) => serve::run(&serve),
        Rpmb::ReadCounter { chip, key } => host::read_counter(&chip, key.as_deref()),
        Rpmb::ReadBlock { chip, address, count, output, key } => {
            host::read_block(&chip, address, count, &output, key.as_deref())
        }
        Rpmb::WriteBlock { chip, address, data, key } => {
            host::write_block(&chip, address, &data, &key)
        }
        Rpmb::WriteKey { chip, key } => host::write_key(&chip, &key),
    }
}

/// A number as C writes it: 18, 0x12, 022.
fn number(text: &str) -> Result<u16, String> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if text.len() > 1 && text.starts_with('0') => (&text[1..], 8),
        None => (text, 10),
    };
    u16::from_str_radix(digits, radix).map_err(|_| "a number from 0 to 65535 is needed".into())
}

fn size_kib(text: &str) -> Result<u32, String> {
    let size = text.parse().ok().filter(|size| (128..=16384).contains(size) && size % 128 == 0);
    size.ok_or_else(|| "a multiple of 128 from 128 to 16384 is needed".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_in_c() {
        for (text, value) in [("0", 0), ("18", 18), ("0x12", 18), ("0XfF", 255), ("022", 18)] {
            assert_eq!(number(text), Ok(value));
        }
        for wrong in ["", "0x", "65536", "-1", "0x10000", "8x", "09"] {
            assert!(number(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_are_those_of_chips() {
        assert_eq!((size_kib("128"), size_kib("16384")), (Ok(128), Ok(16384)));
        for wrong in ["0", "64", "100", "16512", "x"] {
            assert!(size_kib(wrong).is_err(), "{wrong}");
        }
    }
}
