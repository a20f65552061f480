//! Keys in all their forms, and programs that sign.

use super::{Bench, pem};
use std::os::unix::fs::PermissionsExt;

const MAKE: &str = "make_vbmeta_image --output out.img --algorithm SHA256_RSA2048";

/// PKCS#1, out of PKCS#8: what follows version and algorithm, without the octet string's head.
fn pkcs1(pkcs8: &[u8]) -> &[u8] {
    let at =
        pkcs8.windows(2).skip(8).position(|part| part == [0x04, 0x82]).expect("an octet string");
    &pkcs8[8 + at + 4..]
}

#[test]
fn s2_2_keys_are_read_in_every_form() {
    let bench = Bench::new();
    let key = crypto::sign::RsaKey::generate(2048).expect("a key");
    bench.write("pkcs8.der", key.to_pkcs8());
    bench.write("pkcs8.pem", pem("PRIVATE KEY", key.to_pkcs8()));
    bench.write("pkcs1.pem", pem("RSA PRIVATE KEY", pkcs1(key.to_pkcs8())));
    bench.write("noise.pem", format!("a note\n\n{}", pem("PRIVATE KEY", key.to_pkcs8())));
    bench.ok("extract_public_key --key pkcs8.der --output expected.bin");
    let mut forms = vec!["pkcs8.der", "pkcs8.pem", "pkcs1.pem", "noise.pem"];
    for form in &forms {
        bench.ok(&format!("{MAKE} --key {form}"));
        bench.ok("verify_image --image out.img --key pkcs8.pem");
    }
    for (line, name) in [
        ("rsa -in pkcs8.pem -pubout -out public.pem", "public.pem"),
        ("rsa -in pkcs8.pem -pubout -outform DER -out public.der", "public.der"),
        ("rsa -in pkcs8.pem -RSAPublicKey_out -out pkcs1-public.pem", "pkcs1-public.pem"),
    ] {
        if bench.peer_ok("openssl", line) {
            forms.push(name);
        }
    }
    for form in &forms {
        bench.ok(&format!("extract_public_key --key {form} --output out.bin"));
        assert_eq!(bench.read("out.bin"), bench.read("expected.bin"), "{form}");
    }
    if forms.len() > 4 {
        let said = bench.fails(&format!("{MAKE} --key public.pem"), 1);
        assert!(said.contains("Error signing: public.pem has no private key"), "{said}");
    }
    let digest = bench.ok("extract_public_key_digest --key pkcs8.pem --output -");
    let blob = crypto::digest::sha256(&bench.read("expected.bin"));
    assert_eq!(digest, blob.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
}

#[test]
fn s2_2_what_is_no_rsa_key_is_named() {
    let bench = Bench::new();
    bench.write("empty.pem", "");
    bench.write("text.pem", "-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----\n");
    bench.write("locked.pem", pem("ENCRYPTED PRIVATE KEY", b"1234"));
    let key = crypto::sign::EcdsaKey::generate(crypto::sign::Curve::P256).expect("a key");
    bench.write("ec.pem", pem("PRIVATE KEY", key.to_pkcs8()));
    for (name, why) in [
        ("empty.pem", "neither PEM nor DER"),
        ("text.pem", "not base64"),
        ("locked.pem", "the key is encrypted"),
        ("ec.pem", "not an RSA or ML-DSA key"),
        ("nowhere.pem", "[Errno 2] No such file or directory: 'nowhere.pem'"),
    ] {
        let said = bench.fails(&format!("{MAKE} --key {name}"), 1);
        assert!(said.contains("Error getting public key: ") && said.contains(why), "{said}");
        assert!(!bench.path("out.img").exists(), "nothing is written before all is known");
    }
}

#[test]
fn s2_2_every_rsa_algorithm_signs_and_verifies() {
    let Some(bench) = Bench::with_aosp_data() else { return };
    for bits in [2048, 4096, 8192] {
        for hash in ["SHA256", "SHA512"] {
            let algorithm = format!("{hash}_RSA{bits}");
            bench.ok(&format!(
                "make_vbmeta_image --output out.img --algorithm {algorithm} \
                 --key testkey_rsa{bits}.pem"
            ));
            let said = bench.ok("verify_image --image out.img");
            assert!(said.contains(&format!("verified {algorithm} vbmeta struct")), "{said}");
        }
    }
}

fn script(bench: &Bench, name: &str, text: &str) {
    bench.write(name, format!("#!/bin/sh\nset -e\n{text}\n"));
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(bench.path(name), mode).expect("it is ours");
}

/// Helpers get the padded digest and make the same signature as the key file.
#[test]
fn s2_2_programs_sign_with_openssl() {
    let bench = Bench::new();
    bench.key("key.pem", 2048);
    if bench.peer("openssl", "version").is_none() {
        return;
    }
    script(
        &bench,
        "helper",
        "test \"$1\" = SHA256_RSA2048\nexec openssl rsautl -sign -raw -inkey \"$2\" 2>/dev/null",
    );
    script(
        &bench,
        "files",
        "test \"$1\" = SHA256_RSA2048\ncp \"$3\" \"$3.in\"\n\
         openssl rsautl -sign -raw -inkey \"$2\" -in \"$3.in\" -out \"$3\" 2>/dev/null\n\
         rm \"$3.in\"",
    );
    bench.ok(&format!("{MAKE} --key key.pem"));
    let expected = bench.read("out.img");
    for option in [
        "--signing_helper ./helper",
        "--signing_helper_with_files ./files",
        "--signing_helper ./nowhere --signing_helper_with_files ./files",
    ] {
        bench.ok(&format!("{MAKE} --key key.pem {option}"));
        assert_eq!(bench.read("out.img"), expected, "{option}");
    }
}

#[test]
fn s2_2_signers_that_fail_are_quoted() {
    let bench = Bench::new();
    bench.key("key.pem", 2048);
    script(&bench, "angry", "cat >/dev/null; echo 'no token' >&2; exit 3");
    script(&bench, "short", "cat >/dev/null; echo short");
    for (option, why) in [
        ("--signing_helper ./angry", "Error signing: b'no token\\n'"),
        ("--signing_helper ./short", "Error signing: Invalid length of signature"),
        ("--signing_helper ./nowhere", "[Errno 2] No such file or directory: './nowhere'"),
        ("--signing_helper_with_files false", "Error signing"),
    ] {
        let output = bench.avb(&format!("{MAKE} --key key.pem {option}"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(why), "{option}: {said}");
    }
}

/// avbtool takes from a program what it gets, and AOSP's tests rely on it.
#[test]
fn s2_2_a_wrong_signature_of_a_program_is_written_with_a_warning() {
    let bench = Bench::new();
    bench.key("key.pem", 2048);
    script(&bench, "wrong", "cat >/dev/null; head -c 256 /dev/zero");
    let output = bench.avb(&format!("{MAKE} --key key.pem --signing_helper ./wrong"));
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("does not verify"));
    bench.fails("verify_image --image out.img", 1);
}

#[test]
fn s2_2_ml_dsa_signs_verifies_and_chains() {
    use crypto::ml_dsa::{MlDsaKey, Parameters};
    let bench = Bench::new();
    for (name, parameters) in [("MLDSA65", Parameters::MlDsa65), ("MLDSA87", Parameters::MlDsa87)] {
        let key = MlDsaKey::generate(parameters).expect("a key");
        bench.write("key.pem", pem("PRIVATE KEY", key.to_pkcs8()));
        bench.ok("extract_public_key --key key.pem --output pk.bin");
        let size = u32::try_from(key.public_key().len()).expect("small").to_be_bytes();
        assert_eq!(bench.read("pk.bin"), [&size[..], key.public_key()].concat());
        bench.image("boot.img", 5000);
        bench.ok(&format!(
            "add_hash_footer --image boot.img --partition_name boot --dynamic_partition_size \
             --algorithm {name} --key key.pem"
        ));
        let info = bench.info("boot.img");
        assert!(info.contains("Minimum libavb version:   1.4\n"), "{info}");
        assert!(info.contains(&format!("Algorithm:                {name}\n")), "{info}");
        bench.ok(&format!(
            "make_vbmeta_image --output vbmeta.img --algorithm {name} --key key.pem \
             --chain_partition boot:1:pk.bin"
        ));
        // Broken in avbtool of Android 17.
        let said = bench.ok("verify_image --image vbmeta.img --follow_chain_partitions");
        assert!(said.contains(&format!("footer and {name} vbmeta struct in boot.img")), "{said}");
        let mut bad = bench.read("vbmeta.img");
        bad[300] ^= 1;
        bench.write("vbmeta.img", bad);
        bench.fails("verify_image --image vbmeta.img", 1);
    }
    let said = bench.fails(&format!("{MAKE} --key key.pem"), 1);
    assert!(said.contains("Key is wrong size for algorithm SHA256_RSA2048"), "{said}");
}
