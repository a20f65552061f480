//! How files can be encrypted here: by the kernel, by a FUSE server, or by the vault alone.

use super::namespaces::Probe;
use super::{Finding, Subject, Trial};
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, openat, statfs};
use rustix::io::Errno;
use std::path::{Path, PathBuf};

/// fscrypt: the kernel's part and the file system's of the state folder.
pub(super) fn fscrypt(state: Option<&Path>) -> Finding {
    let folder = nearest(state);
    let trial = fscrypt_on(&folder);
    Subject {
        name: "fscrypt",
        title: "fscrypt",
        required: false,
        used: "areas of device/vault-fscrypt; the story's vault and `holdfast vault` encrypt each file \
               themselves, in user space",
        instead: "the vault encrypts each file itself, in user space",
        stronger: "a state folder on ext4 or F2FS with encryption (tune2fs -O encrypt)",
    }
    .found(trial)
}

/// The state folder, or the folder above it that exists.
fn nearest(state: Option<&Path>) -> PathBuf {
    let default = crate::state::default_root();
    let wanted = state.map(Path::to_owned).or_else(|| default.ok());
    let wanted = wanted.and_then(|path| std::path::absolute(path).ok());
    let exists = |path: &&Path| path.is_dir();
    wanted
        .as_deref()
        .and_then(|path| path.ancestors().find(exists))
        .map_or_else(|| PathBuf::from("/"), Path::to_owned)
}

fn fscrypt_on(folder: &Path) -> Trial {
    let place = format!("{} on {}", folder.display(), file_system(folder));
    match encryption_policy(folder) {
        Ok(()) => Ok(format!("{place}: encrypted already")),
        Err(Errno::NODATA) => Ok(format!("{place}: the file system can encrypt")),
        Err(Errno::OPNOTSUPP) if kernel_knows() => {
            Err(format!("{place}: this file system has encryption turned off"))
        }
        Err(Errno::NOTTY | Errno::OPNOTSUPP) if kernel_knows() => {
            Err(format!("{place}: the kernel can encrypt, this file system can't"))
        }
        Err(Errno::NOTTY | Errno::OPNOTSUPP) => {
            Err(format!("{place}: neither kernel nor file system"))
        }
        Err(error) => Err(format!("{place}: {error}")),
    }
}

/// `FS_IOC_GET_ENCRYPTION_POLICY_EX`: `ENODATA` where a folder could be encrypted and is not.
fn encryption_policy(folder: &Path) -> Result<(), Errno> {
    #[repr(C)]
    struct PolicyEx {
        size: u64,
        policy: [u8; 24],
    }
    /// `_IOWR('f', 22, __u8[9])`.
    const REQUEST: libc::Ioctl = 0xc009_6616_u32 as libc::Ioctl;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd: OwnedFd = openat(CWD, folder, flags, Mode::empty())?;
    let mut policy = PolicyEx { size: 24, policy: [0; 24] };
    // SAFETY: the kernel reads `size` and writes at most that many bytes behind it.
    match unsafe { libc::ioctl(fd.as_raw_fd(), REQUEST, &raw mut policy) } {
        0 => Ok(()),
        _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)),
    }
}

fn kernel_knows() -> bool {
    ["ext4", "f2fs"]
        .iter()
        .any(|name| Path::new("/sys/fs").join(name).join("features/encryption").exists())
}

fn file_system(folder: &Path) -> String {
    let Ok(found) = statfs(folder) else { return "an unknown file system".to_owned() };
    #[allow(clippy::unnecessary_cast, reason = "the type differs between architectures")]
    let magic = found.f_type as u64 & 0xffff_ffff;
    let name = match magic {
        0xef53 => "ext4",
        0xf2f5_2010 => "F2FS",
        0x9123_683e => "Btrfs",
        0x5846_5342 => "XFS",
        0x0102_1994 => "tmpfs",
        0x794c_7630 => "overlayfs",
        0x2fc1_2fc1 => "ZFS",
        0x0000_6969 => "NFS",
        0x6573_5546 => "FUSE",
        0x0102_1997 => "9p",
        other => return format!("a file system of type {other:#x}"),
    };
    name.to_owned()
}

/// FUSE: opened, mounted, and asked what the kernel offers.
pub(super) fn fuse(probe: &Probe) -> Finding {
    let trial: Trial = match probe.fuse {
        Ok(offer) => {
            let passthrough = if offer.passthrough { "with" } else { "without" };
            let version = format!("{}.{}", offer.major, offer.minor);
            Ok(format!("version {version}, mounted in a user namespace, {passthrough} passthrough"))
        }
        Err(error) => Err(format!("/dev/fuse: {error}")),
    };
    Subject {
        name: "fuse",
        title: "FUSE",
        required: false,
        used: "the system is read from the flash through dm-verity while it runs; the vault's \
               files are reached through its own interface; `holdfast vault` mounts encrypted folders",
        instead: "the system is a copy in memory, verified once: a block that changes on the \
                  flash while the device runs is not noticed",
        stronger: "a kernel with CONFIG_FUSE_FS, and /dev/fuse open to this user",
    }
    .found(trial)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_at_the_nearest_folder_that_exists() {
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("not/there/yet");
        assert_eq!(nearest(Some(&below)), folder.path());
    }

    #[test]
    fn proc_can_not_encrypt() {
        let said = fscrypt_on(Path::new("/proc")).unwrap_err();
        assert!(said.starts_with("/proc on "), "{said}");
    }
}
