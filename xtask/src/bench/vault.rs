//! Vaults over FUSE: ours and gocryptfs, with the same work on the same disk.

use super::contest::{Contest, Contestant, OURS, Turn};
use super::contests::children_cpu_s;
use super::disk::{quiesce, scratch};
use crate::shell::{has, run, target_dir};
use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PASSWORD: &str = "a password";
const MIB: usize = 1 << 20;
/// MiB of the large file.
const LARGE_MIB: usize = 1024;
const SMALL_FILES: usize = 10_000;
const SMALL_BYTES: usize = 2000;
const MOUNTED_WITHIN: Duration = Duration::from_secs(10);

/// Makes a vault in the first folder, and serves it at the second in the foreground.
type Serves = fn(vault: &Path, mount: &Path) -> Result<Child>;
/// Does the work below a folder, and says how much a second.
type Work = fn(&Path) -> Result<f64>;

/// Large files, and many small ones.
pub(crate) fn contests() -> Result<Vec<Contest>> {
    let work: [(&str, &str, Work); 3] = [
        ("write of 1 GiB, synced", "MiB/s", write),
        ("read of 1 GiB, through the server", "MiB/s", read),
        ("10,000 small files made, read, deleted", "files/s", small),
    ];
    let contest = |(what, unit, work)| {
        let mut contestants = vec![contestant(OURS, ours, work)];
        if has("gocryptfs") {
            contestants.push(contestant("gocryptfs", gocryptfs, work));
        }
        Contest { name: format!("fuse: {what}"), unit, more_is_better: true, contestants }
    };
    Ok(work.into_iter().map(contest).collect())
}

fn contestant(name: &str, serves: Serves, work: Work) -> Contestant {
    let turn = move || {
        let folder = scratch("vault")?;
        let (vault, mount) = (folder.join("vault"), folder.join("mount"));
        fs::create_dir_all(&mount)?;
        quiesce()?;
        let cpu = children_cpu_s();
        let mut child = mounted(serves(&vault, &mount)?, &mount)?;
        let done = work(&mount);
        unmount(&mount)?;
        child.wait()?;
        // Of the programs that serve: what this one does is the same for all.
        Ok(Turn { value: done?, cpu_s: Some(children_cpu_s() - cpu) })
    };
    Contestant { name: name.to_owned(), turn: Box::new(turn) }
}

fn ours(vault: &Path, mount: &Path) -> Result<Child> {
    let program = target_dir()?.join("debug/holdfast");
    let command = |what| {
        let mut command = Command::new(&program);
        command.args(["vault", what]).arg(vault).env("HOLDFAST_PASSWORD", PASSWORD);
        command
    };
    run(command("create").args(["--argon2-memory", "1"]).stdout(Stdio::null()))?;
    let mut unlock = command("unlock");
    unlock.arg("--foreground").arg("--mount").arg(mount);
    Ok(unlock.stdout(Stdio::null()).spawn()?)
}

fn gocryptfs(vault: &Path, mount: &Path) -> Result<Child> {
    let password = vault.with_extension("password");
    fs::write(&password, PASSWORD)?;
    fs::create_dir(vault)?;
    let command = || {
        let mut command = Command::new("gocryptfs");
        command.args(["-quiet", "-passfile"]).arg(&password);
        command
    };
    run(command().args(["-init", "-scryptn", "10"]).arg(vault))?;
    let mut serve = command();
    serve.arg("-fg").arg(vault).arg(mount);
    Ok(serve.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?)
}

/// Waits until the mount point is on another file system than its parent.
fn mounted(mut child: Child, mount: &Path) -> Result<Child> {
    let above = fs::metadata(mount.parent().context("a parent")?)?.dev();
    let start = Instant::now();
    while fs::metadata(mount)?.dev() == above {
        if let Some(status) = child.try_wait()? {
            bail!("it did not mount: {status}");
        }
        if start.elapsed() > MOUNTED_WITHIN {
            child.kill()?;
            bail!("it did not mount within {} s", MOUNTED_WITHIN.as_secs());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(child)
}

fn unmount(mount: &Path) -> Result<()> {
    run(Command::new("fusermount").arg("-u").arg(mount))
}

/// Bytes that do not compress, and differ from place to place.
fn piece(number: usize) -> Vec<u8> {
    let mut state = number as u64 + 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..MIB / 8).flat_map(|_| next()).collect()
}

fn write(folder: &Path) -> Result<f64> {
    let pieces: Vec<Vec<u8>> = (0..8).map(piece).collect();
    let start = Instant::now();
    let mut file = File::create(folder.join("large"))?;
    for number in 0..LARGE_MIB {
        file.write_all(&pieces[number % pieces.len()])?;
    }
    file.sync_all()?;
    Ok(LARGE_MIB as f64 / start.elapsed().as_secs_f64())
}

fn read(folder: &Path) -> Result<f64> {
    write(folder)?;
    // The kernel forgets the plain text; the encrypted file is in its memory still, for both.
    let path = format!("if={}", folder.join("large").display());
    run(Command::new("dd").args([
        &path,
        "of=/dev/null",
        "iflag=nocache",
        "count=0",
        "status=none",
    ]))?;
    let start = Instant::now();
    let mut file = File::open(folder.join("large"))?;
    let (mut room, mut bytes) = (vec![0; MIB], 0);
    loop {
        match file.read(&mut room)? {
            0 => break,
            length => bytes += length,
        }
    }
    if bytes != LARGE_MIB * MIB {
        bail!("{bytes} bytes were read");
    }
    Ok(LARGE_MIB as f64 / start.elapsed().as_secs_f64())
}

fn small(folder: &Path) -> Result<f64> {
    let content = &piece(0)[..SMALL_BYTES];
    let path = |number: usize| folder.join(format!("small file {number}"));
    let start = Instant::now();
    for number in 0..SMALL_FILES {
        fs::write(path(number), content)?;
    }
    for number in 0..SMALL_FILES {
        if fs::read(path(number))? != content {
            bail!("a file reads differently");
        }
    }
    for number in 0..SMALL_FILES {
        fs::remove_file(path(number))?;
    }
    Ok(SMALL_FILES as f64 / start.elapsed().as_secs_f64())
}
