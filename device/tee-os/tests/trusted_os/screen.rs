//! A malicious REE and the trusted screen: programs of the system that speak the TEE's own socket,
//! with the real trusted OS and real TAs at its other end.

use crate::device::Device;
use crate::probe::{Command as Try, Probe, Reply as Tried};
use crate::{Command, Gatekeeper, MARK, PIN, ce_key, enrol, wait_until};
use board::channel;
use board::ui::{FromScreen, Input, Mark, Prompt, Typed};
use rustix::fd::OwnedFd;
use serde_bytes::ByteBuf;
use tee_api::ree::{Reply, Request};
use tee_api::ui::{Ask, Transaction};
use tee_client::{Protocol, Session, TeeError};

const TEXT: &str = "Pay 12.50 € to Jo";

fn confirm(device: &Device, probe: &Session<Probe>, text: &str) -> (ByteBuf, ByteBuf) {
    device.screen.will_type("");
    match probe.call(Try::Confirm(text.into())) {
        Ok(Tried::Confirmed(message, token)) => (message, token),
        other => panic!("the person said yes: {other:?}"),
    }
}

fn redeem(probe: &Session<Probe>, message: &ByteBuf, token: &ByteBuf) -> Result<Tried, TeeError> {
    probe.call(Try::Redeem(message.clone(), token.clone()))
}

fn is_refused(tried: &Result<Tried, TeeError>) -> bool {
    matches!(tried, Err(TeeError::Denied(why)) if why.starts_with("NO_USER_CONFIRMATION"))
}

#[test]
fn s2_1_1_a_confirmation_is_over_exactly_the_text_that_was_shown() {
    let Some(device) = Device::new() else { return };
    let probe = device.tee().session::<Probe>().unwrap();
    let (message, token) = confirm(&device, &probe, TEXT);
    let shown = device.screen.shown().pop().unwrap();
    assert_eq!(shown.input, Input::Transaction { text: TEXT.into() });
    assert_eq!(message, tee_api::ui::message(TEXT, b"extra").unwrap());
    // Ask to confirm one text, use it for another.
    let other = ByteBuf::from(tee_api::ui::message("Pay 12.50 € to Al", b"extra").unwrap());
    assert!(is_refused(&redeem(&probe, &other, &token)));
    for at in [0, message.len() * 4, message.len() * 8 - 1] {
        let mut altered = message.clone();
        altered[at / 8] ^= 1 << (at % 8);
        assert!(is_refused(&redeem(&probe, &altered, &token)), "bit {at}");
    }
    assert_eq!(redeem(&probe, &message, &token), Ok(Tried::Done));
}

#[test]
fn s2_1_1_a_confirmation_can_not_be_replayed() {
    let Some(device) = Device::new() else { return };
    let probe = device.tee().session::<Probe>().unwrap();
    let (message, token) = confirm(&device, &probe, TEXT);
    assert_eq!(redeem(&probe, &message, &token), Ok(Tried::Done));
    assert!(is_refused(&redeem(&probe, &message, &token)));
    let another = device.tee().session::<Probe>().unwrap();
    assert!(is_refused(&redeem(&another, &message, &token)));
    let (message, token) = confirm(&device, &probe, TEXT);
    let board = device.power_off();
    // The same board, powered on again: what was confirmed before is worth nothing.
    let device = Device::power_on(board).unwrap();
    let probe = device.tee().session::<Probe>().unwrap();
    confirm(&device, &probe, TEXT);
    assert!(is_refused(&redeem(&probe, &message, &token)));
}

#[test]
fn s2_1_1_what_can_not_be_shown_in_full_is_not_shown() {
    let Some(device) = Device::new() else { return };
    let probe = device.tee().session::<Probe>().unwrap();
    let long = "x".repeat(4097);
    for text in ["Pay \u{202e}05.21 €", "Pay 1\u{8}\u{8}", "", " \n ", &long, "Pay 🙂", "e\u{301}"]
    {
        let refused = probe.call(Try::Confirm(text.into()));
        assert!(matches!(refused, Err(TeeError::BadParameters(_))), "{text}: {refused:?}");
    }
    assert_eq!(device.screen.shown(), []);
}

#[test]
fn s2_1_1_a_prompt_asks_for_nothing_but_what_it_says() {
    let Some(device) = Device::new() else { return };
    let probe = device.tee().session::<Probe>().unwrap();
    let prompt = |input| Ask::Prompt(Prompt { title: "x".into(), detail: String::new(), input });
    let transaction = Transaction {
        text: TEXT.into(),
        extra: ByteBuf::from(vec![0; 2049]),
        binding: ByteBuf::new(),
    };
    for ask in [
        prompt(Input::Mark),
        prompt(Input::Transaction { text: TEXT.into() }),
        prompt(Input::Pin { min_digits: 5, max_digits: 4 }),
        Ask::Transaction(transaction),
    ] {
        let refused = probe.call(Try::Ask(ask.clone()));
        assert!(matches!(refused, Err(TeeError::BadParameters(_))), "{ask:?}: {refused:?}");
    }
    let mark = probe.call(Try::Ask(Ask::Mark));
    assert!(matches!(mark, Err(TeeError::Denied(_))), "the mark is gatekeeper's to ask for");
    assert_eq!(device.screen.shown(), []);
}

#[test]
fn s2_1_1_the_mark_stands_beside_every_later_prompt_and_outlives_power_off() {
    let Some(device) = Device::new() else { return };
    let lock = device.tee().session::<Gatekeeper>().unwrap();
    enrol(&device, &lock);
    let mark = Some(Mark::parse(MARK).unwrap());
    assert_eq!(device.screen.marks(), [None, mark.clone(), mark.clone()]);
    let board = device.power_off();
    let device = Device::power_on(board).unwrap();
    let lock = device.tee().session::<Gatekeeper>().unwrap();
    ce_key(&device, &lock);
    confirm(&device, &device.tee().session::<Probe>().unwrap(), TEXT);
    assert_eq!(device.screen.marks(), [mark.clone(), mark]);
}

#[test]
fn s2_1_1_a_person_who_said_no_three_times_is_not_asked_again_for_a_while() {
    let Some(device) = Device::new() else { return };
    let probe = device.tee().session::<Probe>().unwrap();
    for _ in 0..3 {
        device.screen.will_cancel();
        assert_eq!(probe.call(Try::Confirm(TEXT.into())), Err(TeeError::Cancelled));
    }
    let nagging = probe.call(Try::Confirm(TEXT.into()));
    assert!(matches!(nagging, Err(TeeError::BadState(_))), "{nagging:?}");
    assert_eq!(device.screen.shown().len(), 3);
    device.board.advance_ms(30_000);
    confirm(&device, &probe, TEXT);
}

/// A program of the system that asks on many connections and does not wait for the answers. Those
/// on which it got no session are not among them.
struct Flood(Vec<OwnedFd>);

impl Flood {
    fn ask(device: &Device, command: &Try, count: usize) -> Self {
        let ask = |_| {
            let socket = connect(device);
            let session = open(&socket, Probe::TA)?;
            let command = ByteBuf::from(channel::encode(command).unwrap());
            channel::send(&socket, &Request::Invoke { session, command }).unwrap();
            Some(socket)
        };
        Self((0..count).filter_map(ask).collect())
    }
}

fn connect(device: &Device) -> OwnedFd {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, connect, socket};
    let socket = socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).unwrap();
    connect(&socket, &SocketAddrUnix::new(device.tee().path()).unwrap()).unwrap();
    socket
}

/// A session, or none where that program has as many as it may.
fn open(socket: &OwnedFd, ta: tee_api::TaId) -> Option<u32> {
    let login = tee_api::LoginMethod::Public;
    channel::send(socket, &Request::Open { ta, signer: None, login }).unwrap();
    match channel::receive(socket).unwrap() {
        Reply::Opened { session } => Some(session),
        Reply::Refused(TeeError::Resources(_)) => None,
        _ => panic!("a session was due"),
    }
}

#[test]
fn s2_1_1_a_flood_of_prompts_leaves_the_screen_to_others() {
    let Some(device) = Device::new() else { return };
    let lock = device.tee().session::<Gatekeeper>().unwrap();
    enrol(&device, &lock);
    let pin = Prompt {
        title: "Your PIN, please".into(),
        detail: String::new(),
        input: Input::Pin { min_digits: 4, max_digits: 16 },
    };
    let probe = device.tee().session::<Probe>().unwrap();
    let mut flood = Flood::ask(&device, &Try::Ask(Ask::Prompt(pin)), 10);
    let refused = |socket: &&OwnedFd| {
        rustix::io::ioctl_fionbio(*socket, true).unwrap();
        matches!(channel::receive(*socket), Ok(Reply::Refused(TeeError::Resources(_))))
    };
    let mut count = 10 - flood.0.len();
    wait_until("all but four are refused", || {
        count += flood.0.iter().filter(refused).count();
        count >= 6
    });
    // Those that wait go first, so that none of them comes to the screen in between.
    flood.0.truncate(1);
    wait_until("they are gone", || probe.call(Try::Sessions) == Ok(Tried::Number(2)));
    drop(flood);
    device.screen.wait_for_cancel();
    ce_key(&device, &lock);
    // Transactions: one at a time.
    let one = Flood::ask(&device, &Try::Confirm(TEXT.into()), 1);
    device.screen.wait_for_prompt();
    let second = device.tee().session::<Probe>().unwrap().call(Try::Confirm("Pay 1 €".into()));
    assert!(matches!(second, Err(TeeError::Resources(_))), "{second:?}");
    drop(one);
}

#[test]
fn s2_1_1_nobody_answers_a_prompt_over_the_tees_own_socket() {
    let Some(device) = Device::new() else { return };
    let lock = device.tee().session::<Gatekeeper>().unwrap();
    enrol(&device, &lock);
    let asking = Flood::ask(&device, &Try::Confirm(TEXT.into()), 1);
    device.screen.wait_for_prompt();
    let id = device.screen.standing().unwrap();
    assert!(id > 1 << 32, "a prompt's number is not to be guessed: {id}");
    // The screen's own words, where a program of the system can speak: they are no requests.
    for said in [
        FromScreen::Entered { id, text: Typed::default() },
        FromScreen::Cancelled { id },
        FromScreen::ChangeMark,
    ] {
        let socket = connect(&device);
        channel::send(&socket, &said).unwrap();
        let closed = channel::receive::<Reply>(&socket);
        assert!(matches!(closed, Err(channel::ChannelError::Closed)), "{said:?}");
    }
    // And a session of the program's own has no way to say that the person answered.
    let socket = connect(&device);
    let session = open(&socket, Probe::TA).unwrap();
    let answered = tee_api::ta::ToTa::Answered {
        question: 1,
        answer: Ok(tee_api::ui::Said::Typed(PIN.into())),
    };
    let command = ByteBuf::from(channel::encode(&answered).unwrap());
    channel::send(&socket, &Request::Invoke { session, command }).unwrap();
    let refused = channel::receive(&socket).unwrap();
    assert!(matches!(refused, Reply::Refused(TeeError::BadParameters(_))));
    assert_eq!(device.screen.standing(), Some(id));
    drop(asking);
    assert!(lock.call(Command::Status).is_ok());
}

/// Whether the memory of a process holds `secret`; `None` where this user may not look.
fn holds(pid: i32, secret: &str) -> Option<bool> {
    use std::os::unix::fs::FileExt;
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
    let memory = std::fs::File::open(format!("/proc/{pid}/mem")).ok()?;
    let ranges = maps.lines().filter_map(|line| {
        let (range, rest) = line.split_once(' ')?;
        let (from, to) = range.split_once('-')?;
        let at = |text| u64::from_str_radix(text, 16).ok();
        rest.starts_with("rw").then_some((at(from)?, at(to)?))
    });
    let found = ranges.into_iter().any(|(from, to)| {
        let mut bytes = vec![0; (to - from) as usize];
        let read = memory.read_at(&mut bytes, from).unwrap_or(0);
        bytes[..read].windows(secret.len()).any(|window| window == secret.as_bytes())
    });
    Some(found)
}

#[test]
fn s2_1_1_what_was_typed_is_wiped_from_the_tees_memory() {
    const PIN: &str = "8214739065128437";
    let Some(device) = Device::new() else { return };
    let lock = device.tee().session::<Gatekeeper>().unwrap();
    for text in [MARK, PIN, PIN, PIN] {
        device.screen.will_type(text);
    }
    let kind = tee_api::gatekeeper::LockKind::Pin;
    lock.call(Command::Enrol { space: tee_api::gatekeeper::Space::MAIN, kind }).unwrap();
    lock.call(Command::Unlock).unwrap();
    let gatekeeper = device.log.processes("ta-gatekeeper", 1)[0];
    let os = device.pid.as_raw_nonzero().get();
    let Some(search_works) = holds(os, "Kelpie") else {
        return eprintln!("not run: only root looks into the TEE's memory");
    };
    assert!(search_works, "the search finds the mark, which the trusted OS keeps");
    for (name, pid) in [("tee-os", os), ("ta-gatekeeper", gatekeeper)] {
        assert_eq!(holds(pid, PIN), Some(false), "{name} still knows the PIN");
    }
}
