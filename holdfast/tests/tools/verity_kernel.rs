//! The kernel's dm-verity reads what `holdfast verity` makes: it accepts what is whole, refuses a
//! flipped byte, and repairs with our parity.

use crate::data::holdfast;
use crate::guest::Guest;
use avb::{Descriptor, Footer, HashName, HashtreeDescriptor, VbmetaBuilder, VbmetaImage, Version};
use serde_json::Value;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use verity::{FecLayout, HashAlgorithm, Params, RootDigest, Table, TableFec};

const BLOCK: usize = 4096;
const IMAGE_BLOCKS: usize = 256;
const IMAGE_BYTES: usize = IMAGE_BLOCKS * BLOCK;

/// What the guest does with each table on its list.
const SCRIPT: &str = r#"
check() {
  dmsetup create --readonly --noudevsync "$1" --table "$3" || echo "HOLDFAST $1 no device"
  if sum=$(sha256sum "$2"); then sum=${sum%% *}; else sum=error; fi
  set -- "$1" "$sum" $(dmsetup status "$1")
  echo "HOLDFAST $1 $2 $6"
}
"#;

#[test]
fn s2_2_the_kernel_accepts_our_images_refuses_a_flipped_byte_and_repairs_with_our_parity() {
    let Some(guest) = Guest::new() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let image: Vec<u8> =
        (0..IMAGE_BYTES).map(|at| (at * 31 + at / 257 + at / 70_001) as u8).collect();
    let sum = hex(&crypto::digest::sha256(&image));

    // One disk with image, tree, parity, vbmeta and footer; and again with a flipped byte.
    avb_image(&path("avb"), &image);
    let mut flipped = std::fs::read(path("avb")).expect("it is there");
    flipped[200 * BLOCK + 7] ^= 1;
    std::fs::write(path("flipped"), flipped).expect("it is written");

    // An image of its own, its tree with a superblock and parity behind it; then damage in
    // several blocks of each codeword.
    std::fs::write(path("data"), &image).expect("it is written");
    let fec = format!("--fec-device={}", path("hash").display());
    let fec = [fec.as_str(), "--fec-offset=65536", "--fec-roots=24"];
    let made = run("build", &path("data"), &path("hash"), &[&fec[..], &["--hash=sha512"]].concat());
    let root = made["root_hash"].as_str().expect("a root hash").to_owned();
    let names = ["--data-name=/dev/vdc", "--hash-name=/dev/vdd", "--fec-name=/dev/vdd"];
    let with_root = [&fec[..], &names, &[&root]].concat();
    let separate = run("table", &path("data"), &path("hash"), &with_root);
    let mut damaged = image.clone();
    for block in 20..24 {
        damaged[block * BLOCK..][..BLOCK].fill(0xee);
    }
    std::fs::write(path("data"), damaged).expect("it is written");

    // Image and tree in one file, BLAKE2b, no salt.
    std::fs::write(path("blake2b"), &image).expect("it is written");
    let offset = format!("--hash-offset={IMAGE_BYTES}");
    let shape = [offset.as_str(), "--data-blocks=256", "--hash=blake2b-256", "--salt=-"];
    let made = run("build", &path("blake2b"), &path("blake2b"), &shape);
    let root = made["root_hash"].as_str().expect("a root hash");
    let names = ["--data-name=/dev/vde", "--hash-name=/dev/vde", &offset, root];
    let blake2b = run("table", &path("blake2b"), &path("blake2b"), &names);

    let line = |table: &Value| table["table"].as_str().expect("a table").to_owned();
    let tables = [
        ("avb", avb_table(&path("avb"), "/dev/vda", false)),
        ("flipped", avb_table(&path("flipped"), "/dev/vdb", false)),
        ("repaired", avb_table(&path("flipped"), "/dev/vdb", true)),
        ("separate", line(&separate)),
        ("blake2b", line(&blake2b)),
    ];
    let mut script = SCRIPT.to_owned();
    for (number, (name, table)) in tables.iter().enumerate() {
        writeln!(script, "check {name} /dev/dm-{number} '{table}'").expect("a text grows");
    }
    let disks: Vec<PathBuf> =
        ["avb", "flipped", "data", "hash", "blake2b"].iter().map(|name| path(name)).collect();
    let said = guest.run(folder.path(), &disks, &script);
    for due in [
        format!("HOLDFAST avb {sum} V"),
        "HOLDFAST flipped error C".to_owned(),
        format!("HOLDFAST repaired {sum} V"),
        format!("HOLDFAST separate {sum} V"),
        format!("HOLDFAST blake2b {sum} V"),
        "data block 200 is corrupted".to_owned(),
    ] {
        assert!(said.contains(&due), "{due:?} is missing in what the guest said:\n{said}");
    }
}

/// A partition as Android has it: image, tree, parity, vbmeta, footer.
fn avb_image(path: &Path, image: &[u8]) {
    std::fs::write(path, image).expect("it is written");
    let params = Params::new(HashAlgorithm::Sha256, &[0xab; 32]).expect("good parameters");
    let geometry = verity::Geometry::new(&params, image.len() as u64).expect("there is data");
    let fec_at = image.len() + geometry.tree_bytes();
    let (tree_offset, fec_offset, fec, salt) = (
        format!("--hash-offset={}", image.len()),
        format!("--fec-offset={fec_at}"),
        format!("--fec-device={}", path.display()),
        format!("--salt={}", "ab".repeat(32)),
    );
    let made = run(
        "build",
        path,
        path,
        &[&tree_offset, &fec_offset, &fec, &salt, "--no-superblock", "--data-blocks=256"],
    );
    let descriptor = HashtreeDescriptor {
        dm_verity_version: 1,
        image_size: image.len() as u64,
        tree_offset: image.len() as u64,
        tree_size: geometry.tree_bytes() as u64,
        data_block_size: BLOCK as u32,
        hash_block_size: BLOCK as u32,
        fec_num_roots: 2,
        fec_offset: fec_at as u64,
        fec_size: made["fec"]["bytes"].as_u64().expect("parity"),
        hash_algorithm: HashName::from_bytes(b"sha256"),
        partition_name: "system".into(),
        salt: vec![0xab; 32],
        root_digest: unhex(made["root_hash"].as_str().expect("a root hash")),
        flags: 0,
    };
    let builder =
        VbmetaBuilder { descriptors: vec![Descriptor::Hashtree(descriptor)], ..Default::default() };
    let vbmeta = builder.unsigned().expect("a small image");
    let mut partition = std::fs::read(path).expect("it is there");
    let footer = Footer {
        version: Version { major: 1, minor: 0 },
        original_image_size: image.len() as u64,
        vbmeta_offset: partition.len() as u64,
        vbmeta_size: vbmeta.len() as u64,
    };
    partition.extend(vbmeta);
    partition.resize(partition.len().next_multiple_of(BLOCK) + BLOCK - 64, 0);
    partition.extend(footer.encode());
    std::fs::write(path, partition).expect("it is written");
}

/// The table that the descriptor in a partition asks for.
fn avb_table(path: &Path, device: &str, with_fec: bool) -> String {
    let partition = std::fs::read(path).expect("it is there");
    let footer = Footer::decode_strict(partition.last_chunk().expect("a footer")).expect("sound");
    let vbmeta = &partition[footer.vbmeta_offset as usize..][..footer.vbmeta_size as usize];
    let descriptors = VbmetaImage::parse(vbmeta).expect("sound").descriptors().expect("sound");
    let [Descriptor::Hashtree(tree)] = &descriptors[..] else { panic!("one descriptor") };
    let params = Params::new(HashAlgorithm::Sha256, &tree.salt).expect("good parameters");
    let blocks = tree.fec_offset / BLOCK as u64;
    let layout = FecLayout::new(tree.data_block_size, blocks, tree.fec_num_roots).expect("sound");
    assert_eq!(layout.parity_bytes(), tree.fec_size);
    let table = Table {
        data_device: device,
        hash_device: device,
        params: &params,
        data_blocks: tree.image_size / BLOCK as u64,
        hash_start: tree.tree_offset / BLOCK as u64,
        root: RootDigest::new(HashAlgorithm::Sha256, &tree.root_digest).expect("32 bytes"),
        fec: with_fec.then_some(TableFec { device, start: blocks, layout }),
        options: &[],
    };
    table.line().expect("good sizes")
}

fn run(command: &str, data: &Path, hash: &Path, more: &[&str]) -> Value {
    let (data, hash) = (data.to_string_lossy(), hash.to_string_lossy());
    let output = holdfast(&[&["verity", command, &data, &hash, "--json"], more].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command} {more:?}: {said}");
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal");
    (0..text.len()).step_by(2).map(digit).collect()
}
