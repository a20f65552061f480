//! `holdfast device update`: check, download, apply, restart, by hand or all at once.

use crate::args::{Update, UpdateAct};
use crate::exit::{Exit, Lacking, Misused};
use crate::report::Reporter;
use crate::state::State;
use crate::story::BoardStatus;
use anyhow::{Context, Result, bail};
use futures_util::StreamExt as _;
use http_link::{Client, Error as HttpError};
use serde_json::{Value, json};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The longest silence of a job that writes to a slot.
const WRITING: Duration = Duration::from_secs(600);
/// How long the device may take to come up again, recovery included.
const RESTART_WITHIN: Duration = Duration::from_secs(300);
/// What is read of a file at once.
const PIECE_BYTES: usize = 256 << 10;

/// Why the command ends before its last step, as the device said it.
#[derive(Debug)]
struct Refused {
    /// For programs.
    error: String,
    /// For people.
    reason: String,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Refused {}

/// What the device refused, if that is what went wrong.
fn refusal_in(error: &anyhow::Error) -> Option<(&str, &str)> {
    if let Some(HttpError::Refused(refusal)) = error.downcast_ref() {
        return Some((&refusal.error, &refusal.reason));
    }
    error.downcast_ref::<Refused>().map(|it| (&*it.error, &*it.reason))
}

/// Runs the command.
pub(crate) async fn run(state: &State, asked: &Update) -> Result<Exit> {
    let mut run = Run { state, api: system(state).await?, show: Reporter::new(asked.json) };
    let ended = run.act(asked).await;
    run.show.clear();
    let error = match ended {
        Ok(view) => {
            if asked.json {
                println!("{view}");
            }
            return Ok(if view["state"] == "failed" { Exit::Failed } else { Exit::Held });
        }
        Err(error) => error,
    };
    let Some((word, reason)) = refusal_in(&error) else { return Err(error) };
    if asked.json {
        println!("{}", json!({ "error": word, "reason": reason }));
    }
    eprintln!("refused: {reason}");
    // A cloud that cannot be reached and a full disk are the environment's.
    let lacking = ["cloud_unreachable", "disk_full", "no_cloud"].contains(&word);
    Ok(if lacking { Exit::Environment } else { Exit::Failed })
}

struct Run<'a> {
    state: &'a State,
    api: Client,
    show: Reporter,
}

impl Run<'_> {
    /// Does what was asked; the view at the end.
    async fn act(&mut self, asked: &Update) -> Result<Value> {
        let only = asked.act.only();
        match only {
            Some(UpdateAct::Status) => {}
            Some(UpdateAct::Check) => drop(self.check().await?),
            Some(UpdateAct::Download) => self.download().await?,
            Some(UpdateAct::Apply) => self.apply().await?,
            Some(UpdateAct::Restart) => return self.restart().await,
            Some(UpdateAct::Discard) => {
                self.api.delete("/v1/update").send().await?;
                self.show.note("discarded");
            }
            None => return self.whole_way(asked.file.as_deref(), !asked.no_restart).await,
        }
        let view = self.view().await?;
        if only == Some(UpdateAct::Status) {
            self.say_status(&view);
        }
        Ok(view)
    }

    /// From wherever it stands to a system that runs.
    async fn whole_way(&mut self, file: Option<&Path>, restart: bool) -> Result<Value> {
        match file {
            Some(file) => self.copy(file).await?,
            None => {
                let view = self.check().await?;
                if view["state"] == "idle" {
                    return Ok(view);
                }
            }
        }
        self.download().await?;
        self.apply().await?;
        if restart { self.restart().await } else { self.view().await }
    }

    async fn view(&self) -> Result<Value> {
        Ok(self.api.get("/v1/update").send_json().await?)
    }

    async fn check(&mut self) -> Result<Value> {
        self.show.waiting("asking the cloud");
        let view: Value = self.api.post("/v1/update/check").send_json().await?;
        self.show.clear();
        let running = text(&view["running"]["build"]);
        match view["state"].as_str() {
            Some("idle") => self.show.note(&format!(
                "nothing to do: {} (this is {running})",
                view["explanation"].as_str().unwrap_or("the cloud was not asked yet")
            )),
            _ => self.show.note(&format!(
                "{running} → {}{}, {}",
                text(&view["update"]["build"]),
                if view["update"]["delta"] == true { " by a delta" } else { "" },
                size(view["update"]["size"].as_u64().unwrap_or(0)),
            )),
        }
        Ok(view)
    }

    async fn download(&mut self) -> Result<()> {
        let before = text(&self.view().await?["state"]);
        let view = self.follow("/v1/update/download", "downloading").await?;
        for note in view["notes"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            self.show.note(&format!("  {note}"));
        }
        let bytes = size(view["update"]["size"].as_u64().unwrap_or(0));
        match &*before {
            "available" | "downloading" => {
                self.show.note(&format!("downloaded: {bytes}; size and SHA-256 are right"));
            }
            _ => self.show.note("the package is here"),
        }
        Ok(())
    }

    async fn apply(&mut self) -> Result<()> {
        let before = text(&self.view().await?["state"]);
        self.follow("/v1/update/apply", "writing").await?;
        self.show.note(match &*before {
            "ready_to_restart" | "restarting" => "it is in the other slot",
            _ => "written to the other slot; the system went on meanwhile",
        });
        Ok(())
    }

    /// Restarts into recovery, and waits for the system that comes up behind it.
    async fn restart(&mut self) -> Result<Value> {
        let before = board_status(self.state).await?.boot_no;
        self.api.post("/v1/update/restart").send().await?;
        self.show.waiting("recovery");
        let start = Instant::now();
        let view = loop {
            if start.elapsed() > RESTART_WITHIN {
                bail!(
                    "the device did not come up within {} s; `holdfast device status` says more",
                    RESTART_WITHIN.as_secs()
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            let Ok(board) = board_status(self.state).await else { continue };
            if let Some(refused) = board.refused.as_ref().filter(|_| board.boot_no > before) {
                bail!("{}", refused.line());
            }
            if board.boot_no <= before || !board.ready {
                continue;
            }
            // Up, but the slot may have to prove itself still.
            match self.view().await {
                Ok(view) if view["state"] != "restarting" => break view,
                _ => {}
            }
        };
        self.show.clear();
        self.say_end(&view);
        Ok(view)
    }

    fn say_end(&mut self, view: &Value) {
        let running = text(&view["running"]["build"]);
        match view["state"].as_str() {
            Some("installed") => self.show.note(&format!("updated: this is {running}")),
            _ => self.show.note(&format!(
                "not updated: {} ({}); this is {running}",
                text(&view["explanation"]),
                text(&view["reason"])
            )),
        }
    }

    fn say_status(&mut self, view: &Value) {
        self.show.note(&format!("{:<10} {}", "running", text(&view["running"]["build"])));
        self.show.note(&format!("{:<10} {}", "state", text(&view["state"])));
        for (name, value) in [
            ("update", &view["update"]["build"]),
            ("reason", &view["reason"]),
            ("", &view["explanation"]),
        ] {
            if let Some(value) = value.as_str() {
                self.show.note(&format!("{name:<10} {value}"));
            }
        }
        if let (Some(size_bytes), Some(bytes)) =
            (view["update"]["size"].as_u64(), view["bytes"].as_u64())
        {
            self.show.note(&format!("{:<10} {} of {}", "package", size(bytes), size(size_bytes)));
        }
        for note in view["notes"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            self.show.note(&format!("{:<10} {note}", "note"));
        }
    }

    /// Streams the file to the device, which judges it.
    async fn copy(&mut self, path: &Path) -> Result<()> {
        let open = || -> io::Result<(std::fs::File, u64)> {
            let file = std::fs::File::open(path)?;
            let metadata = file.metadata()?;
            if !metadata.is_file() {
                return Err(io::Error::other("it is no file"));
            }
            Ok((file, metadata.len()))
        };
        let (file, length) =
            open().map_err(|error| Misused(format!("{}: {error}", path.display())))?;
        let moved = Arc::new(AtomicU64::new(0));
        let pieces = pieces(file, moved.clone());
        let put = self.api.put("/v1/update/file").patience(WRITING).stream(Some(length), pieces);
        let mut sent = std::pin::pin!(put.send_json::<Value>());
        let mut tick = tokio::time::interval(Duration::from_millis(200));
        let view = loop {
            tokio::select! {
                view = &mut sent => break view?,
                _ = tick.tick() => {
                    self.show.progress("copying", moved.load(Ordering::Relaxed), length);
                }
            }
        };
        self.show.clear();
        let (from, to) = (text(&view["running"]["build"]), text(&view["update"]["build"]));
        self.show.note(&format!("{from} → {to}, {}; signed by the maker", size(length)));
        Ok(())
    }

    /// Starts a job of the device and follows it to its end; the view then.
    async fn follow(&mut self, path: &str, what: &str) -> Result<Value> {
        let answer = self.api.post(path).patience(WRITING).send().await?;
        let mut stream = answer.stream();
        let (mut pending, mut last) = (Vec::new(), Value::Null);
        while let Some(piece) = stream.next().await {
            pending.extend_from_slice(&piece?);
            while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = pending.drain(..=end).collect();
                last = serde_json::from_slice(&line)?;
                if let (Some(done), Some(of)) = (last["done"].as_u64(), last["of"].as_u64()) {
                    let what = if last["job"] == "check" { "checking" } else { what };
                    self.show.progress(what, done, of);
                }
            }
        }
        self.show.clear();
        match last["done"].as_bool() {
            Some(true) => Ok(last["update"].take()),
            Some(false) => {
                let (error, reason) = (text(&last["error"]), text(&last["reason"]));
                Err(Refused { error, reason }.into())
            }
            None => bail!("the device ended the job in the middle; the same command goes on"),
        }
    }
}

/// A file's bytes; reading is blocking work.
fn pieces(
    file: std::fs::File,
    moved: Arc<AtomicU64>,
) -> impl futures_util::Stream<Item = io::Result<bytes::Bytes>> + Send + 'static {
    futures_util::stream::try_unfold((file, moved), |(mut file, moved)| async move {
        let read = tokio::task::spawn_blocking(move || {
            let mut piece = vec![0; PIECE_BYTES];
            let length = io::Read::read(&mut file, &mut piece)?;
            piece.truncate(length);
            io::Result::Ok((file, piece))
        });
        let (file, piece) = read.await.map_err(io::Error::other)??;
        moved.fetch_add(piece.len() as u64, Ordering::Relaxed);
        Ok((!piece.is_empty()).then(|| (piece.into(), (file, moved))))
    })
}

/// The system's local API, where the device is on.
async fn system(state: &State) -> Result<Client> {
    let socket = state.path("device/run/holdfast.sock");
    let api = Client::unix(&socket);
    match api.get("/v1/update").send_any().await {
        Ok(_) => Ok(api),
        Err(error) => {
            let off = "the device is off: `holdfast device boot` powers it on";
            Err(Lacking(format!("{}: {off} ({error})", socket.display())).into())
        }
    }
}

async fn board_status(state: &State) -> Result<BoardStatus> {
    let board = Client::unix(&state.path("device/board.sock"));
    board.get("/v1/status").send_json().await.context("the board does not answer")
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn size(bytes: u64) -> String {
    crate::story::size(bytes)
}
