//! What a stage inherits (arguments, descriptors, power) and how it ends.

use crate::log::Log;
use board::power::{PowerRequest, wait_for_loss};
use board::report::{BootArgs, Record};
use board::verdict::{Check, Refusal};
use board::{argument, exec, fds};
use rustix::fd::OwnedFd;
use std::convert::Infallible;
use std::ffi::CString;
use std::process::exit;

/// What every stage inherits.
#[derive(Debug)]
pub struct Handover {
    /// The first argument.
    pub arguments: BootArgs,
    /// The boot log.
    pub log: Log,
    /// Ends when power does.
    pub power: OwnedFd,
}

/// Runs `stage` of a chain that is reported under `name`: `work` ends by becoming the next stage
/// or by serving for ever. Where it can't go on, the reason goes into the boot log, and the
/// processor halts until power is gone.
pub fn run(
    process: &str,
    name: &str,
    work: impl FnOnce(&Handover) -> Result<Infallible, Halt>,
) -> ! {
    let inherited = inherit(process).unwrap_or_else(|refusal| {
        eprintln!("{process}: {refusal}");
        exit(2)
    });
    let halt = match work(&inherited) {
        Ok(never) => match never {},
        Err(halt) => halt,
    };
    match halt {
        Halt::Done => exit(0),
        Halt::Power(request) => exit(request.exit_code()),
        Halt::Reported => {}
        Halt::Refused(refusal) => {
            let line = Check::start(name, "").finish(Err(&refusal));
            inherited.log.write(&Record::Stage(line));
        }
    }
    wait_for_loss(&inherited.power);
    exit(0)
}

/// Why a stage ends.
#[derive(Debug)]
pub enum Halt {
    /// Its work is done; the next stage is a process of its own.
    Done,
    /// Process 1 of the normal world asks the power chip for this.
    Power(PowerRequest),
    /// The boot stops here; the boot log tells why already.
    Reported,
    /// The boot stops here.
    Refused(Refusal),
}

impl From<Refusal> for Halt {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// The outcome of [`Log::check`], which has told the reason.
pub fn reported<T>(outcome: Result<T, Refusal>) -> Result<T, Halt> {
    outcome.map_err(|_| Halt::Reported)
}

/// Adds to an error what was being done, as a refusal.
pub fn failed<E: std::fmt::Display>(what: &str) -> impl FnOnce(E) -> Refusal {
    move |error| Refusal::policy(format!("{what}: {error}"))
}

fn inherit(process: &str) -> Result<Handover, Refusal> {
    if let Ok(name) = CString::new(process) {
        let _ = rustix::thread::set_name(&name);
    }
    let usage = "a stage is started by the stage before it, the first one by holdfast-board";
    let first = argument_at(1).ok_or_else(|| Refusal::policy(usage))?;
    Ok(Handover {
        arguments: argument::decode(&first).map_err(failed(usage))?,
        log: Log::new(take(fds::LOG)?),
        power: take(fds::POWER)?,
    })
}

/// Takes over the descriptor `number` of [`board::fds`].
pub fn take(number: i32) -> Result<OwnedFd, Refusal> {
    exec::inherited(number).map_err(failed("starting"))
}

/// The argument number `index`.
#[must_use]
pub fn argument_at(index: usize) -> Option<String> {
    std::env::args_os().nth(index)?.into_string().ok()
}

impl Handover {
    /// From now on the process ends as soon as power goes: the board closed its end, or died.
    /// Makes a thread.
    pub fn end_with_power(&self) -> Result<(), Refusal> {
        let power = self.power.try_clone().map_err(failed("watching the power"))?;
        let watch = move || {
            wait_for_loss(&power);
            exit(0)
        };
        let thread = std::thread::Builder::new().name("power".into()).stack_size(64 * 1024);
        thread.spawn(watch).map_err(failed("watching the power"))?;
        Ok(())
    }
}
