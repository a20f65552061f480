//! System update from a maker's build to a device that runs it: a real cloud, the real device, and
//! the commands that a person types.

use crate::run::{Up, holdfast, path, state, tell};
use http_link::{Client, Connector};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

struct Bench {
    state: TempDir,
    up: Up,
    cloud: Client,
    maker: String,
    runtime: tokio::runtime::Runtime,
}

impl Bench {
    fn new() -> Self {
        let state = state();
        let mut up = Up::start(state.path(), &[]);
        let ready = up.ready();
        let ca = fs::read(ready["ca"].as_str().unwrap()).unwrap();
        let cloud = Client::new(ready["console"].as_str().unwrap(), &ca, Connector::Tcp).unwrap();
        let maker = fs::read(path(&state, "cloud/maker.json")).unwrap();
        let maker: Value = serde_json::from_slice(&maker).unwrap();
        let maker = maker["credential"].as_str().unwrap().to_owned();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { state, up, cloud, maker, runtime }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = holdfast();
        command.args(arguments).env("HOLDFAST_STATE", self.state.path());
        command.env_remove("SOURCE_DATE_EPOCH");
        command
    }

    fn says(&self, arguments: &[&str]) -> Value {
        json_of(&run(self.command(arguments), 0))
    }

    /// `holdfast device update --json …`
    fn update(&self, more: &[&str], code: i32) -> Value {
        let mut command = self.command(&["device", "update", "--json"]);
        command.args(more);
        json_of(&run(command, code))
    }

    fn text(&self, name: &str) -> String {
        path(&self.state, name).display().to_string()
    }

    /// The maker's next build as an OTA zip, and what it says of itself.
    fn next_build(&self, number: &str) -> (PathBuf, Value) {
        let images = self.text(&format!("build-{number}"));
        let arguments =
            ["device", "release", "--json", "--output", &*images, "--incremental", number];
        let build = self.says(&arguments)["build"].clone();
        let zip = path(&self.state, &format!("build-{number}.zip"));
        let text = |name: &str| build[name].as_str().unwrap().to_owned();
        let mut command = self.command(&["ota", "make", &images, "--json"]);
        command.args(["--compression", "zstd", "--level", "3", "--stretch", "4"]);
        command.args(["--device", &text("model"), "--timestamp", &build["timestamp"].to_string()]);
        command.args(["--key", &self.text("maker/ota.key"), "--cert", &self.text("maker/ota.pem")]);
        command.args(["--fingerprint", &text("fingerprint")]);
        command.args(["--incremental", &text("incremental")]);
        command.args(["--security-patch", &text("security_patch")]).arg("--output").arg(&zip);
        run(command, 0);
        (zip, build)
    }

    /// Announces the build, uploads its package, and rolls it out to everybody.
    fn publish(&self, zip: &Path, build: &Value) -> String {
        let bytes = fs::read(zip).unwrap();
        let sha256 = board::argument::hex(&crypto::digest::sha256(&bytes));
        let announcement = json!({"model": build["model"], "channel": "stable",
            "build": build["fingerprint"], "timestamp": build["timestamp"],
            "security_patch": build["security_patch"], "percentage": 100,
            "size": bytes.len(), "sha256": sha256});
        let request = self.cloud.post("/v1/makers/releases").bearer(&self.maker);
        let release = request.json(&announcement).send_json::<Value>();
        let release = self.runtime.block_on(release).unwrap();
        let package = release["packages"][0]["package_id"].as_str().unwrap();
        let upload = self.cloud.put(&format!("/v1/makers/packages/{package}"));
        self.runtime.block_on(upload.bearer(&self.maker).bytes(bytes).send()).unwrap();
        release["release_id"].as_str().unwrap().to_owned()
    }

    fn release(&self, id: &str) -> Value {
        let request = self.cloud.get(&format!("/v1/makers/releases/{id}")).bearer(&self.maker);
        self.runtime.block_on(request.send_json()).unwrap()
    }
}

/// Runs a command, which ends with this code.
fn run(mut command: Command, code: i32) -> Output {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{command:?}\n{said}\n{errors}");
    output
}

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn s2_6_a_device_takes_the_makers_next_build_from_the_cloud_step_by_step() {
    let bench = Bench::new();
    let idle = bench.update(&[], 0);
    assert_eq!((&idle["state"], &idle["reason"]), (&json!("idle"), &json!("up_to_date")));
    assert_eq!(bench.update(&["--download"], 1)["error"], "nothing_offered");
    assert_eq!(bench.update(&["--apply"], 1)["error"], "nothing_downloaded");
    assert_eq!(bench.update(&["--restart"], 1)["error"], "nothing_applied");

    let (zip, build) = bench.next_build("2");
    let release = bench.publish(&zip, &build);
    let offered = bench.update(&["--check"], 0);
    assert_eq!(offered["state"], "available", "{offered}");
    assert_eq!(offered["update"]["build"], build["fingerprint"]);
    let size = fs::metadata(&zip).unwrap().len();
    let downloaded = bench.update(&["--download"], 0);
    assert_eq!((&downloaded["state"], &downloaded["bytes"]), (&json!("downloaded"), &json!(size)));
    assert_eq!(bench.update(&["--apply"], 0)["state"], "ready_to_restart");
    assert_eq!(bench.update(&["--no-restart"], 0)["state"], "ready_to_restart");
    let updated = bench.update(&[], 0);
    assert_eq!(
        (&updated["state"], &updated["running"]["build"]),
        (&json!("installed"), &build["fingerprint"])
    );

    let again = bench.update(&[], 0);
    assert_eq!((&again["state"], &again["reason"]), (&json!("idle"), &json!("up_to_date")));
    let status = bench.says(&["device", "status", "--json"]);
    assert_eq!(status["board"]["slot"], "b", "{status}");
    for _ in 0..400 {
        if bench.release(&release)["counts"]["booted"] == 1 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(25));
    }
    let counts = bench.release(&release)["counts"].clone();
    assert_eq!(
        (&counts["downloaded"], &counts["applied"], &counts["booted"], &counts["failed"]),
        (&json!(1), &json!(1), &json!(1), &json!(0))
    );

    // A file that somebody copied over: cut short, changed, and as it should be.
    let (zip, build) = bench.next_build("3");
    let bytes = fs::read(&zip).unwrap();
    let bad = path(&bench.state, "bad.zip");
    let mut flipped = bytes.clone();
    flipped[bytes.len() / 2] ^= 1;
    for bytes in [&bytes[..bytes.len() - 1], &bytes[..99], &flipped] {
        fs::write(&bad, bytes).unwrap();
        let refused = bench.update(&["--file", bad.to_str().unwrap()], 1);
        assert!(refused["reason"].as_str().unwrap().len() > 10, "{refused}");
    }
    let folder = path(&bench.state, "device/data/update");
    let left = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    assert!(left.into_iter().all(|path| path.extension().is_some_and(|it| it == "json")));
    let nothing = bench.command(&["device", "update", "--file", "/nowhere.zip"]);
    run(nothing, 2);
    run(bench.command(&["device", "update", "--check", "--apply"]), 2);
    let updated = bench.update(&["--file", zip.to_str().unwrap()], 0);
    assert_eq!(
        (&updated["state"], &updated["running"]["build"]),
        (&json!("installed"), &build["fingerprint"])
    );
    assert_eq!(bench.up.end(libc::SIGTERM), Some(0));

    // The story goes on with a device that its owner has updated.
    let told = tell(bench.state.path(), &[]);
    assert_eq!(told.code, Some(0), "{told}");
    let updated = &told.held("update.restart")["evidence"];
    assert_ne!(updated["build"], build["fingerprint"], "{updated}");
}
