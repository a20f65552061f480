//! The element on an emulated board: its HUK, its fuses.

use board::exec::Launch;
use board::silicon::{ELEMENT_COUNTER, MonotonicCounter as _};
use board::{channel, fds, secure};
use board_emulated::fuses::{Blank, Fuses};
use board_emulated::silicon::EmulatedSilicon;
use crypto::secret::Secret;
use effects::{ManualClock, SystemEntropy, UnixMillis};
use element_emulated::binding::OnBoard;
use element_emulated::make;
use element_emulated::store::{FileStorage, Store, StoreError};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{WaitOptions, waitpid};
use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::Arc;

fn blow(folder: &Path, huk: u8) {
    let blank = Blank {
        root_key_hash: [1; 32],
        second_root_key_hash: None,
        serial: "S".into(),
        huk: Secret::new([huk; 32]),
    };
    Fuses::blow(folder, &blank).unwrap();
    board_emulated::rpmb_store::create(folder).unwrap();
}

fn up(folder: &Path) -> Box<OnBoard<EmulatedSilicon>> {
    let clock = Arc::new(ManualClock::new(UnixMillis(0)));
    Box::new(OnBoard(EmulatedSilicon::power_up(folder, clock, Arc::new(SystemEntropy)).unwrap()))
}

#[test]
fn s3_3_2_all_files_of_an_element_are_nothing_on_another_board() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    blow(one.path(), 1);
    blow(other.path(), 2);
    let path = one.path().join("element.state");
    let storage = || Box::new(FileStorage(path.clone()));
    let mut store = make::make(storage(), up(one.path()), UnixMillis(0)).unwrap();
    let old = std::fs::read(&path).unwrap();
    store.commit(|state| state.pin.left = 0).unwrap();
    let sequence = store.state().sequence;
    drop(store);
    assert!(matches!(Store::open(storage(), up(other.path())), Err(StoreError::Foreign)));
    assert_eq!(Store::open(storage(), up(one.path())).unwrap().state().pin.left, 0);
    assert_eq!(up(one.path()).0.counter(ELEMENT_COUNTER).unwrap(), sequence);
    std::fs::write(&path, old).unwrap();
    assert!(matches!(Store::open(storage(), up(one.path())), Err(StoreError::RolledBack { .. })));
}

/// Runs the program on a board, as its stages run: the board answers at descriptor 3. Its exit code,
/// and what it said on standard error.
fn run_on(board: &Path, arguments: &[&str]) -> (i32, String) {
    let OnBoard(silicon) = *up(board);
    let flags = SocketFlags::CLOEXEC;
    let (near, far) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
    let answering = std::thread::spawn(move || {
        while let Ok(request) = channel::receive(&near) {
            channel::send(&near, &secure::answer(&silicon, request)).unwrap();
        }
    });
    let program = File::open(env!("CARGO_BIN_EXE_holdfast-element")).unwrap();
    let nothing = File::options().read(true).write(true).open("/dev/null").unwrap();
    let mut launch = Launch::new(program.as_fd(), "holdfast-element");
    for argument in arguments {
        launch = launch.argument(argument);
    }
    let mut said = tempfile::tempfile().unwrap();
    for (fd, number) in [(&nothing, 0), (&nothing, 1), (&said, 2)] {
        launch = launch.give(fd.as_fd(), number);
    }
    let pid = launch.give(far.as_fd(), fds::SECURE).spawn().unwrap();
    let (_, status) = waitpid(Some(pid), WaitOptions::empty()).unwrap().unwrap();
    drop(far);
    answering.join().unwrap();
    let mut text = String::new();
    said.rewind().unwrap();
    said.read_to_string(&mut text).unwrap();
    (status.exit_status().unwrap(), text)
}

#[test]
fn s3_3_2_the_program_on_a_board_takes_its_secrets_from_the_board() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    blow(one.path(), 1);
    blow(other.path(), 2);
    let state = one.path().join("element");
    let state = state.to_str().unwrap();
    let made = run_on(one.path(), &["make", "--state", state, "--on-board"]);
    assert_eq!(made.0, 0, "{}", made.1);
    assert!(!Path::new(state).join("element.key").exists(), "no key file is needed");
    // It can't listen there, but that far it gets on its own board only.
    let serve = ["serve", "--state", state, "--on-board", "--socket", "/proc/none", "--allow", "x"];
    let sequence = || up(one.path()).0.counter(ELEMENT_COUNTER).unwrap();
    let before = sequence();
    let foreign = run_on(other.path(), &serve);
    assert!(foreign.0 == 3 && foreign.1.contains("sealed for another board"), "{}", foreign.1);
    assert_eq!(up(other.path()).0.counter(ELEMENT_COUNTER).unwrap(), 0);
    let own = run_on(one.path(), &serve);
    assert!(own.0 == 3 && own.1.contains("/proc/none"), "{}", own.1);
    assert_eq!(sequence(), before);
    Store::open(Box::new(FileStorage(Path::new(state).join("element.state"))), up(one.path()))
        .unwrap();
}
