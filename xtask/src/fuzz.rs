//! `cargo xtask fuzz`: every format's target, for a bounded time.
//!
//! libFuzzer on the stable toolchain: coverage counters come from the compiler's own pass, there
//! is no sanitizer. Seeds are checked in (`fuzz/corpus/<target>`); what a run finds besides stays
//! under `target/`. A crash leaves its input in `target/fuzz/crashes/<target>`.

use crate::peers;
use crate::shell::{has, root, run};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Coverage counters for every edge, with libFuzzer's tables.
const COVERAGE: &str = "-Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Ccodegen-units=1";

/// Runs every target for so many seconds each.
pub(crate) fn run_all(args: &[String]) -> Result<()> {
    let seconds: u32 = match args {
        [] => 5,
        [seconds] => seconds.parse().with_context(|| format!("{seconds:?} are no seconds"))?,
        _ => bail!("one number of seconds is all that fuzz takes"),
    };
    if !has("c++") && !has("g++") {
        return peers::absent("a C++ compiler is missing, libFuzzer is written in it: package g++");
    }
    let target = root().join("target/fuzz");
    build(&target)?;
    let programs = programs(&target)?;
    for program in &programs {
        fuzz(program, &target, seconds)?;
    }
    println!("{} fuzz targets, {seconds} s each, no crash", programs.len());
    Ok(())
}

fn build(target: &Path) -> Result<()> {
    run(Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--bins"])
        .current_dir(root().join("fuzz"))
        .env("RUSTFLAGS", COVERAGE)
        .env("CARGO_TARGET_DIR", target))
}

/// One program for each file in `fuzz/targets`.
fn programs(target: &Path) -> Result<Vec<PathBuf>> {
    let built = crate::shell::target_dir()?;
    let triple = built.file_name().context("the target folder has a name")?.to_owned();
    let mut programs = Vec::new();
    for entry in std::fs::read_dir(root().join("fuzz/targets"))? {
        let source = entry?.path();
        let name = source.file_stem().context("a source has a name")?;
        programs.push(target.join(&triple).join("debug").join(name));
    }
    programs.sort();
    Ok(programs)
}

fn fuzz(program: &Path, target: &Path, seconds: u32) -> Result<()> {
    let name = program.file_name().context("a program has a name")?;
    let found = target.join("corpus").join(name);
    let crashes = target.join("crashes").join(name);
    std::fs::create_dir_all(&found)?;
    std::fs::create_dir_all(&crashes)?;
    let seeds = root().join("fuzz/corpus").join(name);
    let log = std::fs::File::create(target.join(name).with_extension("log"))?;
    let mut command = Command::new(program);
    command
        .arg(format!("-max_total_time={seconds}"))
        .args(["-timeout=10", "-rss_limit_mb=2048", "-max_len=65536", "-print_final_stats=1"])
        .arg(format!("-artifact_prefix={}/", crashes.display()))
        .arg(found)
        .stderr(log);
    if seeds.is_dir() {
        command.arg(seeds);
    }
    run(&mut command).with_context(|| {
        format!("{} crashed; its input is in {}", name.display(), crashes.display())
    })
}
