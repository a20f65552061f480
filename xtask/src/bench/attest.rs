//! Attestation chains verified a second of CPU, on one core, beside OpenSSL's `X509_verify_cert` in
//! a loop of C. Ours parses the attestation as well; OpenSSL knows nothing of it.

use super::contest::{Contest, Contestant, OURS, Turn};
use super::contests::children_cpu_s;
use crate::shell::{cargo, has, output, root, run, target_dir};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Chains of one turn: a second or two.
const TIMES: u32 = 5000;
const BENCH: [&str; 7] =
    ["bench", "--package", "keyattest", "--profile", "dev", "--bench", "chains"];
/// A chain that a phone made: RSA-4096 root.
const RECORDED: &str =
    "keystore-tee/attestation/android-keyattestation/testdata/blueline/sdk28/TEE_EC_NONE.pem";

/// Ours, and a real phone's where one was recorded.
pub(super) fn all() -> Result<Vec<Contest>> {
    cargo(&[&BENCH[..], &["--no-run", "--quiet"]].concat())?;
    let folder = target_dir()?.join("bench-attest");
    std::fs::create_dir_all(&folder)?;
    let peer = peer(&folder)?;
    let ours = folder.join("ours.pem");
    ours_does(&["make", path(&ours)?])?;
    let set = std::env::var_os("HOLDFAST_TEST_DATA").map(PathBuf::from);
    let recorded = set.unwrap_or_else(|| root().join("../shared/data")).join(RECORDED);
    let mut contests = vec![contest("of our makers", ours, peer.clone())];
    if recorded.is_file() {
        contests.push(contest("of a phone", recorded, peer));
    }
    Ok(contests)
}

/// OpenSSL's loop, where it can be compiled.
fn peer(folder: &Path) -> Result<Option<PathBuf>> {
    if !has("cc") || !Path::new("/usr/include/openssl/x509_vfy.h").is_file() {
        eprintln!("OpenSSL's headers are missing (libssl-dev): chains have no peer");
        return Ok(None);
    }
    let program = folder.join("x509_loop");
    let source = root().join("xtask/src/bench/x509_loop.c");
    run(Command::new("cc").arg("-O2").arg("-o").arg(&program).arg(source).arg("-lcrypto"))?;
    Ok(Some(program))
}

fn contest(name: &str, chain: PathBuf, peer: Option<PathBuf>) -> Contest {
    let file = chain.clone();
    let ours = move || measured(|| ours_does(&["verify", path(&file)?, &TIMES.to_string()]));
    let mut contestants = vec![Contestant { name: OURS.to_owned(), turn: Box::new(ours) }];
    if let Some(program) = peer {
        let turn =
            move || measured(|| run(Command::new(&program).arg(&chain).arg(TIMES.to_string())));
        contestants.push(Contestant { name: "OpenSSL".to_owned(), turn: Box::new(turn) });
    }
    Contest {
        name: format!("attest: a chain {name} verified"),
        unit: "a second of CPU",
        more_is_better: true,
        contestants,
    }
}

fn measured(job: impl Fn() -> Result<()>) -> Result<Turn> {
    let before = children_cpu_s();
    job()?;
    let cpu_s = children_cpu_s() - before;
    Ok(Turn { value: f64::from(TIMES) / cpu_s, cpu_s: Some(cpu_s) })
}

/// Runs the program that cargo built, without cargo in the count.
fn ours_does(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new(program()?);
    output(command.args(arguments)).map(drop)
}

/// The newest `chains-…` among what cargo built.
fn program() -> Result<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(target_dir()?.join("debug/deps"))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with("chains-") && path.extension().is_none() {
            found.push((std::fs::metadata(&path)?.modified()?, path));
        }
    }
    found.sort();
    Ok(found.pop().context("cargo built no program `chains`")?.1)
}

fn path(path: &Path) -> Result<&str> {
    path.to_str().context("the path is UTF-8")
}
