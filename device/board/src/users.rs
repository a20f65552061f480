//! User namespaces: which users of the machine a process knows by their numbers.

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, getegid, geteuid, getpid, waitpid};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use std::fmt::Write as _;
use std::path::Path;

/// A map of users or groups: where the numbers begin inside and outside, and how many there are.
type Map = Vec<[u64; 3]>;

/// Moves this process into the namespaces `which` and a user namespace of its own, in which the
/// caller is root.
///
/// Where that is root outside, every user that the caller knows keeps their number inside, so that
/// the kernel's word about the other end of a socket is true there. Others know themselves alone:
/// anybody else has one and the same number, [`UNKNOWN`]. Gives whether all are known. The process
/// has one thread; no group can be given up inside.
pub fn enter(which: UnshareFlags) -> Result<bool, Errno> {
    let own = (geteuid().as_raw(), getegid().as_raw());
    let helper = if own.0 == 0 { Helper::start().ok() } else { None };
    // SAFETY: one thread; the caller names no flag that unshares the table of descriptors.
    let entered = unsafe { unshare_unsafe(which | UnshareFlags::NEWUSER) };
    let is_mapped = helper.is_some_and(|helper| helper.map(entered.is_ok()));
    entered?;
    if !is_mapped {
        put("/proc/self/setgroups", "deny")?;
        put("/proc/self/uid_map", &format!("0 {} 1", own.0))?;
        put("/proc/self/gid_map", &format!("0 {} 1", own.1))?;
    }
    Ok(is_mapped)
}

/// Whom the kernel names so is somebody whom this process's user namespace does not know
/// (`/proc/sys/kernel/overflowuid`).
pub const UNKNOWN: u32 = 65534;

/// Whether `uid`, as the kernel tells it here, is a user and not just anybody unknown.
#[must_use]
pub fn is_known(uid: u32) -> bool {
    uid != UNKNOWN
        || own_map("uid_map")
            .is_ok_and(|map| map.iter().any(|&[from, _, count]| known(from, count, uid)))
}

fn known(from: u64, count: u64, uid: u32) -> bool {
    u64::from(uid).checked_sub(from).is_some_and(|place| place < count)
}

/// A child that stays outside: only from there more users than oneself can be mapped.
struct Helper {
    pid: Pid,
    go: OwnedFd,
}

impl Helper {
    fn start() -> Result<Self, Errno> {
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let parent = getpid();
        // SAFETY: the process has one thread, so the child may do whatever the parent may.
        match unsafe { libc::fork() } {
            -1 => Err(Errno::AGAIN),
            0 => {
                drop(write);
                let mut word = [0];
                let told = rustix::io::read(&read, &mut word);
                let done = matches!(told, Ok(1)) && map_all(parent).is_ok();
                // SAFETY: ends the child without running the parent's exit handlers.
                unsafe { libc::_exit(i32::from(!done)) }
            }
            pid => Ok(Self { pid: Pid::from_raw(pid).ok_or(Errno::SRCH)?, go: write }),
        }
    }

    /// Has the namespace mapped, where there is one; whether that was done.
    fn map(self, is_entered: bool) -> bool {
        if is_entered {
            let _ = rustix::io::write(&self.go, &[1]);
        }
        drop(self.go);
        let ended = waitpid(Some(self.pid), WaitOptions::empty());
        is_entered && matches!(ended, Ok(Some((_, status))) if status.exit_status() == Some(0))
    }
}

/// In the helper: whom this process knows, `process` is to know by the same numbers.
fn map_all(process: Pid) -> Result<(), Errno> {
    let folder = format!("/proc/{}", process.as_raw_nonzero());
    put(format!("{folder}/setgroups"), "deny")?;
    for file in ["gid_map", "uid_map"] {
        let map = own_map(file)?;
        let mut text = String::new();
        for [from, _, count] in map {
            writeln!(text, "{from} {from} {count}").map_err(|_| Errno::INVAL)?;
        }
        put(format!("{folder}/{file}"), &text)?;
    }
    Ok(())
}

fn own_map(file: &str) -> Result<Map, Errno> {
    let text = std::fs::read_to_string(Path::new("/proc/self").join(file));
    parse(&text.map_err(|_| Errno::ACCESS)?).ok_or(Errno::INVAL)
}

fn parse(text: &str) -> Option<Map> {
    let row = |line: &str| {
        let numbers: Option<Vec<u64>> =
            line.split_whitespace().map(|number| number.parse().ok()).collect();
        numbers?.try_into().ok()
    };
    text.lines().map(row).collect()
}

/// In one write, as the kernel wants it.
fn put(path: impl AsRef<Path>, text: &str) -> Result<(), Errno> {
    use rustix::fs::{CWD, Mode, OFlags, openat};
    let file = openat(CWD, path.as_ref(), OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(file, text.as_bytes()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_read_as_the_kernel_writes_them() {
        let map = parse("         0     100000      65536\n     65536          0          1\n");
        assert_eq!(map, Some(vec![[0, 100_000, 65_536], [65_536, 0, 1]]));
        for wrong in ["0 0\n", "0 0 x\n", "0 0 1 1\n"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
        assert!(known(0, 1, 0) && !known(0, 1, 65_534) && known(0, u32::MAX.into(), 65_534));
    }
}
