//! The Key Center's program.

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use cloud_keycenter::store::Store;
use cloud_keycenter::{Center, audit};
use effects::{Clock, SystemClock, SystemEntropy};
use http_link::serve::{Limits, serve_tls};
use http_link::tls::Identity;
use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// The environment lacks something.
const ENVIRONMENT: u8 = 3;

/// Keeps keys apart from business and data. Speaks Vault's Transit API.
#[derive(Parser)]
#[command(name = "holdfast-keycenter", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serves in the foreground until SIGTERM or SIGINT.
    Serve {
        /// Where keys, audit log and certificates are kept.
        #[arg(long, value_name = "DIR")]
        state: PathBuf,
        /// Where to listen; port 0 is any free one.
        #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8200")]
        listen: SocketAddr,
        /// A further host name or IP address for the certificate.
        #[arg(long = "name", value_name = "HOST")]
        names: Vec<String>,
    },
    /// Checks the audit log and prints it, one JSON object a line.
    Audit {
        /// Where keys, audit log and certificates are kept.
        #[arg(long, value_name = "DIR")]
        state: PathBuf,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // Whatever this process writes is for its user alone.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_target(false).init();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = runtime.context("starting the runtime").and_then(|runtime| {
        runtime.block_on(async {
            match arguments.command {
                Command::Serve { state, listen, names } => serve(&state, listen, &names).await,
                Command::Audit { state } => print_audit(&state).await,
            }
        })
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("holdfast-keycenter: {error:#}");
            ExitCode::from(ENVIRONMENT)
        }
    }
}

async fn serve(state: &Path, listen: SocketAddr, names: &[String]) -> Result<()> {
    make_private(state)?;
    let _lock = lock(state)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let listener = TcpListener::bind(listen).await.with_context(|| {
        format!("cannot listen on {listen}; choose another address with --listen (port 0: any)")
    })?;
    let identity = Arc::new(Identity::load_or_make(state, names, clock.clone())?);
    let center = Center::open(state, clock, Arc::new(SystemEntropy)).await?;
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    announce(listener.local_addr()?, &identity.ca_path())?;
    let stop = async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    };
    let limits = Limits { connections: 256, ..Limits::default() };
    serve_tls(listener, identity, center.router(), limits, stop).await?;
    Ok(())
}

/// The one line on standard output: where the service is, and whom to believe.
fn announce(address: SocketAddr, ca: &Path) -> Result<()> {
    let url = match address.ip() {
        ip if ip.is_loopback() || ip.is_unspecified() => {
            format!("https://localhost:{}", address.port())
        }
        _ => format!("https://{address}"),
    };
    let ca = std::path::absolute(ca)?;
    let line = serde_json::json!({"url": url, "ca": ca});
    let mut out = std::io::stdout();
    writeln!(out, "{line}").and_then(|()| out.flush()).context("writing to standard output")
}

fn make_private(state: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(state)
        .with_context(|| format!("cannot make {}", state.display()))
}

/// One process at a time works on the state.
fn lock(state: &Path) -> Result<File> {
    use rustix::fs::{FlockOperation, flock};
    let path = state.join("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.with_context(|| format!("cannot open {}", path.display()))?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).with_context(|| {
        format!("another Key Center works on {}; stop it first", state.display())
    })?;
    Ok(file)
}

async fn print_audit(state: &Path) -> Result<()> {
    let _lock = lock(state)?;
    let store = Store::open(state).await?;
    let mut out = std::io::stdout().lock();
    let entries = audit::verify(&store, |seq, entry| {
        let line = serde_json::json!({"seq": seq, "entry": entry});
        // A reader that has seen enough closes the pipe.
        let _ = writeln!(out, "{line}");
    });
    let count = entries.await?;
    eprintln!("{count} entries; the chain holds.");
    Ok(())
}
