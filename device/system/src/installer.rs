//! Packages and slots, as the updates of a device know them.

use crate::device::{Installer, Judged, Moved, NotWritten, UpdateParts};
use board::build::{BUILD_PATH, Build, OTACERTS_PATH};
use board::flash::Flash;
use board::report::Slot;
use device_update::outcome::{self, Ending};
use device_update::package::{self, Refusal};
use device_update::state::{Running, Update, Why};
use device_update::{InstallError, Package, Progress, install};
use payload::key::Certificate;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The flash, the slot that runs, and whose packages count.
pub struct FlashInstaller {
    flash: Flash,
    slot: Slot,
    build: Build,
    trusted: Vec<Certificate>,
    /// The folder of updates.
    folder: PathBuf,
}

impl FlashInstaller {
    /// For a device that runs `build` from `slot`, and trusts the certificates in `otacerts`, a
    /// zip file.
    pub fn new(
        flash: Flash,
        slot: Slot,
        build: Build,
        otacerts: &[u8],
        folder: PathBuf,
    ) -> Result<Self, Refusal> {
        Ok(Self { flash, slot, build, trusted: package::trusted(otacerts)?, folder })
    }

    fn open(&self, file: &File) -> Result<Package, Refusal> {
        let package = Package::open(file.try_clone()?, &self.trusted)?;
        package.check(&self.build)?;
        Ok(package)
    }

    fn ending(&self) -> Option<Ending> {
        let ending = outcome::ending(&self.flash, &self.folder, self.slot);
        ending.unwrap_or_else(|error| {
            tracing::warn!(%error, "what recovery said can't be read");
            None
        })
    }
}

impl Installer for FlashInstaller {
    fn judge(&self, file: &File) -> Result<Judged, Why> {
        self.open(file).map(|package| judged(&package)).map_err(|refusal| why(&refusal))
    }

    fn install(&self, file: &File, update: &Update, moved: Moved<'_>) -> Result<(), NotWritten> {
        let package = self.open(file).map_err(|refusal| NotWritten {
            // A disk that can't be read says nothing about the package.
            refused: !matches!(refusal, Refusal::Io(_)),
            why: why(&refusal),
        })?;
        promised(&judged(&package), update)?;
        let progress = |progress: Progress<'_>| moved(progress.done, progress.total);
        let target: bootimg::misc::Slot = self.slot.into();
        let written = install(&package, &self.flash, target.other(), &progress);
        written.map(drop).map_err(|error| NotWritten {
            refused: is_the_packages_fault(&error),
            why: Why::new(error.word(), error.to_string()),
        })
    }

    fn boot_recovery(&self, package: &Path) -> Result<(), String> {
        let name = package.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| "the package has no name".to_owned())?;
        outcome::request(&self.flash, &self.folder, name).map_err(|error| error.to_string())
    }

    fn bad_end(&self) -> Option<Why> {
        let ending = self.ending()?;
        Some(Why::new(ending.word()?, ending.reason().unwrap_or_default()))
    }

    fn forget_end(&self) {
        if self.ending().is_some()
            && let Err(error) = outcome::forget(&self.flash, &self.folder)
        {
            tracing::warn!(%error, "what recovery said stays");
        }
    }
}

/// Whether another try with the same package would come to the same.
const fn is_the_packages_fault(error: &InstallError) -> bool {
    !matches!(error, InstallError::OnTrial | InstallError::Package(_) | InstallError::Storage(_))
}

/// A signed package of another release is not what was offered.
fn promised(judged: &Judged, update: &Update) -> Result<(), NotWritten> {
    let Judged { build, timestamp, .. } = judged;
    if (build, timestamp) == (&update.build, &update.timestamp) {
        return Ok(());
    }
    let explanation = format!(
        "the package leads to build {build} of {timestamp}; build {} of {} was offered",
        update.build, update.timestamp
    );
    Err(NotWritten { why: Why::new("other_build", explanation), refused: true })
}

fn why(refusal: &Refusal) -> Why {
    Why::new(refusal.word(), refusal.to_string())
}

fn judged(package: &Package) -> Judged {
    let metadata = package.metadata();
    Judged {
        build: package.post_build().to_owned(),
        timestamp: u64::try_from(metadata.postcondition.timestamp).unwrap_or(0),
        security_patch: metadata.postcondition.security_patch_level.clone(),
        delta: package.payload().manifest().minor_version() != 0,
    }
}

/// What a device is updated by: `etc/build.json` and `etc/otacerts.zip` of the system in `root`
/// say which build it is, and whose packages count. Gives why it can't be updated.
pub fn assemble(
    root: &Path,
    channel: &str,
    (flash, slot): (Flash, Slot),
    folder: PathBuf,
) -> Result<UpdateParts, String> {
    let read = |path: &str| {
        std::fs::read(root.join(path)).map_err(|error| format!("its {path} can't be read: {error}"))
    };
    let build: Build = serde_json::from_slice(&read(BUILD_PATH)?)
        .map_err(|error| format!("its {BUILD_PATH} is malformed: {error}"))?;
    let timestamp = u64::try_from(build.timestamp)
        .map_err(|_| format!("its {BUILD_PATH} says that it was made before 1970"))?;
    let running = Running {
        model: build.model.clone(),
        channel: channel.to_owned(),
        build: build.fingerprint.clone(),
        timestamp,
        security_patch: build.security_patch.clone(),
    };
    let otacerts = read(OTACERTS_PATH)?;
    let installer = FlashInstaller::new(flash, slot, build, &otacerts, folder)
        .map_err(|error| format!("its {OTACERTS_PATH} is not good: {error}"))?;
    Ok(UpdateParts { running, installer: Arc::new(installer) })
}
