//! Objects in the system's files: with a keeper, without one, and with hostile ones.

use crate::device::Device;
use crate::probe::{Change, Command, Probe, Reply};
use crate::wait_until;
use board::channel;
use rustix::fd::OwnedFd;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, connect, socket};
use serde_bytes::ByteBuf;
use std::path::Path;
use tee_api::gatekeeper::{self, Gatekeeper};
use tee_api::keeper::Outcome;
use tee_api::ree;
use tee_client::keeper::Keeper;
use tee_client::{Session, TeeError};

pub(crate) fn put(name: &str, content: &[u8]) -> Change {
    Change::Put(name.into(), ByteBuf::from(content))
}

fn read(probe: &Session<Probe>, name: &str) -> Result<Vec<u8>, TeeError> {
    match probe.call(Command::Read(name.into()))? {
        Reply::Bytes(bytes) => Ok(bytes.into_vec()),
        other => panic!("{other:?}"),
    }
}

fn change(probe: &Session<Probe>, changes: Vec<Change>) -> Result<(), TeeError> {
    probe.call(Command::Change(changes)).map(|reply| assert_eq!(reply, Reply::Done))
}

/// A thread keeps the device's files in `folder`, until the trusted OS is gone.
pub(crate) fn keep(device: &Device, folder: &Path) {
    let (socket, mut keeper) = (device.socket(), Keeper::new(folder).unwrap());
    std::thread::spawn(move || keeper.serve(&socket));
    let probe = device.tee().session::<Probe>().unwrap();
    wait_until("somebody keeps files", || {
        let nothing = vec![Change::Delete("what is not there".into())];
        !matches!(change(&probe, nothing), Err(TeeError::Communication(_)))
    });
}

/// A connection that offered to keep files.
fn offer(device: &Device) -> OwnedFd {
    let socket = socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).unwrap();
    connect(&socket, &SocketAddrUnix::new(device.socket()).unwrap()).unwrap();
    channel::send(&socket, &ree::Request::KeepFiles).unwrap();
    socket
}

#[test]
fn s3_1_2_objects_in_files_last_and_are_their_owners_alone() {
    let Some(device) = Device::new() else { return };
    let folder = tempfile::tempdir().unwrap();
    keep(&device, folder.path());
    let probe = device.tee().session::<Probe>().unwrap();
    let large: Vec<u8> = (0..60_000_u32).map(|at| at as u8).collect();
    change(&probe, vec![put("large", &large), put("small", b"1")]).unwrap();
    let more = Change::Write("large".into(), 60_000, ByteBuf::from(&large[..50_000]));
    change(&probe, vec![more, Change::Rename("small".into(), "renamed".into())]).unwrap();
    // RPMB's names are others.
    let missing = probe.call(Command::Get("renamed".into()));
    assert!(matches!(missing, Err(TeeError::NotFound(_))));
    let refused = change(&probe, vec![Change::Rename("no".into(), "where".into())]);
    assert!(matches!(refused, Err(TeeError::NotFound(_))), "{refused:?}");
    let board = device.power_off();

    let device = Device::power_on(board).unwrap();
    keep(&device, folder.path());
    let probe = device.tee().session::<Probe>().unwrap();
    let names = vec!["large".into(), "renamed".into()];
    assert_eq!(probe.call(Command::List(None)), Ok(Reply::Names(names)));
    assert_eq!(read(&probe, "large"), Ok([&large[..], &large[..50_000]].concat()));
    assert_eq!(read(&probe, "renamed"), Ok(b"1".to_vec()));
    // Nothing of it is readable in the folder.
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let content = std::fs::read(entry.unwrap().path()).unwrap();
        for word in [&large[..64], b"renamed", b"large"] {
            assert!(!content.windows(word.len()).any(|window| window == word));
        }
    }
    let denied = probe.call(Command::EraseAll);
    assert!(matches!(denied, Err(TeeError::Denied(_))), "{denied:?}");
}

#[test]
fn without_a_keeper_calls_fail_clearly_and_work_again_afterwards() {
    let Some(device) = Device::new() else { return };
    let folder = tempfile::tempdir().unwrap();
    let probe = device.tee().session::<Probe>().unwrap();
    let failed = change(&probe, vec![put("a", b"1")]);
    assert!(matches!(failed, Err(TeeError::Communication(_))), "{failed:?}");
    // What lies in RPMB needs nobody.
    assert_eq!(probe.call(Command::Put("a".into(), ByteBuf::from(*b"x"))), Ok(Reply::Done));
    keep(&device, folder.path());
    change(&probe, vec![put("a", b"1")]).unwrap();
    assert_eq!(read(&probe, "a"), Ok(b"1".to_vec()));
}

#[test]
fn s3_1_2_a_wiped_folder_is_refused_until_the_device_is_erased() {
    let Some(device) = Device::new() else { return };
    let folder = tempfile::tempdir().unwrap();
    keep(&device, folder.path());
    let probe = device.tee().session::<Probe>().unwrap();
    change(&probe, vec![put("a", b"1")]).unwrap();
    let board = device.power_off();

    let wiped = tempfile::tempdir().unwrap();
    let device = Device::power_on(board).unwrap();
    keep(&device, wiped.path());
    let probe = device.tee().session::<Probe>().unwrap();
    for _ in 0..2 {
        let refused = change(&probe, vec![put("b", b"2")]);
        assert!(matches!(refused, Err(TeeError::Security(_))), "{refused:?}");
        assert!(matches!(read(&probe, "a"), Err(TeeError::Security(_))));
    }
    let lock = device.tee().session::<Gatekeeper>().unwrap();
    let erased = lock.call(gatekeeper::Command::Erase).unwrap();
    assert!(matches!(erased, gatekeeper::Reply::Erased { .. }));
    assert!(matches!(read(&probe, "a"), Err(TeeError::NotFound(_))));
    change(&probe, vec![put("b", b"2")]).unwrap();
    assert_eq!(read(&probe, "b"), Ok(b"2".to_vec()));
}

#[test]
fn hostile_keepers_are_let_go_and_the_next_one_takes_over() {
    let Some(device) = Device::new() else { return };
    let folder = tempfile::tempdir().unwrap();
    let lies: [(&str, Lie); 5] = [
        ("a wrong number", |number| filed(number + 1, Outcome::Done)),
        ("another kind", |number| filed(number, Outcome::Bytes(ByteBuf::new()))),
        ("no message", |_| vec![0xFF; 5]),
        ("too long", |_| vec![0; channel::MAX_MESSAGE_BYTES + 1]),
        ("another request", |_| {
            channel::encode(&ree::Request::Open {
                ta: tee_api::TaId([0; 16]),
                signer: None,
                login: tee_api::LoginMethod::Public,
            })
            .unwrap()
        }),
    ];
    let tee = device.tee();
    for (what, lie) in lies {
        let hostile = offer(&device);
        let asked = std::thread::spawn({
            let probe = tee.session::<Probe>().unwrap();
            move || change(&probe, vec![put("a", b"1")])
        });
        let ree::Reply::File { number, .. } = channel::receive(&hostile).unwrap() else {
            panic!("an operation was due");
        };
        let _ = rustix::io::write(&hostile, &lie(number));
        // One that only answered wrongly is still asked; then it leaves in the middle.
        drop(hostile);
        let failed = asked.join().unwrap();
        assert!(matches!(failed, Err(TeeError::Communication(_))), "{what}: {failed:?}");
    }
    // One that is silent does not hold up others, nor those who want no file.
    let silent = offer(&device);
    let probe = tee.session::<Probe>().unwrap();
    let asked = std::thread::spawn(move || change(&probe, vec![put("a", b"1")]));
    let _: ree::Reply = channel::receive(&silent).unwrap();
    let lock = tee.session::<Gatekeeper>().unwrap();
    assert!(lock.call(gatekeeper::Command::Status).is_ok());
    let (socket, mut keeper) = (device.socket(), Keeper::new(folder.path()).unwrap());
    std::thread::spawn(move || keeper.serve(&socket));
    drop(silent);
    assert!(matches!(asked.join().unwrap(), Err(TeeError::Communication(_))));
    let probe = tee.session::<Probe>().unwrap();
    wait_until("the next one takes over", || change(&probe, vec![put("a", b"2")]).is_ok());
    assert_eq!(read(&probe, "a"), Ok(b"2".to_vec()));
}

/// What is sent where the outcome of the operation with this number is due.
type Lie = fn(u64) -> Vec<u8>;

fn filed(number: u64, outcome: Outcome) -> Vec<u8> {
    channel::encode(&ree::Request::Filed { number, outcome }).unwrap()
}

#[test]
fn who_is_asked_nothing_and_who_serves_sessions_keeps_no_files() {
    let Some(device) = Device::new() else { return };
    let closed = |socket: &OwnedFd| {
        let answer = channel::receive::<ree::Reply>(socket);
        matches!(answer, Err(channel::ChannelError::Closed))
    };
    let unasked = offer(&device);
    rustix::io::write(&unasked, &filed(1, Outcome::Done)).unwrap();
    assert!(closed(&unasked));
    let busy = socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).unwrap();
    connect(&busy, &SocketAddrUnix::new(device.socket()).unwrap()).unwrap();
    rustix::io::write(&busy, &filed(1, Outcome::Done)).unwrap();
    assert!(closed(&busy));
    let waiting: Vec<OwnedFd> = (0..4).map(|_| offer(&device)).collect();
    let one_too_many = offer(&device);
    let refused = channel::receive(&one_too_many).unwrap();
    assert!(matches!(refused, ree::Reply::Refused(TeeError::Resources(_))));
    drop(waiting);
}

#[test]
fn the_trusted_os_stays_small_with_some_thousand_objects() {
    let Some(device) = Device::new() else { return };
    let folder = tempfile::tempdir().unwrap();
    keep(&device, folder.path());
    let probe = device.tee().session::<Probe>().unwrap();
    for at in 0..16 {
        let name = |n: u32| format!("an object of some name {at:03} {n:03}");
        let changes = (0..60).map(|n| put(&name(n), &[n as u8; 1000])).collect();
        change(&probe, changes).unwrap();
    }
    for at in 0..60 {
        change(&probe, vec![put("large", &vec![at; 60_000])]).unwrap();
    }
    assert_eq!(read(&probe, "large"), Ok(vec![59; 60_000]));
    let pid = device.pid.as_raw_nonzero();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    eprintln!("{kib} KiB resident");
    assert!(kib <= 8 * 1024, "{kib} KiB resident");
}

#[test]
fn s2_1_1_a_ta_keeps_as_many_objects_as_its_image_says() {
    use crate::device::signed;
    use crate::probe::Other;
    let Some(device) = Device::new() else { return };
    let folder = tempfile::tempdir().unwrap();
    keep(&device, folder.path());
    let more = vec![("objects", "3".into())];
    let modest = factory::Application { more, ..factory::Application::of::<Other>(8 << 20, 1) };
    let image = signed(&modest, "examples/ta-probe", &device.board.maker.key).unwrap();
    device.tee().load(&image).unwrap();
    let other = device.tee().session::<Other>().unwrap();
    let put = |name: &str| other.call(Command::Change(vec![put(name, b"content")]));
    for name in ["one", "two", "three"] {
        assert_eq!(put(name), Ok(Reply::Done));
    }
    assert!(matches!(put("four"), Err(TeeError::Resources(_))));
    assert_eq!(put("two"), Ok(Reply::Done), "one that is there may change");
}
