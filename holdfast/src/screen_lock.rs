//! `holdfast device screen-lock`: the screen lock of a running device.
//!
//! What is secret is typed on the trusted screen; this program never sees it.

use crate::args::{EXITS, StateDir};
use crate::bootloader::{THINKING, refused, system, trusted_screen};
use crate::exit::{Exit, Misused};
use crate::state::State;
use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::{Args, Subcommand, ValueEnum};
use http_link::{Client, Request};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The longest answer.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// What is done with the screen lock.
#[derive(Debug, Subcommand)]
pub(crate) enum ScreenLock {
    /// Say whether a lock is set, which ways lead in, and how long the next try must wait
    #[command(after_help = EXITS)]
    Show(Asked),
    /// Set the lock: the person types it twice on the trusted screen
    #[command(after_help = EXITS)]
    Enrol(AskedKind),
    /// Unlock the screen
    #[command(after_help = EXITS)]
    Unlock(Asked),
    /// Lock the screen
    #[command(after_help = EXITS)]
    Lock(Asked),
    /// Set another PIN, password or pattern; nothing is encrypted anew
    #[command(after_help = EXITS)]
    Change(AskedKind),
    /// Choose what happens after the last guess, and while nobody unlocks the device
    #[command(after_help = EXITS)]
    Rules {
        #[command(flatten)]
        asked: Asked,
        /// Erase the device after 20 wrong tries in a row
        #[arg(long)]
        erase_after_last_guess: bool,
        /// Restart after so many minutes without an unlock: all that needs the PIN is closed then
        #[arg(long, value_name = "MINUTES")]
        restart_when_idle: Option<u16>,
    },
    /// Make a recovery key: 40 digits, shown once, on the trusted screen
    #[command(after_help = EXITS)]
    RecoveryKey(Asked),
    /// Set a new PIN with the recovery key
    #[command(after_help = EXITS)]
    Recover(AskedKind),
    /// Let an organisation open the device too; prints a JWE with its secret, for it alone
    #[command(after_help = EXITS)]
    Escrow {
        #[command(flatten)]
        asked: Asked,
        /// Its name: the person sees it before they agree, and in `show`
        #[arg(long, value_name = "NAME")]
        organisation: String,
        /// Its P-256 public key, PEM or DER, as `openssl ec -pubout` writes it
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
    },
    /// Let no organisation in any more
    #[command(after_help = EXITS)]
    EndEscrow(Asked),
    /// Set a new PIN with the organisation's secret, which is used up
    #[command(after_help = EXITS)]
    RedeemEscrow {
        #[command(flatten)]
        asked: AskedKind,
        /// The 32 bytes that were in the JWE
        #[arg(long, value_name = "FILE")]
        secret: PathBuf,
    },
}

/// Of which device, and how it is told.
#[derive(Debug, Args)]
pub(crate) struct Asked {
    #[command(flatten)]
    state: StateDir,
    /// One JSON object on standard output
    #[arg(long)]
    json: bool,
}

/// The same, with what is to be typed from now on.
#[derive(Debug, Args)]
pub(crate) struct AskedKind {
    #[command(flatten)]
    asked: Asked,
    /// What is typed
    #[arg(long, value_enum, default_value = "pin")]
    kind: Kind,
}

/// What opens the lock.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// 4 to 16 digits
    Pin,
    /// 4 to 16 letters, digits and symbols
    Password,
    /// At least 4 of 3×3 dots
    Pattern,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Pin => "pin",
            Self::Password => "password",
            Self::Pattern => "pattern",
        }
    }
}

impl ScreenLock {
    const fn asked(&self) -> &Asked {
        match self {
            Self::Show(asked)
            | Self::Unlock(asked)
            | Self::Lock(asked)
            | Self::Rules { asked, .. }
            | Self::RecoveryKey(asked)
            | Self::Escrow { asked, .. }
            | Self::EndEscrow(asked)
            | Self::Enrol(AskedKind { asked, .. })
            | Self::Change(AskedKind { asked, .. })
            | Self::Recover(AskedKind { asked, .. })
            | Self::RedeemEscrow { asked: AskedKind { asked, .. }, .. } => asked,
        }
    }

    /// Of which device.
    pub(crate) const fn state(&self) -> &StateDir {
        &self.asked().state
    }

    /// Whether something is typed on the trusted screen.
    const fn is_typed(&self) -> bool {
        !matches!(self, Self::Show(_) | Self::Lock(_))
    }

    fn request(&self, device: &Client) -> Result<Request> {
        let with_kind = |door: &str, asked: &AskedKind| {
            device.post(&format!("/v1/lock/{door}?kind={}", asked.kind.name()))
        };
        Ok(match self {
            Self::Show(_) => device.get("/v1/lock"),
            Self::Enrol(asked) => with_kind("enrol", asked),
            Self::Unlock(_) => device.post("/v1/lock/unlock"),
            Self::Lock(_) => device.post("/v1/lock/lock"),
            Self::Change(asked) => with_kind("change", asked),
            Self::Rules { erase_after_last_guess, restart_when_idle, .. } => {
                device.put("/v1/lock/settings").json(&json!({
                    "erase_after_last_guess": erase_after_last_guess,
                    "restart_when_idle_min": restart_when_idle,
                }))
            }
            Self::RecoveryKey(_) => device.post("/v1/lock/recovery-key"),
            Self::Recover(asked) => with_kind("recover", asked),
            Self::Escrow { organisation, key, .. } => device
                .put("/v1/lock/escrow")
                .json(&json!({ "organisation": organisation, "public_key": public_key(key)? })),
            Self::EndEscrow(_) => device.delete("/v1/lock/escrow"),
            Self::RedeemEscrow { asked, secret, .. } => with_kind("escrow/redeem", asked)
                .json(&json!({ "secret": BASE64.encode(read(secret)?) })),
        })
    }
}

/// Does it, and says what came of it.
pub(crate) async fn run(state: &State, what: &ScreenLock) -> Result<Exit> {
    let device = system(state)?;
    if what.is_typed() {
        eprintln!("answer on the trusted screen: {}", trusted_screen(state));
    }
    let json = what.asked().json;
    let answered = what.request(&device)?.patience(THINKING).send().await;
    let body = match answered {
        Ok(answer) => answer.bytes(MAX_ANSWER_BYTES).await?,
        Err(error) => return refused(error, json),
    };
    let said: Value = if body.is_empty() { json!({}) } else { serde_json::from_slice(&body)? };
    match (json, what) {
        (true, _) => println!("{said}"),
        (_, ScreenLock::Show(_) | ScreenLock::Rules { .. }) => print!("{}", shown(&said)),
        (_, ScreenLock::Escrow { .. }) => println!("{}", said["jwe"].as_str().unwrap_or_default()),
        _ => println!("done"),
    }
    Ok(Exit::Held)
}

/// `GET /v1/lock` for a person.
fn shown(said: &Value) -> String {
    let lock = &said["lock"];
    let Some(kind) = lock["kind"].as_str() else { return "no screen lock is set\n".to_owned() };
    let or = |value: &Value, none: &str| value.as_str().unwrap_or(none).to_owned();
    let minutes = said["settings"]["restart_when_idle_min"].as_u64();
    let rows = [
        ("opened by", format!("a {kind}")),
        ("recovery key", yes(&lock["recoverable"])),
        ("others who open it", or(&lock["escrow"], "nobody")),
        ("wrong tries", said["failures"].to_string()),
        ("next try in", wait(said["retry_after_ms"].as_u64().unwrap_or_default())),
        ("erased after the last guess", yes(&said["settings"]["erase_after_last_guess"])),
        ("restarts when idle", minutes.map_or_else(|| "no".to_owned(), |it| format!("{it} min"))),
    ];
    rows.iter().map(|(name, value)| format!("{name:28}{value}\n")).collect()
}

fn yes(value: &Value) -> String {
    if value == true { "yes" } else { "no" }.to_owned()
}

fn wait(ms: u64) -> String {
    match ms {
        0 => "now".to_owned(),
        u64::MAX => "never".to_owned(),
        ms => format!("{} s", ms.div_ceil(1000)),
    }
}

fn read(file: &Path) -> Result<Vec<u8>> {
    Ok(std::fs::read(file).map_err(|error| Misused(format!("{}: {error}", file.display())))?)
}

/// The key's DER, in base64; PEM is that already.
fn public_key(file: &Path) -> Result<String> {
    let bytes = read(file)?;
    let Ok(text) = std::str::from_utf8(&bytes) else { return Ok(BASE64.encode(bytes)) };
    let body = text
        .split_once("-----BEGIN PUBLIC KEY-----")
        .and_then(|(_, rest)| rest.split_once("-----END PUBLIC KEY-----"));
    let unfit = || Misused(format!("{}: neither PEM nor DER of a public key", file.display()));
    let (body, _) = body.ok_or_else(unfit)?;
    Ok(body.split_ascii_whitespace().collect())
}
