//! The level-2 bootloader (SPEC S2.2, step 5): Android Verified Boot of everything that is
//! left. Hands the modem its firmware, tells the TEE what was booted and becomes the kernel.

use avb::policy::{self, BootPolicy, VerifiedSlot, verify_boot};
use avb::{HashtreeErrorMode, IoError, Ops};
use board::argument::unhex;
use board::exec::{Launch, sealed};
use board::flash::{Flash, FlashError};
use board::report::Record;
use board::verdict::{Check, Identity, Refusal};
use board::{argument, channel, fds};
use boot::handover::{Halt, Handover, argument_at, failed, reported, run, take};
use bootimg::boot::BootImage;
use rustix::fd::{AsFd, OwnedFd};
use serde_bytes::ByteBuf;
use std::convert::Infallible;
use std::fs::File;
use tee_api::boot::{BootInfo, BootState, Reply, Request};

/// Names of the properties in vbmeta: ours, and those that Android's build system writes.
const VERSION: &str = "version";
const OS_VERSION: &str = "com.android.build.system.os_version";
const SYSTEM_PATCH: &str = "com.android.build.system.security_patch";
const BOOT_PATCH: &str = "com.android.build.boot.security_patch";

fn main() {
    run("bl2", "kernel", boot)
}

fn boot(handover: &Handover) -> Result<Infallible, Halt> {
    handover.end_with_power()?;
    let tee = take(fds::BOOT)?;
    let modem = take(fds::MODEM)?;
    let root_key = argument_at(2).and_then(|text| unhex(&text)?.try_into().ok());
    let slot = Slot {
        flash: Flash::open(File::from(take(fds::FLASH)?)).map_err(Refusal::from)?,
        rollback_indexes: ask_rollback_indexes(&tee)?,
        root_key: root_key.ok_or_else(|| Refusal::policy("no root key was handed over"))?,
        suffix: handover.arguments.slot.suffix(),
        locked: handover.arguments.locked,
    };
    let version = slot.check_vbmeta(handover)?;
    let (_, firmware) = slot.check(handover, "baseband", "baseband", &version)?;
    let (verified, image) = slot.check(handover, "kernel", "boot", &version)?;
    let kernel = kernel_of(&image)?;
    tell_tee(&tee, &verified)?;
    hand_over_firmware(&modem, &firmware)?;
    let starting = "starting the kernel";
    let arguments = argument::encode(&handover.arguments).map_err(failed(starting))?;
    let error = Launch::new(kernel.as_fd(), "init")
        .argument(&arguments)
        .argument(&verified.data.cmdline)
        .argument(&version)
        .give(slot.flash.file().as_fd(), fds::FLASH)
        .give(handover.log.fd().as_fd(), fds::LOG)
        .give(handover.power.as_fd(), fds::POWER)
        .give(kernel.as_fd(), fds::IMAGE)
        .exec();
    Err(failed(starting)(error).into())
}

fn ask_rollback_indexes(tee: &OwnedFd) -> Result<Vec<u64>, Refusal> {
    let asking = "asking the TEE for rollback indexes";
    channel::send(tee, &Request::RollbackIndexes).map_err(failed(asking))?;
    match channel::receive(tee).map_err(failed(asking))? {
        Reply::RollbackIndexes(indexes) => Ok(indexes),
        Reply::Refused(error) => Err(failed(asking)(error)),
        _ => Err(Refusal::policy(format!("{asking}: it answered something else"))),
    }
}

/// The slot that is verified, and what its verification stands on.
struct Slot {
    flash: Flash,
    rollback_indexes: Vec<u64>,
    root_key: [u8; 32],
    suffix: &'static str,
    locked: bool,
}

impl Slot {
    /// The signature, rollback index and form of vbmeta itself. Gives its version.
    fn check_vbmeta(&self, handover: &Handover) -> Result<String, Halt> {
        let partition = format!("vbmeta{}", self.suffix);
        let clock = Check::start("kernel", &partition);
        match self.verify(&[]) {
            Ok(verified) => Ok(verified.property(VERSION).unwrap_or_default().to_owned()),
            Err(refusal) => {
                handover.log.write(&Record::Stage(clock.finish(Err(&refusal))));
                Err(Halt::Reported)
            }
        }
    }

    /// Verifies the partition `name` and reports it as `stage`. Gives its image.
    fn check(
        &self,
        handover: &Handover,
        stage: &str,
        name: &str,
        version: &str,
    ) -> Result<(VerifiedSlot, Vec<u8>), Halt> {
        let partition = format!("{name}{}", self.suffix);
        reported(handover.log.check(stage, &partition, || {
            let mut verified = self.verify(&[name])?;
            let position = verified.data.loaded_partitions.iter().position(|l| l.partition == name);
            let loaded = position.map(|at| verified.data.loaded_partitions.swap_remove(at));
            let image = loaded.ok_or_else(|| Refusal::policy(format!("{name} is missing")))?.data;
            let digest = crypto::digest::sha256(&image).to_vec();
            let identity = Identity { version: version.to_owned(), digest };
            Ok((identity, (verified, image)))
        }))
    }

    fn verify(&self, partitions: &[&str]) -> Result<VerifiedSlot, Refusal> {
        let policy = BootPolicy {
            partitions,
            hashtrees: &["system"],
            suffix: self.suffix,
            maker_key_digest: self.root_key,
            hashtree_error_mode: HashtreeErrorMode::Restart,
        };
        Ok(verify_boot(self, &policy)?)
    }
}

impl Ops for Slot {
    fn read_from_partition(
        &self,
        partition: &str,
        offset: i64,
        buffer: &mut [u8],
    ) -> Result<usize, IoError> {
        let size = self.partition_size(partition)?;
        let from_end = |back: i64| size.checked_sub(back.unsigned_abs());
        let start = if offset < 0 { from_end(offset) } else { Some(offset.unsigned_abs()) };
        let start = start.filter(|at| *at <= size).ok_or(IoError::RangeOutsidePartition)?;
        let length = buffer.len().min(usize::try_from(size - start).unwrap_or(usize::MAX));
        self.flash.read_at(partition, start, &mut buffer[..length]).map_err(io_error)?;
        Ok(length)
    }

    fn partition_size(&self, partition: &str) -> Result<u64, IoError> {
        self.flash.partition(partition).map(|found| found.size_bytes()).map_err(io_error)
    }

    fn validate_vbmeta_public_key(
        &self,
        public_key: &[u8],
        _metadata: Option<&[u8]>,
    ) -> Result<bool, IoError> {
        Ok(crypto::digest::sha256(public_key) == self.root_key)
    }

    fn read_rollback_index(&self, location: u32) -> Result<u64, IoError> {
        let index = usize::try_from(location).ok().and_then(|at| self.rollback_indexes.get(at));
        index.copied().ok_or(IoError::Io)
    }

    fn is_device_unlocked(&self) -> Result<bool, IoError> {
        Ok(!self.locked)
    }

    fn unique_guid(&self, partition: &str) -> Result<String, IoError> {
        let found = self.flash.partition(partition).map_err(io_error)?;
        Ok(found.unique_guid.to_string())
    }

    fn read_persistent_value(&self, _name: &str) -> Result<Vec<u8>, IoError> {
        Err(IoError::NoSuchValue)
    }

    fn write_persistent_value(&self, _name: &str, _value: &[u8]) -> Result<(), IoError> {
        Err(IoError::NoSuchValue)
    }
}

fn io_error(error: FlashError) -> IoError {
    match error {
        FlashError::NoPartition(_) => IoError::NoSuchPartition,
        FlashError::Outside(_) => IoError::RangeOutsidePartition,
        _ => IoError::Io,
    }
}

fn kernel_of(image: &[u8]) -> Result<OwnedFd, Refusal> {
    let image = BootImage::parse(image).map_err(failed("reading the boot image"))?;
    sealed("init", image.kernel).map_err(failed("loading the kernel"))
}

fn hand_over_firmware(modem: &OwnedFd, firmware: &[u8]) -> Result<(), Refusal> {
    let handing = "handing the modem its firmware";
    let firmware = sealed("baseband", firmware).map_err(failed(handing))?;
    channel::send_with_fds(modem, &"baseband", &[firmware.as_fd()]).map_err(failed(handing))
}

/// The root of trust, for attestations.
fn tell_tee(tee: &OwnedFd, verified: &VerifiedSlot) -> Result<(), Refusal> {
    let telling = "telling the TEE what was booted";
    let number = |key: &str| {
        let text = verified.property(key).unwrap_or_default();
        version_number(key, text).ok_or_else(|| {
            Refusal::policy(format!("vbmeta's property {key} is {text:?}, not a version"))
        })
    };
    let indexes = (0..).zip(verified.data.rollback_indexes);
    let info = BootInfo {
        verified_boot_key: verified.public_key_digest,
        device_locked: verified.state != policy::BootState::Orange,
        boot_state: match verified.state {
            policy::BootState::Green => BootState::Green,
            policy::BootState::Yellow => BootState::Yellow,
            policy::BootState::Orange => BootState::Orange,
        },
        verified_boot_hash: ByteBuf::from(verified.vbmeta_digest),
        os_version: number(OS_VERSION)?,
        os_patch_level: number(SYSTEM_PATCH)?,
        boot_patch_level: number(BOOT_PATCH)?,
        rollback_indexes: indexes.filter(|(at, index)| *at == 0 || *index > 0).collect(),
    };
    channel::send(tee, &Request::SetBootInfo(info)).map_err(failed(telling))?;
    match channel::receive(tee).map_err(failed(telling))? {
        Reply::Done => Ok(()),
        Reply::Refused(error) => Err(failed(telling)(error)),
        _ => Err(Refusal::policy(format!("{telling}: it answered something else"))),
    }
}

/// KeyMint's numbers: `16` = 160000, `2026-11-05` = 202611 for the system, 20261105 for boot.
fn version_number(key: &str, text: &str) -> Option<u32> {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then_some(());
    if key == OS_VERSION {
        let mut parts =
            text.split('.').map(|part| digits(part).and_then(|()| part.parse::<u32>().ok()));
        let (major, minor, sub) = (parts.next()??, parts.next(), parts.next());
        let below_100 = |part: Option<Option<u32>>| part.unwrap_or(Some(0)).filter(|n| *n < 100);
        return Some(major * 10_000 + below_100(minor)? * 100 + below_100(sub)?);
    }
    let date: String = text.split('-').collect();
    digits(&date)?;
    let date = (date.len() == 8).then_some(date)?;
    let length = if key == SYSTEM_PATCH { 6 } else { 8 };
    date[..length].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_become_keymints_numbers() {
        assert_eq!(version_number(OS_VERSION, "16"), Some(160_000));
        assert_eq!(version_number(OS_VERSION, "16.1.2"), Some(160_102));
        assert_eq!(version_number(SYSTEM_PATCH, "2026-11-05"), Some(202_611));
        assert_eq!(version_number(BOOT_PATCH, "2026-11-05"), Some(20_261_105));
        for bad in ["", "x", "16.100", "+1", "2026-11", "2026-1é-05"] {
            assert_eq!(version_number(BOOT_PATCH, bad), None, "{bad}");
            if bad.contains('-') || !bad.starts_with('1') {
                assert_eq!(version_number(OS_VERSION, bad), None, "{bad}");
            }
        }
    }
}
