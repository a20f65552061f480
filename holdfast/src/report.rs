//! What the story shows: one line a step for people, one JSON object a step for programs.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use serde_json::{Value, json};
use std::io::{IsTerminal, Write};
use std::time::Duration;

/// How a step came out.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Step {
    /// Its name, as `boot.bl1`.
    pub(crate) step: String,
    /// Whether it held; for an attack, whether it was refused.
    pub(crate) ok: bool,
    /// Milliseconds.
    pub(crate) ms: f64,
    /// Why not, or why an attack was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// It stood already.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) existing: bool,
    /// Which power-on, for the boot's stages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) boot_no: Option<u64>,
    /// What shows it.
    pub(crate) evidence: Value,
}

/// What turns or fills on standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bar {
    /// A spinner.
    Waiting,
    /// A bar with figures.
    Counting,
}

/// A step that is shorter shows no bar.
const SHOWN_AFTER: Duration = Duration::from_secs(1);
const BAR: &str = "  {msg:<24} {bar:32} {bytes:>10} of {total_bytes:<10} {bytes_per_sec}";

/// Where the story goes.
#[derive(Debug)]
pub(crate) struct Reporter {
    json: bool,
    colour: bool,
    bar: Option<(Bar, ProgressBar)>,
}

impl Reporter {
    /// JSON on standard output, or text.
    pub(crate) fn new(json: bool) -> Self {
        let colour =
            !json && std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { json, colour, bar: None }
    }

    /// Begins a chapter: a heading for people.
    pub(crate) fn chapter(&mut self, title: &str) {
        if !self.json {
            self.say(&format!("\n{}", self.paint("1", title)));
        }
    }

    /// A line for people that is no step: a table, an address.
    pub(crate) fn note(&mut self, line: &str) {
        if !self.json {
            self.say(line);
        }
    }

    /// Shows a step.
    pub(crate) fn step(&mut self, step: &Step, line: &str) {
        self.clear();
        if self.json {
            self.object(&serde_json::to_value(step).unwrap_or(Value::Null));
            return;
        }
        let mark = if step.ok { self.paint("32", "✓") } else { self.paint("31;1", "✗") };
        let time = self.paint("2", &format!("{:>9}", duration(step.ms)));
        let name = format!("{:<28}", step.step);
        let standing = if step.existing { " (stands)" } else { "" };
        self.say(&format!("{mark} {name} {time}  {line}{standing}"));
        if let Some(reason) = step.reason.as_ref().filter(|_| !step.ok) {
            self.say(&format!("  {}", self.paint("31", reason)));
        }
    }

    /// A JSON object that is no step, as `ready`.
    pub(crate) fn object(&self, value: &Value) {
        if self.json {
            println!("{value}");
            let _ = std::io::stdout().flush();
        }
    }

    /// A step begins whose length nobody knows: after a second a spinner turns on standard error.
    pub(crate) fn waiting(&mut self, what: &str) {
        let spinner = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        spinner.set_style(ProgressStyle::default_spinner());
        spinner.set_message(what.to_owned());
        let weak = spinner.downgrade();
        std::thread::spawn(move || {
            std::thread::sleep(SHOWN_AFTER);
            if let Some(spinner) = weak.upgrade().filter(|it| !it.is_finished()) {
                spinner.set_draw_target(ProgressDrawTarget::stderr());
                spinner.enable_steady_tick(Duration::from_millis(100));
            }
        });
        self.clear();
        self.bar = Some((Bar::Waiting, spinner));
    }

    /// Says how far a long step is. Shown after the first second, on standard error.
    pub(crate) fn progress(&mut self, what: &str, done: u64, of: u64) {
        if !matches!(self.bar, Some((Bar::Counting, _))) {
            self.clear();
            let bar = ProgressBar::with_draw_target(Some(of.max(1)), ProgressDrawTarget::hidden());
            if let Ok(style) = ProgressStyle::with_template(BAR) {
                bar.set_style(style);
            }
            self.bar = Some((Bar::Counting, bar));
        }
        let Some((_, bar)) = &self.bar else { return };
        if bar.is_hidden() && bar.elapsed() > SHOWN_AFTER {
            bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        bar.set_message(what.to_owned());
        bar.set_length(of.max(done).max(1));
        bar.set_position(done);
    }

    /// Takes the progress bar away.
    pub(crate) fn clear(&mut self) {
        if let Some((_, bar)) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn say(&mut self, line: &str) {
        self.clear();
        println!("{line}");
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// `1.2 ms`, `340 ms`, `2.1 s`.
fn duration(ms: f64) -> String {
    match ms {
        ms if ms < 10.0 => format!("{ms:.1} ms"),
        ms if ms < 1000.0 => format!("{ms:.0} ms"),
        ms => format!("{:.1} s", ms / 1000.0),
    }
}

/// What a step found, before it is a [`Step`].
#[derive(Debug)]
pub(crate) struct Evidence {
    /// For people, one line.
    pub(crate) line: String,
    /// For programs, an object.
    pub(crate) object: Value,
    /// It stood already.
    pub(crate) existing: bool,
}

impl Evidence {
    /// Evidence of something done now.
    pub(crate) fn new(line: impl Into<String>, object: Value) -> Self {
        Self { line: line.into(), object, existing: false }
    }

    /// Evidence of something that stood already.
    pub(crate) fn existing(line: impl Into<String>, object: Value) -> Self {
        Self { line: line.into(), object, existing: true }
    }

    /// No evidence but a reason.
    pub(crate) fn none() -> Self {
        Self { line: String::new(), object: json!({}), existing: false }
    }
}
