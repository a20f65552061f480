//! `holdfast attest`: what a key's attestation proves.

mod judge;
mod show;

use crate::exit::{Exit, Lacking, Misused};
use crate::state::State;
use anyhow::Result;
use clap::{Args, Subcommand};
use judge::{Asked, Judged};
use keyattest::x509::Certificate;
use keyattest::{RevocationList, Roots, google_roots, pem};
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const EXITS: &str = "Exit codes: 0 the chain proves what is shown, 1 it is refused, 2 the command \
                     line or a file that belongs to it is wrong, 3 a file is missing or can't be \
                     read.";

/// The subcommands of `holdfast attest`.
#[derive(Debug, Subcommand)]
pub(crate) enum Attest {
    /// Verify the certificates that a device made for a key, and say what they prove
    ///
    /// The rules are those of Google's verifier. A refusal has a reason in one word; with --json
    /// every field of the attestation is shown as Google's verifier names it.
    #[command(after_help = EXITS)]
    Verify(Verify),
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The certificates in PEM: the attested key's first, the root's last
    chain: PathBuf,
    /// Refuse a chain that does not answer this challenge
    #[arg(long, value_name = "HEX")]
    challenge: Option<String>,
    /// Trust the public keys of these certificates (PEM) [default: Google's two roots, and those of
    /// the maker and the cloud in the state folder, where there is one]
    #[arg(long, value_name = "FILE")]
    roots: Vec<PathBuf>,
    /// Refuse what this revocation list names (JSON, as Google publishes it)
    #[arg(long, value_name = "FILE")]
    status: Vec<PathBuf>,
    /// Refuse every chain when a revocation list was written longer ago
    #[arg(long, value_name = "HOURS", requires = "status")]
    status_max_age: Option<u64>,
    /// Judge as at this time: seconds since 1970, or 2026-01-31T12:00:00Z [default: now]
    #[arg(long, value_name = "TIME")]
    time: Option<String>,
    #[command(flatten)]
    state: crate::args::StateDir,
    /// One JSON object on standard output
    #[arg(long)]
    json: bool,
}

/// Runs a subcommand.
pub(crate) fn run(command: Attest) -> Result<Exit> {
    let Attest::Verify(verify) = command;
    let now = match &verify.time {
        Some(time) => time_of(time)?,
        None => SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
    };
    let asked = Asked {
        challenge: verify.challenge.as_deref().map(hexadecimal).transpose()?,
        trusted: trusted(&verify)?,
        lists: verify.status.iter().map(|file| list(file)).collect::<Result<_>>()?,
        stale: stale(&verify)?,
        now,
    };
    let judged: Judged = judge::judge(&read(&verify.chain, pem::MAX_BYTES)?, &asked);
    if verify.json {
        println!("{}", show::json(&judged));
    } else {
        print!("{}", show::text(&judged));
    }
    Ok(if judged.refusal.is_none() { Exit::Held } else { Exit::Failed })
}

/// Whose roots are trusted, by a name that the verdict can show.
struct Trusted {
    roots: Roots,
    /// Public key → whose.
    whose: Vec<(Vec<u8>, &'static str)>,
}

impl Trusted {
    fn add(&mut self, whose: &'static str, file: &Path) -> Result<()> {
        let wrong = |error: &dyn std::fmt::Display| Misused(format!("{}: {error}", file.display()));
        for der in pem::decode(&read(file, pem::MAX_BYTES)?).map_err(|error| wrong(&error))? {
            let certificate = Certificate::parse(&der).map_err(|error| wrong(&error))?;
            let key = certificate.public_key().clone();
            self.whose.push((key.as_der().to_vec(), whose));
            // The key counts. Where the certificate is a root's too, chains are checked faster.
            if self.roots.add_certificate(&der).is_err() {
                self.roots.add_key(key);
            }
        }
        Ok(())
    }

    fn whose(&self, key: &[u8]) -> &'static str {
        self.whose.iter().find(|(of, _)| of == key).map_or("given", |(_, whose)| whose)
    }
}

fn trusted(verify: &Verify) -> Result<Trusted> {
    let mut trusted = Trusted { roots: Roots::default(), whose: Vec::new() };
    for file in &verify.roots {
        trusted.add("given", file)?;
    }
    if !verify.roots.is_empty() {
        return Ok(trusted);
    }
    for key in google_roots() {
        trusted.whose.push((key.as_der().to_vec(), "google"));
        trusted.roots.add_key(key);
    }
    let state = match State::open_existing(verify.state.dir.as_deref()) {
        Ok(state) => state,
        // Who names one means it; the usual place may be empty.
        Err(error) if verify.state.dir.is_some() => return Err(error),
        Err(_) => return Ok(trusted),
    };
    for (whose, path) in [("maker", "maker/root_ca.pem"), ("cloud", "cloud/attestation/root.pem")] {
        let file = state.path(path);
        if file.is_file() {
            trusted.add(whose, &file)?;
        }
    }
    Ok(trusted)
}

fn list(file: &Path) -> Result<RevocationList> {
    let list = RevocationList::from_json(&read(file, RevocationList::MAX_BYTES)?);
    Ok(list.map_err(|error| Misused(format!("{}: {error}", file.display())))?)
}

/// Whether a revocation list is older than it may be.
fn stale(verify: &Verify) -> Result<bool> {
    let Some(hours) = verify.status_max_age else { return Ok(false) };
    let most = Duration::from_secs(hours.saturating_mul(3600));
    for file in &verify.status {
        let written = std::fs::metadata(file).and_then(|found| found.modified());
        let written = written.map_err(|error| Lacking(format!("{}: {error}", file.display())))?;
        // A file from the future has no age that could be trusted.
        if written.elapsed().map_or(true, |age| age > most) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn time_of(text: &str) -> Result<u64> {
    if let Ok(seconds) = text.parse() {
        return Ok(seconds);
    }
    let time: Result<der::DateTime, _> = text.parse();
    let how = "seconds since 1970, or a date and time as 2026-01-31T12:00:00Z";
    let time = time.map_err(|_| Misused(format!("--time {text:?}: {how}")))?;
    Ok(time.unix_duration().as_secs())
}

fn hexadecimal(text: &str) -> Result<Vec<u8>> {
    let wrong = || Misused(format!("--challenge {text:?}: pairs of hexadecimal digits"));
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return Err(wrong().into());
    }
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| wrong().into());
    let digits = text.bytes().all(|digit| digit.is_ascii_hexdigit());
    if digits { (0..text.len()).step_by(2).map(byte).collect() } else { Err(wrong().into()) }
}

/// Reads a file that the command line names, and a byte more than it may have at most: who takes
/// it over says that it is too large.
fn read(path: &Path, most: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(most as u64 + 1).read_to_end(&mut bytes));
    read.map_err(|error| Lacking(format!("{}: {error}", path.display())))?;
    Ok(bytes)
}
