//! Folders that nobody chose: every kind of entry comes back as it was, or is named as left out.

use crate::run::{Told, Unprivileged, Up, state, tell, up};
use std::ffi::OsStr;
use std::fs::{self, File, FileTimes, Permissions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

#[test]
fn odd_names_links_holes_and_times_come_back_identical() {
    let folder = tempfile::tempdir().unwrap();
    odd(folder.path()).unwrap();
    let state = state();
    let told = tell(state.path(), &["--folder", folder.path().to_str().unwrap()]);
    assert_eq!(told.code, Some(0), "{told}");
    assert_eq!(told.held("restore")["evidence"]["compared"], "identical");
    let left_out = told.held("vault.import")["evidence"]["left_out"].to_string();
    for what in ["a socket", "a fifo"] {
        assert!(left_out.contains(what), "{what} is not named as left out: {left_out}");
    }
}

fn odd(folder: &Path) -> std::io::Result<()> {
    let at = |name: &[u8]| folder.join(OsStr::from_bytes(name));
    fs::write(at(b"not utf-8 \xff\xfe\x80"), "bytes")?;
    fs::write(at("ünïcödé 你好 🦭".as_bytes()), "unicode")?;
    fs::write(at(&[b'n'; 255]), "a long name")?;
    fs::write(at(b"Case"), "upper")?;
    fs::write(at(b"case"), "lower")?;
    fs::write(at(b"line\nbreak and \"quotes\" <b>"), "careful")?;
    fs::write(at(b" "), "a blank")?;
    fs::write(at(b"..."), "dots")?;
    fs::write(at(b"-rf"), "an option")?;
    fs::write(at(b"empty"), "")?;
    fs::create_dir(at(b"empty folder"))?;
    let mut deep = folder.join("deep");
    for _ in 0..40 {
        deep.push("d".repeat(60));
    }
    fs::create_dir_all(&deep)?;
    fs::write(deep.join("bottom"), "here")?;
    fs::write(at(b"one"), "shared")?;
    fs::hard_link(at(b"one"), at(b"two"))?;
    symlink("/etc/passwd", at(b"points outside"))?;
    symlink("../../../..", at(b"climbs"))?;
    symlink(OsStr::from_bytes(b"nowhere \xff"), at(b"dangles"))?;
    symlink("loop", at(b"loop"))?;
    let mut sparse = File::create(at(b"sparse"))?;
    sparse.write_all(b"head")?;
    sparse.seek(SeekFrom::Start((5 << 30) + 17))?;
    sparse.write_all(b"tail beyond 4 GiB")?;
    fs::write(at(b"exactly one block"), vec![7; 1 << 20])?;
    fs::write(at(b"one block and a byte"), vec![8; (1 << 20) + 1])?;
    for (name, mode) in [("all", 0o777), ("owner", 0o600), ("run", 0o755), ("sticky", 0o1755)] {
        fs::write(at(name.as_bytes()), name)?;
        fs::set_permissions(at(name.as_bytes()), Permissions::from_mode(mode))?;
    }
    let old = UNIX_EPOCH + Duration::new(1, 123_456_789);
    File::open(at(b"owner"))?.set_times(FileTimes::new().set_modified(old))?;
    std::os::unix::net::UnixListener::bind(at(b"a socket"))?;
    let fifo = std::process::Command::new("mkfifo").arg(at(b"a fifo")).status()?;
    assert!(fifo.success());
    Ok(())
}

#[test]
fn an_empty_folder_is_a_story_too() {
    let folder = tempfile::tempdir().unwrap();
    let state = state();
    let told = tell(state.path(), &["--folder", folder.path().to_str().unwrap()]);
    assert_eq!(told.held("restore")["evidence"]["compared"], "identical");
}

#[test]
fn a_missing_folder_is_said_before_anything_starts() {
    let state = state();
    let output = up(state.path(), &["--once", "--folder", "/no/such/folder"]).output().unwrap();
    let told = Told::from(&output);
    assert_eq!(told.code, Some(3), "{told}");
    assert!(told.lines.is_empty() && told.stderr.contains("/no/such/folder"), "{told}");
}

#[test]
fn a_file_that_keeps_changing_is_not_passed_over_in_silence() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("still"), "still").unwrap();
    let moving = folder.path().join("moving");
    fs::write(&moving, vec![0; 8 << 20]).unwrap();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let writer = std::thread::spawn(move || {
        let mut count = 0_u64;
        while stopped.recv_timeout(Duration::from_millis(2)).is_err() {
            count += 1;
            let mut file = File::options().write(true).open(&moving).unwrap();
            file.write_all(&count.to_le_bytes()).unwrap();
            if count.is_multiple_of(50) {
                file.set_len(8 << 20 | (count & 0xfff)).unwrap();
            }
        }
    });
    let state = state();
    let told = tell(state.path(), &["--folder", folder.path().to_str().unwrap()]);
    stop.send(()).unwrap();
    writer.join().unwrap();
    let imported = told.steps("vault.import");
    let text = imported.first().map(ToString::to_string).unwrap_or_default();
    assert!(text.contains("moving"), "the moving file is not named: {told}");
}

#[test]
fn a_folder_that_changed_between_two_runs_is_what_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for name in ["stays", "goes", "changes", "is renamed", "becomes a folder"] {
        fs::write(at(name), name).unwrap();
    }
    fs::create_dir_all(at("becomes a file/with/depth")).unwrap();
    fs::create_dir_all(at("goes too/with/depth")).unwrap();
    fs::write(at("goes too/with/depth/file"), "deep").unwrap();
    fs::hard_link(at("stays"), at("was a link")).unwrap();
    let state = state();
    let args = ["--folder", folder.path().to_str().unwrap()];
    // Broken off before anybody used the device: the files on it are still the folder's.
    let mut first = Up::start(state.path(), &args);
    while first.next().expect("a step")["step"] != "sync.upload" {}
    assert_eq!(first.end(libc::SIGINT), Some(0));

    fs::write(at("is new"), "new").unwrap();
    fs::remove_file(at("goes")).unwrap();
    fs::remove_dir_all(at("goes too")).unwrap();
    fs::write(at("changes"), "changed").unwrap();
    fs::rename(at("is renamed"), at("has another name")).unwrap();
    fs::remove_file(at("becomes a folder")).unwrap();
    fs::create_dir(at("becomes a folder")).unwrap();
    fs::remove_dir_all(at("becomes a file")).unwrap();
    fs::write(at("becomes a file"), "file").unwrap();
    fs::remove_file(at("was a link")).unwrap();
    symlink("stays", at("was a link")).unwrap();
    let second = tell(state.path(), &args);
    assert_eq!(second.code, Some(0), "{second}");
    let imported = second.held("vault.import");
    assert_ne!(imported["existing"], true);
    // Names that no entry of the folder has any more.
    assert_eq!(imported["evidence"]["removed"], 3, "{imported}");
    assert_eq!(second.held("restore")["evidence"]["compared"], "identical");
}

#[test]
fn what_can_t_be_read_is_named_and_the_rest_comes_back() {
    let folder = tempfile::Builder::new().prefix("hf").tempdir_in("/tmp").unwrap();
    let state = state();
    fs::write(folder.path().join("open"), "open").unwrap();
    fs::write(folder.path().join("secret"), "secret").unwrap();
    fs::create_dir(folder.path().join("closed")).unwrap();
    fs::write(folder.path().join("closed/inside"), "inside").unwrap();
    // Root may read everything.
    let nobody = Unprivileged::new();
    for folder in [folder.path(), state.path()] {
        nobody.iter().for_each(|it| it.own(folder));
    }
    for name in ["secret", "closed"] {
        fs::set_permissions(folder.path().join(name), Permissions::from_mode(0o000)).unwrap();
    }
    for again in [false, true] {
        let args = ["--folder", folder.path().to_str().unwrap()];
        let told = match &nobody {
            Some(nobody) => nobody.tell_more(state.path(), &args),
            None => tell(state.path(), &args),
        };
        assert_eq!(told.code, Some(0), "{told}");
        let imported = told.held("vault.import");
        assert_eq!(imported["existing"] == true, again, "{imported}");
        let left_out = imported["evidence"]["left_out"].to_string();
        for name in ["secret: cannot be read", "closed: cannot be read"] {
            assert!(left_out.contains(name), "{name} is not named: {left_out}");
        }
        assert_eq!(told.held("restore")["evidence"]["compared"], "identical");
    }
    fs::set_permissions(folder.path().join("closed"), Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn a_folder_that_vanishes_stops_the_story_and_loses_nothing() {
    let base = tempfile::tempdir().unwrap();
    let (folder, away) = (base.path().join("here"), base.path().join("away"));
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("file"), "content").unwrap();
    let state = state();
    let args = ["--folder", folder.to_str().unwrap()];
    let mut run = Up::start(state.path(), &["--once", args[0], args[1]]);
    let mut failed = None;
    while let Some(line) = run.next() {
        if line["step"] == "account.sign_up" {
            fs::rename(&folder, &away).unwrap();
        }
        if line["ok"] == false {
            failed = Some(line);
        }
    }
    let failed = failed.expect("a step that failed");
    assert_eq!(failed["step"], "vault.import");
    let reason = failed["reason"].as_str().unwrap_or_default();
    assert!(reason.contains(args[1]) && reason.contains("No such file"), "{reason}");
    drop(run);
    assert_eq!(tell(state.path(), &args).code, Some(3));
    fs::rename(&away, &folder).unwrap();
    let after = tell(state.path(), &args);
    assert_eq!(after.code, Some(0), "{after}");
    assert_eq!(after.held("restore")["evidence"]["compared"], "identical");
}
