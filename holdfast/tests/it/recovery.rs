//! System update through recovery, on a whole device: the maker's releases and packages, what
//! recovery takes and refuses, power that goes in the middle, a system that never comes up.

use crate::run::{holdfast, path, state};
use board::flash::Flash;
use bootimg::misc::{BootloaderMessage, Slot};
use serde_json::{Value, json};
use std::fs::{self, OpenOptions};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long the device may take on a busy machine, restarts included.
const PATIENCE: Duration = Duration::from_secs(240);
/// After the first build, which devices are made with.
const LATER: &str = "1800000000";

/// A maker with a device that works, off.
struct Workshop {
    state: tempfile::TempDir,
}

/// A device that has power.
struct Powered<'w>(&'w Workshop, Child);

impl Workshop {
    fn new() -> Self {
        let workshop = Self { state: state() };
        workshop.says(&["device", "make"]);
        workshop
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = holdfast();
        command.args(arguments).env("HOLDFAST_STATE", self.state.path());
        command
    }

    fn says(&self, arguments: &[&str]) -> Value {
        said(&mut self.command(arguments))
    }

    fn path(&self, name: &str) -> PathBuf {
        path(&self.state, name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// The images of a build, in a folder of its name.
    fn release(&self, number: &str, more: &[&str], stages: Option<&Path>) -> Value {
        let output = self.text(&format!("build-{number}"));
        let mut command = self.command(&["device", "release", "--json", "--output", &output]);
        command.args(["--incremental", number]).args(more);
        if let Some(stages) = stages {
            command.env("HOLDFAST_STAGES", stages);
        }
        said(&mut command)
    }

    /// A package of these images, signed with the key in `maker`.
    fn package(&self, images: &[&str], about: &Value, model: &str, maker: &str) -> PathBuf {
        let output = self.path("package.zip");
        let text = |name: &str| about[name].as_str().unwrap().to_owned();
        let timestamp = about["timestamp"].to_string();
        let (key, cert) = (format!("{maker}/ota.key"), format!("{maker}/ota.pem"));
        let (key, cert) = (self.text(&key), self.text(&cert));
        let mut command = self.command(images);
        command.args(["--compression", "zstd", "--level", "3", "--stretch", "4", "--json"]);
        command.args(["--device", model, "--timestamp", &timestamp, "--key", &key]);
        command.args(["--cert", &cert, "--fingerprint", &text("fingerprint")]);
        command.args(["--incremental", &text("incremental")]);
        command.args(["--security-patch", &text("security_patch")]);
        command.arg("--output").arg(&output).env_remove("SOURCE_DATE_EPOCH");
        said(&mut command);
        output
    }

    fn flash(&self) -> Flash {
        let path = self.path("device/flash.img");
        Flash::open(OpenOptions::new().read(true).write(true).open(path).unwrap()).unwrap()
    }

    /// Copies the package over and asks the next boot to install it.
    fn ask_for(&self, package: &[u8]) {
        let folder = self.path("device/data/update");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("ota.zip"), package).unwrap();
        let _ = fs::remove_file(folder.join("recovery.json"));
        self.flash().put_message(&BootloaderMessage::install("/data/update/ota.zip")).unwrap();
    }

    /// What recovery told.
    fn report(&self) -> Value {
        let bytes = fs::read(self.path("device/data/update/recovery.json")).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    fn power_on(&self) -> Powered<'_> {
        let mut board = self.command(&["device", "boot"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(board.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Powered(self, board)
    }

    /// Powers on, waits until a system is up and has marked its slot, powers off.
    fn boot(&self) -> Value {
        let powered = self.power_on();
        let status = powered.wait(|board| board["ready"] == true || board["refused"].is_object());
        assert_eq!(status["ready"], true, "{status:#}");
        let slot = if status["slot"] == "a" { Slot::A } else { Slot::B };
        powered.wait(|_| self.flash().slots().unwrap().get(slot).is_successful());
        powered.off();
        status
    }

    /// The message was cleared, and this slot boots next.
    fn is_settled_on(&self, slot: Slot) {
        assert_eq!(self.flash().message().unwrap(), BootloaderMessage::default());
        assert_eq!(self.flash().slots().unwrap().choose(), Some(slot));
    }
}

impl Powered<'_> {
    fn board(&self) -> Value {
        let output = self.0.command(&["device", "status", "--json"]).output().unwrap();
        serde_json::from_slice::<Value>(&output.stdout).unwrap()["board"].clone()
    }

    fn wait(&self, until: impl Fn(&Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            let board = self.board();
            if until(&board) {
                return board;
            }
            assert!(start.elapsed() < PATIENCE, "{board:#}");
            std::thread::sleep(Duration::from_millis(25));
        }
    }

    fn off(mut self) {
        // SAFETY: a signal to a child that was not waited for.
        unsafe { libc::kill(i32::try_from(self.1.id()).unwrap(), libc::SIGINT) };
        assert_eq!(self.1.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Powered<'_> {
    fn drop(&mut self) {
        let _ = self.1.kill();
        let _ = self.1.wait();
    }
}

/// What a command says: JSON, or anything.
fn said(command: &mut Command) -> Value {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
}

fn folder(of: &str) -> [String; 3] {
    ["ota".into(), "make".into(), of.into()]
}

#[test]
fn s2_6_recovery_refuses_what_is_not_for_this_device_and_installs_what_is() {
    let workshop = Workshop::new();
    // The same input gives the same bytes: this is the build that the device was made with.
    workshop.release("1", &["--timestamp", "1793836800"], None);
    for name in ["bl1", "tee", "bl2", "boot", "vbmeta", "system", "baseband"] {
        let image = fs::read(workshop.path(&format!("build-1/{name}.img"))).unwrap();
        assert!(image == workshop.flash().read(&format!("{name}_a")).unwrap(), "{name}");
    }
    assert_eq!(workshop.boot()["slot"], "a");
    let release = ["--timestamp", LATER, "--security-patch", "2026-12-05"];
    let second = workshop.release("2", &[&release[..], &["--rollback-index", "3"]].concat(), None);
    let build = &second["build"];
    let images = folder(&workshop.text("build-2"));
    let images = images.each_ref().map(String::as_str);
    let older = json!({"timestamp": 1, "fingerprint": build["fingerprint"],
        "incremental": "2", "security_patch": "2026-12-05"});
    let older_patch = json!({"timestamp": 1_800_000_000, "fingerprint": build["fingerprint"],
        "incremental": "2", "security_patch": "2026-10-05"});
    let stranger = workshop.path("stranger");
    let now = effects::UnixMillis(1_790_000_000_000);
    factory::Maker::open_or_create(
        &stranger,
        factory::KeySize::Rsa2048,
        now,
        &effects::SystemEntropy,
    )
    .unwrap();

    let good = fs::read(workshop.package(&images, build, "hf1", "maker")).unwrap();
    let bad = |model, about: &Value, maker| {
        fs::read(workshop.package(&images, about, model, maker)).unwrap()
    };
    let before = workshop.flash().read("boot_b").unwrap();
    for (package, word) in [
        (bad("hf2", build, "maker"), "other_device"),
        (bad("hf1", &older, "maker"), "older_build"),
        (bad("hf1", &older_patch, "maker"), "older_security_patch"),
        (bad("hf1", build, "stranger"), "signature"),
        (good[..good.len() - 100].to_vec(), "signature"),
    ] {
        workshop.ask_for(&package);
        let status = workshop.boot();
        assert_eq!((&status["slot"], &status["restarts"]), (&json!("a"), &json!(1)), "{word}");
        let report = workshop.report();
        assert_eq!((&report["outcome"], &report["word"]), (&json!("refused"), &json!(word)));
        workshop.is_settled_on(Slot::A);
        assert!(workshop.flash().read("boot_b").unwrap() == before, "{word}: nothing is written");
    }

    // Somebody presses the power button in the middle; then it goes on, and the new system runs.
    workshop.ask_for(&good);
    let powered = workshop.power_on();
    powered.wait(|board| board["recovery"]["percent"].as_u64() >= Some(5) || board["slot"] == "b");
    powered.off();
    let status = workshop.boot();
    assert_eq!(status["slot"], "b", "{status:#}");
    let report = workshop.report();
    assert_eq!((&report["outcome"], &report["target"]), (&json!("installed"), &json!("b")));
    assert_eq!(report["to"], build["fingerprint"]);
    workshop.is_settled_on(Slot::B);

    // The rollback indexes rose with the new slot's success; a delta from it leads back to slot a.
    let third =
        workshop.release("3", &["--timestamp", "1800000001", "--rollback-index", "3"], None);
    let [from, to] = ["build-2", "build-3"].map(|name| workshop.text(name));
    let fingerprint = build["fingerprint"].as_str().unwrap();
    let delta = ["ota", "delta", "--from", &from, "--to", &to, "--from-fingerprint", fingerprint];
    let mut about = third["build"].clone();
    about["security_patch"] = "2026-12-05".into();
    let delta = fs::read(workshop.package(&delta, &about, "hf1", "maker")).unwrap();
    assert!(delta.len() * 10 < good.len(), "{} and {}", delta.len(), good.len());
    workshop.ask_for(&delta);
    assert_eq!(workshop.boot()["slot"], "a");
    assert_eq!(workshop.report()["to"], third["build"]["fingerprint"]);
}

#[test]
fn s2_6_a_new_system_that_never_comes_up_falls_back() {
    let workshop = Workshop::new();
    workshop.boot();
    // Its system ends at once.
    let own = factory::Stages::folder().unwrap();
    let stages = workshop.path("stages");
    fs::create_dir(&stages).unwrap();
    for name in
        ["bl1", "bl2", "init", "tee-os", "ta-keymint", "ta-gatekeeper", "baseband", "recovery"]
    {
        std::os::unix::fs::symlink(own.join(name), stages.join(name)).unwrap();
    }
    std::os::unix::fs::symlink(own.join("holdfast-probe"), stages.join("system")).unwrap();
    let release = ["--timestamp", LATER, "--rollback-index", "3"];
    let second = workshop.release("2", &release, Some(&stages));
    let images = folder(&workshop.text("build-2"));
    let images = images.each_ref().map(String::as_str);
    let package = workshop.package(&images, &second["build"], "hf1", "maker");
    workshop.ask_for(&fs::read(package).unwrap());
    let powered = workshop.power_on();
    powered.wait(|board| {
        board["slot"] == "a" && board["ready"] == true && workshop.flash().message().is_ok()
    });
    powered.off();
    assert_eq!(workshop.report()["outcome"], "installed");
    let slots = workshop.flash().slots().unwrap();
    assert_eq!((slots.choose(), slots.get(Slot::B).is_bootable()), (Some(Slot::A), false));
    // The indexes did not rise: the old system, which is older, boots again.
    assert_eq!(workshop.boot()["slot"], "a");
}
