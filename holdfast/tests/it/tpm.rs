//! A device on a TPM: docs/tpm.md as written, on Debian's swtpm, and its files elsewhere.

use crate::document::{Reader, blocks};
use crate::run::{self, state};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// The swtpm whose process id is in this file; it ends with the test.
struct Swtpm(PathBuf);

impl Drop for Swtpm {
    fn drop(&mut self) {
        let pid = std::fs::read_to_string(&self.0).ok().and_then(|pid| pid.trim().parse().ok());
        if let Some(pid @ 2_i32..) = pid {
            // SAFETY: a signal to a process that this test started.
            unsafe { libc::kill(pid, libc::SIGTERM) };
        }
    }
}

fn holdfast(state: &Path, arguments: &[&str]) -> Command {
    let mut command = run::holdfast();
    command.args(arguments).env("HOLDFAST_STATE", state);
    command
}

fn is_missing() -> bool {
    let missing = ["swtpm", "tpm2_pcrread"].into_iter().find(|program| {
        Command::new(program).arg("--version").stdout(Stdio::null()).status().is_err()
    });
    let Some(program) = missing else { return false };
    assert!(std::env::var_os("CI").is_none(), "{program} is missing");
    eprintln!("{program} is missing (packages swtpm, tpm2-tools): this test did not run");
    true
}

/// What `device status` says once it says `due`.
fn status(state: &Path, due: &str) -> String {
    let mut said = String::new();
    for _ in 0..1200 {
        let output = holdfast(state, &["device", "status"]).output().unwrap();
        said = String::from_utf8_lossy(&output.stdout).into_owned();
        if said.contains(due) {
            return said;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{due:?} never came: {said}");
}

#[test]
fn s2_1_3_a_device_on_a_tpm_boots_as_the_page_says_and_its_files_are_nothing_elsewhere() {
    if is_missing() {
        return;
    }
    let home = state();
    let swtpms = ["tpm", "other"].map(|name| Swtpm(home.path().join(name).join("pid")));
    let folder = home.path().join("holdfast-tpm");
    let mut reader = Reader::at(home.path());
    let (mut said, mut start) = (Vec::new(), String::new());
    for block in blocks("docs/tpm.md") {
        if block.terminal {
            assert!(reader.starts(&block.text)["phone_screen"].is_string());
            status(&folder, "the system is up: true");
        } else {
            said.push(reader.types(&block.text));
            if start.is_empty() {
                start = block.text;
            }
        }
    }
    let said = said.join("\n");
    for due in ["board: tpm2", "tpm2=swtpm:unix:", "0x81004801", "value: 0x220E0028", "  23: 0x"] {
        assert!(said.contains(due), "{due} is missing in what was said:\n{said}");
    }
    // Another HUK use than those of the boot, and an orderly end.
    reader.leaves();

    // The same files beside another TPM.
    let other: Vec<&str> = start.lines().filter(|line| !line.contains("holdfast")).collect();
    reader.types(&other.join("\n").replace("/tpm", "/other"));
    reader.types(
        "cp -a ~/holdfast-tpm ~/copy\nsed -i s,/tpm/sock,/other/sock, \
         ~/copy/device/board/tpm2.address",
    );
    reader.starts("holdfast device boot --state $HOME/copy");
    let refused = status(&home.path().join("copy"), "refused:");
    assert!(refused.contains("does not hold the board's storage key"), "{refused}");
    reader.leaves();

    // The device itself goes on; an older copy of its chip does not.
    reader.starts("holdfast device boot");
    status(&folder, "the system is up: true");
    reader.leaves();
    reader.types("cp ~/copy/device/board/rpmb.* ~/holdfast-tpm/device/board/");
    reader.starts("holdfast device boot");
    let refused = status(&folder, "refused:");
    assert!(refused.contains("an old copy"), "{refused}");
    reader.leaves();

    reader.types("tpm2_clear -c p");
    reader.starts("holdfast device boot");
    let refused = status(&folder, "refused:");
    assert!(refused.contains("it was cleared"), "{refused}");
    reader.leaves();
    drop(swtpms);
}

#[test]
fn a_tpm_that_is_not_there_makes_no_device() {
    let home = state();
    let folder = home.path().join("state");
    let board = format!("tpm2=swtpm:unix:{}/none", home.path().display());
    let output = holdfast(&folder, &["device", "make", "--board", &board]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("the TPM does not answer"), "{said}");
    let output = holdfast(&folder, &["device", "make", "--board", "tpm2=tpm0"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("device:/dev/tpmrm0"), "{said}");
    let output = holdfast(&folder, &["device", "make"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
