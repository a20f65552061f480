//! `holdfast vault`: what a person can type.

use crate::args::EXITS;
use clap::{Args, Subcommand};
use std::path::PathBuf;

const PASSWORDS: &str = "The password comes from --password-fd, else from HOLDFAST_PASSWORD, else \
                         from the terminal.";

/// `holdfast vault`.
#[derive(Debug, Subcommand)]
pub(crate) enum Vault {
    /// Make an empty vault in a new or an empty folder
    #[command(after_help = EXITS, long_about = long("Make an empty vault in a new or an empty folder"))]
    Create {
        #[command(flatten)]
        at: At,
        #[command(flatten)]
        password: Password,
        /// Bind the vault to this device: a key in its TEE, which never leaves it, is needed too
        #[arg(long)]
        tee: bool,
        #[command(flatten)]
        cost: GuessCost,
    },
    /// Mount a vault
    ///
    /// Returns when the files are there. The vault stays unlocked until `lock`, or until somebody
    /// unmounts it. Root's mount is for all users, within their rights; another's is for that user
    /// alone, and needs fusermount3. The password comes from --password-fd, else from
    /// HOLDFAST_PASSWORD, else from the terminal.
    #[command(after_help = EXITS)]
    Unlock {
        #[command(flatten)]
        at: At,
        #[command(flatten)]
        password: Password,
        /// Where: an existing folder, best an empty one
        #[arg(long, value_name = "FOLDER")]
        mount: PathBuf,
        /// Stay in the foreground; one JSON line on standard output says when it is ready, and a
        /// signal locks the vault
        #[arg(long)]
        foreground: bool,
    },
    /// Unmount a vault; its keys are gone when this returns
    ///
    /// Where it is in use it stays unlocked, the exit code is 1, and who uses what is listed.
    #[command(after_help = EXITS)]
    Lock {
        #[command(flatten)]
        at: At,
        /// Even while it is in use: whoever uses it gets errors, unwritten data is lost
        #[arg(long)]
        force: bool,
    },
    /// Say whether a vault is unlocked, where, and what encrypts it
    #[command(after_help = EXITS)]
    Status {
        #[command(flatten)]
        at: At,
    },
    /// Change the password; no file changes, and an unlocked vault stays so
    ///
    /// The new one comes from --new-password-fd, else from HOLDFAST_NEW_PASSWORD, else from the
    /// terminal.
    #[command(after_help = EXITS)]
    Passwd {
        #[command(flatten)]
        at: At,
        #[command(flatten)]
        password: Password,
        /// Read the new password from this descriptor
        #[arg(long, value_name = "FD")]
        new_password_fd: Option<u32>,
    },
    /// Read every block, name, link and attribute of a locked vault, and say what was altered
    ///
    /// Exit code 1 if anything was.
    #[command(after_help = EXITS)]
    Check {
        #[command(flatten)]
        at: At,
        #[command(flatten)]
        password: Password,
    },
}

fn long(first: &str) -> String {
    format!("{first}\n\n{PASSWORDS}")
}

/// Which vault, and how it is told what came of it.
#[derive(Debug, Args)]
pub(crate) struct At {
    /// The vault's folder
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// One JSON object on standard output
    #[arg(long)]
    pub(crate) json: bool,
}

/// What each guess of the password costs, and each unlock: Argon2id (RFC 9106).
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct GuessCost {
    /// Memory that a guess of the password takes
    #[arg(long, value_name = "MIB", default_value_t = 64,
          value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) argon2_memory: u32,
    /// Passes over that memory
    #[arg(long, value_name = "NUMBER", default_value_t = 3,
          value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) argon2_passes: u32,
}

/// Where the password comes from.
#[derive(Debug, Args)]
pub(crate) struct Password {
    /// Read the password from this descriptor, to its end; one newline at the end does not count
    #[arg(long, value_name = "FD")]
    pub(crate) password_fd: Option<u32>,
}
