//! `holdfast-cloud`: the cloud in one process, in the foreground.

use clap::{Args, Parser, Subcommand};
use cloud_server::{Config, KeyCenterAt};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

/// The cloud of Holdfast: accounts, attestation, sync, push, find-device, updates and the web console.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serves until it is told to stop (SIGTERM, SIGINT).
    Serve(Serve),
}

#[derive(Args)]
struct Serve {
    /// Where it keeps its state.
    #[arg(long)]
    state: PathBuf,
    /// Where it listens; port 0 takes any free one.
    #[arg(long, default_value = "127.0.0.1:8443")]
    listen: SocketAddr,
    /// The Key Center's address.
    #[arg(long)]
    keycenter: String,
    /// The CA that the Key Center's certificate chains to (PEM).
    #[arg(long)]
    keycenter_ca: PathBuf,
    /// The credential for the Key Center (JSON with role_id and secret_id).
    #[arg(long)]
    keycenter_credential: PathBuf,
}

/// The environment lacks something.
const ENVIRONMENT: u8 = 3;

fn main() -> ExitCode {
    let Command::Serve(serve) = Arguments::parse().command;
    match run(serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("holdfast-cloud: {error:#}");
            ExitCode::from(ENVIRONMENT)
        }
    }
}

fn run(serve: Serve) -> anyhow::Result<()> {
    keep_memory_small();
    // Whatever this process writes is for its user alone.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("HOLDFAST_LOG")
                .unwrap_or_else(|_| "info,sqlx=warn".into()),
        )
        .init();
    let config = Config {
        state: serve.state,
        listen: serve.listen,
        key_center: KeyCenterAt {
            url: serve.keycenter,
            ca: serve.keycenter_ca,
            credential: serve.keycenter_credential,
        },
    };
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(cloud_server::serve(config))
}

/// Two arenas instead of eight a core, and every allocation of a password hash (19 MiB) goes back
/// to the kernel when it ends: an idle cloud stays small.
fn keep_memory_small() {
    // SAFETY: mallopt only sets parameters of the allocator; no other thread runs yet.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 2);
        libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 20);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 1 << 20);
    }
}
