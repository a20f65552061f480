//! `holdfast-probe`: what root of the normal world can reach of what lies outside.
//!
//! Runs inside the normal world's namespaces ([`boot::world::enter`]). Its argument is JSON
//! ([`boot::probe::Targets`]); it prints a JSON list of [`boot::probe::Attempt`]s. Success means: something that must be
//! out of reach was not. A file counts as reached whatever name it has there: it is known by its
//! device and inode number; a process by its name and its start time.
//!
//! `holdfast-probe read FILE…` reads files there as any program would: a line for each, with the
//! SHA-256 of its bytes, or `error` and the number of the error.

use boot::probe::run;
use std::process::ExitCode;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("read") {
        return read(std::env::args().skip(2));
    }
    let targets = std::env::args().nth(1).and_then(|text| serde_json::from_str(&text).ok());
    let Some(targets) = targets else {
        eprintln!("holdfast-probe: the argument is the JSON of what to try; see boot::probe");
        return ExitCode::from(2);
    };
    let attempts = run(&targets);
    match serde_json::to_string(&attempts) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(_) => ExitCode::FAILURE,
    }
}

fn read(files: impl Iterator<Item = String>) -> ExitCode {
    for file in files {
        match std::fs::read(&file) {
            Ok(bytes) => println!("{}", board::argument::hex(&crypto::digest::sha256(&bytes))),
            Err(error) => println!("error {}", error.raw_os_error().unwrap_or_default()),
        }
    }
    ExitCode::SUCCESS
}
