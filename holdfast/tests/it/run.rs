//! Runs `holdfast` and reads what it says.

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

/// The program under test. The others lie beside it (`cargo build --workspace --bins`).
pub(crate) fn holdfast() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
    command.env_remove("HOLDFAST_STATE").env_remove("HOLDFAST_SOCKET");
    command
}

/// `holdfast up --json` on free ports.
pub(crate) fn up(state: &Path, more: &[&str]) -> Command {
    let mut command = holdfast();
    command.args(["up", "--json", "--listen", "127.0.0.1:0", "--state"]).arg(state).args(more);
    command
}

/// A run of the story that has ended.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) code: Option<i32>,
    pub(crate) lines: Vec<Value>,
    pub(crate) stderr: String,
}

impl Told {
    pub(crate) fn from(output: &Output) -> Self {
        let stdout = String::from_utf8_lossy(&output.stdout);
        let lines = stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line:?}")))
            .collect();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        Self { code: output.status.code(), lines, stderr }
    }

    /// All steps of this name.
    pub(crate) fn steps(&self, name: &str) -> Vec<&Value> {
        self.lines.iter().filter(|line| line["step"] == *name).collect()
    }

    /// The one step of this name, which held.
    pub(crate) fn held(&self, name: &str) -> &Value {
        let steps = self.steps(name);
        let step = steps.last().unwrap_or_else(|| panic!("no step {name} in:\n{self}"));
        assert_eq!(step["ok"], true, "{name}: {step}\n{self}");
        step
    }

    /// Steps that did not hold.
    pub(crate) fn failed(&self) -> Vec<&Value> {
        self.lines.iter().filter(|line| line["ok"] == false).collect()
    }
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for line in &self.lines {
            writeln!(f, "{line}")?;
        }
        write!(f, "{}", self.stderr)
    }
}

/// Runs the story to its end.
pub(crate) fn tell(state: &Path, more: &[&str]) -> Told {
    let arguments: Vec<&str> = ["--once"].iter().chain(more).copied().collect();
    Told::from(&up(state, &arguments).output().expect("holdfast runs"))
}

/// Somebody who may nothing: the user `nobody`, with a copy of the programs.
pub(crate) struct Unprivileged {
    programs: tempfile::TempDir,
}

const NOBODY: u32 = 65534;

impl Unprivileged {
    /// `None` where this process may not become somebody else.
    pub(crate) fn new() -> Option<Self> {
        use std::os::unix::fs::PermissionsExt;
        // SAFETY: asks only.
        if unsafe { libc::geteuid() } != 0 {
            return None;
        }
        let programs = state();
        let everyone = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(programs.path(), everyone).expect("its own folder");
        let built = Path::new(env!("CARGO_BIN_EXE_holdfast")).parent().expect("a folder");
        for program in PROGRAMS {
            let (from, to) = (built.join(program), programs.path().join(program));
            std::fs::hard_link(&from, &to)
                .or_else(|_| std::fs::copy(&from, &to).map(drop))
                .unwrap_or_else(|error| panic!("{}: {error}", from.display()));
        }
        Some(Self { programs })
    }

    /// Gives a folder, and everything in it, to that user.
    pub(crate) fn own(&self, folder: &Path) {
        std::os::unix::fs::lchown(folder, Some(NOBODY), Some(NOBODY)).expect("root may");
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            self.own(&entry.path());
        }
    }

    /// Runs the story to its end, as that user.
    pub(crate) fn tell(&self, state: &Path) -> Told {
        self.tell_more(state, &[])
    }

    /// The same, with more arguments.
    pub(crate) fn tell_more(&self, state: &Path, more: &[&str]) -> Told {
        use std::os::unix::process::CommandExt;
        let output = Command::new(self.programs.path().join("holdfast"))
            .args(["up", "--once", "--json", "--listen", "127.0.0.1:0", "--state"])
            .arg(state)
            .args(more)
            .env_clear()
            .current_dir("/")
            .uid(NOBODY)
            .gid(NOBODY)
            .output()
            .expect("holdfast runs");
        Told::from(&output)
    }
}

/// What `cargo build --workspace --bins` builds for a run.
const PROGRAMS: [&str; 14] = [
    "holdfast",
    "holdfast-keycenter",
    "holdfast-cloud",
    "holdfast-board",
    "holdfast-probe",
    "bl1",
    "bl2",
    "init",
    "tee-os",
    "ta-keymint",
    "ta-gatekeeper",
    "recovery",
    "baseband",
    "system",
];

/// A story that stays up. Ends with the test.
pub(crate) struct Up {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Up {
    pub(crate) fn start(state: &Path, more: &[&str]) -> Self {
        let mut child = up(state, more)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("holdfast runs");
        let stdout = child.stdout.take().expect("piped");
        Self { child, lines: BufReader::new(stdout).lines() }
    }

    /// The next line; `None` at the end.
    pub(crate) fn next(&mut self) -> Option<Value> {
        let line = self.lines.next()?.expect("a line");
        Some(serde_json::from_str(&line).unwrap_or_else(|_| panic!("no JSON: {line:?}")))
    }

    /// Reads on until the story is ready; a step that fails is a panic.
    pub(crate) fn ready(&mut self) -> Value {
        while let Some(line) = self.next() {
            assert_ne!(line["ok"], false, "{line}");
            if let Some(ready) = line.get("ready") {
                return ready.clone();
            }
        }
        panic!("the story ended before it was ready");
    }

    /// Waits until it ended by itself.
    pub(crate) fn ended(mut self) -> Option<i32> {
        self.child.wait().expect("it can be waited for").code()
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a process id")
    }

    /// Sends a signal and waits for the end.
    pub(crate) fn end(mut self, signal: i32) -> Option<i32> {
        // SAFETY: a signal to a child that was not waited for.
        unsafe { libc::kill(self.pid(), signal) };
        self.child.wait().expect("it can be waited for").code()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // SAFETY: a signal to a child that was not waited for.
        unsafe { libc::kill(self.pid(), libc::SIGTERM) };
        let _ = self.child.wait();
    }
}

/// A folder for one test's state, short enough for Unix sockets below it.
pub(crate) fn state() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("hf").tempdir_in("/tmp").expect("a temporary folder")
}

/// Where the state's parts are.
pub(crate) fn path(state: &tempfile::TempDir, relative: &str) -> PathBuf {
    state.path().join(relative)
}

/// Process ids whose command line or environment names this state folder.
pub(crate) fn processes_of(state: &Path) -> Vec<i32> {
    let name = state.to_string_lossy().into_owned();
    let own = std::process::id();
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_string_lossy().parse::<u32>().ok())
        .filter(|pid| *pid != own)
        .filter(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(&name)
        })
        .filter_map(|pid| i32::try_from(pid).ok())
        .collect()
}

/// Runs a shell command, which must succeed, and gives what it printed.
pub(crate) fn sh(line: &str) -> String {
    let output = Command::new("sh").arg("-ec").arg(line).output().expect("sh runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}\n{said}\n{errors}");
    said
}
