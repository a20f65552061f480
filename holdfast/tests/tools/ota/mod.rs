//! `holdfast ota`: updates made, judged and applied by the program.

mod computed;
mod signing;
mod streaming;

use crate::data::{holdfast, program, test_data};
use crate::document::{Reader, blocks};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Output;

const BLOCK: usize = 4096;

fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed | 1;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    })
    .take(length)
    .collect()
}

/// Two builds of two partitions; a third is new in the second build.
fn builds(folder: &Path) {
    for build in ["build1", "build2"] {
        fs::create_dir(folder.join(build)).unwrap();
    }
    let system = [noise(1, 400 * BLOCK), vec![0; 300 * BLOCK], noise(2, 100 * BLOCK)].concat();
    let mut newer = [&noise(3, 3)[..], &system].concat();
    newer[700_000..700_100].fill(1);
    newer.resize(801 * BLOCK, 0);
    let put = |path: &str, bytes: &[u8]| fs::write(folder.join(path), bytes).unwrap();
    put("build1/system.img", &system);
    put("build2/system.img", &newer);
    put("build1/boot.img", &noise(5, 20 * BLOCK));
    put("build2/boot.img", &noise(5, 20 * BLOCK));
    put("build2/vendor.img", &noise(6, 10 * BLOCK));
}

/// Runs `holdfast ota` in a folder.
fn ota(folder: &Path, line: &str) -> Output {
    let place = |word: &str| match word.split_once('@') {
        Some(("", path)) => folder.join(path).display().to_string(),
        _ => word.to_owned(),
    };
    let words: Vec<String> = ["ota"].into_iter().chain(line.split(' ')).map(place).collect();
    holdfast(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

#[track_caller]
fn says(output: &Output, code: i32, what: &str) {
    let text = [&output.stdout[..], &output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(text.contains(what), "{what:?} is not in {text:?}");
}

fn keys(folder: &Path) {
    let status = std::process::Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-sha256", "-subj", "/CN=ota"])
        .args(["-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(status.status.success(), "openssl makes a key");
}

#[test]
fn s2_6_the_page_about_updates_works_as_written() {
    if program("socat", "socat").is_none() || program("busybox", "busybox-static").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    builds(folder.path());
    let mut reader = Reader::at(folder.path());
    // The page has a port; a test takes one that is free.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let said: Vec<String> = blocks("docs/ota.md")
        .iter()
        .map(|block| reader.types(&block.text.replace("8061", &port.to_string())))
        .collect();
    let said = said.join("\n");
    for due in ["full update", "BROTLI_BSDIFF", "holds: device rules", "payload_metadata.bin"] {
        assert!(said.contains(due), "{due} is missing in what was said:\n{said}");
    }
}

#[test]
fn s2_6_the_same_input_gives_the_same_file_and_any_change_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    builds(at);
    keys(at);
    let make = "make @build2 --key @key.pem --cert @cert.pem --device kelp --timestamp 5";
    says(&ota(at, &format!("{make} -o @one.zip")), 0, "signed");
    says(&ota(at, &format!("{make} -o @two.zip")), 0, "signed");
    let one = fs::read(at.join("one.zip")).unwrap();
    assert!(one == fs::read(at.join("two.zip")).unwrap());
    for place in [100, one.len() / 2, one.len() - 2000] {
        let mut altered = one.clone();
        altered[place] ^= 1;
        fs::write(at.join("altered.zip"), altered).unwrap();
        let verdict = ota(at, "verify @altered.zip --cert @cert.pem --json");
        assert_eq!(verdict.status.code(), Some(1), "byte {place}");
        let verdict: Value = serde_json::from_slice(&verdict.stdout).unwrap();
        assert!(verdict["ok"] == false && verdict["reason"].is_string(), "{verdict}");
        let applied = ota(at, "apply @altered.zip --cert @cert.pem --target @never");
        assert_eq!(applied.status.code(), Some(1), "byte {place}");
        assert!(!at.join("never").exists(), "something was written");
    }
    let rules = "verify @one.zip --cert @cert.pem --device";
    says(&ota(at, &format!("{rules} crab")), 1, "this device is crab");
    says(&ota(at, &format!("{rules} kelp --timestamp 6")), 1, "older");
    says(&ota(at, &format!("{rules} kelp --timestamp 5")), 0, "device rules");
}

#[test]
fn s2_6_a_delta_needs_the_images_it_was_made_for_and_resumes() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    builds(at);
    says(&ota(at, "delta --from @build1 --to @build2 --bare -o @delta.bin"), 0, "not signed");
    says(&ota(at, "extract @delta.bin -o @out"), 2, "--source");
    says(&ota(at, "extract @delta.bin -o @out --source @build2"), 1, "not the image");
    says(&ota(at, "extract @delta.bin -o @out --source @build1"), 0, "system.img");
    for name in ["system.img", "boot.img", "vendor.img"] {
        let made = fs::read(at.join("out").join(name)).unwrap();
        assert!(made == fs::read(at.join("build2").join(name)).unwrap(), "{name}");
    }
    let small = fs::metadata(at.join("delta.bin")).unwrap().len();
    assert!(small < 50_000, "{small} bytes");

    // As an interruption leaves it: parts, and a checkpoint that says what is done.
    let file = fs::read(at.join("delta.bin")).unwrap();
    let payload = payload::Payload::open(&file, file.len() as u64).unwrap();
    let total: usize =
        payload.manifest().partitions.iter().map(|update| update.operations.len()).sum();
    for done in 0..=total {
        for name in ["system", "boot", "vendor"] {
            let image = at.join("out").join(format!("{name}.img"));
            fs::rename(&image, image.with_added_extension("part")).unwrap();
        }
        let checkpoint = payload::Checkpoint::new(&payload, done as u64).encode();
        fs::write(at.join("out/.ota-checkpoint"), checkpoint).unwrap();
        let again = ota(at, "extract @delta.bin -o @out --source @build1 --json");
        let told: Value = serde_json::from_slice(&again.stdout).unwrap();
        assert_eq!(told["resumed_at"], done);
    }
    // A checkpoint over parts that are not there: found out, and the next run starts over.
    fs::remove_file(at.join("out/system.img")).unwrap();
    let checkpoint = payload::Checkpoint::new(&payload, total as u64).encode();
    fs::write(at.join("out/.ota-checkpoint"), checkpoint).unwrap();
    says(&ota(at, "extract @delta.bin -o @out --source @build1"), 1, "another hash");
    says(&ota(at, "extract @delta.bin -o @out --source @build1"), 0, "system.img");
}

#[test]
fn s2_6_real_updates_verify_and_give_their_images() {
    let Some(real) = test_data("boot-ota/ota-zip") else { return };
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out").display().to_string();
    let cert = real.join("keys/ota.crt").display().to_string();
    for name in ["pixel_v2_streaming.zip", "pixel_v4_gki_streaming.zip"] {
        let file = real.join(name).display().to_string();
        says(&holdfast(&["ota", "verify", &file, "--cert", &cert]), 0, "whole-file signature");
        let told = holdfast(&["ota", "apply", &file, "--cert", &cert, "--target", &out, "--json"]);
        says(&told, 0, "boot");
        let info = holdfast(&["ota", "info", &file, "--json"]);
        let info: Value = serde_json::from_slice(&info.stdout).unwrap();
        for partition in info["partitions"].as_array().unwrap() {
            let path = format!("{out}/{}.img", partition["name"].as_str().unwrap());
            let hash = crypto::digest::sha256(&fs::read(path).unwrap());
            let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(partition["new"]["sha256"], hash);
        }
    }
}

#[test]
fn wrong_command_lines_and_missing_files_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    builds(at);
    keys(at);
    says(&ota(at, "info @nothing.zip"), 3, "nothing.zip");
    says(&ota(at, "make @build1 -o @a.zip --key @key.pem"), 2, "--cert");
    says(&ota(at, "make @build1 -o @a.zip --level 10"), 2, "--level 10");
    says(&ota(at, "make @build1 -o @nowhere/a.zip"), 3, "nowhere");
    fs::write(at.join("build1/odd.img"), [1; 5000]).unwrap();
    says(&ota(at, "make @build1 -o @a.zip"), 1, "4096");
    assert!(!at.join("a.zip").exists());
    says(&ota(at, "info @build1/boot.img"), 1, "zip");
}
