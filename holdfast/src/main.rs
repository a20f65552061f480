//! The one command a person types: arguments, printing, exit codes. It starts the other
//! programs; what they do is theirs.

mod applications;
mod args;
mod attack;
mod bootloader;
mod commands;
mod confirm;
mod doctor;
mod eid;
mod exit;
mod keys;
mod programs;
mod radio;
mod report;
mod sample;
mod screen_lock;
mod state;
mod story;
mod tools;
mod update;
mod vault;

use args::{Cli, Command};
use clap::Parser;
use exit::{Exit, Lacking, Misused};
use std::process::ExitCode;

/// Whether a command makes images, which others may read unless the user's umask says otherwise.
const fn makes_images(command: &Command) -> bool {
    matches!(
        command,
        Command::Device(args::Device::Run { .. })
            | Command::Avb(_)
            | Command::Verity(_)
            | Command::Bootimg(_)
            | Command::Ota(_)
    )
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if !makes_images(&cli.command) {
        // Whatever is written from here on is for its user alone.
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    }
    let ended = match cli.command {
        Command::Up(up) => block_on(story::up(up)),
        Command::Keycenter(command) => commands::keycenter(command),
        Command::Cloud(command) => commands::cloud(command),
        Command::Device(command) => block_on(commands::device(command)),
        Command::Attack(args::Attack::Tee(asked)) => block_on(attack::tee(asked)),
        Command::Doctor { json, state } => commands::doctor(json, &state),
        Command::Avb(command) => tools::avb::run(command),
        Command::Verity(command) => tools::verity::run(command),
        Command::Bootimg(command) => tools::bootimg::run(command),
        Command::Rpmb(command) => tools::rpmb::run(command),
        Command::Ota(command) => tools::ota::run(command),
        Command::Keys(command) => keys::run(&command),
        Command::Element { arguments } => commands::element(&arguments),
        Command::Eid(command) => block_on(eid::run(*command)),
        Command::Vault(command) => vault::run(command),
        Command::Attest(command) => tools::attest::run(command),
    };
    match ended {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("holdfast: {error:#}");
            exit_of(&error).into()
        }
    }
}

fn exit_of(error: &anyhow::Error) -> Exit {
    if error.is::<Lacking>() {
        Exit::Environment
    } else if error.is::<Misused>() {
        Exit::Misused
    } else {
        Exit::Failed
    }
}

fn block_on<T>(job: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(job)
}
