//! The bootloaders' side: verifying bl2, rollback indexes, what was booted.

use crate::device::{Device, TestBoard};
use avb::{Algorithm, RsaPublicKeyBlob, VbmetaBuilder, hash_footer};
use board::exec::{is_sealed, sealed};
use crypto::sign::{Hash, RsaKey};
use rustix::fd::OwnedFd;
use serde_bytes::ByteBuf;
use std::io::Read;
use std::sync::LazyLock;
use tee_api::TeeError;
use tee_api::boot::{BootInfo, BootState, Reply, Request};
use tee_api::gatekeeper::{Command, Gatekeeper};

static MAKER: LazyLock<RsaKey> = LazyLock::new(|| RsaKey::generate(2048).unwrap());

fn maker_key() -> RsaPublicKeyBlob {
    RsaPublicKeyBlob::from_modulus(&MAKER.modulus()).unwrap()
}

fn device() -> Option<Device> {
    Device::power_on(TestBoard::new(maker_key().digest()))
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

fn indexes(device: &Device) -> Vec<u64> {
    match device.ask_boot(&Request::RollbackIndexes, None).0 {
        Reply::RollbackIndexes(indexes) => indexes,
        other => panic!("{other:?}"),
    }
}

fn info(rollback_indexes: Vec<(u32, u64)>, boot_state: BootState) -> BootInfo {
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

#[test]
fn an_unlocked_boot_raises_nothing() {
    let Some(device) = device() else { return };
    let booted = Request::SetBootInfo(info(vec![(0, 7)], BootState::Orange));
    assert!(matches!(device.ask_boot(&booted, None).0, Reply::Done));
    device.tee().session::<Gatekeeper>().unwrap().call(Command::BootSuccessful).unwrap();
    assert_eq!(indexes(&device), [0; 32]);
}
