//! Hash trees and error correction that devices compute themselves.

use super::{BLOCK, noise, ota, says};
use crate::data::holdfast;
use serde_json::Value;
use std::fs;
use std::path::Path;

/// Images in a folder, protected as AVB has it: data, hash tree, error correction, footer.
fn protected(folder: &Path, images: &[(&str, Vec<u8>, &str)]) {
    fs::create_dir(folder).unwrap();
    for (name, bytes, options) in images {
        let path = folder.join(format!("{name}.img"));
        fs::write(&path, bytes).unwrap();
        let path = path.display().to_string();
        let size = (bytes.len() + 40 * BLOCK).to_string();
        let mut line = vec!["avb", "add_hashtree_footer", "--image", &path];
        line.extend(["--partition_name", name, "--partition_size", &size, "--salt", "aabb"]);
        line.extend(options.split(' '));
        says(&holdfast(&line), 0, "");
    }
}

/// What `info` says of a payload's partition.
fn partition(file: &Path, name: &str) -> Value {
    let told = holdfast(&["ota", "info", &file.display().to_string(), "--json"]);
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    let partitions = told["partitions"].as_array().unwrap();
    partitions.iter().find(|it| it["name"] == name).unwrap().clone()
}

#[track_caller]
fn same(folder: &Path, one: &str, other: &str) {
    let read = |path: &str| fs::read(folder.join(path)).unwrap();
    assert!(read(one) == read(other), "{one} is not {other}");
}

#[test]
fn s2_6_updates_without_hash_trees_are_smaller_and_give_the_same_images() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let system = noise(1, 300 * BLOCK);
    let mut newer = system.clone();
    newer[..10 * BLOCK].copy_from_slice(&noise(5, 10 * BLOCK));
    let build = |system| {
        [
            ("system", system, "--hash_algorithm sha256"),
            ("vendor", noise(2, 200 * BLOCK), "--hash_algorithm sha1 --do_not_generate_fec"),
            ("odm", noise(3, 9 * BLOCK), "--hash_algorithm blake2b-256 --fec_num_roots 5"),
        ]
    };
    protected(&at.join("old"), &build(system));
    protected(&at.join("new"), &build(newer));

    says(&ota(at, "make @new --bare -o @plain.bin"), 0, "bytes");
    says(&ota(at, "make @new --bare --device-verity -o @full.bin"), 0, "bytes");
    let size = |name: &str| fs::metadata(at.join(name)).unwrap().len();
    // 3 blocks of the system's tree and 4 of its parity, 3 of the vendor's tree …
    assert!(size("full.bin") + 7 * BLOCK as u64 <= size("plain.bin"));
    for (name, fec) in [("system", true), ("vendor", false), ("odm", true)] {
        let told = partition(&at.join("full.bin"), name);
        assert_eq!((&told["hash_tree"], &told["fec"]), (&true.into(), &fec.into()), "{name}");
    }
    says(&ota(at, "extract @full.bin -o @out"), 0, "system.img");
    let delta = "delta --from @old --to @new --bare";
    says(&ota(at, &format!("{delta} -o @plain-delta.bin")), 0, "bytes");
    says(&ota(at, &format!("{delta} --device-verity -o @delta.bin")), 0, "bytes");
    assert!(size("delta.bin") + 4 * BLOCK as u64 <= size("plain-delta.bin"));
    says(&ota(at, "extract @delta.bin -o @patched --source @old"), 0, "system.img");
    for name in ["system", "vendor", "odm"] {
        same(at, &format!("out/{name}.img"), &format!("new/{name}.img"));
        same(at, &format!("patched/{name}.img"), &format!("new/{name}.img"));
    }
}

#[test]
fn s2_6_a_tree_that_nobody_can_compute_stays_in_the_update() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    protected(&at.join("new"), &[("system", noise(1, 300 * BLOCK), "--hash_algorithm sha256")]);
    let path = at.join("new/system.img");
    let mut image = fs::read(&path).unwrap();
    // The first byte of the tree.
    image[300 * BLOCK] ^= 1;
    fs::write(&path, image).unwrap();
    fs::write(at.join("new/boot.img"), noise(4, 5 * BLOCK)).unwrap();
    says(&ota(at, "make @new --bare --device-verity -o @full.bin"), 0, "bytes");
    assert_eq!(partition(&at.join("full.bin"), "system")["hash_tree"], false);
    assert_eq!(partition(&at.join("full.bin"), "boot")["hash_tree"], false);
    says(&ota(at, "extract @full.bin -o @out"), 0, "system.img");
    same(at, "out/system.img", "new/system.img");
}
