//! Peer programs.

use std::path::PathBuf;
use std::process::Command;

/// A peer program; says so in one line where it is absent.
pub(crate) fn program(name: &str, package: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|folder| folder.join(name))
        .find(|path| path.is_file());
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "{name} is absent: install {package}");
        eprintln!("skipped: {name} is absent (Debian package {package})");
    }
    found
}

/// Runs a peer that must succeed; gives what it printed.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().expect("the peer starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}\n{text}\n{errors}");
    text
}
