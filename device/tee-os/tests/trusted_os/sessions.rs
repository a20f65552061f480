//! Sessions: who calls, what is withdrawn, what a TA may use, and TAs that call each other.

use crate::connect;
use crate::device::{Device, signed};
use crate::probe::{Command as Try, Other, Probe, Reply as Tried};
use board::channel;
use factory::Application;
use serde_bytes::ByteBuf;
use tee_api::ree::{Reply, Request};
use tee_api::{Login, LoginMethod};
use tee_client::{Identity, Protocol, Target, Tee, TeeError};

/// A device whose first probe may call a second one, which may call the first.
fn two_probes() -> Option<Device> {
    let device = Device::new()?;
    let calls = |uuids: &[tee_api::TaId]| {
        let uuids: Vec<String> = uuids.iter().map(ToString::to_string).collect();
        vec![("calls", uuids.join(",")), ("cpu", "60000".into())]
    };
    let one = Application { more: calls(&[Other::TA]), ..Application::of::<First>(8 << 20, 1) };
    let two = Application {
        more: calls(&[First::TA, Other::TA]),
        ..Application::of::<Other>(8 << 20, 1)
    };
    for application in [one, two] {
        let image = signed(&application, "examples/ta-probe", &device.board.maker.key)?;
        device.tee().load(&image).unwrap();
    }
    Some(device)
}

/// A probe that may call the second one.
#[derive(Debug)]
enum First {}

impl Protocol for First {
    const TA: tee_api::TaId = tee_api::TaId(*b"holdfast-tafirst");
    const NAME: &'static str = "ta-first";
    type Command = Try;
    type Reply = Tried;
}

fn call_other(command: Try) -> Try {
    Try::CallOther(Box::new(command))
}

#[test]
fn s2_1_1_a_ta_hears_who_called_as_the_kernel_tells_it() {
    let Some(device) = two_probes() else { return };
    let tee = device.tee();
    let login = |login| {
        let target = Target { login, ..Target::of::<Probe>() };
        tee.session_as::<Probe>(target).unwrap().call(Try::WhoAmI).unwrap()
    };
    // The TEE's namespace calls this test's user root.
    assert_eq!(login(LoginMethod::Public), Tried::Login(Login::Public));
    let Tried::Login(Login::User { uid }) = login(LoginMethod::User) else { panic!("a user") };
    let labelled = login(LoginMethod::Application);
    assert!(matches!(labelled, Tried::Login(Login::Application { uid: same, .. }) if same == uid));
    let first = tee.session::<First>().unwrap();
    let caller = Login::TrustedApplication(Identity::of_maker(First::TA));
    assert_eq!(first.call(call_other(Try::WhoAmI)), Ok(Tried::Login(caller)));
}

#[test]
fn s2_1_1_a_ta_calls_those_that_its_signed_list_names_and_no_other() {
    let Some(device) = two_probes() else { return };
    let tee = device.tee();
    let first = tee.session::<First>().unwrap();
    assert_eq!(first.call(call_other(Try::Nothing)), Ok(Tried::Done));
    assert!(matches!(first.call(Try::CallUndeclared), Err(TeeError::Denied(_))));
    // The probe of the system declares nobody.
    let probe = tee.session::<Probe>().unwrap();
    assert!(matches!(probe.call(call_other(Try::Nothing)), Err(TeeError::Denied(_))));
    // A refusal of the one called is the caller's to see, and leaves both alive.
    let missing = first.call(call_other(Try::Get("nothing".into())));
    assert!(matches!(missing, Err(TeeError::NotFound(_))));
    assert_eq!(first.call(Try::Sessions), Ok(Tried::Number(1)));
}

#[test]
fn s2_1_1_calls_in_a_circle_are_refused_and_block_nobody() {
    let Some(device) = two_probes() else { return };
    let tee = device.tee();
    // The second one may call itself, says its image; while it works it never would be served.
    let first = tee.session::<First>().unwrap();
    let circle = first.call(call_other(call_other(Try::Nothing)));
    assert!(matches!(circle, Err(TeeError::BadState(_))), "{circle:?}");
    assert_eq!(first.call(call_other(Try::Nothing)), Ok(Tried::Done));
}

#[test]
fn s2_1_1_the_death_of_a_ta_is_an_error_for_who_called_it_and_ends_sessions_with_it() {
    let Some(device) = two_probes() else { return };
    let tee = device.tee();
    let (first, other) = (tee.session::<First>().unwrap(), tee.session::<Other>().unwrap());
    assert_eq!(first.call(call_other(Try::Panic)), Err(TeeError::TargetDead));
    assert_eq!(first.call(Try::Sessions), Ok(Tried::Number(1)));
    assert_eq!(first.call(Try::KeepSessionWithOther), Ok(Tried::Done));
    assert_eq!(other.call(Try::Sessions), Err(TeeError::TargetDead));
    assert_eq!(other.call(Try::Sessions), Ok(Tried::Number(2)));
    // With the caller goes its session.
    assert_eq!(first.call(Try::Panic), Err(TeeError::TargetDead));
    crate::wait_until("the session ends", || other.call(Try::Sessions) == Ok(Tried::Number(1)));
}

#[test]
fn s2_1_1_a_withdrawn_command_ends_where_it_computes_waits_or_asks() {
    let Some(device) = two_probes() else { return };
    let tee = device.tee();
    // It computes; another TA computes for it.
    for command in [Try::Compute { attentive: true }, call_other(Try::Compute { attentive: true })]
    {
        let (socket, _) = invoke::<First>(&tee, &command);
        channel::send(&socket, &Request::Cancel).unwrap();
        assert_eq!(refusal(&socket), TeeError::Cancelled, "{command:?}");
    }
    // It waits behind one that computes.
    let (busy, _) = invoke::<First>(&tee, &Try::Compute { attentive: true });
    let socket = connect(&tee);
    let login = LoginMethod::Public;
    channel::send(&socket, &Request::Open { ta: First::TA, signer: None, login }).unwrap();
    channel::send(&socket, &Request::Cancel).unwrap();
    assert_eq!(refusal(&socket), TeeError::Cancelled);
    channel::send(&busy, &Request::Cancel).unwrap();
    assert_eq!(refusal(&busy), TeeError::Cancelled);
    // It asks the person: the prompt leaves the screen.
    let (socket, session) = invoke::<First>(&tee, &Try::AskThePerson);
    device.screen.wait_for_prompt();
    channel::send(&socket, &Request::Cancel).unwrap();
    device.screen.wait_for_cancel();
    assert_eq!(refusal(&socket), TeeError::Cancelled);
    // The session stands, and a late cancellation means nothing.
    channel::send(&socket, &Request::Cancel).unwrap();
    let command = ByteBuf::from(channel::encode(&Try::Nothing).unwrap());
    channel::send(&socket, &Request::Invoke { session, command }).unwrap();
    assert!(matches!(channel::receive(&socket), Ok(Reply::Done(_))));
}

/// Begins a command on a connection of its own.
fn invoke<P: Protocol<Command = Try>>(tee: &Tee, command: &Try) -> (rustix::fd::OwnedFd, u32) {
    let socket = connect(tee);
    let login = LoginMethod::User;
    channel::send(&socket, &Request::Open { ta: P::TA, signer: None, login }).unwrap();
    let Reply::Opened { session } = channel::receive(&socket).unwrap() else {
        panic!("a session was due");
    };
    let command = ByteBuf::from(channel::encode(command).unwrap());
    channel::send(&socket, &Request::Invoke { session, command }).unwrap();
    (socket, session)
}

fn refusal(socket: &rustix::fd::OwnedFd) -> TeeError {
    match channel::receive(socket).unwrap() {
        Reply::Refused(error) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn s2_1_1_a_ta_that_computes_for_too_long_is_ended_and_starts_clean() {
    let Some(device) = Device::new() else { return };
    let probe = device.tee().session::<Probe>().unwrap();
    assert_eq!(probe.call(Try::Compute { attentive: false }), Err(TeeError::TargetDead));
    assert_eq!(probe.call(Try::Sessions), Ok(Tried::Number(1)));
    let [dead, alive] = device.log.processes("ta-probe", 2)[..] else { panic!("two processes") };
    crate::wait_until("it is ended", || !crate::is_running(dead));
    assert!(crate::is_running(alive));
}

#[test]
fn s2_1_1_a_ta_that_takes_too_much_memory_dies_alone() {
    let Some(device) = Device::new() else { return };
    let probe = device.tee().session::<Probe>().unwrap();
    let some = 6 << 20;
    assert_eq!(probe.call(Try::Allocate(some)), Ok(Tried::Number(some)));
    assert_eq!(probe.call(Try::Allocate(12 << 20)), Err(TeeError::TargetDead));
    assert_eq!(probe.call(Try::Allocate(some)), Ok(Tried::Number(some)));
    assert_eq!(device.log.processes("ta-gatekeeper", 1).len(), 1);
}

#[test]
fn s2_1_1_one_program_can_not_take_all_sessions_or_connections() {
    let Some(device) = Device::new() else { return };
    let tee = device.tee();
    // The probe serves eight sessions; one program has at most half of them.
    let sessions: Vec<_> = (0..4).map(|_| tee.session::<Probe>().unwrap()).collect();
    assert!(matches!(tee.session::<Probe>(), Err(TeeError::Resources(_))));
    drop(sessions);
    crate::wait_until("sessions end", || tee.session::<Probe>().is_ok());
    let many: Vec<_> = (0..64).map(|_| connect(&tee)).collect();
    let open = Request::List;
    let answered = many.iter().filter(|socket| {
        channel::send(socket, &open).is_ok() && channel::receive::<Reply>(socket).is_ok()
    });
    assert!((16..=32).contains(&answered.count()));
    drop(many);
    crate::wait_until("there is room again", || tee.installed().is_ok());
}

#[test]
fn s2_1_1_a_request_while_one_runs_ends_the_connection_and_nothing_else() {
    let Some(device) = two_probes() else { return };
    let tee = device.tee();
    let (socket, session) = invoke::<First>(&tee, &Try::Compute { attentive: true });
    channel::send(&socket, &Request::Close { session }).unwrap();
    assert!(matches!(channel::receive::<Reply>(&socket), Err(channel::ChannelError::Closed)));
    // What it computed for nobody it was told to leave.
    assert_eq!(tee.session::<First>().unwrap().call(Try::Nothing), Ok(Tried::Done));
}
