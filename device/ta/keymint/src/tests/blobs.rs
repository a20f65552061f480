//! Key blobs: what they open for, and what becomes of them.

use super::*;

const INVALID: ErrorCode = ErrorCode::InvalidKeyBlob;

#[test]
fn s3_2_signs_after_a_restart_and_after_power_off() {
    let mut device = Device::new();
    let blob = device.generate(&ec()).unwrap().blob;
    device.restart();
    assert!(device.sign(&blob).is_ok());
    device.os.power_cycle();
    device.restart();
    assert!(device.sign(&blob).is_ok());
}

#[test]
fn s3_2_refuses_a_blob_under_another_root_of_trust() {
    let mut device = Device::new();
    let blob = device.generate(&ec()).unwrap().blob;
    let others: [fn(&mut BootInfo); 4] = [
        |info| info.verified_boot_key[31] ^= 1,
        |info| info.device_locked = false,
        |info| info.boot_state = BootState::Yellow,
        |info| info.boot_state = BootState::Orange,
    ];
    for change in others {
        device.os.set_boot_info(Some(booted(change)));
        assert_eq!(device.sign(&blob), Err(INVALID));
        assert_eq!(device.upgrade(&blob), Err(INVALID));
    }
    // Another build of the same maker has another vbmeta digest: that is allowed.
    device.os.set_boot_info(Some(booted(|info| info.verified_boot_hash[0] ^= 1)));
    assert!(device.sign(&blob).is_ok());
}

#[test]
fn s3_2_refuses_a_blob_of_another_device_and_of_an_erased_one() {
    let mut device = Device::new();
    let mut other = Device::new();
    let blob = device.generate(&ec()).unwrap().blob;
    assert_eq!(other.sign(&blob), Err(INVALID));
    device.call(&Command::DeleteAllKeys).unwrap();
    assert_eq!(device.sign(&blob), Err(INVALID));
    device.restart();
    assert_eq!(device.sign(&blob), Err(INVALID));
    let blob = device.generate(&ec()).unwrap().blob;
    assert!(device.sign(&blob).is_ok());
}

#[test]
fn s3_2_refuses_every_altered_and_every_cut_blob() {
    let mut device = Device::new();
    let resistant = Authorizations { rollback_resistance: true, ..ec() };
    for params in [ec(), resistant] {
        let blob = device.generate(&params).unwrap().blob;
        for bit in 0..blob.len() * 8 {
            let mut altered = blob.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(device.sign(&altered), Err(INVALID), "{bit}");
        }
        for length in 0..blob.len() {
            assert_eq!(device.sign(&ByteBuf::from(&blob[..length])), Err(INVALID));
        }
        let longer = ByteBuf::from([&blob[..], &[0]].concat());
        assert_eq!(device.sign(&longer), Err(INVALID));
        assert_eq!(device.sign(&ByteBuf::from(vec![2; 20_000])), Err(INVALID));
        assert!(device.sign(&blob).is_ok());
    }
}

#[test]
fn s3_2_only_who_knows_application_id_and_data_uses_the_key() {
    let mut device = Device::new();
    let params = Authorizations {
        application_id: Some(Bytes::from(b"app")),
        application_data: Some(Bytes::from(b"data")),
        ..ec()
    };
    let made = device.generate(&params).unwrap();
    let shown = &made.characteristics.hardware_enforced;
    assert!(!shown.has(Tag::ApplicationId) && !shown.has(Tag::ApplicationData));
    assert!(!made.blob.windows(4).any(|window| window == b"data"));
    let with = |id: Option<&[u8]>, data: Option<&[u8]>| Authorizations {
        application_id: id.map(Bytes::from),
        application_data: data.map(Bytes::from),
        ..digest(Digest::Sha2_256)
    };
    let mut begin = |params| device.begin(&made.blob, KeyPurpose::Sign, &params);
    assert!(begin(with(Some(b"app"), Some(b"data"))).is_ok());
    for (id, data) in [
        (None, None),
        (Some(&b"app"[..]), None),
        (None, Some(&b"data"[..])),
        (Some(b"data"), Some(b"app")),
        (Some(b"appd"), Some(b"ata")),
        (Some(b"app"), Some(b"datb")),
    ] {
        assert_eq!(begin(with(id, data)), Err(INVALID));
    }
    assert_eq!(device.characteristics(&made.blob), Err(INVALID));
    let command = Command::Characteristics {
        blob: made.blob.clone(),
        application_id: Some(ByteBuf::from(*b"app")),
        application_data: Some(ByteBuf::from(*b"data")),
    };
    assert!(device.call(&command).is_ok());
    let plain = device.generate(&ec()).unwrap().blob;
    let refused = device.begin(&plain, KeyPurpose::Sign, &with(Some(b""), None));
    assert_eq!(refused, Err(INVALID));
}

#[test]
fn a_blob_shows_nothing_of_the_key_and_no_two_are_alike() {
    let mut device = Device::new();
    let first = device.generate(&ec()).unwrap();
    let second = device.generate(&ec()).unwrap();
    assert_ne!(first.blob, second.blob);
    let public = leaf(&first).public_key().as_der().to_vec();
    let point = &public[public.len() - 64..];
    assert!(!first.blob.windows(16).any(|window| window == &point[..16]));
}

#[test]
fn s3_2_a_key_of_other_software_wants_an_upgrade_and_gets_it() {
    let mut device = Device::new();
    let blob = device.generate(&ec()).unwrap().blob;
    assert!(device.upgrade(&blob).unwrap().is_empty(), "it is current");
    let newer: [fn(&mut BootInfo); 3] = [
        |info| info.os_version += 1,
        |info| info.os_patch_level += 1,
        |info| info.boot_patch_level += 1,
    ];
    for change in newer {
        device.os.set_boot_info(Some(booted(change)));
        assert_eq!(device.sign(&blob), Err(ErrorCode::KeyRequiresUpgrade));
        let refused = device.characteristics(&blob);
        assert_eq!(refused, Err(ErrorCode::KeyRequiresUpgrade));
        let upgraded = device.upgrade(&blob).unwrap();
        assert!(device.sign(&upgraded).is_ok());
        // Never back.
        device.os.set_boot_info(Some(booted(|_| ())));
        assert_eq!(device.sign(&upgraded), Err(ErrorCode::KeyRequiresUpgrade));
        assert_eq!(device.upgrade(&upgraded), Err(ErrorCode::InvalidArgument));
        assert!(device.sign(&blob).is_ok());
    }
    device.os.set_boot_info(Some(booted(|info| info.os_version = 0)));
    assert_eq!(device.sign(&blob), Err(ErrorCode::KeyRequiresUpgrade));
    let generic = device.upgrade(&blob).unwrap();
    assert!(device.sign(&generic).is_ok(), "generic system images have version 0");
    let malformed = ByteBuf::from(*b"no blob");
    assert_eq!(device.upgrade(&malformed), Err(INVALID));
}

#[test]
fn s3_1_2_a_rollback_resistant_key_is_gone_once_it_is_deleted_and_no_copy_brings_it_back() {
    let mut device = Device::new();
    let params = Authorizations { rollback_resistance: true, ..ec() };
    let first = device.generate(&params).unwrap();
    assert!(first.characteristics.hardware_enforced.rollback_resistance);
    let (first, second) = (first.blob, device.generate(&params).unwrap().blob);
    assert!(device.sign(&first).is_ok() && device.sign(&second).is_ok());
    device.os.keep_files(false);
    let begin = Command::Begin {
        key: KeySource::Blob(first.clone()),
        purpose: KeyPurpose::Sign,
        params: digest(Digest::Sha2_256),
        token: None,
    };
    assert!(matches!(device.ta.call(&begin), Err(TeeError::Communication(_))));
    device.os.keep_files(true);
    for _ in 0..2 {
        device.call(&Command::DeleteKey { blob: first.clone() }).unwrap();
        assert_eq!(device.sign(&first), Err(INVALID));
    }
    device.restart();
    assert_eq!(device.sign(&first), Err(INVALID));
    assert!(device.sign(&second).is_ok());
    for malformed in [&[][..], &[2; 20], &[9; 60]] {
        let refused = device.call(&Command::DeleteKey { blob: ByteBuf::from(malformed) });
        assert_eq!(refused.map(drop), Err(INVALID));
    }
    // One that can't be deleted is the caller's to forget.
    let plain = device.generate(&ec()).unwrap().blob;
    device.call(&Command::DeleteKey { blob: plain.clone() }).unwrap();
    assert!(device.sign(&plain).is_ok());
}

#[test]
fn s3_1_2_an_upgraded_rollback_resistant_key_outlives_its_old_blob_and_dies_alone() {
    let mut device = Device::new();
    let params = Authorizations { rollback_resistance: true, ..ec() };
    let old = device.generate(&params).unwrap().blob;
    device.os.set_boot_info(Some(booted(|info| info.os_patch_level += 1)));
    let new = device.upgrade(&old).unwrap();
    device.call(&Command::DeleteKey { blob: old.clone() }).unwrap();
    assert!(device.sign(&new).is_ok());
    device.os.set_boot_info(Some(booted(|_| ())));
    assert_eq!(device.sign(&old), Err(INVALID), "its slot is empty");
    device.os.set_boot_info(Some(booted(|info| info.os_patch_level += 1)));
    device.call(&Command::DeleteKey { blob: new.clone() }).unwrap();
    assert_eq!(device.sign(&new), Err(INVALID));
}

#[test]
fn s3_1_2_deleting_all_keys_needs_no_files_and_leaves_no_slot() {
    let mut device = Device::new();
    let params = Authorizations { rollback_resistance: true, ..ec() };
    let blobs: Vec<_> = (0..70).map(|_| device.generate(&params).unwrap().blob).collect();
    device.os.keep_files(false);
    device.call(&Command::DeleteAllKeys).unwrap();
    device.os.keep_files(true);
    assert_eq!(device.sign(&blobs[0]), Err(INVALID));
    device.call(&Command::DeleteAllKeys).unwrap();
    let left = device.os.objects();
    assert!(!left.iter().any(|(_, name, _)| name.starts_with("deletion")), "{left:?}");
}

#[test]
fn s3_2_a_key_of_one_use_is_gone_with_it() {
    let mut device = Device::new();
    let once = Authorizations { usage_count_limit: Some(1), ..ec() };
    let made = device.generate(&once).unwrap();
    assert_eq!(made.characteristics.hardware_enforced.usage_count_limit, Some(1));
    let params = digest(Digest::Sha2_256);
    let first = device.begin(&made.blob, KeyPurpose::Sign, &params).unwrap().operation;
    let second = device.begin(&made.blob, KeyPurpose::Sign, &params).unwrap().operation;
    let aborted = device.begin(&made.blob, KeyPurpose::Sign, &params).unwrap().operation;
    device.call(&Command::Abort { operation: aborted }).unwrap();
    assert!(device.finish(first, b"message").is_ok());
    assert_eq!(device.finish(second, b"message"), Err(ErrorCode::InvalidOperationHandle));
    assert_eq!(device.sign(&made.blob), Err(INVALID));
    device.restart();
    assert_eq!(device.sign(&made.blob), Err(INVALID));
    let thrice = Authorizations { usage_count_limit: Some(3), ..ec() };
    let made = device.generate(&thrice).unwrap();
    assert_eq!(made.characteristics.software_enforced.usage_count_limit, Some(3));
    assert_eq!(made.characteristics.hardware_enforced.usage_count_limit, None);
}

#[test]
fn power_lost_while_the_one_use_is_counted_tells_no_signature() {
    let mut device = Device::new();
    let once = Authorizations { usage_count_limit: Some(1), ..ec() };
    let blob = device.generate(&once).unwrap().blob;
    let params = digest(Digest::Sha2_256);
    let operation = device.begin(&blob, KeyPurpose::Sign, &params).unwrap().operation;
    device.os.lose_power_after(0);
    let finish = Command::Finish {
        operation,
        input: ByteBuf::from(*b"message"),
        signature: None,
        token: None,
        confirmation: None,
    };
    assert!(device.ta.call(&finish).is_err());
    device.os.power_cycle();
    device.restart();
    assert!(device.sign(&blob).is_ok(), "it was not used");
    assert_eq!(device.sign(&blob), Err(INVALID));
}
