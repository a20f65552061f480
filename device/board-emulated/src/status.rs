//! What the board tells about the device: collected from the boot log and from the processes
//! that run.

use crate::backend::Kind;
use board::power::ResetReason;
use board::report::{Record, Refusal, Slot, Stage, TrustedApplication, Verdict, Verity};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The most lines of one kind that are kept: the log's writers are not all trusted.
const MAX_LINES: usize = 64;

/// The answer to `GET /v1/status`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Status {
    /// Whether the device has power.
    pub powered: bool,
    /// How often it was powered on before; `null` before the first time.
    pub boot_no: Option<u64>,
    /// What the board stands on; `null` before its first power-on.
    pub board: Option<Kind>,
    /// The slot that this boot tries; `null` where there is none to try.
    pub slot: Option<Slot>,
    /// Why the device has power: what the power chip's register says.
    pub reset: ResetReason,
    /// How often the device restarted by itself since somebody pressed the power button.
    pub restarts: u32,
    /// Why the boots before this one stopped, since somebody pressed the power button: the board
    /// tried again by itself.
    pub tried: Vec<Refused>,
    /// The stages of this boot, in order.
    pub stages: Vec<Stage>,
    /// The trusted applications that came with the system, in the order of their checks.
    pub trusted_applications: Vec<TrustedApplication>,
    /// The device's processes, as the host sees them.
    pub processes: Vec<Process>,
    /// What isolation this host lacks.
    pub weaknesses: Vec<Weakness>,
    /// Programs that ended and were started anew.
    pub ended: Vec<Ended>,
    /// How far recovery is, where it runs instead of the system.
    pub recovery: Option<Recovery>,
    /// How the system is read; `null` before there is one.
    pub verity: Option<Verity>,
    /// Blocks that parity made right, since somebody pressed the power button.
    pub repaired: Vec<BadBlock>,
    /// Blocks that are lost, since somebody pressed the power button.
    pub corrupt: Vec<BadBlock>,
    /// What the trusted OS refused to programs of the normal world: the last one of each kind.
    pub refusals: Vec<Refusal>,
    /// Whether the system daemon answers.
    pub ready: bool,
    /// Why the device does not boot, or went down.
    pub refused: Option<Refused>,
    /// Process 1 of the normal world.
    pub ree_pid: Option<i32>,
    /// Milliseconds from power-on until the system was up.
    pub boot_ms: Option<f64>,
}

/// What recovery does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Recovery {
    /// For a person.
    pub step: String,
    /// How much of it is done: 0 to 100.
    pub percent: u8,
}

/// A process of the device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Process {
    /// The program.
    pub name: String,
    /// Its number on the host.
    pub pid: i32,
}

/// What this host lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Weakness {
    /// Which process or boundary.
    pub what: String,
    /// What is missing, and how to get it.
    pub mend: String,
}

/// A program that ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ended {
    /// The program.
    pub name: String,
    /// Its exit code or signal.
    pub how: String,
}

/// A block of a partition that was not the one that was signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BadBlock {
    /// The partition, with its slot's suffix.
    pub partition: String,
    /// Blocks of 4096 bytes before it.
    pub block: u64,
    /// How often it was read.
    pub count: u64,
}

/// Why the device does not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// The stage that was refused, or the program that died.
    pub stage: String,
    /// libavb's name, or `POLICY`.
    pub code: String,
    /// What happened and what to do.
    pub reason: String,
}

/// The status as it changes.
#[derive(Default)]
pub struct Board(Mutex<State>);

#[derive(Default)]
struct State {
    status: Status,
    powered_at: Option<Instant>,
    ready_at: Option<Instant>,
    names: BTreeMap<i32, String>,
}

impl Board {
    /// A new power-on begins. What the ones before it came to is kept until somebody presses the
    /// power button.
    pub fn powered_on(&self, boot_no: u64, reset: ResetReason) {
        let mut state = self.state();
        let before = std::mem::take(&mut state.status);
        let mut now = Status { powered: true, boot_no: Some(boot_no), reset, ..Status::default() };
        if reset != ResetReason::PowerButton {
            now.restarts = before.restarts.saturating_add(1);
            (now.tried, now.repaired, now.corrupt) =
                (before.tried, before.repaired, before.corrupt);
            before.refused.into_iter().for_each(|refused| keep(&mut now.tried, refused));
        }
        *state = State { status: now, powered_at: Some(Instant::now()), ..State::default() };
    }

    /// Notes what the board stands on.
    pub fn stands_on(&self, kind: Kind) {
        self.state().status.board = Some(kind);
    }

    /// Notes which slot this boot tries.
    pub fn tries(&self, slot: Option<Slot>) {
        self.state().status.slot = slot;
    }

    /// The slot that this boot tries.
    #[must_use]
    pub fn slot(&self) -> Option<Slot> {
        self.state().status.slot
    }

    /// Why the device does not run, if it does not.
    #[must_use]
    pub fn refused(&self) -> Option<Refused> {
        self.state().status.refused.clone()
    }

    /// Whether the device has power.
    #[must_use]
    pub fn is_powered(&self) -> bool {
        self.state().status.powered
    }

    /// The device lost power. What it told stays, for whoever wants to know why.
    pub fn powered_off(&self) {
        let mut state = self.state();
        state.status.powered = false;
        state.status.ready = false;
        state.status.ree_pid = None;
        state.names.clear();
    }

    /// Notes what the boot log says. Once the system is up, what the log says of stages and
    /// processes counts no more: the system can write there too.
    pub fn note(&self, record: Record) {
        let mut guard = self.state();
        let State { status, powered_at, ready_at, names } = &mut *guard;
        match record {
            Record::Stage(stage) if !status.ready => {
                if let Verdict::Refused { code, reason } = &stage.verdict {
                    let (code, reason) = (code.clone(), reason.clone());
                    let refused = Refused { stage: stage.stage.clone(), code, reason };
                    status.refused.get_or_insert(refused);
                }
                keep(&mut status.stages, stage);
            }
            Record::TrustedApplication(application) if !status.ready => {
                keep(&mut status.trusted_applications, application);
            }
            Record::Stage(_)
            | Record::TrustedApplication(_)
            | Record::Refused(_)
            | Record::Process { pid: 0, .. } => {}
            Record::Process { .. } if status.ready => {}
            Record::Process { name, pid } => {
                if name == "init" {
                    status.ree_pid.get_or_insert(pid);
                }
                names.insert(pid, name);
            }
            Record::Weakness { what, mend } => {
                keep(&mut status.weaknesses, Weakness { what, mend });
            }
            Record::Verity(verity) if !status.ready => status.verity = Some(verity),
            Record::Verity(_) => {}
            Record::Repaired { partition, block } => count(&mut status.repaired, partition, block),
            Record::Corrupt { partition, block } => count(&mut status.corrupt, partition, block),
            Record::Ended { name, how } => keep(&mut status.ended, Ended { name, how }),
            Record::Recovery { step, percent } if !status.ready => {
                status.recovery = Some(Recovery { step, percent: percent.min(100) });
            }
            Record::Recovery { .. } => {}
            Record::Ready => {
                status.ready = true;
                ready_at.get_or_insert_with(Instant::now);
                let ms = powered_at.map(|at| at.elapsed().as_secs_f64() * 1000.0);
                status.boot_ms = status.boot_ms.or(ms);
            }
        }
    }

    /// Notes what the trusted OS says in its own log, which nobody else can write: that counts
    /// after the system is up, too.
    pub fn note_from_tee(&self, record: Record) {
        match record {
            Record::Refused(refusal) => self.refused_by_tee(refusal),
            Record::Process { name, pid } if pid != 0 => {
                self.state().names.insert(pid, name);
            }
            record => self.note(record),
        }
    }

    /// In the board's own log, the first, second, fourth, eighth … of a kind: whoever attacks
    /// must not be able to fill it.
    fn refused_by_tee(&self, refusal: Refusal) {
        let mut state = self.state();
        let refusals = &mut state.status.refusals;
        let before = match refusals.iter_mut().find(|known| known.kind == refusal.kind) {
            Some(known) => std::mem::replace(known, refusal).count,
            None => {
                refusals.push(refusal);
                0
            }
        };
        drop(state);
        let doublings = |count: u64| count.checked_ilog2();
        if doublings(refusal.count) != doublings(before) {
            let kind = serde_json::to_string(&refusal.kind).unwrap_or_default();
            let Refusal { uid, count, .. } = refusal;
            eprintln!("the TEE refused {kind} to a program of user {uid}; {count} so far");
        }
    }

    /// Notes that the device does not run; the first reason counts.
    pub fn refuse(&self, stage: &str, code: &str, reason: impl Into<String>) {
        let refused = Refused { stage: stage.into(), code: code.into(), reason: reason.into() };
        self.state().status.refused.get_or_insert(refused);
    }

    /// What recovery does, where it runs.
    #[must_use]
    pub fn recovery(&self) -> Option<Recovery> {
        let state = self.state();
        state.status.recovery.clone().filter(|_| state.status.powered)
    }

    /// Whether there is a reason for the device not to run.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.state().status.refused.is_some()
    }

    /// How long the system of this boot has been up, if it came up.
    #[must_use]
    pub fn uptime(&self) -> Option<Duration> {
        self.state().ready_at.map(|at| at.elapsed())
    }

    /// Whether the system on the flash is known to be corrupt.
    #[must_use]
    pub fn is_corrupt(&self) -> bool {
        let state = self.state();
        let status = &state.status;
        status.powered
            && (status.verity.is_some_and(|verity| verity.corrupt) || !status.corrupt.is_empty())
    }

    /// The name under which `pid` was announced.
    #[must_use]
    pub fn name_of(&self, pid: i32) -> Option<String> {
        self.state().names.get(&pid).cloned()
    }

    /// The status now, with the processes that run now.
    #[must_use]
    pub fn status(&self) -> Status {
        let (mut status, names) = {
            let state = self.state();
            (state.status.clone(), state.names.clone())
        };
        status.processes = descendants(std::process::id().cast_signed())
            .into_iter()
            .map(|(pid, comm)| Process { name: names.get(&pid).cloned().unwrap_or(comm), pid })
            .collect();
        status
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn keep<T>(list: &mut Vec<T>, item: T) {
    if list.len() < MAX_LINES {
        list.push(item);
    }
}

fn count(list: &mut Vec<BadBlock>, partition: String, block: u64) {
    match list.iter_mut().find(|bad| bad.block == block && bad.partition == partition) {
        Some(bad) => bad.count = bad.count.saturating_add(1),
        None => keep(list, BadBlock { partition, block, count: 1 }),
    }
}

/// All processes below `root`, with their names.
fn descendants(root: i32) -> Vec<(i32, String)> {
    let mut found = Vec::new();
    let mut parents = vec![root];
    let all = processes();
    while let Some(parent) = parents.pop() {
        for (pid, _, name) in all.iter().filter(|(_, ppid, _)| *ppid == parent) {
            found.push((*pid, name.clone()));
            parents.push(*pid);
        }
    }
    found.sort_unstable();
    found
}

/// The direct children of this process.
#[must_use]
pub fn children() -> Vec<i32> {
    let own = std::process::id().cast_signed();
    processes().into_iter().filter(|(_, ppid, _)| *ppid == own).map(|(pid, ..)| pid).collect()
}

/// `(pid, parent's pid, name)` of every process that `/proc` shows.
fn processes() -> Vec<(i32, i32, String)> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pid_of = |entry: fs::DirEntry| entry.file_name().to_str()?.parse::<i32>().ok();
    let pids = entries.flatten().filter_map(pid_of);
    pids.filter_map(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (ppid, name) = parse_stat(&stat)?;
        Some((pid, ppid, name))
    })
    .collect()
}

/// Parent and name from `/proc/PID/stat`; the name stands in parentheses and may hold some.
fn parse_stat(stat: &str) -> Option<(i32, String)> {
    let (head, rest) = stat.rsplit_once(')')?;
    let (_, name) = head.split_once('(')?;
    let ppid = rest.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some((ppid, name.strip_prefix("memfd:").unwrap_or(name).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use board::verity::VerityMode;

    fn stage(name: &str, verdict: Verdict) -> Record {
        Record::Stage(Stage {
            stage: name.into(),
            partition: format!("{name}_a"),
            version: String::new(),
            digest: String::new(),
            verdict,
            micros: 1,
        })
    }

    #[test]
    fn keeps_the_first_refusal() {
        let board = Board::default();
        board.powered_on(3, ResetReason::PowerButton);
        let refused = Verdict::Refused { code: "ERROR_VERIFICATION".into(), reason: "why".into() };
        board.note(stage("bl1", Verdict::Verified));
        board.note(stage("tee", refused));
        board.refuse("bl1", "POLICY", "ended with code 1");
        let status = board.status();
        assert_eq!(status.boot_no, Some(3));
        assert_eq!(status.refused.unwrap().code, "ERROR_VERIFICATION");
        assert_eq!(status.stages.len(), 2);
        board.powered_on(4, ResetReason::Restart);
        let status = board.status();
        assert_eq!((status.refused, status.tried[0].stage.as_str()), (None, "tee"));
        assert_eq!((status.reset, status.restarts), (ResetReason::Restart, 1));
        board.powered_on(5, ResetReason::PowerButton);
        assert!(board.status().tried.is_empty());
    }

    #[test]
    fn s2_2_the_running_system_can_not_rewrite_the_boot_report() {
        let board = Board::default();
        board.powered_on(0, ResetReason::PowerButton);
        board.note(Record::Process { name: "init".into(), pid: 77 });
        board.note(Record::Ready);
        board.note(stage("bl1", Verdict::Verified));
        board.note(Record::Process { name: "init".into(), pid: 78 });
        for _ in 0..1000 {
            board.note(Record::Weakness { what: String::new(), mend: String::new() });
        }
        let status = board.status();
        assert_eq!((status.stages.len(), status.ree_pid), (0, Some(77)));
        assert_eq!(status.weaknesses.len(), MAX_LINES);
    }

    #[test]
    fn s2_2_bad_blocks_are_counted_and_outlive_a_restart_that_nobody_asked_for() {
        let board = Board::default();
        board.powered_on(0, ResetReason::PowerButton);
        let bad = |block| Record::Corrupt { partition: "system_a".into(), block };
        assert!(!board.is_corrupt());
        [7, 8, 7].into_iter().for_each(|block| board.note(bad(block)));
        board.powered_on(1, ResetReason::Verity);
        let corrupt = board.status().corrupt;
        let counts: Vec<_> = corrupt.iter().map(|bad| (bad.block, bad.count)).collect();
        assert_eq!(counts, [(7, 2), (8, 1)]);
        assert!(board.is_corrupt());
        board.powered_on(2, ResetReason::PowerButton);
        assert!(!board.is_corrupt());
        let verity = Verity { mode: VerityMode::Eio, each_read: true, corrupt: true };
        board.note(Record::Verity(verity));
        assert!(board.is_corrupt());
        board.note(Record::Ready);
        board.note(Record::Verity(Verity { corrupt: false, ..verity }));
        assert!(board.is_corrupt(), "what the system says of itself does not count");
    }

    #[test]
    fn s2_1_1_only_the_tees_own_log_says_what_it_refused() {
        use board::report::RefusalKind;
        let board = Board::default();
        board.powered_on(0, ResetReason::PowerButton);
        let refused = |kind, count| Record::Refused(Refusal { kind, uid: 0, count });
        board.note(refused(RefusalKind::Message, 1));
        board.note(Record::Ready);
        assert!(board.status().refusals.is_empty(), "what the system says of itself");
        for count in [1, 2, 900] {
            board.note_from_tee(refused(RefusalKind::Message, count));
        }
        board.note_from_tee(refused(RefusalKind::Denied, 1));
        let counts: Vec<u64> = board.status().refusals.iter().map(|it| it.count).collect();
        assert_eq!(counts, [900, 1]);
        // A trusted application that was started anew is known by its name, also now.
        board.note_from_tee(Record::Process { name: "ta-keymint".into(), pid: 7 });
        assert_eq!(board.name_of(7).as_deref(), Some("ta-keymint"));
        board.powered_on(1, ResetReason::PowerButton);
        assert!(board.status().refusals.is_empty());
    }

    #[test]
    fn reads_names_with_parentheses() {
        assert_eq!(parse_stat("7 (a) (b) S 3 7"), Some((3, "a) (b".into())));
        assert_eq!(parse_stat("7 (memfd:tee-os) S 3 7"), Some((3, "tee-os".into())));
        assert_eq!(parse_stat(""), None);
    }
}
