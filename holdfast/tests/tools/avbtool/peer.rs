//! The bytes of avbtool itself. It is in no registry, so the digests below stand in for it: each was
//! taken from AOSP's avbtool 1.3.0 (Python 3.11, OpenSSL 3.0), run by hand with the same words on
//! the same three files.

use super::Bench;

/// Commands, the file that they leave, and its SHA-256.
const MADE_BY_AVBTOOL: &[(&str, &str, &str)] = &[
    (
        "add_hash_footer --image a.img --partition_name boot --partition_size 1048576 --salt \
         d00df00d --hash_algorithm sha512 --prop k:v --prop 'com.example:a b' \
         --kernel_cmdline foo=bar --rollback_index 0x10 --rollback_index_location 3 --flags 2",
        "a.img",
        "ff8ad0b50698a4405bacb41e58c4a5173cc2932ae04966da1d64f82ba1a4d771",
    ),
    (
        "add_hash_footer --image a.img --partition_name boot --dynamic_partition_size --salt \
         '' --hash_algorithm sha1 --do_not_use_ab --append_to_release_string 'made of more \
         words than there is room for'",
        "a.img",
        "c8f09e36c279476574dfb66293370898b1265e11c81e60439c9df9b9a9482caa",
    ),
    (
        "add_hash_footer --image a.img --partition_name boot --partition_size 1048576 \
         --use_persistent_digest --chain_partition x:4:blob --chain_partition_do_not_use_ab \
         y:9:blob",
        "a.img",
        "ac5ebff18928ef03c651d1041974cca54c21696f423ddf0062af7f7224b2282f",
    ),
    (
        "add_hashtree_footer --image b.img --partition_name system --partition_size 2097152 \
         --salt d00df00d --do_not_generate_fec",
        "b.img",
        "9a208682fdb4a6a6cd459105024cb64dbd7aada7f2218fc4275179cc34e22170",
    ),
    (
        "add_hashtree_footer --image b.img --partition_name system --partition_size 2097152 \
         --salt d00df00d --do_not_generate_fec --hash_algorithm sha256 --block_size 1024 \
         --setup_as_rootfs_from_kernel",
        "b.img",
        "c059bee83b283770cc7d1573413ee43b41cced4bfb73613da88dddc0e2908129",
    ),
    (
        "add_hashtree_footer --image b.img --partition_name system --partition_size 2097152 \
         --salt 00 --do_not_generate_fec --hash_algorithm sha512 --check_at_most_once",
        "b.img",
        "2f0dbb9b39e8e9b29ccff839f3bd9e65a4ec997b8158c35b9dc75f211bcbbcb9",
    ),
    (
        "add_hashtree_footer --image b.img --partition_name system --partition_size 4194304 \
         --salt 00 --do_not_generate_fec --hash_algorithm blake2b-256 --block_size 65536",
        "b.img",
        "7c9451ddd7e1989f8376a0ed73bc5b5953de862a82d559881b182790ecc3d02b",
    ),
    (
        "add_hashtree_footer --image b.img --partition_name system --partition_size 2097152 \
         --salt aa --do_not_generate_fec --hash_algorithm sha256 --no_hashtree \
         --use_persistent_digest --do_not_use_ab",
        "b.img",
        "ad051b72bcf3da1a941fdd3d50bb522558d74e647e442843d4d38ae7ede5d2ef",
    ),
    (
        "add_hashtree_footer --image b.img --partition_name system --partition_size 2097152 \
         --salt aa --do_not_generate_fec --hash_algorithm sha256; zero_hashtree --image \
         b.img; resize_image --image b.img --partition_size 3145728",
        "b.img",
        "1f1cf59bda8c8417765ec6325d78bbdfee57ceea1b095122e5a6271567f376aa",
    ),
    (
        "add_hashtree_footer --image b.img --partition_name system --partition_size 2097152 \
         --salt aa --do_not_generate_fec --hash_algorithm sha256; erase_footer --image b.img \
         --keep_hashtree",
        "b.img",
        "c27f1c9fea08043b908fdd3b31f22062357fbe01da25c894b8d58c60bfbc34c0",
    ),
    (
        "add_hash_footer --image a.img --partition_name boot --partition_size 1048576 --salt \
         aa --output_vbmeta_image v.img --do_not_append_vbmeta_image; append_vbmeta_image \
         --image b.img --vbmeta_image v.img --partition_size 2097152",
        "b.img",
        "0f1e8f3944d5512bde8f7497ebc991a3954e68faa5131c96e1fd40921ab73ab7",
    ),
    (
        "add_hashtree_footer --image b.img --partition_name system --partition_size 2097152 \
         --salt aa --do_not_generate_fec --hash_algorithm sha256 --prop x:y; add_hash_footer \
         --image a.img --partition_name boot --partition_size 1048576 --salt aa \
         --kernel_cmdline q; make_vbmeta_image --output v.img --padding_size 5 \
         --include_descriptors_from_image b.img --include_descriptors_from_image a.img \
         --setup_rootfs_from_kernel b.img --prop_from_file f:blob --public_key_metadata blob \
         --set_hashtree_disabled_flag --internal_release_string ''",
        "v.img",
        "97b40f8ae7ac63d89874ac5c6e6cfcd3a267199c34a11801f1f5e0fd4f2494a6",
    ),
    (
        "set_ab_metadata --misc_image a.img --slot_data 15:7:0:14:2:1",
        "a.img",
        "f9bb0bd2cb284abcd53df5bcd87916af7933057641bd81a0f85221d5bd5b9513",
    ),
];

#[test]
fn s2_2_leaves_the_bytes_that_avbtool_left() {
    for (commands, file, digest) in MADE_BY_AVBTOOL {
        let bench = Bench::new();
        bench.image("a.img", 100_000);
        bench.image("b.img", 1_100_000);
        bench.image("blob", 520);
        for command in commands.split("; ") {
            bench.ok(command);
        }
        let found = crypto::digest::sha256(&bench.read(file));
        let found: String = found.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(found, *digest, "{commands}");
    }
}

#[test]
fn s2_2_names_the_image_before_it_says_what_is_wrong_with_it() {
    let bench = Bench::new();
    bench.write("cut.img", [&[0x3a, 0xff, 0x26, 0xed][..], &[0xff; 24]].concat());
    let output = bench.avb("verify_image --image cut.img");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said, "Verifying image cut.img using embedded public key\n");
}

#[test]
fn a_pipe_is_no_image_and_nobody_waits_for_its_writer() {
    let bench = Bench::new();
    if !bench.peer_ok("mkfifo", "pipe") {
        return;
    }
    for command in ["info_image --image pipe", "erase_footer --image pipe"] {
        let why = bench.fails(command, 2);
        assert!(why.contains("can't open 'pipe': [Errno 29] Illegal seek"), "{why}");
    }
    bench.fails("explain pipe", 3);
}
