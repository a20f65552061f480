//! The registry: in bulk, by number, with alarms; and the list of what was revoked.

use crate::support::{NOW, cloud, key, refusal, said, sign, spki};
use cloud_attest::{AlarmKind, Refusal};
use effects::UnixMillis;
use keyattest::x509::{CertificateParams, Name, Validity};
use keyattest::{RevocationList, RevocationStatus};
use serde_json::json;

#[tokio::test]
async fn s2_1_2_a_maker_looks_its_devices_up() {
    let cloud = cloud().await;
    for number in ["HF-1", "HF-3", "HF-2"] {
        cloud.enrolled(number).await;
    }
    let found = cloud.attest.device_of_maker("Maker", "HF-2").await.unwrap();
    assert_eq!(found.serial, "HF-2");
    let all = cloud.attest.devices_of_maker("Maker", "HF-1", 10).await.unwrap();
    let numbers: Vec<_> = all.iter().map(|device| &*device.serial).collect();
    assert_eq!(numbers, ["HF-2", "HF-3"]);
    assert_eq!(cloud.attest.devices_of_maker("Maker", "", 1).await.unwrap().len(), 1);
    let strange = cloud.attest.device_of_maker("Other", "HF-2").await;
    assert_eq!(refusal(strange), Refusal::DeviceUnknown);
}

#[tokio::test]
async fn s2_1_2_a_device_with_two_boards_raises_an_alarm() {
    let cloud = cloud().await;
    let device = cloud.enrolled("HF-1").await;
    assert_eq!(cloud.attest.alarms("Maker").await.unwrap(), []);
    // A second board is certified for the same number, comes to be enrolled, and attests.
    let twin = cloud.maker.device("HF-1");
    let enrolment = cloud.attest.enrol_device(&cloud.maker.chain(&twin)).await;
    assert_eq!(refusal(enrolment), Refusal::DeviceConflict);
    let chain = cloud.evidence(&twin).await;
    assert_eq!(refusal(cloud.attest.verify(&chain).await), Refusal::DeviceUnknown);
    let alarms = cloud.attest.alarms("Maker").await.unwrap();
    assert_eq!(alarms.len(), 1, "the same alarm is counted");
    assert_eq!((alarms[0].kind, &*alarms[0].serial), (AlarmKind::SerialTwice, "HF-1"));
    assert_eq!((alarms[0].times, alarms[0].first_at), (2, UnixMillis(NOW * 1000)));
    assert!(cloud.log.lines().iter().any(|line| line.starts_with("Maker alarm_serial_twice HF-1")));

    // One key under two numbers.
    let params = CertificateParams::device(
        &cloud.maker.intermediate.certificate,
        Name::factory("HF-2").unwrap(),
        crate::support::serial(),
        Validity::days(NOW - 1, 9_000),
        spki(&device.key),
    );
    let second = sign(&params, &cloud.maker.intermediate.key);
    let mut chain = cloud.maker.chain(&device);
    chain[0] = second.as_der().to_vec();
    assert_eq!(refusal(cloud.attest.enrol_device(&chain).await), Refusal::DeviceConflict);
    let alarms = cloud.attest.alarms("Maker").await.unwrap();
    assert!(alarms.iter().any(|it| it.kind == AlarmKind::KeyTwice && it.serial == "HF-2"));
    assert_eq!(cloud.attest.alarms("Other").await.unwrap(), [], "each maker sees its own");
}

#[tokio::test]
async fn s2_1_2_a_device_whose_version_goes_back_raises_an_alarm() {
    let cloud = cloud().await;
    let device = cloud.enrolled("HF-1").await;
    let attest = async |system: u64, locked: bool| {
        let challenge = cloud.attest.challenge().await.unwrap().bytes;
        let mut said = said(&challenge);
        said.hardware_enforced.os_patch_level = Some(system);
        said.hardware_enforced.root_of_trust.as_mut().unwrap().device_locked = locked;
        let chain = cloud.maker.attest_as(&device, &key(), &said);
        cloud.attest.verify(&chain).await.unwrap();
    };
    attest(202_601, true).await;
    attest(202_603, true).await;
    // An unlocked bootloader boots what it likes.
    attest(202_501, false).await;
    assert_eq!(cloud.attest.alarms("Maker").await.unwrap(), []);
    attest(202_602, true).await;
    let alarms = cloud.attest.alarms("Maker").await.unwrap();
    assert_eq!((alarms[0].kind, alarms.len()), (AlarmKind::WentBack, 1));
    assert!(alarms[0].detail.contains("system 202602 after 202603"), "{}", alarms[0].detail);
}

#[tokio::test]
async fn s2_1_2_what_is_revoked_is_published_in_googles_form() {
    let cloud = cloud().await;
    let list = async || cloud.attest.status_list().await.unwrap();
    assert_eq!(list().await, json!({ "entries": {} }));
    let device = cloud.enrolled("HF-1").await;
    cloud.attest.revoke_device("maker", &spki(&device.key), "KEY_COMPROMISE").await.unwrap();
    let factory = cloud.maker.intermediate.certificate.serial().clone();
    let suspend = RevocationStatus::Suspended;
    cloud.attest.revoke_certificate("maker", &factory, suspend, "SOFTWARE_FLAW").await.unwrap();
    let published = RevocationList::from_json(list().await.to_string().as_bytes()).unwrap();
    assert_eq!(published.len(), 2);
    let found = published.look_up(device.certificate.serial()).unwrap();
    assert_eq!(found.reason.as_deref(), Some("KEY_COMPROMISE"));
    assert_eq!(published.look_up(&factory).unwrap().status, suspend);
    // Suspended can become revoked; revoked stays.
    for status in [RevocationStatus::Revoked, suspend] {
        cloud.attest.revoke_certificate("maker", &factory, status, "").await.unwrap();
        let published = RevocationList::from_json(list().await.to_string().as_bytes()).unwrap();
        assert_eq!(published.look_up(&factory).unwrap().status, RevocationStatus::Revoked);
    }
    assert_eq!(cloud.log.lines().len(), 4);
}
