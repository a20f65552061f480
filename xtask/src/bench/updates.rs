//! Updates: a full payload of 256 MiB, applying it, and a delta between two such images.

use super::contest::{Contest, Contestant, OURS, Turn};
use super::contests::children_cpu_s;
use super::disk::scratch;
use super::folder::random_bytes;
use crate::shell::{has, run, target_dir};
use anyhow::{Context, Result, ensure};
use std::cell::OnceCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const MIB: usize = 1 << 20;
const IMAGE_MIB: usize = 256;
/// How often a process's memory is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// The contests about updates.
pub(super) fn all() -> Result<Vec<Contest>> {
    let folder = target_dir()?.join("bench-updates");
    prepare(&folder)?;
    let mut contests = full(&folder);
    contests.push(apply(&folder));
    contests.extend(delta(&folder)?);
    Ok(contests)
}

/// Two builds: half words, half what nothing compresses; a block in fifty of the second is new, and
/// a few bytes in another.
fn prepare(folder: &Path) -> Result<()> {
    for build in ["old", "new"] {
        fs::create_dir_all(folder.join(build))?;
    }
    let length = IMAGE_MIB * MIB;
    let random = random_bytes(length + length / 50);
    let (random, fresh) = random.split_at(length);
    let old = image(random);
    let mut new = old.clone();
    for (number, bytes) in fresh.chunks(2048).enumerate() {
        let at = number * 4096 * 25;
        if at + 4096 * 13 < new.len() {
            new[at..at + bytes.len()].copy_from_slice(bytes);
            new[at + 4096 * 12..at + 4096 * 12 + 16].copy_from_slice(&bytes[..16]);
        }
    }
    fs::write(folder.join("old/system.img"), old)?;
    Ok(fs::write(folder.join("new/system.img"), new)?)
}

/// As programs have it: half of it repeats words.
fn image(random: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(random.len());
    for piece in random.chunks(16) {
        out.extend(&piece[..8]);
        out.extend(format!("{:>8}", u16::from(piece[8]) * 3).bytes());
    }
    out
}

/// A full payload, its time and its size: `xz` on the same bytes with as many threads.
fn full(folder: &Path) -> Vec<Contest> {
    let ours = ota(folder, &["make", "old", "--bare", "-o", "full.bin"]);
    let peer = timed(
        "xz -6 -T0",
        |folder| {
            let arguments = ["-6", "-T0", "-k", "-f", "old/system.img"];
            run(Command::new("xz").args(arguments).current_dir(folder))
        },
        folder,
    );
    let sizes = [(OURS, "full.bin"), ("xz -6 -T0", "old/system.img.xz")]
        .map(|(name, file)| size_of(name, folder.join(file)));
    let name = format!("update: full payload of {IMAGE_MIB} MiB, xz");
    vec![
        contest(&name, "ms", vec![ours, peer]),
        contest(&format!("{name}, size"), "KiB", sizes.into()),
    ]
}

fn apply(folder: &Path) -> Contest {
    let ours = ota(folder, &["extract", "full.bin", "-o", "out"]);
    let mut contestants = vec![ours];
    if has("payload_dumper") {
        contestants.push(timed(
            "payload_dumper",
            |folder| {
                let out = scratch("dumped")?;
                let mut command = Command::new("payload_dumper");
                command.args(["full.bin", "--out"]).arg(out).stdout(Stdio::null());
                run(command.current_dir(folder))
            },
            folder,
        ));
    } else {
        eprintln!("payload_dumper is missing (cargo install payload_dumper): not measured");
    }
    contest("update: apply that payload", "ms", contestants)
}

/// A delta: its size and the most memory that making it takes. Both are the same each time, so
/// each is made once.
fn delta(folder: &Path) -> Result<Vec<Contest>> {
    let mut ours = Command::new(target_dir()?.join("debug/holdfast"));
    ours.args(["ota", "delta", "--from", "old", "--to", "new", "--bare", "-o", "delta.bin"]);
    let mut zstd = Command::new("zstd");
    zstd.args(["-q", "-f", "--ultra", "-22", "--long=31", "--patch-from=old/system.img"]);
    zstd.args(["new/system.img", "-o", "delta.zst"]);
    let name = format!("update: delta of {IMAGE_MIB} MiB, 2 % changed");
    let peer = "zstd --ultra -22 --long=31 --patch-from";
    let (ours_size, ours_memory) = made_once(OURS, ours, folder, "delta.bin");
    let (peer_size, peer_memory) = made_once(peer, zstd, folder, "delta.zst");
    let images = (IMAGE_MIB * 2) as f64;
    let twice = constant("twice the image", images);
    Ok(vec![
        contest(&format!("{name}, size"), "KiB", vec![ours_size, peer_size]),
        contest(&format!("{name}, peak memory"), "MiB", vec![ours_memory, twice, peer_memory]),
    ])
}

/// The contestants in size and in memory of a command that makes `file`.
fn made_once(
    name: &str,
    mut command: Command,
    folder: &Path,
    file: &'static str,
) -> (Contestant, Contestant) {
    command.current_dir(folder).stdout(Stdio::null());
    let path = folder.join(file);
    let _ = fs::remove_file(&path);
    let made = std::rc::Rc::new((std::cell::RefCell::new(command), OnceCell::new()));
    let peak = move || -> Result<Turn> {
        if let Some(turn) = made.1.get() {
            return Ok(*turn);
        }
        let turn = peak_memory(&mut made.0.borrow_mut())?;
        Ok(*made.1.get_or_init(|| turn))
    };
    let first = peak.clone();
    let size = Contestant {
        name: name.to_owned(),
        turn: Box::new(move || {
            let cpu_s = first()?.cpu_s;
            Ok(Turn { value: fs::metadata(&path)?.len() as f64 / 1024.0, cpu_s })
        }),
    };
    (size, Contestant { name: name.to_owned(), turn: Box::new(peak) })
}

/// Runs a command; MiB of memory that its process had at most.
fn peak_memory(command: &mut Command) -> Result<Turn> {
    let cpu = children_cpu_s();
    let mut child = command.spawn()?;
    let status = PathBuf::from(format!("/proc/{}/status", child.id()));
    let mut peak = 0.0;
    let ended = loop {
        // The kernel keeps the peak; what is missed is what grows within the last look.
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
        peak = kib.unwrap_or(peak);
        if let Some(ended) = child.try_wait()? {
            break ended;
        }
        std::thread::sleep(LOOK);
    };
    ensure!(ended.success(), "{command:?} ended with {ended}");
    Ok(Turn { value: peak / 1024.0, cpu_s: Some(children_cpu_s() - cpu) })
}

fn size_of(name: &str, file: PathBuf) -> Contestant {
    let turn = move || {
        let metadata = fs::metadata(&file).with_context(|| file.display().to_string())?;
        Ok(Turn { value: metadata.len() as f64 / 1024.0, cpu_s: None })
    };
    Contestant { name: name.to_owned(), turn: Box::new(turn) }
}

fn constant(name: &str, value: f64) -> Contestant {
    Contestant { name: name.to_owned(), turn: Box::new(move || Ok(Turn { value, cpu_s: None })) }
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
