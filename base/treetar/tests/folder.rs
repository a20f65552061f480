//! Folders become archives and compare equal to them, and to nothing else.

use std::ffi::OsStr;
use std::fs::{self, File, FileTimes, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};
use treetar::{Summary, compare_tar_with_folder, pack_folder};

fn odd_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &[u8]| folder.path().join(OsStr::from_bytes(name));
    fs::create_dir(at(b"d")).expect("a directory");
    fs::create_dir(at(b"empty")).expect("a directory");
    fs::write(at(b"d/Name"), b"upper").expect("a file");
    fs::write(at(b"d/name"), b"lower").expect("a file");
    fs::write(at(b"\xff\xfe"), b"not UTF-8").expect("a file");
    fs::write(at(b"new\nline=7 x"), b"newline").expect("a file");
    fs::write(at(&[b'n'; 255]), vec![7; 100_000]).expect("a file");
    fs::write(at(b"nothing"), b"").expect("a file");
    symlink("/etc/passwd", at(b"outside")).expect("a link");
    symlink(OsStr::from_bytes(&[b'\xfe'; 300]), at(b"d/long")).expect("a link");
    fs::hard_link(at(b"d/name"), at(b"zz-second")).expect("a link");
    let sparse = File::create(at(b"sparse")).expect("a file");
    sparse.set_len(5 << 30).expect("a length");
    sparse.write_all_at(b"middle", 3 << 30).expect("content");
    fs::set_permissions(at(b"nothing"), PermissionsExt::from_mode(0o4750)).expect("a mode");
    for (name, time) in [
        (&b"nothing"[..], UNIX_EPOCH - Duration::new(3, 1)),
        (b"empty", UNIX_EPOCH + Duration::new(1 << 33, 999_999_999)),
    ] {
        let file = File::open(at(name)).expect("it opens");
        file.set_times(FileTimes::new().set_modified(time)).expect("a time");
    }
    folder
}

fn packed(folder: &Path) -> (Vec<u8>, Summary) {
    let mut archive = Vec::new();
    let summary = pack_folder(folder, &mut archive).expect("the folder is packed");
    (archive, summary)
}

fn differences(archive: &[u8], folder: &Path) -> Vec<String> {
    let found = compare_tar_with_folder(archive, folder).expect("both are readable");
    found.iter().map(ToString::to_string).collect()
}

#[test]
fn an_archive_equals_the_folder_that_it_was_made_of() {
    let folder = odd_folder();
    let (archive, summary) = packed(folder.path());
    assert_eq!(differences(&archive, folder.path()), Vec::<String>::new());
    assert!(archive.len() < 200_000, "holes are not stored: {} bytes", archive.len());
    assert_eq!((summary.files, summary.dirs, summary.symlinks, summary.hardlinks), (7, 2, 2, 1));
    assert_eq!(summary.bytes, (5 << 30) + 100_000 + 5 + 5 + 9 + 7);
    assert_eq!(summary.skipped, vec![]);
}

/// A program that did not write ours must read the same out of it.
#[test]
fn gnu_tar_reads_our_archives_and_we_read_its() {
    let folder = odd_folder();
    let (archive, _) = packed(folder.path());
    let out = tempfile::tempdir().expect("a folder");
    let file = out.path().join("archive.tar");
    fs::write(&file, &archive).expect("the archive");
    let into = out.path().join("into");
    fs::create_dir(&into).expect("a directory");
    let tar = |arguments: &[&OsStr]| std::process::Command::new("tar").args(arguments).output();
    let [file, into] = [file.as_os_str(), into.as_os_str()];
    let extract = tar(&["-xpf".as_ref(), file, "-C".as_ref(), into]);
    let Ok(output) = extract else {
        assert!(std::env::var_os("CI").is_none(), "GNU tar is needed in CI");
        return println!("GNU tar is not here: nothing to compare with");
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // tar itself sets no time past 2^34 or so on some file systems; compare what it made.
    assert_eq!(differences(&archive, Path::new(into)), Vec::<String>::new());
    for format in ["--format=posix", "--format=gnu"] {
        let made = tar(&[
            "-cSf".as_ref(),
            file,
            format.as_ref(),
            "--exclude=sparse".as_ref(),
            "-C".as_ref(),
            folder.path().as_os_str(),
            ".".as_ref(),
        ]);
        assert!(made.is_ok_and(|made| made.status.success()));
        let theirs = fs::read(file).expect("their archive");
        let found = differences(&theirs, folder.path());
        let plain = |line: &String| !line.contains("time") && !line.starts_with("sparse:");
        assert_eq!(found.into_iter().filter(plain).collect::<Vec<_>>(), Vec::<String>::new());
    }
}

#[test]
fn every_kind_of_change_is_a_difference() {
    let check = |change: &dyn Fn(&Path), path: &str, what: &str| {
        let folder = odd_folder();
        let (archive, _) = packed(folder.path());
        let root_time = fs::metadata(folder.path()).and_then(|m| m.modified()).expect("a time");
        change(folder.path());
        let root = File::open(folder.path()).expect("the folder");
        root.set_times(FileTimes::new().set_modified(root_time)).expect("a time");
        let found = differences(&archive, folder.path());
        let wanted = |line: &String| line.starts_with(path) && line.contains(what);
        assert!(found.iter().any(wanted), "{path} {what}: {found:?}");
    };
    let keep_time = |path: &Path, change: &dyn Fn()| {
        let time = fs::symlink_metadata(path).and_then(|m| m.modified()).expect("a time");
        change();
        let file = File::open(path).expect("it opens");
        file.set_times(FileTimes::new().set_modified(time)).expect("a time");
    };
    let flip = |folder: &Path| {
        let path = folder.join("d/Name");
        keep_time(&path, &|| fs::write(&path, b"Upper").expect("it is written"));
    };
    check(&flip, "d/Name", "content");
    let in_hole = |folder: &Path| {
        let file = OpenOptions::new().write(true).open(folder.join("sparse")).expect("it opens");
        file.write_all_at(b"x", 4 << 30).expect("it is written");
    };
    check(&in_hole, "sparse", "content");
    check(
        &|f| fs::remove_file(f.join("outside")).expect("removed"),
        "outside",
        "not in the folder",
    );
    check(&|f| fs::write(f.join("more"), b"").expect("written"), "more", "not in the archive");
    check(
        &|f| fs::set_permissions(f.join("d"), PermissionsExt::from_mode(0o700)).expect("set"),
        "d",
        "mode",
    );
    let touch = |f: &Path| {
        let file = File::open(f.join("empty")).expect("it opens");
        file.set_times(
            FileTimes::new().set_modified(UNIX_EPOCH + Duration::new(1 << 33, 999_999_998)),
        )
        .expect("set");
    };
    check(&touch, "empty", "time");
    let relink = |f: &Path| {
        fs::remove_file(f.join("outside"))
            .and_then(|()| symlink("/etc/shadow", f.join("outside")))
            .expect("relinked");
    };
    check(&relink, "outside", "points elsewhere");
    let unlink = |f: &Path| {
        fs::remove_file(f.join("zz-second"))
            .and_then(|()| fs::write(f.join("zz-second"), b"lower"))
            .expect("parted");
    };
    check(&unlink, "zz-second", "in the archive only");
    let join = |f: &Path| {
        fs::remove_file(f.join("nothing"))
            .and_then(|()| fs::hard_link(f.join("d/Name"), f.join("nothing")))
            .expect("joined");
    };
    check(&join, "nothing", "in the folder only");
    check(
        &|f| {
            fs::remove_dir(f.join("empty"))
                .and_then(|()| fs::write(f.join("empty"), b""))
                .expect("swapped")
        },
        "empty",
        "a directory in the archive",
    );
}

#[test]
fn what_cannot_be_kept_is_reported_never_silent() {
    let folder = tempfile::tempdir().expect("a folder");
    let _socket = UnixListener::bind(folder.path().join("socket")).expect("a socket");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        folder.path().join("fifo"),
        rustix::fs::FileType::Fifo,
        0o600.into(),
        0,
    )
    .expect("a fifo");
    let (archive, summary) = packed(folder.path());
    let skipped: Vec<_> = summary.skipped.iter().map(|s| (&s.path[..], &s.why[..])).collect();
    assert_eq!(
        skipped,
        [(&b"fifo"[..], "a fifo is not kept"), (b"socket", "a socket is not kept")]
    );
    assert_eq!(differences(&archive, folder.path()).len(), 2);
    assert!(pack_folder(Path::new("/nonexistent"), io::sink()).is_err());
}

/// Changes a file of the folder while its content passes by.
struct Meddler<'f> {
    file: &'f Path,
    passed: usize,
    times: usize,
    archive: Vec<u8>,
}

impl Write for Meddler<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.passed += bytes.len();
        self.archive.extend_from_slice(bytes);
        if bytes.len() > 100_000 && self.times > 0 {
            self.times -= 1;
            OpenOptions::new().append(true).open(self.file)?.write_all(b"more")?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_file_that_changes_while_it_is_read_is_read_again_and_then_reported() {
    for (times, skipped) in [(0, 0), (1, 0), (2, 0), (30, 1)] {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("log");
        fs::write(&file, vec![1; 500_000]).expect("a file");
        let mut meddler = Meddler { file: &file, passed: 0, times, archive: Vec::new() };
        let summary = pack_folder(folder.path(), &mut meddler).expect("packed");
        assert_eq!(summary.skipped.len(), skipped, "{times}");
        assert_eq!(summary.files, 1);
        if times == 1 {
            assert_eq!(summary.bytes, 500_004);
        }
    }
}
