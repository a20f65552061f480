//! The trusted OS: an empty call of a trusted application beside one socket echo, how long one
//! takes to start, and what both take of memory. Every measurement boots a trusted OS of its own.

use super::contest::{Contest, Contestant, OURS, Turn};
use super::contests::duration;
use crate::shell::{cargo, output, target_dir};
use anyhow::{Context as _, Result};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// Round trips of one turn.
const CALLS: &str = "20000";
/// Starts of one turn.
const STARTS: &str = "20";

/// All of them.
pub(crate) fn contests() -> Result<Vec<Contest>> {
    cargo(&["build", "--quiet", "--package", "ta-gatekeeper", "--package", "tee-os", "--bins"])?;
    cargo(&["build", "--quiet", "--package", "tee-sdk", "--example", "ta-probe"])?;
    cargo(&["build", "--quiet", "--package", "tee-os", "--example", "tee-bench"])?;
    let program = target_dir()?.join("debug/examples/tee-bench");
    let calls = contestant(OURS, &program, &["calls", CALLS], "value");
    let echo = contestant("one SEQPACKET echo", &program, &["echo", CALLS], "value");
    let start = contestant(OURS, &program, &["start", STARTS], "value");
    let memory = |name: &str, key| Contest {
        name: format!("tee: {name}, resident"),
        unit: "KiB",
        more_is_better: false,
        contestants: vec![contestant(OURS, &program, &["memory"], key)],
    };
    Ok(vec![
        Contest {
            name: "tee: an empty call, there and back".to_owned(),
            unit: "µs",
            more_is_better: false,
            contestants: vec![calls, echo],
        },
        duration("tee: start of a trusted application, until its first answer", start, Vec::new()),
        memory("the trusted OS", "os_kib"),
        memory("an idle trusted application", "ta_kib"),
    ])
}

fn contestant(
    name: &str,
    program: &Path,
    arguments: &'static [&'static str],
    key: &'static str,
) -> Contestant {
    let program = program.to_owned();
    let turn = move || {
        let said: Value = serde_json::from_str(&output(Command::new(&program).args(arguments))?)?;
        let value = said[key].as_f64().with_context(|| format!("tee-bench says {key}"))?;
        Ok(Turn { value, cpu_s: said["cpu_s"].as_f64() })
    };
    Contestant { name: name.to_owned(), turn: Box::new(turn) }
}
