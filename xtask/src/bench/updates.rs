//! Updates: full payloads, applying one, deltas.
//!
//! Images are a quarter of the 256 MiB (the delta) or less (xz, at 3 MB a second), so that
//! three rounds stay within minutes; nothing in the work is other than linear in the size.

use super::contest::{Contest, Contestant, OURS, Turn};
use super::contests::children_cpu_s;
use super::disk::scratch;
use super::folder::random_bytes;
use crate::shell::{has, run, target_dir};
use anyhow::Result;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

const MIB: usize = 1 << 20;

/// The contests about updates.
pub(super) fn all() -> Result<Vec<Contest>> {
    let folder = target_dir()?.join("bench-updates");
    prepare(&folder)?;
    Ok(vec![full(&folder), apply(&folder), delta(&folder, false), delta(&folder, true)])
}

/// Two builds: half words, half what nothing compresses; a block in fifty of the second is new, and
/// a few bytes in another.
fn prepare(folder: &Path) -> Result<()> {
    for build in ["old", "new", "small"] {
        fs::create_dir_all(folder.join(build))?;
    }
    let old = image(64 * MIB);
    let mut new = old.clone();
    let fresh = random_bytes(new.len() / 50);
    for (number, bytes) in fresh.chunks(2048).enumerate() {
        let at = number * 4096 * 25;
        if at + 4096 * 13 < new.len() {
            new[at..at + bytes.len()].copy_from_slice(bytes);
            new[at + 4096 * 12..at + 4096 * 12 + 16].copy_from_slice(&bytes[..16]);
        }
    }
    fs::write(folder.join("small/system.img"), &old[..48 * MIB])?;
    fs::write(folder.join("old/system.img"), old)?;
    Ok(fs::write(folder.join("new/system.img"), new)?)
}

/// As programs have it: half of it repeats words.
fn image(length: usize) -> Vec<u8> {
    let random = random_bytes(length);
    let mut out = Vec::with_capacity(length + 64);
    for piece in random.chunks(16) {
        out.extend(&piece[..8]);
        out.extend(format!("{:>8}", u16::from(piece[8]) * 3).bytes());
    }
    out.truncate(length);
    out
}

fn full(folder: &Path) -> Contest {
    let ours = ota(folder, &["make", "small", "--bare", "-o", "small.bin"]);
    let peer = timed(
        "xz -6 -T0",
        move |folder| {
            run(Command::new("xz")
                .args(["-6", "-T0", "-k", "-f", "small/system.img"])
                .current_dir(folder))
        },
        folder,
    );
    contest("update: full payload of 48 MiB, xz", "ms", vec![ours, peer])
}

fn apply(folder: &Path) -> Contest {
    let ours = ota(folder, &["extract", "small.bin", "-o", "out"]);
    let mut contestants = vec![ours];
    if has("payload_dumper") {
        contestants.push(timed(
            "payload_dumper",
            |folder| {
                let out = scratch("dumped")?;
                let mut command = Command::new("payload_dumper");
                command.args(["small.bin", "--out"]).arg(out).stdout(Stdio::null());
                run(command.current_dir(folder))
            },
            folder,
        ));
    } else {
        eprintln!("payload_dumper is missing (cargo install payload_dumper): not measured");
    }
    contest("update: apply that payload", "ms", contestants)
}

/// A delta: its size, or the time it takes.
fn delta(folder: &Path, by_size: bool) -> Contest {
    let ours = ota(folder, &["delta", "--from", "old", "--to", "new", "--bare", "-o", "delta.bin"]);
    let peer = timed(
        "zstd --patch-from, best level",
        |folder| {
            let zstd = ["-q", "-f", "--ultra", "-22", "--long=27", "--patch-from=old/system.img"];
            let to = ["new/system.img", "-o", "delta.zst"];
            run(Command::new("zstd").args(zstd).args(to).current_dir(folder))
        },
        folder,
    );
    if !by_size {
        return contest("update: delta of 64 MiB, 2 % changed, time", "ms", vec![ours, peer]);
    }
    let sized = |contestant: Contestant, file: PathBuf| {
        let turn = move || {
            let value = fs::metadata(&file)?.len() as f64 / 1024.0;
            Ok(Turn { value, cpu_s: None })
        };
        Contestant { name: contestant.name, turn: Box::new(turn) }
    };
    let contestants =
        vec![sized(ours, folder.join("delta.bin")), sized(peer, folder.join("delta.zst"))];
    contest("update: that delta, size", "KiB", contestants)
}

fn contest(name: &str, unit: &'static str, contestants: Vec<Contestant>) -> Contest {
    Contest { name: name.to_owned(), unit, more_is_better: false, contestants }
}

/// `holdfast ota` with these arguments, in the folder of the images.
fn ota(folder: &Path, arguments: &'static [&'static str]) -> Contestant {
    timed(
        OURS,
        move |folder| {
            let program = target_dir()?.join("debug/holdfast");
            run(Command::new(program)
                .arg("ota")
                .args(arguments)
                .stdout(Stdio::null())
                .current_dir(folder))
        },
        folder,
    )
}

fn timed(name: &str, job: impl Fn(&Path) -> Result<()> + 'static, folder: &Path) -> Contestant {
    let folder = folder.to_owned();
    let turn = move || {
        let cpu = children_cpu_s();
        let start = Instant::now();
        job(&folder)?;
        let value = start.elapsed().as_secs_f64() * 1000.0;
        Ok(Turn { value, cpu_s: Some(children_cpu_s() - cpu) })
    };
    Contestant { name: name.to_owned(), turn: Box::new(turn) }
}
