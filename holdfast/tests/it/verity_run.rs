//! A system whose blocks change while it runs, as its owner sees it: `holdfast device status` and
//! the two screens.

use crate::run::{holdfast, path, sh, state};
use board::flash::Flash;
use board::report::Slot;
use effects::{SystemClock, SystemEntropy};
use factory::{
    FlashPlan, KeySize, Maker, Release, RollbackIndexes, Stages, SystemFile, VerityErrorMode,
};
use serde_json::Value;
use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Stdio};

const BLOCK: u64 = 4096;
const FILE: &str = "/system/etc/almanac";
/// Blocks from one block to the next in the same codewords, in a system of 64 MiB.
const ROUNDS: u64 = 66;

/// A device that runs.
struct Running {
    state: tempfile::TempDir,
    board: Child,
    screens: Value,
}

impl Running {
    /// A device whose system has a file of 200 blocks.
    fn with_a_file() -> Self {
        let state = state();
        run(&state, &["make"]);
        let maker = path(&state, "maker");
        let clock = effects::Clock::now(&SystemClock::default());
        let maker = Maker::open_or_create(&maker, KeySize::Rsa4096, clock, &SystemEntropy).unwrap();
        let stages = Stages::load(&Stages::folder().unwrap()).unwrap();
        let plan = FlashPlan {
            stages: &stages,
            release: Release {
                version: "1".into(),
                os_version: "16".into(),
                security_patch: "2026-11-05".into(),
            },
            rollback: RollbackIndexes::all(9),
            cloud: None,
            files: vec![SystemFile {
                path: "etc/almanac".into(),
                mode: 0o644,
                content: b"almanac of tides\n".repeat(50_000),
            }],
            ta_signers: Vec::new(),
            updates: None,
            verity_error_mode: VerityErrorMode::Managed,
        };
        let image = path(&state, "new.img");
        plan.build(maker.avb_key(), &image, &SystemEntropy).unwrap();
        let (from, to) = (open(image), open(path(&state, "device/flash.img")));
        for name in ["vbmeta_a", "boot_a", "baseband_a", "system_a"] {
            to.write_at(name, 0, &from.read(name).unwrap()).unwrap();
        }
        let mut command = holdfast();
        let command = command.args(["device", "boot"]).env("HOLDFAST_STATE", state.path());
        let mut board = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(board.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let running = Self { state, board, screens: serde_json::from_str(&line).unwrap() };
        running.until("up", |status| status["system"].is_object());
        running
    }

    fn status(&self) -> Value {
        let output = run(&self.state, &["status", "--json"]);
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn until(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..1200 {
            let status = self.status();
            if holds(&status) {
                return status;
            }
            std::thread::sleep(std::time::Duration::from_millis(25));
        }
        panic!("{what}: not within 30 s: {:#}", self.status());
    }

    fn screen(&self, name: &str, path: &str) -> String {
        sh(&format!("curl -sSL {}{path}", self.screens[name].as_str().unwrap()))
    }

    /// Writes over one byte of each of so many blocks of the file, all in the same codeword.
    fn spoil(&self, blocks: u64) {
        let flash = open(path(&self.state, "device/flash.img"));
        let image = flash.read("system_a").unwrap();
        let text = b"almanac of tides\n".repeat(3);
        let at = image.windows(text.len()).position(|window| window == text).unwrap() as u64;
        let first = at.div_ceil(BLOCK) * BLOCK + 100;
        for row in 0..blocks {
            flash.write_at("system_a", first + row * ROUNDS * BLOCK, b"#").unwrap();
        }
    }

    /// Reads the file as a program of the normal world does.
    fn read(&self) -> Option<String> {
        let pid = self.status()["board"]["ree_pid"].as_i64()?;
        let probe = Stages::folder().unwrap().join("holdfast-probe");
        boot::world::enter(pid.try_into().unwrap(), &probe, &["read", FILE]).ok()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.board.kill();
        let _ = self.board.wait();
    }
}

fn run(state: &tempfile::TempDir, arguments: &[&str]) -> std::process::Output {
    let mut command = holdfast();
    command.arg("device").args(arguments).env("HOLDFAST_STATE", state.path()).output().unwrap()
}

fn open(path: PathBuf) -> Flash {
    Flash::open(OpenOptions::new().read(true).write(true).open(path).unwrap()).unwrap()
}

#[test]
fn s2_2_a_damaged_system_is_repaired_then_restarts_the_phone_which_warns_on_both_screens() {
    let device = Running::with_a_file();
    let status = device.status();
    assert_eq!(status["board"]["slot"], Value::from(Slot::A.suffix().trim_start_matches('_')));
    if status["board"]["verity"]["each_read"] != true {
        assert!(std::env::var_os("CI").is_none(), "{status:#}");
        return eprintln!("not run: no FUSE for the system: {}", status["board"]["weaknesses"]);
    }
    let good = device.read().unwrap();
    assert!(!good.starts_with("error") && !device.screen("phone_screen", "/").contains("corrupt"));

    device.spoil(1);
    assert_eq!(device.read().unwrap(), good, "parity makes it right");
    device.until("repaired", |status| status["board"]["repaired"][0]["count"].is_u64());
    let said = run(&device.state, &["status"]).stdout;
    let said = String::from_utf8(said).unwrap();
    assert!(said.contains("repaired by parity: block ") && said.contains(" of system_a"), "{said}");

    // The same byte of three blocks: more than two bytes of parity can bring back.
    device.spoil(3);
    let _ = device.read();
    let status = device.until("it restarts", |status| {
        status["board"]["reset"] == "verity" && status["system"].is_object()
    });
    assert_eq!(status["board"]["verity"]["mode"], "eio");
    assert_eq!(status["system"]["corrupt"], true);
    assert_eq!(status["system"]["boot_state"], "green", "what is read is what was signed");
    assert_eq!(device.read().unwrap(), "error 5\n");
    let warning = "The system on this phone is corrupt";
    let phone = device.screen("phone_screen", "/");
    assert!(phone.contains(warning), "{phone}");
    let trusted = device.screen("trusted_screen", "/state");
    assert!(trusted.contains(warning), "{trusted}");
    let said = String::from_utf8(run(&device.state, &["status"]).stdout).unwrap();
    for due in ["corrupt: ", "lost: block ", "restarted by itself: 1 times"] {
        assert!(said.contains(due), "{due}: {said}");
    }
}
