//! What the machine under the device could spill: core dumps of a process that dies, pages that
//! go to swap. Seen from outside, as who owns the machine sees it.

use super::visit::{Standing, answers};
use crate::exit::Lacking;
use crate::report::Reporter;
use crate::story::{Device, Teller};
use anyhow::{Context, Result, ensure};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where core dumps go on common systems.
const DUMPS: [&str; 3] = ["/var/lib/systemd/coredump", "/var/crash", "/var/lib/apport/coredump"];

/// What dumps core where it may; and the end, for a process that took no notice.
const DUMPING: [Signal; 4] = [Signal::QUIT, Signal::ABORT, Signal::SEGV, Signal::KILL];

/// All of them.
pub(super) async fn attacks(teller: &mut Teller, device: &Device) {
    teller.attack("tee.core_dump", async |_: &mut Reporter| core_dump(device).await).await;
    teller.attack("tee.swap", async |_: &mut Reporter| swap(device).await).await;
}

/// Sends each trusted application the signals that dump core, and then kills it; none may leave a
/// dump, and each must come back.
async fn core_dump(device: &Device) -> Result<(String, Value)> {
    let before = Standing::of(device).await?;
    for pid in before.tee.values() {
        ensure!(core_limit(*pid)? == Some(0), "process {pid} may dump core");
    }
    let places = places(device)?;
    let dumps = listed(&places);
    let mut killed = Vec::new();
    for (name, pid) in before.tee.iter().filter(|(name, _)| name.starts_with("ta-")) {
        let process = Pid::from_raw(*pid).context("a process number")?;
        for (number, signal) in DUMPING.into_iter().enumerate() {
            match kill_process(process, signal) {
                // One of those before was enough.
                Err(Errno::SRCH) if number > 0 => break,
                sent => sent.map_err(|error| denied(*pid, error.into()))?,
            }
        }
        comes_back(device, name, *pid).await?;
        killed.push(name.clone());
    }
    ensure!(!killed.is_empty(), "no trusted application runs");
    let new: Vec<_> = listed(&places).difference(&dumps).cloned().collect();
    ensure!(new.is_empty(), "dumps were left: {new:?}");
    let ms = answers(device).await?;
    let reason = format!("{} were killed, came back, and left no dump", killed.join(" and "));
    Ok((reason, json!({ "killed": killed, "places": places, "answered_after_ms": ms })))
}

/// Until another process has the name and the TEE answers.
async fn comes_back(device: &Device, name: &str, old: i32) -> Result<()> {
    for _ in 0..250 {
        let back = Standing::of(device).await?.tee.get(name).is_some_and(|pid| *pid != old);
        if back && answers(device).await.is_ok() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    anyhow::bail!("{name} did not come back within five seconds")
}

/// Folders where a dump of a process of this device could appear.
fn places(device: &Device) -> Result<Vec<PathBuf>> {
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern")?;
    let mut places: Vec<PathBuf> = DUMPS.iter().map(PathBuf::from).collect();
    places.extend([device.dir.clone(), device.dir.join("data"), device.dir.join("board")]);
    places.push(std::env::current_dir()?);
    if let Some(folder) = Path::new(pattern.trim()).parent().filter(|path| path.is_absolute()) {
        places.push(folder.to_owned());
    }
    Ok(places)
}

/// Everything in `places` that looks like a dump.
fn listed(places: &[PathBuf]) -> BTreeSet<PathBuf> {
    let entries = places.iter().filter_map(|place| fs::read_dir(place).ok());
    let names = entries.flatten().flatten().map(|entry| entry.path());
    names.filter(|path| path.to_string_lossy().contains("core")).collect()
}

/// What `process` may dump at most, in bytes; `None`: without limit.
fn core_limit(pid: i32) -> Result<Option<u64>> {
    let limits = read(pid, "limits")?;
    let line = limits.lines().find(|line| line.starts_with("Max core file size"));
    let hard = line.and_then(|line| line.split_whitespace().nth(5)).context("no core limit")?;
    Ok(hard.parse().ok())
}

/// Memory of the TEE that lies in swap, or that could go there although it holds keys.
async fn swap(device: &Device) -> Result<(String, Value)> {
    let standing = Standing::of(device).await?;
    let mut secret_kib = 0;
    for (name, pid) in &standing.tee {
        let status = read(*pid, "status")?;
        let swapped = kib(&status, "VmSwap")?;
        ensure!(swapped == 0, "{swapped} KiB of {name} lie in swap");
        if name == "tee-os" {
            secret_kib = secret_pages(&read(*pid, "smaps")?);
        }
    }
    ensure!(secret_kib > 0, "the trusted OS keeps its keys in memory that can go to swap");
    let areas = fs::read_to_string("/proc/swaps")?.lines().count().saturating_sub(1);
    let reason = format!(
        "no page of {} processes is in swap; the keys of the trusted OS lie in {secret_kib} KiB \
         that can't go there",
        standing.tee.len()
    );
    let evidence =
        json!({ "processes": standing.tee.len(), "secret_kib": secret_kib, "swap_areas": areas });
    Ok((reason, evidence))
}

/// A figure of `/proc/PID/status`.
fn kib(status: &str, name: &str) -> Result<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let figure = line.and_then(|line| line.trim_start_matches(':').split_whitespace().next());
    figure.and_then(|text| text.parse().ok()).with_context(|| format!("no {name}"))
}

/// KiB of mappings that the kernel never swaps: `memfd_secret`, or locked.
fn secret_pages(smaps: &str) -> u64 {
    let (mut total, mut size) = (0, 0);
    let mut secret = false;
    for line in smaps.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some(range) if range.contains('-') && !range.ends_with(':') => {
                secret = line.contains("secretmem");
            }
            Some("Size:") => size = words.next().and_then(|kib| kib.parse().ok()).unwrap_or(0),
            Some("VmFlags:") if secret || words.any(|flag| flag == "lo") => total += size,
            _ => {}
        }
    }
    total
}

fn read(pid: i32, name: &str) -> Result<String> {
    fs::read_to_string(format!("/proc/{pid}/{name}")).map_err(|error| denied(pid, error))
}

/// Only who owns the machine can look: that is the environment's.
fn denied(pid: i32, error: io::Error) -> anyhow::Error {
    if error.kind() == io::ErrorKind::PermissionDenied {
        let how = "run this as root to look at what the machine could spill";
        return Lacking(format!("process {pid} of the TEE can't be looked at: {how}")).into();
    }
    anyhow::Error::new(error).context(format!("process {pid}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_can_not_be_swapped_and_only_that() {
        let smaps = "7f00-7f01 rw-s 00000000 00:0f 1 /secretmem (deleted)\nSize:   4 kB\n\
                     VmFlags: rd wr sh\n7f02-7f03 rw-p 0 00:00 0 [heap]\nSize:  132 kB\n\
                     VmFlags: rd wr mr\n7f04-7f05 rw-p 0 00:00 0\nSize:  8 kB\nVmFlags: rd lo\n";
        assert_eq!(secret_pages(smaps), 12);
        assert_eq!(secret_pages(""), 0);
    }

    /// The suite must be able to fail: this process may dump core, and has figures to read.
    #[test]
    fn a_plain_process_has_a_core_limit_and_figures() {
        let own = std::process::id().cast_signed();
        assert_ne!(core_limit(own).unwrap(), Some(0));
        assert!(kib(&read(own, "status").unwrap(), "VmRSS").unwrap() > 0);
        assert!(kib("VmRSS: 1 kB", "VmSwap").is_err());
    }
}
