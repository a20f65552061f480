//! The boot ROM (SPEC S2.2, steps 1 and 2): in the chip, unchangeable.
//!
//! It chooses a slot, verifies the level-1 bootloader under the key whose hash is in the fuses,
//! and runs exactly the bytes that it verified.

use board::exec::{Launch, sealed};
use board::flash::Flash;
use board::report::{BootArgs, Slot, Stage};
use board::secure::BL1_COUNTER;
use board::verdict::{Check, Identity, Refusal, verify_under};
use board::{Silicon, argument};
use rustix::fd::{AsFd, OwnedFd};
use std::fs::File;
use std::io;

const STAGE: &str = "bl1";

/// The first stage, verified.
#[derive(Debug)]
pub struct FirstStage {
    /// Its executable.
    pub image: OwnedFd,
    /// The slot that was chosen.
    pub slot: Slot,
    /// Its rollback index.
    pub index: u64,
    /// Its line in the boot log.
    pub stage: Stage,
}

/// The first stage was refused.
#[derive(Debug)]
pub struct Refused {
    /// The slot that was chosen, where one was.
    pub slot: Option<Slot>,
    /// The line in the boot log.
    pub stage: Stage,
}

/// Chooses the slot and verifies its level-1 bootloader.
pub fn verify(flash: &File, silicon: &dyn Silicon) -> Result<FirstStage, Box<Refused>> {
    let check = Check::start(STAGE, "misc");
    let refuse = |check: Check<'_>, slot, refusal| {
        Err(Box::new(Refused { slot, stage: check.finish(Err(&refusal)) }))
    };
    let (flash, slot) = match choose_slot(flash) {
        Ok(chosen) => chosen,
        Err(refusal) => return refuse(check, None, refusal),
    };
    let partition = format!("{STAGE}{}", slot.suffix());
    let check = Check::start(STAGE, &partition);
    match verify_partition(&flash, &partition, silicon) {
        Ok((image, index, identity)) => {
            Ok(FirstStage { image, slot, index, stage: check.finish(Ok(&identity)) })
        }
        Err(refusal) => refuse(check, Some(slot), refusal),
    }
}

/// Whether another try leads somewhere after a boot of `slot` was refused: it never proved
/// itself, and the other slot can boot once its tries are used up.
#[must_use]
pub fn is_on_trial(flash: &File, slot: Slot) -> bool {
    let flash = flash.try_clone().ok().and_then(|flash| Flash::open(flash).ok());
    let slots = flash.and_then(|flash| flash.slots().ok());
    slots.is_some_and(|slots| {
        let other = if slot == Slot::A { Slot::B } else { Slot::A };
        !slots.get(slot.into()).is_successful() && slots.get(other.into()).is_bootable()
    })
}

/// Whether the level-1 bootloader of the slot that is tried next would run under `keys` alone.
pub fn would_boot(flash: &File, keys: &[[u8; 32]], lowest_index: u64) -> Result<(), Refusal> {
    let unreadable = |error: io::Error| Refusal::new("ERROR_IO", error.to_string());
    let flash = Flash::open(flash.try_clone().map_err(unreadable)?)?;
    let slot = flash.slots()?.choose().ok_or_else(|| Refusal::policy("no slot is bootable"))?;
    let partition = format!("{STAGE}{}", slot.suffix());
    verify_under(keys, &flash.read(&partition)?, STAGE, lowest_index)?;
    Ok(())
}

/// The slot to try; the try is counted before anything of it runs. Where the other slot can't
/// boot, there is nothing to fall back to and nothing to count: power cuts must not use up the
/// only system there is.
fn choose_slot(flash: &File) -> Result<(Flash, Slot), Refusal> {
    let unreadable = |error: io::Error| Refusal::new("ERROR_IO", error.to_string());
    let flash = Flash::open(flash.try_clone().map_err(unreadable)?)?;
    let mut slots = flash.slots()?;
    let slot = slots.choose().ok_or_else(|| {
        Refusal::policy("no slot is bootable: each is empty or used up its tries; flash it anew")
    })?;
    if slots.get(slot.other()).is_bootable() {
        slots.count_try(slot);
        flash.put_slots(&slots)?;
    }
    Ok((flash, slot.into()))
}

fn verify_partition(
    flash: &Flash,
    partition: &str,
    silicon: &dyn Silicon,
) -> Result<(OwnedFd, u64, Identity), Refusal> {
    let fuses = |error: board::SiliconError| Refusal::policy(error.to_string());
    let keys = silicon.root_key_hashes().map_err(fuses)?;
    let counter = silicon.counter(BL1_COUNTER).map_err(fuses)?;
    let bytes = flash.read(partition)?;
    let verified = verify_under(&keys, &bytes, STAGE, counter)?;
    let program = &bytes[verified.image.clone()];
    let image = sealed(STAGE, program)
        .map_err(|error| Refusal::policy(format!("no memory for the program: {error}")))?;
    let digest = crypto::digest::sha256(program).to_vec();
    let version = verified.version().unwrap_or(&verified.release).to_owned();
    Ok((image, verified.rollback_index, Identity { version, digest }))
}

/// The first stage, ready to start: what it inherits is the board's to add.
pub fn launch<'a>(image: &'a OwnedFd, arguments: &BootArgs) -> io::Result<Launch<'a>> {
    let text = argument::encode(arguments).map_err(io::Error::other)?;
    Ok(Launch::new(image.as_fd(), STAGE).argument(&text))
}
