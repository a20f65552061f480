//! Two root keys in the fuses, and the day on which one of them is revoked.

use crate::device::{Device, Workshop, workshop};
use factory::RollbackIndexes;
use std::process::{Command, Output};

const INDEX: RollbackIndexes = RollbackIndexes::all(5);

fn revoke(workshop: &Workshop, device: &Device, slot: &str) -> Output {
    let mut board = Command::new(workshop.programs.join("holdfast-board"));
    let board = board.arg("--state").arg(device.folder.path()).args(["--revoke-key", slot]);
    board.output().unwrap()
}

fn refused(output: &Output, why: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(why), "{said}");
}

#[test]
fn s2_2_images_of_a_revoked_root_key_are_refused_and_those_of_the_second_boot() {
    let Some(workshop) = workshop() else { return };
    let device = workshop.device(INDEX);
    let first = device.path("first.img");
    std::fs::copy(device.path("flash.img"), &first).unwrap();
    refused(&revoke(workshop, &device, "1"), "would not boot any more");

    let second = workshop.maker.second_avb_key();
    workshop.flash_signed(second, &workshop.stages, INDEX, &device.path("flash.img"));
    let board = device.run(workshop);
    assert_eq!(board.outcome()["ready"], true, "{}", board.log());
    drop(board);
    refused(&revoke(workshop, &device, "3"), "no root key in that slot");
    assert!(revoke(workshop, &device, "1").status.success());
    refused(&revoke(workshop, &device, "1"), "revoked before");
    let board = device.run(workshop);
    assert_eq!(board.outcome()["ready"], true, "{}", board.log());
    drop(board);

    std::fs::copy(&first, device.path("flash.img")).unwrap();
    let rejected = "ERROR_PUBLIC_KEY_REJECTED".to_owned();
    assert_eq!(device.run(workshop).refusal(), ("bl1".to_owned(), rejected.clone()));
    // Not one stage of the old key gets in between the new ones.
    workshop.flash_signed(second, &workshop.stages, INDEX, &device.path("flash.img"));
    let old = Device { folder: tempfile::tempdir().unwrap() };
    std::fs::copy(&first, old.path("flash.img")).unwrap();
    for (partition, stage) in [("tee_a", "tee"), ("bl2_a", "bl2"), ("vbmeta_a", "kernel")] {
        let good = device.open_flash().read(partition).unwrap();
        let bytes = old.open_flash().read(partition).unwrap();
        device.open_flash().write_at(partition, 0, &bytes).unwrap();
        assert_eq!(device.run(workshop).refusal(), (stage.to_owned(), rejected.clone()));
        device.open_flash().write_at(partition, 0, &good).unwrap();
    }
}

#[test]
fn s2_2_the_last_root_key_stays() {
    let Some(workshop) = workshop() else { return };
    let device = workshop.device(INDEX);
    assert!(revoke(workshop, &device, "2").status.success());
    refused(&revoke(workshop, &device, "1"), "would not boot any more");
    let board = device.run(workshop);
    assert_eq!(board.outcome()["ready"], true, "{}", board.log());
    // The fuses are the running board's.
    let meanwhile = revoke(workshop, &device, "1");
    refused(&meanwhile, "another holdfast-board");
}
