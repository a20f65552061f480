//! An image that a kernel made, opened from the raw disk. `device/vault-fscrypt` has a test that makes
//! such an image itself, with each kind of policy.

#[allow(dead_code, reason = "shared with another test")]
mod ext4;
mod plain;

use crypto::digest::sha256;
use ext4::Ext4;
use fscrypt::{Error, identifier};
use plain::{Plain, below};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn data() -> Option<PathBuf> {
    let data = std::env::var_os("HOLDFAST_TEST_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    let path = data.join("sync-storage/fscrypt");
    if !path.is_dir() {
        eprintln!("skipped: no test data at {} (set HOLDFAST_TEST_DATA)", path.display());
        return None;
    }
    Some(path)
}

fn hex(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digit).collect()
}

/// Names, contents, holes and links, all as the record says.
#[test]
fn s3_1_1_a_kernels_image_is_opened_from_the_raw_disk() {
    let Some(folder) = data() else { return };
    let image = std::fs::read(folder.join("fscrypt.img.zst")).unwrap();
    let disk = Ext4::new(zstd::decode_all(&image[..]).unwrap());
    let record = std::fs::read(folder.join("fscrypt.json")).unwrap();
    let record: Value = serde_json::from_slice(&record).unwrap();
    let mut files = 0;
    for case in record["cases"].as_array().unwrap() {
        let master = hex(&case["master_key"]);
        let directory = disk.inode(case["dir_ino"].as_u64().unwrap() as u32);
        let found = below(&disk, &directory, &master).unwrap();
        let expected = case["files"].as_array().unwrap();
        let path = |file: &Value| file["path"].as_str().unwrap().to_owned();
        let expected: BTreeMap<_, _> = expected.iter().map(|file| (path(file), file)).collect();
        let names = |map: Vec<&String>| map.into_iter().cloned().collect::<Vec<_>>();
        assert_eq!(names(found.keys().collect()), names(expected.keys().collect()));
        for (path, plain) in &found {
            let (file, place) = (expected[path], format!("{} {path}", case["name"]));
            match plain {
                Plain::Directory => assert_eq!(file["type"], "dir", "{place}"),
                Plain::Link(target) => assert_eq!(file["target"], target.as_str(), "{place}"),
                Plain::File(content) => {
                    assert_eq!(sha256(content)[..], hex(&file["sha256"]), "{place}");
                    files += 1;
                }
            }
        }
        if case["version"] == 2 {
            assert_eq!(identifier(&master)[..], hex(&case["key_identifier"]));
            let other = below(&disk, &directory, &[1; 64]);
            assert_eq!(other, Err(Error::OtherKey));
        }
    }
    assert!(files >= 20, "{files} files");
}
