//! Landlock, seccomp and secret memory: what the kernel does for a process that wants to be
//! locked in.

use super::{Finding, Subject, Trial};
use rustix::fd::{AsRawFd, FromRawFd, OwnedFd};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::io;

/// The version of Landlock that has all that the TEE asks for: files, ports, signals.
const LANDLOCK_FULL: i64 = 6;

/// `landlock_create_ruleset(2)`, asked for its version.
pub(super) fn landlock() -> Finding {
    const VERSION: libc::c_int = 1;
    // SAFETY: with this flag the call takes no pointer and changes nothing.
    let version = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0_usize, VERSION)
    };
    landlock_finding(match version {
        1.. => Ok(version),
        _ => Err(io::Error::last_os_error().to_string()),
    })
}

fn landlock_finding(version: Result<i64, String>) -> Finding {
    let partial = matches!(version, Ok(version) if version < LANDLOCK_FULL);
    let trial = version.map(|version| format!("ABI {version}"));
    let mut finding = Subject {
        name: "landlock",
        title: "Landlock",
        required: false,
        used: "TEE and trusted applications: no file, no port, no signal to others",
        instead: "TEE and trusted applications rest on namespaces and seccomp alone",
        stronger: "a kernel with CONFIG_SECURITY_LANDLOCK, and landlock in the lsm= list",
    }
    .found(trial);
    if partial {
        finding.used = "TEE and trusted applications: no file; ports or signals are left to \
                        namespaces and seccomp";
        finding.stronger = Some("Linux 6.12 or later (ABI 6)".to_owned());
    }
    finding
}

/// `seccomp(2)`: whether filters can end a process.
pub(super) fn seccomp() -> Finding {
    const GET_ACTION_AVAIL: libc::c_uint = 2;
    let action: u32 = libc::SECCOMP_RET_KILL_PROCESS;
    // SAFETY: reads 4 bytes at the pointer, which are there; changes nothing.
    let answer =
        unsafe { libc::syscall(libc::SYS_seccomp, GET_ACTION_AVAIL, 0, &raw const action) };
    let trial: Trial = match answer {
        0 => Ok("filters may end a process".to_owned()),
        _ => Err(io::Error::last_os_error().to_string()),
    };
    Subject {
        name: "seccomp",
        title: "seccomp",
        required: true,
        used: "TEE and trusted applications: a short list of system calls",
        instead: "nothing: without it no trusted application starts",
        stronger: "a kernel with CONFIG_SECCOMP_FILTER",
    }
    .found(trial)
}

/// `memfd_secret(2)`: made, mapped, written and read.
pub(super) fn memfd_secret() -> Finding {
    let trial = secret_page().map(|()| "a page mapped, written and read".to_owned());
    Subject {
        name: "memfd_secret",
        title: "memfd_secret",
        required: false,
        used: "the TEE's master keys and the board's HUK: not even root can read them",
        instead: "the TEE's master keys and the board's HUK lie in locked memory that root can \
                  read",
        stronger: "a kernel with CONFIG_SECRETMEM; before Linux 6.5 also secretmem.enable=1 on \
                   its command line; and a RLIMIT_MEMLOCK above 4 KiB",
    }
    .found(trial.map_err(|error| error.to_string()))
}

fn secret_page() -> io::Result<()> {
    const PAGE: usize = 4096;
    // SAFETY: takes flags only and gives a new descriptor.
    let fd = unsafe { libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC) };
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and nobody else's.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    debug_assert!(fd.as_raw_fd() > 2);
    rustix::fs::ftruncate(&fd, PAGE as u64)?;
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping where the kernel finds room.
    let page = unsafe { mmap(std::ptr::null_mut(), PAGE, protection, MapFlags::SHARED, &fd, 0) }?;
    // SAFETY: the page was just mapped for reading and writing, and only we know it.
    let kept = unsafe {
        page.cast::<u64>().write_volatile(0x5ec2_e700);
        page.cast::<u64>().read_volatile() == 0x5ec2_e700
    };
    // SAFETY: as it was mapped; nothing refers to it any more.
    unsafe { munmap(page, PAGE) }?;
    if kept { Ok(()) } else { Err(io::Error::other("the page did not keep what was written")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_landlock_is_used_and_its_gap_is_named() {
        let full = landlock_finding(Ok(LANDLOCK_FULL));
        assert!(full.present && full.stronger.is_none());
        let older = landlock_finding(Ok(3));
        assert!(older.present && older.stronger.is_some());
        assert!(!landlock_finding(Err("off".into())).present);
    }
}
