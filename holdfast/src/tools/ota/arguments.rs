//! The command line of `holdfast ota`.

use super::remote::Input;
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

const EXITS: &str = "Exit codes: 0 it holds, 1 refused (the reason is on standard error), 2 the \
                     command line is wrong, 3 a file is missing or cannot be written.";

/// The subcommands of `holdfast ota`.
#[derive(Debug, Subcommand)]
pub(crate) enum Ota {
    /// Make a full update out of partition images
    ///
    /// NAME.img is the image of the partition NAME. The file is the same for the same input.
    #[command(after_help = EXITS)]
    Make(Make),
    /// Make an update that turns older images into newer ones
    ///
    /// Every NAME.img in the newer folder becomes a partition; without an older image of that name
    /// it is whole in the update. Memory: no more than twice the largest older
    /// image; as many cores work as fit into that.
    #[command(after_help = EXITS)]
    Delta(Delta),
    /// Sign an update with other keys
    ///
    /// Payload and whole file are signed again; every blob stays as it is.
    #[command(after_help = EXITS)]
    Sign(Sign),
    /// Judge who signed an update, that its parts belong together, and whether a device takes it
    #[command(after_help = EXITS)]
    Verify(Verify),
    /// Say what is in an update
    #[command(after_help = EXITS)]
    Info {
        /// An OTA zip file or a payload
        #[arg(value_name = "FILE")]
        input: PathBuf,
        /// One JSON object on standard output
        #[arg(long)]
        json: bool,
    },
    /// Apply an update to images, after judging who signed it
    ///
    /// New images appear as NAME.img in the target folder once all of them are complete and have
    /// the hash that the update names; until then they are NAME.img.part. Interrupted, the same
    /// command goes on where it was.
    ///
    /// From a URL it is read by range with its signed index: nothing is used before its hash was
    /// compared. Memory: for each core the largest operation.
    #[command(after_help = EXITS)]
    Apply(Apply),
    /// Take the images out of an update, whoever signed it
    #[command(after_help = EXITS)]
    Extract(Extract),
}

/// How payloads are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Packing {
    /// As small as devices of every age take it
    Xz,
    /// bzip2
    Bz2,
    /// Faster to apply; devices from Android 17 on
    Zstd,
    /// Not at all
    None,
}

/// With what an update is signed.
#[derive(Debug, Clone, Args)]
pub(crate) struct Signing {
    /// A private key (PEM, not encrypted: RSA or ECDSA P-256); several sign the payload each, the
    /// first signs the zip file too. Without any, the update is not signed
    #[arg(long, value_name = "KEY.pem")]
    pub(crate) key: Vec<PathBuf>,
    /// A program that signs, for keys that are elsewhere: the KEY.pem then are public keys or
    /// certificates. It gets algorithm (SHA256_RSA4096, SHA256_ECDSA_P256, …) and path of the key
    /// as arguments and on standard input what is to be signed: for RSA the padded digest, as
    /// avbtool gives it, else the digest. It gives the signature on standard output
    #[arg(long, value_name = "PROGRAM", requires = "key")]
    pub(crate) signing_helper: Option<PathBuf>,
    /// The first key's certificate
    #[arg(long, value_name = "CERT.pem", requires = "key")]
    pub(crate) cert: Option<PathBuf>,
    /// Write the signed index for streaming clients
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) index: Option<PathBuf>,
    /// The output is the payload alone, without the zip file around it
    #[arg(long, conflicts_with = "index")]
    pub(crate) bare: bool,
}

/// What the update says of itself.
#[derive(Debug, Clone, Args)]
pub(crate) struct About {
    /// The device it is for (ro.product.device); several: any of them
    #[arg(long, value_name = "NAME", default_value = "unknown")]
    pub(crate) device: Vec<String>,
    /// When the build was made, in seconds since 1970: no device with a newer one takes it
    #[arg(long, value_name = "SECONDS", env = "SOURCE_DATE_EPOCH", default_value_t = 0)]
    pub(crate) timestamp: i64,
    /// The build's fingerprint (ro.build.fingerprint)
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) fingerprint: String,
    /// The build's number (ro.build.version.incremental)
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) incremental: String,
    /// The build's API level
    #[arg(long, value_name = "NUMBER", default_value = "")]
    pub(crate) sdk_level: String,
    /// The build's security patch level
    #[arg(long, value_name = "YYYY-MM-DD", default_value = "")]
    pub(crate) security_patch: String,
    /// The only serial number that it is for; several: any of them
    #[arg(long, value_name = "TEXT")]
    pub(crate) serial: Vec<String>,
    /// The update erases user data
    #[arg(long)]
    pub(crate) wipe: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Make {
    /// Images NAME.img, or folders of them
    #[arg(required = true, value_name = "IMAGE")]
    pub(crate) images: Vec<PathBuf>,
    /// Where the update goes
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: PathBuf,
    #[command(flatten)]
    pub(crate) work: Work,
    #[command(flatten)]
    pub(crate) about: About,
    #[command(flatten)]
    pub(crate) signing: Signing,
}

/// How payloads are made.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Work {
    /// How data is compressed
    #[arg(long, value_enum, default_value_t = Packing::Xz)]
    pub(crate) compression: Packing,
    /// How hard: xz 0 to 9 [default: 6], zstd 1 to 22 [default: 19]
    #[arg(long, value_name = "LEVEL")]
    pub(crate) level: Option<u8>,
    /// MiB of an image that are one operation: larger ones compress better, smaller ones need
    /// less memory [default: 24; for a delta 64]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) stretch: Option<u16>,
    /// Leave out hash trees and error correction that AVB footers of the images describe: the
    /// device computes them
    #[arg(long)]
    pub(crate) device_verity: bool,
    /// One JSON object on standard output
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Delta {
    /// The folder with the older images
    #[arg(long, value_name = "DIR")]
    pub(crate) from: PathBuf,
    /// The folder with the newer images
    #[arg(long, value_name = "DIR")]
    pub(crate) to: PathBuf,
    /// Where the update goes
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Patches that bspatch reads (bzip2), for devices before Android 8
    #[arg(long)]
    pub(crate) no_brotli: bool,
    /// The older build's fingerprint: no device with another one takes the update
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) from_fingerprint: String,
    /// The older build's number
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) from_incremental: String,
    /// It may go back to an older build; the older fingerprint must be named
    #[arg(long, requires = "from_fingerprint")]
    pub(crate) downgrade: bool,
    #[command(flatten)]
    pub(crate) work: Work,
    #[command(flatten)]
    pub(crate) about: About,
    #[command(flatten)]
    pub(crate) signing: Signing,
}

#[derive(Debug, Args)]
pub(crate) struct Sign {
    /// An OTA zip file or a payload
    #[arg(value_name = "FILE")]
    pub(crate) input: PathBuf,
    /// Where the signed update goes
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: PathBuf,
    #[command(flatten)]
    pub(crate) signing: Signing,
    /// One JSON object on standard output
    #[arg(long)]
    pub(crate) json: bool,
}

/// Whom to trust.
#[derive(Debug, Clone, Args)]
pub(crate) struct Trust {
    /// Certificates that are trusted: PEM files, or an otacerts.zip; may be repeated
    #[arg(long, value_name = "FILE", required = true)]
    pub(crate) cert: Vec<PathBuf>,
}

/// The device that an update is judged for.
#[derive(Debug, Clone, Args)]
pub(crate) struct ForDevice {
    /// Judge the update for this device (ro.product.device)
    #[arg(long, value_name = "NAME")]
    pub(crate) device: Option<String>,
    /// The device's serial number
    #[arg(long, value_name = "TEXT", default_value = "", requires = "device")]
    pub(crate) serial: String,
    /// The fingerprint of the device's build
    #[arg(long, value_name = "TEXT", default_value = "", requires = "device")]
    pub(crate) fingerprint: String,
    /// The number of the device's build
    #[arg(long, value_name = "TEXT", default_value = "", requires = "device")]
    pub(crate) incremental: String,
    /// When the device's build was made, in seconds since 1970
    #[arg(long, value_name = "SECONDS", default_value_t = 0, requires = "device")]
    pub(crate) timestamp: i64,
    /// The device's security patch level
    #[arg(long, value_name = "YYYY-MM-DD", default_value = "", requires = "device")]
    pub(crate) security_patch: String,
}

/// How an update that lies on a server is read.
#[derive(Debug, Clone, Args)]
pub(crate) struct Streaming {
    /// The signed index, a file or a URL. An update at a URL is read by it; one in a file must be
    /// what it describes
    #[arg(long, value_name = "FILE|URL")]
    pub(crate) index: Option<Input>,
    /// The authorities that may vouch for https servers (PEM); nobody else may
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// An OTA zip file, or the URL of one; or a payload
    #[arg(value_name = "FILE|URL")]
    pub(crate) input: Input,
    #[command(flatten)]
    pub(crate) streaming: Streaming,
    #[command(flatten)]
    pub(crate) trust: Trust,
    #[command(flatten)]
    pub(crate) device: ForDevice,
    /// One JSON object on standard output
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Apply {
    /// An OTA zip file, or the URL of one; or a payload
    #[arg(value_name = "FILE|URL")]
    pub(crate) input: Input,
    #[command(flatten)]
    pub(crate) streaming: Streaming,
    /// Where the new images go
    #[arg(long, value_name = "DIR")]
    pub(crate) target: PathBuf,
    /// Where the older images are, for a delta
    #[arg(long, value_name = "DIR")]
    pub(crate) source: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) trust: Trust,
    #[command(flatten)]
    pub(crate) device: ForDevice,
    /// One JSON object on standard output
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Extract {
    /// An OTA zip file or a payload
    #[arg(value_name = "FILE")]
    pub(crate) input: PathBuf,
    /// Where the images go
    #[arg(long, short, value_name = "DIR")]
    pub(crate) output: PathBuf,
    /// Where the older images are, for a delta
    #[arg(long, value_name = "DIR")]
    pub(crate) source: Option<PathBuf>,
    /// Only this partition; may be repeated
    #[arg(long, value_name = "NAME")]
    pub(crate) partition: Vec<String>,
    /// One JSON object on standard output
    #[arg(long)]
    pub(crate) json: bool,
}
