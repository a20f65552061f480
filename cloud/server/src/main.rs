//! `holdfast-cloud`: the cloud in one process, in the foreground.

use clap::{Args, Parser, Subcommand};
use cloud_server::{Attestation, Config, KeyCenterAt};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

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
    /// Attestation: trust the keys of these root certificates too (PEM), for policies that say so.
    #[arg(long, value_name = "FILE")]
    attestation_roots: Vec<PathBuf>,
    /// Attestation: Google's revocation list, a file or an https address. Without it no phone under
    /// Google's roots counts.
    #[arg(long, value_name = "FILE|URL")]
    google_status: Option<String>,
    /// The CAs that the list's address chains to (PEM).
    #[arg(long, value_name = "FILE", requires = "google_status")]
    google_status_ca: Option<PathBuf>,
    /// How old that list may be; older, and no phone under Google's roots counts.
    #[arg(long, value_name = "HOURS", default_value_t = 24)]
    google_status_max_age: u64,
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
        attestation: Attestation {
            roots: serve.attestation_roots,
            google_list: serve.google_status,
            google_list_ca: serve.google_status_ca,
            list_max_age: Duration::from_secs(serve.google_status_max_age.saturating_mul(3600)),
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
