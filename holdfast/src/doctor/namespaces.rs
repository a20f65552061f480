//! Namespaces, tried in a child process that makes them, mounts something, and ends.

use super::{Finding, Subject, Trial};
use rustix::fd::{AsFd, FromRawFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, WaitOptions, getgid, getuid, waitpid};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use std::fs;

/// All that the normal world and the TEE use.
const SPACES: UnshareFlags = UnshareFlags::NEWUSER
    .union(UnshareFlags::NEWNS)
    .union(UnshareFlags::NEWPID)
    .union(UnshareFlags::NEWNET)
    .union(UnshareFlags::NEWIPC)
    .union(UnshareFlags::NEWUTS)
    .union(UnshareFlags::NEWCGROUP);

/// How far the child comes; its steps in order.
const STEPS: [&str; 5] = [
    "making a pipe or a process",
    "making user, mount, process, network, IPC, host-name and cgroup namespaces",
    "becoming root inside",
    "making the mounts private",
    "mounting a tmpfs",
];

/// What the child found out.
pub(super) struct Probe {
    /// `Err`: the step that failed and why.
    pub(super) namespaces: Result<(), (&'static str, Errno)>,
    /// What the kernel offers a FUSE server, or why there can't be one.
    pub(super) fuse: Result<FuseOffer, Errno>,
}

/// From the request `FUSE_INIT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FuseOffer {
    pub(super) major: u32,
    pub(super) minor: u32,
    pub(super) passthrough: bool,
}

/// What the child writes before it ends: five numbers of 4 bytes.
type Message = [i32; 5];

impl Probe {
    /// Runs the child and hears what it has to say.
    pub(super) fn run() -> Self {
        match ask_child() {
            Ok([step, errno, fuse_errno, major, minor]) => Self {
                namespaces: match step {
                    0 => Ok(()),
                    _ => Err((step_name(step), Errno::from_raw_os_error(errno))),
                },
                fuse: match fuse_errno {
                    0 => Ok(FuseOffer {
                        major: (major & 0xffff).cast_unsigned(),
                        minor: minor.cast_unsigned(),
                        passthrough: major & PASSTHROUGH_MARK != 0,
                    }),
                    errno => Err(Errno::from_raw_os_error(errno)),
                },
            },
            Err(error) => Self { namespaces: Err((STEPS[0], error)), fuse: Err(error) },
        }
    }
}

/// In the child's message, beside the major version.
const PASSTHROUGH_MARK: i32 = 1 << 16;

fn step_name(step: i32) -> &'static str {
    usize::try_from(step).ok().and_then(|step| STEPS.get(step)).copied().unwrap_or(STEPS[0])
}

fn ask_child() -> Result<Message, Errno> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    let maps = Maps::new();
    // SAFETY: between here and its end the child only makes system calls on memory that was
    // ready before: it neither allocates nor takes a lock that another thread may hold.
    match unsafe { libc::fork() } {
        -1 => Err(Errno::from_raw_os_error(
            std::io::Error::last_os_error().raw_os_error().unwrap_or(0),
        )),
        0 => {
            let message = child(&maps);
            let mut bytes = [0; size_of::<Message>()];
            for (place, number) in bytes.chunks_exact_mut(4).zip(message) {
                place.copy_from_slice(&number.to_ne_bytes());
            }
            let _ = rustix::io::write(&write, &bytes);
            // SAFETY: ends the child at once, without what the parent's libraries do at exit.
            unsafe { libc::_exit(0) }
        }
        pid => {
            drop(write);
            let answer = hear(&read);
            let pid = Pid::from_raw(pid).ok_or(Errno::CHILD)?;
            let _ = waitpid(Some(pid), WaitOptions::empty());
            answer
        }
    }
}

fn hear(pipe: &OwnedFd) -> Result<Message, Errno> {
    let mut bytes = [0; size_of::<Message>()];
    match rustix::io::read(pipe, &mut bytes[..])? {
        read if read == bytes.len() => {
            let mut numbers = bytes.chunks_exact(4);
            Ok(std::array::from_fn(|_| {
                let number = numbers.next().expect("five numbers of 4 bytes were read");
                i32::from_ne_bytes(number.try_into().expect("chunks of 4 bytes"))
            }))
        }
        // It was killed: a sandbox that ends who tries.
        _ => Err(Errno::PERM),
    }
}

/// What is written to `/proc/self/{uid,gid}_map`, made before the fork.
struct Maps {
    uid: String,
    gid: String,
}

impl Maps {
    fn new() -> Self {
        let line = |id: u32| format!("0 {id} 1");
        Self { uid: line(getuid().as_raw()), gid: line(getgid().as_raw()) }
    }
}

fn child(maps: &Maps) -> Message {
    match enter(maps) {
        Ok(()) => match fuse_offer() {
            Ok(offer) => {
                let mark = if offer.passthrough { PASSTHROUGH_MARK } else { 0 };
                let major = offer.major.cast_signed() & 0xffff | mark;
                [0, 0, 0, major, offer.minor.cast_signed()]
            }
            Err(error) => [0, 0, error.raw_os_error(), 0, 0],
        },
        Err((step, error)) => [step, error.raw_os_error(), Errno::PERM.raw_os_error(), 0, 0],
    }
}

/// `Err`: the number of the step and why it failed.
fn enter(maps: &Maps) -> Result<(), (i32, Errno)> {
    // SAFETY: no thread but this one exists in the child.
    unsafe { unshare_unsafe(SPACES) }.map_err(|error| (1, error))?;
    write_file("/proc/self/setgroups", "deny").map_err(|error| (2, error))?;
    write_file("/proc/self/uid_map", &maps.uid).map_err(|error| (2, error))?;
    write_file("/proc/self/gid_map", &maps.gid).map_err(|error| (2, error))?;
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)
        .map_err(|error| (3, error))?;
    let flags = MountFlags::NODEV | MountFlags::NOSUID;
    mount("none", "/proc", "tmpfs", flags, c"size=4k").map_err(|error| (4, error))
}

fn write_file(path: &str, text: &str) -> Result<(), Errno> {
    let file = openat(CWD, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(file, text.as_bytes()).map(drop)
}

/// Descriptor number that the mount option below names.
const FUSE_FD: i32 = 100;
/// `FUSE_INIT_EXT`: the request has a second word of flags.
const INIT_EXT: u32 = 1 << 30;
/// `FUSE_PASSTHROUGH` in that second word.
const PASSTHROUGH: u32 = 1 << (37 - 32);

/// Mounts a FUSE file system that nobody will serve, and reads the kernel's first request.
fn fuse_offer() -> Result<FuseOffer, Errno> {
    let device = openat(CWD, "/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    // SAFETY: the number is free: what the child inherited at it, if anything, it never uses.
    let mut numbered = unsafe { OwnedFd::from_raw_fd(FUSE_FD) };
    rustix::io::dup2(&device, &mut numbered)?;
    let flags = MountFlags::NODEV | MountFlags::NOSUID;
    let options = c"fd=100,rootmode=40000,user_id=0,group_id=0";
    mount("none", "/proc", "fuse", flags, options)?;
    wait_for(&numbered)?;
    let mut request = [0; 8192];
    let length = rustix::io::read(&numbered, &mut request[..])?;
    parse_init(&request[..length]).ok_or(Errno::PROTO)
}

fn wait_for(fd: &OwnedFd) -> Result<(), Errno> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut fds = [PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN)];
    match poll(&mut fds, Some(&Timespec { tv_sec: 2, tv_nsec: 0 }))? {
        0 => Err(Errno::TIMEDOUT),
        _ => Ok(()),
    }
}

/// `fuse_in_header` (40 bytes, opcode at 4) and `fuse_init_in`.
fn parse_init(request: &[u8]) -> Option<FuseOffer> {
    const OPCODE: usize = 4;
    const INIT: u32 = 26;
    let word = |at: usize| {
        let bytes = request.get(at..at + 4)?;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?))
    };
    if word(OPCODE)? != INIT {
        return None;
    }
    let (major, minor, flags) = (word(40)?, word(44)?, word(52)?);
    let more = if flags & INIT_EXT != 0 { word(56)? } else { 0 };
    Some(FuseOffer { major, minor, passthrough: more & PASSTHROUGH != 0 })
}

/// Whether the isolation that everything rests on works.
pub(super) fn finding(probe: &Probe) -> Finding {
    let trial = match probe.namespaces {
        Ok(()) => Ok("seven kinds made, root inside, a file system mounted".to_owned()),
        Err((step, error)) => Err(format!("{step}: {error}")),
    };
    Subject {
        name: "user_namespaces",
        title: "User namespaces",
        required: true,
        used: "the system (REE) and the TEE with its applications run in namespaces of their own",
        instead: "nothing: without them the device is not powered on",
        stronger: "allow unprivileged user namespaces (next line), or leave the container that \
                   forbids them (Docker: --security-opt seccomp=unconfined)",
    }
    .found(trial)
}

/// The switches that administrators turn.
pub(super) fn limits() -> Finding {
    let switches = [
        ("user.max_user_namespaces", "/proc/sys/user/max_user_namespaces", None),
        ("kernel.unprivileged_userns_clone", "/proc/sys/kernel/unprivileged_userns_clone", None),
        (
            "kernel.apparmor_restrict_unprivileged_userns",
            "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            Some("1"),
        ),
    ];
    let mut seen = Vec::new();
    let mut forbidding = Vec::new();
    for (name, path, forbids) in switches {
        let Ok(value) = fs::read_to_string(path) else { continue };
        let value = value.trim().to_owned();
        if value == forbids.unwrap_or("0") {
            forbidding.push(format!("{name}={}", if forbids.is_some() { "0" } else { "1" }));
        }
        seen.push(format!("{name}={value}"));
    }
    let seen = if seen.is_empty() { "no switch here".to_owned() } else { seen.join(", ") };
    limits_finding(seen, &forbidding)
}

fn limits_finding(seen: String, forbidding: &[String]) -> Finding {
    let trial: Trial = if forbidding.is_empty() { Ok(seen) } else { Err(seen) };
    let mut finding = Subject {
        name: "user_namespace_limits",
        title: "…and their limits",
        required: false,
        used: "unprivileged users may make user namespaces: no root is needed",
        instead: "only root may make user namespaces",
        stronger: "",
    }
    .found(trial);
    if !forbidding.is_empty() {
        finding.stronger = Some(format!("sysctl {}", forbidding.join(" ")));
    }
    finding
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_init_request_tells_version_and_passthrough() {
        let mut request = [0_u8; 104];
        request[4..8].copy_from_slice(&26_u32.to_ne_bytes());
        request[40..44].copy_from_slice(&7_u32.to_ne_bytes());
        request[44..48].copy_from_slice(&45_u32.to_ne_bytes());
        request[52..56].copy_from_slice(&INIT_EXT.to_ne_bytes());
        let offer = |request: &[u8]| parse_init(request).map(|o| (o.major, o.minor, o.passthrough));
        assert_eq!(offer(&request), Some((7, 45, false)));
        request[56..60].copy_from_slice(&PASSTHROUGH.to_ne_bytes());
        assert_eq!(offer(&request), Some((7, 45, true)));
        request[52..56].copy_from_slice(&0_u32.to_ne_bytes());
        assert_eq!(offer(&request), Some((7, 45, false)));
        assert_eq!(offer(&request[..50]), None);
        request[4] = 1;
        assert_eq!(offer(&request), None);
    }

    #[test]
    fn the_child_leaves_this_process_as_it_was() {
        let before = fs::read_link("/proc/self/ns/user").unwrap();
        let probe = Probe::run();
        assert_eq!(fs::read_link("/proc/self/ns/user").unwrap(), before);
        if let Err((step, error)) = probe.namespaces {
            eprintln!("no user namespaces here: {step}: {error}");
        }
    }

    #[test]
    fn a_switch_that_forbids_is_named_with_its_mend() {
        let switch = ["kernel.unprivileged_userns_clone=1".to_owned()];
        let finding = limits_finding("seen".into(), &switch);
        assert!(!finding.present);
        let mend = finding.stronger.as_deref();
        assert_eq!(mend, Some("sysctl kernel.unprivileged_userns_clone=1"));
    }
}
