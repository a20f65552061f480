//! Footers, trees and error correction, without anybody's keys.

use super::{Bench, expand, sparse_of};

/// An image with data, a fill and nothing in it.
fn image() -> Vec<u8> {
    let mut image: Vec<u8> = (0..300_u32 * 4096).map(|at| (at / 7) as u8).collect();
    image[40 * 4096..90 * 4096].fill(0);
    for (at, byte) in image[100 * 4096..150 * 4096].iter_mut().enumerate() {
        *byte = b"fill"[at % 4];
    }
    image
}

/// What happens to a sparse image happens to the image that it stands for.
#[test]
fn s2_2_a_sparse_image_changes_as_a_raw_one() {
    let bench = Bench::new();
    bench.write("sparse.img", sparse_of(&image()));
    bench.write("raw.img", image());
    bench.ok("make_vbmeta_image --output vbmeta.img --prop a:b");
    for line in [
        "add_hash_footer --partition_name p --partition_size 4194304 --salt aa",
        "add_hash_footer --partition_name p --dynamic_partition_size --salt aa",
        "resize_image --partition_size 2097152",
        "append_vbmeta_image --partition_size 4194304 --vbmeta_image vbmeta.img",
        "erase_footer",
        "add_hashtree_footer --hash_algorithm sha256 --partition_name p --salt aa",
        "add_hashtree_footer --hash_algorithm sha256 --partition_name p --salt aa \
         --partition_size 4194304",
        "zero_hashtree",
        "add_hashtree_footer --hash_algorithm sha512 --block_size 8192 --salt aa",
        "erase_footer --keep_hashtree",
        "add_hashtree_footer --no_hashtree --hash_algorithm sha256 --salt aa",
    ] {
        bench.ok(&format!("{line} --image raw.img"));
        bench.ok(&format!("{line} --image sparse.img"));
        assert!(expand(&bench.read("sparse.img")) == bench.read("raw.img"), "{line}");
        if bench.peer_ok("simg2img", "sparse.img expanded.img") {
            assert!(bench.read("expanded.img") == bench.read("raw.img"), "{line}");
        }
        if !line.starts_with("erase") {
            let with_mark = bench.info("sparse.img");
            assert_eq!(with_mark.replacen(" (Sparse)", "", 1), bench.info("raw.img"));
        }
    }
}

#[test]
fn s2_2_an_image_of_img2simg_is_read_and_kept() {
    let bench = Bench::new();
    bench.write("raw.img", image());
    if !bench.peer_ok("img2simg", "raw.img sparse.img") {
        return;
    }
    let before = bench.read("sparse.img");
    for image in ["raw.img", "sparse.img"] {
        bench.ok(&format!(
            "add_hashtree_footer --hash_algorithm sha256 --salt aa --partition_name p \
             --image {image} --partition_size 4194304"
        ));
    }
    assert!(bench.peer_ok("simg2img", "sparse.img expanded.img"));
    assert!(bench.read("expanded.img") == bench.read("raw.img"));
    bench.ok("erase_footer --image sparse.img");
    assert_eq!(bench.read("sparse.img"), before);
}

#[test]
fn s2_2_trees_and_error_correction_are_those_of_veritysetup() {
    let bench = Bench::new();
    bench.write("data.img", image());
    for (hash, roots) in [("sha1", 2), ("sha256", 2), ("sha512", 24)] {
        bench.write("p.img", image());
        bench.ok(&format!(
            "add_hashtree_footer --hash_algorithm {hash} --salt d00df00d --partition_name p \
             --image p.img --partition_size 4194304 --fec_num_roots {roots}"
        ));
        bench.write("tree.img", "");
        bench.write("fec.img", "");
        let format = format!(
            "format --no-superblock --hash={hash} --salt=d00df00d --fec-roots={roots} \
             --fec-device=fec.img data.img tree.img"
        );
        if !bench.peer_ok("veritysetup", &format) {
            return;
        }
        let (whole, tree, fec) =
            (bench.read("p.img"), bench.read("tree.img"), bench.read("fec.img"));
        let behind = &whole[image().len()..];
        assert!(behind.starts_with(&tree) && !tree.is_empty(), "{hash}");
        assert!(behind[tree.len()..].starts_with(&fec) && !fec.is_empty(), "{hash}");
        let digests = bench.ok("print_partition_digests --image p.img");
        let root = digests.trim().strip_prefix("p: ").expect("a digest");
        bench.peer_ok(
            "veritysetup",
            &format!(
                "verify --no-superblock --hash={hash} --salt=d00df00d --data-blocks=300 \
                 --hash-offset=1228800 p.img p.img {root}"
            ),
        );
    }
}

/// Digests that AOSP's tests expect, whoever signs.
#[test]
fn s2_2_digests_are_those_of_avbtool() {
    let bench = Bench::new();
    bench.image("p.img", 5 << 20);
    bench.ok("add_hashtree_footer --image p.img --partition_name p --salt d00df00d \
         --hash_algorithm sha256 --partition_size 10485760");
    let first = bench.read("p.img");
    let root = "d0e31526f5a3f8e3f59acf726bd31ae7861ee78f9baa9195356bf479c6f9119d";
    assert_eq!(bench.ok("print_partition_digests --image p.img"), format!("p: {root}\n"));
    bench.ok("add_hashtree_footer --image p.img --partition_name p --salt d00df00d \
         --hash_algorithm sha256 --partition_size 10485760");
    assert!(bench.read("p.img") == first, "what is there is replaced");
    let add = "add_hash_footer --image p.img --partition_name p --partition_size 16777216";
    bench.ok(&format!("{add} --salt deadbeef"));
    let digest = "184cb36243adb8b87d2d8c4802de32125fe294ec46753d732144ee65df68a23d";
    assert_eq!(bench.ok("print_partition_digests --image p.img"), format!("p: {digest}\n"));
    // Without a salt one is made up.
    bench.ok(add);
    assert!(!bench.info("p.img").contains(digest));
}

#[test]
fn s2_2_says_how_large_an_image_may_be() {
    let bench = Bench::new();
    for (line, size) in [
        ("add_hash_footer", "10416128\n"),
        ("add_hashtree_footer --do_not_generate_fec", "10330112\n"),
        ("add_hashtree_footer", "10235904\n"),
        ("add_hashtree_footer --hash_algorithm sha1", "10235904\n"),
        ("add_hashtree_footer --no_hashtree", "10416128\n"),
    ] {
        let said = bench.ok(&format!("{line} --partition_size 10485760 --calc_max_image_size"));
        assert_eq!(said, size, "{line}");
    }
    let small = "add_hashtree_footer --partition_size 8192 --calc_max_image_size";
    assert!(bench.ok(small).starts_with('-'));
    bench.image("p.img", 10330112);
    let fits = "add_hashtree_footer --hash_algorithm sha256 --do_not_generate_fec --image p.img \
                --partition_size";
    bench.ok(&format!("{fits} 10485760"));
    let said = bench.fails(&format!("{fits} 10481664"), 1);
    let due = "Adding hashtree_footer failed: Image size of 10330112 exceeds maximum image size \
               of 10326016 in order to fit in a partition size of 10481664..\n";
    assert!(said.ends_with(due), "{said}");
}

#[test]
fn s2_2_a_failure_leaves_the_image_as_it_was() {
    let bench = Bench::new();
    bench.image("p.img", 100_000);
    bench.ok("add_hash_footer --image p.img --partition_name p --partition_size 262144");
    let before = bench.read("p.img");
    bench.key("key.pem", 2048);
    let name = "--image p.img --partition_name p --partition_size";
    for (line, why) in [
        (format!("add_hash_footer {name} 73728"), "exceeds maximum image size of 4096"),
        (format!("add_hash_footer {name} 73729"), "is not a multiple of the image block size"),
        (format!("add_hash_footer {name} 4096"), "Parition size of 4096 is too small. Needs"),
        (format!("add_hash_footer {name} 262144 --salt 0"), "failed: Odd-length string.\n"),
        (format!("add_hash_footer {name} 262144 --salt 0g"), "Non-hexadecimal digit found.\n"),
        (format!("add_hash_footer {name} 262144 --hash_algorithm md99"), "unsupported hash type"),
        (format!("add_hash_footer {name} 262144 --algorithm SHA1"), "Unknown algorithm with name"),
        (
            format!("add_hash_footer {name} 262144 --algorithm SHA256_RSA4096 --key key.pem"),
            "Key is wrong size for algorithm SHA256_RSA4096",
        ),
        (
            format!("add_hash_footer {name} 262144 --algorithm SHA256_RSA2048"),
            "Key is required for algorithm SHA256_RSA2048",
        ),
        (
            format!(
                "add_hash_footer {name} 262144 --algorithm SHA256_RSA2048 --key key.pem \
                 --signing_helper false"
            ),
            "Adding hash_footer failed: Error signing: b''.",
        ),
        (
            "append_vbmeta_image --image p.img --vbmeta_image p.img --partition_size 4096".into(),
            "Appending VBMeta image failed: a partition of 4096 bytes is too small",
        ),
        (format!("add_hashtree_footer {name} 262144 --block_size 0"), "block"),
        (format!("add_hashtree_footer {name} 262144 --fec_num_roots 1"), "roots"),
        (format!("add_hashtree_footer {name} 262144 --hash_algorithm crc"), "unsupported hash"),
    ] {
        let said = bench.fails(&line, 1);
        assert!(said.contains(why), "{line}\n{said}");
        assert!(bench.read("p.img") == before, "{line}");
    }
}

/// Offsets beyond 32 bits: an image of 3 TiB, all of it a hole.
#[test]
fn s2_2_images_may_be_large() {
    let bench = Bench::new();
    let size = 3_u64 << 40;
    std::fs::File::create(bench.path("p.img")).expect("a file").set_len(size).expect("a hole");
    bench.ok("make_vbmeta_image --output vbmeta.img --prop a:b");
    bench.ok(&format!(
        "append_vbmeta_image --image p.img --vbmeta_image vbmeta.img --partition_size {}",
        size + (1 << 30)
    ));
    let info = bench.info("p.img");
    assert!(info.contains(&format!("VBMeta offset:            {size}\n")), "{info}");
    assert!(info.contains("    Prop: a -> 'b'\n"), "{info}");
    bench.ok(&format!("resize_image --image p.img --partition_size {}", size + 8192));
    bench.ok("extract_vbmeta_image --image p.img --output out.img");
    assert_eq!(bench.read("out.img"), bench.read("vbmeta.img"));
    bench.ok("erase_footer --image p.img");
    assert_eq!(std::fs::metadata(bench.path("p.img")).expect("it is there").len(), size);
}
