//! `holdfast bootimg slots`: what a misc partition says of the slots.

use super::read;
use crate::exit::Exit;
use anyhow::{Context, Result};
use bootimg::misc::{
    BootloaderControl, ControlSlot, METADATA_BYTES, METADATA_OFFSET, MiscError, Slot, SlotMetadata,
    SlotState,
};
use serde_json::{Value, json};
use std::path::Path;

/// What is there: libavb_ab's metadata, or the boot control HAL's.
struct Found {
    kind: &'static str,
    slots: Vec<ControlSlot>,
    next: Option<usize>,
}

/// Looks. No slot that may boot is exit code 1.
pub(crate) fn run(path: &Path, as_json: bool) -> Result<Exit> {
    let misc = read(path)?;
    let found = find(&misc).with_context(|| path.display().to_string())?;
    if as_json {
        println!("{}", json_of(&found));
    } else {
        print_text(&found);
    }
    Ok(if found.next.is_some() { Exit::Held } else { Exit::Failed })
}

fn find(misc: &[u8]) -> Result<Found, MiscError> {
    let bytes = misc.get(METADATA_OFFSET..).and_then(<[u8]>::first_chunk::<METADATA_BYTES>);
    let bytes = bytes.ok_or(MiscError::TooSmall(misc.len()))?;
    match SlotMetadata::decode(bytes) {
        Err(MiscError::Magic) => {
            let control = BootloaderControl::decode(bytes)?;
            let next = control.choose();
            Ok(Found { kind: "bootloader_control", slots: control.slots, next })
        }
        metadata => {
            let metadata = metadata?;
            let slot = |state| ControlSlot { state, verity_corrupted: false };
            let slots = Slot::ALL.map(|it| slot(metadata.get(it))).to_vec();
            let next = metadata
                .choose()
                .and_then(|chosen| Slot::ALL.iter().position(|slot| *slot == chosen));
            Ok(Found { kind: "libavb_ab", slots, next })
        }
    }
}

fn suffix(number: usize) -> String {
    format!("_{}", ["a", "b", "c", "d"].get(number).copied().unwrap_or("?"))
}

fn json_of(found: &Found) -> Value {
    let slot = |(number, slot): (usize, &ControlSlot)| {
        json!({
            "suffix": suffix(number),
            "priority": slot.state.priority(),
            "tries_remaining": slot.state.tries_remaining(),
            "successful": slot.state.is_successful(),
            "verity_corrupted": slot.verity_corrupted,
            "bootable": slot.is_bootable(),
        })
    };
    json!({
        "ok": found.next.is_some(),
        "metadata": found.kind,
        "next": found.next.map(suffix),
        "slots": found.slots.iter().enumerate().map(slot).collect::<Vec<_>>(),
    })
}

fn print_text(found: &Found) {
    println!("metadata of {}", found.kind);
    for (number, slot) in found.slots.iter().enumerate() {
        let damaged = if slot.verity_corrupted { ", damaged" } else { "" };
        println!("{}: {}{damaged}", suffix(number), describe(slot.state));
    }
    match found.next {
        Some(next) => println!("next: {}", suffix(next)),
        None => println!("next: none, no slot is bootable"),
    }
}

fn describe(state: SlotState) -> String {
    let (priority, tries) = (state.priority(), state.tries_remaining());
    let success = if state.is_successful() { "successful" } else { "not yet successful" };
    format!("priority {priority}, {tries} tries left, {success}")
}
