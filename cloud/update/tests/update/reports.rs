//! What devices report, and what it does.

use super::*;
use wire::update::{Counts, Report, Stage, Stopped};

fn report(release: &Release, stage: Stage) -> Report {
    let reason = (stage == Stage::Failed).then(|| "no_boot".to_owned());
    Report { release_id: release.release_id.clone(), stage, reason }
}

impl Bench {
    /// Device `d<number>` takes the release and tells how it ends.
    async fn ends(&self, release: &Release, number: usize, stage: Stage) {
        let device = format!("d{number}");
        self.check(&device, "b1", 100).await;
        self.update.report(&device, &report(release, stage)).await.unwrap();
    }

    async fn again(&self, release: &Release) -> Release {
        self.update.release(MAKER, &release.release_id).await.unwrap()
    }
}

#[tokio::test]
async fn each_device_counts_once_and_its_last_outcome_holds() {
    let bench = Bench::new().await;
    let release = bench.publish("b2", 200, 100).await;
    for device in ["d1", "d2", "d3"] {
        bench.offer(device, "b1", 100).await;
    }
    let told = [
        ("d1", Stage::Downloaded),
        ("d1", Stage::Downloaded),
        ("d1", Stage::Applied),
        ("d1", Stage::Failed),
        ("d1", Stage::Failed),
        ("d2", Stage::Downloaded),
        ("d2", Stage::Failed),
        ("d2", Stage::Booted),
    ];
    for (device, stage) in told {
        bench.update.report(device, &report(&release, stage)).await.unwrap();
    }
    let due = Counts {
        offered: 3,
        downloaded: 2,
        applied: 1,
        booted: 1,
        failed: 1,
        failures: [("no_boot".to_owned(), 1)].into(),
    };
    assert_eq!(bench.again(&release).await.counts, due);
    bench.update.forget_device("d1").await.unwrap();
    let counts = bench.again(&release).await.counts;
    assert_eq!((counts.offered, counts.failed), (2, 0), "what was deleted is gone");
}

#[tokio::test]
async fn s2_6_too_many_failures_stop_a_release_and_resuming_counts_anew() {
    let bench = Bench::new().await;
    let mut request = announcement("b2", 200, 100);
    request.rollout = Rollout { percentage: 100, failure_percentage: 20, minimum_outcomes: 5 };
    let release = bench.update.announce(MAKER, &request).await.unwrap();
    bench.upload(&release.packages[0].package_id, b"b2").await.unwrap();
    // All fail, but four are too few to judge by.
    for device in 0..4 {
        bench.ends(&release, device, Stage::Failed).await;
    }
    assert_eq!(bench.again(&release).await.stopped, None);
    // A good one makes five: then four in five is too many.
    bench.ends(&release, 4, Stage::Booted).await;
    assert_eq!(bench.again(&release).await.stopped, Some(Stopped::ByFailures));
    assert_eq!(bench.check("d9", "b1", 100).await, nothing(Reason::Stopped));
    assert_eq!(bench.audit.0.lock().unwrap().last().unwrap(), "system release_stopped");

    // Resumed, the old failures are shown and do not stop it; those that get well count.
    bench.update.resume(MAKER, &release.release_id).await.unwrap();
    bench.ends(&release, 0, Stage::Booted).await;
    for device in 5..9 {
        bench.ends(&release, device, Stage::Booted).await;
    }
    bench.ends(&release, 9, Stage::Failed).await;
    let now = bench.again(&release).await;
    assert_eq!((now.stopped, now.counts.booted, now.counts.failed), (None, 6, 4));
    bench.ends(&release, 10, Stage::Failed).await;
    assert_eq!(bench.again(&release).await.stopped, Some(Stopped::ByFailures), "2 of 7");
    // Whoever has it already still tells how it ended.
    bench.update.report("d10", &report(&release, Stage::Booted)).await.unwrap();
    assert_eq!(bench.again(&release).await.counts.failed, 4);
}

#[tokio::test]
async fn one_device_cannot_stop_a_release_however_often_it_fails() {
    let bench = Bench::new().await;
    let release = bench.publish("b2", 200, 100).await;
    for _ in 0..50 {
        bench.ends(&release, 1, Stage::Failed).await;
    }
    assert_eq!(bench.again(&release).await.stopped, None);
}

#[tokio::test]
async fn only_who_was_offered_a_release_has_a_say_and_only_in_its_words() {
    let bench = Bench::new().await;
    let release = bench.publish("b2", 200, 100).await;
    for stage in [Stage::Downloaded, Stage::Applied, Stage::Booted, Stage::Failed] {
        let uninvited = bench.update.report("d1", &report(&release, stage)).await;
        assert!(matches!(uninvited, Err(Error::NotFound(_))), "{stage:?}");
    }
    bench.offer("d1", "b1", 100).await;
    let long = "x".repeat(65);
    for (stage, reason) in [
        (Stage::Failed, None),
        (Stage::Failed, Some("")),
        (Stage::Failed, Some("It broke: anna@example.org")),
        (Stage::Failed, Some(&*long)),
        (Stage::Booted, Some("fine")),
    ] {
        let reason = reason.map(str::to_owned);
        let report = Report { reason, ..report(&release, stage) };
        let refused = bench.update.report("d1", &report).await;
        assert!(matches!(refused, Err(Error::Invalid { field: "reason", .. })), "{report:?}");
    }
    assert_eq!(bench.again(&release).await.counts, Counts { offered: 1, ..Counts::default() });
}
