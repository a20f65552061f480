//! Recovery instead of the system, because the message in misc asks for it (SPEC S2.6).
//!
//! Level 2 decides and tells the kernel on its command line; the kernel runs `recovery` out of the
//! ramdisk of the boot image, which vbmeta's hash of that image vouches for. Each attempt is counted
//! in the message before it begins. After the last one, and in a slot that has not proved itself,
//! the system boots: what the message asked for was done before such a slot came to run.

use crate::handover::{Halt, Handover, failed, take};
use board::exec::{Launch, sealed};
use board::fds;
use board::flash::{Flash, FlashError};
use board::power::PowerRequest;
use board::report::{Record, Slot};
use board::verdict::Refusal;
use bootimg::boot::BootImage;
use bootimg::cpio::Archive;
use bootimg::misc::{BOOT_RECOVERY, BootloaderMessage};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{WaitOptions, wait};
use std::convert::Infallible;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;

/// What level 2 adds to the command line.
pub const MODE_OPTION: &str = "androidboot.mode=recovery";
/// The status in misc once the attempts are used up.
pub const GAVE_UP: &str = "gave-up";
/// How often recovery is started for one command. The board lets a device restart by itself more
/// often than that.
pub const ATTEMPTS: u32 = 5;
/// The status while there are attempts left: `attempt-2`.
const ATTEMPT: &str = "attempt-";
const PROGRAM: &str = "recovery";
/// The largest ramdisk.
const MAX_RAMDISK_BYTES: u64 = 64 << 20;

/// Whether this boot of `slot` runs recovery. Counts the attempt, durably.
pub fn wanted(flash: &Flash, slot: Slot) -> Result<bool, FlashError> {
    let mut message = flash.message()?;
    if message.command != BOOT_RECOVERY {
        return Ok(false);
    }
    if !flash.slots()?.get(slot.into()).is_successful() {
        flash.put_message(&BootloaderMessage::default())?;
        return Ok(false);
    }
    let before = message.status.strip_prefix(ATTEMPT).and_then(|count| count.parse().ok());
    let attempt = before.unwrap_or(0_u32).saturating_add(1);
    if attempt > ATTEMPTS {
        let status = GAVE_UP.to_owned();
        flash.put_message(&BootloaderMessage { status, ..BootloaderMessage::default() })?;
        return Ok(false);
    }
    message.status = format!("{ATTEMPT}{attempt}");
    flash.put_message(&message)?;
    Ok(true)
}

/// The ramdisk of a verified boot image, sealed.
pub fn ramdisk_of(image: &[u8]) -> Result<OwnedFd, Refusal> {
    let (image, _) = BootImage::parse_prefix(image).map_err(failed("reading the boot image"))?;
    sealed("ramdisk", image.ramdisk).map_err(failed("loading the ramdisk"))
}

/// Whether a command line asks for recovery.
#[must_use]
pub fn is_asked_for(cmdline: &str) -> bool {
    cmdline.split(' ').any(|option| option == MODE_OPTION)
}

/// All of the ramdisk that a stage was given.
pub fn read_ramdisk(ramdisk: &OwnedFd) -> Result<Vec<u8>, Refusal> {
    let reading = "reading the ramdisk";
    let size = rustix::fs::fstat(ramdisk).map_err(failed(reading))?.st_size.unsigned_abs();
    if size > MAX_RAMDISK_BYTES {
        return Err(Refusal::policy(format!("{reading}: it has {size} bytes")));
    }
    let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
    let file = File::from(ramdisk.try_clone().map_err(failed(reading))?);
    file.read_exact_at(&mut bytes, 0).map_err(failed(reading))?;
    Ok(bytes)
}

/// In the kernel: runs recovery once, then asks for a restart, however it ended. The message in
/// misc says what the next boot does.
pub fn start(handover: &Handover, flash: &Flash) -> Result<Infallible, Halt> {
    match run(handover, flash) {
        Ok(()) => {}
        Err(refusal) => {
            let how = format!("did not start: {refusal}");
            handover.log.write(&Record::Ended { name: PROGRAM.into(), how });
        }
    }
    Err(Halt::Power(PowerRequest::Restart))
}

fn run(handover: &Handover, flash: &Flash) -> Result<(), Refusal> {
    let starting = "starting recovery";
    let ramdisk = take(fds::RAMDISK)?;
    let bytes = read_ramdisk(&ramdisk)?;
    let archive = Archive::parse(&bytes).map_err(failed("reading the ramdisk"))?;
    let program = archive
        .file(PROGRAM)
        .ok_or_else(|| Refusal::policy("the boot image's ramdisk has no recovery"))?;
    let program = sealed(PROGRAM, program).map_err(failed(starting))?;
    let nothing = OpenOptions::new().read(true).write(true).open("/dev/null");
    let nothing = nothing.map_err(failed("opening /dev/null"))?;
    let arguments = board::argument::encode(&handover.arguments).map_err(failed(starting))?;
    let child = Launch::new(program.as_fd(), PROGRAM)
        .argument(&arguments)
        .give(nothing.as_fd(), 0)
        .give(nothing.as_fd(), 1)
        .give(flash.file().as_fd(), fds::FLASH)
        .give(handover.log.fd().as_fd(), fds::LOG)
        .give(handover.power.as_fd(), fds::POWER)
        .give(ramdisk.as_fd(), fds::RAMDISK)
        .dying_with_parent()
        .spawn()
        .map_err(failed(starting))?;
    handover.log.process(PROGRAM, 0);
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == child => {
                if status.exit_status() != Some(0) {
                    let how = format!("ended with {:?}", status.exit_status());
                    handover.log.write(&Record::Ended { name: PROGRAM.into(), how });
                }
                return Ok(());
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(failed("waiting for recovery")(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bootimg::gpt::{Gpt, Guid, PartitionSpec};
    use bootimg::misc::{Slot as MiscSlot, SlotMetadata, SlotState};

    /// A flash with nothing but misc.
    fn flash(a: SlotState) -> Flash {
        let misc = PartitionSpec {
            name: "misc".into(),
            type_guid: Guid::LINUX_DATA,
            unique_guid: Guid::from_bytes([1; 16]),
            size_bytes: 4096,
        };
        let gpt = Gpt::layout(Guid::from_bytes([9; 16]), &[misc]).unwrap();
        let file = tempfile::tempfile().unwrap();
        let encoded = gpt.encode();
        file.write_all_at(&encoded.head, 0).unwrap();
        file.write_all_at(&encoded.tail, encoded.tail_offset).unwrap();
        let flash = Flash::open(file).unwrap();
        let mut slots = SlotMetadata::first_boot();
        slots.set(MiscSlot::A, a);
        flash.put_slots(&slots).unwrap();
        flash
    }

    fn proved() -> SlotState {
        SlotState::new(15, 0, true).unwrap()
    }

    #[test]
    fn s2_6_recovery_is_tried_a_few_times_and_then_the_system_boots() {
        let flash = flash(proved());
        assert!(!wanted(&flash, Slot::A).unwrap(), "nobody asked");
        flash.put_message(&BootloaderMessage::install("/data/update/ota.zip")).unwrap();
        for attempt in 1..=ATTEMPTS {
            assert!(wanted(&flash, Slot::A).unwrap());
            let message = flash.message().unwrap();
            assert_eq!(message.status, format!("attempt-{attempt}"));
            assert_eq!(message.update_package(), Some("/data/update/ota.zip"));
        }
        assert!(!wanted(&flash, Slot::A).unwrap());
        let message = flash.message().unwrap();
        assert_eq!((message.command.as_str(), message.status.as_str()), ("", GAVE_UP));
        assert!(!wanted(&flash, Slot::A).unwrap());
    }

    #[test]
    fn s2_6_a_slot_on_trial_runs_no_recovery() {
        let flash = flash(SlotState::FRESH);
        flash.put_message(&BootloaderMessage::install("/data/update/ota.zip")).unwrap();
        assert!(!wanted(&flash, Slot::A).unwrap());
        assert_eq!(flash.message().unwrap(), BootloaderMessage::default());
    }

    #[test]
    fn other_commands_are_left_alone() {
        let flash = flash(proved());
        let message = BootloaderMessage { command: "boot-fastboot".into(), ..Default::default() };
        flash.put_message(&message).unwrap();
        assert!(!wanted(&flash, Slot::A).unwrap());
        assert_eq!(flash.message().unwrap(), message);
        assert!(is_asked_for("a=b androidboot.mode=recovery c"));
        assert!(!is_asked_for("androidboot.mode=recovery2 xandroidboot.mode=recovery"));
    }
}
