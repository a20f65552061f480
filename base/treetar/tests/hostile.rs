//! Archives that break the rules.

use proptest::prelude::*;
use treetar::read::{Chunk, ReadError, Reader};
use treetar::write::Writer;
use treetar::{Entry, Kind};

fn file(path: &[u8], size: u64) -> Entry {
    let kind = Kind::File { size };
    Entry { path: path.to_vec(), kind, mode: 0o644, mtime_s: 1, mtime_ns: 2, uid: 3, gid: 4 }
}

fn read_all(bytes: &[u8]) -> Result<Vec<(Entry, u64)>, ReadError> {
    let (mut reader, mut out) = (Reader::new(bytes), Vec::new());
    let mut buffer = vec![0; 1000];
    while let Some(entry) = reader.next_entry()? {
        let mut total = 0;
        loop {
            match reader.chunk(&mut buffer)? {
                Chunk::End => break,
                Chunk::Data(length) => total += length as u64,
                Chunk::Hole(length) => total += length,
            }
        }
        out.push((entry, total));
    }
    Ok(out)
}

fn archive() -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    writer.entry(&file(&[b'x'; 200], 700)).expect("written");
    writer.content(&[1; 700]).expect("written");
    writer.sparse(&file(b"s", 5000), 5000, &[10..20, 4000..4100]).expect("written");
    writer.content(&[2; 110]).expect("written");
    writer
        .entry(&Entry { kind: Kind::Symlink { target: vec![0xff; 120] }, ..file(b"l", 0) })
        .expect("written");
    writer.finish().expect("written")
}

#[test]
fn reads_what_it_wrote() {
    let read = read_all(&archive()).expect("an archive");
    assert_eq!(read[0], (file(&[b'x'; 200], 700), 700));
    assert_eq!(read[1], (file(b"s", 5000), 5000));
    assert_eq!(read[2].0.kind, Kind::Symlink { target: vec![0xff; 120] });
}

#[test]
fn an_archive_that_ends_early_is_never_taken_for_whole() {
    let whole = archive();
    for length in 0..whole.len() - 1024 {
        assert!(read_all(&whole[..length]).is_err(), "{length}");
    }
}

#[test]
fn refuses_an_extension_that_would_fill_the_memory() {
    let mut writer = Writer::new(Vec::new());
    writer.entry(&file(b"x", 5 << 20)).expect("written");
    writer.content(&vec![0; 5 << 20]).expect("written");
    let mut bytes = writer.finish().expect("written");
    for flag in *b"xLK" {
        let at = bytes.windows(6).position(|w| w == b"ustar\0").expect("a header") - 257;
        // The first header is the pax record of the time; the file's own comes 1024 later.
        let at = at + 1024;
        bytes[at + 156] = flag;
        bytes[at + 148..at + 156].fill(b' ');
        let sum: u32 = bytes[at..at + 512].iter().map(|b| u32::from(*b)).sum();
        bytes[at + 148..at + 156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        assert!(matches!(read_all(&bytes), Err(ReadError::Malformed { .. })));
    }
}

proptest! {
    #[test]
    fn never_panics_on_altered_archives(at in 0_usize..6000, to: u8, fix: bool) {
        let mut bytes = archive();
        let at = at % bytes.len();
        bytes[at] = to;
        if fix {
            for header in bytes.chunks_mut(512).filter(|c| c.len() == 512 && &c[257..262] == b"ustar") {
                header[148..156].fill(b' ');
                let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
                header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            }
        }
        let _ = read_all(&bytes);
    }

    #[test]
    fn times_and_names_survive(path in proptest::collection::vec(1_u8.., 1..300), s in -(1_i64 << 60)..1 << 60, ns in 0_u32..1_000_000_000, uid: u32) {
        let entry = Entry { mtime_s: s, mtime_ns: ns, uid, kind: Kind::Directory, ..file(&path, 0) };
        let mut writer = Writer::new(Vec::new());
        writer.entry(&entry).expect("written");
        let bytes = writer.finish().expect("written");
        prop_assert_eq!(&read_all(&bytes).expect("an archive")[0].0, &entry);
    }
}
