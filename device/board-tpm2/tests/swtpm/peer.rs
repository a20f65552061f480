//! Debian's swtpm and tpm2-tools, unchanged.

use board_tpm2::Address;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A TPM of its own for one test; gone with it.
pub(crate) struct Swtpm {
    folder: TempDir,
    process: Child,
}

/// A fresh TPM; nothing where swtpm or tpm2-tools are not installed, said in one line.
pub(crate) fn fresh() -> Option<Swtpm> {
    let missing = ["swtpm", "tpm2_pcrread"].into_iter().find(|program| {
        Command::new(program).arg("--version").stdout(Stdio::null()).status().is_err()
    });
    if let Some(program) = missing {
        assert!(std::env::var_os("CI").is_none(), "{program} is missing");
        eprintln!("{program} is missing (packages swtpm, tpm2-tools): this test did not run");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let process = start(folder.path());
    Some(Swtpm { folder, process })
}

fn start(folder: &Path) -> Child {
    let at = |name: &str| folder.join(name).display().to_string();
    let process = Command::new("swtpm")
        .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"])
        .args(["--tpmstate", &format!("dir={}", folder.display())])
        .args(["--server", &format!("type=unixio,path={}", at("sock"))])
        .args(["--ctrl", &format!("type=unixio,path={}", at("sock.ctrl"))])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let started = Instant::now();
    while std::os::unix::net::UnixStream::connect(at("sock.ctrl")).is_err() {
        assert!(started.elapsed() < Duration::from_secs(20), "swtpm does not come up");
        std::thread::yield_now();
    }
    process
}

impl Swtpm {
    pub(crate) fn address(&self) -> Address {
        Address::Unix(self.folder.path().join("sock"))
    }

    /// Runs one of tpm2-tools; gives what it said. It must succeed.
    pub(crate) fn tool(&self, program: &str, arguments: &[&str]) -> String {
        let output = Command::new(program)
            .args(arguments)
            .env("TPM2TOOLS_TCTI", format!("swtpm:path={}/sock", self.folder.path().display()))
            .current_dir(self.folder.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let failed = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {arguments:?}: {failed}");
        said
    }

    /// The machine restarts: the TPM's power goes and comes.
    pub(crate) fn restart(&mut self) {
        self.stop();
        for socket in ["sock", "sock.ctrl"] {
            let _ = std::fs::remove_file(self.folder.path().join(socket));
        }
        self.process = start(self.folder.path());
    }

    /// The TPM goes away.
    pub(crate) fn stop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Swtpm {
    fn drop(&mut self) {
        self.stop();
    }
}
