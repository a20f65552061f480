//! Power cuts at every write and every sync of an update, from the command to its end.

use crate::disk::{Disk, Flaw};
use crate::install::device;
use crate::maker::{Images, maker};
use crate::recovery::{data, recover};
use bootimg::misc::{BootloaderMessage, Slot};
use device_update::{SlotStorage, outcome};
use std::path::Path;

/// What the system and then recovery do: ask for the update, install it.
fn update(disk: &Disk, data: &Path) -> bool {
    outcome::request(disk, &data.join("update"), "ota.zip").is_ok() && recover(disk, data).is_ok()
}

/// What the ROM and the bootloaders find: the slot that they choose boots, and every slot that they
/// might fall back to is one of `whole`. Gives what is wrong.
fn boots(disk: &Disk, whole: &[&Images]) -> Result<Slot, String> {
    let slots = disk.slots().map_err(|error| error.to_string())?;
    let chosen = slots.choose().ok_or("no slot is bootable")?;
    for slot in Slot::ALL.into_iter().filter(|slot| slots.get(*slot).is_bootable()) {
        if !whole.contains(&&disk.images(slot)) {
            return Err(format!("slot {slot:?} is bootable and half written"));
        }
        disk.verify(slot, &maker().trust()).map_err(|refusal| refusal.to_string())?;
    }
    Ok(chosen)
}

/// Cuts the power at every step; after each the device boots a whole system, and once it goes on the
/// update is complete. Gives the number of cuts, or the first thing that was wrong.
fn cut_everywhere(package: &[u8], flaw: Flaw) -> Result<u64, String> {
    let (old, new, spare) = (maker().images(1), maker().images(2), maker().images(5));
    let whole = [&old, &new, &spare];
    for last in 1.. {
        let data = data(package);
        let disk = device(&spare).dying_at(last, flaw);
        let ended = update(&disk, data.path());
        if ended && disk.steps() < last {
            return Ok(last - 1);
        }
        let disk = disk.after_the_cut();
        let told = |what: String| format!("cut at {last}: {what}");
        let chosen = boots(&disk, &whole).map_err(told)?;
        let message = disk.message().map_err(|error| told(error.to_string()))?;
        let wanted = outcome::requested(&message).is_some();
        if chosen == Slot::B && disk.images(Slot::B) != new {
            return Err(told("the slot that boots next is half written".into()));
        }
        match (chosen, wanted) {
            // Recovery runs again.
            (Slot::A, true) => drop(recover(&disk, data.path()).unwrap()),
            // The command was not durable yet: the old system asks again.
            (Slot::A, false) => assert!(update(&disk, data.path())),
            // The new slot is on trial: no recovery runs from it, the bootloader clears the command.
            (Slot::B, true) => disk.put_message(&BootloaderMessage::default()).unwrap(),
            (Slot::B, false) => {}
        }
        assert_eq!(boots(&disk, &whole), Ok(Slot::B), "cut at {last}, then gone on");
        for (slot, images) in [(Slot::A, &old), (Slot::B, &new)] {
            assert!(disk.images(slot) == *images, "cut at {last}, then gone on: {slot:?}");
        }
        let ending = outcome::ending(&disk, &data.path().join("update"), board::report::Slot::B);
        let ending = ending.unwrap().map(|ending| ending.word().map(str::to_owned));
        assert_eq!(ending, Some(None), "cut at {last}: the system knows that it was updated");
    }
    unreachable!("an update ends")
}

#[test]
fn s2_6_a_power_cut_at_any_write_leaves_a_bootable_system_and_the_update_completes() {
    for order in [maker().full(2), maker().delta(1, 2)] {
        let cuts = cut_everywhere(&order.make(), Flaw::default()).unwrap();
        assert!(cuts > 20, "{cuts} cuts");
    }
}

#[test]
fn the_power_cuts_find_an_installer_that_makes_mistakes() {
    let package = maker().full(2).make();
    for flaw in [
        Flaw { stays_bootable: true, ..Flaw::default() },
        Flaw { never_syncs: true, ..Flaw::default() },
    ] {
        let found = cut_everywhere(&package, flaw);
        assert!(found.as_ref().is_err_and(|it| it.contains("half written")), "{flaw:?}: {found:?}");
    }
}
