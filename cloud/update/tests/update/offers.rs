//! Who is offered what.

use super::*;
use wire::update::RolloutChange;

#[tokio::test]
async fn s2_6_a_device_gets_the_newest_build_that_is_newer_than_its_own() {
    let bench = Bench::new().await;
    assert_eq!(bench.check("d1", "b1", 100).await, nothing(Reason::UpToDate));
    bench.publish("b2", 200, 100).await;
    bench.publish("b3", 300, 100).await;
    let offer = bench.offer("d1", "b1", 100).await;
    assert_eq!((&*offer.build, offer.timestamp, offer.package.size), ("b3", 300, 2));
    assert_eq!(bench.bytes(&offer).await, b"b3");
    assert_eq!(bench.offer("d1", "b2", 299).await.build, "b3");
    for (build, timestamp) in [("b3", 300), ("own", 300), ("own", 301), ("own", u64::MAX / 2)] {
        let answer = bench.check("d1", build, timestamp).await;
        assert_eq!(answer, nothing(Reason::UpToDate), "{build} of {timestamp}");
    }
    for other in [
        Check { model: "hf2".into(), ..has("b1", 100) },
        Check { channel: "beta".into(), ..has("b1", 100) },
    ] {
        let answer = bench.update.check("d1", &in_order(), &other).await.unwrap();
        assert_eq!(answer, nothing(Reason::UpToDate), "{other:?}");
    }
}

#[tokio::test]
async fn s2_6_a_security_patch_never_goes_back() {
    let bench = Bench::new().await;
    bench.publish("b2", 200, 100).await;
    let newer = Check { security_patch: "2026-11-06".into(), ..has("b1", 100) };
    let answer = bench.update.check("d1", &in_order(), &newer).await.unwrap();
    assert_eq!(answer, nothing(Reason::UpToDate));
    // What the device says is one thing, what it attested another.
    for (patch_level, offered) in [(0, true), (202_611, true), (202_612, false)] {
        let standing = Standing { patch_level, ..in_order() };
        let answer = bench.update.check("d1", &standing, &has("b1", 100)).await.unwrap();
        assert_eq!(matches!(answer, Answer::Update(_)), offered, "{patch_level}");
    }
}

#[tokio::test]
async fn s2_5_2_a_device_that_is_not_in_order_gets_nothing() {
    let bench = Bench::new().await;
    let release = bench.publish("b2", 200, 100).await;
    let package = &release.packages[0].package_id;
    for (standing, reason) in [
        (Standing { locked: false, ..in_order() }, Reason::BootloaderUnlocked),
        (Standing { boot_state: "orange".into(), ..in_order() }, Reason::NotVerified),
        (Standing { boot_state: "red".into(), ..in_order() }, Reason::NotVerified),
        (Standing { boot_state: "".into(), ..in_order() }, Reason::NotVerified),
        (Standing { maker: None, ..in_order() }, Reason::UnknownMaker),
    ] {
        let answer = bench.update.check("d1", &standing, &has("b1", 100)).await.unwrap();
        assert_eq!(answer, nothing(reason));
        let download = bench.update.download(&standing, package).await.map(drop);
        assert!(matches!(download, Err(Error::Untrusted(_))), "{reason:?}");
    }
    let counts = bench.update.release(MAKER, &release.release_id).await.unwrap().counts;
    assert_eq!(counts.offered, 0);
    let yellow = Standing { boot_state: "yellow".into(), ..in_order() };
    let answer = bench.update.check("d1", &yellow, &has("b1", 100)).await.unwrap();
    assert!(matches!(answer, Answer::Update(_)));
    // Once the official system is back, so are updates.
    assert_eq!(bench.offer("d1", "b1", 100).await.build, "b2");
}

#[tokio::test]
async fn s2_6_a_delta_is_for_its_source_build_and_the_full_package_for_the_others() {
    let bench = Bench::new().await;
    let release = bench.publish("b3", 300, 100).await;
    let id = &release.release_id;
    let delta = package(b"from b2", Some("b2"));
    let release = bench.update.add_package(MAKER, id, &delta).await.unwrap();
    let of = |offer: Offer| offer.package.source_build;
    assert_eq!(of(bench.offer("d1", "b2", 200).await), None, "the delta is not here yet");
    assert_eq!(release.packages[1].announced, delta);
    bench.upload(&release.packages[1].package_id, b"from b2").await.unwrap();
    let offer = bench.offer("d1", "b2", 200).await;
    assert_eq!(bench.bytes(&offer).await, b"from b2");
    assert_eq!(offer.package, delta);
    assert_eq!(of(bench.offer("d1", "b1", 100).await), None);

    let again = bench.update.add_package(MAKER, id, &delta).await;
    assert!(matches!(again, Err(Error::PackageExists)));
    let full = bench.update.add_package(MAKER, id, &package(b"full", None)).await;
    assert!(matches!(full, Err(Error::PackageExists)));
    let itself = bench.update.add_package(MAKER, id, &package(b"itself", Some("b3"))).await;
    assert!(matches!(itself, Err(Error::Invalid { field: "source_build", .. })));
}

#[tokio::test]
async fn a_release_of_deltas_alone_has_nothing_for_other_builds() {
    let bench = Bench::new().await;
    let delta = package(b"delta", Some("b1"));
    let request = Announcement { package: delta, ..announcement("b2", 200, 100) };
    let release = bench.update.announce(MAKER, &request).await.unwrap();
    assert_eq!(bench.check("d1", "b1", 100).await, nothing(Reason::NoPackage));
    bench.upload(&release.packages[0].package_id, b"delta").await.unwrap();
    assert_eq!(bench.offer("d1", "b1", 100).await.build, "b2");
    assert_eq!(bench.check("d1", "b0", 50).await, nothing(Reason::NoPackage));
}

#[tokio::test]
async fn s2_6_a_roll_out_grows_and_never_takes_back() {
    let mut bench = Bench::new().await;
    let release = bench.publish("b2", 200, 0).await;
    let mut admitted = [false; 200];
    for percentage in [0, 10, 50, 100] {
        let change = RolloutChange { percentage: Some(percentage), ..RolloutChange::default() };
        let release = bench.update.roll_out(MAKER, &release.release_id, &change).await.unwrap();
        let due = Rollout { percentage, failure_percentage: 5, minimum_outcomes: 20 };
        assert_eq!(release.rollout, due);
        // The lots survive a restart.
        bench.restart().await;
        let mut count = 0;
        for (device, admitted) in admitted.iter_mut().enumerate() {
            let answer = bench.check(&format!("d{device}"), "b1", 100).await;
            let now = matches!(answer, Answer::Update(_));
            assert!(now || !*admitted, "device {device} was in and is out at {percentage} %");
            assert!(now || answer == nothing(Reason::NotYet));
            *admitted = now;
            count += usize::from(now);
        }
        assert!(count.abs_diff(usize::from(percentage) * 2) < 40, "{count} at {percentage} %");
    }
    assert!(admitted.iter().all(|admitted| *admitted));
}

#[tokio::test]
async fn s2_6_stopping_holds_offers_and_downloads_and_older_builds_go_on() {
    let bench = Bench::new().await;
    bench.publish("b2", 200, 100).await;
    let release = bench.publish("b3", 300, 100).await;
    let (id, package) = (&release.release_id, &release.packages[0].package_id);
    assert_eq!(bench.offer("d1", "b2", 200).await.build, "b3");
    let stopped = bench.update.stop(MAKER, id).await.unwrap();
    assert_eq!(stopped.stopped, Some(wire::update::Stopped::ByMaker));
    assert_eq!(bench.check("d1", "b2", 200).await, nothing(Reason::Stopped));
    assert_eq!(bench.offer("d1", "b1", 100).await.build, "b2");
    let download = bench.update.download(&in_order(), package).await.map(drop);
    assert!(matches!(download, Err(Error::Stopped)));
    assert_eq!(bench.update.resume(MAKER, id).await.unwrap().stopped, None);
    assert_eq!(bench.offer("d1", "b2", 200).await.build, "b3");

    assert!(matches!(bench.update.delete(MAKER, id).await, Err(Error::RollsOut)));
    bench.update.stop(MAKER, id).await.unwrap();
    assert_eq!(bench.files().len(), 2);
    bench.update.delete(MAKER, id).await.unwrap();
    assert_eq!(bench.files().len(), 1);
    assert_eq!(bench.check("d1", "b2", 200).await, nothing(Reason::UpToDate));
    assert_eq!(
        *bench.audit.0.lock().unwrap(),
        [
            "maker release_announced",
            "maker package_uploaded",
            "maker release_announced",
            "maker package_uploaded",
            "maker release_stopped",
            "maker release_resumed",
            "maker release_stopped",
            "maker release_deleted",
        ]
    );
}
