//! The trusted OS: one process whose one thread serves everybody, and one sandboxed process for each trusted
//! application.
//!
//! bl1 starts it with the descriptors of `board::fds`. It forks the
//! spawner that starts TAs, locks itself in, opens secure storage, verifies the TAs in its image,
//! and only then says `Up` and serves: the bootloaders, the TAs, and the programs of the system.

mod boot;
mod boot_lock;
mod clock;
mod confirmation;
mod corruption;
mod engine;
mod image;
mod log;
mod mapping;
mod mark;
mod memory;
mod os;
mod prompts;
mod ree;
mod secrets;
mod spawner;
mod storage;
mod syscalls;
mod ta;
mod uptime;
mod versions;
mod workers;

use board::report::BootArgs;
use board::secure::RemoteSilicon;
use board::ui::Mark;
use board::{LifeCycle, Silicon, argument, exec, fds};
use confirmation::Confirmations;
use image::TeeImage;
use log::Log;
use memory::Desk;
use os::{Doors, Events, Os, Watch};
use prompts::Prompts;
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};
use secrets::{MasterSecrets, SecretBox};
use spawner::Spawner;
use std::collections::BTreeMap;
use std::error::Error;
use std::process::ExitCode;
use std::rc::Rc;
use storage::{FileStorage, SecureStorage};
use tee_api::TeeError;
use tee_engine::shared_secret::Agreement;
use tee_sdk::sandbox::{self, Landlock, SandboxError};
use tee_sdk::{isolation, swap};
use workers::Workers;

/// System calls beyond those of every TEE process.
const CALLS: &[i64] = &[
    libc::SYS_accept4,
    libc::SYS_clock_gettime,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_epoll_wait,
    libc::SYS_fchmod,
    libc::SYS_ftruncate,
    libc::SYS_getsockopt,
    libc::SYS_ioctl,
    libc::SYS_memfd_create,
    libc::SYS_memfd_secret,
    libc::SYS_getuid,
    libc::SYS_mlock,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_setsockopt,
    libc::SYS_socketpair,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tee-os: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What bl1 gave.
struct Inherited {
    secure: OwnedFd,
    log: OwnedFd,
    screen: OwnedFd,
    doors: Doors,
}

fn run() -> Result<(), Box<dyn Error>> {
    let first = std::env::args().nth(1).ok_or("bl1 starts this program, with its arguments")?;
    let arguments: BootArgs = argument::decode(&first)?;
    let inherited = Inherited {
        secure: exec::inherited(fds::SECURE)?,
        log: exec::inherited(fds::LOG)?,
        screen: exec::inherited(fds::TRUSTED_UI)?,
        doors: Doors {
            power: exec::inherited(fds::POWER)?,
            listener: exec::inherited(fds::TEE_LISTENER)?,
            boot: Some(exec::inherited(fds::BOOT)?),
        },
    };
    let image = exec::inherited(fds::IMAGE)?;
    let processors = stay_on_one_processor()?;
    swap::allow_locking();
    let spawner = fork_spawner(&inherited, &image)?;
    let swap = keep_from_swap();
    let weaknesses = isolation::isolate();
    // The system's programs are the same user's, in namespaces of their own.
    let system_uid = rustix::process::getuid().as_raw();
    sandbox::close_to_observers()?;
    let workers = Workers::start(&processors, || lock_in().map(drop))?;
    let landlock = lock_in()?;

    let log = Log::new(inherited.log);
    for weakness in weaknesses {
        log.weakness(weakness.what, &weakness.mend);
    }
    report_landlock(&log, landlock);
    report_swap(&log, swap);
    let silicon: Rc<dyn Silicon> = Rc::new(RemoteSilicon::new(inherited.secure));
    let secrets = master_secrets(&*silicon, &log)?;
    let storage = open_storage(&silicon, &secrets);
    if let Err(error) = &storage {
        eprintln!("tee-os: {error}");
    }
    let mark = load_mark(&storage);
    let agreement = agreement(&*silicon)?;
    let mut os = Os {
        silicon,
        agreement,
        files: FileStorage::new(Rc::clone(&secrets), system_uid),
        secrets,
        storage,
        boot: boot::Boot::new(&arguments),
        clock: None,
        prompts: Prompts::new(inherited.screen, mark),
        confirmations: Confirmations::default(),
        tas: Vec::new(),
        signers: Vec::new(),
        spawner,
        log,
        doors: inherited.doors,
        events: Events::new()?,
        watch: Watch::new()?,
        workers,
        desk: Desk::default(),
        connections: BTreeMap::new(),
        next_connection: 0,
        next_session: 1,
    };
    take_applications_in(&mut os, image).map_err(|error| format!("the tee image: {error}"))?;
    Ok(os.run()?)
}

/// The trusted OS and its TAs take turns: while one works, the other waits. On one processor a turn
/// takes about 2 us; on two the kernel wakes a sleeping one each time, which takes ten times as
/// long. What the kernel refuses here costs speed alone.
/// Gives those on which it might run.
fn stay_on_one_processor() -> Result<CpuSet, Errno> {
    let all = sched_getaffinity(None)?;
    let mut own = CpuSet::new();
    own.set(sched_getcpu());
    let _ = sched_setaffinity(None, &own);
    Ok(all)
}

/// From here on this thread opens nothing, reads no counter and makes few calls.
fn lock_in() -> Result<Landlock, SandboxError> {
    let landlock = sandbox::deny_files_and_network();
    // The generator of the crypto library looks around once; after this it has what it needs.
    crypto::random(&mut [0; 32]);
    // As its TAs: where both sides of a switch are the same, the processor need not be told.
    sandbox::deny_clock()?;
    sandbox::allow_only(CALLS)?;
    Ok(landlock)
}

fn take_applications_in(os: &mut Os, image: OwnedFd) -> Result<(), Box<dyn Error>> {
    let image = TeeImage::open(image.as_fd())?;
    os.signers = image.signers()?;
    Ok(os.take_in(&image.applications()?)?)
}

/// The spawner keeps its own channel, nothing of the board.
fn fork_spawner(inherited: &Inherited, image: &OwnedFd) -> std::io::Result<Spawner> {
    let Inherited { secure, log, screen, doors } = inherited;
    let mut keep_out: Vec<_> =
        [secure, log, screen, &doors.power, &doors.listener, image].map(AsFd::as_fd).into();
    keep_out.extend(doors.boot.as_ref().map(AsFd::as_fd));
    Spawner::fork(&keep_out)
}

/// Locks this process into memory, as its TAs do. Whether that was done, or is not needed.
fn keep_from_swap() -> bool {
    swap::lock_all_memory() || !swap::is_on()
}

fn report_swap(log: &Log, kept: bool) {
    let mend = "keys may be swapped out: switch swap off (swapoff -a), or allow the board to lock \
                memory (ulimit -l unlimited), or encrypt swap with a key that is lost at power-off";
    if !kept {
        log.weakness("TEE: swap", mend);
    }
}

fn report_landlock(log: &Log, landlock: Landlock) {
    let mend = match landlock {
        Landlock::Full => return,
        Landlock::Partial => "Landlock is older than version 6: use Linux 6.12 or later",
        Landlock::Missing => {
            "no Landlock: build the kernel with CONFIG_SECURITY_LANDLOCK and put landlock in lsm="
        }
    };
    log.weakness("TEE: Landlock", mend);
}

fn master_secrets(
    silicon: &dyn Silicon,
    log: &Log,
) -> Result<Rc<SecretBox<MasterSecrets>>, Box<dyn Error>> {
    let mut secrets = SecretBox::zeroed()?;
    if !secrets.is_protected() {
        log.weakness(
            "TEE: key memory",
            "no memfd_secret: root of this machine can read the keys; build the kernel with \
             CONFIG_SECRETMEM and boot it with secretmem.enable=1",
        );
    }
    secrets.get_mut().derive_into(silicon)?;
    Ok(Rc::new(secrets))
}

/// What this TEE brings to the agreement on the auth tokens' key.
fn agreement(silicon: &dyn Silicon) -> Result<Agreement, Box<dyn std::error::Error>> {
    let seed = silicon.derive("tee-os/shared-secret-seed", &[])?;
    let nonce = silicon.random(32)?.try_into().map_err(|_| "the board gave no 32 bytes")?;
    Ok(Agreement::alone(seed, nonce))
}

fn open_storage(
    silicon: &Rc<dyn Silicon>,
    secrets: &Rc<SecretBox<MasterSecrets>>,
) -> Result<SecureStorage, TeeError> {
    let life_cycle =
        silicon.life_cycle().map_err(|error| TeeError::Communication(error.to_string()))?;
    let in_factory = life_cycle == LifeCycle::Factory;
    SecureStorage::open(Rc::clone(silicon), Rc::clone(secrets), in_factory).map_err(TeeError::from)
}

/// What the screen is known by. One that can't be read is none: the person sees that it is
/// missing.
fn load_mark(storage: &Result<SecureStorage, TeeError>) -> Option<Mark> {
    let storage = storage.as_ref().ok()?;
    mark::load(storage).unwrap_or_else(|error| {
        eprintln!("tee-os: {error}");
        None
    })
}
