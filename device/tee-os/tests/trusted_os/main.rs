//! The real trusted OS with real TAs, over an emulated board.

mod applications;
mod bench;
mod boot;
mod clock;
mod device;
mod engine;
mod files;
mod keymint;
mod kills;
mod memory;
#[path = "../../../tee-sdk/examples/ta-probe/protocol.rs"]
mod probe;
mod refusals;
mod screen;
mod sessions;

use device::{Device, TestBoard};
use probe::{Command as Try, Probe, Reply as Tried};
use serde_bytes::ByteBuf;
use tee_api::gatekeeper::{Command, Gatekeeper, LockKind, Reply, Space};
use tee_api::keymint::KeyMint;
use tee_client::{Session, TeeError};

const PIN: &str = "271828";
const MARK: &str = "anchor Kelpie";

fn enrol(device: &Device, lock: &Session<Gatekeeper>) {
    for text in [MARK, PIN, PIN] {
        device.screen.will_type(text);
    }
    let kind = LockKind::Pin;
    assert!(matches!(lock.call(Command::Enrol { space: Space::MAIN, kind }), Ok(Reply::Done)));
}

fn ce_key(device: &Device, lock: &Session<Gatekeeper>) -> Vec<u8> {
    device.screen.will_type(PIN);
    match lock.call(Command::Unlock).unwrap() {
        Reply::Unlocked { ce_key, .. } => ce_key.into_vec(),
        _ => panic!("the right PIN unlocks"),
    }
}

fn is_alive(pid: i32) -> bool {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::test_kill_process(pid).is_ok()
}

/// Whether it runs, and is no zombie.
fn is_running(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().and_then(|after| after.split_whitespace().next());
    state.is_some_and(|state| state != "Z" && state != "X")
}

/// A connection that knows no client library.
fn connect(tee: &tee_client::Tee) -> rustix::fd::OwnedFd {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, connect, socket};
    let socket = socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).unwrap();
    connect(&socket, &SocketAddrUnix::new(tee.path()).unwrap()).unwrap();
    socket
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if done() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    panic!("not within five seconds: {what}");
}

#[test]
fn s3_3_3_the_screen_lock_opens_the_same_key_after_power_off() {
    let Some(device) = Device::new() else { return };
    let lock = device.tee().session::<Gatekeeper>().unwrap();
    enrol(&device, &lock);
    let key = ce_key(&device, &lock);
    device.screen.will_type("0000");
    assert!(matches!(lock.call(Command::Unlock), Ok(Reply::Wrong { failures: 1, .. })));
    assert_eq!(device.screen.shown().len(), 5);
    let board = device.power_off();

    let device = Device::power_on(board).unwrap();
    let lock = device.tee().session::<Gatekeeper>().unwrap();
    let Reply::Status(status) = lock.call(Command::Status).unwrap() else {
        panic!("a status was due");
    };
    assert_eq!((status.enrolled, status.unlocked_once, status.failures), (true, false, 1));
    assert_eq!(ce_key(&device, &lock), key);
}

#[test]
fn power_off_leaves_no_process() {
    let Some(device) = Device::new() else { return };
    let tas = ["ta-gatekeeper", "ta-probe", "tee-spawner"];
    let tas = tas.map(|name| device.log.processes(name, 1)[0]);
    for pid in tas {
        assert!(is_alive(pid), "the log names the process as the host sees it");
    }
    device.power_off();
    for pid in tas {
        wait_until("TA processes end", || !is_alive(pid));
    }
}

#[test]
fn nothing_is_left_when_the_trusted_os_is_killed() {
    let Some(device) = Device::new() else { return };
    let pid = device.log.processes("ta-probe", 1)[0];
    rustix::process::kill_process(device.pid, rustix::process::Signal::KILL).unwrap();
    wait_until("the TA ends", || !is_alive(pid));
    std::mem::forget(device);
}

#[test]
fn a_ta_that_dies_starts_clean_and_others_never_notice() {
    let Some(device) = Device::new() else { return };
    let tee = device.tee();
    let lock = tee.session::<Gatekeeper>().unwrap();
    enrol(&device, &lock);
    let first = tee.session::<Probe>().unwrap();
    let second = tee.session::<Probe>().unwrap();
    assert_eq!(second.call(Try::Sessions), Ok(Tried::Number(2)));
    assert_eq!(first.call(Try::Panic), Err(TeeError::TargetDead));
    // The other session died with it; the next call is in a new one.
    assert_eq!(second.call(Try::Sessions), Err(TeeError::TargetDead));
    assert_eq!(second.call(Try::Sessions), Ok(Tried::Number(1)));
    let pids = device.log.processes("ta-probe", 2);
    assert_ne!(pids[0], pids[1]);
    assert_eq!(device.log.processes("ta-gatekeeper", 1).len(), 1);
    ce_key(&device, &lock);
}

#[test]
fn s2_1_1_a_ta_opens_no_file_and_no_socket_and_starts_nothing() {
    let Some(device) = Device::new() else { return };
    let probe = device.tee().session::<Probe>().unwrap();
    for path in ["/", "/etc/passwd", "/proc/self/mem", "/dev/mem", "/tmp"] {
        let tried = probe.call(Try::OpenFile(path.into()));
        assert_eq!(tried, Ok(Tried::Errno(13)), "{path}");
    }
    let os = device.pid.as_raw_nonzero().get();
    let ends = [
        Try::Socket,
        Try::Fork,
        Try::Trace(os),
        Try::MapExecutable,
        Try::Execute,
        Try::Signal(os),
        Try::Unlock,
    ];
    for command in ends {
        let tried = probe.call(&command);
        assert_eq!(tried, Err(TeeError::TargetDead), "{command:?}");
    }
    assert_eq!(probe.call(Try::Sessions), Ok(Tried::Number(1)));
}

#[test]
#[cfg(target_arch = "x86_64")]
fn s2_1_1_a_ta_reads_no_clock_but_the_secure_one() {
    let Some(device) = Device::new() else { return };
    let probe = device.tee().session::<Probe>().unwrap();
    let clocks = [
        libc::CLOCK_REALTIME,
        libc::CLOCK_MONOTONIC,
        libc::CLOCK_MONOTONIC_RAW,
        libc::CLOCK_BOOTTIME,
        libc::CLOCK_PROCESS_CPUTIME_ID,
        libc::CLOCK_TAI,
    ];
    for clock in clocks {
        assert_eq!(probe.call(Try::Clock(clock)), Err(TeeError::TargetDead), "clock {clock}");
    }
}

#[test]
fn s3_1_2_each_ta_has_its_own_objects_and_keys() {
    let Some(device) = Device::new() else { return };
    let tee = device.tee();
    enrol(&device, &tee.session::<Gatekeeper>().unwrap());
    let probe = tee.session::<Probe>().unwrap();
    let missing = probe.call(Try::Get("screen-lock".into()));
    assert!(matches!(missing, Err(TeeError::NotFound(_))));
    let value = ByteBuf::from(vec![7; 16 * 1024]);
    assert_eq!(probe.call(Try::Put("mine".into(), value.clone())), Ok(Tried::Done));
    assert_eq!(probe.call(Try::Get("mine".into())), Ok(Tried::Bytes(value)));
    let key = probe.call(Try::Derive("label".into()));
    assert_eq!(probe.call(Try::Derive("label".into())), key);
    assert_ne!(probe.call(Try::Derive("other".into())), key);
    let denied = probe.call(Try::LeaveFactory);
    assert!(matches!(denied, Err(TeeError::Denied(_))));
}

#[test]
fn a_prompt_holds_up_nobody_else_and_goes_with_who_asked() {
    let Some(device) = Device::new() else { return };
    let tee = device.tee();
    enrol(&device, &tee.session::<Gatekeeper>().unwrap());
    // A program asks to unlock and is killed while the prompt stands.
    let path = tee.clone();
    let asking = Process::asking_to_unlock(&path);
    device.screen.wait_for_prompt();
    let probe = tee.session::<Probe>().unwrap();
    assert_eq!(probe.call(Try::Sessions), Ok(Tried::Number(1)));
    // The TA that asks is free meanwhile, too.
    let lock = tee.session::<Gatekeeper>().unwrap();
    assert!(matches!(lock.call(Command::Status), Ok(Reply::Status(_))));
    drop(asking);
    device.screen.wait_for_cancel();
    ce_key(&device, &tee.session::<Gatekeeper>().unwrap());
}

/// A raw connection with a request on its way, which drops without an answer.
struct Process(rustix::fd::OwnedFd);

impl Process {
    fn asking_to_unlock(tee: &tee_client::Tee) -> Self {
        use board::channel;
        use tee_api::Protocol;
        use tee_api::ree::{Reply, Request};
        let socket = connect(tee);
        let login = tee_api::LoginMethod::User;
        let open = Request::Open { ta: Gatekeeper::TA, signer: None, login };
        channel::send(&socket, &open).unwrap();
        let Reply::Opened { session } = channel::receive(&socket).unwrap() else {
            panic!("a session was due");
        };
        let command = ByteBuf::from(channel::encode(&Command::Unlock).unwrap());
        channel::send(&socket, &Request::Invoke { session, command }).unwrap();
        Self(socket)
    }
}

#[test]
fn refuses_strangers_sessions_and_malformed_requests() {
    use board::channel;
    use tee_api::ree::{Reply, Request};
    let Some(device) = Device::new() else { return };
    let tee = device.tee();
    assert!(matches!(tee.session::<KeyMint>(), Err(TeeError::NotFound(_))));
    let _open = tee.session::<Probe>().unwrap();
    let Process(socket) = &Process::asking_to_unlock(&tee);
    assert!(matches!(channel::receive(socket), Ok(Reply::Refused(TeeError::BadState(_)))));
    // Sessions of other connections, guessed.
    for session in 0..20 {
        let command = ByteBuf::from(channel::encode(&Try::Sessions).unwrap());
        channel::send(socket, &Request::Invoke { session, command }).unwrap();
        let refused = channel::receive(socket).unwrap();
        assert!(matches!(refused, Reply::Refused(_)), "session {session}");
    }
    rustix::io::write(socket, b"\xFF\xFF").unwrap();
    assert!(matches!(channel::receive::<Reply>(socket), Err(channel::ChannelError::Closed)));
    assert!(tee.session::<Probe>().is_ok());
}

#[test]
fn s3_1_2_a_board_with_anothers_chip_says_so_and_boots_nothing() {
    use tee_api::boot::{Reply, Request};
    let Some(device) = Device::new() else { return };
    let board = device.power_off();
    let device = Device::power_on(TestBoard::with_chip_of(&board)).unwrap();
    let image = board::exec::sealed("bl2", b"any").unwrap();
    let verify = Request::VerifyBl2 { partition: "bl2_a".into() };
    let (reply, _) = device.ask_boot(&verify, Some(&image));
    assert!(matches!(reply, Reply::Rejected { reason, .. } if reason.contains("RPMB")));
    let (reply, _) = device.ask_boot(&Request::Trust, None);
    assert!(matches!(reply, Reply::Refused(TeeError::Security(_))));
    let lock = device.tee().session::<Gatekeeper>().unwrap();
    assert!(matches!(lock.call(Command::Status), Err(TeeError::Security(_))));
}

#[test]
fn s3_3_3_the_wait_runs_by_the_boards_clock() {
    let Some(device) = Device::new() else { return };
    let lock = device.tee().session::<Gatekeeper>().unwrap();
    enrol(&device, &lock);
    for _ in 0..5 {
        device.screen.will_type("0000");
        assert!(matches!(lock.call(Command::Unlock), Ok(Reply::Wrong { .. })));
    }
    assert!(matches!(lock.call(Command::Unlock), Ok(Reply::Throttled { .. })));
    device.board.advance_ms(60_000);
    ce_key(&device, &lock);
}

#[test]
fn s2_1_1_the_processes_are_small() {
    let Some(device) = Device::new() else { return };
    let lock = device.tee().session::<Gatekeeper>().unwrap();
    enrol(&device, &lock);
    ce_key(&device, &lock);
    let tas = ["ta-gatekeeper", "ta-probe"].map(|name| device.log.processes(name, 1)[0]);
    let os = device.pid.as_raw_nonzero().get();
    // Twice what an optimized build takes (docs/performance.md).
    for (pid, most_kib) in [(os, 16 * 1024), (tas[0], 8 * 1024), (tas[1], 8 * 1024)] {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
        let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        eprintln!("{pid}: {kib} KiB resident");
        assert!(kib < most_kib, "{pid} has {kib} KiB resident");
    }
}
