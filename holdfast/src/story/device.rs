//! The device of the story: a board that is on, its control socket and its local API.

use crate::programs::{Program, beside};
use anyhow::{Result, bail};
use board::report::{Refusal, Stage, Verdict, Verity};
use http_link::Client;
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::process::Command;

/// How long the chain may take before the story calls it stuck.
const BOOT_WITHIN: Duration = Duration::from_secs(30);

/// Where the board's two screens are: its first line on standard output.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Screens {
    pub(crate) trusted_screen: String,
    pub(crate) phone_screen: String,
}

/// What the board tells of itself.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct BoardStatus {
    /// What the board stands on.
    #[serde(default)]
    pub(crate) board: Option<String>,
    pub(crate) boot_no: Option<u64>,
    pub(crate) stages: Vec<Stage>,
    pub(crate) ready: bool,
    pub(crate) refused: Option<Refused>,
    /// Why the boots before this one stopped, where the board tried again by itself.
    #[serde(default)]
    pub(crate) tried: Vec<Refused>,
    /// How the system is read.
    #[serde(default)]
    pub(crate) verity: Option<Verity>,
    /// Blocks that parity made right.
    #[serde(default)]
    pub(crate) repaired: Vec<BadBlock>,
    /// Blocks that are lost.
    #[serde(default)]
    pub(crate) corrupt: Vec<BadBlock>,
    /// How often the device restarted by itself since somebody pressed the power button.
    #[serde(default)]
    pub(crate) restarts: u32,
    /// How far recovery is, where it runs instead of the system.
    #[serde(default)]
    pub(crate) recovery: Option<Recovery>,
    pub(crate) ree_pid: Option<i32>,
    #[serde(default)]
    pub(crate) boot_ms: Option<f64>,
    #[serde(default)]
    pub(crate) processes: Vec<Process>,
    #[serde(default)]
    pub(crate) weaknesses: Vec<Weakness>,
    /// What the TEE refused to programs of the normal world, since power-on.
    #[serde(default)]
    pub(crate) refusals: Vec<Refusal>,
}

/// What recovery does.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Recovery {
    pub(crate) step: String,
    pub(crate) percent: u8,
}

/// Why the chain stopped.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Refused {
    pub(crate) stage: String,
    pub(crate) code: String,
    pub(crate) reason: String,
}

/// A block on the flash that is not the one that was signed.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct BadBlock {
    pub(crate) partition: String,
    pub(crate) block: u64,
    pub(crate) count: u64,
}

/// A process of the device.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Process {
    pub(crate) name: String,
    pub(crate) pid: i32,
}

/// What this host's kernel lacks.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Weakness {
    pub(crate) what: String,
    pub(crate) mend: String,
}

/// How a board is started.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wiring {
    /// `NAME:PORT=ADDR:PORT` for the radio.
    pub(crate) radio: Vec<String>,
    /// Where the phone's screen listens; a free port where none is given.
    pub(crate) phone: Option<String>,
    /// Where the trusted screen listens; a free port where none is given.
    pub(crate) trusted: Option<String>,
}

/// A board that has power.
#[derive(Debug)]
pub(crate) struct Device {
    board: Program,
    pub(crate) dir: PathBuf,
    pub(crate) screens: Screens,
}

impl Device {
    /// Gives the board in `dir` power.
    pub(crate) async fn power_on(dir: &Path, wiring: &Wiring, log: PathBuf) -> Result<Self> {
        let mut command = Command::new(beside("holdfast-board")?);
        command.arg("--state").arg(dir);
        for route in &wiring.radio {
            command.arg("--radio").arg(route);
        }
        if let Some(address) = &wiring.phone {
            command.arg("--phone-screen").arg(address);
        }
        if let Some(address) = &wiring.trusted {
            command.arg("--trusted-screen").arg(address);
        }
        let (board, screens) = Program::start("the board", command, log).await?;
        Ok(Self { board, dir: dir.to_owned(), screens })
    }

    /// Gives power and waits for the system; a refusal is an error.
    pub(crate) async fn boot(dir: &Path, wiring: &Wiring, log: PathBuf) -> Result<Self> {
        let device = Self::power_on(dir, wiring, log).await?;
        let status = device.settled().await?;
        match status.refused {
            None => Ok(device),
            Some(refused) => {
                let _ = device.power_off().await;
                bail!("{} refused to boot: {} ({})", refused.stage, refused.reason, refused.code)
            }
        }
    }

    /// Waits until the chain has come to its end: the system is up, or a stage refused.
    pub(crate) async fn settled(&self) -> Result<BoardStatus> {
        let start = Instant::now();
        loop {
            let status = self.status().await?;
            if status.ready || status.refused.is_some() {
                return Ok(status);
            }
            if start.elapsed() > BOOT_WITHIN {
                let last = status.stages.last().map_or("none", |stage| &stage.stage);
                bail!("the chain stood still after stage {last}; the log is beside the state");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// What the board tells.
    pub(crate) async fn status(&self) -> Result<BoardStatus> {
        Ok(self.control().get("/v1/status").send_json().await?)
    }

    /// The board's control socket.
    pub(crate) fn control(&self) -> Client {
        Client::unix(&self.dir.join("board.sock"))
    }

    /// The system's local API.
    pub(crate) fn api(&self) -> Client {
        Client::unix(&self.dir.join("run/holdfast.sock"))
    }

    /// The system's view of itself.
    pub(crate) async fn system_status(&self) -> Result<Value> {
        Ok(self.api().get("/v1/status").send_json().await?)
    }

    /// Lets the scripted keys type on the trusted screen when it next asks.
    pub(crate) async fn type_keys(&self, keys: &str) -> Result<()> {
        self.control().post("/v1/keys").json(&json!({ "keys": keys })).send().await?;
        Ok(())
    }

    /// Turns the device off and on again and waits for the system.
    pub(crate) async fn reset(&self) -> Result<BoardStatus> {
        let before = self.status().await?.boot_no;
        self.control().post("/v1/power").json(&json!({ "action": "reset" })).send().await?;
        let start = Instant::now();
        loop {
            let status = self.settled().await?;
            if status.boot_no > before {
                return Ok(status);
            }
            if start.elapsed() > BOOT_WITHIN {
                bail!("the board did not restart");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// A page of the phone's screen, as a browser would get it.
    pub(crate) async fn screen(&self, path: &str) -> Result<String> {
        let screen = Client::unix(&self.dir.join("run/screen.sock"));
        let page = screen.get(path).send().await?.bytes(1 << 20).await?;
        Ok(String::from_utf8(page)?)
    }

    /// Waits until `holds` is true of the system's status.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Result<Value> {
        let start = Instant::now();
        loop {
            let status = self.system_status().await;
            if let Some(status) = status.as_ref().ok().filter(|status| holds(status)) {
                return Ok(status.clone());
            }
            if start.elapsed() > Duration::from_secs(15) {
                let last =
                    status.map_or_else(|error| error.to_string(), |status| status.to_string());
                bail!("the device did not come to this within 15 s: {what}. It says: {last}");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The board's process id.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.board.pid()
    }

    /// Brings a device back whose keys were destroyed or whose system stopped, by switching it
    /// off and on. `false` where there was no need.
    pub(crate) async fn revive(&self) -> Result<bool> {
        match self.system_status().await {
            Ok(status) if status["erased"] != true => Ok(false),
            _ => match self.reset().await?.refused {
                None => Ok(true),
                Some(refused) => bail!("{}", refused.line()),
            },
        }
    }

    /// Takes the power away.
    pub(crate) async fn power_off(self) -> Result<()> {
        self.board.stop().await
    }
}

impl Refused {
    /// For people: `boot_a: … (ERROR_VERIFICATION)`.
    pub(crate) fn line(&self) -> String {
        let Self { stage, reason, code } = self;
        // A reason of libavb's verdict names it already.
        let code = format!(" ({code})");
        format!("{stage}: {}{code}", reason.trim_end_matches(&code))
    }
}

/// A stage as a line of a table: partition, version, digest, verdict.
pub(crate) fn stage_line(stage: &Stage) -> String {
    let digest = stage.digest.get(..16).unwrap_or(&stage.digest);
    let (verdict, refused) = verdict(stage);
    let reason = refused.map_or_else(String::new, |reason| format!(": {reason}"));
    format!("{:<12} {:<24} {digest:<16}  {verdict}{reason}", stage.partition, stage.version)
}

/// Whether a stage may run, as a table's cell.
pub(crate) fn verdict(stage: &Stage) -> (&'static str, Option<String>) {
    match &stage.verdict {
        Verdict::Verified => ("verified", None),
        Verdict::Refused { code, reason } => ("refused", Some(format!("{reason} ({code})"))),
    }
}
