//! What follows what, over crashes.

use crate::{bytes, names};
use crypto::digest::sha256;
use device_update::partial::{Partial, hex};
use device_update::state::{BadOffer, Phase, Running, Source, Update, Why};
use device_update::updater::{UpdateError, Updater};
use std::fs;
use std::path::Path;
use tempfile::TempDir;
use wire::update::{Answer, NewPackage, Offer, Reason, Stage};

fn running(build: &str) -> Running {
    Running {
        model: "hf1".into(),
        channel: "stable".into(),
        build: build.into(),
        timestamp: 100,
        security_patch: "2026-11-05".into(),
    }
}

fn offer(package: &[u8]) -> Offer {
    Offer {
        release_id: "r1".into(),
        build: "b2".into(),
        timestamp: 200,
        security_patch: "2026-11-05".into(),
        url: "/v1/updates/packages/p1".into(),
        package: NewPackage {
            source_build: None,
            size: package.len() as u64,
            sha256: hex(&sha256(package)),
        },
    }
}

/// A device on the bench, which can be restarted.
struct Bench {
    folder: TempDir,
    updater: Updater,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let updater = Updater::open(&folder.path().join("update"), running("b1")).unwrap();
        Self { folder, updater }
    }

    fn folder(&self) -> std::path::PathBuf {
        self.folder.path().join("update")
    }

    /// The daemon was killed; `build` runs now.
    fn restart(&mut self, build: &str) {
        self.updater = Updater::open(&self.folder(), running(build)).unwrap();
    }

    fn is_offered(&self, package: &[u8]) {
        self.updater.answered(Answer::Update(offer(package))).unwrap();
    }

    fn partial(&self) -> Partial {
        let update = self.updater.begin_download().unwrap().unwrap();
        self.updater.open_partial(&update).unwrap()
    }

    fn downloads(&self, package: &[u8]) {
        let mut partial = self.partial();
        let at = partial.bytes() as usize;
        partial.append(&mut &package[at..], &|_| {}).unwrap();
        self.updater.finish_download(partial).unwrap();
    }

    fn phase(&self) -> &'static str {
        self.updater.state().phase.name()
    }

    fn reason(&self) -> String {
        self.updater.state().phase.why().unwrap().reason.clone()
    }

    fn reports(&self) -> Vec<(Stage, Option<String>)> {
        let reports = self.updater.state().reports;
        reports.into_iter().map(|report| (report.stage, report.reason)).collect()
    }
}

#[test]
fn s2_6_from_an_offer_to_a_system_that_runs_over_a_restart_at_every_step() {
    let package = bytes(300_000);
    let mut bench = Bench::new();
    type Step = fn(&Bench, &[u8]);
    let steps: [(&str, Step); 5] = [
        ("available", |bench, package| bench.is_offered(package)),
        ("downloaded", |bench, package| bench.downloads(package)),
        ("applying", |bench, _| drop(bench.updater.begin_apply().unwrap().unwrap())),
        ("ready_to_restart", |bench, _| bench.updater.applied().unwrap()),
        ("restarting", |bench, _| bench.updater.restarting(7).unwrap()),
    ];
    for (phase, step) in steps {
        step(&bench, &package);
        assert_eq!(bench.phase(), phase);
        bench.restart("b1");
        assert_eq!(bench.phase(), phase, "after a restart");
        assert!(!bench.updater.settle(7, None).unwrap());
        assert_eq!(bench.phase(), phase, "the device was not off yet");
    }
    bench.restart("b2");
    assert!(bench.updater.settle(8, None).unwrap());
    assert_eq!(bench.phase(), "restarting", "it has to prove itself first");
    bench.updater.proved().unwrap();
    assert_eq!(bench.phase(), "installed");
    let stages = bench.reports().into_iter().map(|(stage, _)| stage).collect::<Vec<_>>();
    assert_eq!(stages, [Stage::Downloaded, Stage::Applied, Stage::Booted]);
    assert_eq!(names(&bench.folder()), ["state.json"], "the package is gone");
}

#[test]
fn each_call_is_idempotent() {
    let package = bytes(1000);
    let bench = Bench::new();
    assert!(matches!(bench.updater.begin_download(), Err(UpdateError::NothingOffered)));
    assert!(matches!(bench.updater.begin_apply(), Err(UpdateError::NothingDownloaded)));
    assert!(matches!(bench.updater.restarting(1), Err(UpdateError::NothingApplied)));
    bench.is_offered(&package);
    bench.is_offered(&package);
    bench.downloads(&package);
    assert_eq!(bench.updater.begin_download().unwrap(), None);
    bench.is_offered(&package);
    assert_eq!(bench.phase(), "downloaded", "the same offer again changes nothing");
    assert!(bench.updater.begin_apply().unwrap().is_some());
    assert!(bench.updater.begin_apply().unwrap().is_some());
    bench.updater.applied().unwrap();
    bench.updater.applied().unwrap();
    assert!(bench.updater.begin_apply().unwrap().is_none());
    assert!(!bench.updater.may_check());
    bench.updater.restarting(1).unwrap();
    bench.updater.restarting(1).unwrap();
    assert!(matches!(bench.updater.discard(), Err(UpdateError::Restarting)));
    bench.updater.proved().unwrap();
    assert_eq!(bench.phase(), "restarting", "this system is not the update");
    assert_eq!(bench.reports().len(), 2, "each is told once");
}

#[test]
fn s2_6_a_download_goes_on_and_says_from_where() {
    let package = bytes(200_000);
    let mut bench = Bench::new();
    bench.is_offered(&package);
    let mut partial = bench.partial();
    partial.append(&mut &package[..123_456], &|_| {}).unwrap();
    drop(partial);
    bench.restart("b1");
    assert_eq!((bench.phase(), bench.updater.bytes()), ("downloading", 123_456));
    bench.downloads(&package);
    let notes = bench.updater.state().notes;
    assert_eq!(notes, ["went on behind 123456 of 200000 bytes"]);
}

#[test]
fn s2_6_another_offer_takes_the_place_of_a_partial_download_aloud() {
    let (package, newer) = (bytes(200_000), bytes(200_001));
    let bench = Bench::new();
    bench.is_offered(&package);
    bench.partial().append(&mut &package[..100_000], &|_| {}).unwrap();
    bench.is_offered(&newer);
    assert_eq!((bench.phase(), bench.updater.bytes()), ("available", 0));
    assert!(bench.updater.state().notes[0].contains("100000 bytes of the one before"));
    assert_eq!(names(&bench.folder()), ["state.json"]);
    bench.downloads(&newer);
}

#[test]
fn s2_6_a_release_that_is_stopped_is_not_kept() {
    let package = bytes(1000);
    for downloaded in [false, true] {
        let bench = Bench::new();
        bench.is_offered(&package);
        if downloaded {
            bench.downloads(&package);
        } else {
            bench.partial().append(&mut &package[..500], &|_| {}).unwrap();
        }
        bench.updater.answered(Answer::Nothing { reason: Reason::Stopped }).unwrap();
        assert_eq!((bench.phase(), bench.reason()), ("idle", "stopped".to_owned()));
        assert!(bench.updater.state().notes.last().unwrap().contains("thrown away"));
        assert_eq!(names(&bench.folder()), ["state.json"]);
    }
}

#[test]
fn s2_6_wrong_bytes_are_told_to_the_cloud_and_begin_anew_aloud() {
    let package = bytes(1000);
    let bench = Bench::new();
    bench.is_offered(&package);
    let mut partial = bench.partial();
    partial.append(&mut &vec![0; 1000][..], &|_| {}).unwrap();
    assert!(bench.updater.finish_download(partial).is_err());
    assert_eq!((bench.phase(), bench.reason()), ("downloading", "hash_differs".to_owned()));
    assert_eq!(bench.reports(), [(Stage::Failed, Some("hash_differs".to_owned()))]);
    assert_eq!(bench.updater.bytes(), 0);
    assert!(bench.updater.state().notes[0].contains("nothing of it stays"));
    bench.downloads(&package);
}

#[test]
fn s2_6_a_package_of_another_size_on_the_disk_is_not_applied() {
    let package = bytes(1000);
    let bench = Bench::new();
    bench.is_offered(&package);
    bench.downloads(&package);
    let whole = bench.folder().join(format!("{}.zip", hex(&sha256(&package))));
    fs::write(&whole, &package[1..]).unwrap();
    assert!(matches!(bench.updater.begin_apply(), Err(UpdateError::Altered(_))));
    assert_eq!(bench.phase(), "available", "it can be downloaded again");
    assert!(!whole.exists());
    bench.downloads(&package);
    fs::remove_file(&whole).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &whole).unwrap();
    assert!(matches!(bench.updater.begin_apply(), Err(UpdateError::Altered(_))));
}

#[test]
fn s2_6_what_recovery_says_decides() {
    let refused = || Some(Why::new("signature", "nobody signed it"));
    for (bad, boot_no, due) in [
        (refused(), 8, ("failed", Some("signature"))),
        (None, 8, ("ready_to_restart", None)),
        (refused(), 7, ("restarting", None)),
    ] {
        let package = bytes(1000);
        let bench = Bench::new();
        bench.is_offered(&package);
        bench.downloads(&package);
        bench.updater.begin_apply().unwrap();
        bench.updater.applied().unwrap();
        bench.updater.restarting(7).unwrap();
        assert!(!bench.updater.settle(boot_no, bad).unwrap());
        let state = bench.updater.state();
        assert_eq!((state.phase.name(), state.phase.why().map(|it| &*it.reason)), due);
        if let (_, Some(reason)) = due {
            assert_eq!(bench.reports().last().unwrap().1.as_deref(), Some(reason));
        }
    }
}

#[test]
fn reports_wait_until_the_cloud_heard_them_in_order() {
    let package = bytes(1000);
    let mut bench = Bench::new();
    bench.is_offered(&package);
    bench.downloads(&package);
    bench.updater.begin_apply().unwrap();
    bench.updater.applied().unwrap();
    bench.restart("b1");
    let first = bench.updater.next_report().unwrap();
    assert_eq!((first.stage, &*first.release_id), (Stage::Downloaded, "r1"));
    bench.updater.reported(&first).unwrap();
    bench.updater.reported(&first).unwrap();
    assert_eq!(bench.updater.next_report().unwrap().stage, Stage::Applied);
}

#[test]
fn offers_that_break_the_rules_are_not_taken() {
    type Breaks = fn(&mut Offer);
    let cases: [(Breaks, &str); 9] = [
        (|offer| offer.package.sha256 = "00".into(), "a malformed SHA-256"),
        (|offer| offer.package.sha256 = "../".repeat(21) + "a", "a malformed SHA-256"),
        (|offer| offer.package.size = 0, "an impossible size"),
        (|offer| offer.package.size = u64::MAX, "an impossible size"),
        (|offer| offer.url = "https://evil.example/".into(), "a URL that is no path at the cloud"),
        (|offer| offer.url = "/a b".into(), "a URL that is no path at the cloud"),
        (|offer| offer.timestamp = 100, "a build that is not newer than this one"),
        (|offer| offer.security_patch = "2026-10-05".into(), "an older security patch level"),
        (|offer| offer.package.source_build = Some("b0".into()), "a delta from another build"),
    ];
    for (breaks, due) in cases {
        let mut broken = offer(b"package");
        breaks(&mut broken);
        assert_eq!(Update::offered(broken, &running("b1")), Err(BadOffer(due)));
    }
}

#[test]
fn a_file_takes_the_place_of_a_download_and_is_never_reported() {
    let package = bytes(1000);
    let bench = Bench::new();
    bench.is_offered(&bytes(5000));
    bench.partial().append(&mut &bytes(5000)[..100], &|_| {}).unwrap();
    let update = Update::offered(offer(&package), &running("b1")).unwrap();
    let update = Update { source: Source::File, ..update };
    fs::write(bench.updater.whole(&update), &package).unwrap();
    bench.updater.copied(update).unwrap();
    assert!(bench.updater.state().notes[0].contains("100 bytes of another package"));
    assert!(!bench.updater.may_check());
    bench.updater.begin_apply().unwrap().unwrap();
    bench.updater.not_applied(Why::new("signature", "nobody signed it"), true).unwrap();
    assert_eq!(bench.phase(), "failed");
    assert_eq!(bench.reports(), []);
    assert_eq!(names(&bench.folder()), ["state.json"]);
}

#[test]
fn a_state_that_cannot_be_read_begins_anew_and_says_so() {
    let mut bench = Bench::new();
    bench.is_offered(&bytes(1000));
    bench.downloads(&bytes(1000));
    fs::write(bench.folder().join("state.json"), "{\"state\": \"flying\"}").unwrap();
    bench.restart("b1");
    assert_eq!(bench.phase(), "idle");
    assert!(bench.updater.state().notes[0].contains("was lost"));
    assert!(names(&bench.folder()).iter().all(|name| !name.ends_with(".zip")));
}

#[test]
fn what_is_not_durable_did_not_happen() {
    let bench = Bench::new();
    fs::remove_dir_all(bench.folder()).unwrap();
    assert!(bench.updater.answered(Answer::Update(offer(b"package"))).is_err());
    assert_eq!(bench.phase(), "idle");
}

#[test]
fn the_state_reads_as_it_was_written() {
    let bench = Bench::new();
    bench.is_offered(&bytes(10));
    let state = |path: &Path| fs::read_to_string(path.join("state.json")).unwrap();
    let text = state(&bench.folder());
    assert!(
        text.contains(r#""state":"available""#) && text.contains(r#""from":"cloud""#),
        "{text}"
    );
    let Phase::Available { update } = bench.updater.state().phase else { panic!("{text}") };
    assert_eq!(update.release_id(), Some("r1"));
    assert!(!update.delta);
}
