//! The service over a database file, with makers and devices made for the test.

mod provisioning;
mod registry;
mod support;
mod verdicts;

use cloud_attest::{CHALLENGE_LIFETIME, DeviceStatement, Refusal};
use effects::Clock;
use keyattest::{RevocationStatus, SecurityLevel, VerifiedBootState};
use std::time::Duration;
use support::{Maker, cloud, key, refusal, service, spki};

#[tokio::test]
async fn s2_1_2_states_device_key_and_boot_state() {
    let cloud = cloud().await;
    let device = cloud.enrolled("HF-1").await;
    let (challenge, attested) = (cloud.attest.challenge().await.unwrap(), key());
    assert_eq!(challenge.expires_at, cloud.clock.now().plus(CHALLENGE_LIFETIME));
    let chain = cloud.maker.attest(&device, &challenge.bytes, &attested);
    let statement = cloud.attest.verify(&chain).await.unwrap();
    let expected = DeviceStatement {
        serial: "HF-1".into(),
        public_key: spki(&attested),
        device_key: spki(&device.key),
        security_level: SecurityLevel::TrustedEnvironment,
        locked: true,
        boot_state: VerifiedBootState::Verified,
        verified_boot_key: vec![0xab; 32],
        verified_boot_hash: vec![0xcd; 32],
        os_version: 150_000,
        os_patch_level: 202_601,
        vendor_patch_level: 0,
        boot_patch_level: 20_260_105,
    };
    assert_eq!(statement, expected);
    let shown = wire::attest::Statement::from(&statement);
    assert_eq!((shown.boot_state.as_str(), shown.os_patch_level), ("green", 202_601));
    assert_eq!(shown.verified_boot_key, "ab".repeat(32));
}

#[tokio::test]
async fn s2_1_2_refuses_a_replayed_attestation_even_in_another_process() {
    let cloud = cloud().await;
    let device = cloud.enrolled("HF-1").await;
    let chain = cloud.evidence(&device).await;
    cloud.attest.verify(&chain).await.unwrap();
    assert_eq!(refusal(cloud.attest.verify(&chain).await), Refusal::ChallengeReplayed);
    let other = service(cloud.folder.path(), &cloud.clock, &cloud.log).await;
    assert_eq!(refusal(other.verify(&chain).await), Refusal::ChallengeReplayed);
    // Another key, another chain, the same challenge.
    let challenge = cloud.attest.challenge().await.unwrap().bytes;
    cloud.attest.verify(&cloud.maker.attest(&device, &challenge, &key())).await.unwrap();
    let again = cloud.maker.attest(&device, &challenge, &key());
    assert_eq!(refusal(cloud.attest.verify(&again).await), Refusal::ChallengeReplayed);
}

#[tokio::test]
async fn of_two_processes_that_verify_at_once_one_succeeds() {
    let cloud = cloud().await;
    let device = cloud.enrolled("HF-1").await;
    let other = service(cloud.folder.path(), &cloud.clock, &cloud.log).await;
    for _ in 0..20 {
        let chain = cloud.evidence(&device).await;
        let (a, b) = tokio::join!(cloud.attest.verify(&chain), other.verify(&chain));
        assert_eq!(usize::from(a.is_ok()) + usize::from(b.is_ok()), 1, "{a:?} {b:?}");
    }
}

#[tokio::test]
async fn a_challenge_is_good_for_five_minutes_and_outlives_a_restart() {
    let cloud = cloud().await;
    let device = cloud.enrolled("HF-1").await;
    let (early, late) = (cloud.evidence(&device).await, cloud.evidence(&device).await);
    cloud.clock.advance(Duration::from_millis(299_999));
    let restarted = service(cloud.folder.path(), &cloud.clock, &cloud.log).await;
    restarted.verify(&early).await.unwrap();
    cloud.clock.advance(Duration::from_millis(1));
    assert_eq!(refusal(restarted.verify(&late).await), Refusal::ChallengeExpired);
    // It is remembered for a day, so that the reason is right, and then forgotten.
    cloud.clock.advance(Duration::from_secs(25 * 3600));
    restarted.challenge().await.unwrap();
    assert_eq!(refusal(restarted.verify(&late).await), Refusal::ChallengeUnknown);
    assert_eq!(refusal(restarted.verify(&early).await), Refusal::ChallengeUnknown);
}

#[tokio::test]
async fn refuses_a_challenge_that_was_never_given_out() {
    let cloud = cloud().await;
    let device = cloud.enrolled("HF-1").await;
    for challenge in [&[7; 32][..], &[]] {
        let chain = cloud.maker.attest(&device, challenge, &key());
        assert_eq!(refusal(cloud.attest.verify(&chain).await), Refusal::ChallengeUnknown);
    }
}

#[tokio::test]
async fn refuses_unknown_and_revoked_devices() {
    let cloud = cloud().await;
    let stranger = cloud.maker.device("HF-9");
    let chain = cloud.evidence(&stranger).await;
    assert_eq!(refusal(cloud.attest.verify(&chain).await), Refusal::DeviceUnknown);

    let device = cloud.enrolled("HF-1").await;
    let public_key = spki(&device.key);
    cloud.attest.revoke_device("maker", &public_key, "stolen from the factory").await.unwrap();
    cloud.attest.revoke_device("maker", &public_key, "again").await.unwrap();
    let at = cloud.clock.now();
    let reason = "stolen from the factory".to_owned();
    let chain = cloud.evidence(&device).await;
    let verdict = refusal(cloud.attest.verify(&chain).await);
    assert_eq!(verdict, Refusal::DeviceRevoked { at, reason });
    let unknown = cloud.attest.revoke_device("maker", &spki(&stranger.key), "?").await;
    assert_eq!(refusal(unknown), Refusal::DeviceUnknown);
}

#[tokio::test]
async fn refuses_everything_below_a_revoked_certificate() {
    let cloud = cloud().await;
    let device = cloud.enrolled("HF-1").await;
    let factory = cloud.maker.intermediate.certificate.serial();
    let status = RevocationStatus::Revoked;
    cloud.attest.revoke_certificate("maker", factory, status, "key compromise").await.unwrap();
    let chain = cloud.evidence(&device).await;
    let verdict = refusal(cloud.attest.verify(&chain).await);
    assert_eq!(verdict.code(), "attestation_refused");
    assert!(verdict.to_string().contains("certificate 2 is revoked"), "{verdict}");
    let next = cloud.maker.chain(&cloud.maker.device("HF-2"));
    let verdict = refusal(cloud.attest.enrol_device(&next).await);
    assert!(verdict.to_string().contains("certificate 1 is revoked"), "{verdict}");
}

#[tokio::test]
async fn refuses_altered_chains_and_leaves_the_challenge_for_the_true_one() {
    let cloud = cloud().await;
    let device = cloud.enrolled("HF-1").await;
    let chain = cloud.evidence(&device).await;
    for index in 0..chain.len() {
        for position in (0..chain[index].len()).step_by(7) {
            let mut altered = chain.clone();
            altered[index][position] ^= 0x40;
            let verdict = refusal(cloud.attest.verify(&altered).await);
            assert!(matches!(verdict, Refusal::Chain(_)), "{index} {position}: {verdict}");
        }
    }
    cloud.attest.verify(&chain).await.unwrap();
}

#[tokio::test]
async fn refuses_makers_that_are_not_registered() {
    let cloud = cloud().await;
    let other = Maker::new();
    let device = other.device("HF-1");
    let untrusted = Refusal::Chain(keyattest::Refusal::UntrustedRoot);
    let enrolment = cloud.attest.enrol_device(&other.chain(&device)).await;
    assert_eq!(refusal(enrolment), untrusted);
    let challenge = cloud.attest.challenge().await.unwrap().bytes;
    let chain = other.attest(&device, &challenge, &key());
    assert_eq!(refusal(cloud.attest.verify(&chain).await), untrusted);
    let leaf = cloud.attest.register_maker("Leaf", device.certificate.as_der()).await;
    assert_eq!(refusal(leaf), Refusal::NotARoot);
    let noise = cloud.attest.register_maker("Noise", &[0x30, 0]).await;
    assert_eq!(refusal(noise), Refusal::NotARoot);
}

#[tokio::test]
async fn enrolment_is_idempotent_and_unambiguous() {
    let cloud = cloud().await;
    let device = cloud.enrolled("HF-1").await;
    let chain = cloud.maker.chain(&device);
    let first = cloud.attest.device_of_key(&spki(&device.key)).await.unwrap().unwrap();
    cloud.clock.advance(Duration::from_secs(60));
    assert_eq!(cloud.attest.enrol_device(&chain).await.unwrap(), first);
    let twin = cloud.maker.chain(&cloud.maker.device("HF-1"));
    let verdict = refusal(cloud.attest.enrol_device(&twin).await);
    assert_eq!(verdict, Refusal::DeviceConflict);
    assert_eq!(cloud.attest.devices_with_serial("HF-1").await.unwrap(), [first]);
}

#[tokio::test]
async fn a_maker_registered_again_keeps_its_devices() {
    let cloud = cloud().await;
    let device = cloud.enrolled("HF-1").await;
    let root = cloud.maker.root.certificate.as_der();
    let maker = cloud.attest.register_maker("Renamed", root).await.unwrap();
    assert_eq!(cloud.attest.makers().await.unwrap(), [maker]);
    let chain = cloud.evidence(&device).await;
    cloud.attest.verify(&chain).await.unwrap();
}
