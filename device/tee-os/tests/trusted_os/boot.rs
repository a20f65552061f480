//! The bootloaders' side: verifying bl2, rollback indexes, what was booted.

use crate::device::{Device, Maker, TestBoard};
use avb::{Algorithm, RsaPublicKeyBlob, VbmetaBuilder, hash_footer};
use board::exec::{is_sealed, sealed};
use board::secure::{BL1_COUNTER, TEE_COUNTER};
use board::silicon::MonotonicCounter;
use crypto::sign::{Hash, RsaKey};
use factory::AvbKey;
use rustix::fd::OwnedFd;
use serde_bytes::ByteBuf;
use std::io::Read;
use std::sync::LazyLock;
use tee_api::TeeError;
use tee_api::boot::{BootInfo, BootLock, BootState, Reply, Request, Trust};
use tee_api::gatekeeper::{self, Command, Gatekeeper};

static MAKER: LazyLock<RsaKey> = LazyLock::new(|| RsaKey::generate(2048).unwrap());

fn device() -> Option<Device> {
    let key = AvbKey::new(RsaKey::from_pkcs8(MAKER.to_pkcs8()).unwrap()).unwrap();
    Device::power_on(TestBoard::new(Maker::with(key)))
}

const EXECUTABLE: &[u8] = b"\x7FELF and so on";

/// A bl2 partition signed by `key`.
fn partition(key: &RsaKey, rollback_index: u64) -> Vec<u8> {
    let public = RsaPublicKeyBlob::from_modulus(&key.modulus()).unwrap();
    let builder = VbmetaBuilder {
        algorithm: Algorithm::Sha256Rsa2048,
        rollback_index,
        ..VbmetaBuilder::default()
    };
    let sign = |data: &[u8]| key.sign_pkcs1(Hash::Sha256, data);
    hash_footer(EXECUTABLE, "bl2", 128 * 1024, &[1; 32], &builder, &public, sign)
        .unwrap()
        .assemble(EXECUTABLE)
}

fn verify(device: &Device, partition: &[u8]) -> (Reply, Vec<OwnedFd>) {
    let image = sealed("bl2_a", partition).unwrap();
    device.ask_boot(&Request::VerifyBl2 { partition: "bl2_a".into() }, Some(&image))
}

fn trust(device: &Device) -> Trust {
    match device.ask_boot(&Request::Trust, None).0 {
        Reply::Trust(trust) => trust,
        other => panic!("{other:?}"),
    }
}

fn indexes(device: &Device) -> Vec<u64> {
    trust(device).rollback_indexes
}

pub(crate) fn info(rollback_indexes: Vec<(u32, u64)>, boot_state: BootState) -> BootInfo {
    BootInfo {
        verified_boot_key: [1; 32],
        device_locked: true,
        boot_state,
        verified_boot_hash: ByteBuf::from([2; 32]),
        os_version: 1,
        os_patch_level: 202_611,
        boot_patch_level: 20_261_101,
        rollback_indexes,
    }
}

#[test]
fn s2_2_a_verified_bl2_comes_back_as_exactly_its_executable() {
    let Some(device) = device() else { return };
    let (reply, fds) = verify(&device, &partition(&MAKER, 3));
    let Reply::Verified { digest, .. } = reply else { panic!("{reply:?}") };
    assert_eq!(digest, crypto::digest::sha256(EXECUTABLE));
    let [file] = <[OwnedFd; 1]>::try_from(fds).unwrap();
    assert!(is_sealed(&file));
    let mut bytes = Vec::new();
    rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0)).unwrap();
    std::fs::File::from(file).read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, EXECUTABLE);
}

#[test]
fn s2_2_every_altered_byte_of_bl2_is_refused() {
    let Some(device) = device() else { return };
    let good = partition(&MAKER, 3);
    // Image, padding, vbmeta, padding behind it, footer.
    for at in [0, EXECUTABLE.len(), 4096, 5000, 100_000, good.len() - 64, good.len() - 1] {
        let mut altered = good.clone();
        altered[at] ^= 1;
        let (reply, fds) = verify(&device, &altered);
        assert!(matches!(reply, Reply::Rejected { .. }), "byte {at}: {reply:?}");
        assert!(fds.is_empty());
    }
    let stranger = RsaKey::generate(2048).unwrap();
    let (reply, _) = verify(&device, &partition(&stranger, 3));
    assert!(matches!(reply, Reply::Rejected { code, .. } if code == "ERROR_PUBLIC_KEY_REJECTED"));
}

#[test]
fn refuses_an_image_that_is_not_sealed_and_other_partitions() {
    let Some(device) = device() else { return };
    let open = rustix::fs::memfd_create(
        "bl2_a",
        rustix::fs::MemfdFlags::CLOEXEC | rustix::fs::MemfdFlags::ALLOW_SEALING,
    )
    .unwrap();
    rustix::io::write(&open, &partition(&MAKER, 3)).unwrap();
    let request = Request::VerifyBl2 { partition: "bl2_a".into() };
    let (reply, _) = device.ask_boot(&request, Some(&open));
    assert!(matches!(reply, Reply::Refused(TeeError::BadParameters(_))), "{reply:?}");
    let image = sealed("x", &partition(&MAKER, 3)).unwrap();
    let request = Request::VerifyBl2 { partition: "boot_a".into() };
    let (reply, _) = device.ask_boot(&request, Some(&image));
    assert!(matches!(reply, Reply::Refused(TeeError::BadParameters(_))), "{reply:?}");
    let (reply, _) = device.ask_boot(&Request::VerifyBl2 { partition: "bl2_a".into() }, None);
    assert!(matches!(reply, Reply::Refused(TeeError::BadParameters(_))), "{reply:?}");
}

#[test]
fn s2_2_a_successful_boot_makes_older_images_unbootable_for_good() {
    let Some(device) = device() else { return };
    assert_eq!(indexes(&device), [0; 32]);
    let (reply, _) = verify(&device, &partition(&MAKER, 5));
    assert!(matches!(reply, Reply::Verified { .. }));
    let booted = Request::SetBootInfo(info(vec![(0, 7)], BootState::Green));
    assert!(matches!(device.ask_boot(&booted, None).0, Reply::Done));
    let again = Request::SetBootInfo(info(vec![(0, 1)], BootState::Orange));
    assert!(matches!(device.ask_boot(&again, None).0, Reply::Refused(TeeError::BadState(_))));
    // Nothing rises before the system proved itself.
    assert_eq!(indexes(&device), [0; 32]);
    let gatekeeper = device.tee().session::<Gatekeeper>().unwrap();
    gatekeeper.call(Command::BootSuccessful).unwrap();
    let board = device.power_off();

    let device = Device::power_on(board).unwrap();
    let stored = indexes(&device);
    assert_eq!((stored[0], stored[1]), (7, 5));
    let (reply, _) = verify(&device, &partition(&MAKER, 4));
    assert!(matches!(reply, Reply::Rejected { code, .. } if code == "ERROR_ROLLBACK_INDEX"));
    let (reply, _) = verify(&device, &partition(&MAKER, 5));
    assert!(matches!(reply, Reply::Verified { .. }));
    let lower = Request::RaiseRollbackIndexes { indexes: vec![(0, 1), (31, 9)] };
    assert!(matches!(device.ask_boot(&lower, None).0, Reply::Done));
    let stored = indexes(&device);
    assert_eq!((stored[0], stored[1], stored[31]), (7, 5, 9));
    let outside = Request::RaiseRollbackIndexes { indexes: vec![(32, 1)] };
    assert!(matches!(device.ask_boot(&outside, None).0, Reply::Refused(_)));
}

fn boot_lock(device: &Device) -> BootLock {
    trust(device).lock
}

/// What the board's fuses say of bl1 and the TEE.
fn fuses(device: &Device) -> [u64; 2] {
    [BL1_COUNTER, TEE_COUNTER].map(|counter| device.board.counter(counter).unwrap())
}

/// Boots with this information, and the system says that it came up.
fn succeed(device: &Device, info: BootInfo) {
    assert!(matches!(device.ask_boot(&Request::SetBootInfo(info), None).0, Reply::Done));
    device.tee().session::<Gatekeeper>().unwrap().call(Command::BootSuccessful).unwrap();
}

#[test]
fn s2_2_the_fuses_of_bl1_and_tee_rise_with_a_successful_boot_only() {
    let Some(device) = device() else { return };
    verify(&device, &partition(&MAKER, 5));
    let booted = Request::SetBootInfo(info(vec![(0, 7)], BootState::Green));
    assert!(matches!(device.ask_boot(&booted, None).0, Reply::Done));
    assert_eq!(fuses(&device), [0, 0]);
    device.tee().session::<Gatekeeper>().unwrap().call(Command::BootSuccessful).unwrap();
    assert_eq!(fuses(&device), [3, 4]);
}

#[test]
fn an_unlocked_boot_raises_nothing() {
    let Some(device) = device() else { return };
    succeed(&device, info(vec![(0, 7)], BootState::Orange));
    assert_eq!((indexes(&device), fuses(&device)), (vec![0; 32], [0, 0]));
}

fn unlocked(rollback_indexes: Vec<(u32, u64)>) -> BootInfo {
    BootInfo { device_locked: false, ..info(rollback_indexes, BootState::Orange) }
}

/// The person says yes to what the trusted screen asks.
fn set_lock(device: &Device, locked: bool) -> Result<gatekeeper::Reply, TeeError> {
    device.screen.will_type("");
    let gatekeeper = device.tee().session::<Gatekeeper>().unwrap();
    gatekeeper.call(Command::SetBootLock { locked })
}

fn set_key(device: &Device, key: Option<[u8; 32]>) -> Result<gatekeeper::Reply, TeeError> {
    let gatekeeper = device.tee().session::<Gatekeeper>().unwrap();
    gatekeeper.call(Command::SetCustomKey { key })
}

#[test]
fn s2_2_the_lock_state_is_in_rpmb_and_a_key_of_the_users_needs_it_open() {
    let Some(device) = device() else { return };
    assert_eq!(boot_lock(&device), BootLock::default());
    succeed(&device, info(vec![(0, 7)], BootState::Green));
    assert!(matches!(set_key(&device, Some([9; 32])), Err(TeeError::BadState(_))));
    set_lock(&device, false).unwrap();
    assert!(boot_lock(&device).unlocked);
    // What runs was booted locked: it may not choose the key of the next owner.
    assert!(matches!(set_key(&device, Some([9; 32])), Err(TeeError::BadState(_))));

    let device = Device::power_on(device.power_off()).unwrap();
    assert!(boot_lock(&device).unlocked);
    succeed(&device, unlocked(vec![(0, 7)]));
    set_key(&device, Some([9; 32])).unwrap();
    set_lock(&device, true).unwrap();
    assert!(matches!(set_key(&device, None), Err(TeeError::BadState(_))));
    let lock = boot_lock(&device);
    assert_eq!((lock.unlocked, lock.custom_key), (false, Some([9; 32])));
}

#[test]
fn s2_2_the_users_key_counts_its_rollback_indexes_apart_from_the_makers() {
    let Some(device) = device() else { return };
    succeed(&device, info(vec![(0, 7)], BootState::Green));
    set_lock(&device, false).unwrap();
    let device = Device::power_on(device.power_off()).unwrap();
    succeed(&device, unlocked(Vec::new()));
    set_key(&device, Some([9; 32])).unwrap();
    set_lock(&device, true).unwrap();

    let device = Device::power_on(device.power_off()).unwrap();
    verify(&device, &partition(&MAKER, 6));
    let own = BootInfo { verified_boot_key: [9; 32], ..info(vec![(0, 2)], BootState::Yellow) };
    succeed(&device, own);
    assert_eq!(boot_lock(&device).custom_rollback_indexes[0], 2);
    let maker = indexes(&device);
    assert_eq!((maker[0], maker[1]), (7, 6));
}

#[test]
fn s2_2_a_corrupt_system_is_remembered_until_another_one_proved_itself() {
    let Some(device) = device() else { return };
    assert_eq!(trust(&device).corrupt_system, None);
    let corrupt = |vbmeta_digest| Request::SetCorruptSystem { vbmeta_digest };
    let booted = |digest| BootInfo {
        verified_boot_hash: ByteBuf::from([digest; 32]),
        ..info(vec![(0, 7)], BootState::Green)
    };
    assert!(matches!(device.ask_boot(&corrupt([5; 32]), None).0, Reply::Done));
    succeed(&device, booted(5));
    let late = device.ask_boot(&corrupt([6; 32]), None).0;
    assert!(matches!(late, Reply::Refused(TeeError::BadState(_))), "{late:?}");

    // Another system runs, but may still give way to this one.
    let device = Device::power_on(device.power_off()).unwrap();
    let tried = Request::SetBootInfo(booted(6));
    assert!(matches!(device.ask_boot(&tried, None).0, Reply::Done));
    assert_eq!(trust(&device).corrupt_system, Some([5; 32]));
    device.tee().session::<Gatekeeper>().unwrap().call(Command::BootSuccessful).unwrap();
    assert_eq!(trust(&device).corrupt_system, None);
}

#[test]
fn s2_3_each_seed_for_the_kernels_layout_is_a_fresh_one() {
    let Some(device) = device() else { return };
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..8 {
        match device.ask_boot(&Request::KaslrSeed, None).0 {
            Reply::KaslrSeed(seed) => assert!(seen.insert(seed.number()), "twice the same"),
            other => panic!("{other:?}"),
        }
    }
}
