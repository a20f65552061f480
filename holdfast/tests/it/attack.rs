//! `holdfast attack tee`: every attack is made and refused, and the device that was given is left
//! as it was.

use crate::document::{Reader, blocks};
use crate::run::{holdfast, state};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// What is tried, in order: docs/attack.md describes each.
const STEPS: [&str; 23] = [
    "tracing",
    "memory",
    "signals",
    "board_files",
    "network",
    "kernel",
    "identity",
    "applications",
    "keepers",
    "messages",
    "commands",
    "sizes",
    "descriptors",
    "half_open",
    "connections",
    "sessions",
    "foreign_applications",
    "core_dump",
    "swap",
    "deleted_files",
    "old_objects",
    "swapped_applications",
    "old_files",
];

/// Attacks that reach the TEE's door: its own log must have them.
const LOGGED: [&str; 10] = [
    "applications",
    "foreign_applications",
    "keepers",
    "messages",
    "commands",
    "sizes",
    "descriptors",
    "half_open",
    "connections",
    "sessions",
];

#[test]
fn s2_1_1_every_attack_on_the_trusted_side_is_refused() {
    let folder = state();
    let made = holdfast().args(["device", "make", "--state"]).arg(folder.path()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let before = files(folder.path());

    let mut attack = holdfast();
    let attack = attack.args(["attack", "tee", "--json", "--state"]).arg(folder.path());
    let output = attack.output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let steps: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<&str> = steps.iter().map(|step| step["step"].as_str().unwrap()).collect();
    let due: Vec<String> = STEPS.iter().map(|name| format!("attack.tee.{name}")).collect();
    assert_eq!(names, due, "{said}{errors}");
    for step in &steps {
        assert_eq!(step["ok"], true, "{step}");
        assert!(step["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{step}");
    }
    for name in LOGGED {
        let name = format!("attack.tee.{name}");
        let step = steps.iter().find(|step| step["step"] == name).unwrap();
        assert!(step["evidence"]["logged"].as_u64().unwrap() > 0, "{step}");
    }
    assert_eq!(output.status.code(), Some(0), "{errors}");
    assert_eq!(files(folder.path()), before, "the device that was given was changed");
}

/// Path, size and last change of every file.
fn files(root: &Path) -> BTreeMap<String, (u64, std::time::SystemTime)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let (entry, path) =
                entry.map(|entry| (entry.metadata().unwrap(), entry.path())).unwrap();
            if entry.is_dir() {
                folders.push(path);
            } else {
                let changed = (entry.len(), entry.modified().unwrap());
                found.insert(path.display().to_string(), changed);
            }
        }
    }
    found
}

#[test]
fn a_device_that_is_missing_or_on_is_not_attacked() {
    let folder = state();
    let attack = |extra: &[&str]| {
        let mut attack = holdfast();
        attack.args(["attack", "tee", "--state"]).arg(folder.path()).args(extra).output().unwrap()
    };
    let output = attack(&[]);
    assert_eq!(output.status.code(), Some(3));
    let made = holdfast().args(["device", "make", "--state"]).arg(folder.path()).output().unwrap();
    assert!(made.status.success());
    let socket = folder.path().join("device/board.sock");
    // The factory left its own there.
    let _ = std::fs::remove_file(&socket);
    let _on = std::os::unix::net::UnixListener::bind(socket).unwrap();
    let output = attack(&[]);
    assert_eq!(output.status.code(), Some(3));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("is on: switch it off first"), "{errors}");
}

#[test]
fn the_page_about_attacks_works_as_written() {
    let home = state();
    let mut reader = Reader::at(home.path());
    let said: Vec<String> =
        blocks("docs/attack.md").iter().map(|block| reader.types(&block.text)).collect();
    let said = said.join("\n");
    for name in STEPS {
        assert!(said.contains(&format!("attack.tee.{name}")), "{name} is missing in:\n{said}");
    }
}
