//! The level-1 bootloader (SPEC S2.2, steps 3 and 4).
//!
//! Verifies and starts the TEE, has that verify the level-2 bootloader, makes the normal world
//! for it and ends. It has one thread: only so can it make namespaces.

use board::exec::{Launch, is_sealed, sealed};
use board::flash::Flash;
use board::report::BootArgs;
use board::secure::{RemoteSilicon, TEE_COUNTER};
use board::silicon::Fuses;
use board::verdict::{Identity, Refusal, verify_under};
use board::{Silicon, argument, channel, fds};
use boot::handover::{Halt, Handover, failed, reported, run, take};
use boot::world::{self, Folders};
use bootimg::cpio::Archive;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::convert::Infallible;
use std::fs::File;
use std::path::PathBuf;
use tee_api::boot::{Reply, Request};

const TEE_PROGRAM: &str = "tee-os";

fn main() {
    run("bl1", "bl1", boot)
}

/// What the TEE gets and the normal world does not.
struct SecureSide {
    silicon: OwnedFd,
    listener: OwnedFd,
    screen: OwnedFd,
    log: OwnedFd,
}

fn boot(handover: &Handover) -> Result<Infallible, Halt> {
    let secure = SecureSide {
        silicon: take(fds::SECURE)?,
        listener: take(fds::TEE_LISTENER)?,
        screen: take(fds::TRUSTED_UI)?,
        log: take(fds::TEE_LOG)?,
    };
    let modem = take(fds::MODEM)?;
    let flash = Flash::open(File::from(take(fds::FLASH)?)).map_err(Refusal::from)?;
    let silicon = secure.silicon.try_clone().map_err(failed("reaching the silicon"))?;
    let silicon = RemoteSilicon::new(silicon);
    let root_keys = silicon.root_key_hashes().map_err(failed("reading the fuses"))?;

    let tee = format!("tee{}", handover.arguments.slot.suffix());
    let image = handover.log.check("tee", &tee, || verify_tee(&flash, &tee, &silicon, &root_keys));
    let (image, tee_index) = reported(image)?;
    let arguments = BootArgs { tee_index, ..handover.arguments.clone() };
    let boot = start_tee(handover, &arguments, secure, &image)?;
    let bl2 = format!("bl2{}", handover.arguments.slot.suffix());
    let program = handover.log.check("bl2", &bl2, || ask_tee_about(&boot, &flash, &bl2));
    start_normal_world(handover, &reported(program)?, &flash, &boot, &modem)
}

/// Step 3: gives the TEE's image and its rollback index.
fn verify_tee(
    flash: &Flash,
    partition: &str,
    silicon: &dyn Silicon,
    root_keys: &[[u8; 32]],
) -> Result<(Identity, (Vec<u8>, u64)), Refusal> {
    let counter = silicon.counter(TEE_COUNTER).map_err(failed("reading the fuses"))?;
    let mut bytes = flash.read(partition)?;
    let verified = verify_under(root_keys, &bytes, "tee", counter)?;
    bytes.truncate(verified.image.end);
    let digest = crypto::digest::sha256(&bytes).to_vec();
    let version = verified.version().unwrap_or(&verified.release).to_owned();
    Ok((Identity { version, digest }, (bytes, verified.rollback_index)))
}

/// Starts the TEE and waits until it is up. Gives the bootloaders' channel to it.
fn start_tee(
    handover: &Handover,
    arguments: &BootArgs,
    side: SecureSide,
    image: &[u8],
) -> Result<OwnedFd, Refusal> {
    let archive = Archive::parse(image).map_err(failed("reading the tee image"))?;
    let program = archive
        .file(TEE_PROGRAM)
        .ok_or_else(|| Refusal::policy(format!("the tee image has no {TEE_PROGRAM}")))?;
    let starting = "starting the TEE";
    let program = sealed(TEE_PROGRAM, program).map_err(failed(starting))?;
    let image = sealed("tee", image).map_err(failed(starting))?;
    let (own, far) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(failed(starting))?;
    let arguments = argument::encode(arguments).map_err(failed(starting))?;
    let pid = Launch::new(program.as_fd(), TEE_PROGRAM)
        .argument(&arguments)
        .give(side.silicon.as_fd(), fds::SECURE)
        .give(side.log.as_fd(), fds::LOG)
        .give(side.listener.as_fd(), fds::TEE_LISTENER)
        .give(side.screen.as_fd(), fds::TRUSTED_UI)
        .give(handover.power.as_fd(), fds::POWER)
        .give(image.as_fd(), fds::IMAGE)
        .give(far.as_fd(), fds::BOOT)
        .spawn()
        .map_err(failed(starting))?;
    handover.log.process(TEE_PROGRAM, pid.as_raw_nonzero().get());
    drop(far);
    match channel::receive(&own) {
        Ok(Reply::Up) => Ok(own),
        Ok(_) => Err(Refusal::policy("the TEE spoke before it was up")),
        Err(error) => Err(Refusal::policy(format!("the TEE did not come up: {error}"))),
    }
}

/// Step 4: the TEE verifies the level-2 bootloader and gives its executable.
fn ask_tee_about(
    boot: &OwnedFd,
    flash: &Flash,
    partition: &str,
) -> Result<(Identity, OwnedFd), Refusal> {
    let asking = "asking the TEE about the level-2 bootloader";
    let whole = sealed("bl2-partition", &flash.read(partition)?).map_err(failed(asking))?;
    let request = Request::VerifyBl2 { partition: partition.to_owned() };
    channel::send_with_fds(boot, &request, &[whole.as_fd()]).map_err(failed(asking))?;
    match channel::receive_with_fds(boot).map_err(failed(asking))? {
        (Reply::Verified { version, digest }, fds) => match <[OwnedFd; 1]>::try_from(fds) {
            Ok([program]) if is_sealed(&program) => {
                Ok((Identity { version, digest: digest.to_vec() }, program))
            }
            _ => Err(Refusal::policy("the TEE gave no sealed executable")),
        },
        (Reply::Rejected { code, reason }, _) => Err(Refusal { code, reason }),
        (Reply::Refused(error), _) => Err(Refusal::policy(format!("{asking}: {error}"))),
        _ => Err(Refusal::policy(format!("{asking}: it answered something else"))),
    }
}

/// Starts the level-2 bootloader in a world of its own; this stage is done then.
fn start_normal_world(
    handover: &Handover,
    program: &OwnedFd,
    flash: &Flash,
    boot: &OwnedFd,
    modem: &OwnedFd,
) -> Result<Infallible, Halt> {
    let starting = "starting the level-2 bootloader";
    // Its place only: whoever uses it opens it, inside the world.
    let fuse = openat(CWD, "/dev/fuse", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok();
    let launch = |data: PathBuf, run: PathBuf| -> Result<Launch<'_>, Refusal> {
        let mut arguments = handover.arguments.clone();
        (arguments.data_dir, arguments.run_dir) = (data, run);
        let arguments = argument::encode(&arguments).map_err(failed(starting))?;
        let launch = Launch::new(program.as_fd(), "bl2")
            .argument(&arguments)
            .give(flash.file().as_fd(), fds::FLASH)
            .give(handover.log.fd().as_fd(), fds::LOG)
            .give(handover.power.as_fd(), fds::POWER)
            .give(modem.as_fd(), fds::MODEM)
            .give(boot.as_fd(), fds::BOOT);
        Ok(launch.give_if(fuse.as_ref().map(AsFd::as_fd), fds::FUSE))
    };
    let (data, run) = (&handover.arguments.data_dir, &handover.arguments.run_dir);
    let folders = Folders { data: data.clone(), run: run.clone() };
    let inside = launch("/data".into(), "/run".into())?;
    let pid = match world::start(&inside, &folders) {
        Ok(pid) => pid,
        Err(error) => {
            handover.log.weakness(
                "the system is not isolated: it sees the host's files and processes",
                &error.mend(),
            );
            let outside = launch(data.clone(), run.clone())?;
            outside.spawn().map_err(failed(starting))?
        }
    };
    handover.log.process("init", pid.as_raw_nonzero().get());
    Err(Halt::Done)
}
