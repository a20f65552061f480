//! Processes: by their number, by their memory, by tracing, by signals.

use super::{Attempt, TargetProcess};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Read};

/// Numbers that are tried one by one.
const LAST_PID: i32 = 70_000;

/// Tries something on a process; `Ok` where that answered.
type Way = fn(i32) -> io::Result<()>;

/// What can be done to a process whose number one has. None of it alters the process.
const WAYS: [(ProcessWay, &str, Way); 16] = [
    (ProcessWay::Memory, "read its /proc/PID/mem", open_memory),
    (ProcessWay::Memory, "read its /proc/PID/maps", |pid| read_file(pid, "maps")),
    (ProcessWay::Memory, "read its /proc/PID/environ", |pid| read_file(pid, "environ")),
    (ProcessWay::Memory, "read its /proc/PID/pagemap", |pid| read_file(pid, "pagemap")),
    (ProcessWay::Memory, "list its /proc/PID/fd", |pid| list(pid, "fd")),
    (ProcessWay::Memory, "enter its /proc/PID/root", |pid| list(pid, "root/.")),
    (ProcessWay::Memory, "open its /proc/PID/ns", |pid| {
        File::open(format!("/proc/{pid}/ns/mnt")).map(drop)
    }),
    (ProcessWay::Tracing, "process_vm_readv", read_memory),
    (ProcessWay::Tracing, "process_vm_writev", write_memory),
    (ProcessWay::Tracing, "ptrace", seize),
    (ProcessWay::Signals, "signal it", |pid| answered(signal(pid))),
    (ProcessWay::Signals, "open and signal it (pidfd)", signal_by_descriptor),
    (ProcessWay::Tracing, "take a descriptor of it (pidfd_getfd)", take_descriptor),
    (ProcessWay::Signals, "change its limits", limit),
    (ProcessWay::Signals, "change its priority", prioritise),
    (ProcessWay::Memory, "move its memory", move_memory),
];

/// What a way to a process goes for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessWay {
    /// To become its debugger.
    Tracing,
    /// What `/proc` shows of it, and where its memory lies.
    Memory,
    /// To stop it, or to make it slower.
    Signals,
}

/// Every way to each process; only those that go for `only`, where that is said.
pub(super) fn attempts(targets: &[TargetProcess], only: Option<ProcessWay>) -> Vec<Attempt> {
    if targets.is_empty() {
        return Vec::new();
    }
    let reachable = reachable();
    let mut attempts = Vec::new();
    for target in targets {
        let same = |pid: &&i32| identity(**pid).is_some_and(|found| is(&found, target));
        let pid = reachable.iter().find(same).copied();
        attempts.extend(attack(target, pid, only, reachable.len()));
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

fn attack(
    target: &TargetProcess,
    pid: Option<i32>,
    only: Option<ProcessWay>,
    known: usize,
) -> Vec<Attempt> {
    let label = format!("{} (host pid {})", target.name, target.pid);
    let ways = WAYS.iter().filter(|(kind, ..)| only.is_none_or(|only| only == *kind));
    let all = |pid: i32| -> Vec<Attempt> {
        ways.map(|(_, what, way)| Attempt::new(what, &label, way(pid), "it answered")).collect()
    };
    let Some(pid) = pid else {
        let why = format!("it is none of the {known} processes that have a number here");
        let unseen = Err::<(), _>(io::Error::new(io::ErrorKind::NotFound, why));
        let mut attempts = vec![Attempt::new("find the process", &label, unseen, "found")];
        // The number of the host may still mean something to a system call; where another
        // process of this world bears it, that one is fair game for its own root.
        if identity(target.pid).is_none() {
            attempts.extend(all(target.pid));
        }
        return attempts;
    };
    let mut attempts = vec![Attempt::new("find the process", &label, Ok(()), "found")];
    attempts.extend(all(pid));
    attempts
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

/// One byte of a file below `/proc/PID`; an empty one was readable, too.
fn read_file(pid: i32, name: &str) -> io::Result<()> {
    File::open(format!("/proc/{pid}/{name}"))?.read(&mut [0; 8]).map(drop)
}

fn list(pid: i32, folder: &str) -> io::Result<()> {
    fs::read_dir(format!("/proc/{pid}/{folder}")).map(drop)
}

fn read_memory(pid: i32) -> io::Result<()> {
    let mut buffer = [0_u8; 16];
    let local = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let remote = elsewhere(16);
    // SAFETY: `local` describes `buffer`, which lives through the call; `remote` is not read here.
    let got = unsafe { libc::process_vm_readv(pid, &raw const local, 1, &raw const remote, 1, 0) };
    reached_memory(got)
}

/// Writes no byte: permission is checked before the length.
fn write_memory(pid: i32) -> io::Result<()> {
    let mut byte = [0_u8; 1];
    let local = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    // The page at address 0 is never mapped.
    let remote = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 1 };
    // SAFETY: `local` describes `byte`, which lives through the call; `remote` is not read here.
    let got = unsafe { libc::process_vm_writev(pid, &raw const local, 1, &raw const remote, 1, 0) };
    reached_memory(got)
}

/// Where a static executable may lie; permission is checked before the address.
fn elsewhere(length: usize) -> libc::iovec {
    libc::iovec { iov_base: std::ptr::without_provenance_mut(0x40_0000), iov_len: length }
}

fn reached_memory(got: isize) -> io::Result<()> {
    match io::Error::last_os_error() {
        _ if got >= 0 => Ok(()),
        error if error.raw_os_error() == Some(libc::EFAULT) => Ok(()),
        error => Err(error),
    }
}

/// Attaches without stopping it. The tracing ends with the probe.
fn seize(pid: i32) -> io::Result<()> {
    // SAFETY: PTRACE_SEIZE takes no pointers and stops nothing.
    answered(unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, 0, 0) })
}

/// Signal 0: permission is checked, nothing is sent.
fn signal(pid: i32) -> i64 {
    // SAFETY: signal 0 has no effect.
    i64::from(unsafe { libc::kill(pid, 0) })
}

fn signal_by_descriptor(pid: i32) -> io::Result<()> {
    let process =
        pidfd_open(Pid::from_raw(pid).ok_or(io::ErrorKind::NotFound)?, PidfdFlags::empty())?;
    let fd = std::os::fd::AsRawFd::as_raw_fd(&process);
    // SAFETY: signal 0 has no effect; no pointer is followed.
    answered(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, 0, 0, 0) })
}

fn take_descriptor(pid: i32) -> io::Result<()> {
    let process =
        pidfd_open(Pid::from_raw(pid).ok_or(io::ErrorKind::NotFound)?, PidfdFlags::empty())?;
    let fd = std::os::fd::AsRawFd::as_raw_fd(&process);
    // SAFETY: takes numbers only; the descriptor that may come of it goes with the probe.
    match answered(unsafe { libc::syscall(libc::SYS_pidfd_getfd, fd, 3, 0) }) {
        // Permission is checked before the number.
        Err(error) if error.raw_os_error() == Some(libc::EBADF) => Ok(()),
        outcome => outcome,
    }
}

/// Reads a limit, which takes the permission to change it.
fn limit(pid: i32) -> io::Result<()> {
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one limit, which lives through the call; nothing is changed.
    let done = unsafe { libc::prlimit64(pid, libc::RLIMIT_CORE, std::ptr::null(), &raw mut limit) };
    answered(done)
}

/// Gives it the priority that it has.
fn prioritise(pid: i32) -> io::Result<()> {
    let who = libc::id_t::try_from(pid).map_err(io::Error::other)?;
    // SAFETY: numbers only.
    let now = unsafe { libc::getpriority(libc::PRIO_PROCESS, who) };
    // SAFETY: numbers only.
    answered(unsafe { libc::setpriority(libc::PRIO_PROCESS, who, now.max(0)) })
}

/// Asks where a page of it lies (`move_pages(2)` without a target).
fn move_memory(pid: i32) -> io::Result<()> {
    let pages = [elsewhere(1).iov_base];
    let mut status = [0_i32; 1];
    let none = std::ptr::null::<libc::c_int>();
    // SAFETY: one page is asked about and one status is written; both live through the call.
    answered(unsafe {
        libc::syscall(libc::SYS_move_pages, pid, 1, pages.as_ptr(), none, status.as_mut_ptr(), 0)
    })
}

/// What a system call answered: below zero it refused.
fn answered(result: impl Into<i64>) -> io::Result<()> {
    if result.into() < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
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

    /// The suite must be able to fail: a plain process is reached in every way.
    #[test]
    fn a_plain_process_is_reached_in_every_way() {
        let mut plain = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = plain.id().cast_signed();
        let (name, start) = identity(pid).unwrap();
        let target = TargetProcess { pid, name, start };
        let attempts = attack(&target, Some(pid), None, 1);
        let failed: Vec<_> = attempts.iter().filter(|attempt| !attempt.succeeded).collect();
        let is_root = rustix::process::geteuid().is_root();
        plain.kill().unwrap();
        plain.wait().unwrap();
        assert_eq!(attempts.len(), WAYS.len() + 1);
        assert!(failed.is_empty() || !is_root, "{failed:?}");
        assert!(failed.len() < 4, "{failed:?}");
    }

    #[test]
    fn a_process_without_a_number_here_is_out_of_reach() {
        let target = TargetProcess { pid: i32::MAX, name: "gone".into(), start: 0 };
        let attempts = attack(&target, None, None, 1);
        assert!(attempts.iter().all(|attempt| !attempt.succeeded), "{attempts:?}");
    }
}
