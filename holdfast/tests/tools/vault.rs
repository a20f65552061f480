//! `holdfast vault`: as a person uses it, as programs use what it mounts, with files that somebody
//! altered, and with a service that is killed at any moment.

mod altered;
mod killed;
mod posix;

use crate::document::{Reader, blocks};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

const PASSWORD: &str = "correct horse";

/// Whether this machine mounts; says in one line why not.
fn mounts() -> bool {
    let root = rustix::process::geteuid().is_root();
    if fs::File::open("/dev/fuse").is_err() {
        assert!(std::env::var_os("CI").is_none(), "/dev/fuse does not open");
        eprintln!("skipped: /dev/fuse does not open");
        return false;
    }
    root || crate::data::program("fusermount3", "fuse3").is_some()
}

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
    command.arg("vault").env("HOLDFAST_PASSWORD", PASSWORD).stdin(Stdio::null());
    command
}

/// A vault and a folder to mount it at.
struct Vault {
    folder: TempDir,
}

impl Vault {
    fn new() -> Self {
        let vault = Self { folder: tempfile::tempdir().unwrap() };
        vault.says(&["create", "--argon2-memory", "1", "--argon2-passes", "1"]);
        fs::create_dir(vault.mount()).unwrap();
        vault
    }

    /// A new vault that is mounted; `None` where this machine does not mount.
    fn mounted() -> Option<Self> {
        mounts().then(|| {
            let vault = Self::new();
            vault.unlock();
            vault
        })
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("vault")
    }

    fn mount(&self) -> PathBuf {
        self.folder.path().join("files")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.mount().join(name)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let [first, rest @ ..] = arguments else { panic!("a command is due") };
        command().arg(first).arg(self.path()).args(rest).output().unwrap()
    }

    /// Runs a command that ends well, and gives what it said in JSON.
    fn says(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--json"]].concat());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn unlock(&self) -> Value {
        self.says(&["unlock", "--mount", self.mount().to_str().unwrap()])
    }

    fn lock(&self) {
        assert_eq!(self.says(&["lock"])["locked"], true);
    }

    /// Kills the service and takes the dead mount away.
    fn kill(&self) {
        let pid = self.says(&["status"])["pid"].as_i64().unwrap();
        let pid = rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        let mount = self.mount();
        let _ = rustix::mount::unmount(&mount, rustix::mount::UnmountFlags::DETACH)
            .map_err(|_| Command::new("fusermount3").arg("-uz").arg(&mount).status());
        // Its lock is gone when it is.
        while self.says(&["status"])["unlocked"] == true {}
    }

    /// The backing files with content, and how long they are.
    fn backing(&self) -> Vec<(PathBuf, u64)> {
        let mut open = vec![self.path().join("tree")];
        let mut found = Vec::new();
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(folder).unwrap().flatten() {
                let (path, about) = (entry.path(), entry.metadata().unwrap());
                let own = entry.file_name().to_string_lossy().starts_with('.');
                if about.is_dir() {
                    open.push(path);
                } else if about.is_file() && !own {
                    found.push((path, about.len()));
                }
            }
        }
        found.sort();
        found
    }
}

impl Drop for Vault {
    fn drop(&mut self) {
        let _ = self.run(&["lock", "--force"]);
    }
}

#[test]
fn a_vault_keeps_files_between_unlocks_and_shows_nothing_of_them() {
    let Some(vault) = Vault::mounted() else { return };
    fs::create_dir(vault.file("folder of mine")).unwrap();
    let secret = "a secret text ".repeat(1000);
    fs::write(vault.file("folder of mine/diary"), &secret).unwrap();
    let status = vault.says(&["status"]);
    assert_eq!((&status["backend"], &status["unlocked"]), (&"fuse".into(), &true.into()));
    vault.lock();
    assert_eq!(fs::read_dir(vault.mount()).unwrap().count(), 0);
    for (path, _) in vault.backing() {
        let raw = fs::read(&path).unwrap();
        assert!(!raw.windows(14).any(|window| window == b"a secret text "));
        assert!(!path.to_string_lossy().contains("diary"));
    }
    vault.unlock();
    assert_eq!(fs::read_to_string(vault.file("folder of mine/diary")).unwrap(), secret);
    vault.lock();
    let checked = vault.says(&["check"]);
    assert_eq!((&checked["files"], &checked["directories"]), (&1.into(), &2.into()));
}

#[test]
fn refusals_say_what_is_wrong_and_exit_codes_whose_fault_it_is() {
    let vault = Vault::new();
    let refused = |arguments: &[&str], code: i32, said: &str| {
        let output = vault.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
        assert!(errors.contains(said), "{arguments:?}: {errors}");
    };
    refused(&["create"], 2, "not empty");
    let absent = vault.folder.path().join("absent");
    refused(&["unlock", "--mount", absent.to_str().unwrap()], 1, "No such file");
    let inside = vault.path().join("tree");
    refused(&["unlock", "--mount", inside.to_str().unwrap()], 3, "own folder");
    let mut wrong = command();
    wrong.arg("check").arg(vault.path()).env("HOLDFAST_PASSWORD", "wrong");
    let wrong = wrong.output().unwrap();
    assert_eq!(wrong.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("password is wrong"));
    let elsewhere = command().arg("status").arg(vault.mount()).output().unwrap();
    assert_eq!(elsewhere.status.code(), Some(2));
    fs::write(vault.path().join("vault.json"), "{}").unwrap();
    refused(&["status"], 1, "malformed");
}

#[test]
fn a_new_password_opens_the_same_files_and_the_old_one_nothing() {
    let vault = Vault::new();
    let new = vault.folder.path().join("new");
    fs::write(&new, "battery staple\n").unwrap();
    let mut changed = command();
    changed.args(["passwd", "--new-password-fd", "0"]).arg(vault.path());
    changed.stdin(fs::File::open(&new).unwrap());
    assert!(changed.status().unwrap().success());
    assert_eq!(vault.run(&["check"]).status.code(), Some(1));
    let mut check = command();
    check.arg("check").arg(vault.path()).env("HOLDFAST_PASSWORD", "battery staple");
    assert!(check.status().unwrap().success());
}

#[test]
fn a_vault_in_use_stays_unlocked_and_names_who_uses_it_until_it_is_forced() {
    let Some(vault) = Vault::mounted() else { return };
    let path = vault.file("open");
    fs::write(&path, "text").unwrap();
    let file = fs::File::open(&path).unwrap();
    let busy = vault.run(&["lock", "--json"]);
    assert_eq!(busy.status.code(), Some(1));
    let said: Value = serde_json::from_slice(&busy.stdout).unwrap();
    assert_eq!(said["locked"], false);
    let users = said["users"].as_array().unwrap();
    assert!(users.iter().any(|user| user["pid"] == std::process::id()), "{users:?}");
    let again = vault.run(&["unlock", "--mount", vault.mount().to_str().unwrap()]);
    assert!(String::from_utf8_lossy(&again.stderr).contains("unlocked already"));
    let check = vault.run(&["check"]);
    assert!(String::from_utf8_lossy(&check.stderr).contains("unlocked already"));
    assert_eq!(vault.says(&["lock", "--force"])["locked"], true);
    use std::os::unix::fs::FileExt as _;
    // What was read before may still be in the kernel's memory; what is asked for is gone.
    assert!(file.metadata().is_err() || file.read_at(&mut [0; 4], 1 << 20).is_err());
    assert_eq!(vault.says(&["status"])["unlocked"], false);
}

#[test]
fn a_signal_ends_the_service_and_leaves_the_vault_locked() {
    let Some(vault) = Vault::mounted() else { return };
    fs::write(vault.file("a"), "text").unwrap();
    let pid = vault.says(&["status"])["pid"].as_i64().unwrap();
    let pid = rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    while vault.says(&["status"])["unlocked"] == true {}
    assert_eq!(vault.says(&["check"])["files"], 1);
}

#[test]
fn the_page_does_what_it_says() {
    if !mounts() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let mut reader = Reader::at(home.path());
    for block in blocks("docs/vault.md") {
        reader.types(&block.text);
    }
}

/// The content of a file; where it is damaged, the error.
fn read(path: &Path) -> Result<Vec<u8>, rustix::io::Errno> {
    fs::read(path).map_err(|error| rustix::io::Errno::from_io_error(&error).unwrap())
}
