//! Folders of the contestants, and a disk that nobody's leftovers slow down.

use crate::shell::{root, run};
use anyhow::Result;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// How long ext4 without a journal walks around inodes that were deleted: a kernel constant.
const RECENTLY_DELETED: Duration = Duration::from_secs(61);

fn turns() -> PathBuf {
    root().join("target/bench/turns")
}

/// A fresh folder of one turn. It stays until [`clear`], so that no deletion is on the way while
/// the next contestant writes.
pub(crate) fn scratch(name: &str) -> Result<PathBuf> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let folder = turns().join(format!("{}-{name}", COUNT.fetch_add(1, Ordering::Relaxed)));
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Deletes the folders of all turns.
pub(crate) fn clear() -> Result<()> {
    if turns().exists() {
        fs::remove_dir_all(turns())?;
        rest()?;
    }
    Ok(())
}

/// Writes out what is dirty, so that nobody pays for the one before.
pub(crate) fn quiesce() -> Result<()> {
    run(&mut Command::new("sync"))
}

/// Waits until deleted files are forgotten. ext4 without a journal takes a detour around each
/// inode that was freed within the last minute, so whoever comes after a large deletion would
/// be measured several times too slow.
pub(crate) fn rest() -> Result<()> {
    quiesce()?;
    if is_ext4_without_journal(root()) {
        std::thread::sleep(RECENTLY_DELETED);
    }
    Ok(())
}

fn is_ext4_without_journal(path: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let mount = mounts
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>())
        .filter(|fields| fields.get(1).is_some_and(|at| path.starts_with(at)))
        .max_by_key(|fields| fields[1].len());
    let Some([device, _, "ext4", ..]) = mount.as_deref() else { return false };
    let device = device.rsplit('/').next().unwrap_or_default();
    // jbd2 has a folder `<device>-<inode of the journal>` for every journal.
    let journals = fs::read_dir("/proc/fs/jbd2").into_iter().flatten().flatten();
    let mut names = journals.map(|entry| entry.file_name().to_string_lossy().into_owned());
    !names.any(|name| name.starts_with(&format!("{device}-")))
}
