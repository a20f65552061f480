//! cpio archives, compared with GNU cpio.

use crate::peer::{program, run};
use bootimg::cpio::{Archive, Content, CpioError, Entry, Writer};
use proptest::prelude::*;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

fn sample() -> Vec<u8> {
    let mut writer = Writer::new();
    writer.directory("bin", 0o755).unwrap();
    writer.file("bin/system", 0o755, b"\x7fELF").unwrap();
    writer.directory("etc", 0o750).unwrap();
    writer.file("etc/empty", 0o600, b"").unwrap();
    writer.symlink("etc/program", "../bin/system").unwrap();
    writer.finish()
}

/// An archive with one entry of these fields, written by hand.
fn raw(path: &str, mode: u32, links: u32, data: &[u8]) -> Vec<u8> {
    let mut out = entry(path, mode, links, data);
    out.extend(entry("TRAILER!!!", 0, 1, b""));
    out
}

fn entry(path: &str, mode: u32, links: u32, data: &[u8]) -> Vec<u8> {
    let mut out = b"070701".to_vec();
    let sizes = (data.len() as u32, path.len() as u32 + 1);
    for field in [1, mode, 0, 0, links, 0, sizes.0, 0, 0, 0, 0, sizes.1, 0] {
        out.extend(format!("{field:08x}").bytes());
    }
    out.extend(path.as_bytes());
    out.push(0);
    out.resize(out.len().next_multiple_of(4), 0);
    out.extend(data);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

#[test]
fn entries_come_back_in_order() {
    let bytes = sample();
    assert_eq!(bytes.len() % 512, 0);
    let archive = Archive::parse(&bytes).unwrap();
    let entry = |path, mode, content| Entry { path, mode, content };
    assert_eq!(
        archive.entries(),
        [
            entry("bin", 0o755, Content::Directory),
            entry("bin/system", 0o755, Content::File(b"\x7fELF")),
            entry("etc", 0o750, Content::Directory),
            entry("etc/empty", 0o600, Content::File(b"")),
            entry("etc/program", 0o777, Content::Symlink("../bin/system")),
        ]
    );
    assert_eq!(archive.file("bin/system"), Some(&b"\x7fELF"[..]));
    assert_eq!(archive.file("bin"), None);
}

#[test]
fn the_same_entries_give_the_same_bytes() {
    assert_eq!(sample(), sample());
}

#[test]
fn paths_that_leave_the_tree_are_refused() {
    for path in ["/etc/passwd", "..", "../x", "a/../b", "./a", "a//b", "a/", ".", "TRAILER!!!/x"] {
        let refused = Archive::parse(&raw(path, 0o100_644, 1, b"data")).map(|_| ());
        assert!(matches!(refused, Err(CpioError::Path { .. })), "{path}: {refused:?}");
        assert!(Writer::new().file(path, 0o644, b"data").is_err(), "{path}");
    }
    let empty = Archive::parse(&raw("", 0o100_644, 1, b"data")).map(|_| ());
    assert!(matches!(empty, Err(CpioError::Header { .. })), "{empty:?}");
}

#[test]
fn links_that_leave_the_tree_are_refused() {
    let mut writer = Writer::new();
    writer.directory("a", 0o755).unwrap();
    for target in ["/etc/passwd", "../..", "b/../../..", "", "../../etc"] {
        let refused = writer.symlink("a/link", target);
        assert!(matches!(refused, Err(CpioError::Path { .. })), "{target}");
        let bytes = [entry("a", 0o040_755, 2, b""), raw("a/link", 0o120_777, 1, target.as_bytes())];
        assert!(Archive::parse(&bytes.concat()).is_err(), "{target}");
    }
    writer.symlink("a/link", "../b/./c").unwrap();
}

/// Unpacking in order never goes through a link.
#[test]
fn nothing_lies_below_a_link_or_a_file() {
    let below = |kind: u32, data: &[u8]| {
        let bytes = [entry("a", kind, 1, data), raw("a/b", 0o100_644, 1, b"")].concat();
        Archive::parse(&bytes).map(|_| ())
    };
    assert!(matches!(below(0o120_777, b"x"), Err(CpioError::Path { .. })));
    assert!(matches!(below(0o100_644, b"x"), Err(CpioError::Path { .. })));
    assert_eq!(below(0o040_755, b""), Ok(()));
    assert!(Archive::parse(&raw("a/b", 0o100_644, 1, b"")).is_err());
}

#[test]
fn the_same_path_twice_is_refused() {
    let bytes = [entry("a", 0o120_777, 1, b"x"), raw("a", 0o100_644, 1, b"y")].concat();
    assert!(matches!(Archive::parse(&bytes), Err(CpioError::Path { .. })));
}

#[test]
fn devices_hard_links_and_odd_modes_are_refused() {
    for (mode, links) in [
        (0o020_666, 1),
        (0o060_666, 1),
        (0o010_666, 1),
        (0o140_666, 1),
        (0o644, 1),
        (0o100_644, 2),
        (0o1_100_644, 1),
    ] {
        let refused = Archive::parse(&raw("a", mode, links, b"")).map(|_| ());
        assert!(matches!(refused, Err(CpioError::Header { .. })), "{mode:o}: {refused:?}");
    }
    assert!(Archive::parse(&raw("a", 0o040_755, 2, b"data")).is_err());
    assert!(Writer::new().file("a", 0o10_644, b"").is_err());
}

#[test]
fn cut_archives_and_bytes_behind_them_are_refused() {
    let bytes = sample();
    let end = bytes.iter().rposition(|&byte| byte != 0).unwrap();
    for size in 0..end {
        assert!(Archive::parse(&bytes[..size]).is_err(), "{size} bytes");
    }
    let mut stray = bytes.clone();
    stray.extend([0, 0, 1]);
    assert_eq!(Archive::parse(&stray), Err(CpioError::Padding(bytes.len() + 2)));
    stray.pop();
    assert!(Archive::parse(&stray).is_ok());
}

#[test]
fn gnu_cpio_unpacks_our_archive() {
    let Some(cpio) = program("cpio", "cpio") else { return };
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("archive");
    std::fs::write(&archive, sample()).unwrap();
    let root = folder.path().join("root");
    std::fs::create_dir(&root).unwrap();
    run(Command::new(&cpio)
        .args(["-i", "--quiet", "--no-absolute-filenames", "-F"])
        .arg(&archive)
        .current_dir(&root));
    assert_eq!(std::fs::read(root.join("bin/system")).unwrap(), b"\x7fELF");
    assert_eq!(std::fs::read(root.join("etc/program")).unwrap(), b"\x7fELF");
    let mode = std::fs::metadata(root.join("etc")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o750);
}

#[test]
fn reads_the_archive_of_gnu_cpio() {
    let Some(cpio) = program("cpio", "cpio") else { return };
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    std::fs::create_dir_all(root.join("a/b")).unwrap();
    std::fs::write(root.join("a/b/file"), b"content").unwrap();
    std::os::unix::fs::symlink("b/file", root.join("a/link")).unwrap();
    let names = folder.path().join("names");
    std::fs::write(&names, "a\na/b\na/b/file\na/link\n").unwrap();
    let archive = folder.path().join("archive");
    run(Command::new(&cpio)
        .args(["-o", "-H", "newc", "--quiet", "-O"])
        .arg(&archive)
        .current_dir(&root)
        .stdin(Stdio::from(std::fs::File::open(&names).unwrap())));
    let bytes = std::fs::read(&archive).unwrap();
    let archive = Archive::parse(&bytes).unwrap();
    assert_eq!(archive.file("a/b/file"), Some(&b"content"[..]));
    assert_eq!(archive.entries()[3].content, Content::Symlink("b/file"));
}

proptest! {
    #[test]
    fn archives_round_trip(files in prop::collection::vec(("[a-zA-Z0-9._ü-]{3,20}", prop::collection::vec(any::<u8>(), 0..50)), 0..8)) {
        let mut writer = Writer::new();
        writer.directory("d", 0o700).unwrap();
        for (n, (name, data)) in files.iter().enumerate() {
            writer.file(&format!("d/{n}{name}"), 0o644, data).unwrap();
        }
        let bytes = writer.finish();
        let archive = Archive::parse(&bytes).unwrap();
        prop_assert_eq!(archive.entries().len(), files.len() + 1);
        for (n, (name, data)) in files.iter().enumerate() {
            prop_assert_eq!(archive.file(&format!("d/{n}{name}")), Some(&data[..]));
        }
    }

    #[test]
    fn altered_archives_do_not_panic(at in 0..1024_usize, byte: u8, cut in 0..1200_usize) {
        let mut bytes = sample();
        let at = at % bytes.len();
        bytes[at] = byte;
        bytes.truncate(cut.max(110));
        let _ = Archive::parse(&bytes);
    }

    #[test]
    fn strange_bytes_are_errors(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Archive::parse(&bytes).is_err());
    }
}
