//! update_engine's own samples.

use crate::support::{apply_all, has, real_inputs};
use payload::Payload;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

fn unpack(archive: &Path, to: &Path) {
    let status = Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(to).status().unwrap();
    assert!(status.success(), "tar unpacks {}", archive.display());
}

#[test]
fn s2_6_the_sample_payloads_make_the_sample_images() {
    let Some(inputs) = real_inputs("ota-payload") else { return };
    if !has("tar") || !has("xz") || !has("bzip2") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    unpack(&inputs.join("sample_images.tar.bz2"), folder.path());
    unpack(&inputs.join("sample_payloads.tar.xz"), folder.path());
    let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    let old = BTreeMap::from([
        ("kernel", read("disk_ext2_4k_empty.img")),
        ("root", read("disk_sqfs_empty.img")),
    ]);
    for (name, minor) in [("full_payload.bin", 0), ("delta_payload.bin", 6)] {
        let file = read(name);
        let payload = Payload::open(&file, file.len() as u64).unwrap();
        assert_eq!(payload.manifest().minor_version(), minor, "{name}");
        let made = apply_all(&file, &old).unwrap();
        assert!(made["kernel"] == read("disk_ext2_4k.img"), "{name}");
        assert!(made["root"] == read("disk_sqfs_default.img"), "{name}");
        for update in &payload.manifest().partitions {
            let hash = crypto::digest::sha256(&made[&update.partition_name]);
            assert_eq!(update.new_partition_info.as_ref().unwrap().hash, hash, "{name}");
        }
    }
}
