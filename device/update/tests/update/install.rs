//! Installing into the other slot.

use crate::disk::Disk;
use crate::maker::{Images, Order, build, maker};
use bootimg::misc::{Slot, SlotMetadata, SlotState};
use device_update::{InstallError, Installed, Package, SlotStorage, activate, install};

/// Build 1 in slot a, which proved itself; `b` in slot b, which could boot too.
pub(crate) fn device(b: &Images) -> Disk {
    let mut slots = SlotMetadata::first_boot();
    slots.set(Slot::A, SlotState::new(15, 0, true).unwrap());
    slots.set(Slot::B, SlotState::new(14, 0, true).unwrap());
    Disk::new(&maker().images(1), b, &slots)
}

fn open(order: &Order) -> Package {
    let package = Package::open(order.file(), &[maker().ota.1.clone()]).unwrap();
    package.check(&build(1)).unwrap();
    package
}

fn run(disk: &Disk, order: &Order) -> Result<Installed, InstallError> {
    install(&open(order), disk, Slot::B, &|_| {})
}

#[test]
fn s2_6_full_and_delta_packages_fill_the_other_slot_which_boots_only_once_active() {
    for order in [maker().full(2), maker().delta(1, 2)] {
        let disk = device(&maker().images(1));
        let installed = run(&disk, &order).unwrap();
        assert_eq!(installed.written.len(), 7, "{installed:?}");
        assert_eq!(disk.images(Slot::B), maker().images(2));
        assert_eq!(disk.images(Slot::A), maker().images(1), "the slot that runs is only read");
        let slots = disk.slots().unwrap();
        assert_eq!((slots.get(Slot::B), slots.choose()), (SlotState::UNBOOTABLE, Some(Slot::A)));

        activate(&disk, Slot::B, &maker().trust()).unwrap();
        let slots = disk.slots().unwrap();
        assert_eq!((slots.get(Slot::B), slots.choose()), (SlotState::FRESH, Some(Slot::B)));
        assert!(slots.get(Slot::A).is_bootable(), "there is something to fall back to");
    }
}

#[test]
fn what_is_right_already_is_not_written_again() {
    let disk = device(&maker().images(1));
    run(&disk, &maker().full(2)).unwrap();
    let before = disk.steps();
    let again = run(&disk, &maker().full(2)).unwrap();
    assert_eq!((again.unchanged.len(), disk.steps()), (7, before));
    // One block is wrong: its partition is done anew, and nothing else is written than that block.
    disk.write_later("boot_b", 4096, &[1]).unwrap();
    let again = run(&disk, &maker().full(2)).unwrap();
    assert_eq!(again.written, ["boot"]);
    assert_eq!(disk.images(Slot::B), maker().images(2));
}

#[test]
fn partitions_that_the_package_does_not_have_are_copied() {
    let disk = device(&maker().images(5));
    let mut order = maker().full(2);
    order.to.retain(|name, _| ["boot", "vbmeta", "system", "baseband"].contains(name));
    let installed = run(&disk, &order).unwrap();
    assert_eq!(installed.copied, ["bl1", "bl2", "tee"]);
    assert_eq!(disk.images(Slot::B)["tee"], maker().images(1)["tee"]);
    activate(&disk, Slot::B, &maker().trust()).unwrap();
}

#[test]
fn s2_6_what_does_not_fit_the_device_is_refused_before_the_first_write() {
    let refused = |order: &Order, disk: &Disk, word: &str| {
        let (slots, steps) = (disk.slots().unwrap(), disk.steps());
        let error = run(disk, order).unwrap_err();
        assert_eq!((error.word(), error.is_refusal()), (word, true), "{error}");
        assert_eq!((disk.slots().unwrap(), disk.steps()), (slots, steps), "{error}");
    };
    let disk = device(&maker().images(1));
    let mut larger = maker().full(2);
    larger.to.get_mut("boot").unwrap().extend([0; 4096]);
    refused(&larger, &disk, "other_partitions");
    let mut more = maker().full(2);
    more.to.insert("radio", vec![0; 4096]);
    refused(&more, &disk, "other_partitions");
    // A delta for another build than the one that its metadata names.
    let mut delta = maker().delta(3, 4);
    delta.metadata.precondition.build = vec![build(1).fingerprint];
    refused(&delta, &disk, "other_source_build");
    let mut slots = disk.slots().unwrap();
    slots.set(Slot::A, SlotState::new(15, 3, false).unwrap());
    disk.put_slots(&slots).unwrap();
    refused(&maker().full(2), &disk, "on_trial");
}

#[test]
fn s2_6_a_blob_that_changed_after_the_check_is_not_written() {
    use std::os::unix::fs::FileExt;
    let order = maker().full(2);
    let file = order.file();
    let package = Package::open(file.try_clone().unwrap(), &[maker().ota.1.clone()]).unwrap();
    // The whole file becomes another maker's, signed by him.
    let mut evil = maker().full(3);
    evil.signers = [crate::maker::signer(), crate::maker::signer()];
    file.write_all_at(&evil.make(), 0).unwrap();
    let disk = device(&maker().images(1));
    let error = install(&package, &disk, Slot::B, &|_| {}).unwrap_err();
    assert_eq!(error.word(), "changed", "{error}");
    let slots = disk.slots().unwrap();
    assert_eq!((slots.get(Slot::B), slots.choose()), (SlotState::UNBOOTABLE, Some(Slot::A)));
}

#[test]
fn s2_6_a_slot_that_would_not_boot_never_becomes_active() {
    // Signed by the maker's OTA key, but its vbmeta is older than the rollback index.
    let mut trust = maker().trust();
    trust.rollback_indexes[0] = 3;
    let disk = device(&maker().images(1));
    run(&disk, &maker().full(2)).unwrap();
    let error = activate(&disk, Slot::B, &trust).unwrap_err().to_string();
    assert!(error.contains("ROLLBACK"), "{error}");
    disk.write_later("bl2_b", 100, &[1]).unwrap();
    let error = activate(&disk, Slot::B, &maker().trust()).unwrap_err().to_string();
    assert!(error.contains("bl2"), "{error}");
    assert_eq!(disk.slots().unwrap().choose(), Some(Slot::A));
}

#[test]
fn progress_grows_up_to_all_bytes() {
    let disk = device(&maker().images(1));
    let most = std::sync::Mutex::new((0, 0));
    install(&open(&maker().full(2)), &disk, Slot::B, &|progress| {
        let mut most = most.lock().unwrap();
        assert!(progress.done <= progress.total);
        *most = (most.0.max(progress.done), progress.total);
    })
    .unwrap();
    let (done, total) = most.into_inner().unwrap();
    assert!(done == total && total > 0);
}
