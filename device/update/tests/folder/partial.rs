//! Packages in pieces.

use crate::{SmallDisk, bytes, names};
use crypto::digest::sha256;
use device_update::partial::{
    Announced, Found, MARK_BYTES, Partial, PartialError, check_whole, hex,
};
use proptest::prelude::*;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

fn announced(package: &[u8]) -> Announced {
    Announced { size: package.len() as u64, sha256: sha256(package) }
}

fn part(folder: &Path, package: &[u8]) -> std::path::PathBuf {
    folder.join(format!("{}.part", hex(&sha256(package))))
}

/// Gives some bytes and then breaks.
struct Broken<'a>(&'a [u8]);

impl Read for Broken<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self.0.read(out)? {
            0 => Err(io::ErrorKind::ConnectionReset.into()),
            length => Ok(length),
        }
    }
}

fn append(partial: &mut Partial, bytes: &[u8]) -> Result<(), PartialError> {
    partial.append(&mut { bytes }, &|_| {})
}

#[test]
fn s2_6_goes_on_where_the_connection_broke() {
    let folder = tempfile::tempdir().unwrap();
    let package = bytes(900_001);
    let mut at = 0;
    for end in [1, 300_000, 300_001, 700_000, 900_001] {
        let (mut partial, found) = Partial::open(folder.path(), announced(&package)).unwrap();
        let due = if at == 0 { Found::Nothing } else { Found::Bytes(at as u64) };
        assert_eq!(found, due);
        let broken = partial.append(&mut Broken(&package[at..end]), &|_| {});
        assert!(matches!(broken, Err(PartialError::Source(_))), "{broken:?}");
        at = end;
    }
    let (partial, _) = Partial::open(folder.path(), announced(&package)).unwrap();
    let whole = partial.finish().unwrap();
    assert_eq!(fs::read(whole).unwrap(), package);
    assert_eq!(names(folder.path()), [format!("{}.zip", hex(&sha256(&package)))]);
}

#[test]
fn s2_6_a_kill_costs_no_more_than_what_came_since_the_last_mark() {
    let folder = tempfile::tempdir().unwrap();
    let package = bytes(MARK_BYTES as usize * 2 + 500_000);
    let (mut partial, _) = Partial::open(folder.path(), announced(&package)).unwrap();
    // Killed in the middle of a connection: the reader never ends, and nothing is dropped.
    let killed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        struct Killed<'a>(&'a [u8]);
        impl Read for Killed<'_> {
            fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
                match self.0.read(out)? {
                    0 => panic!("killed"),
                    length => Ok(length),
                }
            }
        }
        let _ = partial.append(&mut Killed(&package[..package.len() - 7]), &|_| {});
    }));
    assert!(killed.is_err());
    // What a power cut leaves behind the mark may be anything.
    let part = OpenOptions::new().write(true).open(part(folder.path(), &package)).unwrap();
    part.write_all_at(b"anything", MARK_BYTES * 2 + 262_144).unwrap();
    let (mut again, found) = Partial::open(folder.path(), announced(&package)).unwrap();
    let Found::Bytes(kept) = found else { panic!("{found:?}") };
    assert!(kept >= MARK_BYTES * 2 && kept < package.len() as u64, "{kept}");
    append(&mut again, &package[kept as usize..]).unwrap();
    again.finish().unwrap();
}

#[test]
fn s2_6_what_was_changed_on_the_disk_begins_anew_and_says_so() {
    for (name, change) in changes() {
        let folder = tempfile::tempdir().unwrap();
        let package = bytes(500_000);
        let (mut partial, _) = Partial::open(folder.path(), announced(&package)).unwrap();
        append(&mut partial, &package[..400_000]).unwrap();
        drop(partial);
        change(folder.path(), &package);
        let (partial, found) = Partial::open(folder.path(), announced(&package)).unwrap();
        assert_eq!(found, Found::Damaged { lost: 400_000 }, "{name}");
        assert_eq!(partial.bytes(), 0, "{name}");
        assert_eq!(fs::metadata(part(folder.path(), &package)).unwrap().len(), 0, "{name}");
    }
}

type Change = fn(&Path, &[u8]);

fn changes() -> [(&'static str, Change); 3] {
    [
        ("a flipped byte", |folder, package| {
            let file = OpenOptions::new().write(true).open(part(folder, package)).unwrap();
            file.write_all_at(&[!package[9]], 9).unwrap();
        }),
        ("cut short", |folder, package| {
            let file = OpenOptions::new().write(true).open(part(folder, package)).unwrap();
            file.set_len(399_999).unwrap();
        }),
        ("another file", |folder, package| {
            fs::write(part(folder, package), vec![0; 400_000]).unwrap();
        }),
    ]
}

#[test]
fn a_mark_that_cannot_be_read_counts_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let package = bytes(10_000);
    let (mut partial, _) = Partial::open(folder.path(), announced(&package)).unwrap();
    append(&mut partial, &package[..9_000]).unwrap();
    let mark = folder.path().join(format!("{}.mark", hex(&sha256(&package))));
    for text in ["", "{", "{\"bytes\": 18446744073709551615, \"sha256\": \"00\"}", "null"] {
        fs::write(&mark, text).unwrap();
        let (partial, _) = Partial::open(folder.path(), announced(&package)).unwrap();
        assert_eq!(partial.bytes(), 0, "{text:?}");
    }
}

#[test]
fn a_link_in_the_place_of_a_package_is_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::NamedTempFile::new().unwrap();
    fs::write(elsewhere.path(), "precious").unwrap();
    let package = bytes(100);
    std::os::unix::fs::symlink(elsewhere.path(), part(folder.path(), &package)).unwrap();
    assert!(Partial::open(folder.path(), announced(&package)).is_err());
    assert_eq!(fs::read(elsewhere.path()).unwrap(), b"precious");
}

#[test]
fn s2_6_longer_than_announced_keeps_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let package = bytes(100_000);
    let (mut partial, _) = Partial::open(folder.path(), announced(&package[..99_999])).unwrap();
    let longer = append(&mut partial, &package);
    assert!(matches!(longer, Err(PartialError::Longer(99_999))), "{longer:?}");
    assert_eq!(partial.bytes(), 0);
}

#[test]
fn s2_6_other_bytes_than_announced_keep_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (package, mut other) = (bytes(100_000), bytes(100_000));
    other[77_777] ^= 1;
    let (mut partial, _) = Partial::open(folder.path(), announced(&package)).unwrap();
    append(&mut partial, &other).unwrap();
    assert!(matches!(partial.finish(), Err(PartialError::Hash { .. })));
    assert_eq!(fs::metadata(part(folder.path(), &package)).unwrap().len(), 0);
    assert!(!announced(&package).whole(folder.path()).exists());
}

#[test]
fn fewer_bytes_than_announced_are_never_whole() {
    let folder = tempfile::tempdir().unwrap();
    let package = bytes(1000);
    for length in [0, 1, 999] {
        let (mut partial, _) = Partial::open(folder.path(), announced(&package)).unwrap();
        let at = partial.bytes() as usize;
        append(&mut partial, &package[at..length]).unwrap();
        assert!(matches!(partial.finish(), Err(PartialError::Source(_))));
    }
}

#[test]
fn s2_6_a_disk_without_room_is_said_before_it_begins() {
    let folder = tempfile::tempdir().unwrap();
    let impossible = Announced { size: 1 << 60, sha256: [1; 32] };
    let (partial, _) = Partial::open(folder.path(), impossible).unwrap();
    let refused = partial.require_room();
    assert!(matches!(refused, Err(PartialError::DiskFull { need, .. }) if need > 1 << 60));
    assert!(refused.unwrap_err().to_string().contains("make room"));
}

#[test]
fn s2_6_a_disk_that_fills_up_keeps_what_came() {
    let Some(disk) = SmallDisk::of_bytes(1 << 20) else { return };
    let package = bytes(2 << 20);
    let (mut partial, _) = Partial::open(disk.path(), announced(&package)).unwrap();
    // As much as leaves room for the mark.
    append(&mut partial, &package[..500_000]).unwrap();
    let full = append(&mut partial, &package[500_000..]);
    assert!(matches!(full, Err(PartialError::DiskFull { .. })), "{full:?}");
    drop(partial);
    let (partial, found) = Partial::open(disk.path(), announced(&package)).unwrap();
    let Found::Bytes(kept) = found else { panic!("{found:?}") };
    assert!(kept >= 500_000 && partial.bytes() == kept, "{kept}");
}

#[test]
fn a_whole_package_is_hashed_through_its_open_file() {
    let package = bytes(600_000);
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), &package).unwrap();
    let open = File::open(file.path()).unwrap();
    assert_eq!(check_whole(&open, &announced(&package), &|_| {}).unwrap(), None);
    fs::write(file.path(), &package[1..]).unwrap();
    let wrong = check_whole(&open, &announced(&package), &|_| {}).unwrap().unwrap();
    assert!(wrong.contains("599999 bytes"), "{wrong}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_cuts_lead_to_the_same_package(
        length in 1_usize..200_000,
        cuts in proptest::collection::vec(1_usize..100_000, 0..6),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let package = bytes(length);
        for cut in cuts {
            let (mut partial, _) = Partial::open(folder.path(), announced(&package)).unwrap();
            let at = partial.bytes() as usize;
            let _ = partial.append(&mut Broken(&package[at..length.min(at + cut)]), &|_| {});
        }
        let (mut partial, _) = Partial::open(folder.path(), announced(&package)).unwrap();
        let at = partial.bytes() as usize;
        append(&mut partial, &package[at..]).unwrap();
        prop_assert_eq!(fs::read(partial.finish().unwrap()).unwrap(), package);
    }
}
