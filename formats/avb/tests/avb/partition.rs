//! Partitions with a hash footer: what avbtool makes, and what the strict reader refuses.

use crate::device::{KEY, public_key};
use avb::{
    Algorithm, BuildError, Descriptor, Footer, HashDescriptor, KernelCmdlineDescriptor,
    PropertyDescriptor, RefusalCode, RsaPublicKeyBlob, VbmetaBuilder, VbmetaFlags, Version,
    hash_footer, verify_hash_footer_partition,
};
use crypto::sign::{Hash, RsaKey};

const IMAGE: &[u8] = b"an image of a boot loader";
const VBMETA: usize = 512;
const SIZE: usize = 2304;

fn builder() -> VbmetaBuilder {
    VbmetaBuilder {
        algorithm: Algorithm::Sha256Rsa2048,
        rollback_index: 5,
        descriptors: vec![
            Descriptor::Hash(HashDescriptor::of("bl2", IMAGE, avb::Hash::Sha256, b"salt")),
            Descriptor::Property(PropertyDescriptor::text("version", "1.2.3")),
        ],
        ..VbmetaBuilder::default()
    }
}

fn sign(data: &[u8]) -> Result<Vec<u8>, crypto::Error> {
    KEY.sign_pkcs1(Hash::Sha256, data)
}

/// A partition smaller than avbtool makes them, so that every bit of it can be tried.
fn partition_with(builder: &VbmetaBuilder) -> Vec<u8> {
    let vbmeta = builder.sign(&public_key(), sign).unwrap();
    let footer = Footer {
        version: Version { major: 1, minor: 0 },
        original_image_size: IMAGE.len() as u64,
        vbmeta_offset: VBMETA as u64,
        vbmeta_size: vbmeta.len() as u64,
    };
    let mut partition = IMAGE.to_vec();
    partition.resize(VBMETA, 0);
    partition.extend(vbmeta);
    assert!(partition.len() < SIZE - 64);
    partition.resize(SIZE - 64, 0);
    partition.extend(footer.encode());
    partition
}

fn refusal(partition: &[u8]) -> Option<RefusalCode> {
    let verified = verify_hash_footer_partition(partition, "bl2", &public_key().digest(), 5);
    verified.err().map(|refusal| refusal.code)
}

#[test]
fn s2_2_gives_the_image_that_was_signed() {
    let partition = partition_with(&builder());
    let verified =
        verify_hash_footer_partition(&partition, "bl2", &public_key().digest(), 5).unwrap();
    assert_eq!(&partition[verified.image.clone()], IMAGE);
    assert_eq!(verified.rollback_index, 5);
    assert_eq!(verified.version(), Some("1.2.3"));
    assert_eq!(verified.public_key_digest, public_key().digest());
}

#[test]
fn s2_2_refuses_every_flipped_bit() {
    let partition = partition_with(&builder());
    assert_eq!(refusal(&partition), None);
    let mut copy = partition.clone();
    for bit in 0..partition.len() * 8 {
        copy[bit / 8] ^= 1 << (bit % 8);
        assert!(refusal(&copy).is_some(), "bit {bit} was flipped and nobody noticed");
        copy[bit / 8] = partition[bit / 8];
    }
}

#[test]
fn refuses_every_shortened_partition() {
    let partition = partition_with(&builder());
    for size in 0..partition.len() {
        assert!(refusal(&partition[..size]).is_some(), "{size} bytes");
    }
}

#[test]
fn s2_2_refuses_rollback_below_stored_index() {
    let partition = partition_with(&VbmetaBuilder { rollback_index: 4, ..builder() });
    assert_eq!(refusal(&partition), Some(RefusalCode::Rollback));
}

#[test]
fn refuses_an_image_of_another_partition() {
    let descriptors =
        vec![Descriptor::Hash(HashDescriptor::of("bl1", IMAGE, avb::Hash::Sha256, b"salt"))];
    let partition = partition_with(&VbmetaBuilder { descriptors, ..builder() });
    assert_eq!(refusal(&partition), Some(RefusalCode::DescriptorMissing));
}

#[test]
fn refuses_a_key_that_is_not_the_root_key() {
    let partition = partition_with(&builder());
    let refusal = verify_hash_footer_partition(&partition, "bl2", &[7; 32], 5).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::KeyRejected);
}

#[test]
fn refuses_flags_that_switch_verification_off() {
    for flags in [1, 2, 4, 1 << 31] {
        let partition = partition_with(&VbmetaBuilder { flags: VbmetaFlags(flags), ..builder() });
        assert_eq!(refusal(&partition), Some(RefusalCode::FlagsRefused), "{flags:#x}");
    }
}

#[test]
fn refuses_descriptors_that_are_missing_double_or_out_of_place() {
    let hash = || builder().descriptors.remove(0);
    let cmdline = Descriptor::KernelCmdline(KernelCmdlineDescriptor {
        flags: 0,
        cmdline: "init=/bin/sh".into(),
    });
    let unknown = Descriptor::Unknown { tag: 9, payload: vec![0; 8] };
    for (descriptors, code) in [
        (vec![], RefusalCode::DescriptorMissing),
        (vec![hash(), hash()], RefusalCode::DescriptorMissing),
        (vec![hash(), cmdline], RefusalCode::DescriptorMalformed),
        (vec![hash(), unknown], RefusalCode::DescriptorMalformed),
    ] {
        let partition = partition_with(&VbmetaBuilder { descriptors, ..builder() });
        assert_eq!(refusal(&partition), Some(code));
    }
}

#[test]
fn refuses_a_descriptor_that_covers_less_than_the_footer_says() {
    let short = HashDescriptor::of("bl2", &IMAGE[..8], avb::Hash::Sha256, b"salt");
    let descriptors = vec![Descriptor::Hash(short)];
    let partition = partition_with(&VbmetaBuilder { descriptors, ..builder() });
    assert_eq!(refusal(&partition), Some(RefusalCode::FooterMalformed));
}

#[test]
fn signs_footers_that_verify() {
    let builder = VbmetaBuilder { descriptors: vec![], ..builder() };
    let footer =
        hash_footer(IMAGE, "bl2", 131_072, &[9; 32], &builder, &public_key(), sign).unwrap();
    let partition = footer.assemble(IMAGE);
    assert_eq!(partition.len(), 131_072);
    assert_eq!(refusal(&partition), None);
}

#[test]
fn refuses_to_build_what_does_not_fit() {
    let image = vec![1; 65_536];
    let result =
        hash_footer(&image, "bl2", 131_072, b"", &builder(), &public_key(), sign).unwrap_err();
    assert!(matches!(result, BuildError::ImageTooLarge { max: 61_440, .. }), "{result}");
    let result =
        hash_footer(IMAGE, "bl2", 131_071, b"", &builder(), &public_key(), sign).unwrap_err();
    assert!(matches!(result, BuildError::Field { field: "partition_size", .. }), "{result}");
    let long = "p".repeat(32);
    let result =
        hash_footer(IMAGE, &long, 131_072, b"", &builder(), &public_key(), sign).unwrap_err();
    assert!(matches!(result, BuildError::Field { field: "partition_name", .. }), "{result}");
}

#[test]
fn refuses_a_signer_that_does_not_hold_the_key() {
    let other = RsaKey::generate(2048).unwrap();
    let wrong = builder().sign(&public_key(), |data| other.sign_pkcs1(Hash::Sha256, data));
    assert!(matches!(wrong, Err(BuildError::WrongSignature)));
    let short = builder().sign(&public_key(), |_| Ok::<_, crypto::Error>(vec![1; 10]));
    assert!(matches!(short, Err(BuildError::WrongSignature)));
    let size = VbmetaBuilder { algorithm: Algorithm::Sha256Rsa4096, ..builder() };
    let size = size.sign(&public_key(), sign);
    assert!(matches!(size, Err(BuildError::KeySize { need: 4096, have: 2048, .. })));
}

#[test]
fn public_key_blobs_are_checked_number_by_number() {
    let blob = public_key();
    assert_eq!(RsaPublicKeyBlob::decode(blob.as_bytes()).unwrap(), blob);
    for at in [0, 4, 8, 263, 264, 519] {
        let mut bytes = blob.as_bytes().to_vec();
        bytes[at] ^= 1;
        assert!(RsaPublicKeyBlob::decode(&bytes).is_err(), "byte {at}");
    }
    let longer = [blob.as_bytes(), &[0]].concat();
    assert!(RsaPublicKeyBlob::decode(&longer).is_err());
}
