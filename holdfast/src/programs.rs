//! The programs that `holdfast` starts: where they are, when they are ready, how they end.

use crate::exit::Lacking;
use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// How long a program may take until it says that it is ready.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long a program may take to end after it was asked to.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// The program `name`, which lies beside this one.
pub(crate) fn beside(name: &str) -> Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    if path.is_file() {
        Ok(path)
    } else {
        Err(Lacking(format!(
            "{} is missing. It is built with the others: `cargo build --workspace --bins`.",
            path.display()
        ))
        .into())
    }
}

/// A program that runs until it is told to end. Dropping it asks it to end, waits, and kills it
/// if it must.
#[derive(Debug)]
pub(crate) struct Program {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts `command`, whose standard error goes to the end of `log`, and waits for the one
    /// JSON line on its standard output that says where it listens.
    pub(crate) async fn start<Ready: DeserializeOwned>(
        name: &str,
        mut command: Command,
        log: PathBuf,
    ) -> Result<(Self, Ready)> {
        let log_file = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("{} can't be written", log.display()))?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log_file)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{name} did not start"))?;
        let stdout = child.stdout.take().context("a piped standard output is there")?;
        let mut program = Self { name: name.to_owned(), child, log };
        let mut lines = BufReader::new(stdout).lines();
        let line = tokio::time::timeout(READY_WITHIN, lines.next_line()).await;
        // Whatever else it prints is read, so that it never waits for a reader.
        let first = match line {
            Ok(Ok(Some(line))) => line,
            Ok(_) => return Err(program.ended_early().await),
            Err(_) => bail!("{name} was not ready after {} s", READY_WITHIN.as_secs()),
        };
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let ready = serde_json::from_str(&first)
            .with_context(|| format!("{name} said {first:?} where its addresses were due"))?;
        Ok((program, ready))
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits until it ends, which it should not.
    pub(crate) async fn ended(&mut self) -> anyhow::Error {
        match self.child.wait().await {
            Ok(status) => anyhow::anyhow!(
                "{} ended ({status}); its last words are in {}",
                self.name,
                self.log.display()
            ),
            Err(error) => anyhow::anyhow!("{}: {error}", self.name),
        }
    }

    /// Asks it to end and waits; after [`STOP_WITHIN`] it is killed.
    pub(crate) async fn stop(mut self) -> Result<()> {
        self.ask_to_end();
        if tokio::time::timeout(STOP_WITHIN, self.child.wait()).await.is_err() {
            self.child.kill().await?;
            bail!("{} did not end within {} s and was killed", self.name, STOP_WITHIN.as_secs());
        }
        Ok(())
    }

    fn ask_to_end(&self) {
        // A child that was waited for has no id any more.
        if let Some(pid) = self.pid().and_then(|pid| i32::try_from(pid).ok()) {
            // SAFETY: kill has no memory effects; the child was not reaped yet.
            unsafe { libc::kill(pid, libc::SIGTERM) };
        }
    }

    async fn ended_early(&mut self) -> anyhow::Error {
        let status = self.child.wait().await;
        let words = last_words(&self.log);
        let code = status.as_ref().ok().and_then(std::process::ExitStatus::code);
        let message = format!("{} did not start: {words}", self.name);
        if code == Some(3) { Lacking(message).into() } else { anyhow::anyhow!(message) }
    }
}

impl Drop for Program {
    /// Where the story was broken off, by Ctrl-C say, nobody waits but this.
    fn drop(&mut self) {
        self.ask_to_end();
        let start = Instant::now();
        while self.pid().is_some() && start.elapsed() < STOP_WITHIN / 2 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// The last lines of a log, for an error message.
fn last_words(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let mut lines: Vec<&str> = text.lines().rev().filter(|line| !line.is_empty()).take(3).collect();
    lines.reverse();
    if lines.is_empty() { "it said nothing".to_owned() } else { lines.join("; ") }
}

/// Becomes the program `name`: the process, its signals and its exit code are that program's.
pub(crate) fn become_program(name: &str, args: &[std::ffi::OsString]) -> Result<()> {
    use std::os::unix::process::CommandExt;
    let program = beside(name)?;
    let error = std::process::Command::new(&program).args(args).exec();
    Err(Lacking(format!("{} did not start: {error}", program.display())).into())
}
