//! Recovery: a command, a package in the folder of updates, a report.

use crate::disk::Disk;
use crate::install::device;
use crate::maker::{Order, build, maker, signer};
use board::report::Slot;
use bootimg::misc::{BootloaderMessage, Slot as MiscSlot};
use device_update::SlotStorage;
use device_update::outcome::{self, Ending, Outcome, Report};
use device_update::recovery::{Recovery, open_package};
use std::path::Path;
use tempfile::TempDir;

/// `/data` with a package.
pub(crate) fn data(package: &[u8]) -> TempDir {
    let data = tempfile::tempdir().unwrap();
    std::fs::create_dir(data.path().join("update")).unwrap();
    std::fs::write(data.path().join("update/ota.zip"), package).unwrap();
    data
}

/// Runs recovery of build 1 in slot a.
pub(crate) fn recover(disk: &Disk, data: &Path) -> Result<Report, board::flash::FlashError> {
    let recovery = Recovery {
        storage: disk,
        data,
        running: Slot::A,
        build: &build(1),
        trusted: &[maker().ota.1.clone()],
        trust: &maker().trust(),
    };
    recovery.run(&|_| {})
}

fn run(order: &Order) -> (Disk, TempDir, Report) {
    let disk = device(&maker().images(1));
    let data = data(&order.make());
    outcome::request(&disk, &data.path().join("update"), "ota.zip").unwrap();
    let report = recover(&disk, data.path()).unwrap();
    (disk, data, report)
}

#[test]
fn s2_6_recovery_installs_makes_active_reports_and_clears_the_command() {
    let (disk, data, report) = run(&maker().delta(1, 2));
    assert_eq!((report.outcome, report.target), (Outcome::Installed, Slot::B));
    assert_eq!((report.from, report.to), (build(1).fingerprint, build(2).fingerprint));
    assert_eq!(disk.slots().unwrap().choose(), Some(MiscSlot::B));
    assert_eq!(disk.message().unwrap(), BootloaderMessage::default());

    let folder = data.path().join("update");
    let ending = |running| outcome::ending(&disk, &folder, running).unwrap().unwrap();
    assert!(matches!(ending(Slot::B), Ending::Booted(_)));
    assert_eq!(ending(Slot::A).word(), Some("boot_failed"), "it fell back");
    outcome::forget(&disk, &folder).unwrap();
    assert_eq!(outcome::ending(&disk, &folder, Slot::B).unwrap(), None);
}

#[test]
fn s2_6_a_refusal_writes_nothing_and_says_why() {
    let mut unknown_key = maker().full(2);
    unknown_key.signers = [signer(), signer()];
    let mut older = maker().full(2);
    older.metadata.postcondition.timestamp = 1;
    for (order, word) in [(unknown_key, "signature"), (older, "older_build")] {
        let (disk, data, report) = run(&order);
        assert_eq!((report.outcome, report.word.as_deref()), (Outcome::Refused, Some(word)));
        assert_eq!(disk.images(MiscSlot::B), maker().images(1));
        assert!(disk.slots().unwrap().get(MiscSlot::B).is_bootable(), "{word}");
        assert_eq!(disk.message().unwrap(), BootloaderMessage::default());
        let folder = data.path().join("update");
        let ending = outcome::ending(&disk, &folder, Slot::A).unwrap().unwrap();
        assert_eq!(ending.word(), Some(word));
    }
}

#[test]
fn a_command_leads_nowhere_but_into_the_folder_of_updates() {
    let named = |path: &str| {
        let message = BootloaderMessage::install(path);
        outcome::requested(&message).map(str::to_owned)
    };
    assert_eq!(named("/data/update/ota-2.zip").as_deref(), Some("ota-2.zip"));
    for path in [
        "/data/update/",
        "/data/update/../ota.zip",
        "/data/update/a/b",
        "/data/update/.x",
        "/data/ota.zip",
        "/etc/passwd",
        "ota.zip",
        "/data/update/a b",
    ] {
        assert_eq!(named(path), None, "{path}");
    }
    let message = BootloaderMessage {
        command: "boot-fastboot".into(),
        ..BootloaderMessage::install("/data/update/ota.zip")
    };
    assert_eq!(outcome::requested(&message), None);

    let data = data(b"package");
    let update = data.path().join("update");
    std::os::unix::fs::symlink("ota.zip", update.join("link.zip")).unwrap();
    std::fs::create_dir(update.join("folder.zip")).unwrap();
    let pipe = rustix::fs::CWD;
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(pipe, update.join("pipe.zip"), fifo, 0o600.into(), 0).unwrap();
    for name in ["link.zip", "folder.zip", "pipe.zip", "none.zip", "../update/ota.zip"] {
        assert!(open_package(data.path(), name).is_err(), "{name}");
    }
    open_package(data.path(), "ota.zip").unwrap();
    std::fs::rename(&update, data.path().join("elsewhere")).unwrap();
    std::os::unix::fs::symlink("elsewhere", &update).unwrap();
    assert!(open_package(data.path(), "ota.zip").is_err(), "the folder is a link");
}

#[test]
fn a_command_without_a_package_is_cleared_with_a_reason() {
    let disk = device(&maker().images(1));
    let data = data(b"");
    disk.put_message(&BootloaderMessage::install("/data/ota.zip")).unwrap();
    let report = recover(&disk, data.path()).unwrap();
    assert_eq!(report.word.as_deref(), Some("command"));
    assert_eq!(disk.message().unwrap(), BootloaderMessage::default());
}
