//! Remote provisioning: a device asks, attests with what it got, and what is refused.

use crate::support::{Cloud, Identity, cloud, key, refusal, said, sign, spki};
use cloud_attest::{CERTIFICATE_LIFETIME, Provisioned, Refusal};
use crypto::sign::EcdsaKey;
use keyattest::provisioning::ProvisioningError;
use keyattest::x509::{Certificate, CertificateParams};
use keyattest::{CertificateRequest, verify_issued};
use std::time::Duration;

fn request(device: &Identity, challenge: &[u8], keys: &[EcdsaKey]) -> Vec<u8> {
    let request = CertificateRequest {
        device: device.certificate.clone(),
        challenge: challenge.to_vec(),
        keys: keys.iter().map(spki).collect(),
    };
    request.encode(|data| device.key.sign(data)).unwrap()
}

async fn provisioned(cloud: &Cloud, device: &Identity, keys: &[EcdsaKey]) -> Provisioned {
    let challenge = cloud.attest.challenge().await.unwrap().bytes;
    cloud.attest.provision(&request(device, &challenge, keys)).await.unwrap()
}

/// A key's chain under a provisioned certificate.
fn attest(chain: &[Vec<u8>], issuer: &EcdsaKey, challenge: &[u8]) -> Vec<Vec<u8>> {
    let of = Certificate::parse(&chain[0]).unwrap();
    let params = CertificateParams::attested(&of, spki(&key()), &said(challenge)).unwrap();
    let leaf = sign(&params, issuer);
    [vec![leaf.as_der().to_vec()], chain.to_vec()].concat()
}

#[tokio::test]
async fn s2_1_2_a_provisioned_key_attests_for_its_device_until_it_lapses() {
    let cloud = cloud().await;
    let device = cloud.enrolled("HF-1").await;
    let keys = [key(), key()];
    let Provisioned { chains, expires_at } = provisioned(&cloud, &device, &keys).await;
    assert_eq!(chains.len(), 2);
    assert_eq!(expires_at, effects::Clock::now(&*cloud.clock).plus(CERTIFICATE_LIFETIME));
    for (chain, key) in chains.iter().zip(&keys) {
        verify_issued(chain).unwrap();
        let challenge = cloud.attest.challenge().await.unwrap().bytes;
        let statement = cloud.attest.verify(&attest(chain, key, &challenge)).await.unwrap();
        assert_eq!(statement.serial, "HF-1");
        assert_eq!(statement.device_key, spki(&device.key));
    }
    let name = Certificate::parse(&chains[0][0]).unwrap().subject().common_name().unwrap();
    assert!(!name.contains("HF-1"), "{name}");
    cloud.clock.advance(CERTIFICATE_LIFETIME + Duration::from_secs(1));
    let challenge = cloud.attest.challenge().await.unwrap().bytes;
    let late = cloud.attest.verify(&attest(&chains[0], &keys[0], &challenge)).await;
    let expired = keyattest::Refusal::Expired { index: 1 };
    assert_eq!(refusal(late), Refusal::Chain(expired));
}

#[tokio::test]
async fn s2_1_2_certificates_are_counted_and_limited() {
    let cloud = cloud().await;
    let device = cloud.enrolled("HF-1").await;
    let count = |chain: &[Vec<u8>]| {
        let certificate = Certificate::parse(&chain[0]).unwrap();
        let info = certificate.extension(keyattest::x509::oid::PROVISIONING_INFO).unwrap();
        keyattest::ProvisioningInfo::decode(info).unwrap().certificates_issued
    };
    let first = provisioned(&cloud, &device, &[key(), key()]).await;
    assert_eq!(first.chains.iter().map(|it| count(it)).collect::<Vec<_>>(), [1, 2]);
    for _ in 0..9 {
        let keys: Vec<_> = (0..20).map(|_| key()).collect();
        provisioned(&cloud, &device, &keys).await;
    }
    let keys: Vec<_> = (0..19).map(|_| key()).collect();
    let challenge = cloud.attest.challenge().await.unwrap().bytes;
    let refused = refusal(cloud.attest.provision(&request(&device, &challenge, &keys)).await);
    assert_eq!(refused.code(), "invalid");
    cloud.clock.advance(CERTIFICATE_LIFETIME);
    let later = provisioned(&cloud, &device, &keys[..1]).await;
    assert_eq!(count(&later.chains[0]), 1);
}

#[tokio::test]
async fn refuses_strangers_revoked_devices_replays_and_shared_keys() {
    let cloud = cloud().await;
    let device = cloud.enrolled("HF-1").await;
    let challenge = cloud.attest.challenge().await.unwrap().bytes;
    let good = request(&device, &challenge, &[key()]);
    let mut altered = good.clone();
    *altered.last_mut().unwrap() ^= 1;
    let verdict = refusal(cloud.attest.provision(&altered).await);
    assert_eq!(verdict, Refusal::Provisioning(ProvisioningError::Signature));
    cloud.attest.provision(&good).await.unwrap();
    assert_eq!(refusal(cloud.attest.provision(&good).await), Refusal::ChallengeReplayed);

    let stranger = cloud.maker.device("HF-9");
    let challenge = cloud.attest.challenge().await.unwrap().bytes;
    let asked = request(&stranger, &challenge, &[key()]);
    assert_eq!(refusal(cloud.attest.provision(&asked).await), Refusal::DeviceUnknown);

    let other = cloud.enrolled("HF-2").await;
    let shared = [key()];
    provisioned(&cloud, &device, &shared).await;
    let challenge = cloud.attest.challenge().await.unwrap().bytes;
    let asked = request(&other, &challenge, &shared);
    assert_eq!(refusal(cloud.attest.provision(&asked).await), Refusal::DeviceConflict);

    // What was provisioned dies with the device.
    let keys = [key()];
    let chains = provisioned(&cloud, &device, &keys).await.chains;
    cloud.attest.revoke_device("maker", &spki(&device.key), "stolen").await.unwrap();
    let challenge = cloud.attest.challenge().await.unwrap().bytes;
    let verdict = cloud.attest.verify(&attest(&chains[0], &keys[0], &challenge)).await;
    assert_eq!(refusal(verdict).code(), "device_revoked");
    let challenge = cloud.attest.challenge().await.unwrap().bytes;
    let asked = request(&device, &challenge, &[key()]);
    assert_eq!(refusal(cloud.attest.provision(&asked).await).code(), "device_revoked");
}

#[tokio::test]
async fn the_authorities_outlive_a_restart_and_the_server_is_renewed() {
    let cloud = cloud().await;
    let device = cloud.enrolled("HF-1").await;
    let before = provisioned(&cloud, &device, &[key()]).await.chains.remove(0);
    let restarted = crate::support::service(cloud.folder.path(), &cloud.clock, &cloud.log).await;
    assert_eq!(restarted.provisioning_root().await.unwrap(), before[3]);
    cloud.clock.advance(Duration::from_secs(100 * 24 * 3600));
    let after = provisioned(&cloud, &device, &[key()]).await.chains.remove(0);
    assert_ne!(after[1], before[1], "the server");
    assert_eq!(after[2..], before[2..], "what is above it");
    verify_issued(&after).unwrap();
}
