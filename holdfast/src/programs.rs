//! The programs that `holdfast` starts: where they are, when they are ready, how they end.

use crate::exit::Lacking;
use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};
use tokio::io::unix::AsyncFd;
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
    /// How long the log was before.
    log_began: u64,
    /// Its end is no surprise.
    asked: Arc<AtomicBool>,
}

/// The first program that ended though nobody asked it to.
static BROKEN: LazyLock<tokio::sync::watch::Sender<Option<String>>> =
    LazyLock::new(|| tokio::sync::watch::Sender::new(None));

/// Waits until a program ends that nobody asked to, and says which.
pub(crate) async fn broken() -> anyhow::Error {
    let mut broken = BROKEN.subscribe();
    match broken.wait_for(Option::is_some).await.map(|what| what.clone()) {
        Ok(Some(what)) => anyhow::Error::msg(what),
        _ => std::future::pending().await,
    }
}

/// Tells [`broken`] when `child` ends unasked.
fn watch(name: &str, child: &Child, log: &Path, asked: &Arc<AtomicBool>) -> Result<()> {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
    let pid = pid.and_then(rustix::process::Pid::from_raw).context("a new child has an id")?;
    let flags = rustix::process::PidfdFlags::NONBLOCK;
    let ended = rustix::process::pidfd_open(pid, flags)?;
    // SAFETY: the descriptor is owned by the `AsyncFd` from here on, and closed with it.
    let ended = unsafe { AsyncFd::register(ended) }?;
    let (name, log, asked) = (name.to_owned(), log.to_owned(), Arc::clone(asked));
    tokio::spawn(async move {
        if ended.readable().await.is_ok() && !asked.load(Ordering::Relaxed) {
            let log = log.display();
            BROKEN.send_if_modified(|broken| {
                let first = broken.is_none();
                broken.get_or_insert_with(|| {
                    format!(
                        "{name} ended in the middle, by a crash or because somebody killed it; \
                         its last words are in {log}. The next `up` goes on from here"
                    )
                });
                first
            });
        }
    });
    Ok(())
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
        let log_began = log_file.metadata().map_or(0, |it| it.len());
        // SAFETY: the closure makes one system call, which is safe between fork and exec.
        unsafe {
            // A program whose `holdfast` was killed would hold its ports and its folder for ever.
            command.pre_exec(|| {
                let signal = Some(rustix::process::Signal::KILL);
                Ok(rustix::process::set_parent_process_death_signal(signal)?)
            });
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log_file)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{name} did not start"))?;
        let stdout = child.stdout.take().context("a piped standard output is there")?;
        let asked = Arc::new(AtomicBool::new(false));
        watch(name, &child, &log, &asked)?;
        let mut program = Self { name: name.to_owned(), child, log, log_began, asked };
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
        self.asked.store(true, Ordering::Relaxed);
        // A child that was waited for has no id any more.
        if let Some(pid) = self.pid().and_then(|pid| i32::try_from(pid).ok()) {
            // SAFETY: kill has no memory effects; the child was not reaped yet.
            unsafe { libc::kill(pid, libc::SIGTERM) };
        }
    }

    async fn ended_early(&mut self) -> anyhow::Error {
        self.asked.store(true, Ordering::Relaxed);
        let status = self.child.wait().await;
        let words = last_words(&self.log, self.log_began);
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

/// The last lines of a log after the first `began` bytes, for an error message.
fn last_words(log: &Path, began: u64) -> String {
    let bytes = std::fs::read(log).unwrap_or_default();
    let began = usize::try_from(began).unwrap_or(0);
    let text = String::from_utf8_lossy(bytes.get(began..).unwrap_or_default());
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
