//! Trees go through an area unharmed (SPEC S3.1.1).

use crypto::secret::Secret;
use proptest::prelude::*;
use snapshot::path::TreePath;
use std::fs;
use std::io::Read;
use std::path::Path;
use treetar::read::{Chunk, Reader};
use treetar::write::Writer;
use treetar::{Entry, Kind, Summary};
use vault::{Area, Attributes, VaultError, export_tar, import_tar, replace_with_tar};

fn key() -> Secret<32> {
    Secret::new([7; 32])
}

fn path(bytes: &[u8]) -> TreePath {
    TreePath::new(bytes).expect("a path")
}

fn area() -> (tempfile::TempDir, Area) {
    let folder = tempfile::tempdir().expect("a folder");
    let area = Area::create(&folder.path().join("ce"), &key()).expect("an area");
    (folder, area)
}

fn entry(name: &[u8], kind: Kind) -> Entry {
    Entry {
        path: name.to_vec(),
        kind,
        mode: 0o4755,
        mtime_s: -7,
        mtime_ns: 999_999_999,
        uid: 12,
        gid: 34,
    }
}

type Node = (Entry, Vec<u8>);

fn archive(nodes: &[Node]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (entry, content) in nodes {
        writer.entry(entry).expect("written");
        writer.content(content).expect("written");
    }
    writer.finish().expect("written")
}

fn nodes(archive: &[u8]) -> Vec<Node> {
    let (mut reader, mut nodes) = (Reader::new(archive), Vec::new());
    while let Some(entry) = reader.next_entry().expect("an archive") {
        let (mut content, mut buffer) = (Vec::new(), vec![0; 100_000]);
        loop {
            match reader.chunk(&mut buffer).expect("an archive") {
                Chunk::End => break,
                Chunk::Data(length) => content.extend_from_slice(&buffer[..length]),
                Chunk::Hole(length) => content.resize(content.len() + length as usize, 0),
            }
        }
        nodes.push((entry, content));
    }
    nodes
}

fn carried(nodes: &[Node], area: &Area) -> Summary {
    import_tar(&archive(nodes)[..], area).expect("imported")
}

fn exported(area: &Area) -> Vec<u8> {
    let mut archive = Vec::new();
    export_tar(area, &mut archive).expect("exported");
    archive
}

fn content() -> impl Strategy<Value = Vec<u8>> {
    let block = vault::BLOCK_BYTES;
    let size = prop_oneof![
        Just(0),
        1..200_usize,
        Just(block - 1),
        Just(block),
        Just(block + 1),
        block..3 * block,
        Just(17 * block)
    ];
    (size, any::<u8>(), any::<bool>()).prop_map(move |(size, fill, hole)| {
        let mut content = vec![fill; size];
        if hole && size > 2 * block {
            content[block / 2..2 * block].fill(0);
        }
        content
    })
}

fn tree() -> impl Strategy<Value = Vec<Node>> {
    let name = proptest::collection::vec(
        any::<u8>().prop_filter("no slash or zero", |b| !matches!(b, 0 | b'/')),
        1..200,
    );
    let name = name.prop_filter("a name", |name| !matches!(&name[..], b"." | b".."));
    let leaf = (name, content(), 0..3_u8, any::<bool>());
    proptest::collection::vec(leaf, 0..8).prop_map(|leaves| {
        let mut nodes =
            vec![(entry(b"./", Kind::Directory), vec![]), (entry(b"d/", Kind::Directory), vec![])];
        let mut seen = std::collections::HashSet::from([b"d".to_vec()]);
        for (name, content, kind, inside) in leaves {
            let name = if inside { [b"d/", &name[..]].concat() } else { name };
            if !seen.insert(name.clone()) {
                continue;
            }
            nodes.push(match kind {
                0 => (entry(&[&name[..], b"/"].concat(), Kind::Directory), vec![]),
                1 => (entry(&name, Kind::Symlink { target: vec![b'/', 0xff] }), vec![]),
                _ => (entry(&name, Kind::File { size: content.len() as u64 }), content),
            });
        }
        nodes.sort_by_key(|(entry, _)| TreePath::lenient(&entry.path).expect("a path"));
        nodes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn s3_1_1_any_tree_comes_out_as_it_went_in_also_after_reopening(tree in tree()) {
        let (folder, area) = area();
        let summary = carried(&tree, &area);
        prop_assert_eq!(&summary.skipped, &vec![]);
        prop_assert_eq!(nodes(&exported(&area)), tree.clone());
        let id = area.id();
        drop(area);
        let area = Area::open(&folder.path().join("ce"), &key(), &id).expect("it opens");
        prop_assert_eq!(nodes(&exported(&area)), tree.clone());
        // The same again changes nothing.
        carried(&tree, &area);
        prop_assert_eq!(nodes(&exported(&area)), tree);
    }

    #[test]
    fn any_range_of_a_file_reads_as_written(content in content(), from in 0_u64..300_000, length in 0_usize..300_000) {
        let (_folder, area) = area();
        area.write_file(&path(b"f"), Attributes::default(), &content[..]).expect("written");
        let mut out = Vec::new();
        area.read_file(&path(b"f")).and_then(|mut f| f.read_range(from, length, &mut out)).expect("read");
        let start = content.len().min(from as usize);
        prop_assert_eq!(&out[..], &content[start..content.len().min(start + length)]);
    }
}

#[test]
fn a_real_folder_survives_and_compares_equal() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("d")).expect("made");
    fs::write(at("d/one"), vec![1; 3 << 20]).expect("made");
    fs::hard_link(at("d/one"), at("two")).expect("made");
    fs::write(at("d/Case"), b"A").and_then(|()| fs::write(at("d/case"), b"b")).expect("made");
    fs::write(at(&"n".repeat(255)), b"").expect("made");
    std::os::unix::fs::symlink("../../etc", at("link")).expect("made");
    let sparse = fs::File::create(at("sparse")).expect("made");
    sparse.set_len((5 << 30) + 1).expect("made");
    let mut archive = Vec::new();
    treetar::pack_folder(folder.path(), &mut archive).expect("packed");
    let (disk, area) = area();
    let summary = import_tar(&archive[..], &area).expect("imported");
    assert_eq!((summary.files, summary.dirs, summary.symlinks, summary.hardlinks), (5, 1, 1, 1));
    assert_eq!(
        treetar::compare_tar_with_folder(&exported(&area)[..], folder.path()).expect("compared"),
        []
    );
    assert!(used(disk.path()) < 8 << 20, "holes take no room: {}", used(disk.path()));
    let two = area.metadata(&path(b"two")).expect("there");
    assert_eq!(two.links, 2);
    // The file changes under both names.
    area.set_attributes(&path(b"two"), Attributes { mode: 0o600, ..two.attributes }).expect("set");
    assert_eq!(area.metadata(&path(b"d/one")).expect("there").attributes.mode, 0o600);
}

fn used(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let entries =
        fs::read_dir(folder).expect("readable").map(|entry| entry.expect("readable").path());
    entries
        .map(|path| {
            if path.is_dir() { used(&path) } else { path.metadata().expect("there").blocks() * 512 }
        })
        .sum()
}

#[test]
fn nothing_on_the_disk_says_what_is_in_it() {
    let (folder, area) = area();
    let attributes = Attributes::default();
    area.create_dir(&path(b"secret-directory"), attributes).expect("made");
    area.write_file(&path(b"secret-directory/secret-name"), attributes, &b"secret-content"[..])
        .expect("made");
    area.symlink(&path(b"link"), b"/secret-target", attributes).expect("made");
    fn check(folder: &Path) {
        for entry in fs::read_dir(folder).expect("readable") {
            let path = entry.expect("readable").path();
            assert!(!path.to_string_lossy().contains("secret"));
            if path.is_dir() {
                check(&path);
            } else {
                let bytes = fs::read(&path).expect("readable");
                assert!(!bytes.windows(6).any(|window| window == b"secret"), "{}", path.display());
            }
        }
    }
    check(folder.path());
}

#[test]
fn hostile_archives_stay_inside_and_are_reported() {
    let (folder, area) = area();
    let outside = folder.path().join("outside");
    fs::create_dir(&outside).expect("made");
    let file = |name: &[u8]| (entry(name, Kind::File { size: 1 }), vec![1]);
    let link = |name: &[u8], target: &[u8]| {
        (entry(name, Kind::Symlink { target: target.to_vec() }), vec![])
    };
    let hard = |name: &[u8], target: &[u8]| {
        (entry(name, Kind::Hardlink { target: target.to_vec() }), vec![])
    };
    let dir = |name: &[u8]| (entry(name, Kind::Directory), vec![]);
    let out = outside.as_os_str().as_encoded_bytes();
    let summary = carried(
        &[
            file(b"../up"),
            file(b"/etc/absolute"),
            file(b"a/../../up"),
            link(b"way", out),
            file(b"way/through"),
            link(b"up", b".."),
            file(b"up/through"),
            hard(b"hard", b"../../etc/passwd"),
            hard(b"none", b"nothing-there"),
            dir(b"taken"),
            file(b"taken"),
            file(b"file"),
            dir(b"file"),
            file(b"file/below"),
            file(&[b'n'; 256]),
            file(b"made/on/the/way"),
        ],
        &area,
    );
    let skipped: Vec<_> =
        summary.skipped.iter().map(|s| String::from_utf8_lossy(&s.path).into_owned()).collect();
    for name in [
        "../up",
        "/etc/absolute",
        "a/../../up",
        "way/through",
        "up/through",
        "hard",
        "none",
        "taken",
        "file/below",
    ] {
        assert!(skipped.iter().any(|path| path == name), "{name}: {skipped:?}");
    }
    assert_eq!(skipped.len(), 11, "{:?}", summary.skipped);
    assert_eq!(summary.files, 2);
    assert_eq!(fs::read_dir(&outside).expect("readable").count(), 0);
    let names: Vec<_> =
        area.list(&TreePath::root()).expect("listed").into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, [&b"file"[..], b"made", b"taken", b"up", b"way"]);
}

#[test]
fn a_later_entry_of_the_same_name_counts() {
    let (_folder, area) = area();
    let file =
        |content: &[u8]| (entry(b"f", Kind::File { size: content.len() as u64 }), content.to_vec());
    let big = vec![3; 5 << 20];
    for last in [&b"x"[..], &big] {
        let nodes: Vec<_> = [&big[..], b"1", &big, b"2", b"3", last].map(file).into();
        let summary = carried(&nodes, &area);
        assert_eq!((summary.files, summary.bytes), (1, last.len() as u64));
        let mut out = Vec::new();
        area.read_file(&path(b"f"))
            .and_then(|mut f| f.read_range(0, usize::MAX, &mut out))
            .expect("read");
        assert_eq!(out, last);
    }
}

/// An archive that breaks off.
struct Broken<'a>(&'a [u8]);

impl Read for Broken<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        if self.0.is_empty() { Err(std::io::Error::other("broken")) } else { self.0.read(out) }
    }
}

#[test]
fn an_archive_that_breaks_off_leaves_whole_files_only() {
    let (folder, area) = area();
    let file =
        |name: &[u8], size: usize| (entry(name, Kind::File { size: size as u64 }), vec![1; size]);
    let bytes = archive(&[file(b"whole", 3 << 20), file(b"cut", 3 << 20)]);
    area.write_file(&path(b"cut"), Attributes::default(), &b"old"[..]).expect("written");
    import_tar(Broken(&bytes[..5 << 20]), &area).expect_err("it broke off");
    assert_eq!(area.read_file(&path(b"whole")).expect("there").size(), 3 << 20);
    assert_eq!(area.read_file(&path(b"cut")).expect("the old one").size(), 3);
    assert_eq!(temporaries(&folder.path().join("ce")), 0);
}

/// How many temporaries there are.
fn temporaries(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).expect("readable");
    let count = |path: std::path::PathBuf| {
        let own = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".t-"));
        usize::from(own) + if path.is_dir() { temporaries(&path) } else { 0 }
    };
    entries.map(|entry| count(entry.expect("readable").path())).sum()
}

#[test]
fn what_a_killed_process_left_half_written_is_gone_after_the_next_open() {
    let (folder, area) = area();
    let id = area.id();
    area.create_dir(&path(b"d"), Attributes::default()).expect("made");
    drop(area);
    let tree = folder.path().join("ce/tree");
    let below = fs::read_dir(&tree).expect("readable").map(|entry| entry.expect("readable").path());
    let below = { below }.find(|path| path.is_dir()).expect("one");
    fs::write(tree.join(".t-0"), b"half").expect("made");
    fs::create_dir(below.join(".t-1")).expect("made");
    fs::write(below.join(".t-1/.dir"), b"half").expect("made");
    fs::write(folder.path().join("ce/notes/.t-2"), b"half").expect("made");
    assert_eq!(temporaries(folder.path()), 3);
    Area::open(&folder.path().join("ce"), &key(), &id).expect("it opens");
    assert_eq!(temporaries(folder.path()), 0);
}

#[test]
fn another_key_or_another_area_is_refused() {
    let (folder, area) = area();
    let at = folder.path().join("ce");
    let open = |key: Secret<32>, id| Area::open(&at, &key, &id).err();
    assert!(matches!(open(Secret::new([8; 32]), area.id()), Some(VaultError::WrongKey)));
    assert!(matches!(open(key(), [1; 32]), Some(VaultError::Foreign)));
    assert!(matches!(Area::create(&at, &key()).err(), Some(VaultError::Exists { .. })));
    assert!(matches!(
        Area::open(&folder.path().join("no"), &key(), &area.id()).err(),
        Some(VaultError::NoArea)
    ));
}

#[test]
fn a_full_disk_is_told_with_file_and_bytes_and_leaves_nothing_half_done() {
    let Some(mount) = SmallDisk::mount() else {
        return println!("a small disk needs a mount, which this user may not make");
    };
    let area = Area::create(&mount.0.path().join("ce"), &key()).expect("an area");
    let file =
        |name: &[u8], size: usize| (entry(name, Kind::File { size: size as u64 }), vec![1; size]);
    area.write_file(&path(b"large"), Attributes::default(), &b"old"[..]).expect("written");
    let bytes = archive(&[file(b"small", 1 << 20), file(b"large", 30 << 20)]);
    let error = import_tar(&bytes[..], &area).expect_err("it does not fit").to_string();
    assert!(
        error.contains("large: the disk is full") && error.contains("bytes are needed"),
        "{error}"
    );
    assert_eq!(area.read_file(&path(b"large")).expect("the old one").size(), 3);
    assert_eq!(area.read_file(&path(b"small")).expect("there").size(), 1 << 20);
    assert_eq!(temporaries(&mount.0.path().join("ce")), 0);
}

/// A tmpfs of 8 MiB, where this process may mount one.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("none", folder.path(), "tmpfs", flags, Some(c"size=8m")).ok()?;
        Some(Self(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.0.path(), rustix::mount::UnmountFlags::DETACH);
    }
}

#[test]
fn entries_are_removed_and_notes_stay_beside_the_tree() {
    let (_folder, area) = area();
    let long = path(&[b'x'; 255]);
    let inside = long.join(&[b'y'; 255]).expect("a path");
    area.create_dir(&long, Attributes::default()).expect("made");
    area.write_file(&inside, Attributes::default(), &b"1"[..]).expect("made");
    assert!(matches!(area.remove(&long), Err(VaultError::NotEmpty { .. })));
    area.remove(&inside).and_then(|()| area.remove(&long)).expect("removed");
    assert_eq!(area.list(&TreePath::root()).expect("listed"), []);
    assert!(matches!(area.remove(&long), Err(VaultError::NotFound { .. })));
    area.put_note("state", b"one").and_then(|()| area.put_note("state", b"two")).expect("kept");
    assert_eq!(area.note("state").expect("read"), Some(b"two".to_vec()));
    assert_eq!(area.notes().expect("listed"), ["state"]);
    area.remove_note("state").and_then(|()| area.remove_note("state")).expect("removed");
    assert_eq!(area.note("state").expect("read"), None);
}

#[test]
fn s3_1_3_an_erased_area_is_gone_and_its_headers_were_overwritten() {
    let (folder, area) = area();
    area.write_file(&path(b"f"), Attributes::default(), &b"content"[..]).expect("written");
    let at = folder.path().join("ce");
    // A second name outside shows what became of the file.
    let tree = at.join("tree");
    let file = fs::read_dir(&tree)
        .expect("readable")
        .map(|e| e.expect("readable").path())
        .find(|p| !p.ends_with(".dir"))
        .expect("there");
    let witness = folder.path().join("witness");
    fs::hard_link(&file, &witness).expect("linked");
    let before = fs::read(&witness).expect("readable");
    let erased = vault::erase(&at).expect("erased");
    assert!(erased.files >= 3 && !at.exists());
    let after = fs::read(&witness).expect("readable");
    let same = before.iter().zip(&after).filter(|(a, b)| a == b).count();
    assert!(same < before.len() / 4, "{same} of {} bytes survived", before.len());
    assert_eq!(vault::erase(&at).expect("again"), vault::Erased::default());
}

#[test]
fn a_replacing_import_leaves_what_the_archive_has_and_nothing_else() {
    let (_folder, area) = area();
    let file = |name: &[u8]| (entry(name, Kind::File { size: 3 }), b"abc".to_vec());
    let dir = |name: &[u8]| (entry(name, Kind::Directory), Vec::new());
    let long = [b'l'; 255];
    let link = |name: &[u8]| (entry(name, Kind::Symlink { target: b"x".to_vec() }), Vec::new());
    let before = [
        dir(b"becomes file"),
        file(b"becomes file/inside"),
        file(b"becomes folder"),
        link(b"becomes folder too"),
        dir(b"gone"),
        dir(b"gone/deep"),
        file(b"gone/deep/file"),
        file(&long),
        dir(b"stays"),
        file(b"stays/gone"),
        file(b"stays/one"),
    ];
    carried(&before, &area);
    let after = [
        file(b"becomes file"),
        dir(b"becomes folder"),
        file(b"becomes folder/inside"),
        dir(b"becomes folder too"),
        file(b"new"),
        dir(b"stays"),
        file(b"stays/one"),
    ];
    let (summary, removed) = replace_with_tar(&archive(&after)[..], &area).expect("replaced");
    assert_eq!((summary.skipped, removed), (vec![], 3));
    let mut now = nodes(&exported(&area));
    now.retain(|(entry, _)| entry.path != b"./");
    let names = |nodes: &[Node]| -> Vec<Vec<u8>> {
        nodes.iter().map(|(e, _)| e.path.strip_suffix(b"/").unwrap_or(&e.path).to_vec()).collect()
    };
    assert_eq!(names(&now), names(&after));
}

#[test]
fn a_replacing_import_that_breaks_off_removes_nothing() {
    let (_folder, area) = area();
    let file = |name: &[u8]| (entry(name, Kind::File { size: 3 }), b"abc".to_vec());
    carried(&[file(b"old")], &area);
    let whole = archive(&[file(b"new")]);
    assert!(replace_with_tar(&whole[..whole.len() - 1024], &area).is_err());
    assert_eq!(area.read_file(&path(b"old")).expect("there").size(), 3);
    assert_eq!(area.read_file(&path(b"new")).expect("there").size(), 3);
}
