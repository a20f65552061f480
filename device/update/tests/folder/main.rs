//! The update folder against broken connections, crashes, full disks and who tampers with it.

mod copied;
mod partial;
mod updater;

use std::path::Path;

/// Bytes of a package: nothing repeats at once.
pub(crate) fn bytes(length: usize) -> Vec<u8> {
    (0..length as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 23) as u8).collect()
}

/// The names in a folder, sorted.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A small file system of its own, or `None` where this process may not mount one.
pub(crate) struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    pub(crate) fn of_bytes(bytes: u64) -> Option<Self> {
        use rustix::mount::{MountFlags, mount};
        let folder = tempfile::tempdir().unwrap();
        let options = std::ffi::CString::new(format!("size={bytes}")).unwrap();
        match mount("tmpfs", folder.path(), "tmpfs", MountFlags::empty(), &*options) {
            Ok(()) => Some(Self(folder)),
            Err(error) => {
                assert!(std::env::var_os("CI").is_none(), "no small disk: {error}");
                eprintln!("not run: this user may not mount a small disk ({error})");
                None
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.0.path(), rustix::mount::UnmountFlags::DETACH);
    }
}
