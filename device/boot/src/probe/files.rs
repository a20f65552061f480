//! Files: by their path, by any other name, through mounts, through descriptors.

use super::{Attempt, TargetFile};
use rustix::mount::{MountFlags, mount, mount_remount};
use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The most names that the search looks at.
const MAX_NAMES: usize = 500_000;

/// Where the host's file systems show.
const MOUNTS: [&str; 3] = ["/", "/data", "/run"];

/// Every way to each file.
pub(super) fn attempts(files: &[TargetFile]) -> Vec<Attempt> {
    if files.is_empty() {
        return Vec::new();
    }
    let mut attempts = Vec::new();
    for roots in [vec![PathBuf::from("/")], process_roots()] {
        for file in files {
            attempts.push(by_path(file, &roots));
        }
    }
    attempts.extend(files.iter().filter_map(by_handle));
    attempts.extend(by_search(files));
    attempts.extend(by_descriptors(files));
    attempts.extend(by_mounting());
    attempts
}

/// `/proc/PID/root` and `/proc/PID/cwd` of every process in sight.
fn process_roots() -> Vec<PathBuf> {
    let pids = names_in("/proc").filter(|path| path.join("stat").exists());
    pids.flat_map(|path| [path.join("root"), path.join("cwd")]).collect()
}

fn names_in(folder: &str) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

/// The path that it has on the host, below each of `roots`.
fn by_path(file: &TargetFile, roots: &[PathBuf]) -> Attempt {
    let what = if roots == [Path::new("/")] { "open its path" } else { "open it through /proc" };
    let relative = file.path.strip_prefix("/").unwrap_or(&file.path);
    let opened = roots.iter().map(|root| open(&root.join(relative), file));
    let outcome = opened.reduce(io::Result::or).unwrap_or_else(|| Err(not_found()));
    Attempt::new(what, file.path.display(), outcome, "it opened")
}

/// Opens `path` if that is the file.
fn open(path: &Path, file: &TargetFile) -> io::Result<File> {
    let opened = File::open(path)?;
    let found = opened.metadata()?;
    if (found.dev(), found.ino()) == (file.device, file.inode) {
        Ok(opened)
    } else {
        Err(not_found())
    }
}

/// Its handle, through every folder here that lies on a file system of the host.
fn by_handle(file: &TargetFile) -> Option<Attempt> {
    let handle = file.handle.as_ref()?;
    let through = |mount: &str| handle.open(File::open(mount)?);
    let outcome = MOUNTS.iter().map(|mount| through(mount)).reduce(io::Result::or);
    let outcome = outcome.unwrap_or_else(|| Err(not_found()));
    Some(Attempt::new("open it by its handle", file_name(file), outcome, "it opened"))
}

fn not_found() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "nothing of it is in sight")
}

/// Walks over everything below `/`.
fn by_search(files: &[TargetFile]) -> Vec<Attempt> {
    let wanted: HashSet<_> = files.iter().map(|file| (file.device, file.inode)).collect();
    let (mut found, mut seen, mut names) = (HashSet::new(), HashSet::new(), 0);
    let mut folders = vec![PathBuf::from("/")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            names += 1;
            let Ok(meta) = fs::symlink_metadata(entry.path()) else { continue };
            let identity = (meta.dev(), meta.ino());
            if wanted.contains(&identity) {
                found.insert(identity);
            }
            // Links in /proc lead in circles; each folder is walked once.
            if meta.is_dir() && names < MAX_NAMES && seen.insert(identity) {
                folders.push(entry.path());
            }
        }
    }
    let outcome = |file: &TargetFile| {
        let reached = found.contains(&(file.device, file.inode));
        let missing =
            || io::Error::new(io::ErrorKind::NotFound, format!("not among {names} names"));
        reached.then_some(()).ok_or_else(missing)
    };
    let attempt =
        |file| Attempt::new("search all folders", file_name(file), outcome(file), "found");
    files.iter().map(attempt).collect()
}

fn file_name(file: &TargetFile) -> String {
    file.path.display().to_string()
}

/// Descriptors that a process in sight holds: a leaked one would open the file.
fn by_descriptors(files: &[TargetFile]) -> Vec<Attempt> {
    let pids = names_in("/proc").filter(|path| path.join("fd").exists());
    let all: Vec<PathBuf> = pids
        .flat_map(|pid| names_in(&pid.join("fd").to_string_lossy()).collect::<Vec<_>>())
        .collect();
    let leaked = |file: &TargetFile| {
        all.iter().any(|fd| {
            fs::metadata(fd).is_ok_and(|meta| (meta.dev(), meta.ino()) == (file.device, file.inode))
        })
    };
    let none =
        || io::Error::new(io::ErrorKind::NotFound, format!("not among {} descriptors", all.len()));
    files
        .iter()
        .map(|file| {
            let outcome = leaked(file).then_some(()).ok_or_else(none);
            Attempt::new("find a leaked descriptor", file_name(file), outcome, "found")
        })
        .collect()
}

/// Mounts that would uncover the host: a fresh `/proc`, and the switches made writable again.
fn by_mounting() -> Vec<Attempt> {
    let plain = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let fresh = mount("proc", "/tmp", "proc", plain, None);
    let remounted = mount_remount("/proc/sys", plain | MountFlags::BIND, c"");
    vec![
        Attempt::new("mount", "another /proc", fresh.map_err(io::Error::from), "mounted"),
        Attempt::new("make writable", "/proc/sys", remounted.map_err(io::Error::from), "done"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_file_that_is_in_reach() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let held = File::create(&path).unwrap();
        let meta = held.metadata().unwrap();
        let file = TargetFile {
            path: path.clone(),
            device: meta.dev(),
            inode: meta.ino(),
            handle: super::super::FileHandle::of(&path).ok(),
        };
        // Only root of the host may do this at all; and its file system must have handles.
        if let (true, Some(handle)) = (rustix::process::geteuid().is_root(), &file.handle) {
            assert!(handle.open(File::open(folder.path()).unwrap()).is_ok());
        }
        assert!(by_path(&file, &[PathBuf::from("/")]).succeeded);
        assert!(by_path(&file, &process_roots()).succeeded);
        fs::rename(&path, folder.path().join("other")).unwrap();
        fs::write(&path, "another file under its name").unwrap();
        assert!(!by_path(&file, &[PathBuf::from("/")]).succeeded);
        assert!(by_descriptors(&[file])[0].succeeded);
    }
}
