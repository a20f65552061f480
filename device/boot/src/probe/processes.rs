//! Processes: by their number, by their memory, by tracing.

use super::{Attempt, TargetProcess};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::fs::{self, File};
use std::io::{self, Read};

/// Numbers that are tried one by one.
const LAST_PID: i32 = 70_000;

/// Every way to each process.
pub(super) fn attempts(targets: &[TargetProcess]) -> Vec<Attempt> {
    if targets.is_empty() {
        return Vec::new();
    }
    let reachable = reachable();
    let mut attempts = Vec::new();
    for target in targets {
        let same = |pid: &&i32| identity(**pid).is_some_and(|found| is(&found, target));
        let pid = reachable.iter().find(same).copied();
        attempts.extend(attack(target, pid, reachable.len()));
    }
    attempts
}

fn is((name, start): &(String, u64), target: &TargetProcess) -> bool {
    *start == target.start && *name == target.name
}

/// All processes that have a number here, whether `/proc` shows them or not.
fn reachable() -> Vec<i32> {
    let has_number = |pid: &i32| {
        Pid::from_raw(*pid).is_some_and(|pid| pidfd_open(pid, PidfdFlags::empty()).is_ok())
    };
    (1..=LAST_PID).filter(has_number).collect()
}

fn attack(target: &TargetProcess, pid: Option<i32>, known: usize) -> Vec<Attempt> {
    let label = format!("{} (host pid {})", target.name, target.pid);
    let Some(pid) = pid else {
        let why = format!("it is none of the {known} processes that have a number here");
        let unseen = Err::<(), _>(io::Error::new(io::ErrorKind::NotFound, why));
        let mut attempts = vec![Attempt::new("find the process", &label, unseen, "found")];
        // The number of the host may still mean something to a system call.
        attempts.extend(by_host_number(target, &label));
        return attempts;
    };
    vec![
        Attempt::new("find the process", &label, Ok(()), "found"),
        Attempt::new("read its /proc/PID/mem", &label, open_memory(pid), "it opened"),
        Attempt::new("process_vm_readv", &label, read_memory(pid), "bytes came"),
        Attempt::new("ptrace", &label, seize(pid), "it is traced"),
    ]
}

fn by_host_number(target: &TargetProcess, label: &str) -> Option<Attempt> {
    // Another process of this world may bear the number; it is fair game for its own root.
    if identity(target.pid).is_some() {
        return None;
    }
    let outcome = read_memory(target.pid).or_else(|_| seize(target.pid));
    Some(Attempt::new("use its number on the host", label, outcome, "it answered"))
}

/// The first mapping that can be read, as `/proc/PID/maps` tells it.
fn open_memory(pid: i32) -> io::Result<()> {
    use std::os::unix::fs::FileExt;
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let none = || io::Error::new(io::ErrorKind::NotFound, "no readable mapping");
    let start =
        maps.lines().find(|line| line.contains(" r")).and_then(|line| line.split('-').next());
    let start = start.and_then(|hex| u64::from_str_radix(hex, 16).ok()).ok_or_else(none)?;
    let mut byte = [0];
    File::open(format!("/proc/{pid}/mem"))?.read_exact_at(&mut byte, start)
}

fn read_memory(pid: i32) -> io::Result<()> {
    let mut buffer = [0_u8; 16];
    let local = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // Where a static executable of this kind may lie; permission is checked before the address.
    let remote = libc::iovec { iov_base: std::ptr::without_provenance_mut(0x40_0000), iov_len: 16 };
    // SAFETY: `local` describes `buffer`, which lives through the call; `remote` is not read here.
    let got = unsafe { libc::process_vm_readv(pid, &raw const local, 1, &raw const remote, 1, 0) };
    match io::Error::last_os_error() {
        _ if got >= 0 => Ok(()),
        error if error.raw_os_error() == Some(libc::EFAULT) => Ok(()),
        error => Err(error),
    }
}

/// Attaches without stopping it. The tracing ends with the probe.
fn seize(pid: i32) -> io::Result<()> {
    // SAFETY: PTRACE_SEIZE takes no pointers and stops nothing.
    match unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, 0, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Name and start time of a process, from `/proc/PID/stat`.
pub(super) fn identity(pid: i32) -> Option<(String, u64)> {
    let mut stat = String::new();
    File::open(format!("/proc/{pid}/stat")).ok()?.read_to_string(&mut stat).ok()?;
    let (head, rest) = stat.rsplit_once(')')?;
    let (_, name) = head.split_once('(')?;
    // Field 22 of the line; the first after the name is number 3.
    let start = rest.split_ascii_whitespace().nth(19)?.parse().ok()?;
    Some((name.to_owned(), start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_process_that_is_in_reach() {
        let own = std::process::id().cast_signed();
        let (name, start) = identity(own).unwrap();
        let target = TargetProcess { pid: own, name, start };
        let attempts = attack(&target, Some(own), 1);
        assert!(attempts[0].succeeded && attempts[1].succeeded, "{attempts:?}");
    }
}
