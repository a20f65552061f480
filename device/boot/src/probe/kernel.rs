//! The host's kernel: what root of the whole machine can do, tried by root of this world alone.

use super::Attempt;
use rustix::fs::{FileType, Mode, makedev, mknodat};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::ffi::CStr;
use std::io;

/// Tries something; `Ok` where it came past its permission check.
type Way = fn() -> io::Result<()>;

/// What only root of the machine may. Each call comes as far as its permission check; what lies
/// behind that is such that it has no effect, or is taken back.
const WAYS: [(&str, Way); 14] = [
    ("make a device node of a disk", || node(FileType::BlockDevice, 8, 0)),
    ("make a device node of the memory", || node(FileType::CharacterDevice, 1, 1)),
    ("mount the host's devices", || mounted("devtmpfs")),
    ("mount the kernel's debugger", || mounted("debugfs")),
    ("mount the kernel's tracer", || mounted("tracefs")),
    ("mount the kernel's security switches", || mounted("securityfs")),
    ("load a kernel module", module),
    ("load another kernel", other_kernel),
    ("list the kernel's BPF programs", bpf),
    ("watch the whole machine (perf)", perf),
    ("turn on a swap file", swap),
    ("reach the I/O ports", ports),
    ("set the machine's clock", clock),
    ("turn the machine's clock faster", clock_rate),
];

/// Where something is made for a moment.
const SPARE: &str = "/tmp/.probe";

pub(super) fn attempts() -> Vec<Attempt> {
    let attempt =
        |(what, way): (&str, Way)| Attempt::new(what, "the host's kernel", way(), "it took it");
    WAYS.map(attempt).to_vec()
}

fn node(kind: FileType, major: u32, minor: u32) -> io::Result<()> {
    let device = makedev(major, minor);
    mknodat(rustix::fs::CWD, SPARE, kind, Mode::RUSR, device)?;
    let opened = std::fs::File::open(SPARE);
    std::fs::remove_file(SPARE)?;
    opened.map(drop)
}

fn mounted(kind: &str) -> io::Result<()> {
    let _ = std::fs::create_dir(SPARE);
    let done = mount(kind, SPARE, kind, MountFlags::empty(), None::<&CStr>);
    if done.is_ok() {
        unmount(SPARE, UnmountFlags::DETACH)?;
    }
    let _ = std::fs::remove_dir(SPARE);
    Ok(done?)
}

/// An empty module: behind the permission, the kernel says that it is none.
fn module() -> io::Result<()> {
    let image = [0_u8; 16];
    // SAFETY: image and parameters live through the call.
    let done =
        unsafe { libc::syscall(libc::SYS_init_module, image.as_ptr(), image.len(), c"".as_ptr()) };
    past_permission(done)
}

/// No segments and a flag that does not exist: behind the permission, the kernel says so.
fn other_kernel() -> io::Result<()> {
    // SAFETY: numbers only; a null list of no segments.
    past_permission(unsafe { libc::syscall(libc::SYS_kexec_load, 0, 0, 0, u64::MAX) })
}

/// `BPF_PROG_GET_NEXT_ID`.
fn bpf() -> io::Result<()> {
    let mut attributes = [0_u32; 4];
    let length = size_of_val(&attributes);
    // SAFETY: the attributes are as long as the call is told and live through it.
    past_permission(unsafe { libc::syscall(libc::SYS_bpf, 11, attributes.as_mut_ptr(), length) })
}

/// All processes on the first processor.
fn perf() -> io::Result<()> {
    // `perf_event_attr`, version 0: a software clock, everything else zero.
    let mut attributes = [0_u32; 16];
    attributes[0] = 1;
    attributes[1] = 64;
    // SAFETY: the attributes are as long as they say and live through the call.
    past_permission(unsafe {
        libc::syscall(libc::SYS_perf_event_open, attributes.as_ptr(), -1, 0, -1, 0)
    })
}

fn swap() -> io::Result<()> {
    // SAFETY: the path ends with NUL; nothing is there.
    past_permission(unsafe { libc::syscall(libc::SYS_swapon, c"/tmp/.none".as_ptr(), 0) })
}

#[cfg(target_arch = "x86_64")]
fn ports() -> io::Result<()> {
    // SAFETY: changes what this process may do, no more.
    past_permission(unsafe { libc::syscall(libc::SYS_iopl, 3) })
}

#[cfg(not(target_arch = "x86_64"))]
fn ports() -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// An impossible time zone: behind the permission, the kernel says so.
fn clock() -> io::Result<()> {
    let zone = [i32::MAX, 0];
    // SAFETY: no time is given; the zone lives through the call.
    past_permission(unsafe { libc::syscall(libc::SYS_settimeofday, 0, zone.as_ptr()) })
}

/// The tick that it has.
fn clock_rate() -> io::Result<()> {
    // SAFETY: `timex` is plain data, for which all zeros are valid: it asks and changes nothing.
    let mut held: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel fills one `timex`, which lives through the call.
    unsafe { libc::adjtimex(&raw mut held) };
    held.modes = libc::ADJ_TICK;
    // SAFETY: as above; the tick that it sets is the one that it told.
    past_permission(unsafe { libc::adjtimex(&raw mut held) }.into())
}

/// Only a missing permission is a refusal: any other error comes from behind it. What the kernel
/// does not know at all can't be done either.
fn past_permission(result: i64) -> io::Result<()> {
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        _ if result >= 0 => Ok(()),
        Some(libc::EPERM | libc::EACCES | libc::ENOSYS) => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The suite must be able to fail: what this machine grants its own root counts as reached.
    #[test]
    fn what_comes_past_the_permission_counts_as_reached() {
        // SAFETY: no such descriptor; any error but a missing permission comes of it.
        assert!(past_permission(unsafe { libc::close(-1) }.into()).is_ok());
        // SAFETY: signal 0 to process 1 has no effect.
        let one = unsafe { libc::kill(1, 0) };
        assert_eq!(past_permission(one.into()).is_ok(), one == 0);
    }
}
