//! The crypto engine, inside a trusted application and by handle, beside `openssl speed`.
//!
//! Both sides count CPU time: ours that of the application and of the trusted OS, OpenSSL that of
//! its process. By handle each operation crosses to the trusted OS and back, which is what that
//! row shows.

use super::contest::{Contest, Contestant, OURS, Turn};
use crate::shell::{cargo, has, output, root};
use anyhow::{Context, Result};
use std::process::Command;

const SECONDS: &str = "1";
/// The message's size in MiB: 16 KiB.
const MESSAGE_MIB: f64 = 1.0 / 64.0;

/// What is done, as our program and as OpenSSL call it.
struct Work {
    name: &'static str,
    ours: &'static str,
    openssl: &'static [&'static str],
    /// Whether messages of 16 KiB are counted, not operations.
    bulk: bool,
}

const BYTES: [&str; 2] = ["-bytes", "16384"];
const WORKS: [Work; 5] = [
    Work {
        name: "SHA-256",
        ours: "sha256",
        openssl: &[BYTES[0], BYTES[1], "-evp", "sha256"],
        bulk: true,
    },
    Work {
        name: "HMAC-SHA-256",
        ours: "hmac-sha256",
        openssl: &[BYTES[0], BYTES[1], "-hmac", "sha256"],
        bulk: true,
    },
    Work {
        name: "AES-256-GCM",
        ours: "aes-256-gcm",
        openssl: &[BYTES[0], BYTES[1], "-aead", "-evp", "aes-256-gcm"],
        bulk: true,
    },
    Work { name: "P-256 sign", ours: "ecdsa-p256", openssl: &["ecdsap256"], bulk: false },
    Work { name: "RSA-2048 sign", ours: "rsa-2048", openssl: &["rsa2048"], bulk: false },
];

/// The contests of the engine: each work in both places. A digest needs no key, so it never
/// crosses.
pub(super) fn all() -> Result<Vec<Contest>> {
    if !has("openssl") {
        eprintln!("openssl is missing: the engine has no peer, not measured");
        return Ok(Vec::new());
    }
    prepare()?;
    let here = WORKS.iter().map(|work| contest(work, "here", "in the TA"));
    let keyed = WORKS.iter().filter(|work| work.ours != "sha256");
    let by_handle = keyed.map(|work| contest(work, "by-handle", "by handle"));
    Ok(here.chain(by_handle).collect())
}

fn prepare() -> Result<()> {
    cargo(&["build", "--quiet", "--package", "ta-gatekeeper"])?;
    cargo(&["build", "--quiet", "--package", "tee-sdk", "--example", "ta-probe"])?;
    cargo(&[&BENCH[..], &["--no-run", "--quiet"]].concat())
}

/// In the profile of everything else.
const BENCH: [&str; 7] = ["bench", "--package", "tee-os", "--profile", "dev", "--bench", "engine"];

fn contest(work: &'static Work, place: &'static str, label: &str) -> Contest {
    let ours = move || turn(work, ours(work, place)?);
    let peer = move || turn(work, openssl(work)?);
    Contest {
        name: format!("engine, {label}: {}", work.name),
        unit: if work.bulk { "MiB/s of CPU" } else { "a second of CPU" },
        more_is_better: true,
        contestants: vec![
            Contestant { name: OURS.to_owned(), turn: Box::new(ours) },
            Contestant { name: "openssl speed".to_owned(), turn: Box::new(peer) },
        ],
    }
}

fn turn(work: &Work, per_second: f64) -> Result<Turn> {
    let value = if work.bulk { per_second * MESSAGE_MIB } else { per_second };
    Ok(Turn { value, cpu_s: None })
}

/// Operations a second of CPU time.
fn ours(work: &Work, place: &str) -> Result<f64> {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(root()).args(BENCH).args(["--quiet", "--", work.ours, place, SECONDS]);
    let text = output(&mut command)?;
    let last = text.lines().last().unwrap_or_default();
    last.parse().with_context(|| format!("the engine's figure is {last:?}"))
}

/// The same of OpenSSL, from the form that machines read: `+F…:…:name:bytes a second` of bulk work,
/// `+F…:…:bits:signatures a second:verifications a second` else.
fn openssl(work: &Work) -> Result<f64> {
    let mut command = Command::new("openssl");
    command.args(["speed", "-mr", "-seconds", SECONDS]).args(work.openssl);
    let text = output(&mut command)?;
    let line = text.lines().rfind(|line| line.starts_with("+F"));
    let field = line.and_then(|line| line.split(':').nth(3));
    let value: f64 = field
        .and_then(|field| field.parse().ok())
        .with_context(|| format!("openssl speed says {text:?}"))?;
    Ok(if work.bulk { value / f64::from(16 * 1024) } else { value })
}
