//! Our own turns: runs of the whole story, each step with its time and the CPU time of every
//! process that took part.

use super::contest::Turn;
use super::disk;
use crate::shell::target_dir;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The steps of the first boot.
pub(crate) const STAGES: [&str; 6] = ["bl1", "tee", "bl2", "baseband", "kernel", "system"];

/// Runs that contests share: the first that asks for one starts it.
pub(crate) struct Story {
    folder: PathBuf,
    runs: Vec<Vec<Step>>,
}

struct Step {
    name: String,
    ms: f64,
    cpu_s: f64,
}

impl Story {
    pub(crate) const fn new(folder: PathBuf) -> Self {
        Self { folder, runs: Vec::new() }
    }

    /// The step `name` of run `number`: its milliseconds.
    pub(crate) fn step(&mut self, number: usize, name: &str) -> Result<Turn> {
        let step = self.run(number)?.iter().find(|step| step.name == name);
        let step = step.with_context(|| format!("the story has no step {name}"))?;
        Ok(Turn { value: step.ms, cpu_s: Some(step.cpu_s) })
    }

    /// All stages of the first boot of run `number`: their milliseconds.
    pub(crate) fn boot(&mut self, number: usize) -> Result<Turn> {
        let mut ms = 0.0;
        for stage in STAGES {
            ms += self.step(number, &format!("boot.{stage}"))?.value;
        }
        Ok(Turn { value: ms, cpu_s: None })
    }

    fn run(&mut self, number: usize) -> Result<&[Step]> {
        while self.runs.len() <= number {
            let state = disk::scratch("story")?;
            disk::quiesce()?;
            self.runs.push(self.tell(&state)?);
            // The story deletes its copies.
            disk::rest()?;
        }
        Ok(&self.runs[number])
    }

    fn tell(&self, state: &std::path::Path) -> Result<Vec<Step>> {
        let mut child = Command::new(target_dir()?.join("debug/holdfast"))
            .args(["up", "--once", "--json", "--fresh", "--listen", "127.0.0.1:0", "--folder"])
            .arg(&self.folder)
            .arg("--state")
            .arg(state)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let stdout = child.stdout.take().context("a pipe was asked for")?;
        let (mut steps, mut cpu_before) = (Vec::new(), 0.0);
        for line in BufReader::new(stdout).lines() {
            let line: Value = serde_json::from_str(&line?)?;
            let Some(name) = line["step"].as_str() else { continue };
            ensure!(line["ok"] == true, "the story failed: {line}");
            let cpu = tree_cpu_s(child.id());
            // What a step says of itself leaves out what only the story does, as comparing.
            let ms = line["evidence"]["ms"].as_f64().or_else(|| line["ms"].as_f64());
            let ms = ms.context("a step has milliseconds")?;
            steps.push(Step { name: name.to_owned(), ms, cpu_s: cpu - cpu_before });
            cpu_before = cpu;
        }
        ensure!(child.wait()?.success(), "the story failed");
        Ok(steps)
    }
}

/// Seconds of CPU, user and system, that `root` and everything below it used so far, with the
/// children that were waited for.
pub(crate) fn tree_cpu_s(root: u32) -> f64 {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    let mut cpu: HashMap<u32, f64> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse() else { continue };
        let Some((parent, seconds)) = parent_and_cpu_s(&format!("/proc/{pid}/stat")) else {
            continue;
        };
        children.entry(parent).or_default().push(pid);
        cpu.insert(pid, seconds);
    }
    let (mut sum, mut open) = (0.0, vec![root]);
    while let Some(pid) = open.pop() {
        sum += cpu.get(&pid).copied().unwrap_or(0.0);
        open.extend(children.get(&pid).into_iter().flatten());
    }
    sum
}

/// Fields 4 and 14 to 17 of proc(5): ppid, utime, stime, cutime, cstime in ticks of 10 ms.
fn parent_and_cpu_s(stat: &str) -> Option<(u32, f64)> {
    let stat = fs::read_to_string(stat).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: u64 = fields.get(11..15)?.iter().filter_map(|it| it.parse::<u64>().ok()).sum();
    Some((fields.get(1)?.parse().ok()?, ticks as f64 / 100.0))
}
