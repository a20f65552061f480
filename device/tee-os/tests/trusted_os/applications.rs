//! Trusted applications that come and go: who signed them, how old they are, what they share.

use crate::device::{Device, Maker, TestBoard, probe, signed};
use crate::probe::{Command as Try, Other, Probe, Reply as Tried};
use board::report::Verdict;
use factory::{Application, AvbKey, KeySize};
use serde_bytes::ByteBuf;
use std::sync::Arc;
use tee_client::{
    Identity, Installed, LoginMethod, Protocol, Session, Signer, Target, Tee, TeeError,
};

const PROGRAM: &str = "examples/ta-probe";

/// The second probe, signed with `key`.
fn other(key: &AvbKey, version: u64) -> Option<Vec<u8>> {
    signed(&Application::of::<Other>(8 << 20, version), PROGRAM, key)
}

fn of_key(key: &AvbKey) -> Signer {
    Signer::Key(key.digest())
}

fn session(tee: &Tee, signer: Signer) -> Result<Session<Other>, TeeError> {
    let signer = Some(signer);
    tee.session_as::<Other>(Target { uuid: Other::TA, signer, login: LoginMethod::User })
}

fn names(tee: &Tee) -> Vec<String> {
    tee.installed().unwrap().into_iter().map(|it: Installed| it.name).collect()
}

#[test]
fn s2_1_1_an_image_that_the_maker_signed_is_loaded_called_and_removed() {
    let Some(device) = Device::new() else { return };
    let image = other(&device.board.maker.key, 3).unwrap();
    let tee = device.tee();
    assert!(matches!(tee.session::<Other>(), Err(TeeError::NotFound(_))));
    let installed = tee.load(&image).unwrap();
    assert_eq!((installed.name.as_str(), installed.version), ("ta-other", 3));
    assert_eq!(installed.identity, Identity::of_maker(Other::TA));
    let session = tee.session::<Other>().unwrap();
    assert_eq!(session.call(Try::Sessions), Ok(Tried::Number(1)));
    assert_eq!(names(&tee), ["ta-gatekeeper", "ta-probe", "ta-other"]);
    assert_eq!(device.log.verdicts("ta-other", 1), [Verdict::Verified]);

    // The same build again changes nothing; a newer one takes its place.
    tee.load(&image).unwrap();
    assert_eq!(session.call(Try::Sessions), Ok(Tried::Number(1)));
    tee.load(&other(&device.board.maker.key, 4).unwrap()).unwrap();
    assert_eq!(session.call(Try::Sessions), Err(TeeError::TargetDead));
    assert_eq!(session.call(Try::Sessions), Ok(Tried::Number(1)));

    tee.remove(installed.identity).unwrap();
    assert_eq!(session.call(Try::Sessions), Err(TeeError::TargetDead));
    assert!(matches!(session.call(Try::Sessions), Err(TeeError::NotFound(_))));
    assert!(matches!(tee.remove(installed.identity), Err(TeeError::NotFound(_))));
    assert_eq!(names(&tee), ["ta-gatekeeper", "ta-probe"]);
}

#[test]
fn s2_1_1_an_older_version_is_refused_for_good() {
    let Some(device) = Device::new() else { return };
    let old = other(&device.board.maker.key, 3).unwrap();
    device.tee().load(&other(&device.board.maker.key, 4).unwrap()).unwrap();
    let refused = device.tee().load(&old).unwrap_err().to_string();
    assert!(refused.contains("has version 3, but this device has run version 4"), "{refused}");
    let device = Device::power_on(device.power_off()).unwrap();
    assert!(matches!(device.tee().load(&old), Err(TeeError::Security(_))));
    let verdicts = device.log.verdicts("ta-other", 1);
    assert!(
        matches!(&verdicts[..], [Verdict::Refused { code, .. }] if code == "ERROR_ROLLBACK_INDEX")
    );
}

#[test]
fn s2_1_1_only_signers_that_the_tee_image_admits_count() {
    let Some(device) = Device::new() else { return };
    let vendor = AvbKey::generate(KeySize::Rsa2048).unwrap();
    let image = other(&vendor, 1).unwrap();
    let refused = device.tee().load(&image).unwrap_err().to_string();
    assert!(refused.contains("which this device does not trust"), "{refused}");
    let board = device.power_off();
    board.maker.admit(vendor.digest());
    let device = Device::power_on(board).unwrap();
    let installed = device.tee().load(&image).unwrap();
    assert_eq!(installed.identity, Identity { uuid: Other::TA, signer: of_key(&vendor) });
}

#[test]
fn s2_1_1_one_uuid_by_two_signers_is_two_applications_that_share_nothing() {
    let Some(device) = Device::new() else { return };
    let [first, second] = [0, 1].map(|_| AvbKey::generate(KeySize::Rsa2048).unwrap());
    let board = device.power_off();
    board.maker.admit(first.digest());
    board.maker.admit(second.digest());
    let device = Device::power_on(board).unwrap();
    let tee = device.tee();
    tee.load(&other(&first, 9).unwrap()).unwrap();
    // The version of one says nothing about the other's.
    tee.load(&other(&second, 1).unwrap()).unwrap();
    assert!(matches!(tee.session::<Other>(), Err(TeeError::BadParameters(_))), "ambiguous");

    let one = session(&tee, of_key(&first)).unwrap();
    let two = session(&tee, of_key(&second)).unwrap();
    let value = ByteBuf::from(*b"of the first");
    assert_eq!(one.call(Try::Put("object".into(), value)), Ok(Tried::Done));
    assert!(matches!(two.call(Try::Get("object".into())), Err(TeeError::NotFound(_))));
    let derive = || Try::Derive("label".into());
    assert_ne!(one.call(derive()).unwrap(), two.call(derive()).unwrap());
    assert_eq!(two.call(Try::Sessions), Ok(Tried::Number(1)));
    assert_eq!(two.call(Try::Panic), Err(TeeError::TargetDead));
    assert_eq!(one.call(Try::Sessions), Ok(Tried::Number(1)));

    // Whoever names nobody gets the maker's.
    tee.load(&other(&device.board.maker.key, 1).unwrap()).unwrap();
    let makers = tee.session::<Other>().unwrap();
    assert_ne!(makers.call(derive()).unwrap(), one.call(derive()).unwrap());
}

#[test]
fn s2_1_1_what_came_with_the_system_is_neither_replaced_nor_removed() {
    let Some(device) = Device::new() else { return };
    let newer = signed(&probe(2), PROGRAM, &device.board.maker.key).unwrap();
    let tee = device.tee();
    assert!(matches!(tee.load(&newer), Err(TeeError::Denied(_))));
    assert!(matches!(tee.remove(Identity::of_maker(Probe::TA)), Err(TeeError::Denied(_))));
    assert!(tee.session::<Probe>().is_ok());
}

#[test]
fn s2_1_1_an_old_systems_applications_do_not_run_once_a_newer_one_proved_itself() {
    use tee_api::boot::Request;
    let maker = Maker::new();
    maker.set_version(5);
    let Some(device) = Device::power_on(TestBoard::new(Arc::clone(&maker))) else { return };
    // Started, but not proven: the older system still works.
    let board = device.power_off();
    maker.set_version(4);
    let device = Device::power_on(board).unwrap();
    assert!(device.tee().session::<Probe>().is_ok());
    let board = device.power_off();
    maker.set_version(5);
    let device = Device::power_on(board).unwrap();
    let info = crate::boot::info(vec![], tee_api::boot::BootState::Green);
    device.ask_boot(&Request::SetBootInfo(info), None);
    let lock = device.tee().session::<tee_api::gatekeeper::Gatekeeper>().unwrap();
    lock.call(tee_api::gatekeeper::Command::BootSuccessful).unwrap();
    let board = device.power_off();
    maker.set_version(4);
    let device = Device::power_on(board).unwrap();
    assert!(matches!(device.tee().session::<Probe>(), Err(TeeError::NotFound(_))));
    let verdicts = device.log.verdicts("ta-probe", 1);
    assert!(
        matches!(&verdicts[..], [Verdict::Refused { code, .. }] if code == "ERROR_ROLLBACK_INDEX")
    );
}

#[test]
fn s2_1_1_hostile_images_and_descriptors_are_refused_and_the_tee_goes_on() {
    use board::channel;
    use rustix::fd::{AsFd, OwnedFd};
    use tee_api::ree::{Reply, Request};
    let Some(device) = Device::new() else { return };
    let image = other(&device.board.maker.key, 1).unwrap();
    let tee = device.tee();
    for hostile in [&[][..], &[0; 64], &image[..image.len() / 2], &[0xFF; 5000]] {
        assert!(tee.load(hostile).is_err());
    }
    // A pipe that nobody writes to, a file that may change, no descriptor, two, one too large.
    let (pipe, _end) = rustix::pipe::pipe().unwrap();
    let open: OwnedFd = tempfile::tempfile().unwrap().into();
    let sealed = board::exec::sealed("image", &image).unwrap();
    let large = board::exec::sealed("image", &vec![0; (16 << 20) + 1]).unwrap();
    let cases: [Vec<&OwnedFd>; 5] =
        [vec![&pipe], vec![&open], vec![], vec![&sealed, &sealed], vec![&large]];
    for fds in cases {
        let socket = crate::connect(&tee);
        let fds: Vec<_> = fds.iter().map(|fd| fd.as_fd()).collect();
        channel::send_with_fds(&socket, &Request::Load, &fds).unwrap();
        let reply = channel::receive::<Reply>(&socket).unwrap();
        assert!(matches!(reply, Reply::Refused(TeeError::BadParameters(_))), "{reply:?}");
    }
    assert!(tee.load(&image).is_ok());
}

#[test]
fn s2_1_1_there_is_room_for_so_many_and_removal_makes_room() {
    let Some(device) = Device::new() else { return };
    let tee = device.tee();
    let numbered = |number: u8| {
        let mut uuid = Other::TA;
        uuid.0[0] = number;
        let application = Application { uuid, ..Application::of::<Other>(8 << 20, 1) };
        signed(&application, PROGRAM, &device.board.maker.key).unwrap()
    };
    let mut last = None;
    for number in 2..32 {
        last = Some(tee.load(&numbered(number)).unwrap().identity);
    }
    assert!(matches!(tee.load(&numbered(32)), Err(TeeError::Resources(_))));
    tee.remove(last.unwrap()).unwrap();
    tee.load(&numbered(32)).unwrap();
    assert_eq!(tee.installed().unwrap().len(), 32);
}
