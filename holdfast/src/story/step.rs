//! Playing a step: time it, show it, stop the story where it does not hold.

use super::device::{BoardStatus, stage_line, verdict};
use crate::exit::{Exit, Lacking};
use crate::report::{Evidence, Reporter, Step};
use anyhow::Result;
use std::future::Future;
use std::path::PathBuf;
use std::time::Instant;

/// The story stops here; what happened was shown.
#[derive(Debug)]
pub(crate) struct Stopped;

/// Tells the story.
#[derive(Debug)]
pub(crate) struct Teller {
    pub(crate) reporter: Reporter,
    exit: Exit,
    /// Where the story's state lies: a full disk there explains a failure.
    root: PathBuf,
}

/// With fewer bytes free, a disk counts as full.
const FULL_BELOW: u64 = 2 << 20;

impl Teller {
    pub(crate) const fn new(reporter: Reporter, root: PathBuf) -> Self {
        Self { reporter, exit: Exit::Held, root }
    }

    /// The reason of a failure, and what to do where it is the disk. What the environment lacks
    /// is the story's exit code.
    fn reason(&mut self, error: &anyhow::Error) -> String {
        if error.is::<Lacking>() {
            self.exit = Exit::Environment;
        }
        let mut reason = format!("{error:#}");
        let free = rustix::fs::statvfs(&self.root).map(|disk| disk.f_bavail * disk.f_frsize);
        if free.is_ok_and(|free| free < FULL_BELOW) {
            reason.push_str(&format!(
                ". The disk that holds {} is full: make room, and run `up` again; it goes on from \
                 here",
                self.root.display()
            ));
        }
        reason
    }

    /// How the story went so far.
    pub(crate) const fn exit(&self) -> Exit {
        self.exit
    }

    fn failed(&mut self) {
        if self.exit == Exit::Held {
            self.exit = Exit::Failed;
        }
    }

    /// Plays a step. Where it fails, the story stops.
    pub(crate) async fn step<T>(
        &mut self,
        name: &str,
        play: impl AsyncFnOnce(&mut Reporter) -> Result<(T, Evidence)>,
    ) -> Result<T, Stopped> {
        let start = Instant::now();
        self.reporter.waiting(name);
        let played = play(&mut self.reporter).await;
        let ms = start.elapsed().as_secs_f64() * 1000.0;
        match played {
            Ok((value, evidence)) => {
                self.show(name, true, ms, None, evidence);
                Ok(value)
            }
            Err(error) => {
                let reason = Some(self.reason(&error));
                self.show(name, false, ms, reason, Evidence::none());
                Err(Stopped)
            }
        }
    }

    /// Plays an attack. It holds when it was refused: then `play` gives the reason that the
    /// refusal came with. One that succeeds, or that could not be tried, does not stop the
    /// story: the others are worth seeing.
    pub(crate) async fn attack(
        &mut self,
        name: &str,
        play: impl AsyncFnOnce(&mut Reporter) -> Result<(String, serde_json::Value)>,
    ) {
        let start = Instant::now();
        self.reporter.waiting(name);
        let played = play(&mut self.reporter).await;
        let ms = start.elapsed().as_secs_f64() * 1000.0;
        let name = format!("attack.{name}");
        match played {
            Ok((reason, evidence)) => {
                let line = format!("refused: {reason}");
                self.show(&name, true, ms, Some(reason), Evidence::new(line, evidence));
            }
            Err(error) => {
                let reason = Some(self.reason(&error));
                self.show(&name, false, ms, reason, Evidence::none());
            }
        }
    }

    /// Shows a step that somebody else timed, as the stages of a boot.
    pub(crate) fn timed(
        &mut self,
        name: &str,
        ms: f64,
        refused: Option<String>,
        boot_no: Option<u64>,
        evidence: Evidence,
    ) {
        let step = Step {
            step: name.to_owned(),
            ok: refused.is_none(),
            ms,
            reason: refused,
            existing: false,
            boot_no,
            evidence: evidence.object,
        };
        if !step.ok {
            self.failed();
        }
        self.reporter.step(&step, &evidence.line);
    }

    /// Something between two steps, worth showing only where it fails.
    pub(crate) fn quietly<T>(&mut self, done: Result<T>) -> Result<T, Stopped> {
        done.map_err(|error| {
            let reason = Some(self.reason(&error));
            self.show("story", false, 0.0, reason, Evidence::none());
            Stopped
        })
    }

    /// A program ended in the middle: the step that was played did not come to its end.
    pub(crate) fn broken(&mut self, error: anyhow::Error) {
        let _: Result<(), Stopped> = self.quietly(Err(error));
    }

    /// Waits for a boot; one that can't even be watched is a step that failed.
    pub(crate) async fn boot(
        &mut self,
        boot: impl Future<Output = Result<BoardStatus>>,
    ) -> Result<BoardStatus, Stopped> {
        match boot.await {
            Ok(status) => Ok(status),
            Err(error) => {
                let reason = Some(self.reason(&error));
                self.show("boot.bl1", false, 0.0, reason, Evidence::none());
                Err(Stopped)
            }
        }
    }

    /// Shows the stages of a boot, one step each, as a table.
    pub(crate) fn stages(&mut self, status: &BoardStatus) -> Result<(), Stopped> {
        self.reporter.note(&format!(
            "  {:<28} {:>9}  {:<12} {:<24} {:<16}  verdict",
            "stage", "time", "partition", "version", "digest"
        ));
        for stage in &status.stages {
            let (verdict, refused) = verdict(stage);
            let mut object = serde_json::json!({
                "partition": stage.partition,
                "version": stage.version,
                "digest": stage.digest,
                "verdict": verdict,
            });
            if let Some(ms) = status.boot_ms.filter(|_| stage.stage == "system") {
                object["power_on_ms"] = ms.into();
            }
            let ms = stage.micros as f64 / 1000.0;
            let name = format!("boot.{}", stage.stage);
            self.timed(
                &name,
                ms,
                refused,
                status.boot_no,
                Evidence::new(stage_line(stage), object),
            );
        }
        match &status.refused {
            None => {
                if let Some(ms) = status.boot_ms {
                    self.reporter.note(&format!("  from power-on to the system: {ms:.0} ms"));
                }
                Ok(())
            }
            Some(refused) => {
                let shown = status.stages.iter().any(|stage| verdict(stage).1.is_some());
                if !shown {
                    let name = format!("boot.{}", refused.stage);
                    self.timed(&name, 0.0, Some(refused.line()), status.boot_no, Evidence::none());
                }
                Err(Stopped)
            }
        }
    }

    fn show(&mut self, name: &str, ok: bool, ms: f64, reason: Option<String>, evidence: Evidence) {
        let step = Step {
            step: name.to_owned(),
            ok,
            ms,
            reason,
            existing: evidence.existing,
            boot_no: None,
            evidence: evidence.object,
        };
        if !ok {
            self.failed();
        }
        self.reporter.step(&step, &evidence.line);
    }
}
