//! The command line: numbers, abbreviations, exit codes, what goes where.

use super::Bench;
use std::os::unix::fs::PermissionsExt;

#[test]
fn s2_2_the_version_is_avbtool_s() {
    let bench = Bench::new();
    assert_eq!(bench.ok("version"), "avbtool 1.3.0\n");
    bench.ok("make_vbmeta_image --output out.img");
    assert!(bench.info("out.img").contains("Release String:           'avbtool 1.3.0'\n"));
    let long = "0123456789abcdef0123456789abcdef0123456789abcdef";
    bench.ok(&format!("make_vbmeta_image --output out.img --append_to_release_string {long}"));
    let info = bench.info("out.img");
    assert!(info.contains(&format!("'avbtool 1.3.0 {}'\n", &long[..33])), "{info}");
}

#[test]
fn s2_2_an_image_of_nothing_is_a_header() {
    let bench = Bench::new();
    bench.ok("make_vbmeta_image --output out.img --internal_release_string ''");
    let mut expected = vec![0; 256];
    expected[..8].copy_from_slice(b"AVB0\0\0\0\x01");
    assert_eq!(bench.read("out.img"), expected);
    bench.ok("make_vbmeta_image --output out.img --padding_size 0x1000");
    assert_eq!(bench.read("out.img").len(), 4096);
}

#[test]
fn s2_2_the_test_image_is_a_pattern() {
    let bench = Bench::new();
    bench.ok("generate_test_image --image_size 600 --start_byte 250 --output out.img");
    let expected: Vec<u8> = (0..600).map(|at| (250 + at % 256) as u8).collect();
    assert_eq!(bench.read("out.img"), expected);
    let output = bench.avb("generate_test_image --image_size 600 --start_byte 250");
    assert_eq!(output.stdout, expected);
}

#[test]
fn s2_2_required_versions_rise_with_what_is_used() {
    let bench = Bench::new();
    bench.key("key.pem", 2048);
    bench.ok("extract_public_key --key key.pem --output pk.bin");
    bench.image("p.img", 4096);
    bench.ok("add_hash_footer --image p.img --partition_name p --dynamic --do_not_use_ab");
    let hash = "add_hash_footer --partition_size 1048576";
    let tree = "add_hashtree_footer --hash_algorithm sha256";
    for (line, version) in [
        ("make_vbmeta_image", "1.0\n"),
        ("make_vbmeta_image --include_descriptors_from_image p.img", "1.1\n"),
        ("make_vbmeta_image --rollback_index_location 1", "1.2\n"),
        ("make_vbmeta_image --chain_partition x:1:pk.bin", "1.0\n"),
        ("make_vbmeta_image --chain_partition_do_not_use_ab x:1:pk.bin", "1.3\n"),
        (hash, "1.0\n"),
        (&format!("{hash} --use_persistent_digest"), "1.1\n"),
        (&format!("{hash} --do_not_use_ab --rollback_index_location 1"), "1.2\n"),
        (&format!("{hash} --chain_partition_do_not_use_ab x:1:pk.bin"), "1.3\n"),
        (tree, "1.0\n"),
        (&format!("{tree} --check_at_most_once"), "1.1\n"),
        (&format!("{tree} --rollback_index_location 1"), "1.2\n"),
    ] {
        let said = bench.ok(&format!("{line} --print_required_libavb_version"));
        assert_eq!(said, version, "{line}");
    }
}

#[test]
fn s2_2_descriptors_stand_in_avbtool_s_order() {
    let bench = Bench::new();
    bench.key("key.pem", 2048);
    bench.ok("extract_public_key --key key.pem --output pk.bin");
    for (name, salt) in [("b", "01"), ("a", "02"), ("again", "03")] {
        bench.image(&format!("{name}.img"), 5000);
        let partition = if name == "again" { "b" } else { name };
        bench.ok(&format!(
            "add_hash_footer --image {name}.img --partition_name {partition} --dynamic \
             --salt {salt} --prop from:{name}"
        ));
    }
    bench.image("t.img", 8192);
    bench.ok("add_hashtree_footer --image t.img --partition_name a --hash_algorithm sha256");
    bench.ok("make_vbmeta_image --output out.img --kernel_cmdline first --prop k:v --flags 0x1 \
         --chain_partition_do_not_use_ab z:2:pk.bin --chain_partition y:3:pk.bin \
         --include_descriptors_from_image t.img --include_descriptors_from_image b.img \
         --include_descriptors_from_image a.img --include_descriptors_from_image again.img \
         --set_verification_disabled_flag --rollback_index 0x10 --rollback_index_location 1");
    let info = bench.info("out.img");
    let shown: Vec<&str> = info
        .lines()
        .filter(|line| {
            ["Name:", "Prop:", "Cmdline:", "Salt:", "Flags: "].iter().any(|it| line.contains(it))
        })
        .map(|line| line.trim().split_once(": ").map_or("", |(_, value)| value.trim()))
        .collect();
    let tree_salt = shown[shown.len() - 2];
    assert_eq!(
        shown,
        [
            "3",
            "y",
            "0",
            "z",
            "1",
            "k -> 'v'",
            "0",
            "'first'",
            "from -> 'b'",
            "from -> 'a'",
            "from -> 'again'",
            "a",
            "02",
            "0",
            "b",
            "03",
            "0",
            "a",
            tree_salt,
            "0",
        ]
    );
    assert!(info.contains("Rollback Index:           16\n"), "{info}");
    for (line, why) in [
        (
            "--chain_partition x:1:pk.bin --chain_partition y:1:pk.bin",
            "Rollback Index Location 1 is already in use.",
        ),
        ("--chain_partition x:0:pk.bin", "Rollback Index Location 0 is already in use."),
        ("--chain_partition x:-1:pk.bin", "Rollback index location must be 1 or larger."),
        ("--chain_partition x:one:pk.bin", "invalid literal for int() with base 10: 'one'"),
        ("--chain_partition x:1", "Malformed chained partition \"x:1\"."),
        ("--prop novalue", "Malformed property \"novalue\"."),
        ("--prop_from_file novalue", "Malformed property \"novalue\"."),
    ] {
        let said = bench.fails(&format!("make_vbmeta_image --output new.img {line}"), 1);
        assert!(said.contains(why), "{said}");
    }
    assert!(!bench.path("new.img").exists());
}

#[test]
fn s2_2_options_may_be_short_repeated_and_joined() {
    let bench = Bench::new();
    bench.ok(
        "make_vbmeta_image --out=one.img --rollback_index=1 --rollback_index 2 --kernel '-x -y'",
    );
    let info = bench.info("one.img");
    assert!(info.contains("Rollback Index:           2\n"), "{info}");
    assert!(info.contains("Kernel Cmdline:        '-x -y'\n"), "{info}");
    assert!(bench.fails("make_vbmeta_image --chain x:1:y", 2).contains("--chain"));
}

#[test]
fn s2_2_wrong_command_lines_end_with_2() {
    let bench = Bench::new();
    for line in [
        "",
        "no_such_command",
        "info_image",
        "make_vbmeta_image --rollback_index ten",
        "make_vbmeta_image --no_such_option",
        "add_hashtree_footer --partition_size 010",
        "make_certificate --subject a --subject_key b --usage x --usage_for_unlock",
    ] {
        bench.fails(line, 2);
    }
    let said = bench.fails("info_image --image nowhere.img", 2);
    let due = "error: argument --image: can't open 'nowhere.img': \
               [Errno 2] No such file or directory: 'nowhere.img'\n";
    assert!(said.ends_with(due), "{said}");
    bench.fails("make_vbmeta_image --output nowhere/out.img", 2);
    let said = bench.fails("make_vbmeta_image", 1);
    assert!(said.ends_with("No output file given\n"), "{said}");
    let said = bench.fails("add_hash_footer --image x --partition_name x", 1);
    assert!(said.contains("--dynamic_partition_size required when not specifying"), "{said}");
}

#[test]
fn s2_2_outputs_keep_their_mode_and_links() {
    let bench = Bench::new();
    bench.write("old.img", "old");
    std::fs::set_permissions(bench.path("old.img"), PermissionsExt::from_mode(0o640))
        .expect("it is ours");
    std::os::unix::fs::symlink("old.img", bench.path("link.img")).expect("a link");
    bench.ok("make_vbmeta_image --output link.img");
    assert_eq!(&bench.read("old.img")[..4], b"AVB0");
    assert!(bench.path("link.img").is_symlink());
    let mode = std::fs::metadata(bench.path("old.img")).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    assert_eq!(&bench.avb("make_vbmeta_image --output -").stdout[..4], b"AVB0");
    assert_eq!(&bench.avb("make_vbmeta_image --output /dev/stdout").stdout[..4], b"AVB0");
}

#[test]
fn s2_2_a_warning_names_the_default_that_android_refuses() {
    let bench = Bench::new();
    bench.image("p.img", 8192);
    let output = bench.avb("add_hashtree_footer --image p.img --generate_fec");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("Defaulting to sha1 for backwards compatibility."), "{said}");
    assert!(said.contains("The --generate_fec option is deprecated"), "{said}");
}
