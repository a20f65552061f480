//! Recovery: descriptors in, an update, an exit code out.
//!
//! The kernel runs it out of the boot image's ramdisk instead of the system, when the message in
//! misc asks for it. It has the flash, `/data` and the TEE's socket; no network, no system. Exit
//! code 0: the command is done, one way or the other, and cleared.

use board::build::{BUILD_PATH, Build, OTACERTS_PATH};
use board::flash::Flash;
use board::report::{BootArgs, Record};
use board::{argument, exec, fds};
use bootimg::cpio::Archive;
use device_update::outcome::{Outcome, Report};
use device_update::recovery::Recovery;
use device_update::{Progress, package};
use rustix::fd::OwnedFd;
use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::process::{ExitCode, exit};
use std::sync::Mutex;
use tee_api::boot::Trust;
use tee_api::gatekeeper::{Command, Gatekeeper, Reply};

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("recovery: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> Result<(), Box<dyn Error>> {
    let arguments: BootArgs =
        argument::decode(&boot::handover::argument_at(1).unwrap_or_default())?;
    end_with_power(exec::inherited(fds::POWER)?)?;
    let log = Log(File::from(exec::inherited(fds::LOG)?), Mutex::new(String::new()));
    let flash = Flash::open(File::from(exec::inherited(fds::FLASH)?))?;
    log.step("looking at the update", 0);
    let ramdisk = boot::recovery::read_ramdisk(&exec::inherited(fds::RAMDISK)?)?;
    let archive = Archive::parse(&ramdisk)?;
    let file = |path: &str| archive.file(path).ok_or_else(|| format!("the ramdisk has no {path}"));
    let build: Build = serde_json::from_slice(file(BUILD_PATH)?)?;
    let trusted = package::trusted(file(OTACERTS_PATH)?)?;
    let trust = trust(&arguments)?;
    let recovery = Recovery {
        storage: &flash,
        data: &arguments.data_dir,
        running: arguments.slot,
        build: &build,
        trusted: &trusted,
        trust: &trust,
    };
    let report = recovery.run(&|progress| log.progress(progress))?;
    log.step(&told(&report), 100);
    Ok(())
}

fn told(report: &Report) -> String {
    let reason = report.reason.as_deref().unwrap_or_default();
    match report.outcome {
        Outcome::Installed => format!("installed {}", report.to),
        Outcome::Refused => format!("refused: {reason}"),
        Outcome::Failed => format!("failed: {reason}"),
    }
}

/// Whose signature counts, and how old an image may be.
fn trust(arguments: &BootArgs) -> Result<Trust, Box<dyn Error>> {
    let tee = tee_client::Tee::connect(arguments.run_dir.join("tee.sock"))?;
    match tee.session::<Gatekeeper>()?.call(Command::Trust)? {
        Reply::Trust(trust) => Ok(trust),
        _ => Err("the TEE did not say whose signature counts".into()),
    }
}

/// The boot log, and what it was told last.
struct Log(File, Mutex<String>);

impl Log {
    fn progress(&self, progress: Progress<'_>) {
        let percent = progress.done.saturating_mul(100) / progress.total.max(1);
        let percent = u8::try_from(percent).unwrap_or(100);
        self.step(&format!("writing {}", progress.partition), percent);
    }

    /// One line, where it says something new. Nobody reading is no reason to stop.
    fn step(&self, step: &str, percent: u8) {
        let Ok(mut last) = self.1.lock() else { return };
        let record = Record::Recovery { step: step.to_owned(), percent };
        let Ok(line) = serde_json::to_string(&record) else { return };
        if *last != line {
            // In one write: other programs write to this pipe too.
            let _ = (&self.0).write_all(format!("{line}\n").as_bytes());
            *last = line;
        }
    }
}

/// The process ends as soon as power goes.
fn end_with_power(power: OwnedFd) -> std::io::Result<()> {
    let watch = move || {
        board::power::wait_for_loss(&power);
        exit(0)
    };
    let thread = std::thread::Builder::new().name("power".into()).stack_size(64 * 1024);
    thread.spawn(watch).map(drop)
}
