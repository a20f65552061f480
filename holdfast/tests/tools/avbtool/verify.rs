//! `verify_image` and `info_image` on images that are not as they should be.

use super::Bench;
use serde_json::Value;

/// vbmeta.img, signed, with the descriptors of boot.img (hash) and system.img (hashtree).
fn images() -> Bench {
    let bench = Bench::new();
    bench.key("key.pem", 2048);
    bench.image("boot.img", 50_000);
    bench.image("system.img", 80 * 4096);
    bench.ok("add_hash_footer --image boot.img --partition_name boot --partition_size 262144");
    bench.ok(
        "add_hashtree_footer --image system.img --partition_name system --hash_algorithm sha256 \
         --partition_size 1048576",
    );
    bench.ok("make_vbmeta_image --output vbmeta.img --algorithm SHA256_RSA2048 --key key.pem \
         --include_descriptors_from_image boot.img --include_descriptors_from_image system.img");
    bench
}

fn flip(bench: &Bench, name: &str, at: usize) {
    let mut bytes = bench.read(name);
    bytes[at] ^= 1;
    bench.write(name, bytes);
}

#[test]
fn s2_2_every_part_of_an_image_is_verified() {
    let bench = images();
    let said = bench.ok("verify_image --image vbmeta.img --key key.pem");
    assert_eq!(
        said,
        "Verifying image vbmeta.img using key at key.pem\n\
         vbmeta: Successfully verified SHA256_RSA2048 vbmeta struct in vbmeta.img\n\
         boot: Successfully verified sha256 hash of boot.img for image of 50000 bytes\n\
         system: Successfully verified sha256 hashtree of system.img for image of 327680 bytes\n"
    );
    let size = bench.read("vbmeta.img").len();
    for (name, at, why) in [
        ("vbmeta.img", 130, "Signature check failed for SHA256_RSA2048 vbmeta struct vbmeta.img"),
        ("vbmeta.img", 260, "Signature check failed"),
        ("vbmeta.img", 300, "Signature not correct"),
        ("vbmeta.img", size - 1, "Signature check failed"),
        ("boot.img", 49_999, "sha256 digest of boot.img does not match digest in descriptor"),
        ("system.img", 5000, "hashtree of system.img does not match descriptor"),
        ("system.img", 80 * 4096 + 3, "hashtree of system.img contains invalid data"),
    ] {
        flip(&bench, name, at);
        let said = bench.fails("verify_image --image vbmeta.img", 1);
        assert!(said.contains(why), "{name} {at}: {said}");
        flip(&bench, name, at);
    }
    bench.ok("verify_image --image vbmeta.img");
    bench.key("other.pem", 2048);
    let said = bench.fails("verify_image --image vbmeta.img --key other.pem", 1);
    assert!(said.contains("Embedded public key does not match given key."), "{said}");
    std::fs::remove_file(bench.path("boot.img")).expect("it is there");
    let said = bench.fails("verify_image --image vbmeta.img", 1);
    assert!(said.contains("[Errno 2] No such file or directory: 'boot.img'"), "{said}");
}

#[test]
fn s2_2_an_image_in_another_folder_finds_those_beside_it() {
    let bench = images();
    std::fs::create_dir(bench.path("out")).expect("a folder");
    for name in ["vbmeta.img", "boot.img", "system.img"] {
        std::fs::rename(bench.path(name), bench.path("out").join(name)).expect("they move");
    }
    let said = bench.ok("verify_image --image out/vbmeta.img");
    assert!(said.contains("hash of out/boot.img for"), "{said}");
    assert_eq!(bench.ok("print_partition_digests --image out/vbmeta.img").lines().count(), 2);
}

#[test]
fn s2_2_json_says_the_same() {
    let bench = images();
    let verdict = |line: &str, code: i32| -> Value {
        let output = bench.avb(line);
        assert_eq!(output.status.code(), Some(code));
        serde_json::from_slice(&output.stdout).expect("one JSON object")
    };
    let good = verdict("verify_image --image vbmeta.img --json", 0);
    assert_eq!(good["verified"], true);
    assert_eq!(good["checks"].as_array().map(Vec::len), Some(4));
    flip(&bench, "boot.img", 0);
    let bad = verdict("verify_image --image vbmeta.img --json", 1);
    assert_eq!(
        (&bad["verified"], &bad["reason"]),
        (&false.into(), &"Error verifying descriptor.".into())
    );
    let info = verdict("info_image --image boot.img --json", 0);
    assert_eq!(info["footer"]["original_image_size"], 50_000);
    assert_eq!(info["descriptors"][0]["partition_name"], "boot");
    assert_eq!(info["algorithm"], "NONE");
    let digest = verdict("calculate_vbmeta_digest --image vbmeta.img --json", 0);
    let text = bench.ok("calculate_vbmeta_digest --image vbmeta.img");
    assert_eq!(digest["digest"], text.trim());
    let cmdline = verdict("calculate_kernel_cmdline --image vbmeta.img --json", 0);
    assert_eq!(cmdline["cmdline"], "");
}

/// avbtool accepts this in silence; no device does.
#[test]
fn s2_2_a_chained_image_of_another_key_is_pointed_out() {
    let bench = images();
    bench.key("other.pem", 2048);
    bench.ok("extract_public_key --key other.pem --output other.bin");
    bench.ok("make_vbmeta_image --output top.img --algorithm SHA256_RSA2048 --key key.pem \
         --chain_partition vbmeta:1:other.bin");
    let output = bench.avb("verify_image --image top.img --follow_chain_partitions");
    assert!(output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("vbmeta.img is not signed with the key of its chain"), "{said}");
}

#[test]
fn s2_2_the_vbmeta_digest_counts_chained_images() {
    let bench = images();
    bench.ok("extract_public_key --key key.pem --output key.bin");
    bench.ok("make_vbmeta_image --output top.img --chain_partition vbmeta:1:key.bin");
    let both = [bench.read("top.img"), bench.read("vbmeta.img")].concat();
    let digest = |bytes: &[u8]| -> String {
        crypto::digest::sha256(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let line = "calculate_vbmeta_digest --image top.img";
    assert_eq!(bench.ok(line), format!("{}\n", digest(&both)));
    assert_eq!(bench.ok(&format!("{line} --hash_algorithm sha512")).len(), 129);
    let said = bench.fails(&format!("{line} --hash_algorithm crc32"), 1);
    assert!(said.contains("unsupported hash type crc32"), "{said}");
}

#[test]
fn s2_2_an_image_leads_into_no_other_folder() {
    let bench = images();
    bench.ok("extract_public_key --key key.pem --output key.bin");
    bench.ok("make_vbmeta_image --output a.img --chain_partition ../a:1:key.bin");
    let said = bench.fails("calculate_vbmeta_digest --image a.img", 1);
    assert!(said.contains(r#"a partition cannot be called "../a""#), "{said}");
}

#[test]
fn s2_2_partitions_that_chain_in_a_circle_end() {
    let bench = images();
    bench.ok("extract_public_key --key key.pem --output key.bin");
    bench.ok("make_vbmeta_image --output a.img --chain_partition b:1:key.bin");
    bench.ok("make_vbmeta_image --output b.img --chain_partition a:1:key.bin");
    let said = bench.fails("print_partition_digests --image a.img", 1);
    assert!(said.contains("without end"), "{said}");
}

#[test]
fn s2_2_unknown_descriptors_and_odd_values_show_as_in_python() {
    let bench = Bench::new();
    bench.ok(r#"make_vbmeta_image --output p.img --prop 'a:say "hi"' --prop b:c"#);
    let mut bytes = bench.read("p.img");
    // The second property gets a tag that nobody knows, the first one a value with both quotes.
    let second = 256 + 48;
    bytes[second + 7] = 9;
    let text = bytes.windows(8).position(|part| part == b"say \"hi\"").expect("the value");
    bytes[text] = b'\'';
    bench.write("p.img", bytes);
    let info = bench.info("p.img");
    assert!(info.contains(r#"    Prop: a -> '\'ay "hi"'"#), "{info}");
    let unknown = r#"    Unknown descriptor:
      Tag:  9
      Data: "b'\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x01b\\x00c\\x00\\x00\\x00\\x00\\x00'" (24 bytes)
"#;
    assert!(info.contains(unknown), "{info}");
}

#[test]
fn s2_2_damaged_images_are_refused_without_a_crash() {
    let bench = images();
    let good = bench.read("vbmeta.img");
    for at in 0..256 {
        let mut bad = good.clone();
        bad[at] = !bad[at];
        bench.write("bad.img", &bad);
        if at % 16 == 0 || (12..128).contains(&at) {
            let code = bench.avb("info_image --image bad.img").status.code();
            assert!(matches!(code, Some(0 | 1)), "byte {at}: {code:?}");
        }
    }
    for size in (0..good.len()).step_by(61) {
        bench.write("bad.img", &good[..size]);
        let code = bench.avb("verify_image --image bad.img").status.code();
        assert_eq!(code, Some(1), "{size} bytes");
    }
}
