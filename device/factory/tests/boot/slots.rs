//! Two slots: the new one is on trial until its system came up, then the old one is too old.

use crate::device::{Device, Workshop, workshop};
use crate::wait_for_success;
use bootimg::misc::{Slot, SlotMetadata, SlotState};
use factory::{RollbackIndexes, Stages};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;

const OLD: RollbackIndexes = RollbackIndexes::all(5);
const NEW: RollbackIndexes = RollbackIndexes::all(6);
const SLOTTED: [&str; 7] = ["bl1", "tee", "bl2", "boot", "vbmeta", "system", "baseband"];

/// A device whose slot a works and whose slot b holds what `stages` make, with `tries` left.
fn updated(workshop: &Workshop, stages: &Stages, tries: u8) -> Device {
    let device = workshop.device(OLD);
    let update = Device { folder: tempfile::tempdir().unwrap() };
    workshop.flash_signed(workshop.maker.avb_key(), stages, NEW, &update.path("flash.img"));
    let (from, to) = (update.open_flash(), device.open_flash());
    for name in SLOTTED {
        let bytes = from.read(&format!("{name}_a")).unwrap();
        to.write_at(&format!("{name}_b"), 0, &bytes).unwrap();
    }
    let mut slots = SlotMetadata::first_boot();
    slots.set(Slot::A, SlotState::new(14, 0, true).unwrap());
    slots.set(Slot::B, SlotState::new(15, tries, false).unwrap());
    to.put_slots(&slots).unwrap();
    device
}

fn state(device: &Device, slot: Slot) -> SlotState {
    device.open_flash().slots().unwrap().get(slot)
}

#[test]
fn s2_2_a_slot_that_is_refused_falls_back_after_its_tries_and_raises_nothing() {
    let Some(workshop) = workshop() else { return };
    for (partition, stage) in [("bl1_b", "bl1"), ("bl2_b", "bl2"), ("boot_b", "kernel")] {
        let device = updated(workshop, &workshop.stages, 2);
        device.flip(partition, 77);
        let board = device.run(workshop);
        let status = board.wait_for(|status| status["slot"] == "a" && status["ready"] == true);
        let tried: Vec<&Value> = status["tried"].as_array().unwrap().iter().collect();
        assert_eq!(tried.len(), 2, "{partition}: {status:#}");
        assert!(tried.iter().all(|refused| refused["stage"] == stage), "{partition}: {tried:?}");
        assert_eq!(status["boot_no"], 2, "{partition}");
        assert!(!state(&device, Slot::B).is_bootable(), "{partition}");
        drop(board);
        // The old slot, with its older indexes, boots again: neither fuse nor RPMB rose.
        let board = device.run(workshop);
        let status = board.outcome();
        assert_eq!((&status["ready"], &status["slot"]), (&json!(true), &json!("a")), "{status:#}");
    }
}

#[test]
fn s2_2_indexes_rise_in_fuses_and_rpmb_once_the_new_slot_was_marked_successful() {
    let Some(workshop) = workshop() else { return };
    let device = updated(workshop, &workshop.stages, 2);
    let board = device.run(workshop);
    let status = board.outcome();
    assert_eq!((&status["ready"], &status["slot"]), (&json!(true), &json!("b")), "{status:#}");
    wait_for_success(&device, Slot::B, 6);
    drop(board);
    let mut slots = device.open_flash().slots().unwrap();
    slots.set(Slot::A, SlotState::new(15, 0, true).unwrap());
    slots.set(Slot::B, SlotState::new(14, 0, true).unwrap());
    device.open_flash().put_slots(&slots).unwrap();
    let rollback = |stage: &str| (stage.to_owned(), "ERROR_ROLLBACK_INDEX".to_owned());
    assert_eq!(device.run(workshop).refusal(), rollback("bl1"));
    // Each newer part in its turn: the next older one is refused then.
    for (name, next) in [("bl1", "tee"), ("tee", "bl2"), ("bl2", "kernel")] {
        let newer = device.open_flash().read(&format!("{name}_b")).unwrap();
        device.open_flash().write_at(&format!("{name}_a"), 0, &newer).unwrap();
        assert_eq!(device.run(workshop).refusal(), rollback(next));
    }
}

/// A device on trial with `program` in place of its system.
fn updated_to(workshop: &Workshop, program: &Path, tries: u8) -> Device {
    let folder = tempfile::tempdir().unwrap();
    for name in
        ["bl1", "bl2", "init", "tee-os", "ta-keymint", "ta-gatekeeper", "baseband", "recovery"]
    {
        fs::copy(workshop.programs.join(name), folder.path().join(name)).unwrap();
    }
    fs::copy(program, folder.path().join("system")).unwrap();
    updated(workshop, &Stages::load(folder.path()).unwrap(), tries)
}

#[test]
fn s2_2_a_system_that_never_comes_up_falls_back() {
    let Some(workshop) = workshop() else { return };
    // A program that ends at once.
    let device = updated_to(workshop, &workshop.programs.join("holdfast-probe"), 1);
    let board = device.run(workshop);
    let status = board.wait_for(|status| status["slot"] == "a" && status["ready"] == true);
    assert_eq!(status["tried"][0]["stage"], "system", "{status:#}");
    let reason = status["tried"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("never came up"), "{reason}");
}

#[test]
fn s2_2_a_system_that_hangs_falls_back_once_the_watchdog_bites() {
    let Some(workshop) = workshop() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (source, hangs) = (folder.path().join("hangs.c"), folder.path().join("hangs"));
    fs::write(&source, "#include <unistd.h>\nint main(void) { for (;;) pause(); }\n").unwrap();
    let compiled = Command::new("cc").arg("-static").arg(&source).arg("-o").arg(&hangs).status();
    assert!(compiled.unwrap().success());
    let device = updated_to(workshop, &hangs, 2);
    let mut board = Command::new(workshop.programs.join("holdfast-board"));
    board.args(["--trial", "2"]);
    let board = device.run_with(board);
    let status = board.wait_for(|status| status["slot"] == "a" && status["ready"] == true);
    let tried = status["tried"].as_array().unwrap();
    assert_eq!(tried.len(), 2, "{status:#}");
    let reason = tried[1]["reason"].as_str().unwrap();
    assert!(reason.contains("did not prove itself in 2 s"), "{reason}");
    assert!(!state(&device, Slot::B).is_bootable());
}
