//! Whoever can write the disk alters nothing unseen.

use crypto::secret::Secret;
use snapshot::path::TreePath;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use vault::{Area, Attributes, BLOCK_BYTES, VaultError};

fn path(text: &str) -> TreePath {
    TreePath::new(text).expect("a path")
}

fn area(folder: &Path) -> Area {
    Area::create(&folder.join("ce"), &Secret::new([7; 32])).expect("an area")
}

/// The entries of a directory on the disk.
fn entries(directory: &Path) -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(directory).expect("readable");
    let paths = entries.map(|entry| entry.expect("readable").path());
    paths.filter(|path| !path.ends_with(".dir")).collect()
}

/// What `make` adds to a directory on the disk.
fn added(directory: &Path, make: impl FnOnce()) -> PathBuf {
    let before = entries(directory);
    make();
    entries(directory).difference(&before).next().expect("it adds one").clone()
}

fn read(area: &Area, name: &str) -> Result<Vec<u8>, VaultError> {
    let mut out = Vec::new();
    area.read_file(&path(name))?.read_range(0, usize::MAX, &mut out)?;
    Ok(out)
}

fn altered<T: std::fmt::Debug>(result: Result<T, VaultError>, what: &str) {
    assert!(matches!(result, Err(VaultError::Altered { .. })), "{what}: {result:?}");
}

#[test]
fn s3_1_1_one_flipped_bit_anywhere_in_a_file_is_seen() {
    let mut holed = vec![1; 4 * BLOCK_BYTES];
    holed[BLOCK_BYTES..2 * BLOCK_BYTES].fill(0);
    for content in [vec![], vec![9; 100], holed] {
        let folder = tempfile::tempdir().expect("a folder");
        let area = area(folder.path());
        area.write_file(&path("f"), Attributes::default(), &content[..]).expect("written");
        let at = entries(&folder.path().join("ce/tree")).pop_first().expect("one");
        let good = fs::read(&at).expect("readable");
        let ends = [140, 140 + 65564, 140 + 2 * 65564, good.len()];
        let near = |at: &usize| ends.iter().any(|end| at.abs_diff(*end) < 40);
        for byte in (0..good.len()).filter(|at| *at < 180 || near(at) || at % 9973 == 0) {
            let mut bad = good.clone();
            bad[byte] ^= 1 << (byte % 8);
            fs::write(&at, bad).expect("written");
            let unread_hole =
                content.len() > BLOCK_BYTES && (140 + 65564..140 + 2 * 65564).contains(&byte);
            if unread_hole {
                // What lies under a hole is never read.
                assert_eq!(read(&area, "f").expect("the same"), content);
            } else {
                altered(read(&area, "f"), &format!("byte {byte} of {}", good.len()));
            }
        }
        for length in [0, 1, 139, 140, good.len() - 1] {
            fs::write(&at, &good[..length]).expect("written");
            altered(read(&area, "f"), "cut");
        }
        fs::write(&at, [&good[..], b"x"].concat()).expect("written");
        altered(read(&area, "f"), "longer");
        fs::write(&at, good).expect("written");
        assert_eq!(read(&area, "f").expect("as it was"), content);
    }
}

#[test]
fn blocks_that_change_places_are_seen() {
    let folder = tempfile::tempdir().expect("a folder");
    let area = area(folder.path());
    let content = [vec![1; BLOCK_BYTES], vec![2; BLOCK_BYTES], vec![3; 5]].concat();
    area.write_file(&path("f"), Attributes::default(), &content[..]).expect("written");
    let at = entries(&folder.path().join("ce/tree")).pop_first().expect("one");
    let good = fs::read(&at).expect("readable");
    let (first, second) = (140..140 + 65564, 140 + 65564..140 + 2 * 65564);
    let swapped = [&good[..140], &good[second.clone()], &good[first], &good[second.end..]].concat();
    fs::write(&at, swapped).expect("written");
    altered(read(&area, "f"), "swapped");
    let mut zeroed = good;
    zeroed[second].fill(0);
    fs::write(&at, zeroed).expect("written");
    altered(read(&area, "f"), "made a hole");
}

#[test]
fn files_and_directories_that_change_places_are_seen() {
    let folder = tempfile::tempdir().expect("a folder");
    let area = area(folder.path());
    let tree = folder.path().join("ce/tree");
    let write = |name: &str, content: &str| {
        area.write_file(&path(name), Attributes::default(), content.as_bytes()).expect("written");
    };
    let (a, b) = (added(&tree, || write("a", "a")), added(&tree, || write("b", "b")));
    let swap = |one: &Path, two: &Path| {
        let aside = folder.path().join("aside");
        fs::rename(one, &aside)
            .and_then(|()| fs::rename(two, one))
            .and_then(|()| fs::rename(&aside, two))
            .expect("swapped");
    };
    swap(&a, &b);
    altered(read(&area, "a"), "a is b");
    altered(area.list(&TreePath::root()), "a is b");
    swap(&a, &b);
    assert_eq!(read(&area, "a").expect("as it was"), b"a");
    let directory = |name: &str| {
        let make = || area.create_dir(&path(name), Attributes::default()).expect("made");
        let at = added(&tree, make);
        write(&format!("{name}/f"), name);
        at
    };
    let (c, d) = (directory("c"), directory("d"));
    let id = area.id();
    drop(area);
    swap(&c, &d);
    let area = Area::open(&folder.path().join("ce"), &Secret::new([7; 32]), &id).expect("it opens");
    altered(read(&area, "c/f"), "c is d");
    altered(area.metadata(&path("d")), "d is c");
    swap(&c, &d);
    // A file of one directory in another, under the same name.
    let only = |at: &Path| entries(at).pop_first().expect("one");
    let (in_c, in_d) = (only(&c), only(&d));
    fs::copy(&in_c, &in_d).expect("copied");
    altered(read(&area, "d/f"), "d/f is c/f");
    assert_eq!(read(&area, "c/f").expect("as it was"), b"c");
}

#[test]
fn an_altered_head_directory_or_name_is_seen() {
    let folder = tempfile::tempdir().expect("a folder");
    let area = area(folder.path());
    let id = area.id();
    area.write_file(&path(&"n".repeat(255)), Attributes::default(), &b"x"[..]).expect("written");
    drop(area);
    let open = || Area::open(&folder.path().join("ce"), &Secret::new([7; 32]), &id);
    let each_byte = |at: &Path, check: &dyn Fn() -> bool| {
        let good = fs::read(at).expect("readable");
        for byte in 0..good.len() {
            let mut bad = good.clone();
            bad[byte] ^= 0x10;
            fs::write(at, bad).expect("written");
            assert!(check(), "{} byte {byte}", at.display());
        }
        fs::write(at, good).expect("written");
    };
    each_byte(&folder.path().join("ce/area"), &|| open().is_err());
    each_byte(&folder.path().join("ce/tree/.dir"), &|| open().is_err());
    let long = fs::read_dir(folder.path().join("ce/tree")).expect("readable");
    let beside = long
        .map(|entry| entry.expect("readable").path())
        .find(|path| path.to_string_lossy().contains("/.n-"))
        .expect("there");
    each_byte(&beside, &|| open().expect("it opens").list(&TreePath::root()).is_err());
    assert_eq!(open().expect("it opens").list(&TreePath::root()).expect("as it was").len(), 1);
    fs::write(folder.path().join("ce/tree/foreign"), b"x").expect("written");
    altered(open().expect("it opens").list(&TreePath::root()), "a foreign name");
}
