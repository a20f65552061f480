//! Commands that change images, and avbtool's faults that are not ours.

use super::Bench;

const TREE: &str = "add_hashtree_footer --image p.img --partition_name p --salt aa \
                    --hash_algorithm sha256 --partition_size 1048576";

/// Ranges of the tree and of the error correction data.
fn areas(bench: &Bench) -> [std::ops::Range<usize>; 2] {
    let info = bench.ok("info_image --image p.img --json");
    let info: serde_json::Value = serde_json::from_str(&info).expect("JSON");
    let tree = &info["descriptors"][0];
    let at = |name: &str| tree[name].as_u64().expect("a number") as usize;
    [
        at("tree_offset")..at("tree_offset") + at("tree_size"),
        at("fec_offset")..at("fec_offset") + at("fec_size"),
    ]
}

#[test]
fn s2_2_zeroing_touches_tree_and_error_correction_only() {
    let bench = Bench::new();
    for options in ["", "--do_not_generate_fec", "--block_size 1024", "--block_size 16384"] {
        bench.image("p.img", 300_000);
        bench.ok(&format!("{TREE} {options}"));
        let mut expected = bench.read("p.img");
        for area in areas(&bench) {
            if !area.is_empty() {
                expected[area.clone()].fill(0);
                expected[area.start..area.start + 8].copy_from_slice(b"ZeRoHaSH");
            }
        }
        bench.ok("zero_hashtree --image p.img");
        assert!(bench.read("p.img") == expected, "{options}");
        let verify = "verify_image --image p.img";
        let said = bench.fails(verify, 1);
        assert!(said.contains("hashtree of p.img contains invalid data"), "{said}");
        assert!(said.ends_with("Error verifying descriptor.\n"), "{said}");
        let said = bench.ok(&format!("{verify} --accept_zeroed_hashtree"));
        let due = "p: skipping verification since hashtree is zeroed and \
                   --accept_zeroed_hashtree was given\n";
        assert!(said.ends_with(due), "{said}");
    }
}

/// avbtool destroys the vbmeta image here.
#[test]
fn s2_2_zeroing_an_image_of_one_block_keeps_its_vbmeta() {
    let bench = Bench::new();
    bench.image("p.img", 4096);
    bench.ok(&format!("{TREE} --do_not_generate_fec"));
    assert!(areas(&bench)[0].is_empty());
    let before = bench.read("p.img");
    bench.ok("zero_hashtree --image p.img");
    assert_eq!(bench.read("p.img"), before);
    bench.ok("verify_image --image p.img");
}

/// avbtool cannot do this: it opens the image for reading, then cuts the old footer off.
#[test]
fn s2_2_an_old_footer_may_stay_while_a_vbmeta_is_written_elsewhere() {
    let bench = Bench::new();
    let add = "add_hash_footer --image p.img --partition_name p --salt aa --partition_size 262144";
    bench.image("p.img", 5000);
    bench.ok(&format!("{add} --output_vbmeta_image first.bin"));
    let before = bench.read("p.img");
    bench.ok(&format!("{add} --output_vbmeta_image second.bin --do_not_append_vbmeta_image"));
    assert_eq!(bench.read("p.img"), before);
    assert_eq!(bench.read("first.bin"), bench.read("second.bin"));
}

#[test]
fn s2_2_slot_metadata_is_that_of_libavb_ab() {
    let bench = Bench::new();
    bench.write("misc.img", [0xff; 4096]);
    bench.ok("set_ab_metadata --misc_image misc.img");
    let misc = bench.read("misc.img");
    assert_eq!(
        misc[2048..2076],
        *b"\0AB0\x01\0\0\0\x0f\x07\0\0\x0e\x07\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
    );
    let crc = crc32fast::hash(&misc[2048..2076]).to_be_bytes();
    assert_eq!(misc[2076..2080], crc);
    assert!(misc[..2048].iter().chain(&misc[2080..]).all(|&byte| byte == 0xff));
    bench.ok("set_ab_metadata --misc_image misc.img --slot_data 1:2:3:4:5:0");
    assert_eq!(bench.read("misc.img")[2056..2064], [1, 2, 1, 0, 4, 5, 0, 0]);
    let after = bench.read("misc.img");
    for data in ["1:2:3", "a:2:3:4:5:6", "256:0:0:0:0:0", "1:2:3:4:5:6:7"] {
        let said =
            bench.fails(&format!("set_ab_metadata --misc_image misc.img --slot_data {data}"), 1);
        assert!(said.contains(&format!("Malformed slot data \"{data}\".")), "{said}");
    }
    assert_eq!(bench.read("misc.img"), after);
    bench.fails("set_ab_metadata --misc_image nowhere.img", 2);
}

#[test]
fn s2_2_commands_that_need_a_footer_say_so() {
    let bench = Bench::new();
    bench.ok("make_vbmeta_image --output p.img --padding_size 4096");
    for line in [
        "erase_footer --image p.img",
        "zero_hashtree --image p.img",
        "resize_image --image p.img --partition_size 1048576",
        "extract_vbmeta_image --image p.img --output out.bin",
    ] {
        let said = bench.fails(line, 1);
        assert!(said.ends_with("Given image does not have a footer.\n"), "{said}");
    }
    bench.image("q.img", 4096);
    bench.ok("add_hash_footer --image q.img --partition_name q --dynamic_partition_size");
    for (line, why) in [
        ("erase_footer --image q.img --keep_hashtree", "no hashtree descriptor was found."),
        ("zero_hashtree --image q.img", "No hashtree descriptor was found."),
        (
            "make_vbmeta_image --output out.bin --setup_rootfs_from_kernel q.img",
            "No hashtree descriptor in given image",
        ),
    ] {
        let said = bench.fails(line, 1);
        assert!(said.contains(why), "{said}");
    }
    let said = bench.fails("info_image --image /dev/null", 1);
    assert!(said.contains("Given image does not look like a vbmeta image."), "{said}");
}

#[test]
fn s2_2_a_footer_that_lies_changes_nothing() {
    let bench = Bench::new();
    bench.image("p.img", 10_000);
    bench.ok("add_hash_footer --image p.img --partition_name p --dynamic_partition_size");
    let good = bench.read("p.img");
    let footer = good.len() - 64;
    for (at, value) in [(12, u64::MAX), (20, u64::MAX - 100), (28, u64::MAX), (12, 1 << 40)] {
        let mut bad = good.clone();
        bad[footer + at..footer + at + 8].copy_from_slice(&value.to_be_bytes());
        bench.write("p.img", &bad);
        for line in [
            "add_hash_footer --image p.img --partition_name p --partition_size 262144",
            "add_hashtree_footer --image p.img --partition_size 262144",
            "append_vbmeta_image --image p.img --vbmeta_image p.img --partition_size 262144",
            "resize_image --image p.img --partition_size 1048576",
            "erase_footer --image p.img",
            "zero_hashtree --image p.img",
            "verify_image --image p.img",
        ] {
            if !bench.avb(line).status.success() {
                assert!(bench.read("p.img") == bad, "{line} with {value:#x} at {at}");
            }
            bench.write("p.img", &bad);
        }
    }
}
