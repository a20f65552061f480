//! Any process, killed at any moment: nothing that was acknowledged is lost, nothing is left
//! behind, and the next `up` goes on.

use crate::run::{Told, processes_of, state, tell, up};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How often something is killed. The issue asks for fifty; HOLDFAST_KILLS changes it.
fn kills() -> usize {
    std::env::var("HOLDFAST_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(50)
}

/// Kills in the life of one device. The first ones hit its first run, wherever that is.
const KILLS_IN_A_LIFE: usize = 10;
/// Lines that a whole story prints, more or less: where in it a kill can be aimed at.
const LINES: usize = 54;
/// Lines before its last chapter, Attacked.
const LAST_CHAPTER: usize = 36;
/// How long a story may go on after one of its processes was killed: some kills it survives, and
/// then the rest of it is told, on whatever machine this is.
const ENDS_WITHIN: Duration = Duration::from_secs(180);

#[test]
fn killing_any_process_at_a_random_moment_loses_nothing_acknowledged() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let mut hit = BTreeMap::<String, usize>::new();
    let mut left = kills();
    while left > 0 {
        let state = state();
        let mut known = Known::default();
        let mut life = KILLS_IN_A_LIFE.min(left);
        let mut whole = 0;
        while life > 0 {
            match strike(state.path(), &mut random, &mut known) {
                Some(victim) => {
                    *hit.entry(victim).or_default() += 1;
                    life -= 1;
                    left -= 1;
                }
                None => {
                    whole += 1;
                    assert!(whole < 40, "hardly any kill hits a story that runs");
                }
            }
        }
        let after = tell(state.path(), &[]);
        known.hold(&after);
        assert_eq!(after.code, Some(0), "{after}");
        assert_eq!(after.held("restore")["evidence"]["compared"], "identical", "{after}");
        assert!(processes_of(state.path()).is_empty(), "something still runs");
    }
    eprintln!("killed: {hit:?}");
    if kills() >= 50 {
        assert!(hit.len() >= 7, "only these were hit: {hit:?}");
    }
}

/// Runs the story, kills one of its processes somewhere in it, and waits for its end. Gives the
/// victim's name; `None` where the story was over before.
fn strike(state: &Path, random: &mut Random, known: &mut Known) -> Option<String> {
    let mut child =
        up(state, &["--once"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = lines_of(&mut child);
    let mut told = Told { code: None, lines: Vec::new(), stderr: String::new() };
    // Most of them before the attacks, which change nothing that lasts.
    let lines_before = if random.below(5) > 0 { LAST_CHAPTER } else { LINES };
    for _ in 0..random.below(lines_before) {
        match lines.recv_timeout(Duration::from_secs(60)) {
            Ok(line) => told.lines.push(line),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => panic!("the story stands still: {told}"),
        }
    }
    std::thread::sleep(Duration::from_micros(random.below(150_000) as u64));
    let family = family_of(child.id() as i32);
    let victim = victim(&family, random);
    if let Some((pid, _)) = &victim {
        // SAFETY: a signal to a process that this test's own story started.
        unsafe { libc::kill(*pid, libc::SIGKILL) };
    }
    let deadline = Instant::now() + ENDS_WITHIN;
    while child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "`up` hangs after {victim:?} was killed: {told}");
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().unwrap();
    told.code = output.status.code();
    told.stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    told.lines.extend(lines.iter());
    known.hold(&told);
    let (_, name) = victim?;
    if told.code == Some(0) {
        // It fell after the last step, or the story did without it: nothing to check.
        assert!(told.failed().is_empty(), "{told}");
    } else if name != "holdfast" {
        let said = told.failed();
        let clear = said.iter().all(|step| step["reason"].as_str().is_some_and(|it| it.len() > 15));
        assert!(!said.is_empty() && clear, "{name} was killed, and no word about it: {told}");
    }
    all_gone(&family, state, &name);
    Some(name)
}

/// What a story acknowledged, from its lines: it must stay so.
#[derive(Default)]
struct Known(HashMap<&'static str, Value>);

impl Known {
    fn hold(&mut self, told: &Told) {
        for (step, what) in [
            ("device.manufacture", "serial"),
            ("account.sign_up", "account_id"),
            ("device.bind", "device_id"),
        ] {
            for line in told.steps(step).iter().filter(|line| line["ok"] == true) {
                let now = &line["evidence"][what];
                assert!(!now.is_null(), "{line}");
                let before = self.0.entry(step).or_insert_with(|| now.clone());
                assert_eq!(before, now, "{step} is not what it was: {told}");
            }
        }
        for line in told.steps("sync.upload").iter().filter(|line| line["ok"] == true) {
            let now = line["evidence"]["generation"].as_u64().expect("a generation");
            let before = self.0.insert("generation", now.into()).and_then(|it| it.as_u64());
            assert!(before.is_none_or(|before| before <= now), "a snapshot is lost: {told}");
        }
    }
}

fn lines_of(child: &mut Child) -> Receiver<Value> {
    let stdout = child.stdout.take().expect("piped");
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let Ok(line) = serde_json::from_str(&line) else { return };
            let _ = sender.send(line);
        }
    });
    lines
}

/// A process and its descendants: id, start time, name.
type Family = Vec<(i32, u64, String)>;

fn family_of(root: i32) -> Family {
    let mut parents = HashMap::<i32, Vec<(i32, u64, String)>>::new();
    let mut family = Family::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse() else { continue };
        let Some((name, parent, started)) = stat_of(pid) else { continue };
        if pid == root {
            family.push((pid, started, name));
        } else {
            parents.entry(parent).or_default().push((pid, started, name));
        }
    }
    let mut at = 0;
    while at < family.len() {
        family.extend(parents.remove(&family[at].0).unwrap_or_default());
        at += 1;
    }
    family
}

/// Name, parent and start time: proc_pid_stat(5). `None` where it is gone or a zombie.
fn stat_of(pid: i32) -> Option<(String, i32, u64)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (head, tail) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = tail.split(' ').collect();
    if fields.first()? == &"Z" {
        return None;
    }
    let name = name_of(pid).unwrap_or_else(|| head.split_once('(').unwrap_or_default().1.into());
    Some((name, fields.get(1)?.parse().ok()?, fields.get(19)?.parse().ok()?))
}

/// What a process was started as: a stage runs from memory and keeps only its argument.
fn name_of(pid: i32) -> Option<String> {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let first = String::from_utf8_lossy(line.split(|byte| *byte == 0).next()?).into_owned();
    first.rsplit('/').next().filter(|name| !name.is_empty()).map(str::to_owned)
}

/// One of the family: each name is as likely as the others.
fn victim(family: &Family, random: &mut Random) -> Option<(i32, String)> {
    let names: BTreeSet<&String> = family.iter().map(|(_, _, name)| name).collect();
    let name = *names.iter().nth(random.below(names.len().max(1)))?;
    let (pid, _, name) = family.iter().find(|(_, _, it)| it == name)?;
    Some((*pid, name.clone()))
}

/// After the end nothing runs on.
fn all_gone(family: &Family, state: &Path, victim: &str) {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let alive: Vec<_> = family
            .iter()
            .filter(|(pid, started, _)| stat_of(*pid).is_some_and(|it| it.2 == *started))
            .collect();
        if alive.is_empty() && processes_of(state).is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "{victim} was killed, and these run on: {alive:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Xorshift: the same moments in each run, as far as a machine can.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit.max(1)
    }
}
