//! Round trips, and bytes that nobody meant well.

use crate::device::{Device, KEY, public_key};
use avb::policy::{BootPolicy, verify_boot};
use avb::{
    Algorithm, ChainPartitionDescriptor, Descriptor, FOOTER_BYTES, Footer, HashDescriptor,
    HashName, HashtreeDescriptor, HashtreeErrorMode, Header, KernelCmdlineDescriptor,
    PropertyDescriptor, RsaPublicKeyBlob, SlotVerifyFlags, SlotVerifyResult, VbmetaBuilder,
    VbmetaImage, VbmetaVerdict, slot_verify, verify_hash_footer_partition, verify_vbmeta,
};
use crypto::sign::Hash;
use proptest::collection::vec;
use proptest::prelude::*;
use std::sync::LazyLock;

fn hash_name() -> impl Strategy<Value = HashName> {
    prop_oneof![
        Just(HashName::Sha1),
        Just(HashName::Sha256),
        Just(HashName::Sha512),
        Just(HashName::Blake2b256),
        Just(HashName::Other(b"md5".to_vec())),
    ]
}

fn name() -> impl Strategy<Value = String> {
    "[a-z_]{1,31}"
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..70)
}

fn hashtree() -> impl Strategy<Value = Descriptor> {
    let numbers = (any::<[u64; 5]>(), any::<[u32; 4]>(), 0..4_u32);
    (numbers, hash_name(), name(), bytes(), bytes()).prop_map(
        |((long, short, flags), hash_algorithm, partition_name, salt, root_digest)| {
            Descriptor::Hashtree(HashtreeDescriptor {
                dm_verity_version: short[0],
                image_size: long[0],
                tree_offset: long[1],
                tree_size: long[2],
                data_block_size: short[1],
                hash_block_size: short[2],
                fec_num_roots: short[3],
                fec_offset: long[3],
                fec_size: long[4],
                hash_algorithm,
                flags,
                partition_name,
                salt,
                root_digest,
            })
        },
    )
}

fn descriptor() -> impl Strategy<Value = Descriptor> {
    let hash = (any::<u64>(), hash_name(), 0..2_u32, name(), bytes(), bytes()).prop_map(
        |(image_size, hash_algorithm, flags, partition_name, salt, digest)| {
            Descriptor::Hash(HashDescriptor {
                image_size,
                hash_algorithm,
                flags,
                partition_name,
                salt,
                digest,
            })
        },
    );
    let chain = (1..u32::MAX, 0..2_u32, name(), bytes()).prop_map(
        |(rollback_index_location, flags, partition_name, public_key)| {
            Descriptor::ChainPartition(ChainPartitionDescriptor {
                rollback_index_location,
                flags,
                partition_name,
                public_key,
            })
        },
    );
    prop_oneof![
        ("\\PC{0,20}", bytes())
            .prop_map(|(key, value)| Descriptor::Property(PropertyDescriptor { key, value })),
        hashtree(),
        hash,
        (0..4_u32, "\\PC{0,40}").prop_map(|(flags, cmdline)| Descriptor::KernelCmdline(
            KernelCmdlineDescriptor { flags, cmdline }
        )),
        chain,
    ]
}

proptest! {
    #[test]
    fn descriptors_round_trip(descriptor in descriptor()) {
        let bytes = descriptor.encode();
        prop_assert_eq!(Descriptor::decode(&bytes), Ok(descriptor));
    }

    #[test]
    fn images_round_trip(descriptors in vec(descriptor(), 0..6), rollback_index: u64) {
        let builder = VbmetaBuilder { descriptors, rollback_index, ..VbmetaBuilder::default() };
        let bytes = builder.unsigned().unwrap();
        let image = VbmetaImage::parse(&bytes).unwrap();
        prop_assert_eq!(image.check_canonical(), Ok(()));
        prop_assert_eq!(image.descriptors().unwrap(), builder.descriptors);
        prop_assert_eq!(image.header().rollback_index, rollback_index);
        prop_assert_eq!(&image.header().encode()[..], &bytes[..256]);
        prop_assert_eq!(verify_vbmeta(&bytes), VbmetaVerdict::OkNotSigned);
    }

    #[test]
    fn strange_bytes_are_errors(bytes in vec(any::<u8>(), 0..600)) {
        let _ = Descriptor::decode(&bytes);
        let _ = Header::decode(&bytes);
        let _ = RsaPublicKeyBlob::decode(&bytes);
        if let Some(footer) = bytes.first_chunk::<FOOTER_BYTES>() {
            let _ = Footer::decode_strict(footer);
        }
        prop_assert_ne!(verify_vbmeta(&bytes), VbmetaVerdict::Ok);
        prop_assert!(verify_hash_footer_partition(&bytes, "bl1", &[0; 32], 0).is_err());
    }

    /// Numbers of a signed image are replaced by extreme ones: offsets and sizes that overflow,
    /// point elsewhere or overlap. Whatever libavb makes of it, nothing panics, and nothing that
    /// is altered boots.
    #[test]
    fn altered_numbers_are_refused(
        changes in vec((0..1200_usize, prop::sample::select(EXTREMES)), 1..4),
        into_footer: bool,
    ) {
        let mut device = sample();
        let image = device.partitions.get_mut("boot").unwrap();
        let original = image.clone();
        let base = if into_footer { image.len() - 64 } else { 4096 };
        for (at, value) in changes {
            let at = (base + at).min(image.len() - 8);
            image[at..at + 8].copy_from_slice(&value.to_be_bytes());
        }
        let changed = *image != original;
        for flags in 0..8 {
            let flags = SlotVerifyFlags::from_number(flags);
            slot_verify(&device, &["boot"], "", flags, HashtreeErrorMode::Restart);
        }
        let image = &device.partitions["boot"];
        let verified = verify_hash_footer_partition(image, "boot", &public_key().digest(), 0);
        prop_assert_eq!(verified.is_err(), changed);
        device.partitions.insert("vbmeta".into(), image[4096..].to_vec());
        let policy = BootPolicy {
            partitions: &["boot"],
            hashtrees: &[],
            suffix: "",
            maker_key_digest: [0; 32],
            hashtree_error_mode: HashtreeErrorMode::Restart,
            restart_caused_by_hashtree_corruption: false,
        };
        let _ = verify_boot(&device, &policy);
        device.unlocked = true;
        let _ = verify_boot(&device, &policy);
    }
}

const EXTREMES: &[u64] = &[
    0,
    1,
    7,
    63,
    64,
    0xffff,
    0x1_0000,
    u32::MAX as u64,
    0x8000_0000_0000_0000,
    u64::MAX - 255,
    u64::MAX - 15,
    u64::MAX,
    0x0000_0001_0000_0001,
];

/// A device with one partition that carries everything.
fn sample() -> Device {
    static BOOT: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let image = b"an image";
        let builder = VbmetaBuilder {
            algorithm: Algorithm::Sha256Rsa2048,
            descriptors: vec![Descriptor::Property(PropertyDescriptor::text("a", "b"))],
            ..VbmetaBuilder::default()
        };
        let footer =
            avb::hash_footer(image, "boot", 73_728, b"salt", &builder, &public_key(), |data| {
                KEY.sign_pkcs1(Hash::Sha256, data)
            })
            .unwrap();
        footer.assemble(image)
    });
    let mut device = Device::default();
    device.partitions.insert("boot".into(), BOOT.clone());
    device
}

/// What a signed image says about sizes costs no memory before it is compared with the device.
#[test]
fn a_signed_size_is_not_believed() {
    for (image_size, locked) in [
        (9, SlotVerifyResult::ErrorIo),
        (1 << 40, SlotVerifyResult::ErrorOom),
        (u64::MAX, SlotVerifyResult::ErrorOom),
    ] {
        let hash = HashDescriptor::of("boot", b"an image", avb::Hash::Sha256, b"");
        let builder = VbmetaBuilder {
            algorithm: Algorithm::Sha256Rsa2048,
            descriptors: vec![Descriptor::Hash(HashDescriptor { image_size, ..hash })],
            ..VbmetaBuilder::default()
        };
        let vbmeta =
            builder.sign(&public_key(), |data| KEY.sign_pkcs1(Hash::Sha256, data)).unwrap();
        let mut device = Device::default();
        device.partitions.insert("vbmeta".into(), vbmeta);
        device.partitions.insert("boot".into(), b"an image".to_vec());
        for (flags, result) in [(0, locked), (1, SlotVerifyResult::Ok)] {
            let flags = SlotVerifyFlags::from_number(flags);
            let mode = HashtreeErrorMode::Restart;
            assert_eq!(slot_verify(&device, &["boot"], "", flags, mode).result, result);
        }
    }
}

/// A descriptor area outside the auxiliary block, or not aligned, is not an error to libavb: it
/// sees no descriptors, or other bytes. We see the same and do not crash.
#[test]
fn a_descriptor_area_may_point_anywhere() {
    let builder = VbmetaBuilder {
        descriptors: vec![Descriptor::Property(PropertyDescriptor::text("a", "b"))],
        ..VbmetaBuilder::default()
    };
    let bytes = builder.unsigned().unwrap();
    for offset in [1, 8, 64, 1 << 20, u64::MAX] {
        for size in [0, 7, 16, 40, u64::MAX] {
            let mut altered = bytes.clone();
            altered[96..104].copy_from_slice(&u64::to_be_bytes(offset));
            altered[104..112].copy_from_slice(&u64::to_be_bytes(size));
            let image = VbmetaImage::parse(&altered).unwrap();
            let empty = image.descriptors().is_ok_and(|found| found.is_empty());
            assert!(image.descriptors().is_err() || (empty && size == 0), "{offset} {size}");
            let mut device = Device { unlocked: true, ..Device::default() };
            device.partitions.insert("vbmeta".into(), altered);
            let flags = SlotVerifyFlags::from_number(1);
            let outcome = slot_verify(&device, &["boot"], "", flags, HashtreeErrorMode::Restart);
            assert!(outcome.data.is_some());
        }
    }
}
