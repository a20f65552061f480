//! A device in the test: the real trusted OS and real TAs over an emulated board.

mod board;

pub(crate) use self::board::{BootLog, Maker, Screen, TestBoard};
use crate::probe::Probe;
use ::board::exec::{Launch, sealed};
use ::board::report::{BootArgs, Slot};
use ::board::{argument, channel, fds};
use factory::{Application, AvbKey, loadable_part};
use rustix::fd::{AsFd, OwnedFd};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with, socketpair,
};
use rustix::process::{Pid, WaitOptions, waitpid};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tee_api::boot::{Reply, Request};
use tee_client::Tee;

/// A device that is powered on.
pub(crate) struct Device {
    pub(crate) board: Arc<TestBoard>,
    pub(crate) screen: Arc<Screen>,
    pub(crate) log: Arc<BootLog>,
    pub(crate) pid: Pid,
    boot: OwnedFd,
    power: Option<OwnedFd>,
    folder: tempfile::TempDir,
}

impl Device {
    /// A board from the factory, powered on. `None`, and a line that says why, where the TAs
    /// were not built.
    pub(crate) fn new() -> Option<Self> {
        Self::power_on(TestBoard::new(Maker::new()))
    }

    /// Powers `board` on and waits until the TEE is up.
    pub(crate) fn power_on(board: Arc<TestBoard>) -> Option<Self> {
        Self::launch(board, &programs().join("tee-os"), &[])
    }

    /// As [`Self::power_on`], in a time namespace where the machine's counters say ten days more.
    /// `None` where there are none.
    pub(crate) fn power_on_in_another_time(board: Arc<TestBoard>) -> Option<Self> {
        let unshare = Path::new("/usr/bin/unshare");
        let ten_days = ["--monotonic", "864000", "--boottime", "864000"];
        let arguments = [&["--user", "--map-root-user", "--time"], &ten_days[..]].concat();
        let tried = std::process::Command::new(unshare).args(&arguments).arg("true").status();
        let works = tried.is_ok_and(|status| status.success());
        assert!(works || std::env::var_os("CI").is_none(), "no time namespace");
        let program = programs().join("tee-os");
        let arguments = [arguments, vec![program.to_str().unwrap()]].concat();
        works.then(|| Self::launch(board, unshare, &arguments))?
    }

    /// Starts `program`, which is the trusted OS or starts it, with `before` in front of the
    /// trusted OS's argument.
    fn launch(board: Arc<TestBoard>, program: &Path, before: &[&str]) -> Option<Self> {
        let image = image(&board.maker.key, board.maker.version(), &board.maker.admitted())?;
        board.reset_clock();
        let folder = tempfile::tempdir().unwrap();
        let (screen, log) = (Arc::new(Screen::default()), Arc::new(BootLog::default()));
        let (secure, secure_end) = pair();
        let (ui, ui_end) = pair();
        let (boot, boot_end) = pair();
        let (log_read, log_write) = rustix::pipe::pipe().unwrap();
        // Other programs that the test starts must not hold the power on.
        let power = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
        let (power_read, power_write) = power.unwrap();
        let listener = listener(&folder.path().join("tee.sock"));
        board.serve(secure);
        screen.serve(ui);
        log.serve(log_read);
        let program = std::fs::File::open(program).unwrap();
        let launch = Launch::new(program.as_fd(), "tee-os");
        let pid = before
            .iter()
            .fold(launch, |launch, argument| launch.argument(argument))
            .argument(&argument::encode(&arguments()).unwrap())
            .give(secure_end.as_fd(), fds::SECURE)
            .give(log_write.as_fd(), fds::LOG)
            .give(listener.as_fd(), fds::TEE_LISTENER)
            .give(ui_end.as_fd(), fds::TRUSTED_UI)
            .give(power_read.as_fd(), fds::POWER)
            .give(image.as_fd(), fds::IMAGE)
            .give(boot_end.as_fd(), fds::BOOT)
            .spawn()
            .unwrap();
        drop(boot_end);
        assert!(matches!(channel::receive(&boot).unwrap(), Reply::Up));
        Some(Self { board, screen, log, pid, boot, power: Some(power_write), folder })
    }

    /// Asks the TEE as a bootloader; an image goes beside the request.
    pub(crate) fn ask_boot(
        &self,
        request: &Request,
        image: Option<&OwnedFd>,
    ) -> (Reply, Vec<OwnedFd>) {
        let image: Vec<_> = image.iter().map(|fd| fd.as_fd()).collect();
        channel::send_with_fds(&self.boot, request, &image).unwrap();
        channel::receive_with_fds(&self.boot).unwrap()
    }

    /// The TEE as programs of the system reach it.
    pub(crate) fn tee(&self) -> Tee {
        Tee::connect(self.socket()).unwrap()
    }

    /// Powers off; waits until the trusted OS ended. Gives the board back.
    pub(crate) fn power_off(mut self) -> Arc<TestBoard> {
        self.end();
        Arc::clone(&self.board)
    }

    /// Where programs of the system reach the TEE.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("tee.sock")
    }

    /// Kills the trusted OS; the board stays.
    pub(crate) fn kill(mut self) -> Arc<TestBoard> {
        rustix::process::kill_process(self.pid, rustix::process::Signal::KILL).unwrap();
        waitpid(Some(self.pid), WaitOptions::empty()).unwrap();
        self.power = None;
        Arc::clone(&self.board)
    }

    fn end(&mut self) {
        if self.power.take().is_some() {
            let (_, status) = waitpid(Some(self.pid), WaitOptions::empty()).unwrap().unwrap();
            if !std::thread::panicking() {
                assert_eq!(status.exit_status(), Some(0), "the trusted OS ends cleanly");
            }
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.end();
    }
}

/// What bl1 tells; its own index is 3, the TEE's 4.
fn arguments() -> BootArgs {
    BootArgs {
        slot: Slot::A,
        boot_no: 0,
        reset: ::board::power::ResetReason::PowerButton,
        data_dir: "/data".into(),
        run_dir: "/run".into(),
        bl1_index: 3,
        tee_index: 4,
    }
}

fn pair() -> (OwnedFd, OwnedFd) {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
}

fn listener(path: &Path) -> OwnedFd {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
    bind(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
    listen(&socket, 16).unwrap();
    socket
}

/// The `tee` image with gatekeeper and the probe, signed by `maker`; admits `signers`.
fn image(maker: &AvbKey, version: u64, signers: &[[u8; 32]]) -> Option<OwnedFd> {
    let mut archive = bootimg::cpio::Writer::new();
    let gatekeeper = signed(&Application::gatekeeper(version), "ta-gatekeeper", maker)?;
    archive.file("ta-gatekeeper", 0o400, &gatekeeper).unwrap();
    let probe = signed(&probe(version), "examples/ta-probe", maker)?;
    archive.file("ta-probe", 0o400, &probe).unwrap();
    archive.directory("etc", 0o755).unwrap();
    let signers = signers.iter().map(|digest| argument::hex(digest) + "\n");
    archive.file("etc/ta-signers", 0o400, signers.collect::<String>().as_bytes()).unwrap();
    Some(sealed("tee", &archive.finish()).unwrap())
}

/// What is signed with the probe, unless a test wants something else.
pub(crate) fn probe(version: u64) -> Application {
    let more = vec![("cpu", "2000".into()), ("sessions", "8".into())];
    Application { more, ..Application::of::<Probe>(8 << 20, version) }
}

/// A built program's image. `None`, and a line that says why, where it was not built.
pub(crate) fn signed(application: &Application, path: &str, key: &AvbKey) -> Option<Vec<u8>> {
    let build = match path.strip_prefix("examples/") {
        Some(example) => format!("cargo build -p tee-sdk --example {example}"),
        None => format!("cargo build -p {path}"),
    };
    let program = program(&programs().join(path), &build)?;
    Some(application.sign(&loadable_part(&program).unwrap(), key, &[5; 32]).unwrap())
}

/// Where programs are built: this one lies in a folder beside them.
fn programs() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.parent().and_then(Path::parent).unwrap().to_owned()
}

fn program(path: &Path, build: &str) -> Option<Vec<u8>> {
    match std::fs::read(path) {
        Ok(bytes) => Some(bytes),
        Err(_) if std::env::var_os("CI").is_some() => {
            panic!("{} is missing: run `{build}` first", path.display())
        }
        Err(_) => {
            eprintln!("not run: {} is missing; `{build}` makes it", path.display());
            None
        }
    }
}
