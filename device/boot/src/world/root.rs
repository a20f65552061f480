//! The root folder of the normal world.

use super::{During, Folders, WorldError};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount,
    mount_bind_recursive, mount_change, mount_remount, move_mount, open_tree, unmount,
};
use std::fs;
use std::path::Path;

/// Bytes of the root folder: a few names, no content.
const ROOT_OPTIONS: &std::ffi::CStr = c"mode=755,size=1m";
const TMP_OPTIONS: &std::ffi::CStr = c"mode=1777,size=32m";
const DEVICES: [&str; 4] = ["null", "zero", "random", "urandom"];
/// Switches that work on the whole host, and what tells about it: root of a namespace may be
/// the host's root by number, and these ask for no more than that.
const HOST_WIDE: [&str; 8] = ["sys", "sysrq-trigger", "irq", "bus", "fs", "acpi", "scsi", "driver"];
/// Files of `/proc` that show the host's kernel; nothing stands in their place.
const HOST_SECRETS: [&str; 4] = ["kcore", "keys", "timer_list", "kallsyms"];
const PLAIN: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV);

/// Builds the root folder and moves this process into it. The caller is process 1 of fresh
/// user, mount and process namespaces.
pub(super) fn build(folders: &Folders) -> Result<(), WorldError> {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .during("cutting the mounts off the host's")?;
    let data = detach(&folders.data)?;
    let run = detach(&folders.run)?;
    let devices = DEVICES
        .iter()
        .map(|name| Ok((*name, detach(&Path::new("/dev").join(name))?)))
        .collect::<Result<Vec<_>, WorldError>>()?;
    // Any folder does as the place: this one exists for certain.
    let root = folders.run.as_path();
    mount("tmpfs", root, "tmpfs", PLAIN, ROOT_OPTIONS).during("mounting a root folder")?;
    for name in ["data", "run", "dev", "proc", "system", "tmp"] {
        fs::create_dir(root.join(name)).during("making folders in the root")?;
    }
    attach(&data, &root.join("data"))?;
    attach(&run, &root.join("run"))?;
    for (name, device) in &devices {
        let place = root.join("dev").join(name);
        fs::write(&place, []).during("making places for devices")?;
        attach(device, &place)?;
    }
    mount("tmpfs", root.join("tmp"), "tmpfs", PLAIN, TMP_OPTIONS).during("mounting /tmp")?;
    own_proc(&root.join("proc"))?;
    enter(root)
}

/// A copy of the mount at `path` that hangs nowhere yet.
fn detach(path: &Path) -> Result<OwnedFd, WorldError> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE;
    open_tree(CWD, path, flags).during(&format!("binding {}", path.display()))
}

fn attach(tree: &OwnedFd, place: &Path) -> Result<(), WorldError> {
    move_mount(tree.as_fd(), "", CWD, place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .during(&format!("binding at {}", place.display()))
}

fn own_proc(proc: &Path) -> Result<(), WorldError> {
    mount("proc", proc, "proc", PLAIN | MountFlags::NOEXEC, None).during("mounting /proc")?;
    for name in HOST_WIDE {
        let path = proc.join(name);
        match mount_bind_recursive(&path, &path) {
            Err(Errno::NOENT) => continue,
            other => other.during(&format!("protecting /proc/{name}"))?,
        }
        let flags = PLAIN | MountFlags::NOEXEC | MountFlags::BIND | MountFlags::RDONLY;
        mount_remount(&path, flags, c"").during(&format!("making /proc/{name} read-only"))?;
    }
    for name in HOST_SECRETS {
        match mount_bind_recursive("/dev/null", proc.join(name)) {
            Err(Errno::NOENT) => {}
            other => other.during(&format!("hiding /proc/{name}"))?,
        }
    }
    Ok(())
}

/// Makes `root` the root folder, read-only, and lets go of the host's.
fn enter(root: &Path) -> Result<(), WorldError> {
    let here = "changing the root folder";
    rustix::process::chdir(root).during(here)?;
    rustix::process::pivot_root(".", ".").during(here)?;
    unmount(".", UnmountFlags::DETACH).during("letting go of the host's files")?;
    rustix::process::chdir("/").during(here)?;
    mount_remount("/", PLAIN | MountFlags::BIND | MountFlags::RDONLY, c"")
        .during("making the root folder read-only")
}
