//! A malicious system and the trusted screen: its root, inside its own namespaces, while a person
//! chooses, types and confirms.

use crate::device::{Board, Device, Workshop, workshop};
use crate::{INDEX, attack_on};
use boot::probe::Hidden;
use serde_json::{Value, json};
use std::os::unix::fs::FileExt;
use std::process::Command;

/// Random enough that nothing else in memory is the same.
const PIN: &str = "8214739065128437";
const WORD: &str = "Zwergsepia7Qx";

/// Asks the system's local API; gives the answer's status and body.
fn ask(device: &Device, path: &str, body: &Value) -> (u16, Value) {
    let output = Command::new("curl")
        .args(["-sS", "-X", "POST", "-H", "content-type: application/json"])
        .args(["-w", "\\n%{http_code}", "-d", &body.to_string(), "--unix-socket"])
        .arg(device.path("run/holdfast.sock"))
        .arg(format!("http://x{path}"))
        .output()
        .expect("curl runs");
    let said = String::from_utf8(output.stdout).unwrap();
    let (body, status) = said.rsplit_once('\n').unwrap();
    (status.parse().unwrap(), serde_json::from_str(body).unwrap_or_default())
}

fn types(board: &Board, keys: &str) {
    assert_eq!(board.ask("POST", "/v1/keys", &json!({ "keys": keys })).0, 204);
}

/// A device whose person chose a mark, set a PIN and unlocked it.
fn in_use(workshop: &Workshop) -> (Device, Board) {
    let device = workshop.device(INDEX);
    let board = device.run(workshop);
    assert_eq!(board.outcome()["ready"], true, "{}", board.log());
    types(&board, &format!("fish {WORD}\n{PIN}\n{PIN}\n{PIN}\n"));
    let (status, said) = ask(&device, "/v1/lock/enrol", &Value::Null);
    assert_eq!(status, 200, "{said}");
    let (status, said) = ask(&device, "/v1/lock/unlock", &Value::Null);
    assert_eq!(status, 200, "{said}");
    (device, board)
}

#[test]
fn s2_1_1_root_of_the_normal_world_finds_nothing_of_what_is_typed_or_chosen() {
    let Some(workshop) = workshop() else { return };
    let (device, board) = in_use(workshop);
    let secrets = vec![Hidden::new(PIN), Hidden::new(WORD)];
    let attempts = attack_on(&board, &device, workshop, secrets);
    assert_eq!(attempts, Vec::<Value>::new());
    // The searches find what the system does know: a file and its path, a word of its API.
    let known = vec![Hidden::new("trusted-screen.url"), Hidden::new("boot_state")];
    let found = attack_on(&board, &device, workshop, known);
    for way in ["files", "memory", "API"] {
        let finds = |found: &Value| found["attempt"].as_str().unwrap().contains(way);
        assert!(found.iter().any(finds), "the search of {way} finds nothing: {found:?}");
    }
    let log = board.log();
    assert!(!log.contains(PIN) && !log.contains(WORD), "a log tells it");
}

#[test]
fn s2_1_1_nobody_keeps_what_was_typed() {
    let Some(workshop) = workshop() else { return };
    let (_device, board) = in_use(workshop);
    let status = board.status();
    let own = board.child.id().cast_signed();
    if holds(own, WORD).is_none() {
        return eprintln!("not run: only root looks into the memory of other processes");
    }
    let names = ["tee-os", "ta-keymint", "ta-gatekeeper", "system", "init"];
    let named = names
        .iter()
        .flat_map(|name| Board::pids(&status, name).into_iter().map(move |pid| (*name, pid)));
    for (name, pid) in named.chain([("holdfast-board", own)]) {
        assert_ne!(holds(pid, PIN), Some(true), "{name} still knows the PIN");
    }
}

/// Whether the memory of a process holds `secret`; `None` where this user may not look.
fn holds(pid: i32, secret: &str) -> Option<bool> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
    let memory = std::fs::File::open(format!("/proc/{pid}/mem")).ok()?;
    let mut ranges = maps.lines().filter_map(|line| {
        let (range, rest) = line.split_once(' ')?;
        let (from, to) = range.split_once('-')?;
        let at = |text| u64::from_str_radix(text, 16).ok();
        rest.starts_with("rw").then_some((at(from)?, at(to)?))
    });
    Some(ranges.any(|(from, to)| {
        let mut bytes = vec![0; (to - from) as usize];
        let read = memory.read_at(&mut bytes, from).unwrap_or(0);
        bytes[..read].windows(secret.len()).any(|window| window == secret.as_bytes())
    }))
}
