//! A world of its own for a process of the TEE: no file, no network, no other process.
//!
//! A process that was started inside a user namespace can be traced by every process of the user
//! who made that namespace. So the trusted OS isolates itself after it was started; and a TA,
//! which is isolated before, is started from an image that nobody may read and whose group its
//! namespace does not know: the kernel then asks for rights over the namespace outside.

use board::users;
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, mount_remount, unmount,
};
use rustix::process::{chdir, getuid, pivot_root};
use rustix::thread::{CapabilitySet, CapabilitySets, UnshareFlags, set_capabilities};

/// Where the empty root is mounted on its way to become `/`; it exists on every Linux.
const STEPPING_STONE: &str = "/proc";

/// What could not be done, as `board::report::Record::Weakness` has it.
#[derive(Debug, PartialEq, Eq)]
pub struct Weakness {
    /// Which boundary.
    pub what: &'static str,
    /// What is missing, and how to get it.
    pub mend: String,
}

/// Moves this process into namespaces of its own with an empty root, and drops every
/// capability. It keeps its process number, so that the board knows it. Must be called while
/// the process has one thread, and before [`crate::sandbox::close_to_observers`], after which
/// the kernel lets nobody write the process's user map.
pub fn isolate() -> Vec<Weakness> {
    isolate_as(Groups::Own)
}

/// As [`isolate`], for a process that then becomes a program whose image it can't read.
pub fn isolate_program() -> Vec<Weakness> {
    isolate_as(Groups::None)
}

/// Which groups the user namespace knows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Groups {
    Own,
    None,
}

fn isolate_as(groups: Groups) -> Vec<Weakness> {
    let mut weaknesses = Vec::new();
    if let Err(error) = unshare(groups) {
        weaknesses.push(Weakness {
            what: "TEE: namespaces",
            mend: format!(
                "no namespaces of its own ({error}): allow user namespaces \
                 (sysctl kernel.unprivileged_userns_clone=1, or \
                 kernel.apparmor_restrict_unprivileged_userns=0) or run the board as root"
            ),
        });
    } else if let Err(error) = empty_root() {
        weaknesses.push(Weakness {
            what: "TEE: empty root",
            mend: format!("the file system is still in sight ({error}): allow mounts"),
        });
    }
    if let Err(error) = drop_capabilities() {
        let mend = format!("capabilities could not be dropped ({error})");
        weaknesses.push(Weakness { what: "TEE: capabilities", mend });
    }
    weaknesses
}

/// Drops every capability.
pub fn drop_capabilities() -> Result<(), Errno> {
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, none)
}

const SPACES: UnshareFlags = UnshareFlags::NEWNS
    .union(UnshareFlags::NEWNET)
    .union(UnshareFlags::NEWIPC)
    .union(UnshareFlags::NEWUTS);

/// With a user namespace where there may be one, else with the privileges of root.
fn unshare(groups: Groups) -> Result<(), Errno> {
    let spaces = match groups {
        Groups::Own => SPACES,
        // A process that may have children only in another number space can have no threads.
        Groups::None => SPACES | UnshareFlags::NEWPID,
    };
    let entered = match groups {
        // It is told who calls.
        Groups::Own => users::enter(spaces).map(drop),
        Groups::None => enter_alone(spaces),
    };
    match entered {
        Ok(()) => Ok(()),
        // SAFETY: file descriptors stay shared, and no other thread exists.
        Err(_) => unsafe { rustix::thread::unshare_unsafe(spaces) },
    }
}

/// A user namespace that knows its own user and no group.
fn enter_alone(spaces: UnshareFlags) -> Result<(), Errno> {
    let uid = getuid().as_raw();
    // SAFETY: file descriptors stay shared, and no other thread exists.
    unsafe { rustix::thread::unshare_unsafe(spaces | UnshareFlags::NEWUSER) }?;
    write_map("/proc/self/setgroups", "deny")?;
    write_map("/proc/self/uid_map", &format!("0 {uid} 1"))
}

fn write_map(path: &str, text: &str) -> Result<(), Errno> {
    use rustix::fs::{Mode, OFlags, openat};
    let file = openat(CWD, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(file, text.as_bytes()).map(drop)
}

/// An empty, read-only file system becomes `/`; everything else goes out of sight.
fn empty_root() -> Result<(), Errno> {
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)?;
    let flags = MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::NOSUID;
    mount("none", STEPPING_STONE, "tmpfs", flags, c"size=4k,nr_inodes=1,mode=555")?;
    chdir(STEPPING_STONE)?;
    pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    chdir("/")?;
    mount_remount("/", flags | MountFlags::RDONLY, c"")
}
