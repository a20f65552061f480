//! What developers type: `cargo xtask up | test | bench | fuzz`.

mod bench;
mod fuzz;
mod library;
mod peers;
mod shell;
mod test;

use anyhow::{Result, bail};
use shell::{cargo, target_dir};
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask <command>

  up [OPTIONS]     build, then `holdfast up` (see `cargo xtask up --help`)
  test [FILTER]    install what the tests need, build, run every test
  bench [NAME]     measure ours and the peers, alternating; writes docs/performance.md
  fuzz [SECONDS]   run every format's fuzz target for so long (default 5)
  shim             build librpmb_shim.so, which gives mmc-utils an RPMB, and say where it lies
  pkcs11           build libholdfast_pkcs11.so, the device's keys for other programs, and say
                   where it lies
";

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode> {
    let mut args = std::env::args().skip(1);
    let command = args.next().unwrap_or_default();
    let rest: Vec<String> = args.collect();
    match command.as_str() {
        "up" => up(&rest),
        "test" => test::run(&rest).map(|()| ExitCode::SUCCESS),
        "bench" => bench::run(&rest).map(|()| ExitCode::SUCCESS),
        "fuzz" => fuzz::run_all(&rest).map(|()| ExitCode::SUCCESS),
        "shim" => built(&library::SHIM),
        "pkcs11" => built(&library::PKCS11),
        "" | "help" | "--help" | "-h" => {
            print!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        other => bail!("no such command: {other}\n\n{USAGE}"),
    }
}

/// Builds a library and says where it lies.
fn built(library: &library::Library) -> Result<ExitCode> {
    println!("{}", library.build()?.display());
    Ok(ExitCode::SUCCESS)
}

/// Builds every program, then becomes `holdfast up`.
fn up(args: &[String]) -> Result<ExitCode> {
    use std::os::unix::process::CommandExt;
    cargo(&["build", "--quiet", "--workspace", "--bins"])?;
    let holdfast = target_dir()?.join("debug/holdfast");
    let error = std::process::Command::new(&holdfast).arg("up").args(args).exec();
    bail!("{} did not start: {error}", holdfast.display())
}
