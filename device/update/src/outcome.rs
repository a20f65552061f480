//! What recovery tells the system: a file in the folder of updates, and the command in misc.

use crate::storage::SlotStorage;
use board::flash::FlashError;
use board::report::Slot;
use boot::recovery::GAVE_UP;
use bootimg::misc::{BOOT_RECOVERY, BootloaderMessage};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;

/// The folder of updates, in `/data`.
pub const FOLDER: &str = "update";
/// How recovery names it, wherever the host has it.
const PREFIX: &str = "/data/update/";
/// The file in it that recovery writes.
pub const RESULT: &str = "recovery.json";

/// What recovery did with a package. JSON, `recovery.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// What became of it.
    pub outcome: Outcome,
    /// One word that says why, for the cloud; absent where it was installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub word: Option<String>,
    /// What happened and what to do, for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The package's file name.
    pub package: String,
    /// The slot that it was installed into.
    pub target: Slot,
    /// The fingerprint of the build that ran.
    pub from: String,
    /// The fingerprint of the package's build, as far as it was read.
    pub to: String,
}

/// What became of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The target slot holds it and is the next to boot.
    Installed,
    /// Refused; nothing was written.
    Refused,
    /// Begun and not completed; the target slot is unbootable.
    Failed,
}

/// How an update ended, seen from the system that runs now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// The new system runs.
    Booted(Report),
    /// Recovery installed it, but it never came up: the old system runs again.
    FellBack(Report),
    /// Recovery refused it or failed.
    NotInstalled(Report),
    /// Recovery was started again and again and never ended.
    GaveUp,
}

impl Ending {
    /// One word for the cloud; `None`: it went well.
    #[must_use]
    pub fn word(&self) -> Option<&str> {
        match self {
            Self::Booted(_) => None,
            Self::FellBack(_) => Some("boot_failed"),
            Self::NotInstalled(report) => Some(report.word.as_deref().unwrap_or("failed")),
            Self::GaveUp => Some("recovery_died"),
        }
    }

    /// For a person; `None`: it went well.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Booted(_) => None,
            Self::FellBack(_) => {
                Some("the new system was installed and never came up; the old one runs again")
            }
            Self::NotInstalled(report) => Some(report.reason.as_deref().unwrap_or("no reason")),
            Self::GaveUp => Some("recovery was started several times and never came to an end"),
        }
    }
}

/// Asks the next boot to install `package`, a file in the folder of updates. Whatever recovery said
/// before is forgotten first. The system then restarts the device.
pub fn request(storage: &dyn SlotStorage, folder: &Path, package: &str) -> Result<(), FlashError> {
    forget(storage, folder)?;
    storage.put_message(&BootloaderMessage::install(&format!("{PREFIX}{package}")))
}

/// The package that the message in misc names: a file name in the folder of updates, and nothing
/// that leads out of it.
#[must_use]
pub fn requested(message: &BootloaderMessage) -> Option<&str> {
    if message.command != BOOT_RECOVERY {
        return None;
    }
    let name = message.update_package()?.strip_prefix(PREFIX)?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (!name.is_empty() && !name.starts_with('.') && name.bytes().all(plain)).then_some(name)
}

/// How the last update ended; `None` where there was none, or somebody has taken note
/// ([`forget`]). `running` is the slot that runs.
pub fn ending(
    storage: &dyn SlotStorage,
    folder: &Path,
    running: Slot,
) -> Result<Option<Ending>, FlashError> {
    if storage.message()?.status == GAVE_UP {
        return Ok(Some(Ending::GaveUp));
    }
    let Some(report) = read(folder)? else { return Ok(None) };
    Ok(Some(match report.outcome {
        Outcome::Installed if report.target == running => Ending::Booted(report),
        // It was the next to boot, and it is not what runs.
        Outcome::Installed => Ending::FellBack(report),
        Outcome::Refused | Outcome::Failed => Ending::NotInstalled(report),
    }))
}

/// Takes note of how the last update ended: it is told once.
pub fn forget(storage: &dyn SlotStorage, folder: &Path) -> Result<(), FlashError> {
    match std::fs::remove_file(folder.join(RESULT)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    if storage.message()? == BootloaderMessage::default() {
        return Ok(());
    }
    storage.put_message(&BootloaderMessage::default())
}

/// Recovery's report, if there is one. One that is not whole counts as none: it is written in one
/// step.
pub fn read(folder: &Path) -> io::Result<Option<Report>> {
    match std::fs::read(folder.join(RESULT)) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes recovery's report, durably.
pub fn write(folder: &Path, report: &Report) -> io::Result<()> {
    let bytes = serde_json::to_vec(report).map_err(io::Error::other)?;
    effects::durable::replace(&folder.join(RESULT), &bytes, 0o600)
}
