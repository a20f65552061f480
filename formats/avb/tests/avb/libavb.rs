//! libavb's decisions, case by case: every flag, state, error mode and header field that a slot
//! can have. The expectations are the rules of libavb's sources, written down as tables.

use crate::device::{Device, KEY, public_key};
use avb::{
    Algorithm, ChainPartitionDescriptor, DO_NOT_USE_AB, Descriptor, HashDescriptor, HashName,
    HashtreeDescriptor, HashtreeErrorMode, KernelCmdlineDescriptor, SlotOutcome, SlotVerifyFlags,
    SlotVerifyResult as Verdict, VbmetaBuilder, VbmetaFlags, slot_verify,
};
use crypto::sign::Hash;

const BOOT: &[u8] = b"an image of a kernel";
const DTBO: &[u8] = b"an overlay";

fn sign(data: &[u8]) -> Result<Vec<u8>, crypto::Error> {
    KEY.sign_pkcs1(Hash::Sha256, data)
}

fn hash(name: &str, image: &[u8]) -> HashDescriptor {
    HashDescriptor::of(name, image, avb::Hash::Sha256, &[1; 32])
}

fn cmdline(flags: u32, text: &str) -> Descriptor {
    Descriptor::KernelCmdline(KernelCmdlineDescriptor { flags, cmdline: text.into() })
}

fn persistent_tree(name: &str, flags: u32, hash_algorithm: HashName) -> Descriptor {
    Descriptor::Hashtree(HashtreeDescriptor {
        dm_verity_version: 1,
        image_size: 4096,
        tree_offset: 4096,
        tree_size: 0,
        data_block_size: 4096,
        hash_block_size: 4096,
        fec_num_roots: 0,
        fec_offset: 0,
        fec_size: 0,
        hash_algorithm,
        flags,
        partition_name: name.into(),
        salt: vec![],
        root_digest: vec![],
    })
}

fn builder(descriptors: Vec<Descriptor>) -> VbmetaBuilder {
    VbmetaBuilder {
        algorithm: Algorithm::Sha256Rsa2048,
        rollback_index: 5,
        descriptors,
        ..VbmetaBuilder::default()
    }
}

fn usual() -> VbmetaBuilder {
    builder(vec![
        Descriptor::Hash(hash("boot", BOOT)),
        Descriptor::Hash(hash("dtbo", DTBO)),
        cmdline(0, "vm=$(ANDROID_VERITY_MODE)"),
        cmdline(1, "tree=on"),
        cmdline(2, "tree=off"),
    ])
}

fn device(vbmeta: Vec<u8>) -> Device {
    let mut device =
        Device { trusted_key: Some(public_key().as_bytes().to_vec()), ..Device::default() };
    let partitions = [("vbmeta", vbmeta), ("boot", padded(BOOT)), ("dtbo", padded(DTBO))];
    device.partitions = partitions.map(|(name, bytes)| (name.to_owned(), bytes)).into();
    device
}

fn padded(image: &[u8]) -> Vec<u8> {
    let mut partition = image.to_vec();
    partition.resize(512, 0);
    partition
}

fn device_of(builder: &VbmetaBuilder) -> Device {
    device(builder.sign(&public_key(), sign).unwrap())
}

const LOCKED: u32 = 0;
const ALLOW: u32 = 1;
const CORRUPTED: u32 = 2;
const NO_VBMETA: u32 = 4;

fn judge(device: &Device, flags: u32) -> SlotOutcome {
    judge_mode(device, flags, HashtreeErrorMode::Restart)
}

fn judge_mode(device: &Device, flags: u32, mode: HashtreeErrorMode) -> SlotOutcome {
    slot_verify(device, &["boot", "dtbo"], "", SlotVerifyFlags::from_number(flags), mode)
}

/// The verdict, and whether data comes with it.
#[track_caller]
fn check(what: &str, outcome: &SlotOutcome, verdict: Verdict, with_data: bool) {
    assert_eq!(outcome.result, verdict, "{what}: {:?}", outcome.findings);
    assert_eq!(outcome.data.is_some(), with_data, "{what}");
    assert_eq!(outcome.refusal.is_some(), verdict != Verdict::Ok, "{what}");
}

/// Signs an altered header again, with the sizes of the blocks as they were.
fn resign(image: &mut [u8]) {
    let (authentication, rest) = image[256..].split_at(320);
    let signed = [&image[..256], rest].concat();
    let mut block = avb::Hash::Sha256.digest(&[&signed]);
    block.extend(sign(&signed).unwrap());
    block.resize(authentication.len(), 0);
    image[256..256 + 320].copy_from_slice(&block);
}

/// Each header field with values that a decoder may trip over: the verdict where somebody edited
/// the image, and where the maker signed it so.
#[test]
fn s2_2_judges_header_fields_as_libavb() {
    use Verdict::{
        ErrorInvalidMetadata as Metadata, ErrorIo as Io, ErrorRollbackIndex as Rollback,
        ErrorUnsupportedVersion as Version, ErrorVerification as Signature, Ok,
    };
    let original = usual().sign(&public_key(), sign).unwrap();
    let auxiliary = (original.len() - 256 - 320) as u64;
    let end = original.len() as u64;
    let table: Vec<(&str, usize, usize, u64, Verdict, Verdict)> = vec![
        ("magic", 0, 4, 0, Metadata, Metadata),
        ("required major", 4, 4, 0, Version, Version),
        ("required major", 4, 4, 2, Version, Version),
        ("required minor", 8, 4, 3, Signature, Ok),
        ("required minor", 8, 4, 5, Version, Version),
        ("authentication size", 12, 8, 1, Metadata, Metadata),
        ("authentication size", 12, 8, u64::MAX - 63, Metadata, Metadata),
        ("authentication size", 12, 8, end, Metadata, Metadata),
        ("auxiliary size", 20, 8, 0, Metadata, Metadata),
        ("auxiliary size", 20, 8, auxiliary + 64, Metadata, Metadata),
        ("algorithm", 28, 4, 0, Signature, Signature),
        ("algorithm", 28, 4, 2, Signature, Signature),
        ("algorithm", 28, 4, 4, Metadata, Metadata),
        ("algorithm", 28, 4, 7, Metadata, Metadata),
        ("algorithm", 28, 4, 9, Metadata, Metadata),
        ("algorithm", 28, 4, u32::MAX as u64, Metadata, Metadata),
        ("hash offset", 32, 8, 1, Signature, Signature),
        ("hash offset", 32, 8, 320, Metadata, Metadata),
        ("hash offset", 32, 8, u64::MAX, Metadata, Metadata),
        ("hash size", 40, 8, 0, Metadata, Metadata),
        ("hash size", 40, 8, 31, Metadata, Metadata),
        ("signature offset", 48, 8, 0, Signature, Signature),
        ("signature offset", 48, 8, 65, Metadata, Metadata),
        ("signature size", 56, 8, 0, Signature, Signature),
        ("signature size", 56, 8, 255, Signature, Signature),
        ("signature size", 56, 8, u64::MAX, Metadata, Metadata),
        ("public key offset", 64, 8, auxiliary, Metadata, Metadata),
        ("public key offset", 64, 8, 0, Signature, Signature),
        ("public key size", 72, 8, 519, Signature, Signature),
        ("public key size", 72, 8, u64::MAX, Metadata, Metadata),
        // Where there is no metadata, libavb does not look at its offset.
        ("public key metadata offset", 80, 8, u64::MAX, Signature, Ok),
        ("public key metadata size", 88, 8, 1, Signature, Ok),
        ("public key metadata size", 88, 8, auxiliary + 1, Metadata, Metadata),
        ("descriptors offset", 96, 8, u64::MAX - 7, Signature, Ok),
        ("descriptors offset", 96, 8, 1 << 40, Signature, Ok),
        ("descriptors size", 104, 8, 0, Signature, Ok),
        ("descriptors size", 104, 8, u64::MAX, Signature, Ok),
        ("rollback index", 112, 8, 4, Signature, Rollback),
        ("rollback index", 112, 8, u64::MAX, Signature, Ok),
        ("flags", 120, 4, 4, Signature, Ok),
        ("flags", 120, 4, 0x8000_0000, Signature, Ok),
        ("rollback index location", 124, 4, 31, Signature, Ok),
        ("rollback index location", 124, 4, 32, Signature, Io),
        ("rollback index location", 124, 4, u32::MAX as u64, Signature, Io),
        ("end of the release string", 175, 1, 1, Metadata, Metadata),
        ("release string", 130, 1, 0xff, Signature, Ok),
        ("reserved", 200, 1, 1, Signature, Ok),
    ];
    for (field, offset, size, value, edited, signed) in table {
        let mut image = original.clone();
        image[offset..offset + size].copy_from_slice(&value.to_be_bytes()[8 - size..]);
        let what = format!("{field} = {value:#x}");
        let mut altered = device(image.clone());
        altered.rollback.insert(0, 5);
        let without_data = judge(&altered, LOCKED);
        check(&format!("{what}, edited"), &without_data, edited, false);
        resign(&mut image);
        altered.partitions.insert("vbmeta".into(), image);
        check(&format!("{what}, signed"), &judge(&altered, LOCKED), signed, signed == Ok);
    }
}

#[test]
fn a_wrong_signature_hides_rollback_and_key_checks_from_nobody() {
    let mut image = usual().sign(&public_key(), sign).unwrap();
    image[250] ^= 1;
    let mut altered = device(image);
    check("locked", &judge(&altered, LOCKED), Verdict::ErrorVerification, false);
    check("allowed", &judge(&altered, ALLOW), Verdict::ErrorVerification, true);
    altered.rollback.insert(0, 6);
    check("and rollback", &judge(&altered, ALLOW), Verdict::ErrorRollbackIndex, true);
    let cmdline = judge(&altered, ALLOW).data.unwrap().cmdline;
    assert!(!cmdline.contains("public_key_digest"), "nobody vouches for the key: {cmdline}");
}

#[test]
fn s2_2_the_last_error_is_the_verdict_where_errors_are_allowed() {
    let mut device = device_of(&usual());
    device.trusted_key = Some(vec![]);
    check("locked", &judge(&device, LOCKED), Verdict::ErrorPublicKeyRejected, false);
    check("allowed", &judge(&device, ALLOW), Verdict::ErrorPublicKeyRejected, true);
    device.rollback.insert(0, 6);
    check("and rollback", &judge(&device, ALLOW), Verdict::ErrorRollbackIndex, true);
    device.partitions.get_mut("dtbo").unwrap()[0] ^= 1;
    let outcome = judge(&device, ALLOW);
    check("and a digest", &outcome, Verdict::ErrorVerification, true);
    assert_eq!(outcome.findings.len(), 3);
    let loaded = outcome.data.unwrap().loaded_partitions;
    assert_eq!(loaded.iter().map(|l| l.data.len()).collect::<Vec<_>>(), [512, 512]);
    device.partitions.remove("dtbo");
    check("and no partition", &judge(&device, ALLOW), Verdict::ErrorIo, false);
}

/// All error modes: what the command line says and which mode comes out.
#[test]
fn s2_2_each_hashtree_error_mode_has_its_words() {
    use HashtreeErrorMode as Mode;
    for (mode, dm_verity, verity_mode, more) in [
        (Mode::RestartAndInvalidate, "restart_on_corruption", "enforcing", "invalidate_on_error"),
        (Mode::Restart, "restart_on_corruption", "enforcing", ""),
        (Mode::Eio, "ignore_zero_blocks", "eio", ""),
        (Mode::Logging, "ignore_corruption", "logging", ""),
        (Mode::ManagedRestartAndEio, "restart_on_corruption", "enforcing", "veritymode.managed"),
        (Mode::Panic, "panic_on_corruption", "panicking", ""),
    ] {
        for (unlocked, flags) in [(false, LOCKED), (true, LOCKED), (false, ALLOW), (true, ALLOW)] {
            let mut device = device_of(&usual());
            device.unlocked = unlocked;
            let outcome = judge_mode(&device, flags, mode);
            if mode == Mode::Logging && flags == LOCKED {
                check("logging", &outcome, Verdict::ErrorInvalidArgument, false);
                continue;
            }
            check(verity_mode, &outcome, Verdict::Ok, true);
            let cmdline = outcome.data.unwrap().cmdline;
            let state = if unlocked { "unlocked" } else { "locked" };
            for due in [
                format!("vm={dm_verity} tree=on "),
                format!("androidboot.veritymode={verity_mode}"),
                format!("androidboot.vbmeta.device_state={state} "),
                more.to_owned(),
            ] {
                assert!(cmdline.contains(&due), "{due} in {cmdline}");
            }
            assert_eq!(cmdline.contains("invalidate_on_error=yes"), more.starts_with("inval"));
            assert_eq!(cmdline.contains("managed=yes"), more.ends_with("managed"));
        }
    }
}

#[test]
fn s2_2_a_managed_mode_stays_with_eio_until_the_system_changes() {
    const NAME: &str = "avb.managed_verity_mode";
    let managed = |device: &Device, flags: u32| {
        let outcome = judge_mode(device, flags, HashtreeErrorMode::ManagedRestartAndEio);
        (outcome.result, outcome.data.map(|data| data.hashtree_error_mode))
    };
    let restart = (Verdict::Ok, Some(HashtreeErrorMode::Restart));
    let eio = (Verdict::Ok, Some(HashtreeErrorMode::Eio));
    let device = device_of(&usual());
    assert_eq!(managed(&device, LOCKED), restart);
    assert_eq!(managed(&device, CORRUPTED), eio);
    assert_eq!(device.persistent.borrow()[NAME].len(), 32);
    assert_eq!(managed(&device, LOCKED), eio);
    let updated = VbmetaBuilder { rollback_index: 6, ..usual() };
    let mut other = device_of(&updated);
    other.persistent = device.persistent;
    assert_eq!(managed(&other, LOCKED), restart);
    assert!(other.persistent.borrow().is_empty());
    for stored in [vec![1; 31], vec![1; 33]] {
        other.persistent.get_mut().insert(NAME.into(), stored);
        assert_eq!(managed(&other, LOCKED), (Verdict::ErrorIo, None));
    }
}

#[test]
fn flags_of_the_top_level_switch_things_off() {
    let with = |flags: u32| device_of(&VbmetaBuilder { flags: VbmetaFlags(flags), ..usual() });
    let off = judge(&with(VbmetaFlags::HASHTREE_DISABLED), LOCKED);
    let cmdline = off.data.unwrap().cmdline;
    assert!(cmdline.starts_with("vm=$(ANDROID_VERITY_MODE) tree=off "), "{cmdline}");
    assert!(cmdline.contains("androidboot.veritymode=disabled"), "{cmdline}");
    let mut device = with(VbmetaFlags::VERIFICATION_DISABLED);
    device.partitions.get_mut("boot").unwrap()[0] ^= 1;
    let data = judge_mode(&device, LOCKED, HashtreeErrorMode::Eio).data.unwrap();
    assert_eq!(data.cmdline, "root=PARTUUID=1234-fake-guid-for:system");
    assert_eq!(data.hashtree_error_mode, HashtreeErrorMode::RestartAndInvalidate);
    assert_eq!(data.rollback_indexes, [0; 32]);
    assert_eq!(data.loaded_partitions[0].data.len(), 512);
    device.partitions.remove("dtbo");
    check("nothing to load", &judge(&device, LOCKED), Verdict::ErrorIo, false);
}

/// Hash descriptors, one field at a time.
#[test]
fn s2_2_judges_hash_descriptors_as_libavb() {
    use Verdict::{
        ErrorInvalidMetadata as Metadata, ErrorIo as Io, ErrorOom as Oom,
        ErrorVerification as Wrong, Ok,
    };
    type Change = fn(&mut HashDescriptor);
    let table: [(&str, Change, Verdict, Verdict); 14] = [
        ("as it is", |_| {}, Ok, Ok),
        ("image one less", |d| d.image_size -= 1, Wrong, Wrong),
        ("image one more", |d| d.image_size += 1, Wrong, Wrong),
        ("image of nothing", |d| d.image_size = 0, Wrong, Wrong),
        ("image larger than the partition", |d| d.image_size = 513, Io, Wrong),
        ("image larger than memory", |d| d.image_size = u64::MAX, Oom, Wrong),
        ("another salt", |d| d.salt[0] ^= 1, Wrong, Wrong),
        ("no salt", |d| d.salt.clear(), Wrong, Wrong),
        ("another digest", |d| d.digest[0] ^= 1, Wrong, Wrong),
        ("a short digest", |d| d.digest.truncate(31), Metadata, Metadata),
        ("sha1", |d| d.hash_algorithm = HashName::Sha1, Metadata, Metadata),
        ("sha512", |d| d.hash_algorithm = HashName::Sha512, Metadata, Metadata),
        (
            "no such function",
            |d| d.hash_algorithm = HashName::Other(b"md5".into()),
            Metadata,
            Metadata,
        ),
        ("not requested", |d| d.partition_name = "vendor_boot".into(), Ok, Ok),
    ];
    for (what, change, locked, allowed) in table {
        let mut descriptor = hash("boot", BOOT);
        change(&mut descriptor);
        let device = device_of(&builder(vec![Descriptor::Hash(descriptor)]));
        check(what, &judge(&device, LOCKED), locked, locked == Ok);
        let with_data = matches!(allowed, Ok | Wrong);
        check(&format!("{what}, allowed"), &judge(&device, ALLOW), allowed, with_data);
    }
}

#[test]
fn s2_2_slots_and_what_has_none() {
    let both = |flags: u32, digest: bool| {
        let mut descriptor = HashDescriptor { flags, ..hash("boot", BOOT) };
        if !digest {
            descriptor.digest.clear();
        }
        let mut device = device_of(&builder(vec![Descriptor::Hash(descriptor)]));
        let vbmeta = device.partitions.remove("vbmeta").unwrap();
        device.partitions.insert("vbmeta_b".into(), vbmeta);
        device.partitions.insert("boot_b".into(), padded(BOOT));
        device
    };
    let judge = |device: &Device, suffix: &str| {
        let mode = HashtreeErrorMode::Restart;
        slot_verify(device, &["boot"], suffix, SlotVerifyFlags::default(), mode)
    };
    let mut device = both(0, true);
    check("slot b", &judge(&device, "_b"), Verdict::Ok, true);
    check("slot a", &judge(&device, "_a"), Verdict::ErrorIo, false);
    let long = "_".repeat(26);
    check("a long suffix", &judge(&device, &long), Verdict::ErrorInvalidMetadata, false);
    device.partitions.remove("boot_b");
    check("boot has no slots", &judge(&device, "_b"), Verdict::ErrorIo, false);
    let mut device = both(DO_NOT_USE_AB, true);
    device.partitions.remove("boot_b");
    check("boot needs none", &judge(&device, "_b"), Verdict::Ok, true);
    let persistent = both(0, false);
    check("in a slot", &judge(&persistent, "_b"), Verdict::ErrorInvalidMetadata, false);
    check("in none", &judge(&both(DO_NOT_USE_AB, false), "_b"), Verdict::Ok, true);
}

#[test]
fn s2_2_persistent_digests_are_initialised_while_locked_only() {
    let descriptor = HashDescriptor { digest: vec![], ..hash("boot", BOOT) };
    let mut device = device_of(&builder(vec![Descriptor::Hash(descriptor)]));
    const NAME: &str = "avb.persistent_digest.boot";
    device.unlocked = true;
    check("unlocked", &judge(&device, LOCKED), Verdict::ErrorVerification, false);
    check("unlocked, allowed", &judge(&device, ALLOW), Verdict::ErrorVerification, true);
    assert!(device.persistent.borrow().is_empty());
    device.unlocked = false;
    check("first boot", &judge(&device, LOCKED), Verdict::Ok, true);
    assert_eq!(device.persistent.borrow()[NAME], hash("boot", BOOT).digest);
    device.partitions.get_mut("boot").unwrap()[3] ^= 1;
    check("another image", &judge(&device, LOCKED), Verdict::ErrorVerification, false);
    for size in [0, 31, 33, 64] {
        device.persistent.get_mut().insert(NAME.into(), vec![0; size]);
        check("another size", &judge(&device, ALLOW), Verdict::ErrorInvalidMetadata, false);
    }
}

#[test]
fn s2_2_persistent_root_digests_go_to_the_command_line() {
    let tree = |flags, hash| {
        let text = cmdline(0, "root=$(AVB_FACTORY_ROOT_DIGEST)");
        device_of(&builder(vec![text, persistent_tree("factory", flags, hash)]))
    };
    const NAME: &str = "avb.persistent_digest.factory";
    for (hash, size) in [(HashName::Sha1, 20), (HashName::Sha256, 32), (HashName::Sha512, 64)] {
        let mut device = tree(0, hash);
        check("missing", &judge(&device, LOCKED), Verdict::ErrorVerification, false);
        let allowed = judge(&device, ALLOW);
        check("missing, allowed", &allowed, Verdict::ErrorVerification, true);
        assert_eq!(allowed.data.unwrap().rollback_indexes[0], 0, "libavb stopped before it");
        device.persistent.get_mut().insert(NAME.into(), vec![0xab; size]);
        let data = judge(&device, LOCKED).data.unwrap();
        let digest = "ab".repeat(size);
        assert!(data.cmdline.starts_with(&format!("root={digest} ")), "{}", data.cmdline);
        device.persistent.get_mut().insert(NAME.into(), vec![0xab; size - 1]);
        check("short", &judge(&device, LOCKED), Verdict::ErrorInvalidMetadata, false);
    }
    let unknown = tree(0, HashName::Blake2b256);
    check("blake2b", &judge(&unknown, LOCKED), Verdict::ErrorInvalidMetadata, false);
}

/// Without a vbmeta partition each requested one has its own image; where errors are allowed, the
/// last one's verdict is the slot's, even if an earlier one could not be read at all.
#[test]
fn s2_2_without_a_vbmeta_partition_the_last_verdict_counts() {
    let own = |name: &str, image: &[u8], flags: u32| {
        let builder = VbmetaBuilder { flags: VbmetaFlags(flags), ..builder(vec![]) };
        let footer = avb::hash_footer(image, name, 73_728, b"", &builder, &public_key(), sign);
        footer.unwrap().assemble(image)
    };
    let mut device = device_of(&usual());
    device.partitions.insert("boot".into(), own("boot", BOOT, 0));
    device.partitions.insert("dtbo".into(), own("dtbo", DTBO, 0));
    let outcome = judge(&device, NO_VBMETA);
    check("both", &outcome, Verdict::Ok, true);
    let data = outcome.data.unwrap();
    assert!(!data.cmdline.contains("vbmeta.device="), "{}", data.cmdline);
    assert_eq!(data.rollback_indexes[5], 5);
    let nothing = slot_verify(
        &device,
        &[],
        "",
        SlotVerifyFlags::from_number(NO_VBMETA),
        HashtreeErrorMode::Restart,
    );
    check("nothing", &nothing, Verdict::ErrorInvalidArgument, false);
    let boot = device.partitions.remove("boot").unwrap();
    check("no boot", &judge(&device, NO_VBMETA), Verdict::ErrorIo, false);
    let allowed = judge(&device, NO_VBMETA | ALLOW);
    check("no boot, allowed", &allowed, Verdict::Ok, true);
    assert_eq!(allowed.findings.len(), 1);
    device.partitions.insert("boot".into(), boot);
    device.partitions.insert("dtbo".into(), own("dtbo", DTBO, 2));
    check("flags", &judge(&device, NO_VBMETA), Verdict::ErrorInvalidMetadata, false);
}

#[test]
fn s2_2_chains_have_their_own_key_and_rollback_location() {
    let chain = |location: u32, key: &[u8], flags: u32| {
        Descriptor::ChainPartition(ChainPartitionDescriptor {
            rollback_index_location: location,
            flags,
            partition_name: "boot".into(),
            public_key: key.to_vec(),
        })
    };
    let key = public_key();
    let chained = |descriptors: Vec<Descriptor>, flags: u32| {
        let builder = VbmetaBuilder { flags: VbmetaFlags(flags), ..builder(descriptors) };
        avb::hash_footer(BOOT, "boot", 73_728, b"", &builder, &key, sign).unwrap().assemble(BOOT)
    };
    let device = |top: Descriptor, boot: Vec<u8>| {
        let mut device = device_of(&builder(vec![top]));
        device.partitions.insert("boot".into(), boot);
        device
    };
    let good = chained(vec![], 0);
    let key_bytes = key.as_bytes();
    for (what, top, boot, stored, locked) in [
        ("good", chain(3, key_bytes, 0), good.clone(), 5, Verdict::Ok),
        ("unknown flags", chain(3, key_bytes, 0xfe), good.clone(), 5, Verdict::Ok),
        ("rollback", chain(3, key_bytes, 0), good.clone(), 6, Verdict::ErrorRollbackIndex),
        ("key", chain(3, &key_bytes[1..], 0), good.clone(), 5, Verdict::ErrorPublicKeyRejected),
        ("location 32", chain(32, key_bytes, 0), good.clone(), 5, Verdict::ErrorIo),
        ("flags", chain(3, key_bytes, 0), chained(vec![], 1), 5, Verdict::ErrorInvalidMetadata),
        (
            "a chain in a chain",
            chain(3, key_bytes, 0),
            chained(vec![chain(4, key_bytes, 0)], 0),
            5,
            Verdict::ErrorInvalidMetadata,
        ),
    ] {
        let mut device = device(top, boot);
        device.rollback.insert(3, stored);
        let outcome = judge(&device, LOCKED);
        check(what, &outcome, locked, locked == Verdict::Ok);
        if let Some(data) = outcome.data {
            assert_eq!((data.rollback_indexes[0], data.rollback_indexes[3]), (5, 5));
            assert_eq!(data.vbmeta_images[1].partition, "boot");
        }
    }
    let mut location_0 = chain(3, key_bytes, 0).encode();
    location_0[19] = 0;
    let top = Descriptor::Unknown { tag: 4, payload: location_0[16..].to_vec() };
    check("location 0", &judge(&device(top, good), LOCKED), Verdict::ErrorInvalidMetadata, false);
}

/// The footer is not signed: what it says decides where libavb looks, and no more.
#[test]
fn a_footer_that_lies_leads_nowhere() {
    let key = public_key();
    let good = avb::hash_footer(BOOT, "boot", 73_728, b"", &builder(vec![]), &key, sign).unwrap();
    let good = good.assemble(BOOT);
    let top = Descriptor::ChainPartition(ChainPartitionDescriptor {
        rollback_index_location: 1,
        flags: 0,
        partition_name: "boot".into(),
        public_key: key.as_bytes().to_vec(),
    });
    let start = good.len() - 64;
    for (what, at, value, verdict) in [
        ("original size", 12, u64::MAX, Verdict::Ok),
        ("offset 0", 20, 0, Verdict::ErrorInvalidMetadata),
        ("offset behind the end", 20, 1 << 30, Verdict::ErrorInvalidMetadata),
        ("offset from the end", 20, u64::MAX, Verdict::ErrorInvalidMetadata),
        ("offset before the start", 20, 1 << 63, Verdict::ErrorIo),
        ("size 0", 28, 0, Verdict::ErrorInvalidMetadata),
        ("size one too small", 28, 255, Verdict::ErrorInvalidMetadata),
        ("size 64 KiB", 28, 65_536, Verdict::Ok),
        // Then libavb looks at the start of the partition.
        ("size over 64 KiB", 28, 65_537, Verdict::ErrorInvalidMetadata),
    ] {
        let mut boot = good.clone();
        boot[start + at..start + at + 8].copy_from_slice(&u64::to_be_bytes(value));
        let mut device = device_of(&builder(vec![top.clone()]));
        device.partitions.insert("boot".into(), boot);
        let outcome = judge(&device, LOCKED);
        check(what, &outcome, verdict, verdict == Verdict::Ok);
    }
}

#[test]
fn text_is_read_as_c_reads_it() {
    let mut with_nul = builder(vec![cmdline(0, "a=1\0b=2"), cmdline(0, "c=3")]);
    let data = judge(&device_of(&with_nul), LOCKED).data.unwrap();
    assert!(data.cmdline.starts_with("a=1 c=3 androidboot"), "{}", data.cmdline);
    // An overlong form and a surrogate pass avb_validate_utf8; a lone continuation does not.
    for (bytes, verdict) in [
        (&b"\xc0\x80\xed\xa0\x80"[..], Verdict::Ok),
        (b"\xf7\xbf\xbf\xbf", Verdict::Ok),
        (b"\x80", Verdict::ErrorInvalidMetadata),
        (b"\xe2\x82", Verdict::ErrorInvalidMetadata),
        (b"\xf8\x80\x80\x80\x80", Verdict::ErrorInvalidMetadata),
    ] {
        let mut payload = 0_u32.to_be_bytes().to_vec();
        payload.extend(u32::try_from(bytes.len()).unwrap().to_be_bytes());
        payload.extend(bytes);
        with_nul.descriptors = vec![Descriptor::Unknown { tag: 3, payload }];
        let outcome = judge(&device_of(&with_nul), LOCKED);
        check(&format!("{bytes:x?}"), &outcome, verdict, verdict == Verdict::Ok);
    }
}
