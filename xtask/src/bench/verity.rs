//! dm-verity over 512 MiB: ours and veritysetup, the image in the page cache.

use super::contest::{Contest, Contestant, OURS, Turn};
use super::contests::{children_cpu_s, duration};
use super::disk::{quiesce, scratch};
use super::folder::random_bytes;
use crate::shell::{has, output, root, target_dir};
use anyhow::{Context, Result};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

const MIB: usize = 512;
const SALT: &str = "--salt=aabbccdd";

/// Which work is done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Work {
    Tree,
    Parity,
    Verify,
}

/// A hash tree, tree and parity with two roots, and verifying.
pub(crate) fn contests() -> Result<Vec<Contest>> {
    let image = image()?;
    let holdfast = target_dir()?.join("debug/holdfast");
    let contest = |name: &str, work| {
        let program = holdfast.clone();
        let ours = contestant(OURS, &image, work, move || {
            let mut command = Command::new(&program);
            command.args(["verity", if work == Work::Verify { "verify" } else { "build" }]);
            command
        });
        let theirs = contestant("veritysetup", &image, work, move || {
            let mut command = Command::new("veritysetup");
            command.arg(if work == Work::Verify { "verify" } else { "format" });
            command
        });
        let peers = if has("veritysetup") { vec![theirs] } else { Vec::new() };
        duration(&format!("verity: {name} of {MIB} MiB"), ours, peers)
    };
    Ok(vec![
        contest("sha256 tree", Work::Tree),
        contest("tree and parity (two roots)", Work::Parity),
        contest("verify", Work::Verify),
    ])
}

/// One who does `work` with the command that `command` begins.
fn contestant(
    name: &str,
    image: &Path,
    work: Work,
    command: impl Fn() -> Command + 'static,
) -> Contestant {
    let image = image.to_owned();
    let turn = move || {
        let folder = scratch("verity")?;
        let tree = folder.join("tree");
        let mut command = command();
        command.args([&image, &tree]);
        match work {
            Work::Tree => command.arg(SALT),
            Work::Parity => {
                command.arg(SALT).arg(format!("--fec-device={}", folder.join("fec").display()))
            }
            Work::Verify => command.arg(tree_of(&image, &tree)?),
        };
        warm(&image)?;
        quiesce()?;
        let (cpu, start) = (children_cpu_s(), Instant::now());
        output(&mut command)?;
        let value = start.elapsed().as_secs_f64() * 1000.0;
        Ok(Turn { value, cpu_s: Some(children_cpu_s() - cpu) })
    };
    Contestant { name: name.to_owned(), turn: Box::new(turn) }
}

/// Makes the tree, and gives its root hash.
fn tree_of(image: &Path, tree: &Path) -> Result<String> {
    let mut command = Command::new(target_dir()?.join("debug/holdfast"));
    let said = output(command.args(["verity", "build", SALT]).args([image, tree]))?;
    let root = said.lines().find_map(|line| line.strip_prefix("Root hash:"));
    Ok(root.context("`holdfast verity build` says the root hash")?.trim().to_owned())
}

/// Reads the image, so that nobody waits for the disk.
fn warm(image: &Path) -> Result<()> {
    std::io::copy(&mut fs::File::open(image)?, &mut std::io::sink())?;
    Ok(())
}

/// The image: random, made once.
fn image() -> Result<PathBuf> {
    let path = root().join("target/bench/verity.img");
    if fs::metadata(&path).is_ok_and(|it| it.len() == (MIB << 20) as u64) {
        return Ok(path);
    }
    fs::create_dir_all(path.parent().context("it lies in a folder")?)?;
    let mut file = fs::File::create(&path)?;
    let piece = random_bytes(64 << 20);
    for number in 0..MIB / 64 {
        // No two pieces alike.
        file.write_all(&(number as u64).to_le_bytes())?;
        file.write_all(&piece[8..])?;
    }
    Ok(path)
}
