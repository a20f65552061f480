//! System updates over the local API, with a cloud whose connections break.

use super::Bench;
use super::bench::refusal;
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

/// Longer than what travels at once.
fn package() -> Vec<u8> {
    let noise = (0..900_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 23) as u8);
    b"b2 ".iter().copied().chain(noise).collect()
}

impl Bench {
    async fn update(&self) -> Value {
        self.api().get("/v1/update").send_json().await.unwrap()
    }

    async fn checks(&self) -> Value {
        self.api().post("/v1/update/check").send_json().await.unwrap()
    }

    /// Runs a job to its end; its last line.
    async fn job(&self, path: &str) -> Value {
        let answer = self.api().post(path).send().await.unwrap();
        let lines = String::from_utf8(answer.bytes(1 << 20).await.unwrap()).unwrap();
        serde_json::from_str(lines.lines().last().unwrap()).unwrap()
    }

    async fn downloads(&self) -> Value {
        self.job("/v1/update/download").await
    }

    /// Names of packages, or parts of them: all but the record, which may just be written anew.
    fn packages(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.data().join("update")).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        let is_record = |path: &PathBuf| {
            path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"state.json"))
        };
        paths.filter(|path| !is_record(path)).collect()
    }

    /// A report comes at least once: who goes down right after it was sent sends it again.
    async fn reported(&self, due: &[&str]) {
        let releases = self.cloud.releases.clone();
        let reports = || {
            let mut reports = releases.reports();
            reports.dedup();
            reports
        };
        self.until("the reports", |_| reports().len() >= due.len()).await;
        assert_eq!(reports(), due);
    }
}

#[tokio::test]
async fn s2_6_check_download_apply_and_restart_are_four_calls() {
    let mut bench = Bench::in_use().await;
    let releases = bench.cloud.releases.clone();
    releases.answers(json!({"answer": "nothing", "reason": "up_to_date"}));
    let nothing = bench.checks().await;
    assert_eq!((&nothing["state"], &nothing["reason"]), (&json!("idle"), &json!("up_to_date")));
    assert_eq!(releases.checks()[0].build, "b1");
    for (path, due) in [
        ("/v1/update/download", "nothing_offered"),
        ("/v1/update/apply", "nothing_downloaded"),
        ("/v1/update/restart", "nothing_applied"),
    ] {
        assert_eq!(refusal(bench.api().post(path).send().await), (409, due.to_owned()));
    }

    releases.offer(&package());
    assert_eq!(bench.checks().await["state"], "available");
    let downloaded = bench.downloads().await;
    assert_eq!(downloaded["done"], true, "{downloaded}");
    assert_eq!(downloaded["update"]["state"], "downloaded");
    assert_eq!(downloaded["update"]["bytes"], package().len());
    assert_eq!(bench.downloads().await["done"], true, "again: it is here");
    bench.reported(&["downloaded"]).await;

    // Later, after a restart, without the cloud.
    bench.reboot().await;
    assert_eq!(bench.update().await["state"], "downloaded");
    assert_eq!(bench.job("/v1/update/apply").await["done"], true);
    assert_eq!(bench.installer.written(), [package()]);
    assert_eq!(bench.job("/v1/update/apply").await["done"], true, "again: it is written");
    assert_eq!(bench.installer.written().len(), 1);
    let restarting: Value = bench.api().post("/v1/update/restart").send_json().await.unwrap();
    assert_eq!(restarting["restarting"], true);
    assert!(bench.installer.requested()[0].ends_with(".zip"));

    bench.runs("b2");
    bench.reboot().await;
    assert_eq!(bench.update().await["state"], "restarting", "it has yet to prove itself");
    bench.device.update_proved().unwrap();
    let installed = bench.update().await;
    assert_eq!(
        (&installed["state"], &installed["running"]["build"]),
        (&json!("installed"), &json!("b2"))
    );
    bench.reported(&["downloaded", "applied", "booted"]).await;
    assert_eq!(bench.packages(), [""; 0].map(PathBuf::from));
}

#[tokio::test]
async fn s2_6_a_connection_that_breaks_again_and_again_costs_nothing_twice() {
    let bench = Bench::in_use().await;
    let releases = bench.cloud.releases.clone();
    releases.offer(&package());
    releases.cuts(&[100_000, 50_000, 1, 90_000, 900_000]);
    bench.checks().await;
    let downloaded = bench.downloads().await;
    assert_eq!(downloaded["done"], true, "{downloaded}");
    let from: Vec<usize> = releases
        .asked()
        .iter()
        .map(|(range, _)| range[6..range.len() - 1].parse().unwrap())
        .collect();
    assert_eq!(from, [0, 100_000, 150_000, 150_001, 240_001]);
    let etag = &releases.asked()[1].1;
    assert!(releases.asked().iter().all(|(_, if_range)| if_range == etag));
}

#[tokio::test]
async fn s2_6_a_download_that_was_cut_goes_on_by_itself_after_a_restart() {
    let mut bench = Bench::in_use().await;
    let releases = bench.cloud.releases.clone();
    releases.offer(&package());
    releases.cuts(&[150_000, 0]);
    bench.checks().await;
    let cut = bench.downloads().await;
    assert_eq!((&cut["done"], &cut["error"]), (&json!(false), &json!("cloud_unreachable")));
    let update = bench.update().await;
    assert_eq!((&update["state"], &update["bytes"]), (&json!("downloading"), &json!(150_000)));
    assert_eq!(update["reason"], "cloud_unreachable");
    releases.cuts(&[1 << 20]);
    bench.reboot().await;
    bench.until("it went on", |device| device.update().unwrap().state == "downloaded").await;
    let notes = bench.update().await["notes"].to_string();
    assert!(notes.contains("went on behind 150000 of 900003 bytes"), "{notes}");
    assert_eq!(releases.asked().last().unwrap().0, "bytes=150000-");
}

#[tokio::test]
async fn s2_6_two_calls_are_one_download() {
    let bench = Bench::in_use().await;
    bench.cloud.releases.offer(&package());
    bench.cloud.releases.cuts(&[100_000]);
    bench.checks().await;
    let (one, two) = tokio::join!(bench.downloads(), bench.downloads());
    assert_eq!((&one["done"], &two["done"]), (&json!(true), &json!(true)));
    let ranges: Vec<_> = bench.cloud.releases.asked().into_iter().map(|it| it.0).collect();
    let due: Vec<_> = (0..10).map(|at| format!("bytes={}-", at * 100_000)).collect();
    assert_eq!(ranges, due, "no byte came twice");
}

#[tokio::test]
async fn s2_6_a_package_that_was_swapped_at_the_cloud_is_never_mixed() {
    let bench = Bench::in_use().await;
    let releases = bench.cloud.releases.clone();
    releases.offer(&package());
    releases.cuts(&[150_000, 0]);
    bench.checks().await;
    bench.downloads().await;
    // Another package, another tag: the range is not taken.
    releases.cuts(&[1 << 20]);
    releases.swaps(&[b"b2 ", &[7; 900_000][..]].concat(), true);
    let swapped = bench.downloads().await;
    assert_eq!(swapped["error"], "package_swapped", "{swapped}");
    assert_eq!(swapped["update"]["bytes"], 0);
    let notes = swapped["update"]["notes"].to_string();
    assert!(notes.contains("150000 bytes were thrown away"), "{notes}");
    // Shorter than what is here already: no such byte.
    releases.offer(&package());
    releases.cuts(&[150_000, 0]);
    bench.downloads().await;
    releases.swaps(b"b2", false);
    assert_eq!(bench.downloads().await["error"], "package_swapped");
}

#[tokio::test]
async fn s2_6_wrong_bytes_under_the_right_name_are_refused_and_told() {
    let bench = Bench::in_use().await;
    let releases = bench.cloud.releases.clone();
    let mut flipped = package();
    flipped[500_000] ^= 1;
    releases.offer(&package());
    releases.swaps(&flipped, false);
    bench.checks().await;
    let wrong = bench.downloads().await;
    assert_eq!((&wrong["error"], &wrong["update"]["bytes"]), (&json!("hash_differs"), &json!(0)));
    bench.reported(&["failed:hash_differs"]).await;
    // Longer than announced: refused by its range already.
    releases.swaps(&[&package()[..], b"more"].concat(), false);
    assert_eq!(bench.downloads().await["done"], false);
    releases.offer(&package());
    assert_eq!(bench.downloads().await["done"], true);
}

#[tokio::test]
async fn s2_6_a_release_that_is_stopped_in_the_middle_stops() {
    let bench = Bench::in_use().await;
    let releases = bench.cloud.releases.clone();
    releases.offer(&package());
    releases.cuts(&[150_000, 0]);
    bench.checks().await;
    bench.downloads().await;
    releases.refuses(Some((409, "release_stopped")));
    let stopped = bench.downloads().await;
    assert_eq!((&stopped["error"], &stopped["reason"]), (&json!("release_stopped"), &json!("No.")));
    assert_eq!(bench.update().await["bytes"], 150_000, "its maker may resume it");
    releases.answers(json!({"answer": "nothing", "reason": "stopped"}));
    let gone = bench.checks().await;
    assert_eq!((&gone["state"], &gone["reason"]), (&json!("idle"), &json!("stopped")));
    assert!(gone["notes"].to_string().contains("150000 bytes of it were thrown away"));
    assert!(bench.packages().is_empty());
}

#[tokio::test]
async fn s2_6_a_download_can_be_thrown_away_while_it_runs() {
    let bench = Bench::in_use().await;
    bench.cloud.releases.offer(&package());
    bench.cloud.releases.cuts(&[1]);
    bench.checks().await;
    let api = bench.api();
    let mut lines = api.post("/v1/update/download").send().await.unwrap().stream();
    lines.next().await.unwrap().unwrap();
    let discarded: Value = api.delete("/v1/update").send_json().await.unwrap();
    assert_eq!(discarded["state"], "idle");
    assert!(bench.packages().is_empty());
    let last = lines.map(Result::unwrap).collect::<Vec<_>>().await;
    let last = String::from_utf8(last.last().unwrap().to_vec()).unwrap();
    assert!(last.contains("\"error\":\"stopped\""), "{last}");
}

#[tokio::test]
async fn s2_6_a_package_that_was_swapped_on_the_disk_is_not_written() {
    let bench = Bench::in_use().await;
    bench.cloud.releases.offer(&package());
    bench.checks().await;
    bench.downloads().await;
    let mut other = package();
    other[7] ^= 1;
    fs::write(&bench.packages()[0], other).unwrap();
    let refused = bench.job("/v1/update/apply").await;
    assert_eq!((&refused["done"], &refused["error"]), (&json!(false), &json!("package_altered")));
    assert_eq!(refused["update"]["state"], "available", "it can be downloaded again");
    assert!(bench.installer.written().is_empty());
}

#[tokio::test]
async fn what_does_not_go_in_is_told_and_what_may_still_go_in_stays() {
    let bench = Bench::in_use().await;
    bench.cloud.releases.offer(&package());
    bench.checks().await;
    bench.downloads().await;
    bench.installer.fails("on_trial", false);
    let later = bench.job("/v1/update/apply").await;
    assert_eq!(
        (&later["error"], &later["update"]["state"]),
        (&json!("on_trial"), &json!("downloaded"))
    );
    bench.installer.fails("signature", true);
    let never = bench.job("/v1/update/apply").await;
    assert_eq!(
        (&never["error"], &never["update"]["state"]),
        (&json!("signature"), &json!("failed"))
    );
    assert!(bench.packages().is_empty());
    bench.reported(&["downloaded", "failed:signature"]).await;
}

#[tokio::test]
async fn s2_6_a_device_that_fell_back_says_so() {
    let mut bench = Bench::in_use().await;
    bench.cloud.releases.offer(&package());
    bench.checks().await;
    bench.downloads().await;
    bench.job("/v1/update/apply").await;
    bench.api().post("/v1/update/restart").send().await.unwrap();
    bench.installer.ends_badly("boot_failed");
    bench.reboot().await;
    bench.device.update_proved().unwrap();
    let failed = bench.update().await;
    assert_eq!((&failed["state"], &failed["reason"]), (&json!("failed"), &json!("boot_failed")));
    bench.reported(&["downloaded", "applied", "failed:boot_failed"]).await;
}

#[tokio::test]
async fn reports_wait_for_the_cloud_over_a_restart() {
    let mut bench = Bench::in_use().await;
    let releases = bench.cloud.releases.clone();
    releases.refuses_reports(true);
    releases.offer(&package());
    bench.checks().await;
    bench.downloads().await;
    bench.job("/v1/update/apply").await;
    assert_eq!(bench.update().await["reports_waiting"], 2);
    bench.reboot().await;
    assert_eq!(bench.update().await["reports_waiting"], 2);
    releases.refuses_reports(false);
    bench.reboot().await;
    bench.reported(&["downloaded", "applied"]).await;
    bench.until("none waits", |device| device.update().unwrap().reports_waiting == 0).await;
}

#[tokio::test]
async fn s2_6_a_file_that_was_copied_over_goes_the_same_way_or_leaves_nothing() {
    let bench = Bench::new().await;
    let put = |bytes: Vec<u8>| bench.api().put("/v1/update/file").bytes(bytes);
    let unsigned = put(b"not a package".to_vec()).send().await;
    assert_eq!(refusal(unsigned), (422, "signature".into()));
    let half = stream::iter([Ok(package()[..9].to_vec().into()), Err(broken())]);
    let half = bench.api().put("/v1/update/file").stream(Some(900_003), half);
    assert!(half.send().await.is_err());
    bench.until("its end", |device| device.update_job().is_none()).await;
    assert!(bench.packages().is_empty());
    assert_eq!(bench.update().await["state"], "idle");

    let copied: Value = put(package()).send_json().await.unwrap();
    assert_eq!(
        (&copied["state"], &copied["update"]["from"]),
        (&json!("downloaded"), &json!("file"))
    );
    assert_eq!(copied["update"]["build"], "b2");
    assert_eq!(bench.downloads().await["done"], true, "no account is needed for what is here");
    assert_eq!(bench.job("/v1/update/apply").await["done"], true);
    assert_eq!(bench.installer.written(), [package()]);
}

fn broken() -> std::io::Error {
    std::io::ErrorKind::ConnectionReset.into()
}

#[tokio::test]
async fn s2_5_2_why_there_is_no_update_is_said() {
    let bench = Bench::in_use().await;
    for reason in ["bootloader_unlocked", "not_verified", "not_yet", "tides"] {
        bench.cloud.releases.answers(json!({"answer": "nothing", "reason": reason}));
        let said = bench.checks().await;
        let due = if reason == "tides" { "other" } else { reason };
        assert_eq!(said["reason"], due);
        assert!(said["explanation"].as_str().unwrap().len() > 10);
    }
    let unbound = Bench::new().await;
    let check = unbound.api().post("/v1/update/check").send().await;
    assert_eq!(refusal(check), (409, "not_bound".into()));
}

#[tokio::test]
async fn an_offer_that_leads_backwards_is_not_taken() {
    let bench = Bench::in_use().await;
    bench.cloud.releases.answers(json!({"answer": "update", "release_id": "r0", "build": "b0",
        "timestamp": 99, "security_patch": "2026-11-05", "size": 1, "sha256": "00".repeat(32),
        "url": "/v1/updates/packages/p1"}));
    let refused = bench.api().post("/v1/update/check").send().await;
    assert_eq!(refusal(refused), (502, "bad_offer".into()));
}
