//! What recovery does: reads the command in misc, judges the package, installs it, makes the slot
//! active, tells how it went, clears the command.
//!
//! Cut short anywhere it can be started again: the command is cleared last, and everything before it
//! may be done twice. What it tells lies in a file before the slot becomes active, so that the new
//! system finds it.

use crate::activate::{ActivateError, activate};
use crate::install::{InstallError, Progress, install};
use crate::outcome::{self, Outcome, Report};
use crate::package::Package;
use crate::storage::SlotStorage;
use board::build::Build;
use board::flash::FlashError;
use board::report::Slot;
use bootimg::misc::BootloaderMessage;
use payload::key::Certificate;
use rustix::fs::{FileType, Mode, OFlags, fstat, open, openat};
use std::fs::File;
use std::io;
use std::path::Path;
use tee_api::boot::Trust;

/// What recovery knows and works on.
pub struct Recovery<'a> {
    /// The slots.
    pub storage: &'a dyn SlotStorage,
    /// `/data`, wherever the host has it.
    pub data: &'a Path,
    /// The slot that recovery itself came from.
    pub running: Slot,
    /// The build that recovery came from.
    pub build: &'a Build,
    /// Whose packages are installed.
    pub trusted: &'a [Certificate],
    /// What the verification of a slot stands on.
    pub trust: &'a Trust,
}

/// Why a package was not installed, where that is not to be tried again.
struct Failure {
    outcome: Outcome,
    word: &'static str,
    reason: String,
    to: String,
}

/// What ends an attempt before its end.
enum Stop {
    /// For good.
    Failure(Failure),
    /// The storage did not answer: the next boot tries again.
    Storage(FlashError),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl Failure {
    fn refused(word: &'static str, reason: impl ToString) -> Self {
        let (outcome, to) = (Outcome::Refused, String::new());
        Self { outcome, word, reason: reason.to_string(), to }
    }

    fn leading_to(self, to: &str) -> Self {
        Self { to: to.to_owned(), ..self }
    }
}

impl Recovery<'_> {
    /// Does what the command in misc says, and clears it. Gives what it told the system; an error is
    /// a storage that does not answer: the command stands, and the next boot is another attempt.
    pub fn run(&self, progress: &(dyn Fn(Progress<'_>) + Sync)) -> Result<Report, FlashError> {
        let message = self.storage.message()?;
        let report = self.update(&message, progress)?;
        self.storage.put_message(&BootloaderMessage::default())?;
        Ok(report)
    }

    fn update(
        &self,
        message: &BootloaderMessage,
        progress: &(dyn Fn(Progress<'_>) + Sync),
    ) -> Result<Report, FlashError> {
        let package = outcome::requested(message);
        let report = Report {
            outcome: Outcome::Installed,
            word: None,
            reason: None,
            package: package.unwrap_or_default().to_owned(),
            target: self.target(),
            from: self.build.fingerprint.clone(),
            to: String::new(),
        };
        let unnamed = "the command names no package in /data/update";
        let outcome = match package {
            Some(name) => self.install(name, &report, progress),
            None => Err(Failure::refused("command", unnamed).into()),
        };
        let failure = match outcome {
            Ok(report) => return Ok(report),
            Err(Stop::Failure(failure)) => failure,
            Err(Stop::Storage(error)) => return Err(error),
        };
        let report = Report {
            outcome: failure.outcome,
            word: Some(failure.word.to_owned()),
            reason: Some(failure.reason),
            to: failure.to,
            ..report
        };
        self.tell(&report);
        Ok(report)
    }

    const fn target(&self) -> Slot {
        match self.running {
            Slot::A => Slot::B,
            Slot::B => Slot::A,
        }
    }

    fn install(
        &self,
        name: &str,
        report: &Report,
        progress: &(dyn Fn(Progress<'_>) + Sync),
    ) -> Result<Report, Stop> {
        let refused = |refusal: crate::Refusal| Failure::refused(refusal.word(), &refusal);
        let file = open_package(self.data, name).map_err(|error| {
            Failure::refused("unreadable", format!("/data/update/{name} can't be read: {error}"))
        })?;
        let package = Package::open(file, self.trusted).map_err(refused)?;
        let to = package.post_build();
        package.check(self.build).map_err(|refusal| refused(refusal).leading_to(to))?;
        let failed = |refusal: bool, word, reason: String| {
            let outcome = if refusal { Outcome::Refused } else { Outcome::Failed };
            Stop::Failure(Failure { outcome, word, reason, to: to.to_owned() })
        };
        let target = self.target().into();
        install(&package, self.storage, target, progress).map_err(|error| match error {
            InstallError::Storage(error) => Stop::Storage(error),
            error => failed(error.is_refusal(), error.word(), error.to_string()),
        })?;
        let report = Report { to: to.to_owned(), ..report.clone() };
        self.tell(&report);
        activate(self.storage, target, self.trust).map_err(|error| match error {
            ActivateError::Storage(error) => Stop::Storage(error),
            error => failed(false, "would_not_boot", error.to_string()),
        })?;
        Ok(report)
    }

    /// A disk that takes no report is no reason to stop: the slots say what runs.
    fn tell(&self, report: &Report) {
        let folder = self.data.join(outcome::FOLDER);
        if let Err(error) = outcome::write(&folder, report) {
            eprintln!("recovery: {}: {error}", folder.join(outcome::RESULT).display());
        }
    }
}

/// Opens a file in the folder of updates: neither folder nor file is a link, and it is a file.
pub fn open_package(data: &Path, name: &str) -> io::Result<File> {
    if name.contains('/') {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not in /data/update"));
    }
    let flags = OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let folder = openat(
        open_folder(data)?,
        outcome::FOLDER,
        flags | OFlags::DIRECTORY | OFlags::RDONLY,
        Mode::empty(),
    )?;
    // A pipe would wait for its other end.
    let file = openat(folder, name, flags | OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty())?;
    if FileType::from_raw_mode(fstat(&file)?.st_mode) == FileType::RegularFile {
        Ok(file.into())
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file"))
    }
}

fn open_folder(path: &Path) -> io::Result<rustix::fd::OwnedFd> {
    let flags = OFlags::CLOEXEC | OFlags::DIRECTORY | OFlags::RDONLY;
    Ok(open(path, flags, Mode::empty())?)
}
