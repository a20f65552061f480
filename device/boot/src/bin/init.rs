//! The emulated kernel (SPEC S2.2, step 6): verifies the whole system against the root digest on
//! its command line, serves its files from the flash, each block checked again at each read, and
//! keeps its one program running. Process 1 of the normal world.

use board::exec::{Launch, sealed};
use board::fds;
use board::flash::Flash;
use board::power::PowerRequest;
use board::report::{Record, Slot, Verity};
use board::verdict::{Identity, Refusal};
use board::verity::VerityMode;
use boot::handover::{Halt, Handover, argument_at, failed, reported, run, take};
use boot::log::Log;
use boot::system::{Content, Damage, Files, ServeError, System, place_of};
use boot::verity_table::VerityTable;
use boot::{kaslr, recovery, system};
use bootimg::cpio::Archive;
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount, mount_remount};
use rustix::process::{Pid, WaitOptions, WaitStatus, wait};
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const PROGRAM: &str = "bin/system";
/// The system's local API, in its folder of sockets.
const SOCKET: &str = "holdfast.sock";
const SYSTEM_OPTIONS: &std::ffi::CStr = c"mode=755,size=256m";
/// Pauses before a new start: the first, and the longest that doubling leads to.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Who ran as long as this starts anew at once.
const GOOD_RUN: Duration = Duration::from_secs(60);
/// How often the system of a slot on trial may end before the other slot gets its turn.
const TRIAL_RUNS: u32 = 3;
/// What people are told where files are a copy in memory.
const NOT_FROM_FLASH: &str = "the system's files are a copy in memory, verified once: a block that \
                              changes on the flash while the device runs is not noticed";
/// The key that signed vbmeta, on the command line.
const KEY_OPTION: &str = "androidboot.vbmeta.public_key_digest=";

fn main() {
    run("init", "system", boot)
}

fn boot(handover: &Handover) -> Result<Infallible, Halt> {
    handover.end_with_power()?;
    let seed = kaslr::take(take(fds::KASLR)?).map_err(failed("taking the kernel's seed"))?;
    kaslr::lay_out(take(fds::IMAGE)?, &seed)?;
    // For as long as this kernel runs.
    let flash: &'static Flash =
        Box::leak(Box::new(Flash::open(File::from(take(fds::FLASH)?)).map_err(Refusal::from)?));
    let fuse = take(fds::FUSE).ok();
    let missing = || Refusal::policy("the bootloader gave no command line");
    let cmdline = argument_at(2).ok_or_else(missing)?;
    let version = argument_at(3).ok_or_else(missing)?;
    if recovery::is_asked_for(&cmdline) {
        return recovery::start(handover, flash);
    }
    let partition = format!("system{}", handover.arguments.slot.suffix());
    let verified = handover.log.check("system", &partition, || {
        let table = VerityTable::find(&cmdline)
            .map_err(|error| Refusal::new("ERROR_INVALID_METADATA", error.to_string()))?;
        let table: &'static VerityTable = Box::leak(Box::new(table));
        let whole = table.mode != VerityMode::Eio;
        let system = System::open(flash, table, whole)?;
        let content = match whole {
            true => Content { data: system.read_all()?, lost: BTreeSet::new() },
            // Known to be corrupt, and people were told: each block is checked when it is read.
            false => system.read_what_is_right()?,
        };
        let identity = Identity { version, digest: table.root.as_bytes().to_vec() };
        Ok((identity, (table, system, content)))
    });
    let (table, system, content) = reported(verified)?;
    let corrupt = table.known_corrupt || !content.lost.is_empty();
    let (program, root, each_read) = install(handover, fuse, table.mode, system, &content)?;
    drop(content);
    handover.log.write(&Record::Verity(Verity { mode: table.mode, each_read, corrupt }));
    let key = cmdline.split(' ').find_map(|option| option.strip_prefix(KEY_OPTION));
    let running = Running { program, root, key: key.unwrap_or_default(), corrupt };
    keep_running(handover, &running, flash)
}

/// What is started, and what it is told.
struct Running<'a> {
    /// Its program, sealed.
    program: OwnedFd,
    /// The folder with its files.
    root: PathBuf,
    /// SHA-256 of the key that signed vbmeta, hexadecimal; empty where nobody did.
    key: &'a str,
    /// Whether what is on the flash is known to be corrupt.
    corrupt: bool,
}

/// Makes the system's files visible, read-only. Gives its program, sealed, the folder with its
/// files, and whether these are read from the flash.
fn install(
    handover: &Handover,
    fuse: Option<OwnedFd>,
    mode: VerityMode,
    system: System<'static>,
    content: &Content,
) -> Result<(OwnedFd, PathBuf, bool), Refusal> {
    let archive = Archive::parse(&content.data).map_err(failed("reading the system"))?;
    let program = archive
        .file(PROGRAM)
        .ok_or_else(|| Refusal::policy(format!("the system has no {PROGRAM}")))?;
    if !content.has(&place_of(program, &content.data)) {
        let reason = format!("{PROGRAM} of the system is corrupt, and parity can't repair it");
        return Err(Refusal::new("ERROR_VERIFICATION", reason));
    }
    let program = sealed("system", program).map_err(failed("loading the system"))?;
    if is_isolated(handover) {
        let root = PathBuf::from("/system");
        let files = Files::index(&archive, &content.data);
        match serve(handover, fuse, &root, mode, system, files) {
            Ok(()) => return Ok((program, root, true)),
            Err(error) => handover.log.weakness(NOT_FROM_FLASH, &error.mend()),
        }
    } else {
        handover.log.weakness(NOT_FROM_FLASH, "a world of its own for the system: see there");
    }
    if !content.lost.is_empty() {
        let reason = "the system is corrupt, and this host can't serve what is left of it";
        return Err(Refusal::new("ERROR_VERIFICATION", reason));
    }
    copy(handover, &archive).map(|root| (program, root, false))
}

/// Serves the system's files from the flash.
fn serve(
    handover: &Handover,
    fuse: Option<OwnedFd>,
    root: &Path,
    mode: VerityMode,
    system: System<'static>,
    files: Files,
) -> Result<(), ServeError> {
    let fuse = fuse.ok_or_else(ServeError::no_device)?;
    let log = handover.log.try_clone().map_err(ServeError::at("keeping the log"))?;
    let partition = system.partition().to_owned();
    let watch = move |damage| react(&log, &partition, mode, damage);
    system::serve(&fuse, root, system, files, watch)
}

/// A block is not the one that was signed; whoever read it knows already.
fn react(log: &Log, partition: &str, mode: VerityMode, damage: Damage) {
    let partition = partition.to_owned();
    match damage {
        Damage::Repaired(block) => log.write(&Record::Repaired { partition, block }),
        Damage::Lost(block) => {
            log.write(&Record::Corrupt { partition, block });
            let request = match mode {
                VerityMode::Eio => return,
                VerityMode::Enforcing => PowerRequest::RestartForVerity,
                VerityMode::Panicking => PowerRequest::StopForVerity,
            };
            std::process::exit(request.exit_code())
        }
    }
}

/// Unpacks the system's files into memory, but for its program. Gives the folder with them.
fn copy(handover: &Handover, archive: &Archive<'_>) -> Result<PathBuf, Refusal> {
    let unpacking = "unpacking the system";
    if !is_isolated(handover) {
        let root = handover.arguments.run_dir.join("system");
        system::make_empty(&root).map_err(failed(unpacking))?;
        system::unpack(archive, &root, PROGRAM).map_err(failed(unpacking))?;
        return Ok(root);
    }
    let root = PathBuf::from("/system");
    let plain = MountFlags::NOSUID | MountFlags::NODEV;
    mount("tmpfs", &root, "tmpfs", plain, SYSTEM_OPTIONS).map_err(failed(unpacking))?;
    system::unpack(archive, &root, PROGRAM).map_err(failed(unpacking))?;
    mount_remount(&root, plain | MountFlags::RDONLY, SYSTEM_OPTIONS).map_err(failed(unpacking))?;
    Ok(root)
}

/// Whether the bootloader made a world of its own for this.
fn is_isolated(handover: &Handover) -> bool {
    rustix::process::getpid().is_init() && handover.arguments.data_dir == Path::new("/data")
}

/// Runs the system's program, and anew whenever it ends.
fn keep_running(
    handover: &Handover,
    system: &Running<'_>,
    flash: &Flash,
) -> Result<Infallible, Halt> {
    let nothing = OpenOptions::new().read(true).write(true).open("/dev/null");
    let nothing = nothing.map_err(failed("opening /dev/null"))?;
    let arguments =
        board::argument::encode(&handover.arguments).map_err(failed("starting the system"))?;
    let folder = |path: &Path| path.display().to_string();
    let launch = Launch::new(system.program.as_fd(), "system")
        .argument(&arguments)
        .variable("HOLDFAST_DATA", &folder(&handover.arguments.data_dir))
        .variable("HOLDFAST_RUN", &folder(&handover.arguments.run_dir))
        .variable("HOLDFAST_SYSTEM", &folder(&system.root))
        .variable("HOLDFAST_BOOT_KEY", system.key)
        .variable("HOLDFAST_CORRUPT", if system.corrupt { "1" } else { "" })
        // For the programs that the system starts.
        .variable("HOLDFAST_SOCKET", &folder(&handover.arguments.run_dir.join(SOCKET)))
        .give(nothing.as_fd(), 0)
        .give(nothing.as_fd(), 1)
        .give(flash.file().as_fd(), fds::FLASH)
        .give(handover.log.fd().as_fd(), fds::LOG)
        .give(handover.power.as_fd(), fds::POWER)
        .dying_with_parent();
    let mut pause = FIRST_PAUSE;
    let mut runs = 0_u32;
    loop {
        let start = Instant::now();
        let system = launch.spawn().map_err(failed("starting the system"))?;
        handover.log.process("system", 0);
        let status = wait_for(system).map_err(failed("waiting for the system"))?;
        let how = describe(status);
        handover.log.write(&Record::Ended { name: "system".into(), how: how.clone() });
        // The system asks for a restart as this kernel does: with its exit code.
        if status.exit_status() == Some(PowerRequest::Restart.exit_code()) {
            return Err(Halt::Power(PowerRequest::Restart));
        }
        runs = runs.saturating_add(1);
        if runs >= TRIAL_RUNS && is_on_trial(flash, handover.arguments.slot) {
            let reason = format!("the system of this slot never came up; it {how} {runs} times");
            return Err(Refusal::policy(reason).into());
        }
        pause = if start.elapsed() >= GOOD_RUN { FIRST_PAUSE } else { pause };
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Whether the slot never proved itself and the other one could boot instead.
fn is_on_trial(flash: &Flash, slot: Slot) -> bool {
    flash.slots().is_ok_and(|slots| {
        let slot: bootimg::misc::Slot = slot.into();
        !slots.get(slot).is_successful() && slots.get(slot.other()).is_bootable()
    })
}

/// Waits until `program` ends. As process 1 it collects every orphan that ends meanwhile.
fn wait_for(program: Pid) -> Result<WaitStatus, Errno> {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == program => return Ok(status),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

fn describe(status: WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("ended with code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}
