//! Trees of others: `veritysetup` (Debian: cryptsetup-bin) and avbtool.

use std::path::{Path, PathBuf};
use std::process::Command;
use verity::{
    FecLayout, HashAlgorithm, HashFormat, Params, RootDigest, Superblock, Tree, build, encode_fec,
};

#[test]
fn builds_the_trees_that_veritysetup_builds() {
    let Some(veritysetup) = program("veritysetup", "cryptsetup-bin") else { return };
    let folder = tempfile::tempdir().unwrap();
    for (blocks, algorithm, salt, data_block, hash_block, format) in [
        (1, "sha256", "aabbccdd", 4096, 4096, 1),
        (2, "sha256", "-", 4096, 4096, 1),
        (128, "sha256", "00", 4096, 4096, 1),
        (129, "sha256", "aabbccdd", 4096, 4096, 1),
        (20_000, "sha256", "0123456789abcdef", 4096, 4096, 1),
        (300, "sha512", "aabbccdd", 4096, 4096, 1),
        (300, "sha256", "aabbccdd", 1024, 4096, 1),
        (300, "sha256", "aabbccdd", 4096, 1024, 1),
        (300, "sha512", "aabbccdd", 512, 512, 1),
        (1, "sha1", "aabbccdd", 4096, 4096, 1),
        (130, "sha1", "aabbccdd", 4096, 4096, 1),
        (300, "sha1", "-", 512, 512, 1),
        (1, "sha1", "aabbccdd", 4096, 4096, 0),
        (300, "sha1", "aabbccdd", 512, 512, 0),
        (300, "sha256", "aabbccdd", 4096, 4096, 0),
    ] {
        let data: Vec<u8> = (0..blocks * data_block).map(|at| (at * 7 + at / 999) as u8).collect();
        let (data_path, tree_path) = (folder.path().join("data"), folder.path().join("tree"));
        std::fs::write(&data_path, &data).unwrap();
        std::fs::write(&tree_path, b"").unwrap();
        let output = Command::new(&veritysetup)
            .arg("format")
            .args([&data_path, &tree_path])
            .args(["--no-superblock", "--hash", algorithm, "--salt", salt])
            .arg(format!("--data-block-size={data_block}"))
            .arg(format!("--hash-block-size={hash_block}"))
            .arg(format!("--format={format}"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let their_root = text.lines().find_map(|line| line.strip_prefix("Root hash:")).unwrap();
        let their_tree = std::fs::read(&tree_path).unwrap();

        let salt = if salt == "-" { vec![] } else { unhex(salt) };
        let algorithm = HashAlgorithm::from_name(algorithm).unwrap();
        let (data_block, hash_block) = (data_block as u32, hash_block as u32);
        let params = Params::with_block_sizes(algorithm, &salt, data_block, hash_block).unwrap();
        let params = params.with_format(HashFormat::from_number(format).unwrap());
        let (tree, root) = build(&params, &data).unwrap();
        assert_eq!(root.as_bytes(), unhex(their_root.trim()), "{blocks} blocks");
        assert!(tree == their_tree, "{blocks} blocks");
        Tree::open(&params, data.len() as u64, &their_tree, &root)
            .unwrap()
            .verify_blocks(0, &data)
            .unwrap();
    }
}

#[test]
fn veritysetup_verifies_our_trees_and_finds_damage() {
    let Some(veritysetup) = program("veritysetup", "cryptsetup-bin") else { return };
    let folder = tempfile::tempdir().unwrap();
    let (data_path, tree_path) = (folder.path().join("data"), folder.path().join("tree"));
    let mut data: Vec<u8> = (0..1_000_000_u32.next_multiple_of(4096)).map(|at| at as u8).collect();
    let params = Params::new(HashAlgorithm::Sha256, &[0xab; 32]).unwrap();
    let (tree, root) = build(&params, &data).unwrap();
    std::fs::write(&tree_path, &tree).unwrap();
    let root: String = root.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let accepts = |data: &[u8]| {
        std::fs::write(&data_path, data).unwrap();
        let output = Command::new(&veritysetup)
            .arg("verify")
            .args([&data_path, &tree_path])
            .arg(&root)
            .args(["--no-superblock", "--hash", "sha256", "--salt", &"ab".repeat(32)])
            .output();
        output.unwrap().status.success()
    };
    assert!(accepts(&data));
    data[500_000] ^= 1;
    assert!(!accepts(&data));
}

#[test]
fn makes_the_parity_that_veritysetup_makes() {
    let Some(veritysetup) = program("veritysetup", "cryptsetup-bin") else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for (blocks, roots, block) in [
        (1, 2, 4096),
        (40, 24, 4096),
        (253, 2, 4096),
        (1000, 2, 4096),
        (700, 7, 1024),
        (500, 3, 512),
    ] {
        let data: Vec<u8> = (0..blocks * block).map(|at| (at * 7 + at / 999) as u8).collect();
        std::fs::write(path("data"), &data).unwrap();
        std::fs::write(path("tree"), b"").unwrap();
        std::fs::write(path("fec"), b"").unwrap();
        let output = Command::new(&veritysetup)
            .arg("format")
            .args([path("data"), path("tree")])
            .args(["--no-superblock", "--salt", "aabb"])
            .arg(format!("--fec-device={}", path("fec").display()))
            .arg(format!("--fec-roots={roots}"))
            .arg(format!("--data-block-size={block}"))
            .arg(format!("--hash-block-size={block}"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut covered = data;
        covered.extend(std::fs::read(path("tree")).unwrap());
        let layout =
            FecLayout::new(block as u32, (covered.len() / block as usize) as u64, roots).unwrap();
        let parity = encode_fec(&layout, &covered, 0..layout.codewords()).unwrap();
        assert!(parity == std::fs::read(path("fec")).unwrap(), "{blocks} blocks, {roots} roots");
    }
}

#[test]
fn writes_and_reads_the_superblock_of_veritysetup() {
    let Some(veritysetup) = program("veritysetup", "cryptsetup-bin") else { return };
    let folder = tempfile::tempdir().unwrap();
    let (data_path, tree_path) = (folder.path().join("data"), folder.path().join("tree"));
    std::fs::write(&data_path, vec![7; 3 * 4096]).unwrap();
    std::fs::write(&tree_path, b"").unwrap();
    for (algorithm, salt, format, hash_block) in
        [("sha256", "aabbccdd", 1, 4096), ("sha1", "-", 0, 1024), ("sha512", "00ff", 1, 512)]
    {
        let output = Command::new(&veritysetup)
            .arg("format")
            .args([&data_path, &tree_path])
            .args(["--hash", algorithm, "--salt", salt])
            .arg("--uuid=00112233-4455-6677-8899-aabbccddeeff")
            .arg(format!("--hash-block-size={hash_block}"))
            .arg(format!("--format={format}"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let file = std::fs::read(&tree_path).unwrap();
        let theirs: &[u8; 512] = file.first_chunk().unwrap();
        let read = Superblock::decode(theirs).unwrap();
        assert_eq!(read.algorithm.name(), algorithm);
        assert_eq!(read.uuid[..3], [0, 0x11, 0x22]);
        assert_eq!((read.data_blocks, read.hash_block_bytes), (3, hash_block));
        let ours = Superblock::new(&read.params().unwrap(), 3, read.uuid);
        assert_eq!((&ours, &ours.encode().unwrap()), (&read, theirs));
    }
}

#[test]
fn s2_2_verifies_a_system_image_of_avbtool() {
    let Some(base) = test_data("boot-ota/slot-verify/base") else { return };
    let partition = std::fs::read(base.join("system.img")).unwrap();
    let footer = avb::Footer::decode_strict(partition.last_chunk().unwrap()).unwrap();
    let vbmeta = &partition[footer.vbmeta_offset as usize..][..footer.vbmeta_size as usize];
    let descriptors = avb::VbmetaImage::parse(vbmeta).unwrap().descriptors().unwrap();
    let [avb::Descriptor::Hashtree(tree), ..] = &descriptors[..] else {
        panic!("the tree's descriptor comes first")
    };
    let algorithm = tree.hash_algorithm.as_bytes();
    let algorithm = HashAlgorithm::from_name(std::str::from_utf8(algorithm).unwrap()).unwrap();
    let params = Params::new(algorithm, &tree.salt).unwrap();
    let root = RootDigest::new(algorithm, &tree.root_digest).unwrap();
    let data = &partition[..tree.image_size as usize];
    let bytes = &partition[tree.tree_offset as usize..][..tree.tree_size as usize];
    let opened = Tree::open(&params, tree.image_size, bytes, &root).unwrap();
    opened.verify_blocks(0, data).unwrap();
    let (built, built_root) = build(&params, data).unwrap();
    assert_eq!((&built[..], built_root), (bytes, root));
}

/// A peer program; says so in one line where it is absent.
fn program(name: &str, package: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|folder| folder.join(name))
        .find(|path| path.is_file());
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "{name} is absent: install {package}");
        eprintln!("skipped: {name} is absent (Debian package {package})");
    }
    found
}

fn test_data(folder: &str) -> Option<PathBuf> {
    let data = std::env::var_os("HOLDFAST_TEST_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    let path = data.join(folder);
    if path.is_dir() {
        return Some(path);
    }
    assert!(std::env::var_os("CI").is_none(), "no test data at {}", path.display());
    eprintln!("skipped: no test data at {} (set HOLDFAST_TEST_DATA)", path.display());
    None
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks_exact(2);
    digits.map(|d| u8::from_str_radix(std::str::from_utf8(d).unwrap(), 16).unwrap()).collect()
}
