//! What `up --json` promises to programs, over two whole runs of a user without any rights.

use crate::run::{Told, Unprivileged, state};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;

/// The steps of the issue, in the order in which they first come.
const ORDER: &[&str] = &[
    "cloud.start",
    "device.manufacture",
    "boot.bl1",
    "boot.tee",
    "boot.bl2",
    "boot.baseband",
    "boot.kernel",
    "boot.system",
    "attest",
    "clock.set",
    "account.sign_up",
    "device.bind",
    "lock.set",
    "vault.unlock",
    "confirm",
    "vault.import",
    "sync.upload",
    "push.deliver",
    "find.locate",
    "find.sound",
    "find.lost",
    "find.erase",
    "activation.refused",
    "activation.unlock",
    "restore",
];

/// The steps behind the attacks.
const UPDATE: &[&str] = &["update.publish", "update.download", "update.apply", "update.restart"];

#[test]
fn every_line_keeps_its_promise_for_a_user_without_rights() {
    let Some(user) = Unprivileged::new() else {
        eprintln!("not run: only root can become another user");
        return;
    };
    let state = state();
    user.own(state.path());
    let first = user.tell(state.path());
    assert_eq!(first.code, Some(0), "{first}");
    keeps_its_promise(&first);
    assert!(first.lines.iter().all(|line| line.get("existing").is_none()), "{first}");

    let again = user.tell(state.path());
    assert_eq!(again.code, Some(0), "{again}");
    keeps_its_promise(&again);
    let standing: Vec<_> = again
        .lines
        .iter()
        .filter(|line| line["existing"] == true)
        .map(|line| line["step"].as_str().unwrap())
        .collect();
    for step in ["device.manufacture", "account.sign_up", "device.bind", "lock.set", "vault.import"]
    {
        assert!(standing.contains(&step), "{step} does not stand: {again}");
    }
    let last_boot = |told: &Told| told.steps("boot.system")[0]["boot_no"].as_u64().unwrap();
    assert!(last_boot(&again) > last_boot(&first), "boots are not counted on");
}

fn keeps_its_promise(told: &Told) {
    let (ready, steps) = told.lines.split_last().expect("lines");
    steps.iter().for_each(is_a_step);
    is_ready(&ready["ready"]);
    let mut firsts: Vec<&str> = Vec::new();
    for name in steps.iter().map(|step| step["step"].as_str().unwrap()) {
        if !firsts.contains(&name) {
            firsts.push(name);
        }
    }
    let others = firsts.split_off(ORDER.len());
    assert_eq!(firsts, ORDER);
    let (attacks, update) = others.split_at(others.len() - UPDATE.len());
    assert!(attacks.iter().all(|name| name.starts_with("attack.")), "{attacks:?}");
    assert_eq!(update, UPDATE);
    let boots: Vec<u64> =
        told.steps("boot.bl1").iter().filter_map(|step| step["boot_no"].as_u64()).collect();
    assert!(boots.windows(2).all(|two| two[0] < two[1]), "boots are counted: {boots:?}");
    assert!(boots.len() >= 2, "the erased device boots again: {boots:?}");
}

fn is_a_step(step: &Value) {
    let object = step.as_object().unwrap_or_else(|| panic!("{step}"));
    const KNOWN: [&str; 7] = ["step", "ok", "ms", "reason", "existing", "boot_no", "evidence"];
    for key in object.keys() {
        assert!(KNOWN.contains(&key.as_str()), "{key} is no word of a step: {step}");
    }
    let name = step["step"].as_str().unwrap_or_else(|| panic!("{step}"));
    let ok = step["ok"].as_bool().unwrap_or_else(|| panic!("{step}"));
    assert!(step["ms"].as_f64().is_some_and(|ms| ms >= 0.0), "{step}");
    assert!(step["evidence"].is_object(), "{step}");
    let gives_reason = !ok || name.starts_with("attack.");
    assert_eq!(step["reason"].as_str().is_some_and(|why| !why.is_empty()), gives_reason, "{step}");
    assert_eq!(step["boot_no"].as_u64().is_some(), name.starts_with("boot."), "{step}");
    assert!(step.get("existing").is_none_or(|it| *it == true), "{step}");
}

fn is_ready(ready: &Value) {
    let text = |key: &str| ready[key].as_str().unwrap_or_else(|| panic!("no {key}: {ready}"));
    for (key, begins) in [
        ("console", "https://localhost:"),
        ("keycenter", "https://localhost:"),
        ("phone", "http://127.0.0.1:"),
        ("trusted_screen", "http://127.0.0.1:"),
    ] {
        assert!(text(key).starts_with(begins), "{key}: {ready}");
    }
    let ca = std::fs::read_to_string(text("ca")).unwrap();
    assert!(ca.starts_with("-----BEGIN CERTIFICATE-----"), "{ca}");
    let credentials = text("credentials");
    let mode = std::fs::metadata(credentials).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "{credentials}");
    let owner: Value = serde_json::from_slice(&std::fs::read(credentials).unwrap()).unwrap();
    assert!(owner["password"].is_string() && owner["email"].is_string());
}
