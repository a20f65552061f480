//! `holdfast vault unlock`: a process of its own serves the vault.

use super::args::Password;
use super::password::Secret;
use super::{Opened, opened};
use crate::exit::{Exit, Lacking};
use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use vault_fuse::VaultError;

/// What the process that serves says, once, on its standard output.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Said {
    Ready { pid: u32 },
    Failed { why: String, lacking: bool },
}

/// Serves in this process.
pub(super) fn foreground(folder: &Path, mount: &Path, password: &Password) -> Result<Exit> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    let signals = Signals::block();
    let served = opened(folder, password).and_then(|Opened { master, .. }| {
        let ready = || {
            unmount_at_signal(signals, folder.to_owned());
            say(&Said::Ready { pid: std::process::id() });
        };
        Ok(vault_fuse::serve(folder, &master, mount, ready)?)
    });
    match served {
        Ok(()) => Ok(Exit::Held),
        Err(error) => {
            let lacking = is_lacking(&error);
            say(&Said::Failed { why: format!("{error:#}"), lacking });
            if lacking { Err(Lacking(format!("{error:#}")).into()) } else { Err(error) }
        }
    }
}

/// Starts this program once more, to serve, and waits until it does.
pub(super) fn background(folder: &Path, mount: &Path, password: &Secret) -> Result<u32> {
    let path = folder.join("log");
    let log = File::options().create(true).append(true).mode(0o600).open(&path);
    let log = log.with_context(|| path.display().to_string())?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["vault", "unlock", "--foreground", "--password-fd", "0", "--mount"])
        .arg(mount)
        .arg("--")
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log)
        // A signal to whoever typed this is not for the vault.
        .process_group(0);
    let mut child = command.spawn().context("holdfast did not start")?;
    if let Some(mut stdin) = child.stdin.take() {
        // Where it ended early, its words say why.
        let _ = stdin.write_all(password);
    }
    let stdout = child.stdout.take().context("a piped standard output is there")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    match serde_json::from_str(&line) {
        Ok(Said::Ready { pid }) => Ok(pid),
        Ok(Said::Failed { why, lacking: true }) => Err(Lacking(why).into()),
        Ok(Said::Failed { why, .. }) => Err(anyhow::Error::msg(why)),
        Err(_) => {
            anyhow::bail!("the vault's process ended; its last words are in {}", path.display())
        }
    }
}

fn say(said: &Said) {
    let line = serde_json::to_string(said).expect("numbers and text become JSON");
    let mut out = std::io::stdout();
    // Nobody need listen.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Whether an error is the machine's: no FUSE, no helper, no device.
fn is_lacking(error: &anyhow::Error) -> bool {
    error.is::<Lacking>()
        || matches!(error.downcast_ref(), Some(VaultError::Mount { .. } | VaultError::NeedsDevice))
}

/// The signals that lock the vault, held back from all threads.
struct Signals(libc::sigset_t);

impl Signals {
    /// Called before there are further threads, which inherit it.
    fn block() -> Self {
        // SAFETY: a signal set is bits only; the calls fill and read it while it lives.
        unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
                libc::sigaddset(&raw mut set, signal);
            }
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
            Self(set)
        }
    }

    fn wait(&self) {
        let mut signal = 0;
        // SAFETY: the set was filled, and the number is written while it lives.
        unsafe { libc::sigwait(&raw const self.0, &raw mut signal) };
    }
}

/// At a signal the vault is unmounted, which ends its service; while it is in use it goes on.
fn unmount_at_signal(signals: Signals, folder: PathBuf) {
    std::thread::spawn(move || {
        loop {
            signals.wait();
            match vault_fuse::unmount(&folder) {
                Ok(true) => {}
                // Detached while it was in use: the keys go with this process.
                Ok(false) => std::process::exit(0),
                Err(error) => {
                    tracing::warn!("a signal came, and the vault stays unlocked: {error}");
                }
            }
        }
    });
}
