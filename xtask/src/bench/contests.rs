//! What is measured.

use super::contest::{Contest, Contestant, OURS, Turn};
use super::folder;
use crate::shell::{has, root, run, target_dir};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::Instant;

const ROUNDS: usize = 3;

/// Every contest. One run of the story serves all of ours in a round.
pub(crate) fn all() -> Result<Vec<Contest>> {
    let folder = folder::mixed()?;
    let story = Rc::new(RefCell::new(Story::new(folder.clone())));
    let mib = folder::bytes(&folder)? as f64 / f64::from(1 << 20);
    let mut contests = vec![
        rate(
            "vault import against cp and gocryptfs",
            "vault.import",
            &story,
            mib,
            copy_peers(&folder),
        ),
        rate(
            "sync upload against rclone to a crypt remote",
            "sync.upload",
            &story,
            mib,
            rclone_up(&folder),
        ),
        rate(
            "restore against rclone from a crypt remote",
            "restore",
            &story,
            mib,
            rclone_down(&folder),
        ),
    ];
    for stage in ["bl1", "tee", "bl2", "baseband", "kernel", "system"] {
        contests.push(boot_stage(stage, &story));
    }
    Ok(contests)
}

/// Runs of the whole story, kept so that contests of one round share one.
struct Story {
    folder: PathBuf,
    runs: Vec<Vec<Value>>,
}

impl Story {
    const fn new(folder: PathBuf) -> Self {
        Self { folder, runs: Vec::new() }
    }

    /// The steps of run `number`.
    fn run(&mut self, number: usize) -> Result<&[Value]> {
        while self.runs.len() <= number {
            let state = scratch("story")?;
            let output = Command::new(target_dir()?.join("debug/holdfast"))
                .args(["up", "--once", "--json", "--fresh", "--listen", "127.0.0.1:0", "--folder"])
                .arg(&self.folder)
                .arg("--state")
                .arg(&state)
                .stderr(Stdio::null())
                .output()?;
            let text = String::from_utf8(output.stdout)?;
            ensure!(output.status.success(), "the story failed:\n{text}");
            let steps = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
            self.runs.push(steps);
            fs::remove_dir_all(state)?;
        }
        Ok(&self.runs[number])
    }
}

/// Takes milliseconds of the step `name` from one run after the other.
fn ours(
    story: &Rc<RefCell<Story>>,
    name: &str,
    value: impl Fn(f64) -> f64 + 'static,
) -> Contestant {
    let story = story.clone();
    let name = name.to_owned();
    let mut number = 0;
    let turn = move || {
        let mut story = story.borrow_mut();
        let steps = story.run(number)?;
        number += 1;
        let step = steps.iter().find(|step| step["step"] == *name);
        let step = step.with_context(|| format!("the story has no step {name}"))?;
        let evidence = step["evidence"]["ms"].as_f64();
        let ms = evidence.or_else(|| step["ms"].as_f64()).context("a step has milliseconds")?;
        Ok(Turn { value: value(ms), cpu_s: None })
    };
    Contestant { name: OURS.to_owned(), turn: Box::new(turn) }
}

fn rate(
    name: &str,
    step: &str,
    story: &Rc<RefCell<Story>>,
    mib: f64,
    peers: Vec<Contestant>,
) -> Contest {
    let mut contestants = vec![ours(story, step, move |ms| mib / ms * 1000.0)];
    contestants.extend(peers);
    Contest {
        name: name.to_owned(),
        unit: "MiB/s",
        more_is_better: true,
        rounds: ROUNDS,
        contestants,
    }
}

fn boot_stage(stage: &str, story: &Rc<RefCell<Story>>) -> Contest {
    Contest {
        name: format!("power-on: {stage}"),
        unit: "ms",
        more_is_better: false,
        rounds: ROUNDS,
        contestants: vec![ours(story, &format!("boot.{stage}"), |ms| ms)],
    }
}

fn copy_peers(folder: &Path) -> Vec<Contestant> {
    let mut peers = vec![timed("cp -r", folder, |folder, to| {
        run(Command::new("cp").arg("-r").arg(folder).arg(to.join("copy")))
    })];
    if has("gocryptfs") && has("fusermount") {
        peers.push(timed("gocryptfs", folder, gocryptfs));
    }
    peers
}

/// Copies into a fresh gocryptfs mount.
fn gocryptfs(folder: &Path, to: &Path) -> Result<()> {
    let (cipher, plain) = (to.join("cipher"), to.join("plain"));
    fs::create_dir_all(&cipher)?;
    fs::create_dir_all(&plain)?;
    let password = to.join("password");
    fs::write(&password, "benchmark")?;
    let command = |args: &[&str]| {
        let mut command = Command::new("gocryptfs");
        command.args(["-q", "-passfile"]).arg(&password).args(args);
        command
    };
    run(command(&["-init", "-scryptn=10"]).arg(&cipher))?;
    run(command(&[]).arg(&cipher).arg(&plain))?;
    let copied = run(Command::new("cp").arg("-r").arg(folder).arg(plain.join("copy")));
    run(Command::new("fusermount").arg("-u").arg(&plain))?;
    copied
}

fn rclone_up(folder: &Path) -> Vec<Contestant> {
    if !has("rclone") {
        return Vec::new();
    }
    vec![timed("rclone copy", folder, |folder, to| {
        run(rclone(to)?.arg("copy").arg(folder).arg("secret:"))
    })]
}

fn rclone_down(folder: &Path) -> Vec<Contestant> {
    if !has("rclone") {
        return Vec::new();
    }
    let source = folder.to_owned();
    let mib = folder::bytes(folder).unwrap_or(0) as f64 / f64::from(1 << 20);
    let turn = move || {
        let to = scratch("rclone-down")?;
        run(rclone(&to)?.arg("copy").arg(&source).arg("secret:"))?;
        quiesce()?;
        let turn =
            clock(mib, || run(rclone(&to)?.arg("copy").arg("secret:").arg(to.join("back"))))?;
        fs::remove_dir_all(to)?;
        Ok(turn)
    };
    vec![Contestant { name: "rclone copy".to_owned(), turn: Box::new(turn) }]
}

/// rclone with a crypt remote over a local folder in `to`.
fn rclone(to: &Path) -> Result<Command> {
    let config = to.join("rclone.conf");
    if !config.exists() {
        let obscured = crate::shell::output(Command::new("rclone").args(["obscure", "benchmark"]))?;
        let remote = to.join("remote");
        fs::write(
            &config,
            format!(
                "[secret]\ntype = crypt\nremote = {}\npassword = {}\n",
                remote.display(),
                obscured.trim()
            ),
        )?;
    }
    let mut command = Command::new("rclone");
    command.env_remove("AWS_CA_BUNDLE").arg("--config").arg(config).arg("--transfers=8");
    Ok(command)
}

/// A peer that reads `folder` and writes below a fresh scratch folder, cold and durably.
fn timed(
    name: &str,
    folder: &Path,
    job: impl Fn(&Path, &Path) -> Result<()> + 'static,
) -> Contestant {
    let folder = folder.to_owned();
    let turn = move || {
        let to = scratch("peer")?;
        let mib = folder::bytes(&folder)? as f64 / f64::from(1 << 20);
        quiesce()?;
        let turn = clock(mib, || job(&folder, &to))?;
        fs::remove_dir_all(to)?;
        Ok(turn)
    };
    Contestant { name: name.to_owned(), turn: Box::new(turn) }
}

/// MiB a second until the job is done and on the disk, and the CPU time of its processes.
fn clock(mib: f64, job: impl FnOnce() -> Result<()>) -> Result<Turn> {
    let cpu = children_cpu_s();
    let start = Instant::now();
    job()?;
    run(&mut Command::new("sync"))?;
    let value = mib / start.elapsed().as_secs_f64();
    Ok(Turn { value, cpu_s: Some(children_cpu_s() - cpu) })
}

/// Writes out what is dirty, so that nobody pays for the one before.
fn quiesce() -> Result<()> {
    run(&mut Command::new("sync"))
}

/// Seconds of CPU of all children that were waited for.
fn children_cpu_s() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Fields 16 and 17 (proc(5)): cutime, cstime in ticks of 10 ms; counted behind the name.
    let after = stat.rsplit(')').next().unwrap_or_default();
    let ticks = |at: usize| after.split_whitespace().nth(at).and_then(|it| it.parse().ok());
    (ticks(13).unwrap_or(0.0) + ticks(14).unwrap_or(0.0)) / 100.0
}

/// A fresh folder under `target/bench`.
fn scratch(name: &str) -> Result<PathBuf> {
    let folder = root().join("target/bench").join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    Ok(folder)
}
