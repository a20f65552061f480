//! What this machine offers, which backend each part of Holdfast therefore uses, and what would
//! make it stronger.
//!
//! Nothing is believed from a version number: each thing is really tried, the dangerous ones in
//! a child process that ends at once.

mod board;
mod hardware;
mod kernel;
mod namespaces;
mod storage;

use serde::Serialize;
use std::fmt;
use std::path::Path;

/// The examination of one machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Report {
    /// As `Linux 6.12.0 x86_64`.
    pub(crate) system: String,
    /// Whether Holdfast runs as root here. It need not.
    pub(crate) root: bool,
    /// Whether the story can be told: all that it can't do without is there.
    pub(crate) sufficient: bool,
    /// One for each thing that was tried.
    pub(crate) findings: Vec<Finding>,
}

/// One thing that a machine may offer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// For programs, as `user_namespaces`.
    pub(crate) name: &'static str,
    /// For people.
    pub(crate) title: &'static str,
    /// Whether it is there and works.
    pub(crate) present: bool,
    /// Whether Holdfast can't run without it.
    pub(crate) required: bool,
    /// What was seen: a version, a number, an error.
    pub(crate) detail: String,
    /// Who uses it, or what is used in its place.
    pub(crate) used: &'static str,
    /// What would make it stronger; nothing where nothing would.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stronger: Option<String>,
}

/// What trying something showed: a detail for people either way.
type Trial = Result<String, String>;

/// What there is to say about a thing, before it is tried.
struct Subject {
    name: &'static str,
    title: &'static str,
    required: bool,
    /// Who uses it where it works.
    used: &'static str,
    /// What is used where it does not.
    instead: &'static str,
    /// How to get it, or what it would be good for.
    stronger: &'static str,
}

impl Subject {
    fn found(self, trial: Trial) -> Finding {
        let present = trial.is_ok();
        let (Ok(detail) | Err(detail)) = trial;
        Finding {
            name: self.name,
            title: self.title,
            present,
            required: self.required,
            detail,
            used: if present { self.used } else { self.instead },
            stronger: (!present).then(|| self.stronger.to_owned()),
        }
    }
}

/// Examines this machine, and the file system that `state` is or will be on.
pub(crate) fn examine(state: Option<&Path>) -> Report {
    let probe = namespaces::Probe::run();
    let mut findings = vec![
        namespaces::finding(&probe),
        namespaces::limits(),
        kernel::landlock(),
        kernel::seccomp(),
        kernel::memfd_secret(),
        storage::fscrypt(state),
        storage::fuse(&probe),
    ];
    findings.extend(hardware::findings());
    findings.push(board::finding(state));
    let uname = rustix::system::uname();
    let text = |name: &std::ffi::CStr| name.to_string_lossy().into_owned();
    Report {
        system: [uname.sysname(), uname.release(), uname.machine()].map(text).join(" "),
        root: rustix::process::geteuid().is_root(),
        sufficient: findings.iter().all(|finding| finding.present || !finding.required),
        findings,
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = if self.root { "root" } else { "an ordinary user" };
        writeln!(f, "{}, as {user}\n", self.system)?;
        let width =
            self.findings.iter().map(|finding| finding.title.chars().count()).max().unwrap_or(0);
        for finding in &self.findings {
            finding.write(f, width)?;
        }
        f.write_str(match self.sufficient {
            true => "\nHoldfast runs here.\n",
            false => "\nHoldfast can't run here: see the lines with an exclamation mark.\n",
        })
    }
}

impl Finding {
    fn write(&self, f: &mut fmt::Formatter<'_>, width: usize) -> fmt::Result {
        let mark = match (self.present, self.required) {
            (true, _) => '✓',
            (false, false) => '–',
            (false, true) => '!',
        };
        let indent = width + 5;
        writeln!(f, "{mark}  {:width$}  {}", self.title, wrap(&self.detail, indent))?;
        writeln!(f, "{:indent$}→ {}", "", wrap(self.used, indent + 2))?;
        if let Some(stronger) = &self.stronger {
            writeln!(f, "{:indent$}↑ {}", "", wrap(stronger, indent + 2))?;
        }
        Ok(())
    }
}

/// Columns of a line.
const COLUMNS: usize = 96;

/// Breaks `text` so that it fits to the right of `indent` columns.
fn wrap(text: &str, indent: usize) -> String {
    let mut out = String::new();
    let mut column = indent;
    for (index, word) in text.split(' ').enumerate() {
        let length = word.chars().count();
        if index > 0 && column + 1 + length > COLUMNS {
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            column = indent;
        } else if index > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examines_everything_once_and_says_what_is_used() {
        let report = examine(None);
        let names: Vec<_> = report.findings.iter().map(|finding| finding.name).collect();
        let expected = [
            "user_namespaces",
            "user_namespace_limits",
            "landlock",
            "seccomp",
            "memfd_secret",
            "fscrypt",
            "fuse",
            "tpm",
            "kvm",
            "board",
        ];
        assert_eq!(names, expected);
        for finding in &report.findings {
            assert!(!finding.detail.is_empty() && !finding.used.is_empty());
            assert!(finding.present || finding.stronger.is_some(), "{}", finding.name);
        }
    }

    #[test]
    fn the_table_marks_what_is_there_what_is_not_and_what_is_needed() {
        let finding = |present, required| Finding {
            name: "x",
            title: "Thing",
            present,
            required,
            detail: "seen".into(),
            used: "this",
            stronger: (!present).then(|| "do that ".repeat(30).trim().to_owned()),
        };
        let report = Report {
            system: "Linux 1 x86_64".into(),
            root: false,
            sufficient: false,
            findings: vec![finding(true, true), finding(false, false), finding(false, true)],
        };
        let shown = report.to_string();
        assert!(shown.starts_with("Linux 1 x86_64, as an ordinary user\n\n✓  Thing  seen\n"));
        assert!(shown.contains("\n–  Thing  seen\n          → this\n          ↑ do that do"));
        assert!(shown.contains("\n!  Thing"));
        assert!(shown.ends_with("exclamation mark.\n"));
        assert!(shown.lines().all(|line| line.chars().count() <= COLUMNS));
    }

    #[test]
    fn json_carries_the_same_findings() {
        let report = examine(None);
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["findings"].as_array().unwrap().len(), report.findings.len());
        assert_eq!(json["findings"][0]["name"], "user_namespaces");
        assert_eq!(json["root"], report.root);
    }
}
