//! The level-2 bootloader (SPEC S2.2, step 5): Android Verified Boot of everything that is
//! left. Hands the modem its firmware, tells the TEE what was booted and becomes the kernel.

use avb::policy::{self, VerifiedSlot};
use board::exec::{Launch, sealed};
use board::flash::Flash;
use board::report::Record;
use board::verdict::{Check, Identity, Refusal};
use board::verity::{ERROR_MODE_PROPERTY, ErrorMode};
use board::{argument, channel, fds};
use boot::handover::{Halt, Handover, failed, reported, run, take};
use boot::slot::Slot;
use boot::{kaslr, recovery};
use bootimg::boot::BootImage;
use rustix::fd::{AsFd, OwnedFd};
use serde_bytes::ByteBuf;
use std::convert::Infallible;
use std::fs::File;
use tee_api::boot::{BootInfo, BootState, Reply, Request, Trust};

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
    let flash = Flash::open(File::from(take(fds::FLASH)?)).map_err(Refusal::from)?;
    let Reply::Trust(trust) = ask(&tee, &Request::Trust)? else {
        return Err(Refusal::policy("the TEE did not say whose signature counts").into());
    };
    let slot = Slot::new(&flash, handover.arguments.slot, &trust);
    let vbmeta = check_vbmeta(&slot, handover)?;
    let version = vbmeta.property(VERSION).unwrap_or_default().to_owned();
    let slot = slot.with_errors(error_mode(&vbmeta)?, handover.arguments.reset);
    let (_, firmware) = check(&slot, handover, "baseband", "baseband", &version)?;
    let (verified, image) = check(&slot, handover, "kernel", "boot", &version)?;
    let kernel = kernel_of(&image)?;
    let Reply::KaslrSeed(seed) = ask(&tee, &Request::KaslrSeed)? else {
        return Err(Refusal::policy("the TEE gave no seed for the kernel's layout").into());
    };
    remember_corruption(&tee, &slot, &trust)?;
    tell_tee(&tee, &verified)?;
    hand_over_firmware(&modem, &firmware)?;
    let starting = "starting the kernel";
    let seed = kaslr::hand_over(&seed).map_err(failed(starting))?;
    let arguments = argument::encode(&handover.arguments).map_err(failed(starting))?;
    let state = verified.state.name();
    let mut cmdline = format!("{} androidboot.verifiedbootstate={state}", verified.data.cmdline);
    let wanted = recovery::wanted(&flash, handover.arguments.slot).map_err(Refusal::from)?;
    let ramdisk = wanted.then(|| recovery::ramdisk_of(&image)).transpose()?;
    if wanted {
        cmdline = format!("{cmdline} {}", recovery::MODE_OPTION);
    }
    let fuse = take(fds::FUSE).ok();
    let launch = Launch::new(kernel.as_fd(), "init")
        .argument(&arguments)
        .argument(&cmdline)
        .argument(&version)
        .give(flash.file().as_fd(), fds::FLASH)
        .give(handover.log.fd().as_fd(), fds::LOG)
        .give(handover.power.as_fd(), fds::POWER)
        .give(kernel.as_fd(), fds::IMAGE)
        .give(seed.as_fd(), fds::KASLR)
        .give_if(fuse.as_ref().map(AsFd::as_fd), fds::FUSE);
    let error = match &ramdisk {
        Some(ramdisk) => launch.give(ramdisk.as_fd(), fds::RAMDISK).exec(),
        None => launch.exec(),
    };
    Err(failed(starting)(error).into())
}

fn ask(tee: &OwnedFd, request: &Request) -> Result<Reply, Refusal> {
    let asking = "asking the TEE";
    channel::send(tee, request).map_err(failed(asking))?;
    match channel::receive(tee).map_err(failed(asking))? {
        Reply::Refused(error) => Err(failed(asking)(error)),
        reply => Ok(reply),
    }
}

/// The signature, rollback index and form of vbmeta itself.
fn check_vbmeta(slot: &Slot<'_>, handover: &Handover) -> Result<VerifiedSlot, Halt> {
    let partition = format!("vbmeta{}", slot.suffix());
    let clock = Check::start("kernel", &partition);
    match slot.verify(&[]) {
        Ok(verified) => Ok(verified),
        Err(refusal) => {
            handover.log.write(&Record::Stage(clock.finish(Err(&refusal))));
            Err(Halt::Reported)
        }
    }
}

/// What the maker wants to happen when a block of the system is corrupt.
fn error_mode(vbmeta: &VerifiedSlot) -> Result<ErrorMode, Refusal> {
    let unlocked = vbmeta.state == policy::BootState::Orange;
    match vbmeta.property(ERROR_MODE_PROPERTY).map(|name| (name, ErrorMode::from_name(name))) {
        None => Ok(ErrorMode::default()),
        Some((_, Some(mode))) => Ok(mode),
        Some(_) if unlocked => Ok(ErrorMode::default()),
        Some((name, None)) => Err(Refusal::policy(format!(
            "vbmeta's property {ERROR_MODE_PROPERTY} is {name:?}, not a mode that this \
             bootloader knows"
        ))),
    }
}

/// The TEE remembers which system is corrupt, before anything of it runs. Where libavb forgets
/// another one, the TEE waits until this one has proved itself.
fn remember_corruption(tee: &OwnedFd, slot: &Slot<'_>, trust: &Trust) -> Result<(), Refusal> {
    let news = slot.corrupt().filter(|digest| trust.corrupt_system != Some(*digest));
    let Some(vbmeta_digest) = news else { return Ok(()) };
    match ask(tee, &Request::SetCorruptSystem { vbmeta_digest })? {
        Reply::Done => Ok(()),
        _ => Err(Refusal::policy("the TEE did not remember which system is corrupt")),
    }
}

/// Verifies the partition `name` and reports it as `stage`. Gives its image.
fn check(
    slot: &Slot<'_>,
    handover: &Handover,
    stage: &str,
    name: &str,
    version: &str,
) -> Result<(VerifiedSlot, Vec<u8>), Halt> {
    let partition = format!("{name}{}", slot.suffix());
    reported(handover.log.check(stage, &partition, || {
        let mut verified = slot.verify(&[name])?;
        let position = verified.data.loaded_partitions.iter().position(|l| l.partition == name);
        let loaded = position.map(|at| verified.data.loaded_partitions.swap_remove(at));
        let image = loaded.ok_or_else(|| Refusal::policy(format!("{name} is missing")))?.data;
        let digest = crypto::digest::sha256(&image).to_vec();
        let identity = Identity { version: version.to_owned(), digest };
        Ok((identity, (verified, image)))
    }))
}

fn kernel_of(image: &[u8]) -> Result<OwnedFd, Refusal> {
    // An unlocked device gets the whole partition, and nobody counts what follows the image.
    let (image, _) = BootImage::parse_prefix(image).map_err(failed("reading the boot image"))?;
    sealed("init", image.kernel).map_err(failed("loading the kernel"))
}

fn hand_over_firmware(modem: &OwnedFd, firmware: &[u8]) -> Result<(), Refusal> {
    let handing = "handing the modem its firmware";
    let firmware = sealed("baseband", firmware).map_err(failed(handing))?;
    channel::send_with_fds(modem, &"baseband", &[firmware.as_fd()]).map_err(failed(handing))
}

/// The root of trust, for attestations.
fn tell_tee(tee: &OwnedFd, verified: &VerifiedSlot) -> Result<(), Refusal> {
    let unlocked = verified.state == policy::BootState::Orange;
    let number = |key: &str| {
        let text = verified.property(key).unwrap_or_default();
        // What nobody signed may say nothing of its age.
        version_number(key, text).or_else(|| unlocked.then_some(0)).ok_or_else(|| {
            Refusal::policy(format!("vbmeta's property {key} is {text:?}, not a version"))
        })
    };
    let indexes = (0..).zip(verified.data.rollback_indexes);
    let info = BootInfo {
        // Of an unlocked device nobody vouches for anything: zeros, as KeyMint demands.
        verified_boot_key: if unlocked { [0; 32] } else { verified.public_key_digest },
        device_locked: !unlocked,
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
    match ask(tee, &Request::SetBootInfo(info))? {
        Reply::Done => Ok(()),
        _ => Err(Refusal::policy("the TEE did not take what was booted")),
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
