//! Attacks that a program makes as root inside the normal world, and what is left behind them.

use crate::programs::beside;
use crate::story::Device;
use anyhow::{Context, Result, ensure};
use boot::probe::{Attempt, DoorAttack, DoorWay, ProcessWay, Targets};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long the TEE may take to answer a call right after an attack.
const PATIENCE: Duration = Duration::from_secs(5);
/// The TEE's door inside the normal world.
const DOOR: &str = "/run/tee.sock";

/// An attack.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attack {
    /// What it is called, below `attack.tee`.
    pub(super) name: &'static str,
    goal: Goal,
}

/// What an attack goes for.
#[derive(Debug, Clone, Copy)]
enum Goal {
    /// The processes of the TEE and the board.
    Processes(ProcessWay),
    /// The board's own files.
    Files,
    /// The trusted screen and the host's sockets.
    Network,
    /// What only root of the whole machine may.
    Kernel,
    /// The door on which programs call the TEE: so many messages, connections or sessions. Some
    /// of it reaches the TEE, which must have it in its log.
    Door(DoorWay, u32),
    /// The same, stopped by the kernel before the TEE hears of it.
    BeforeTheDoor(DoorWay),
}

/// All of them, in order.
pub(super) const ATTACKS: [Attack; 16] = [
    Attack { name: "tracing", goal: Goal::Processes(ProcessWay::Tracing) },
    Attack { name: "memory", goal: Goal::Processes(ProcessWay::Memory) },
    Attack { name: "signals", goal: Goal::Processes(ProcessWay::Signals) },
    Attack { name: "board_files", goal: Goal::Files },
    Attack { name: "network", goal: Goal::Network },
    Attack { name: "kernel", goal: Goal::Kernel },
    Attack { name: "identity", goal: Goal::BeforeTheDoor(DoorWay::Identity) },
    Attack { name: "applications", goal: Goal::Door(DoorWay::Applications, 20) },
    Attack { name: "keepers", goal: Goal::Door(DoorWay::Keepers, 40) },
    Attack { name: "messages", goal: Goal::Door(DoorWay::Messages, 10_000) },
    Attack { name: "commands", goal: Goal::Door(DoorWay::Commands, 2_000) },
    Attack { name: "sizes", goal: Goal::Door(DoorWay::Sizes, 25) },
    Attack { name: "descriptors", goal: Goal::Door(DoorWay::Descriptors, 50) },
    Attack { name: "half_open", goal: Goal::Door(DoorWay::HalfOpen, 200) },
    Attack { name: "connections", goal: Goal::Door(DoorWay::Connections, 3_000) },
    Attack { name: "sessions", goal: Goal::Door(DoorWay::Sessions, 3_000) },
];

/// A device that is on, as an attacker with its serial console sees it.
pub(super) struct Visit<'a> {
    device: &'a Device,
    ree_pid: i32,
    trusted_port: u16,
}

impl<'a> Visit<'a> {
    /// Looks around. A host that isolates too little is nothing to attack: that is said.
    pub(super) async fn prepare(device: &'a Device) -> Result<Self> {
        let status = device.status().await?;
        let weak: Vec<String> =
            status.weaknesses.iter().map(|it| format!("{}: {}", it.what, it.mend)).collect();
        ensure!(weak.is_empty(), "this host isolates too little. {}", weak.join(" "));
        let port = device.screens.trusted_screen.trim_end_matches('/').rsplit(':').next();
        Ok(Self {
            device,
            ree_pid: status.ree_pid.context("the board does not know its system's process")?,
            trusted_port: port.and_then(|it| it.parse().ok()).context("no trusted screen")?,
        })
    }

    /// Makes `attack`; what went through, or what it left broken, is an error.
    pub(super) async fn attack(&self, attack: Attack, seed: u64) -> Result<(String, Value)> {
        let before = Standing::of(self.device).await?;
        let targets = self.targets(attack.goal, &before, seed)?;
        let attempts = self.visit(&targets).await?;
        let tried = attempts.len();
        ensure!(tried > 0, "the probe tried nothing");
        let reached: Vec<String> = attempts
            .iter()
            .filter(|attempt| attempt.succeeded)
            .map(|attempt| format!("{} ({}): {}", attempt.attempt, attempt.target, attempt.detail))
            .collect();
        ensure!(reached.is_empty(), "went through: {}", reached.join("; "));
        let aftermath = match attack.goal {
            Goal::Door(..) => before.still_stands_and_says_so(self.device).await?,
            _ => before.still_stands(self.device).await?,
        };
        let logged = aftermath.refusals;
        let ways: BTreeSet<_> = attempts.iter().map(|it| &it.attempt).collect();
        let said = match attempts.as_slice() {
            [only] => only.detail.clone(),
            _ => format!("{tried} attempts of {} kinds, none went through", ways.len()),
        };
        let evidence = json!({
            "attempts": tried,
            "ways": ways,
            "logged": logged,
            "answered_after_ms": aftermath.answered_after_ms,
        });
        Ok((said, evidence))
    }

    fn targets(&self, goal: Goal, before: &Standing, seed: u64) -> Result<Targets> {
        let board = self.device.dir.join("board");
        let door = |way, count| {
            let attack = DoorAttack { socket: PathBuf::from(DOOR), way, count, seed };
            Targets { door: Some(attack), ..Targets::default() }
        };
        Ok(match goal {
            Goal::Processes(way) => {
                let mut pids: Vec<i32> = before.tee.values().copied().collect();
                pids.extend(self.device.pid().and_then(|pid| i32::try_from(pid).ok()));
                let targets = Targets::on_this_host(&[], &pids, &[])?;
                Targets { ways: Some(way), abstract_sockets: Vec::new(), ..targets }
            }
            Goal::Files => {
                let mut files = vec![board.clone()];
                files.extend(std::fs::read_dir(board)?.flatten().map(|entry| entry.path()));
                Targets { abstract_sockets: Vec::new(), ..Targets::on_this_host(&files, &[], &[])? }
            }
            Goal::Network => Targets::on_this_host(&[], &[], &[self.trusted_port])?,
            Goal::Kernel => Targets { kernel: true, ..Targets::default() },
            Goal::Door(way, count) => door(way, count),
            Goal::BeforeTheDoor(way) => door(way, 1),
        })
    }

    async fn visit(&self, targets: &Targets) -> Result<Vec<Attempt>> {
        let program = beside("holdfast-probe")?;
        let (ree_pid, targets) = (self.ree_pid, serde_json::to_string(targets)?);
        let visit = move || boot::world::enter(ree_pid, &program, &[&targets]);
        let said = tokio::task::spawn_blocking(visit).await??;
        serde_json::from_str(&said).context("the probe's report is not understood")
    }
}

/// How the TEE stands: its processes, and how much its log says that it refused.
pub(super) struct Standing {
    /// Name and number of each process.
    pub(super) tee: BTreeMap<String, i32>,
    refusals: u64,
}

/// What an attack left behind.
pub(super) struct Aftermath {
    /// Refusals that came into the TEE's log.
    pub(super) refusals: u64,
    /// How long a call took right afterwards.
    pub(super) answered_after_ms: u64,
}

impl Standing {
    /// As it is now.
    pub(super) async fn of(device: &Device) -> Result<Self> {
        let status = device.status().await?;
        let tee = status.processes.iter().filter(|it| is_tee(&it.name));
        let tee: BTreeMap<String, i32> = tee.map(|it| (it.name.clone(), it.pid)).collect();
        ensure!(tee.len() > 1, "the board does not know the TEE's processes");
        let refusals = status.refusals.iter().map(|it| it.count).sum();
        Ok(Self { tee, refusals })
    }

    /// Whether the TEE answers a call in time, with the very processes that it had.
    pub(super) async fn still_stands(&self, device: &Device) -> Result<Aftermath> {
        let answered_after_ms = answers(device).await?;
        let now = Self::of(device).await?;
        ensure!(now.tee == self.tee, "a process of the TEE was restarted: {:?}", now.tee);
        let refusals = now.refusals.saturating_sub(self.refusals);
        Ok(Aftermath { refusals, answered_after_ms })
    }

    /// The same, and its log has something of the attack. The log comes through a pipe.
    pub(super) async fn still_stands_and_says_so(&self, device: &Device) -> Result<Aftermath> {
        for _ in 0..100 {
            let aftermath = self.still_stands(device).await?;
            if aftermath.refusals > 0 {
                return Ok(aftermath);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        anyhow::bail!("refused, yet the TEE's log has nothing of it")
    }
}

/// Asks the system, which asks the TEE; gives how long that took.
pub(super) async fn answers(device: &Device) -> Result<u64> {
    let start = Instant::now();
    let asked = tokio::time::timeout(PATIENCE, device.system_status()).await;
    let status = asked.context("the TEE did not answer within five seconds")??;
    ensure!(status["time"].is_object(), "the TEE's clock gives no time: {status}");
    Ok(u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX))
}

pub(super) fn is_tee(name: &str) -> bool {
    name.starts_with("tee") || name.starts_with("ta-")
}
