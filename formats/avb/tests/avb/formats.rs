//! The structures, compared with what avbtool 1.3.0 wrote.

use crate::device::test_data;
use avb::{
    Algorithm, Descriptor, FOOTER_BYTES, Footer, HashtreeDescriptor, RsaPublicKeyBlob,
    VbmetaBuilder, VbmetaImage, hash_footer, verify_hash_footer_partition,
};
use crypto::sign::{Hash, RsaKey};
use std::path::Path;

#[test]
fn descriptors_of_avbtool_come_back_byte_for_byte() {
    let Some(folder) = test_data("boot-ota/avb-descriptors") else { return };
    for name in ["property", "hashtree", "hash", "kernel_commandline", "chain_partition"] {
        let bytes = std::fs::read(folder.join(format!("{name}_descriptor.bin"))).unwrap();
        let descriptor = Descriptor::decode(&bytes).unwrap();
        assert!(!matches!(descriptor, Descriptor::Unknown { .. }), "{name}");
        assert_eq!(descriptor.encode(), bytes, "{name}");
    }
}

#[test]
fn public_keys_of_avbtool_come_back_byte_for_byte() {
    let Some(folder) = test_data("boot-ota/slot-verify/base") else { return };
    for bits in [2048, 4096, 8192] {
        let bytes = std::fs::read(folder.join(format!("rsa{bits}.avbpubkey"))).unwrap();
        let key = RsaPublicKeyBlob::decode(&bytes).unwrap();
        assert_eq!(key.bits(), bits);
        assert_eq!(key.as_bytes(), bytes);
    }
}

/// The same image, salt and key give the very bytes of `avbtool add_hash_footer`.
#[test]
fn signs_the_same_bytes_as_avbtool() {
    let Some(folder) = test_data("boot-ota") else { return };
    for (name, size, bits) in [("boot", 20000, 2048), ("init_boot", 9000, 4096)] {
        let path = folder.join(format!("slot-verify/base/{name}.img"));
        let theirs = std::fs::read(path).unwrap();
        let key = test_key(&folder, bits);
        let public_key = RsaPublicKeyBlob::from_modulus(&key.modulus()).unwrap();
        let vbmeta = vbmeta_of(&theirs);
        let descriptors = vbmeta.descriptors().unwrap();
        let [Descriptor::Hash(hash), rest @ ..] = &descriptors[..] else {
            panic!("{name} has a hash descriptor first")
        };
        let builder = VbmetaBuilder {
            algorithm: vbmeta.header().algorithm,
            descriptors: rest.to_vec(),
            rollback_index: vbmeta.header().rollback_index,
            release: vbmeta.header().release.clone(),
            ..VbmetaBuilder::default()
        };
        let image = &theirs[..size];
        let partition_size = theirs.len() as u64;
        let footer =
            hash_footer(image, name, partition_size, &hash.salt, &builder, &public_key, |data| {
                key.sign_pkcs1(Hash::Sha256, data)
            })
            .unwrap();
        assert_eq!(footer.assemble(image), theirs, "{name}");
        let verified =
            verify_hash_footer_partition(&theirs, name, &public_key.digest(), 0).unwrap();
        assert_eq!(verified.image, 0..size);
        assert_eq!(verified.release, "avbtool 1.3.0");
    }
}

#[test]
fn builds_the_same_unsigned_images_as_avbtool() {
    let Some(folder) = test_data("boot-ota/slot-verify/base") else { return };
    for name in ["dtbo", "factory"] {
        let theirs = std::fs::read(folder.join(format!("{name}.img"))).unwrap();
        let vbmeta = vbmeta_of(&theirs);
        let builder = VbmetaBuilder {
            descriptors: vbmeta.descriptors().unwrap(),
            release: vbmeta.header().release.clone(),
            ..VbmetaBuilder::default()
        };
        assert_eq!(vbmeta.header().algorithm, Algorithm::None);
        assert_eq!(builder.unsigned().unwrap(), vbmeta.bytes(), "{name}");
    }
}

#[test]
fn reads_the_tree_of_a_system_image() {
    let Some(folder) = test_data("boot-ota/slot-verify/base") else { return };
    let theirs = std::fs::read(folder.join("system.img")).unwrap();
    let vbmeta = vbmeta_of(&theirs);
    vbmeta.check_canonical().unwrap();
    let trees: Vec<HashtreeDescriptor> = vbmeta
        .descriptors()
        .unwrap()
        .into_iter()
        .filter_map(|descriptor| match descriptor {
            Descriptor::Hashtree(tree) => Some(tree),
            _ => None,
        })
        .collect();
    assert_eq!(trees.len(), 1);
    assert_eq!((trees[0].partition_name.as_str(), trees[0].dm_verity_version), ("system", 1));
}

fn vbmeta_of(partition: &[u8]) -> VbmetaImage<'_> {
    let footer = Footer::decode_strict(partition.last_chunk::<FOOTER_BYTES>().unwrap()).unwrap();
    let start = footer.vbmeta_offset as usize;
    VbmetaImage::parse(&partition[start..start + footer.vbmeta_size as usize]).unwrap()
}

/// A test key of AOSP: PKCS#1 in PEM.
fn test_key(folder: &Path, bits: usize) -> RsaKey {
    let pem = std::fs::read_to_string(folder.join(format!("avb/testkey_rsa{bits}.pem"))).unwrap();
    let text: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    RsaKey::from_pkcs8(&pkcs8_of_pkcs1(&base64(&text))).unwrap()
}

/// PrivateKeyInfo (RFC 5958) around an RSAPrivateKey (RFC 8017).
fn pkcs8_of_pkcs1(pkcs1: &[u8]) -> Vec<u8> {
    const RSA_ENCRYPTION: &[u8] =
        &[0x02, 1, 0, 0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];
    let tlv = |tag: u8, value: &[u8]| {
        let size = u16::try_from(value.len()).unwrap().to_be_bytes();
        [&[tag, 0x82, size[0], size[1]], value].concat()
    };
    tlv(0x30, &[RSA_ENCRYPTION, &tlv(0x04, pkcs1)].concat())
}

fn base64(text: &str) -> Vec<u8> {
    const DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut out, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for digit in text.chars().filter(|&c| c != '=') {
        bits = bits << 6 | DIGITS.find(digit).unwrap() as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    out
}
