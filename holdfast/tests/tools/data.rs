//! Where the test data is, and how a tool is run.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A folder of the test data: below HOLDFAST_TEST_DATA, or below `../shared/data` beside the
/// workspace. Says so in one line where it is absent.
pub(crate) fn test_data(folder: &str) -> Option<PathBuf> {
    let data = std::env::var_os("HOLDFAST_TEST_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"),
        PathBuf::from,
    );
    let path = data.join(folder);
    if path.is_dir() {
        return Some(path);
    }
    assert!(std::env::var_os("CI").is_none(), "no test data at {}", path.display());
    eprintln!("skipped: no test data at {} (set HOLDFAST_TEST_DATA)", path.display());
    None
}

/// Runs `holdfast` with these arguments.
pub(crate) fn holdfast(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_holdfast")).args(arguments).output().expect("it starts")
}

/// Where a peer program is. Says in one line that it is absent.
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
