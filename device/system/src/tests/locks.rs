//! Screen lock, factory, activation lock.

use super::Bench;
use super::bench::{SERIAL, refusal};
use crate::fake_cloud::{LOGIN, PASSWORD};
use crate::fake_tee::FakeTee;
use http_link::Error;
use serde_json::{Value, json};
use std::time::Duration;
use wire::Base64;

#[tokio::test]
async fn s3_1_1_files_open_with_the_first_unlock_and_close_with_the_power() {
    let mut bench = Bench::new().await;
    let api = bench.api();
    assert_eq!(refusal(api.get("/v1/files").send().await), (423, "locked".into()));
    bench.tee.types(&["123456", "123456", "000000", "123456"]);
    api.post("/v1/lock/enrol").send().await.unwrap();
    assert_eq!(bench.status().await["locked"], true);
    assert_eq!(refusal(api.post("/v1/lock/unlock").send().await), (403, "wrong_pin".into()));
    assert_eq!(bench.status().await["ce_open"], false);
    let unlocked: Value = api.post("/v1/lock/unlock").send_json().await.unwrap();
    assert_eq!(unlocked["unlocked"], true);
    let listing: Value = api.get("/v1/files").send_json().await.unwrap();
    assert_eq!(listing["entries"], json!([]));
    bench.reboot().await;
    let status = bench.status().await;
    assert_eq!((&status["locked"], &status["ce_open"]), (&json!(true), &json!(false)));
    assert_eq!(refusal(bench.api().get("/v1/files").send().await), (423, "locked".into()));
}

#[tokio::test]
async fn locking_the_screen_keeps_what_runs_in_the_background_open() {
    let bench = Bench::in_use().await;
    let locked: Value = bench.api().post("/v1/lock/lock").send_json().await.unwrap();
    assert_eq!(locked["locked"], true);
    let status = bench.status().await;
    assert_eq!((&status["locked"], &status["ce_open"]), (&json!(true), &json!(true)));
}

#[tokio::test]
async fn too_many_wrong_pins_say_when_to_try_again() {
    let bench = Bench::in_use().await;
    bench.tee.types(&["0000", "1111", "2222", "3333", "4444"]);
    for _ in 0..5 {
        assert_eq!(refusal(bench.api().post("/v1/lock/unlock").send().await).0, 403);
    }
    match bench.api().post("/v1/lock/unlock").send().await {
        Err(Error::Refused(refusal)) => {
            assert_eq!((refusal.status, refusal.retry_after_s), (429, Some(30)));
        }
        _ => panic!("a sixth try counted"),
    }
    bench.tee.throttle_is_over();
    bench.tee.turns_away();
    let turned_away = bench.api().post("/v1/lock/unlock").send().await;
    assert_eq!(refusal(turned_away), (403, "cancelled".into()));
}

#[tokio::test]
async fn the_factory_installs_a_chain_once() {
    let tee = FakeTee::in_factory(SERIAL);
    let chain: Vec<Base64> = tee.certify().into_iter().map(Base64).collect();
    let bench = Bench::with(tee).await;
    assert_eq!(bench.status().await["serial"], json!(null));
    let csr: Value = bench.api().post("/v1/factory/csr").send_json().await.unwrap();
    assert!(csr["public_key"].as_str().unwrap().len() > 80);
    let body = json!({"chain": chain, "ticket_key": Base64(bench.cloud.ticket_key())});
    let install = || bench.api().post("/v1/factory/install").json(&body).send();
    install().await.unwrap();
    assert_eq!(bench.status().await["serial"], SERIAL);
    assert_eq!(refusal(install().await), (403, "tee_denied".into()));
    let again = bench.api().post("/v1/factory/csr").send().await;
    assert_eq!(refusal(again), (403, "tee_denied".into()));
}

#[tokio::test]
async fn binding_needs_a_session_and_stays_with_its_account() {
    let mut bench = Bench::new().await;
    let bind = async |bench: &Bench, token: &str| {
        bench
            .api()
            .post("/v1/account/bind")
            .json(&json!({"token": token}))
            .send_json::<Value>()
            .await
    };
    assert_eq!(refusal(bind(&bench, "nonsense").await), (401, "unauthorised".into()));
    let bound = bind(&bench, "user-a1").await.unwrap();
    assert_eq!(bound["device_id"], "d1");
    assert_eq!(bound["attestation"]["serial"], SERIAL);
    assert_eq!(refusal(bind(&bench, "user-b2").await), (409, "bound_to_another".into()));
    assert_eq!(bench.tee.deleted_keys(), 0);
    // Again with the same account: a new key, and no copy of the old one is of use.
    bind(&bench, "user-a1").await.unwrap();
    assert_eq!(bench.tee.deleted_keys(), 1);
    bench.reboot().await;
    assert_eq!(bench.status().await["account"], "o***@example.org");
    // The device's clock is years behind: it signs in by the cloud's.
    bench.until("the link is up", |device| device.is_connected()).await;
}

#[tokio::test]
async fn s2_5_2_after_an_erasure_only_the_owners_account_activates() {
    let mut bench = Bench::in_use().await;
    let erased: Value = bench.api().post("/v1/erase").send_json().await.unwrap();
    assert_eq!(erased["erased"], true);
    bench.reboot().await;
    let status = bench.status().await;
    assert_eq!((&status["activation"], &status["account"]), (&json!("due"), &json!(null)));
    let api = bench.api();
    let state: Value = api.get("/v1/activation").send_json().await.unwrap();
    assert_eq!(state["owner_hint"], "o***@example.org");
    assert_eq!(refusal(api.post("/v1/lock/enrol").send().await), (423, "activation_due".into()));
    let bind = api.post("/v1/account/bind").json(&json!({"token": "user-a1"})).send().await;
    assert_eq!(refusal(bind), (423, "activation_due".into()));
    for (login, password, word) in
        [("thief@example.org", PASSWORD, "activation_locked"), (LOGIN, "guessed", "wrong_password")]
    {
        let body = json!({"login": login, "password": password});
        let refused = api.post("/v1/activation").json(&body).send().await;
        assert_eq!(refusal(refused), (403, word.into()));
        assert_eq!(bench.status().await["activation"], "due");
    }
    let body = json!({"login": LOGIN, "password": PASSWORD});
    api.post("/v1/activation").json(&body).send().await.unwrap();
    assert_eq!(bench.status().await["activation"], "none");
    let again = api.post("/v1/activation").json(&body).send().await;
    assert_eq!(refusal(again), (409, "activation_not_due".into()));
    bench.tee.types(&["1234", "1234", "1234"]);
    api.post("/v1/lock/enrol").send().await.unwrap();
    api.post("/v1/lock/unlock").send().await.unwrap();
    let bind = json!({"token": "user-a1"});
    api.post("/v1/account/bind").json(&bind).send().await.unwrap();
    bench.reboot().await;
    let status = bench.status().await;
    assert_eq!(status["account"], "o***@example.org");
    assert_eq!(status["find_enabled"], true, "the lock outlived the reset");
}

#[tokio::test]
async fn s3_1_3_an_erasure_leaves_no_file_and_no_key() {
    let mut bench = Bench::in_use().await;
    assert!(bench.data().join("ce/0").exists());
    bench.api().post("/v1/erase").send().await.unwrap();
    bench.until("the daemon ends", |device| device.ending().borrow().is_some()).await;
    assert_eq!(std::fs::read_dir(bench.data()).unwrap().count(), 0);
    let userdata = std::fs::read(bench.data().parent().unwrap().join("userdata")).unwrap();
    assert!(userdata.iter().all(|&byte| byte == 0));
    bench.reboot().await;
    let status = bench.status().await;
    assert_eq!(status["lock"]["enrolled"], false);
    assert_eq!(status["find_enabled"], false);
}

#[tokio::test]
async fn attests_over_a_given_challenge() {
    let bench = Bench::new().await;
    let attest = |challenge: Vec<u8>| {
        let body = json!({"challenge": Base64(challenge)});
        bench.api().post("/v1/attest").json(&body).send_json::<Value>()
    };
    let answer = attest(vec![1; 32]).await.unwrap();
    assert_eq!(answer["chain"].as_array().unwrap().len(), 3);
    for wrong in [vec![], vec![1; 129]] {
        assert_eq!(refusal(attest(wrong).await), (400, "bad_request".into()));
    }
}

/// Asks for the bootloader's lock to change; the person says yes.
async fn set_boot_lock(bench: &Bench, to: &str) -> Result<Value, Error> {
    bench.tee.types(&[""]);
    bench.api().post(&format!("/v1/bootloader/{to}")).send_json().await
}

#[tokio::test]
async fn s2_2_unlocking_the_bootloader_erases_and_locking_asks_first_whether_it_would_boot() {
    let mut bench = Bench::in_use().await;
    bench.tee.turns_away();
    let refused = bench.api().post("/v1/bootloader/unlock").send().await;
    assert_eq!(refusal(refused), (403, "cancelled".into()));
    assert_eq!(bench.status().await["ce_open"], true);
    assert_eq!(set_boot_lock(&bench, "unlock").await.unwrap()["erased"], true);
    bench.reboot().await;
    assert_eq!(bench.status().await["lock"]["enrolled"], false);
    let state: Value = bench.api().get("/v1/bootloader").send_json().await.unwrap();
    assert_eq!(state, json!({"locked": false, "custom_key": null}));

    bench.tee.has_bad_images(Some("boot_a is not what was signed"));
    match bench.api().post("/v1/bootloader/lock").send().await {
        Err(Error::Refused(refusal)) => {
            assert_eq!((refusal.status, refusal.error.as_str()), (409, "would_not_boot"));
            assert!(refusal.reason.contains("boot_a is not what was signed"));
        }
        _ => panic!("it would not boot"),
    }
    bench.tee.has_bad_images(None);
    set_boot_lock(&bench, "lock").await.unwrap();
    bench.reboot().await;
    let state: Value = bench.api().get("/v1/bootloader").send_json().await.unwrap();
    assert_eq!(state["locked"], true);
}

#[tokio::test]
async fn s2_2_a_key_of_the_users_is_an_avb_key_and_needs_an_unlocked_bootloader() {
    let mut bench = Bench::new().await;
    let key = crypto::sign::RsaKey::generate(2048).unwrap();
    let blob = avb::RsaPublicKeyBlob::from_modulus(&key.modulus()).unwrap();
    let put = async |bench: &Bench, key: Option<Vec<u8>>| {
        let body = json!({"key": key.map(Base64)});
        let api = bench.api();
        api.put("/v1/bootloader/custom-key").json(&body).send_json::<Value>().await
    };
    let encoded = blob.as_bytes().to_vec();
    assert_eq!(refusal(put(&bench, Some(encoded.clone())).await), (409, "tee_bad_state".into()));
    set_boot_lock(&bench, "unlock").await.unwrap();
    bench.reboot().await;
    let cut = encoded[..encoded.len() - 1].to_vec();
    assert_eq!(refusal(put(&bench, Some(cut)).await), (400, "bad_request".into()));
    let digest = board::argument::hex(&blob.digest());
    assert_eq!(put(&bench, Some(encoded)).await.unwrap()["custom_key"], digest.as_str());
    assert_eq!(put(&bench, None).await.unwrap()["custom_key"], json!(null));
}

#[tokio::test]
async fn s3_3_3_another_pin_opens_the_same_files() {
    let mut bench = Bench::in_use().await;
    let api = bench.api();
    bench.tee.types(&["0000"]);
    let wrong = api.post("/v1/lock/change").send().await;
    assert_eq!(refusal(wrong), (403, "wrong_pin".into()));
    bench.tee.types(&["123456", "8642", "8642"]);
    let changed: Value = api.post("/v1/lock/change?kind=pin").send_json().await.unwrap();
    assert_eq!(changed, json!({"changed": true}));
    bench.reboot().await;
    bench.tee.types(&["8642"]);
    bench.api().post("/v1/lock/unlock").send().await.unwrap();
    assert_eq!(bench.status().await["ce_open"], true);
    let odd = bench.api().post("/v1/lock/change?kind=nose").send().await;
    assert_eq!(refusal(odd), (400, "bad_request".into()));
}

#[tokio::test]
async fn the_device_restarts_when_nobody_unlocks_it_for_as_long_as_its_owner_chose() {
    const HOUR: Duration = Duration::from_secs(3600);
    let bench = Bench::in_use().await;
    assert_eq!(bench.device.tick().await, None, "off by default");
    bench.tee.types(&["123456", "123456"]);
    let rules = json!({"erase_after_last_guess": false, "restart_when_idle_min": 120});
    let view: Value = bench.api().put("/v1/lock/settings").json(&rules).send_json().await.unwrap();
    assert_eq!(view["settings"], rules);
    bench.clock.advance(HOUR * 3);
    assert_eq!(bench.device.tick().await, None, "somebody has it in their hand");
    bench.api().post("/v1/lock/unlock").send().await.unwrap();
    bench.api().post("/v1/lock/lock").send().await.unwrap();
    bench.clock.advance(HOUR);
    assert_eq!(bench.device.tick().await, Some(HOUR));
    assert_eq!(*bench.device.ending().borrow(), None);
    bench.clock.advance(HOUR);
    bench.device.tick().await;
    assert_eq!(*bench.device.ending().borrow(), Some(crate::device::Ending::Restarts));
}
