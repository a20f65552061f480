//! `cargo xtask bench`: ours and a peer, alternating in one run.
//!
//! Machines are noisy, so every contest runs several rounds, each contestant once a round, and
//! shows medians, their ratio and CPU time. What a peer can't do here is said, not guessed.

mod attest;
mod contest;
mod contests;
mod disk;
mod element;
mod engine;
mod folder;
mod new_phone;
mod pkcs11;
mod storage;
mod story;
mod tee;
mod updates;
mod vault;
mod verity;

use crate::peers;
use crate::shell::{cargo, root};
use anyhow::{Result, bail};
use std::fmt::Write as _;

const BEGIN: &str = "<!-- measured -->";
const END: &str = "<!-- end -->";

/// Runs the contests whose names contain the argument (all without one) and writes
/// `docs/performance.md`.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let filter = match args {
        [] => "",
        [filter] => filter,
        _ => bail!("bench takes one name at most"),
    };
    peers::for_benches()?;
    let all = ["build", "--quiet", "--workspace", "--bins"];
    let tools = ["build", "--quiet", "--package", "holdfast"];
    let alone = ["verity", "update", "fuse"].iter().any(|tool| filter.starts_with(tool));
    // The contests of the trusted OS build what they take themselves.
    if !["engine", "tee", "sfs", "attest", "element"].iter().any(|tool| filter.starts_with(tool)) {
        cargo(if alone { &tools } else { &all })?;
    }
    let mut text = String::new();
    writeln!(text, "Measured {}.\n", machine())?;
    for table in contest::hold(contests::named(filter)?)? {
        eprintln!("{table}");
        writeln!(text, "{table}")?;
    }
    disk::clear()?;
    if filter.is_empty() {
        publish(&text)?;
    }
    Ok(())
}

/// Puts the tables between the marks of `docs/performance.md`.
fn publish(tables: &str) -> Result<()> {
    let path = root().join("docs/performance.md");
    let page = std::fs::read_to_string(&path)?;
    let (Some(begin), Some(end)) = (page.find(BEGIN), page.find(END)) else {
        bail!("{} has lost its marks {BEGIN} and {END}", path.display());
    };
    let page = format!("{}{BEGIN}\n{tables}{}", &page[..begin], &page[end..]);
    Ok(std::fs::write(path, page)?)
}

/// Cores, memory, kernel and load, so that a figure can be judged.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let cpu = read("/proc/cpuinfo");
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("an unknown processor", |line| line.trim_start_matches([' ', '\t', ':']));
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or("?").to_owned();
    format!("on {cores} cores of {model}, Linux {}, load {load}", kernel.trim())
}
