//! What AOSP's avbtool_unittest.cc expects, with AOSP's keys.

use super::{Bench, expand, lines, sparse_of};

const SIGN: &str =
    "--algorithm SHA256_RSA2048 --key testkey_rsa2048.pem --internal_release_string ''";

/// Header lines of an image that [`SIGN`] signed.
fn header(minor: u32, sparse: &str, auxiliary: u32) -> String {
    format!(
        "Minimum libavb version:   1.{minor}{sparse}\n\
         Header Block:             256 bytes\n\
         Authentication Block:     320 bytes\n\
         Auxiliary Block:          {auxiliary} bytes\n\
         Public key (sha1):        cdbb77177f731920bbe0a0f94f84d9038ae0617d\n\
         Algorithm:                SHA256_RSA2048\n\
         Rollback Index:           0\n\
         Flags:                    0\n\
         Rollback Index Location:  0\n\
         Release String:           ''\n\
         Descriptors:\n"
    )
}

fn footer(image: u64, original: u64, offset: u64, size: u64) -> String {
    format!(
        "Footer version:           1.0\n\
         Image size:               {image} bytes\n\
         Original image size:      {original} bytes\n\
         VBMeta offset:            {offset}\n\
         VBMeta size:              {size} bytes\n\
         --\n"
    )
}

/// 1028 KiB with runs of one value in it, as AddHashFooterTest makes them.
fn rootfs() -> Vec<u8> {
    let runs = [5_000..105_000, 205_000..305_000, 505_000..605_000_usize];
    let byte = |at: usize| {
        let mask = if runs.iter().any(|run| run.contains(&at)) { 3 } else { 0xff };
        at as u8 & mask
    };
    (0..1028 * 1024).map(byte).collect()
}

#[test]
fn s2_2_shows_properties_and_blobs() {
    let Some(bench) = Bench::with_aosp_data() else { return };
    bench.ok(&format!(
        "make_vbmeta_image --output vbmeta.img {SIGN} --prop foo:brillo --prop bar:chromeos \
         --prop prisoner:24601 --prop hexnumber:0xcafe --prop hexnumber_capital:0xCAFE \
         --prop large_hexnumber:0xfedcba9876543210 \
         --prop larger_than_uint64:0xfedcba98765432101 --prop almost_a_number:423x \
         --prop_from_file blob:small_blob.bin --prop_from_file large_blob:large_blob.bin"
    ));
    let expected = header(0, "", 3200)
        + &lines(
            r"
    Prop: foo -> 'brillo'
    Prop: bar -> 'chromeos'
    Prop: prisoner -> '24601'
    Prop: hexnumber -> '0xcafe'
    Prop: hexnumber_capital -> '0xCAFE'
    Prop: large_hexnumber -> '0xfedcba9876543210'
    Prop: larger_than_uint64 -> '0xfedcba98765432101'
    Prop: almost_a_number -> '423x'
    Prop: blob -> '\x00\x00brillo ftw!\x00\x00\x00\x00\x00\x00\x00\n'
    Prop: large_blob -> (2048 bytes)",
        );
    assert_eq!(bench.info("vbmeta.img"), expected);
}

#[test]
fn s2_2_adds_hash_footers_to_raw_and_sparse_images() {
    let Some(bench) = Bench::with_aosp_data() else { return };
    bench.write("raw.img", rootfs());
    bench.write("sparse.img", sparse_of(&rootfs()));
    let descriptor = lines(
        "
    Hash descriptor:
      Image Size:            1052672 bytes
      Hash Algorithm:        sha256
      Partition Name:        foobar
      Salt:                  d00df00d
      Digest:                9a58cc996d405e08a1e00f96dbfe9104fedf41cb83b1f5e4ed357fbcf58d88d9
      Flags:                 0",
    );
    for (image, sparse) in [("raw.img", ""), ("sparse.img", " (Sparse)")] {
        let add = format!(
            "add_hash_footer --salt d00df00d --hash_algorithm sha256 --image {image} \
             --partition_size 1572864 --partition_name foobar {SIGN} --output_vbmeta out.bin"
        );
        let before = bench.read(image);
        // Twice: what is there is replaced.
        for _ in 0..2 {
            bench.ok(&add);
            let expected = header(0, sparse, 704) + &descriptor;
            assert_eq!(bench.info(image), footer(1572864, 1052672, 1052672, 1280) + &expected);
            assert_eq!(bench.info("out.bin"), header(0, "", 704) + &descriptor);
            bench.ok(&format!("extract_vbmeta_image --image {image} --output extracted.bin"));
            assert_eq!(bench.read("extracted.bin"), bench.read("out.bin"));
        }
        bench.fails(&format!("resize_image --image {image} --partition_size 1036288"), 1);
        bench.ok(&format!("resize_image --image {image} --partition_size 1310720"));
        let expected = header(0, sparse, 704) + &descriptor;
        assert_eq!(bench.info(image), footer(1310720, 1052672, 1052672, 1280) + &expected);
        bench.ok(&format!("erase_footer --image {image}"));
        assert_eq!(bench.read(image), before);
        bench.ok(&format!("{add}_2nd --do_not_append_vbmeta_image"));
        assert_eq!(bench.read(image), before);
        assert_eq!(bench.read("out.bin_2nd"), bench.read("out.bin"));
    }
}

#[test]
fn s2_2_leaves_digests_to_the_device_where_it_is_told_to() {
    let Some(bench) = Bench::with_aosp_data() else { return };
    let digest = "91386fea3e251ad0c2cb6859e4f4772f37fdb69f17d46636ddc9e7fbfd3bf3d0";
    for (options, salt, digest, flags) in [
        ("--use_persistent_digest", "", "", 0),
        ("--salt d00df00d --do_not_use_ab", "d00df00d", digest, 1),
        ("--use_persistent_digest --do_not_use_ab", "", "", 1),
    ] {
        bench.image("foobar.img", 1024);
        bench.ok(&format!(
            "add_hash_footer --hash_algorithm sha256 --image foobar.img --partition_size 1048576 \
             --partition_name foobar {SIGN} {options}"
        ));
        let expected = footer(1048576, 1024, 4096, 1280)
            + &header(1, "", 704)
            + &format!(
                "    Hash descriptor:\n      \
                 Image Size:            1024 bytes\n      \
                 Hash Algorithm:        sha256\n      \
                 Partition Name:        foobar\n      \
                 Salt:                  {salt}\n      \
                 Digest:                {digest}\n      \
                 Flags:                 {flags}\n"
            );
        assert_eq!(bench.info("foobar.img"), expected, "{options}");
    }
}

/// A hashtree descriptor of AOSP's tests.
fn hashtree(image: u64, tree: u64, fec: (u32, u64, u64), algorithm: &str, rest: &str) -> String {
    let (roots, offset, size) = fec;
    format!(
        "    Hashtree descriptor:\n      \
         Version of dm-verity:  1\n      \
         Image Size:            {image} bytes\n      \
         Tree Offset:           {image}\n      \
         Tree Size:             {tree} bytes\n      \
         Data Block Size:       4096 bytes\n      \
         Hash Block Size:       4096 bytes\n      \
         FEC num roots:         {roots}\n      \
         FEC offset:            {offset}\n      \
         FEC size:              {size} bytes\n      \
         Hash Algorithm:        {algorithm}\n{}",
        lines(rest)
    )
}

#[test]
fn s2_2_adds_hashtree_footers_to_raw_and_sparse_images() {
    let Some(bench) = Bench::with_aosp_data() else { return };
    let image: Vec<u8> = (0..1028 * 1024).map(|at| at as u8).collect();
    bench.write("raw.img", &image);
    bench.write("sparse.img", sparse_of(&image));
    let rest = "
      Partition Name:        foobar
      Salt:                  d00df00d
      Root Digest:           e811611467dcd6e8dc4324e45f706c2bdd51db67
      Flags:                 0";
    for (image, sparse) in [("raw.img", ""), ("sparse.img", " (Sparse)")] {
        let before = bench.read(image);
        let add = format!(
            "add_hashtree_footer --salt d00df00d --image {image} --partition_size 1572864 \
             --partition_name foobar {SIGN} --output_vbmeta_image out.bin"
        );
        bench.ok(&format!("{add} --do_not_generate_fec"));
        let tree = hashtree(1052672, 16384, (0, 0, 0), "sha1", rest);
        let expected = footer(1572864, 1052672, 1069056, 1344) + &header(0, sparse, 768) + &tree;
        assert_eq!(bench.info(image), expected);
        bench.ok(&format!("erase_footer --image {image} --keep_hashtree"));
        let whole = if sparse.is_empty() { bench.read(image) } else { expand(&bench.read(image)) };
        assert_eq!(whole.len(), 1069056);

        bench.write(image, &before);
        for _ in 0..2 {
            bench.ok(&add);
            let tree = hashtree(1052672, 16384, (2, 1069056, 16384), "sha1", rest);
            let expected =
                footer(1572864, 1052672, 1085440, 1344) + &header(0, sparse, 768) + &tree;
            assert_eq!(bench.info(image), expected);
        }
        bench.ok(&format!("make_vbmeta_image --output rootfs.bin --setup_rootfs {image} {SIGN}"));
        let expected = header(0, "", 960)
            + &lines(
                r#"
    Kernel Cmdline descriptor:
      Flags:                 1
      Kernel Cmdline:        'dm="1 vroot none ro 1,0 2056 verity 1 PARTUUID=$(ANDROID_SYSTEM_PARTUUID) PARTUUID=$(ANDROID_SYSTEM_PARTUUID) 4096 4096 257 257 sha1 e811611467dcd6e8dc4324e45f706c2bdd51db67 d00df00d 10 $(ANDROID_VERITY_MODE) ignore_zero_blocks use_fec_from_device PARTUUID=$(ANDROID_SYSTEM_PARTUUID) fec_roots 2 fec_blocks 261 fec_start 261" root=/dev/dm-0'
    Kernel Cmdline descriptor:
      Flags:                 2
      Kernel Cmdline:        'root=PARTUUID=$(ANDROID_SYSTEM_PARTUUID)'"#,
            );
        assert_eq!(bench.info("rootfs.bin"), expected);
        bench.ok(&format!("erase_footer --image {image} --keep_hashtree"));
        let whole = if sparse.is_empty() { bench.read(image) } else { expand(&bench.read(image)) };
        assert_eq!(whole.len(), 1085440);
    }
    assert_eq!(expand(&bench.read("sparse.img")), bench.read("raw.img"));
}

#[test]
fn s2_2_makes_trees_without_size_or_name_or_bytes() {
    let Some(bench) = Bench::with_aosp_data() else { return };
    bench.image("data.bin", 72 * 1024);
    bench.ok(&format!("add_hashtree_footer --salt d00df00d --image data.bin {SIGN}"));
    let tree = hashtree(
        73728,
        4096,
        (2, 77824, 8192),
        "sha1",
        "
      Partition Name:        \u{20}
      Salt:                  d00df00d
      Root Digest:           2f73fb340e982794643e1121d82d5195677c2b31
      Flags:                 0",
    )
    .replace("Name:         ", "Name:        ");
    let expected = footer(94208, 73728, 86016, 1344) + &header(0, "", 768) + &tree;
    assert_eq!(bench.info("data.bin"), expected);
    bench.ok("verify_image --image data.bin");

    bench.image("data.bin", 70 * 1024);
    let why = bench.fails(&format!("add_hashtree_footer --image data.bin {SIGN}"), 1);
    assert!(why.contains("File size of 71680 is not a multiple of the image block size 4096."));

    bench.image("system.img", 10416128);
    bench.ok("add_hashtree_footer --image system.img --no_hashtree --partition_name system \
         --partition_size 10485760 --salt deadbeef --algorithm SHA512_RSA4096 \
         --key testkey_rsa4096.pem --internal_release_string ''");
    let tree = hashtree(
        10416128,
        0,
        (2, 10416128, 0),
        "sha1",
        "
      Partition Name:        system
      Salt:                  deadbeef
      Root Digest:           4215bd42bcc99636f42956ce3d2c7884d6a8093b
      Flags:                 0",
    );
    let info = bench.info("system.img");
    assert!(info.starts_with(&footer(10485760, 10416128, 10416128, 2112)), "{info}");
    assert!(info.ends_with(&tree), "{info}");
}

#[test]
fn s2_2_leaves_root_digests_to_the_device_where_it_is_told_to() {
    let Some(bench) = Bench::with_aosp_data() else { return };
    let root = "d0e31526f5a3f8e3f59acf726bd31ae7861ee78f9baa9195356bf479c6f9119d";
    for (options, salt, root, flags) in [
        ("--use_persistent_digest", "", "", 0),
        ("--salt d00df00d --do_not_use_ab", "d00df00d", root, 1),
        ("--use_persistent_digest --do_not_use_ab --check_at_most_once", "", "", 3),
    ] {
        bench.image("foobar.img", 5 << 20);
        bench.ok(&format!(
            "add_hashtree_footer --hash_algorithm sha256 --image foobar.img \
             --partition_size 10485760 --partition_name foobar {SIGN} {options}"
        ));
        let rest = format!(
            "
      Partition Name:        foobar
      Salt:                  {salt}
      Root Digest:           {root}
      Flags:                 {flags}"
        );
        let tree = hashtree(5242880, 45056, (2, 5287936, 49152), "sha256", &rest);
        let expected = footer(10485760, 5242880, 5337088, 1344) + &header(1, "", 768) + &tree;
        assert_eq!(bench.info("foobar.img"), expected, "{options}");
    }
}

#[test]
fn s2_2_calculates_kernel_command_lines_through_chains() {
    let Some(bench) = Bench::with_aosp_data() else { return };
    bench.image("rootfs.img", 1028 * 1024);
    bench.ok("extract_public_key --key testkey_rsa2048.pem --output pk.bin");
    bench.ok(&format!(
        "add_hashtree_footer --salt d00df00d --image rootfs.img --partition_size 1572864 \
         --partition_name rootfs {SIGN} --setup_as_rootfs_from_kernel"
    ));
    assert!(bench.info("rootfs.img").starts_with(&footer(1572864, 1052672, 1085440, 1792)));
    bench.ok(&format!(
        "make_vbmeta_image --output vbmeta.img --kernel_cmdline 'foo bar baz' \
         --kernel_cmdline 'second cmdline' --chain_partition rootfs:1:pk.bin {SIGN}"
    ));
    let chain = lines(
        "
    Chain Partition descriptor:
      Partition Name:          rootfs
      Rollback Index Location: 1
      Public key (sha1):       cdbb77177f731920bbe0a0f94f84d9038ae0617d
      Flags:                   0
    Kernel Cmdline descriptor:
      Flags:                 0
      Kernel Cmdline:        'foo bar baz'
    Kernel Cmdline descriptor:
      Flags:                 0
      Kernel Cmdline:        'second cmdline'",
    );
    assert_eq!(bench.info("vbmeta.img"), header(0, "", 1280) + &chain);
    let with = bench.ok("calculate_kernel_cmdline --image vbmeta.img");
    assert!(with.starts_with("dm=\"1 vroot none ro 1,0 2056 verity 1 PARTUUID="), "{with}");
    assert!(with.ends_with("fec_start 261\" root=/dev/dm-0 foo bar baz second cmdline"), "{with}");
    let without = bench.ok("calculate_kernel_cmdline --image vbmeta.img --hashtree_disabled");
    let expected = "root=PARTUUID=$(ANDROID_SYSTEM_PARTUUID) foo bar baz second cmdline";
    assert_eq!(without, expected);
}

#[test]
fn s2_2_follows_chains_in_avbtool_s_words() {
    let Some(bench) = Bench::with_aosp_data() else { return };
    let system = "--algorithm SHA256_RSA4096 --key testkey_rsa4096.pem";
    bench.ok("extract_public_key --key testkey_rsa4096.pem --output pk.bin");
    bench.ok("extract_public_key --key testkey_rsa8192.pem --output other.bin");
    bench.image("system.img", 8 << 20);
    bench.ok(&format!(
        "add_hashtree_footer --salt d00df00d --image system.img --partition_size 10485760 \
         --partition_name system {system}"
    ));
    bench.image("boot.img", 5 << 20);
    bench.ok("add_hash_footer --image boot.img --partition_name boot --partition_size 16777216 \
         --salt deadbeef");
    bench.ok(&format!(
        "make_vbmeta_image --output vbmeta.img --chain_partition system:1:pk.bin {SIGN} \
         --include_descriptors_from_image boot.img"
    ));
    let rest = lines(
        "
--
Verifying image system.img using embedded public key
vbmeta: Successfully verified footer and SHA256_RSA4096 vbmeta struct in system.img
system: Successfully verified sha1 hashtree of system.img for image of 8388608 bytes
boot: Successfully verified sha256 hash of boot.img for image of 5242880 bytes",
    );
    let start = "Verifying image vbmeta.img using embedded public key\n\
                 vbmeta: Successfully verified SHA256_RSA2048 vbmeta struct in vbmeta.img\n";
    let verify = "verify_image --image vbmeta.img";
    assert_eq!(
        bench.ok(&format!("{verify} --follow_chain_partitions")),
        format!(
            "{start}system: Chained but ROLLBACK_SLOT (which is 1) and KEY (which has sha1 \
             2597c218aae470a130f61162feaae70afd97f011) not specified\n{rest}"
        )
    );
    let expected = "--expected_chain_partition system:1:pk.bin";
    assert_eq!(
        bench.ok(&format!("{verify} {expected} --follow_chain_partitions")),
        format!(
            "{start}system: Successfully verified chain partition descriptor matches expected \
             data\n{rest}"
        )
    );
    bench.ok(&format!("{verify} {expected}"));
    for (option, why) in [
        ("", "No expected chain partition for partition system. Use --expected_chain_partition"),
        ("--expected_chain_partition xyz:1:pk.bin", "No expected chain partition"),
        ("--expected_chain_partition system:2:pk.bin", "Expected rollback_index_location 2 does"),
        ("--expected_chain_partition system:1:other.bin", "Expected public key blob does not"),
        ("--expected_chain_partition system:1", "Malformed chained partition \"system:1\"."),
    ] {
        let said = bench.fails(&format!("{verify} {option}"), 1);
        assert!(said.contains(why), "{said}");
    }
    let digests = "system: d52d93c988d336a79abe1c05240ae9a79a9b7d61\n\
                   boot: 184cb36243adb8b87d2d8c4802de32125fe294ec46753d732144ee65df68a23d\n";
    assert_eq!(bench.ok("print_partition_digests --image vbmeta.img"), digests);
    assert_eq!(
        bench.ok("print_partition_digests --image vbmeta.img --json"),
        r#"{
  "partitions": [
    {
      "name": "system",
      "digest": "d52d93c988d336a79abe1c05240ae9a79a9b7d61"
    },
    {
      "name": "boot",
      "digest": "184cb36243adb8b87d2d8c4802de32125fe294ec46753d732144ee65df68a23d"
    }
  ]
}"#
    );
}
