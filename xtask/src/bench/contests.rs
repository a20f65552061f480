//! What is measured.

use super::contest::{Contest, Contestant, OURS, Turn};
use super::disk::{self, quiesce, scratch};
use super::story::{STAGES, Story};
use super::{folder, new_phone, storage, verity};
use crate::shell::{has, run};
use anyhow::{Result, ensure};
use std::cell::RefCell;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The contests whose names contain `filter`. Only what they need is prepared.
pub(crate) fn named(filter: &str) -> Result<Vec<Contest>> {
    disk::clear()?;
    // These need no story, and whoever names them wants nothing else.
    let tools = ["verity", "update", "engine", "tee", "sfs", "attest", "pkcs11", "element", "fuse"];
    let of_tools = tools.into_iter().find(|tool| filter.starts_with(tool));
    let mut contests = match of_tools {
        Some("verity") => verity::contests()?,
        Some("engine") => super::engine::all()?,
        Some("tee") => super::tee::contests()?,
        Some("sfs") => storage::contests()?,
        Some("attest") => super::attest::all()?,
        Some("pkcs11") => super::pkcs11::contests()?,
        Some("element") => super::element::contests()?,
        Some("fuse") => super::vault::contests()?,
        Some(_) => super::updates::all()?,
        None => [
            of_story()?,
            verity::contests()?,
            super::updates::all()?,
            super::engine::all()?,
            super::tee::contests()?,
            storage::contests()?,
            super::attest::all()?,
            super::pkcs11::contests()?,
            super::element::contests()?,
            super::vault::contests()?,
        ]
        .into_iter()
        .flatten()
        .collect(),
    };
    contests.retain(|it| it.name.contains(filter));
    Ok(contests)
}

/// What the story does. One run of it serves all of ours in a round.
fn of_story() -> Result<Vec<Contest>> {
    let folder = folder::mixed()?;
    let story = Rc::new(RefCell::new(Story::new(folder.clone())));
    let mib = folder::bytes(&folder)? as f64 / f64::from(1 << 20);
    let mut contests = vec![
        rate("vault import", "vault.import", &story, mib, copy_peers(&folder)),
        rate("sync upload", "sync.upload", &story, mib, rclone_up(&folder)),
        restore(&folder, mib),
        duration("power-on: the whole chain", ours(&story, Story::boot), Vec::new()),
    ];
    for stage in STAGES {
        let name = format!("boot.{stage}");
        let ours = ours(&story, move |story, number| {
            let turn = story.step(number, &name)?;
            Ok(Turn { cpu_s: None, ..turn })
        });
        let peers = if stage == "system" { digest_peers() } else { Vec::new() };
        contests.push(duration(&format!("power-on: {stage}"), ours, peers));
    }
    Ok(contests)
}

/// Our turns: what `take` reads from one run after the other.
fn ours(
    story: &Rc<RefCell<Story>>,
    take: impl Fn(&mut Story, usize) -> Result<Turn> + 'static,
) -> Contestant {
    let story = story.clone();
    let mut number = 0;
    let turn = move || {
        let turn = take(&mut story.borrow_mut(), number)?;
        number += 1;
        Ok(turn)
    };
    Contestant { name: OURS.to_owned(), turn: Box::new(turn) }
}

fn rate(
    name: &str,
    step: &'static str,
    story: &Rc<RefCell<Story>>,
    mib: f64,
    peers: Vec<Contestant>,
) -> Contest {
    let mut contestants = vec![ours(story, move |story, number| {
        let turn = story.step(number, step)?;
        Ok(Turn { value: mib / turn.value * 1000.0, ..turn })
    })];
    contestants.extend(peers);
    let (name, unit) = (name.to_owned(), "MiB/s");
    Contest { name, unit, more_is_better: true, contestants }
}

fn restore(folder: &Path, mib: f64) -> Contest {
    let from = folder.to_owned();
    let turn = Box::new(move || new_phone::restore(&from, mib));
    let mut contestants = vec![Contestant { name: OURS.to_owned(), turn }];
    contestants.extend(rclone_down(folder));
    Contest { name: "restore".to_owned(), unit: "MiB/s", more_is_better: true, contestants }
}

pub(super) fn duration(name: &str, ours: Contestant, peers: Vec<Contestant>) -> Contest {
    let contestants = std::iter::once(ours).chain(peers).collect();
    Contest { name: name.to_owned(), unit: "ms", more_is_better: false, contestants }
}

/// SHA-256 over as much as the system partition's image has, on one core.
fn digest_peers() -> Vec<Contestant> {
    let turn = || {
        let image = disk::scratch("digest")?.join("64 MiB");
        std::fs::write(&image, folder::random_bytes(64 << 20))?;
        let cpu = children_cpu_s();
        let start = Instant::now();
        crate::shell::output(Command::new("sha256sum").arg(&image))?;
        let value = start.elapsed().as_secs_f64() * 1000.0;
        Ok(Turn { value, cpu_s: Some(children_cpu_s() - cpu) })
    };
    vec![Contestant { name: "sha256sum of 64 MiB".to_owned(), turn: Box::new(turn) }]
}

fn copy_peers(folder: &Path) -> Vec<Contestant> {
    let mut peers = vec![timed("cp -r", folder, |folder, to| {
        run(Command::new("cp").arg("-r").arg(folder).arg(to.join("copy")))
    })];
    if has("gocryptfs") && has("fusermount") {
        peers.push(timed("gocryptfs", folder, gocryptfs));
    } else {
        eprintln!("gocryptfs or fusermount is missing: not measured");
    }
    peers
}

/// Copies into a fresh gocryptfs mount.
fn gocryptfs(folder: &Path, to: &Path) -> Result<()> {
    let (cipher, plain) = (to.join("cipher"), to.join("plain"));
    fs::create_dir_all(&cipher)?;
    fs::create_dir_all(&plain)?;
    let password = to.join("password");
    fs::write(&password, "benchmark")?;
    let command = |args: &[&str]| {
        let mut command = Command::new("gocryptfs");
        command.args(["-q", "-passfile"]).arg(&password).args(args);
        command
    };
    run(command(&["-init", "-scryptn=10"]).arg(&cipher))?;
    // In the foreground it is a child, whose CPU time counts.
    let mut mounted = command(&["-fg"]).arg(&cipher).arg(&plain).spawn()?;
    while !is_mounted(&plain) {
        ensure!(mounted.try_wait()?.is_none(), "gocryptfs did not mount");
        std::thread::sleep(Duration::from_millis(5));
    }
    let copied = run(Command::new("cp").arg("-r").arg(folder).arg(plain.join("copy")));
    run(Command::new("fusermount").arg("-u").arg(&plain))?;
    mounted.wait()?;
    copied
}

fn is_mounted(folder: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    mounts.lines().any(|line| line.split(' ').nth(1) == folder.to_str())
}

fn rclone_up(folder: &Path) -> Vec<Contestant> {
    if !has("rclone") {
        return Vec::new();
    }
    vec![timed("rclone copy", folder, |folder, to| {
        run(rclone(to)?.arg("copy").arg(folder).arg("secret:"))
    })]
}

fn rclone_down(folder: &Path) -> Vec<Contestant> {
    if !has("rclone") {
        return Vec::new();
    }
    let source = folder.to_owned();
    let mib = folder::bytes(folder).unwrap_or(0) as f64 / f64::from(1 << 20);
    let turn = move || {
        let to = scratch("rclone-down")?;
        run(rclone(&to)?.arg("copy").arg(&source).arg("secret:"))?;
        quiesce()?;
        clock(mib, || run(rclone(&to)?.arg("copy").arg("secret:").arg(to.join("back"))))
    };
    vec![Contestant { name: "rclone copy".to_owned(), turn: Box::new(turn) }]
}

/// rclone with a crypt remote over a local folder in `to`.
fn rclone(to: &Path) -> Result<Command> {
    let config = to.join("rclone.conf");
    if !config.exists() {
        let obscured = crate::shell::output(Command::new("rclone").args(["obscure", "benchmark"]))?;
        let remote = to.join("remote");
        fs::write(
            &config,
            format!(
                "[secret]\ntype = crypt\nremote = {}\npassword = {}\n",
                remote.display(),
                obscured.trim()
            ),
        )?;
    }
    let mut command = Command::new("rclone");
    command.env_remove("AWS_CA_BUNDLE").arg("--config").arg(config).arg("--transfers=8");
    Ok(command)
}

/// A peer that reads `folder` and writes below a fresh scratch folder, cold and durably.
fn timed(
    name: &str,
    folder: &Path,
    job: impl Fn(&Path, &Path) -> Result<()> + 'static,
) -> Contestant {
    let folder = folder.to_owned();
    let turn = move || {
        let to = scratch("peer")?;
        let mib = folder::bytes(&folder)? as f64 / f64::from(1 << 20);
        quiesce()?;
        clock(mib, || job(&folder, &to))
    };
    Contestant { name: name.to_owned(), turn: Box::new(turn) }
}

/// MiB a second until the job is done and on the disk, and the CPU time of its processes.
fn clock(mib: f64, job: impl FnOnce() -> Result<()>) -> Result<Turn> {
    let cpu = children_cpu_s();
    let start = Instant::now();
    job()?;
    run(&mut Command::new("sync"))?;
    let value = mib / start.elapsed().as_secs_f64();
    Ok(Turn { value, cpu_s: Some(children_cpu_s() - cpu) })
}

/// Seconds of CPU of all children that were waited for.
pub(super) fn children_cpu_s() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Fields 16 and 17 (proc(5)): cutime, cstime in ticks of 10 ms; counted behind the name.
    let after = stat.rsplit(')').next().unwrap_or_default();
    let ticks = |at: usize| after.split_whitespace().nth(at).and_then(|it| it.parse().ok());
    (ticks(13).unwrap_or(0.0) + ticks(14).unwrap_or(0.0)) / 100.0
}
