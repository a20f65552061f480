//! State folders that nobody wants: full, damaged, read-only, of another version, far away. And
//! programs that end while the others go on.

use crate::run::{Unprivileged, Up, processes_of, state, tell};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A disk of its own, which is soon full. Unmounted when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None` where this user may not mount.
    fn mount(mib: u64) -> Option<Self> {
        let folder = state();
        let size = std::ffi::CString::new(format!("size={mib}m")).unwrap();
        mount("none", folder.path(), "tmpfs", MountFlags::empty(), Some(size.as_c_str())).ok()?;
        Some(Self(folder))
    }

    fn state(&self) -> PathBuf {
        self.0.path().join("state")
    }

    /// Fills the disk but for so many MiB.
    fn leave(&self, mib: u64) {
        let ballast = File::create(self.0.path().join("ballast")).unwrap();
        loop {
            let disk = rustix::fs::statvfs(self.0.path()).unwrap();
            let taken = (disk.f_bavail * disk.f_frsize).saturating_sub(mib << 20);
            let flags = rustix::fs::FallocateFlags::empty();
            let size = ballast.metadata().unwrap().len();
            // The story writes too: what was free a moment ago may be taken.
            if taken == 0 || rustix::fs::fallocate(&ballast, flags, size, taken).is_ok() {
                return;
            }
        }
    }

    fn make_room(&self) {
        fs::remove_file(self.0.path().join("ballast")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = unmount(self.0.path(), UnmountFlags::DETACH);
    }
}

/// Files that do not compress and do not repeat.
fn noise(mib: u64) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..mib {
        let mut from = std::io::Read::take(File::open("/dev/urandom").unwrap(), 1 << 20);
        let mut to = File::create(folder.path().join(format!("{number}"))).unwrap();
        std::io::copy(&mut from, &mut to).unwrap();
    }
    folder
}

#[test]
fn a_full_disk_is_named_and_the_next_run_goes_on() {
    let Some(disk) = SmallDisk::mount(900) else {
        return eprintln!("not run: a small disk takes a mount, and this user may not mount");
    };
    let folder = noise(24);
    let small = ["--folder", folder.path().to_str().unwrap()];
    // The story goes on while the disk is filled, so that one of many steps is the first to want
    // room: the import, the upload, a copy. With no room at all even the databases do not start.
    for (room, at) in [(12, Some("device.bind")), (14, None), (0, None)] {
        if at.is_none() {
            disk.leave(room);
        }
        let mut run = Up::start(&disk.state(), &["--once", small[0], small[1]]);
        let mut failed = None;
        while let Some(line) = run.next() {
            if at.is_some_and(|at| line["step"] == *at) {
                disk.leave(room);
            }
            if line["ok"] == false && failed.is_none() {
                failed = Some(line);
            }
        }
        assert!(matches!(run.ended(), Some(1 | 3)));
        let failed = failed.expect("there was no room");
        let reason = failed["reason"].as_str().unwrap_or_default();
        assert!(reason.contains("is full"), "{failed}");
        assert!(processes_of(&disk.state()).is_empty());
        disk.make_room();
    }
    let after = tell(&disk.state(), &small);
    assert_eq!(after.code, Some(0), "{after}");
    assert_eq!(after.held("restore")["evidence"]["compared"], "identical");
}

#[test]
fn a_disk_that_fills_up_during_the_restore_loses_nothing() {
    let Some(disk) = SmallDisk::mount(900) else {
        return eprintln!("not run: a small disk takes a mount, and this user may not mount");
    };
    let folder = noise(64);
    let args = ["--folder", folder.path().to_str().unwrap()];
    let mut run = Up::start(&disk.state(), &["--once", args[0], args[1]]);
    let mut failed = None;
    while let Some(line) = run.next() {
        if line["step"] == "activation.refused" {
            disk.leave(8);
        }
        if line["ok"] == false && failed.is_none() {
            failed = Some(line);
        }
    }
    let failed = failed.expect("the restore had no room");
    assert!(matches!(failed["step"].as_str(), Some("restore" | "activation.unlock")), "{failed}");
    assert!(failed["reason"].as_str().unwrap_or_default().contains("is full"), "{failed}");
    drop(run);
    disk.make_room();
    let after = tell(&disk.state(), &args);
    assert_eq!(after.code, Some(0), "{after}");
    assert_eq!(after.held("restore")["evidence"]["compared"], "identical");
}

#[test]
fn a_damaged_file_is_named_with_what_to_do() {
    let state = state();
    assert_eq!(tell(state.path(), &[]).code, Some(0));
    for file in ["story.json", "owner.json", "device/made.json"] {
        let path = state.path().join(file);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        let told = tell(state.path(), &[]);
        assert_eq!(told.code, Some(1), "{file}: {told}");
        let said = told.to_string();
        assert!(said.contains(file) && said.contains("--fresh"), "{file}: {said}");
        fs::write(&path, &whole).unwrap();
    }
    fs::write(state.path().join("version"), "2\n").unwrap();
    let told = tell(state.path(), &[]);
    assert!(told.stderr.contains("another version") && told.lines.is_empty(), "{told}");
    fs::write(state.path().join("version"), "1\n").unwrap();
    assert_eq!(tell(state.path(), &[]).code, Some(0));
}

#[test]
fn a_folder_that_can_t_be_written_is_the_environment_s_fault() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o555))
        .unwrap();
    let nobody = Unprivileged::new();
    for at in ["", "new"] {
        let state = folder.path().join(at);
        let told = match &nobody {
            Some(nobody) => nobody.tell(&state),
            None => tell(&state, &[]),
        };
        assert_eq!(told.code, Some(3), "{told}");
        let path = folder.path().to_str().unwrap();
        assert!(told.stderr.contains(path) && told.stderr.contains("--state"), "{told}");
    }
}

#[test]
fn a_state_folder_far_down_with_blanks_in_its_name_works() {
    let root = state();
    let far = root.path().join("with blanks, ünïcode and 'quotes'").join("x".repeat(180));
    let told = tell(&far, &[]);
    assert_eq!(told.code, Some(0), "{told}");
}

#[test]
fn a_state_folder_whose_path_is_not_utf_8_is_refused_in_words() {
    let root = state();
    let odd = root.path().join(OsStr::from_bytes(b"odd-\xff"));
    let told = tell(&odd, &[]);
    assert_eq!(told.code, Some(3), "{told}");
    assert!(told.stderr.contains("not UTF-8") && told.stderr.contains("--state"), "{told}");
}

#[test]
fn when_a_program_dies_up_ends_in_words_and_takes_the_others_along() {
    let state = state();
    for (who, program) in [
        ("the Key Center", "holdfast-keycenter"),
        ("the cloud", "holdfast-cloud"),
        ("the board", "holdfast-board"),
    ] {
        let mut run = Up::start(state.path(), &[]);
        run.ready();
        let is_it = |pid: &i32| {
            std::fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| String::from_utf8_lossy(&line).contains(program))
        };
        let pid = processes_of(state.path()).into_iter().find(is_it).expect("it runs");
        let start = Instant::now();
        // SAFETY: a signal to a process of this test's own story.
        unsafe { libc::kill(pid, libc::SIGKILL) };
        let last = run.next().expect("a word about it");
        let reason = last["reason"].as_str().unwrap_or_default();
        assert!(last["ok"] == false && reason.starts_with(who), "{last}");
        assert!(run.next().is_none());
        assert_eq!(run.ended(), Some(1));
        assert!(start.elapsed() < Duration::from_secs(15), "it took {:?}", start.elapsed());
        assert_nobody(state.path());
    }
}

fn assert_nobody(state: &Path) {
    let left = processes_of(state);
    assert!(left.is_empty(), "left behind: {left:?}");
}
