//! The boot policy: what libavb lets through and a locked device must not.

use crate::device::{Device, KEY, public_key};
use avb::policy::{BootPolicy, BootState, VerifiedSlot, verify_boot};
use avb::{
    Algorithm, ChainPartitionDescriptor, Descriptor, HashDescriptor, HashName, HashtreeDescriptor,
    HashtreeErrorMode, KernelCmdlineDescriptor, PropertyDescriptor, Refusal, RefusalCode,
    SlotVerifyFlags, SlotVerifyResult, VbmetaBuilder, VbmetaFlags, hash_footer, slot_verify,
};
use crypto::sign::Hash;

const BOOT: &[u8] = b"an image of a kernel";
const BASEBAND: &[u8] = b"firmware of the modem";

fn sign(data: &[u8]) -> Result<Vec<u8>, crypto::Error> {
    KEY.sign_pkcs1(Hash::Sha256, data)
}

fn hash(name: &str, image: &[u8]) -> Descriptor {
    Descriptor::Hash(HashDescriptor::of(name, image, avb::Hash::Sha256, &[1; 32]))
}

fn hashtree(name: &str, root_digest: &[u8]) -> Descriptor {
    Descriptor::Hashtree(HashtreeDescriptor {
        dm_verity_version: 1,
        image_size: 8192,
        tree_offset: 8192,
        tree_size: 4096,
        data_block_size: 4096,
        hash_block_size: 4096,
        fec_num_roots: 0,
        fec_offset: 0,
        fec_size: 0,
        hash_algorithm: HashName::Sha256,
        flags: 0,
        partition_name: name.into(),
        salt: vec![2; 32],
        root_digest: root_digest.to_vec(),
    })
}

fn builder() -> VbmetaBuilder {
    VbmetaBuilder {
        algorithm: Algorithm::Sha256Rsa2048,
        rollback_index: 3,
        descriptors: vec![
            hash("boot", BOOT),
            hash("baseband", BASEBAND),
            hashtree("system", &[3; 32]),
            Descriptor::Property(PropertyDescriptor::text("os_version", "16")),
            Descriptor::KernelCmdline(KernelCmdlineDescriptor {
                flags: 0,
                cmdline: "root=$(ANDROID_SYSTEM_PARTUUID)".into(),
            }),
        ],
        ..VbmetaBuilder::default()
    }
}

/// A locked device with slot a filled.
fn device(builder: &VbmetaBuilder) -> Device {
    let padded = |bytes: &[u8], size: usize| {
        let mut partition = bytes.to_vec();
        partition.resize(size, 0);
        partition
    };
    let vbmeta = builder.sign(&public_key(), sign).unwrap();
    let mut device =
        Device { trusted_key: Some(public_key().as_bytes().to_vec()), ..Device::default() };
    device.partitions = [
        ("vbmeta_a".to_owned(), padded(&vbmeta, 4096)),
        ("boot_a".to_owned(), padded(BOOT, 512)),
        ("baseband_a".to_owned(), padded(BASEBAND, 512)),
    ]
    .into();
    device.rollback.insert(0, 3);
    device
}

fn policy() -> BootPolicy<'static> {
    BootPolicy {
        partitions: &["boot", "baseband"],
        hashtrees: &["system"],
        suffix: "_a",
        maker_key_digest: public_key().digest(),
        hashtree_error_mode: HashtreeErrorMode::Restart,
        restart_caused_by_hashtree_corruption: false,
    }
}

fn boot(device: &Device) -> Result<VerifiedSlot, Refusal> {
    verify_boot(device, &policy())
}

fn code(device: &Device) -> Option<RefusalCode> {
    boot(device).err().map(|refusal| refusal.code)
}

#[test]
fn s2_2_boots_what_the_maker_signed() {
    let slot = boot(&device(&builder())).unwrap();
    assert_eq!(slot.state, BootState::Green);
    assert_eq!(slot.data.loaded("boot").unwrap().data, BOOT);
    assert_eq!(slot.data.rollback_indexes[0], 3);
    assert_eq!(slot.property("os_version"), Some("16"));
    assert_eq!(slot.release, builder().release.to_string());
    assert_eq!(slot.hashtree("system").unwrap().root_digest, [3; 32]);
    assert!(slot.data.cmdline.starts_with("root=1234-fake-guid-for:system_a "));
    assert_eq!(slot.overlooked, []);
}

#[test]
fn s2_2_boot_with_the_users_key_is_yellow() {
    let policy = BootPolicy { maker_key_digest: [0; 32], ..policy() };
    assert_eq!(verify_boot(&device(&builder()), &policy).unwrap().state, BootState::Yellow);
}

#[test]
fn s2_2_refuses_every_flipped_byte_of_every_partition() {
    let mut device = device(&builder());
    for name in ["vbmeta_a", "boot_a", "baseband_a"] {
        for at in 0..device.partitions[name].len() {
            let mask = 1 << (at % 8);
            device.partitions.get_mut(name).unwrap()[at] ^= mask;
            assert!(boot(&device).is_err(), "{name}, byte {at}");
            device.partitions.get_mut(name).unwrap()[at] ^= mask;
        }
    }
    assert!(boot(&device).is_ok());
}

#[test]
fn s2_2_refuses_rollback_below_stored_index() {
    let mut device = device(&builder());
    device.rollback.insert(0, 4);
    assert_eq!(code(&device), Some(RefusalCode::Rollback));
}

#[test]
fn s2_2_refuses_a_key_that_is_not_trusted() {
    let mut device = device(&builder());
    device.trusted_key = Some(vec![1, 2, 3]);
    assert_eq!(code(&device), Some(RefusalCode::KeyRejected));
}

#[test]
fn names_the_digest_when_the_image_is_another_one() {
    let mut device = device(&builder());
    device.partitions.get_mut("boot_a").unwrap()[0] ^= 1;
    assert_eq!(code(&device), Some(RefusalCode::DigestMismatch));
}

#[test]
fn refuses_bytes_behind_an_image() {
    for name in ["boot_a", "vbmeta_a"] {
        let mut device = device(&builder());
        *device.partitions.get_mut(name).unwrap().last_mut().unwrap() = 1;
        assert_eq!(code(&device), Some(RefusalCode::StrayBytes), "{name}");
    }
}

#[test]
fn refuses_signed_flags_while_locked() {
    for flags in [1, 2, 3, 4, 1 << 31] {
        let device = device(&VbmetaBuilder { flags: VbmetaFlags(flags), ..builder() });
        assert_eq!(code(&device), Some(RefusalCode::FlagsRefused), "{flags:#x}");
    }
}

#[test]
fn refuses_a_partition_that_no_descriptor_covers() {
    for without in ["boot", "baseband", "system"] {
        let mut builder = builder();
        builder.descriptors.retain(|d| d.partition_name() != Some(without));
        assert_eq!(code(&device(&builder)), Some(RefusalCode::DescriptorMissing), "{without}");
    }
}

#[test]
fn refuses_two_descriptors_for_one_partition() {
    for again in [hash("boot", BOOT), hashtree("system", &[4; 32])] {
        let mut builder = builder();
        builder.descriptors.push(again);
        assert_eq!(code(&device(&builder)), Some(RefusalCode::DescriptorMissing));
    }
}

#[test]
fn refuses_descriptors_that_libavb_would_skip() {
    for tag in [5, u64::MAX] {
        let mut builder = builder();
        builder.descriptors.push(Descriptor::Unknown { tag, payload: vec![0; 16] });
        assert_eq!(code(&device(&builder)), Some(RefusalCode::DescriptorMalformed));
    }
    // A property that says it is longer than it is.
    let mut payload = vec![0xff; 8];
    payload.extend([0; 8]);
    let mut builder = builder();
    builder.descriptors.push(Descriptor::Unknown { tag: 0, payload });
    assert_eq!(code(&device(&builder)), Some(RefusalCode::DescriptorMalformed));
}

#[test]
fn refuses_unknown_bits_in_a_descriptor() {
    let mut builder = builder();
    for descriptor in &mut builder.descriptors {
        if let Descriptor::KernelCmdline(cmdline) = descriptor {
            cmdline.flags = 4;
        }
    }
    assert_eq!(code(&device(&builder)), Some(RefusalCode::DescriptorMalformed));
}

#[test]
fn an_unlocked_device_boots_and_says_what_it_overlooked() {
    let mut device = device(&builder());
    device.unlocked = true;
    device.rollback.insert(0, 9);
    device.partitions.get_mut("boot_a").unwrap()[0] ^= 1;
    let slot = boot(&device).unwrap();
    assert_eq!(slot.state, BootState::Orange);
    let codes: Vec<_> = slot.overlooked.iter().map(|refusal| refusal.code).collect();
    assert_eq!(codes, [RefusalCode::Rollback, RefusalCode::DigestMismatch]);
}

#[test]
fn a_chained_partition_brings_its_own_vbmeta() {
    let chained = VbmetaBuilder { descriptors: vec![], rollback_index: 8, ..builder() };
    let footer =
        hash_footer(BOOT, "boot", 131_072, &[5; 32], &chained, &public_key(), sign).unwrap();
    let chain = |location| {
        let mut builder = builder();
        builder.descriptors[0] = Descriptor::ChainPartition(ChainPartitionDescriptor {
            rollback_index_location: location,
            flags: 0,
            partition_name: "boot".into(),
            public_key: public_key().as_bytes().to_vec(),
        });
        let mut device = device(&builder);
        device.partitions.insert("boot_a".into(), footer.assemble(BOOT));
        device
    };
    let mut device = chain(2);
    let slot = boot(&device).unwrap();
    assert_eq!(slot.data.rollback_indexes[2], 8);
    assert_eq!(slot.data.loaded("boot").unwrap().data, BOOT);

    let image = device.partitions["boot_a"].clone();
    for at in [0, 19, 20, 4095, 4096, 4400, 8192, 131_007, 131_008, 131_071] {
        device.partitions.get_mut("boot_a").unwrap()[at] ^= 0x10;
        assert!(boot(&device).is_err(), "byte {at}");
        device.partitions.insert("boot_a".into(), image.clone());
    }
    device.rollback.insert(2, 9);
    assert_eq!(code(&device), Some(RefusalCode::Rollback));
    assert!(boot(&chain(32)).is_err(), "there are 32 locations only");
}

/// libavb forgets an error in a chain when a hashtree descriptor with a persistent digest comes
/// after it, and says OK.
#[test]
fn an_error_in_a_chain_is_not_forgotten() {
    let mut builder = builder();
    builder.descriptors = vec![
        Descriptor::ChainPartition(ChainPartitionDescriptor {
            rollback_index_location: 1,
            flags: 0,
            partition_name: "boot".into(),
            public_key: b"another key".to_vec(),
        }),
        hashtree("factory", &[]),
    ];
    let chained = VbmetaBuilder { descriptors: vec![], ..builder.clone() };
    let footer =
        hash_footer(BOOT, "boot", 131_072, &[5; 32], &chained, &public_key(), sign).unwrap();
    let mut device = device(&builder);
    device.partitions = device
        .partitions
        .into_iter()
        .map(|(name, bytes)| (name.trim_end_matches("_a").to_owned(), bytes))
        .collect();
    device.partitions.insert("boot".into(), footer.assemble(BOOT));
    let digest = ("avb.persistent_digest.factory".to_owned(), vec![6; 32]);
    device.persistent.get_mut().extend([digest]);
    let mode = HashtreeErrorMode::Restart;
    let outcome = slot_verify(&device, &["boot"], "", SlotVerifyFlags::default(), mode);
    assert_eq!((outcome.result, outcome.refusal), (SlotVerifyResult::Ok, None));
    assert_eq!(outcome.findings.len(), 1);
    let policy = BootPolicy { partitions: &["boot"], suffix: "", ..policy() };
    let refusal = verify_boot(&device, &policy).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::KeyRejected, "{refusal}");
}

#[test]
fn a_persistent_digest_is_set_once_and_then_holds() {
    let persistent = Descriptor::Hash(HashDescriptor {
        digest: vec![],
        ..HashDescriptor::of("factory", b"", avb::Hash::Sha256, b"")
    });
    let image_size = 8;
    let Descriptor::Hash(hash) = persistent else { unreachable!("made so above") };
    let descriptors = vec![Descriptor::Hash(HashDescriptor { image_size, flags: 1, ..hash })];
    let mut device = device(&VbmetaBuilder { descriptors, ..builder() });
    device.partitions.insert("factory".into(), b"original".to_vec());
    let verify = |device: &Device| {
        let flags = SlotVerifyFlags::default();
        slot_verify(device, &["factory"], "_a", flags, HashtreeErrorMode::Restart).result
    };
    assert_eq!(verify(&device), SlotVerifyResult::Ok);
    assert_eq!(device.persistent.borrow().len(), 1);
    device.partitions.insert("factory".into(), b"replaced".to_vec());
    assert_eq!(verify(&device), SlotVerifyResult::ErrorVerification);
}

#[test]
fn a_chain_leads_only_where_every_byte_is_counted() {
    let chained = VbmetaBuilder { descriptors: vec![], ..builder() };
    let image = chained.sign(&public_key(), sign).unwrap();
    let with = |name: &str| {
        let mut builder = builder();
        builder.descriptors.push(Descriptor::ChainPartition(ChainPartitionDescriptor {
            rollback_index_location: 1,
            flags: 0,
            partition_name: name.into(),
            public_key: public_key().as_bytes().to_vec(),
        }));
        let mut partition = image.clone();
        partition.resize(8192, 0);
        let mut device = device(&builder);
        device.partitions.insert(format!("{name}_a"), partition);
        device
    };
    let mut device = with("vbmeta_system");
    assert_eq!(code(&device), None);
    device.partitions.get_mut("vbmeta_system_a").unwrap()[8191] = 1;
    assert_eq!(code(&device), Some(RefusalCode::StrayBytes));
    assert_eq!(code(&with("vendor")), Some(RefusalCode::StrayBytes));
}

#[test]
fn refuses_a_command_line_with_a_nul() {
    let mut builder = builder();
    builder.descriptors.push(Descriptor::KernelCmdline(KernelCmdlineDescriptor {
        flags: 0,
        cmdline: "a\0b".into(),
    }));
    assert_eq!(code(&device(&builder)), Some(RefusalCode::DescriptorMalformed));
}
