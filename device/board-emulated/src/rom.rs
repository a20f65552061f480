//! The boot ROM (SPEC S2.2, steps 1 and 2): in the chip, unchangeable.
//!
//! It chooses a slot, verifies the level-1 bootloader under the key whose hash is in the fuses,
//! and runs exactly the bytes that it verified.

use crate::fuses::BL1_COUNTER;
use avb::verify_hash_footer_partition;
use board::exec::{Launch, sealed};
use board::flash::Flash;
use board::report::{BootArgs, Slot, Stage};
use board::verdict::{Check, Identity, Refusal};
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
    /// Its line in the boot log.
    pub stage: Stage,
}

/// Chooses the slot and verifies its level-1 bootloader. Refused comes back as the line for the
/// boot log.
pub fn verify(flash: &File, silicon: &dyn Silicon) -> Result<FirstStage, Box<Stage>> {
    let check = Check::start(STAGE, "misc");
    let refuse = |check: Check<'_>, refusal| Err(Box::new(check.finish(Err(&refusal))));
    let (flash, slot) = match choose_slot(flash) {
        Ok(chosen) => chosen,
        Err(refusal) => return refuse(check, refusal),
    };
    let partition = format!("{STAGE}{}", slot.suffix());
    let check = Check::start(STAGE, &partition);
    match verify_partition(&flash, &partition, silicon) {
        Ok((image, identity)) => Ok(FirstStage { image, slot, stage: check.finish(Ok(&identity)) }),
        Err(refusal) => refuse(check, refusal),
    }
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
) -> Result<(OwnedFd, Identity), Refusal> {
    let fuses = |error: board::SiliconError| Refusal::policy(error.to_string());
    let key = silicon.root_key_hash().map_err(fuses)?;
    let counter = silicon.fuse_counter(BL1_COUNTER).map_err(fuses)?;
    let bytes = flash.read(partition)?;
    let verified = verify_hash_footer_partition(&bytes, STAGE, &key, counter)?;
    let program = &bytes[verified.image.clone()];
    let image = sealed(STAGE, program)
        .map_err(|error| Refusal::policy(format!("no memory for the program: {error}")))?;
    let digest = crypto::digest::sha256(program).to_vec();
    let version = verified.version().unwrap_or(&verified.release).to_owned();
    Ok((image, Identity { version, digest }))
}

/// The first stage, ready to start: what it inherits is the board's to add.
pub fn launch<'a>(image: &'a OwnedFd, arguments: &BootArgs) -> io::Result<Launch<'a>> {
    let text = argument::encode(arguments).map_err(io::Error::other)?;
    Ok(Launch::new(image.as_fd(), STAGE).argument(&text))
}
