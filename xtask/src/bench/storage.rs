//! Durable objects of 4 KiB: a trusted application's in the system's files, and SQLite's.
//!
//! Ours is the whole way: a program of the system calls a real TA on the real trusted OS; the
//! program that keeps the files and the RPMB chip write to the same disk as SQLite. What bounds
//! all of them is how often they wait for that disk: ours twice a commit (the file, then RPMB),
//! SQLite's write-ahead log once, its rollback journal three or four times.

use super::contest::{Contest, Contestant, OURS, Turn};
use super::contests::children_cpu_s;
use super::disk::{quiesce, scratch};
use crate::shell::{cargo, has, output, root};
use anyhow::{Context, Result};
use std::process::Command;

/// One object a commit, and how many in one.
const GROUPS: [(&str, u32); 2] = [("one a commit", 1), ("16 a commit", 16)];
/// Commits of a turn.
const COMMITS: u32 = 100;

/// SQLite as it says that it loses nothing: `synchronous = FULL`.
const SQLITE: &str = r#"
import os, sqlite3, sys, time
folder, journal, commits, group = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
db = sqlite3.connect(os.path.join(folder, 'objects.db'), isolation_level=None)
db.execute('pragma journal_mode = ' + journal)
db.execute('pragma synchronous = full')
db.execute('create table object (name text primary key, content blob)')
def commit(at):
    db.execute('begin')
    for n in range(group):
        name, content = 'object %d' % ((at * group + n) % 256), os.urandom(4096)
        db.execute('insert or replace into object values (?, ?)', (name, content))
    db.execute('commit')
for at in range(256 // group):
    commit(at)
start = time.monotonic()
for at in range(commits):
    commit(at)
print('seconds', time.monotonic() - start)
"#;

/// Single objects, and batches.
pub(crate) fn contests() -> Result<Vec<Contest>> {
    cargo(&["build", "--quiet", "--package", "ta-gatekeeper"])?;
    cargo(&["build", "--quiet", "--package", "tee-sdk", "--example", "ta-probe"])?;
    cargo(&["test", "--quiet", "--package", "tee-os", "--test", "trusted_os", "--no-run"])?;
    let contest = |(what, group): (&str, u32)| {
        let mut contestants = vec![contestant(OURS, group, ours)];
        if has("python3") {
            contestants.push(contestant("SQLite, rollback journal", group, rollback_journal));
            contestants.push(contestant("SQLite, write-ahead log", group, write_ahead_log));
        }
        let name = format!("sfs: durable objects of 4 KiB, {what}");
        Contest { name, unit: "objects/s", more_is_better: true, contestants }
    };
    Ok(GROUPS.into_iter().map(contest).collect())
}

/// Makes the command that writes to the folder so many objects a commit.
type Writes = fn(folder: &str, group: u32) -> Command;

fn contestant(name: &str, group: u32, writes: Writes) -> Contestant {
    let turn = move || {
        let folder = scratch("sfs")?;
        let mut command = writes(&folder.to_string_lossy(), group);
        quiesce()?;
        let cpu = children_cpu_s();
        let said = output(&mut command)?;
        let seconds = said.lines().find_map(|line| line.split_once("seconds ")?.1.parse().ok());
        let seconds: f64 = seconds.context("the contestant says how long it took")?;
        let value = f64::from(COMMITS * group) / seconds;
        Ok(Turn { value, cpu_s: Some(children_cpu_s() - cpu) })
    };
    Contestant { name: name.to_owned(), turn: Box::new(turn) }
}

fn ours(folder: &str, group: u32) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(root());
    command.args(["test", "--quiet", "--package", "tee-os", "--test", "trusted_os", "--"]);
    command.args(["--exact", "bench::durable_objects", "--nocapture"]);
    command.env("HOLDFAST_BENCH_SFS", format!("{folder}\n{COMMITS}\n{group}"));
    command
}

fn rollback_journal(folder: &str, group: u32) -> Command {
    sqlite(folder, "delete", group)
}

fn write_ahead_log(folder: &str, group: u32) -> Command {
    sqlite(folder, "wal", group)
}

fn sqlite(folder: &str, journal: &str, group: u32) -> Command {
    let mut command = Command::new("python3");
    command.args(["-c", SQLITE, folder, journal, &COMMITS.to_string(), &group.to_string()]);
    command
}
