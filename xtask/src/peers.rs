//! Peers: other people's programs that the tests and benchmarks run unchanged.
//!
//! They are installed with the system's package manager when that is allowed; else one line
//! says what to install. Under CI a missing peer is an error.

use crate::shell::{has, root, run, target_dir};
use anyhow::{Result, bail};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A program and the Debian package that has it.
struct Peer {
    program: &'static str,
    package: &'static str,
}

const fn peer(program: &'static str, package: &'static str) -> Peer {
    Peer { program, package }
}

const TEST_PEERS: &[Peer] = &[
    peer("g++", "g++"),
    peer("veritysetup", "cryptsetup-bin"),
    peer("sgdisk", "gdisk"),
    peer("cpio", "cpio"),
    peer("openssl", "openssl"),
    peer("curl", "curl"),
    peer("tar", "tar"),
    peer("python3", "python3"),
    peer("node", "nodejs"),
    peer("npm", "npm"),
    peer("chromium", "chromium"),
];

const BENCH_PEERS: &[Peer] =
    &[peer("rclone", "rclone"), peer("gocryptfs", "gocryptfs"), peer("fusermount", "fuse3")];

/// Installs what the tests need.
pub(crate) fn for_tests() -> Result<()> {
    debian(TEST_PEERS)?;
    browser_packages()?;
    python_packages()
}

/// Installs what the benchmarks need.
pub(crate) fn for_benches() -> Result<()> {
    debian(BENCH_PEERS)
}

fn debian(peers: &[Peer]) -> Result<()> {
    let missing: Vec<&str> =
        peers.iter().filter(|peer| !has(peer.program)).map(|peer| peer.package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages = missing.join(" ");
    if has("apt-get") && is_root() {
        eprintln!("installing {packages}");
        let quiet = |args: &[&str]| {
            run(Command::new("apt-get")
                .args(args)
                .env("DEBIAN_FRONTEND", "noninteractive")
                .stdout(Stdio::null()))
        };
        quiet(&["update", "-qq"])?;
        let mut install = vec!["install", "-y", "-qq", "--no-install-recommends"];
        install.extend(&missing);
        return quiet(&install);
    }
    absent(&format!("these are missing: install the packages {packages}"))
}

/// Playwright drives Chromium; axe finds what people with disabilities would stumble over.
fn browser_packages() -> Result<()> {
    let folder = browser_dir()?;
    if folder.join("node_modules/playwright-core").exists()
        && folder.join("node_modules/axe-core").exists()
    {
        return Ok(());
    }
    if !has("npm") {
        return absent("npm is missing: the browser tests need playwright-core and axe-core");
    }
    std::fs::create_dir_all(&folder)?;
    std::fs::copy(root().join("holdfast/tests/browser/package.json"), folder.join("package.json"))?;
    run(Command::new("npm")
        .args(["install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"])
        .current_dir(&folder))
}

/// `hvac`, the most used client of the Transit API, in an environment of its own.
fn python_packages() -> Result<()> {
    let folder = python_dir()?;
    if folder.join("bin/hvac-is-here").exists() {
        return Ok(());
    }
    if !has("python3") {
        return absent("python3 is missing: the Key Center's peer test needs it");
    }
    run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    run(Command::new(folder.join("bin/pip")).args(["install", "--quiet", "hvac"]))?;
    Ok(std::fs::write(folder.join("bin/hvac-is-here"), "")?)
}

/// Where the browser's packages are.
pub(crate) fn browser_dir() -> Result<PathBuf> {
    Ok(target_dir()?.join("peers/browser"))
}

/// Where the Python packages are.
pub(crate) fn python_dir() -> Result<PathBuf> {
    Ok(target_dir()?.join("peers/python"))
}

/// Says what is missing; under CI that is an error.
pub(crate) fn absent(message: &str) -> Result<()> {
    if std::env::var_os("CI").is_some() {
        bail!("{message}");
    }
    eprintln!("xtask: {message}; tests that need them will say so and not run");
    Ok(())
}

fn is_root() -> bool {
    // The owner of /proc/self is the effective user of this process.
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0)
}
