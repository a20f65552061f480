//! The avb_cert extension, against AOSP's own files.

use super::Bench;

const PIK: &str = "--intermediate_key_certificate cert_pik_certificate.bin";

#[test]
fn s2_2_certificates_are_those_of_aosp() {
    let Some(bench) = Bench::with_aosp_data() else { return };
    bench.write("pik_subject", "fake PIK subject");
    bench.write("puk_subject", "fake PUK subject");
    let version = "--subject_key_version 42 --output out.bin";
    for (name, line) in [
        (
            "cert_pik_certificate.bin",
            "make_certificate --subject pik_subject --subject_key testkey_cert_pik.pem \
             --subject_is_intermediate_authority --authority_key testkey_cert_prk.pem",
        ),
        (
            "cert_psk_certificate.bin",
            "make_atx_certificate --subject cert_product_id.bin \
             --subject_key testkey_cert_psk.pem --authority_key testkey_cert_pik.pem",
        ),
        (
            "cert_puk_certificate.bin",
            "make_certificate --subject cert_product_id.bin --subject_key testkey_cert_puk.pem \
             --usage_for_unlock --authority_key testkey_cert_pik.pem",
        ),
    ] {
        bench.ok(&format!("{line} {version}"));
        assert_eq!(bench.read("out.bin"), bench.read(name), "{name}");
    }
    let unsigned = "make_certificate --subject pik_subject --subject_key testkey_cert_pik.pem \
                    --subject_is_intermediate_authority";
    bench.ok(&format!("{unsigned} {version}"));
    assert_eq!(bench.read("out.bin"), bench.read("cert_pik_certificate.bin")[..1108]);
}

#[test]
fn s2_2_attributes_metadata_and_credentials_are_those_of_aosp() {
    let Some(bench) = Bench::with_aosp_data() else { return };
    for (name, line) in [
        (
            "cert_permanent_attributes.bin",
            "make_cert_permanent_attributes --root_authority_key testkey_cert_prk.pem \
             --product_id cert_product_id.bin"
                .to_owned(),
        ),
        (
            "cert_metadata.bin",
            format!("make_atx_metadata {PIK} --product_key_certificate cert_psk_certificate.bin"),
        ),
        (
            "cert_unlock_credential.bin",
            format!(
                "make_cert_unlock_credential {PIK} \
                 --unlock_key_certificate cert_puk_certificate.bin \
                 --challenge cert_unlock_challenge.bin --unlock_key testkey_cert_puk.pem"
            ),
        ),
    ] {
        bench.ok(&format!("{line} --output out.bin"));
        assert_eq!(bench.read("out.bin"), bench.read(name), "{name}");
    }
}

#[test]
fn s2_2_shows_certificates() {
    let Some(bench) = Bench::with_aosp_data() else { return };
    bench.ok("make_vbmeta_image --output vbmeta.img --algorithm SHA256_RSA4096 \
         --key testkey_cert_psk.pem --public_key_metadata cert_metadata.bin");
    let info = bench.ok("info_image --image vbmeta.img --atx");
    let usage = "04ec7cc74241763bcc72e35ed392dfd82a6c51aea8ec6d4327c70df4534b215c";
    let expected = format!(
        "Descriptors:\n    (none)\navb_cert certificate:\n    Metadata version:        1\n    \
         Product Intermediate Key:\n      Version:               1\n      \
         Public key (sha1):     45ed5cba8dd4e2edbdd641f8690d3aabf5a10179\n      \
         Subject:               \
         6c62cbc8046028fa7cddef04a26e6bdc01a7f483f33395bc98a0b1ce343fcbed\n      \
         Usage:                 {usage}\n      Key version:           42\n    \
         Product Signing Key:\n"
    );
    assert!(info.contains(&expected), "{info}");
    assert!(!bench.info("vbmeta.img").contains("avb_cert"));
}

#[test]
fn s2_2_refuses_inputs_of_the_wrong_length() {
    let Some(bench) = Bench::with_aosp_data() else { return };
    for (line, why) in [
        (
            "make_cert_permanent_attributes --root_authority_key testkey_cert_prk.pem \
             --product_id small_blob.bin"
                .to_owned(),
            "Invalid Product ID length.",
        ),
        (
            format!("make_cert_metadata {PIK} --product_key_certificate small_blob.bin"),
            "Invalid product key certificate length.",
        ),
        (
            format!(
                "make_cert_unlock_credential {PIK} \
                 --unlock_key_certificate cert_puk_certificate.bin --challenge small_blob.bin"
            ),
            "Invalid unlock challenge length.",
        ),
        (
            "make_certificate --subject small_blob.bin --subject_key testkey_cert_pik.pem \
             --authority_key testkey_rsa2048.pem"
                .to_owned(),
            "Key size of key (2048 bits) does not match key size (4096 bits) of given algorithm \
             SHA512_RSA4096.",
        ),
    ] {
        let said = bench.fails(&format!("{line} --output out.bin"), 1);
        assert!(said.contains(why), "{said}");
        assert!(!bench.path("out.bin").exists());
    }
}
