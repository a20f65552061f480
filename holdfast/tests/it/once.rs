//! The story on the sample: every step is there, holds, and says something that can be checked.

use crate::run::{Up, path, state, tell};
use serde_json::json;
use std::time::Instant;

const STEPS: &[&str] = &[
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
    "attack.flip.bl1",
    "attack.flip.tee",
    "attack.flip.bl2",
    "attack.flip.boot",
    "attack.flip.vbmeta",
    "attack.flip.system",
    "attack.flip.baseband",
    "attack.flip.misc",
    "attack.flip.userdata",
    "attack.rollback",
    "attack.foreign_vbmeta",
    "attack.foreign_board",
    "attack.replay_attestation",
    "attack.tee_memory",
    "attack.fuses",
    "attack.rpmb",
    "attack.cloud_plaintext",
    "attack.reset_password_in_lost_mode",
    "update.publish",
    "update.download",
    "update.apply",
    "update.restart",
];

#[test]
fn the_whole_story_holds_and_a_second_run_goes_on() {
    let state = state();
    let start = Instant::now();
    let told = tell(state.path(), &[]);
    let took = start.elapsed();
    assert_eq!(told.code, Some(0), "{told}");
    for step in STEPS {
        told.held(step);
    }
    assert!(told.failed().is_empty(), "{told}");
    assert!(told.lines.last().unwrap().get("ready").is_some(), "the last line is not ready");
    assert!(took.as_secs() < 60, "the story took {took:?}");

    let statement = &told.held("attest")["evidence"];
    assert_eq!(statement["boot_state"], "green");
    assert_eq!(statement["locked"], true);
    assert_eq!(statement["security_level"], "trusted_environment");
    assert_eq!(told.held("restore")["evidence"]["compared"], "identical");
    let boots: Vec<_> =
        told.steps("boot.system").iter().map(|step| step["boot_no"].clone()).collect();
    assert!(boots.len() >= 2, "the erased device boots again: {boots:?}");
    for attack in STEPS.iter().filter(|step| step.starts_with("attack.")) {
        let reason = told.held(attack)["reason"].as_str().unwrap_or_default().to_owned();
        assert!(reason.len() > 10, "{attack} gives no reason");
    }

    let updated = &told.held("update.restart")["evidence"];
    assert_eq!((&updated["slot"], &updated["before"]), (&json!("b"), &json!("a")));
    assert_eq!(updated["counts"]["booted"], 1, "the cloud heard of it: {updated}");
    let stages = updated["stages"].as_array().unwrap();
    assert!(stages.iter().any(|stage| stage["partition"] == "system_b"), "{updated}");

    let account = told.held("account.sign_up")["evidence"]["account_id"].clone();
    let device = told.held("device.bind")["evidence"]["device_id"].clone();
    let again = tell(state.path(), &[]);
    assert_eq!(again.code, Some(0), "{again}");
    for step in ["device.manufacture", "account.sign_up", "device.bind", "lock.set", "vault.import"]
    {
        assert_eq!(again.held(step)["existing"], true, "{again}");
    }
    assert_eq!(again.held("account.sign_up")["evidence"]["account_id"], account);
    assert_ne!(device, serde_json::Value::Null);
    assert_eq!(again.held("restore")["evidence"]["compared"], "identical");
    assert!(!path(&state, "copies").exists(), "copies are left behind");
}

#[test]
fn credentials_are_readable_by_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let state = state();
    let mut up = Up::start(state.path(), &[]);
    let ready = up.ready();
    let mode = |path: &str| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(ready["credentials"].as_str().unwrap()), 0o600);
    assert_eq!(mode(path(&state, "device/board").to_str().unwrap()), 0o700);

    // Ctrl-C stops everything and keeps the story's result.
    assert_eq!(up.end(libc::SIGINT), Some(0));
    assert!(crate::run::processes_of(state.path()).is_empty(), "something still runs");
}

#[test]
fn a_port_in_use_is_the_environment_s_fault_and_says_so() {
    let state = state();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = crate::run::holdfast()
        .args(["up", "--once", "--json", "--listen", &address, "--state"])
        .arg(state.path())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(3), "{told}");
    assert!(told.contains(&address) && told.contains("--listen"), "{told}");
}

#[test]
fn a_wrong_command_line_is_a_usage_error() {
    let output = crate::run::holdfast().args(["up", "--sideways"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}
