//! The command line: what a person can type.

use crate::eid::args::Eid;
use crate::keys::args::Keys;
use crate::screen_lock::ScreenLock;
use crate::tools::attest::Attest;
use crate::tools::avb::Avb;
use crate::tools::bootimg::Bootimg;
use crate::tools::ota::Ota;
use crate::tools::rpmb::Rpmb;
use crate::tools::verity::Verity;
use crate::vault::args::Vault;
use clap::{Args, Parser, Subcommand};
use factory::{Backend, Imei, VerityErrorMode};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The exit codes, below each command's options.
pub(crate) const EXITS: &str = "Exit codes: 0 everything held, 1 something did not, 2 the command line is \
                     wrong, 3 the environment lacks something.";

/// Holdfast: device security from the boot ROM to the cloud
#[derive(Debug, Parser)]
#[command(name = "holdfast", version, propagate_version = true, after_help = EXITS)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a cloud and a device, play the whole story, and leave them running
    ///
    /// The next `up` goes on with the same device and account. The programs of the boot chain are
    /// taken from HOLDFAST_STAGES [default: beside this program]; NO_COLOR turns colours off.
    #[command(after_help = EXITS)]
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
    /// Attack a copy of a device, for real
    #[command(subcommand)]
    Attack(Attack),
    /// Say what this machine offers, and what would make the isolation stronger
    #[command(after_help = EXITS)]
    Doctor {
        /// One JSON object on standard output
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        state: StateDir,
    },
    /// Android Verified Boot images: make them, look at them, decide whether they boot
    #[command(subcommand)]
    Avb(Avb),
    /// dm-verity hash trees and their parity: make, verify, repair; as veritysetup does
    #[command(subcommand)]
    Verity(Verity),
    /// Boot images, partition tables, slot metadata: make them, take them apart, look at them
    #[command(subcommand)]
    Bootimg(Bootimg),
    /// RPMB: storage that only its key's holder writes and nobody replays, behind a socket
    #[command(subcommand)]
    Rpmb(Rpmb),
    /// Updates: make them out of images, as deltas too; sign, judge and apply them
    #[command(subcommand)]
    Ota(Ota),
    /// Keys in the TEE of the device on this machine: make them, use them, share them
    ///
    /// The device is the one whose socket is HOLDFAST_SOCKET, else the one in the state folder.
    #[command(subcommand)]
    Keys(Box<Keys>),
    /// A secure element without the hardware: make it, serve it to pcscd or to named programs
    ///
    /// `holdfast element --help` is that program's own.
    #[command(disable_help_flag = true)]
    Element {
        /// What it is told
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// An identity in a secure element: open it, show what you choose of it, give it up; be a reader
    #[command(subcommand)]
    Eid(Box<Eid>),
    /// Key attestation: what the certificates that a device made for a key prove
    #[command(subcommand)]
    Attest(Attest),
    /// Vaults: encrypted folders, mounted with a password, or with this device's TEE too
    #[command(subcommand)]
    Vault(Vault),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Attack {
    /// Attack the trusted side: as root of the normal world, from the machine, through old files
    ///
    /// Every attack is made on a copy of the device in the state folder, which must be off, or on a
    /// new one where there is none. An attack holds when it was refused and the TEE answers
    /// afterwards; one that this machine can't make says why, and the exit code is 3.
    #[command(after_help = EXITS)]
    Tee(AttackTee),
}

#[derive(Debug, Args)]
pub(crate) struct AttackTee {
    #[command(flatten)]
    pub(crate) state: StateDir,
    /// Attack a new device, whatever stands in the state folder
    #[arg(long)]
    pub(crate) fresh: bool,
    /// What the random messages grow from: the same number sends the same
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub(crate) seed: u64,
    /// One JSON object an attack on standard output
    #[arg(long)]
    pub(crate) json: bool,
}

/// Where everything lives.
#[derive(Debug, Clone, Args)]
pub(crate) struct StateDir {
    /// Where everything lives [default: $XDG_DATA_HOME/holdfast, else ~/.local/share/holdfast]
    #[arg(long = "state", env = "HOLDFAST_STATE", value_name = "DIR", hide_env_values = true)]
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
    /// Where the Key Center listens (port 0: any free one)
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
    ///
    /// One JSON line on standard output says where it listens. The first start makes its CA, its
    /// keys, and bootstrap/cloud.json: the cloud's credential.
    #[command(after_help = EXITS)]
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
    ///
    /// One JSON line on standard output says where it listens. The first start makes its CA and
    /// four credentials: maker.json to enrol devices, developer.json to push, attestation.json to
    /// admit relying parties, clerk.json to register persons for an eID.
    #[command(after_help = EXITS)]
    Serve(ServeCloud),
}

/// `holdfast cloud serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeCloud {
    #[command(flatten)]
    pub(crate) state: StateDir,
    /// Where it listens (port 0: any free one)
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8443")]
    pub(crate) listen: SocketAddr,
    /// The Key Center, as https://localhost:8200
    #[arg(long, value_name = "URL")]
    pub(crate) keycenter: String,
    /// The CA that the Key Center's certificate chains to [default: keycenter/ca.pem in the state
    /// folder]
    #[arg(long, value_name = "FILE")]
    pub(crate) keycenter_ca: Option<PathBuf>,
    /// The cloud's credential at the Key Center [default: keycenter/bootstrap/cloud.json in the
    /// state folder]
    #[arg(long, value_name = "FILE")]
    pub(crate) keycenter_credential: Option<PathBuf>,
    /// Trust the keys of these root certificates too (PEM), for policies that say so
    #[arg(long, value_name = "FILE")]
    pub(crate) attestation_roots: Vec<PathBuf>,
    /// Google's revocation list, a file or an https address; without it no phone under Google's
    /// roots counts
    #[arg(long, value_name = "FILE|URL")]
    pub(crate) google_status: Option<OsString>,
    /// The CAs that the list's address chains to (PEM)
    #[arg(long, value_name = "FILE", requires = "google_status")]
    pub(crate) google_status_ca: Option<PathBuf>,
    /// How old that list may be [default: 24]
    #[arg(long, value_name = "HOURS", requires = "google_status")]
    pub(crate) google_status_max_age: Option<u64>,
}

/// Where the bootloader's lock changes, and how that is told.
#[derive(Debug, Args)]
pub(crate) struct Relock {
    #[command(flatten)]
    pub(crate) state: StateDir,
    /// One JSON object on standard output
    #[arg(long)]
    pub(crate) json: bool,
}

/// `holdfast device confirm`.
#[derive(Debug, Args)]
pub(crate) struct Confirm {
    #[command(flatten)]
    pub(crate) state: StateDir,
    /// What is shown, all of it: letters of Latin, Greek and Cyrillic, digits, punctuation
    #[arg(long, value_name = "TEXT")]
    pub(crate) text: String,
    /// What is signed with it, unseen, as a server's challenge: at most 2048 bytes
    #[arg(long, value_name = "FILE")]
    pub(crate) extra_file: Option<PathBuf>,
    /// A folder for message.cbor, signature.der and chain.pem
    #[arg(long, value_name = "FOLDER")]
    pub(crate) output: Option<PathBuf>,
    /// One JSON object on standard output: message, signature and chain as base64
    #[arg(long)]
    pub(crate) json: bool,
}

/// What a release is called, and how old it is.
#[derive(Debug, Args)]
pub(crate) struct Release {
    #[command(flatten)]
    pub(crate) state: StateDir,
    /// The folder for the images
    #[arg(long, value_name = "FOLDER")]
    pub(crate) output: PathBuf,
    /// The build's number (ro.build.version.incremental); devices are made with 1
    #[arg(long, value_name = "TEXT", default_value = "2")]
    pub(crate) incremental: String,
    /// The version [default: this program's]
    #[arg(long, value_name = "TEXT")]
    pub(crate) release_version: Option<String>,
    /// Android's version [default: 16]
    #[arg(long, value_name = "TEXT")]
    pub(crate) os_version: Option<String>,
    /// The security patch level [default: 2026-11-05]
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub(crate) security_patch: Option<String>,
    /// When the build was made, in seconds since 1970 [default: now]
    #[arg(long, value_name = "SECONDS", env = "SOURCE_DATE_EPOCH")]
    pub(crate) timestamp: Option<i64>,
    /// The rollback index of everything that is signed; devices are made with 2
    #[arg(long, value_name = "NUMBER", default_value_t = 2)]
    pub(crate) rollback_index: u64,
    /// One JSON object on standard output
    #[arg(long)]
    pub(crate) json: bool,
}

/// `holdfast device update`.
#[derive(Debug, Args)]
pub(crate) struct Update {
    #[command(flatten)]
    pub(crate) state: StateDir,
    #[command(flatten)]
    pub(crate) act: UpdateActs,
    /// Take this OTA zip instead of asking the cloud
    #[arg(long, value_name = "OTA.zip", conflicts_with = "act")]
    pub(crate) file: Option<PathBuf>,
    /// Everything but the restart
    #[arg(long, conflicts_with = "act")]
    pub(crate) no_restart: bool,
    /// One JSON object on standard output: how it stands at the end, or the refusal
    #[arg(long)]
    pub(crate) json: bool,
}

/// One step only.
#[derive(Debug, Args)]
#[group(id = "act", multiple = false)]
pub(crate) struct UpdateActs {
    /// Only say how far the update is
    #[arg(long)]
    status: bool,
    /// Only ask the cloud what there is
    #[arg(long)]
    check: bool,
    /// Only download what the last check found, and apply it later
    #[arg(long)]
    download: bool,
    /// Only write what was downloaded to the other slot, while the system runs
    #[arg(long)]
    apply: bool,
    /// Only restart into what was applied
    #[arg(long)]
    restart: bool,
    /// Throw the update and its package away
    #[arg(long)]
    discard: bool,
}

/// Which step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UpdateAct {
    Status,
    Check,
    Download,
    Apply,
    Restart,
    Discard,
}

impl UpdateActs {
    /// The one step that was asked for; none: the whole way.
    pub(crate) fn only(&self) -> Option<UpdateAct> {
        let asked = [
            (self.status, UpdateAct::Status),
            (self.check, UpdateAct::Check),
            (self.download, UpdateAct::Download),
            (self.apply, UpdateAct::Apply),
            (self.restart, UpdateAct::Restart),
            (self.discard, UpdateAct::Discard),
        ];
        asked.into_iter().find(|(asked, _)| *asked).map(|(_, act)| act)
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Device {
    /// Make a board: fuses, keys, certificate, signed flash image
    ///
    /// The programs of its boot chain are taken from HOLDFAST_STAGES [default: beside this
    /// program].
    #[command(after_help = EXITS)]
    Make {
        #[command(flatten)]
        state: StateDir,
        /// The cloud that shall know this device, as https://localhost:8443; without one the
        /// device works alone
        #[arg(long, value_name = "CLOUD-URL")]
        enrol: Option<String>,
        /// The CA that the cloud's certificate chains to [default: cloud/ca.pem in the state
        /// folder]
        #[arg(long, value_name = "FILE", requires = "enrol")]
        cloud_ca: Option<PathBuf>,
        /// The maker's credential at the cloud [default: cloud/maker.json in the state folder]
        #[arg(long, value_name = "FILE", requires = "enrol")]
        maker_credential: Option<PathBuf>,
        /// What happens when a block of the system on the flash is not the one that was signed:
        /// managed (restart, then I/O errors until there is another system), restart, eio or
        /// panic (stop)
        #[arg(long, value_name = "MODE", default_value = "managed", value_parser = error_mode)]
        verity_error_mode: VerityErrorMode,
        /// What the board stands on: emulated (files of this user), or tpm2=ADDRESS: HUK, fuses and
        /// counters in a TPM 2.0 at device:/dev/tpmrm0, swtpm:unix:/path/of/socket or
        /// swtpm:HOST:PORT
        #[arg(long, value_name = "BACKEND", default_value = "emulated")]
        board: Backend,
        /// The IMEI that the device may attest, where it has a modem with one
        #[arg(long, value_name = "DIGITS")]
        imei: Option<Imei>,
    },
    /// Build the partition images of a release, for `holdfast ota make` and `ota delta`
    ///
    /// NAME.img for each partition of a slot, signed with the maker's keys, out of the programs in
    /// HOLDFAST_STAGES [default: beside this program]. The same input gives the same bytes. The
    /// maker's maker/ota.key and maker/ota.pem are what `ota make --key --cert` takes.
    #[command(after_help = EXITS)]
    Release(Release),
    /// Power the device on, in the foreground, until a signal
    ///
    /// One JSON line on standard output says where its two screens are. The device reaches the
    /// cloud that it was enrolled with and that cloud's Key Center, and nobody else.
    #[command(after_help = EXITS)]
    Boot {
        #[command(flatten)]
        state: StateDir,
        /// Where the phone's screen is shown (port 0: any free one)
        #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:0")]
        phone_listen: SocketAddr,
        /// Where the phone's trusted screen is shown (port 0: any free one)
        #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:0")]
        trusted_listen: SocketAddr,
        /// A host that the device may reach besides, or where one of its own is now; may be
        /// repeated
        #[arg(long, value_name = "HOST:PORT[=ADDR:PORT]")]
        reach: Vec<String>,
    },
    /// Run a program with HOLDFAST_SOCKET naming the device's local socket
    ///
    /// As `holdfast device run -- sh -c 'curl --unix-socket "$HOLDFAST_SOCKET"
    /// http://localhost/v1/status'`. The exit code is the program's.
    Run {
        #[command(flatten)]
        state: StateDir,
        /// The program and its arguments
        #[arg(required = true, trailing_var_arg = true, value_name = "PROGRAM")]
        program: Vec<OsString>,
    },
    /// Unlock the bootloader: any system boots then, and all data is erased
    ///
    /// The person agrees on the trusted screen; then the device restarts. Refused while
    /// find-device is on.
    #[command(after_help = EXITS)]
    Unlock(Relock),
    /// Lock the bootloader: only a signed system boots then, and all data is erased
    ///
    /// Refused with the reason where the images on the flash would not boot locked. The person
    /// agrees on the trusted screen; then the device restarts.
    #[command(after_help = EXITS)]
    Lock(Relock),
    /// Trust a key of your own beside the maker's (avb_custom_key), while the bootloader is
    /// unlocked
    ///
    /// A locked device boots what this key signed in yellow and shows the key's fingerprint.
    #[command(after_help = EXITS)]
    SetCustomKey {
        #[command(flatten)]
        state: StateDir,
        /// AVB public-key blob, as `avbtool extract_public_key` writes it
        #[arg(value_name = "FILE", required_unless_present = "clear")]
        key: Option<PathBuf>,
        /// Trust the maker's key alone again
        #[arg(long, conflicts_with = "key")]
        clear: bool,
    },
    /// Revoke a root key of the maker by fuse, for good; the device is off
    ///
    /// What that key signed does not boot any more. Refused where nothing on the flash would boot
    /// then: flash what the other key signed first. The last key stays.
    #[command(after_help = EXITS)]
    RevokeKey {
        #[command(flatten)]
        state: StateDir,
        /// The key's slot in the fuses: 1 or 2
        #[arg(value_name = "SLOT")]
        slot: usize,
    },
    /// Update the device's system: check, download, apply, restart, each by itself or all at once
    ///
    /// Alone it goes the whole way from wherever the update stands, and waits until the new system
    /// is up. Interrupted, the same command goes on; a download goes on where it was cut. That
    /// there is nothing to do is exit code 0.
    #[command(after_help = EXITS)]
    Update(Update),
    /// Trusted applications: install signed images, list them, remove them, call them
    ///
    /// docs/trusted-applications.md shows how one is written and signed.
    #[command(subcommand)]
    Ta(Ta),
    /// Have the person confirm a text on the trusted screen, and sign it
    ///
    /// The key that signs was made for this, in the TEE: it signs nothing that a person did not
    /// confirm. Its certificates say so and lead to the maker's root; their challenge is SHA-256
    /// of the extra data. What is signed is CBOR: {"prompt": text, "extra": bytes}.
    #[command(after_help = EXITS)]
    Confirm(Confirm),
    /// The screen lock: set, change, open and close it; other ways in, and its rules
    #[command(subcommand)]
    ScreenLock(ScreenLock),
    /// Say how the device is; exit code 1 while it is off or its system is not up
    #[command(after_help = EXITS)]
    Status {
        #[command(flatten)]
        state: StateDir,
        /// One JSON object on standard output
        #[arg(long)]
        json: bool,
    },
}

/// `holdfast device ta`.
#[derive(Debug, Subcommand)]
pub(crate) enum Ta {
    /// Install a signed image; a newer version takes the place of an older one
    ///
    /// The TEE judges it: the signature, the version, what it declares. It is kept, and loaded
    /// again at each start.
    #[command(after_help = EXITS)]
    Install {
        #[command(flatten)]
        state: StateDir,
        /// A static program with an AVB hash footer, as `avbtool add_hash_footer` makes it
        image: PathBuf,
        /// One JSON object on standard output
        #[arg(long)]
        json: bool,
    },
    /// List the trusted applications, those of the system included
    #[command(after_help = EXITS)]
    List {
        #[command(flatten)]
        state: StateDir,
        /// One JSON object on standard output
        #[arg(long)]
        json: bool,
    },
    /// Remove one that was installed; what it stored stays, sealed, for when it comes back
    #[command(after_help = EXITS)]
    Remove {
        #[command(flatten)]
        state: StateDir,
        #[command(flatten)]
        target: TaTarget,
        /// One JSON object on standard output
        #[arg(long)]
        json: bool,
    },
    /// Run a command in a session of its own
    ///
    /// JSON stands for the CBOR of the same form, there and back: '"read"', '{"add": 2}'.
    #[command(after_help = EXITS)]
    Call {
        #[command(flatten)]
        state: StateDir,
        #[command(flatten)]
        target: TaTarget,
        /// The command, as JSON
        #[arg(value_name = "JSON")]
        command: String,
        /// One JSON object on standard output
        #[arg(long)]
        json: bool,
    },
}

impl Ta {
    /// Where the device is.
    pub(crate) const fn state(&self) -> &StateDir {
        match self {
            Self::Install { state, .. }
            | Self::List { state, .. }
            | Self::Remove { state, .. }
            | Self::Call { state, .. } => state,
        }
    }
}

/// Which trusted application.
#[derive(Debug, Args)]
pub(crate) struct TaTarget {
    /// Its UUID
    pub(crate) uuid: String,
    /// Whose: `maker`, or SHA-256 of the AVB public-key blob [default: the maker's, else the only
    /// one of that UUID]
    #[arg(long, value_name = "DIGEST")]
    pub(crate) signer: Option<String>,
}

fn error_mode(name: &str) -> Result<VerityErrorMode, String> {
    let known = VerityErrorMode::ALL.map(VerityErrorMode::name).join(", ");
    VerityErrorMode::from_name(name).ok_or_else(|| format!("one of {known}"))
}
