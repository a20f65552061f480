//! The two real processes, in a temporary folder, on free ports.

use http_link::{Client, Connector};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

pub(crate) struct Process {
    child: Child,
    pub(crate) url: String,
    pub(crate) ca: PathBuf,
}

impl Process {
    fn start(program: &Path, arguments: &[&str], log: &Path) -> Self {
        let mut child = Command::new(program)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(std::fs::File::options().append(true).create(true).open(log).unwrap())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|_| {
            panic!("{} said {line:?}; {}", program.display(), std::fs::read_to_string(log).unwrap())
        });
        let text = |key: &str| said[key].as_str().unwrap().to_owned();
        Self { child, url: text("url"), ca: text("ca").into() }
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&self.url, &std::fs::read(&self.ca).unwrap(), Connector::Tcp).unwrap()
    }

    /// Asks it to end (SIGTERM), and waits.
    pub(crate) fn stop(&mut self) -> std::process::ExitStatus {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap()
    }

    /// Kills it in the middle of whatever it does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) struct Clouds {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) key_center: Process,
    pub(crate) cloud: Process,
}

impl Clouds {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("keycenter");
        let arguments = ["serve", "--listen", "127.0.0.1:0", "--state", state.to_str().unwrap()];
        let log = folder.path().join("keycenter.log");
        let key_center = Process::start(&key_center_program(), &arguments, &log);
        let cloud = cloud(folder.path(), &key_center);
        Self { folder, key_center, cloud }
    }

    pub(crate) fn restart_cloud(&mut self) {
        self.cloud = cloud(self.folder.path(), &self.key_center);
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join("cloud")
    }

    /// A credential that the cloud made on its first start.
    pub(crate) fn credential(&self, file: &str) -> String {
        let json = std::fs::read(self.state().join(file)).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&json).unwrap();
        value["credential"].as_str().unwrap().to_owned()
    }
}

fn cloud(folder: &Path, key_center: &Process) -> Process {
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let arguments = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--state",
        &path("cloud"),
        "--keycenter",
        &key_center.url,
        "--keycenter-ca",
        key_center.ca.to_str().unwrap(),
        "--keycenter-credential",
        &path("keycenter/bootstrap/cloud.json"),
    ];
    let program = Path::new(env!("CARGO_BIN_EXE_holdfast-cloud"));
    Process::start(program, &arguments, &folder.join("cloud.log"))
}

/// Beside the cloud's program; built now where it is not there yet.
fn key_center_program() -> PathBuf {
    let program =
        Path::new(env!("CARGO_BIN_EXE_holdfast-cloud")).with_file_name("holdfast-keycenter");
    if !program.exists() {
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--package", "cloud-keycenter"])
            .status()
            .unwrap();
        assert!(built.success(), "cargo build -p cloud-keycenter");
    }
    program
}
