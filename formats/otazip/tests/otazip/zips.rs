//! Zip files: ours for others, and tricks.

use crate::support::{has, signer, unsigned};
use otazip::zip::{Archive, Writer, ZipError};
use proptest::prelude::*;
use std::process::Command;

fn two() -> Vec<u8> {
    let mut writer = Writer::new();
    let mut file = Vec::new();
    for (name, content) in [("a", &b"first"[..]), ("dir/b", b"second")] {
        file.extend(writer.begin(name, content.len() as u64, crc32fast::hash(content)).unwrap());
        file.extend(content);
    }
    file.extend(writer.finish());
    file
}

fn fault(file: &[u8]) -> ZipError {
    let file = file.to_vec();
    let opened = Archive::open(&file, file.len() as u64, 0);
    match opened.and_then(|archive| archive.read("a").and_then(|_| archive.read("dir/b")).map(drop))
    {
        Ok(()) => panic!("it was taken"),
        Err(error) => error,
    }
}

/// Changes bytes of the two-entry file: at an offset behind the n-th occurrence of a magic.
fn edit(magic: &[u8; 4], nth: usize, offset: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = two();
    let mut found = (0..file.len() - 3).filter(|&at| &file[at..at + 4] == magic);
    let at = found.nth(nth).unwrap() + offset;
    file[at..at + bytes.len()].copy_from_slice(bytes);
    file
}

const LOCAL: &[u8; 4] = b"PK\x03\x04";
const CENTRAL: &[u8; 4] = b"PK\x01\x02";
const END: &[u8; 4] = b"PK\x05\x06";

#[test]
fn tricks_are_refused_with_the_reason() {
    let is = |file: Vec<u8>, expected: fn(&ZipError) -> bool| {
        let found = fault(&file);
        assert!(expected(&found), "{found:?}");
    };
    is([&two()[..], b"x"].concat(), |it| matches!(it, ZipError::NoEnd));
    is(edit(END, 0, 4, &[1]), |it| matches!(it, ZipError::Parts));
    is(edit(END, 0, 8, &[1, 0, 1, 0]), |it| matches!(it, ZipError::Directory));
    is(edit(END, 0, 8, &[3, 0, 3, 0]), |it| matches!(it, ZipError::Directory));
    is(edit(END, 0, 10, &[3]), |it| matches!(it, ZipError::Parts));
    is(edit(END, 0, 12, &[0]), |it| matches!(it, ZipError::Directory));
    is(edit(END, 0, 16, &[0xff; 4]), |it| matches!(it, ZipError::Zip64));
    is(edit(CENTRAL, 1, 42, &[0]), |it| matches!(it, ZipError::Local(_)));
    is(edit(CENTRAL, 0, 42, &[0xf0, 0xff, 0xff, 0x7f]), |it| matches!(it, ZipError::Overlap(_)));
    is(edit(CENTRAL, 0, 24, &[6]), |it| matches!(it, ZipError::Method(_)));
    is(edit(CENTRAL, 0, 8, &[1]), |it| matches!(it, ZipError::Method(_)));
    is(edit(CENTRAL, 0, 10, &[12]), |it| matches!(it, ZipError::Method(_)));
    is(edit(CENTRAL, 0, 46, b"/"), |it| matches!(it, ZipError::Name(_)));
    is(edit(CENTRAL, 1, 46, b"../.."), |it| matches!(it, ZipError::Name(_)));
    is(edit(LOCAL, 0, 30, b"b"), |it| matches!(it, ZipError::Local(_)));
    is(edit(LOCAL, 0, 18, &[4]), |it| matches!(it, ZipError::Local(_)));
    is(edit(LOCAL, 0, 14, &[0, 0, 0, 0]), |it| matches!(it, ZipError::Local(_)));
    is(edit(LOCAL, 0, 31, b"F"), |it| matches!(it, ZipError::Damaged(_)));
    // A second end record hides in front of the comment of another reader's choice.
    let file = two();
    let doubled = [&file[..], &file[file.len() - 22..]].concat();
    is(doubled, |it| matches!(it, ZipError::Directory));
    // Another file in front: offsets no longer fit.
    is([b"prefix", &file[..]].concat(), |it| matches!(it, ZipError::Directory));
}

#[test]
fn a_name_stands_once() {
    let mut writer = Writer::new();
    writer.begin("a", 0, 0).unwrap();
    assert!(matches!(writer.begin("a", 0, 0), Err(ZipError::Twice(_))));
    for name in ["", "/a", "a//b", "../a", "a\\b", "c:a", "a\nb"] {
        assert!(matches!(writer.begin(name, 0, 0), Err(ZipError::Name(_))), "{name:?}");
    }
    let mut file = edit(CENTRAL, 1, 0, CENTRAL);
    // Rename dir/b to a in both headers by writing entries of equal name lengths.
    let mut writer = Writer::new();
    let mut made = Vec::new();
    for name in ["a", "b"] {
        made.extend(writer.begin(name, 0, 0).unwrap());
    }
    made.extend(writer.finish());
    let places: Vec<usize> = (0..made.len()).filter(|&at| made[at] == b'b').collect();
    places.into_iter().for_each(|at| made[at] = b'a');
    std::mem::swap(&mut file, &mut made);
    assert!(matches!(fault(&file), ZipError::Twice(_)));
}

#[test]
fn files_beyond_four_gigabytes_have_zip64_records() {
    let mut writer = Writer::new();
    let head = writer.begin("large", 5 << 30, 0).unwrap();
    assert_eq!(writer.data("large"), Some(head.len() as u64..head.len() as u64 + (5 << 30)));
    writer.begin("behind", 0, 0).unwrap();
    let tail = writer.finish();
    // A sparse file: only its ends are there.
    struct Sparse(Vec<u8>, Vec<u8>, u64);
    impl payload::ReadAt for Sparse {
        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
            for (at, byte) in (offset..).zip(buffer) {
                let head = usize::try_from(at).ok().and_then(|at| self.0.get(at));
                let behind = at.checked_sub(self.2).and_then(|at| usize::try_from(at).ok());
                *byte = *head.or_else(|| behind.and_then(|at| self.1.get(at))).unwrap_or(&0);
            }
            Ok(())
        }
    }
    let mut again = Writer::new();
    again.begin("large", 5 << 30, 0).unwrap();
    let behind = again.begin("behind", 0, 0).unwrap();
    let at = writer.data("large").unwrap().end;
    let length = at + (behind.len() + tail.len()) as u64;
    let file = Sparse(head, [behind, tail].concat(), at);
    let archive = Archive::open(&file, length, 0).unwrap();
    assert_eq!(archive.entry("large").unwrap().size, 5 << 30);
    assert!(matches!(archive.read("large"), Err(ZipError::TooLarge { .. })));
    assert_eq!(archive.read("behind").unwrap(), b"");
}

#[test]
fn unzip_and_python_read_our_files() {
    let (key, certificate) = signer();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ota.zip");
    let file = unsigned(&key, &certificate);
    std::fs::write(&path, crate::support::signed(&file, &key, &certificate)).unwrap();
    if has("unzip") {
        let output = Command::new("unzip").arg("-t").arg(&path).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
    if has("python3") {
        let code = "import sys,zipfile; z=zipfile.ZipFile(sys.argv[1]); assert z.testzip() is None";
        let output = Command::new("python3").args(["-c", code]).arg(&path).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn we_read_deflated_entries_of_others() {
    if !has("python3") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("theirs.zip");
    let code = "import sys,zipfile; z=zipfile.ZipFile(sys.argv[1],'w',zipfile.ZIP_DEFLATED); \
                z.writestr('a','x'*100000); z.close()";
    let output = Command::new("python3").args(["-c", code]).arg(&path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut file = std::fs::read(&path).unwrap();
    let archive = Archive::open(&file, file.len() as u64, 0).unwrap();
    assert_eq!(archive.read("a").unwrap(), [b'x'; 100_000]);
    // A bomb: the directory says less than the data becomes.
    for at in 0..file.len() - 3 {
        if file[at..at + 4] == 100_000_u32.to_le_bytes() {
            file[at..at + 4].copy_from_slice(&5_u32.to_le_bytes());
        }
    }
    let archive = Archive::open(&file, file.len() as u64, 0).unwrap();
    assert!(matches!(archive.read("a"), Err(ZipError::Damaged(_))));
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let file = two();
    for length in 0..file.len() {
        fault(&file[..length]);
    }
}

proptest! {
    #[test]
    fn flipped_bytes_never_panic(at in 0_usize..1000, bits in 1_u8..) {
        let mut file = two();
        let at = at % file.len();
        file[at] ^= bits;
        if let Ok(archive) = Archive::open(&file, file.len() as u64, 0) {
            for entry in archive.entries() {
                let _ = archive.read(&entry.name);
            }
        }
    }
}
