//! The command line: what a person can type.

use clap::{Args, Parser, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Holdfast: device security from the boot ROM to the cloud.
#[derive(Debug, Parser)]
#[command(name = "holdfast", version, about, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a cloud and a device, play the whole story, and leave them running
    Up(Up),
    /// The Key Center
    #[command(subcommand)]
    Keycenter(Keycenter),
    /// The cloud
    #[command(subcommand)]
    Cloud(Cloud),
    /// A device
    #[command(subcommand)]
    Device(Device),
    /// Say what this machine offers, and what would make the isolation stronger
    Doctor {
        /// One JSON object on standard output
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        state: StateDir,
    },
}

/// Where everything lives.
#[derive(Debug, Clone, Args)]
pub(crate) struct StateDir {
    /// Where everything lives [default: the platform's data folder]
    #[arg(long = "state", env = "HOLDFAST_STATE", value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Up {
    #[command(flatten)]
    pub(crate) state: StateDir,
    /// The folder that the story uses [default: a small sample]
    #[arg(long, value_name = "DIR")]
    pub(crate) folder: Option<PathBuf>,
    /// Forget what stands in the state folder and start over
    #[arg(long)]
    pub(crate) fresh: bool,
    /// End after the story instead of staying up
    #[arg(long)]
    pub(crate) once: bool,
    /// One JSON object a step on standard output; progress goes to standard error
    #[arg(long)]
    pub(crate) json: bool,
    /// Where the cloud listens (port 0: any free one)
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8443")]
    pub(crate) listen: SocketAddr,
    /// Where the Key Center listens
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:0")]
    pub(crate) keycenter_listen: SocketAddr,
    /// Where the phone's screen is shown
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:0")]
    pub(crate) phone_listen: SocketAddr,
    /// Where the phone's trusted screen is shown
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:0")]
    pub(crate) trusted_listen: SocketAddr,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Keycenter {
    /// Serve in the foreground until a signal
    Serve {
        #[command(flatten)]
        state: StateDir,
        /// Where it listens (port 0: any free one)
        #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8200")]
        listen: SocketAddr,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Cloud {
    /// Serve in the foreground until a signal
    Serve {
        #[command(flatten)]
        state: StateDir,
        /// Where it listens (port 0: any free one)
        #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8443")]
        listen: SocketAddr,
        /// The Key Center, as https://localhost:8200
        #[arg(long, value_name = "URL")]
        keycenter: String,
        /// The CA that the Key Center's certificate chains to [default: the one in the state
        /// folder]
        #[arg(long, value_name = "FILE")]
        keycenter_ca: Option<PathBuf>,
        /// The cloud's credential at the Key Center [default: the one in the state folder]
        #[arg(long, value_name = "FILE")]
        keycenter_credential: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Device {
    /// Make a board: fuses, keys, certificate, signed flash image
    Make {
        #[command(flatten)]
        state: StateDir,
        /// The cloud that shall know this device, as https://localhost:8443
        #[arg(long, value_name = "CLOUD-URL")]
        enrol: Option<String>,
    },
    /// Power the device on, in the foreground, until a signal
    Boot {
        #[command(flatten)]
        state: StateDir,
    },
    /// Say how the device is
    Status {
        #[command(flatten)]
        state: StateDir,
        /// One JSON object on standard output
        #[arg(long)]
        json: bool,
    },
}
