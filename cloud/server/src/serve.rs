//! The process: opens everything, listens, says so, and ends cleanly.

use crate::app::App;
use crate::connect::Tokens;
use crate::google_list::Source;
use crate::{Config, api, console, housekeeping};
use anyhow::Context as _;
use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use effects::{Clock, Entropy, SystemClock, SystemEntropy};
use http::{HeaderName, HeaderValue, header};
use http_link::serve::{Limits, serve_tls};
use http_link::tls::Identity;
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Serves until SIGTERM or SIGINT.
pub async fn serve(config: Config) -> anyhow::Result<()> {
    std::fs::create_dir_all(&config.state)
        .with_context(|| format!("the state folder {}", config.state.display()))?;
    let _only_one = lock(&config.state)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    // Signals count from here on: one that comes during the start ends it cleanly too.
    let stopping = stop_signal()?;
    let listener = TcpListener::bind(config.listen).await.with_context(|| {
        format!("cannot listen on {}: choose another address with --listen", config.listen)
    })?;
    let identity = Arc::new(Identity::load_or_make(&config.state, &[], clock.clone())?);
    let app = App::open(&config, clock, entropy, stopping.clone()).await?;
    let sweeper = tokio::spawn(housekeeping::run(app.clone()));
    let source = Source::of(&config.attestation, &config.state);
    let list = source
        .map(|source| tokio::spawn(source.keep(app.clone(), config.attestation.list_max_age)));
    announce(&listener, &identity)?;
    let router = router(app.clone());
    let mut stop = stopping;
    let stopped = async move { drop(stop.wait_for(|stop| *stop).await) };
    serve_tls(listener, identity, router, Limits::default(), stopped).await?;
    sweeper.abort();
    if let Some(list) = list {
        list.abort();
    }
    app.close().await;
    Ok(())
}

/// One process at a time works on the state.
fn lock(state: &Path) -> anyhow::Result<File> {
    let path = state.join("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.with_context(|| path.display().to_string())?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)
        .with_context(|| format!("another cloud works on {}; stop it first", state.display()))?;
    Ok(file)
}

fn router(app: App) -> Router {
    Router::new()
        .merge(api::routes())
        .merge(console::routes())
        .with_state(app.clone())
        .merge(cloud_sync::routes(app.sync.clone(), Arc::new(Tokens(app))))
        .layer(from_fn(harden))
}

/// One JSON line on standard output, once it listens.
fn announce(listener: &TcpListener, identity: &Identity) -> anyhow::Result<()> {
    let address = listener.local_addr()?;
    let host =
        if address.ip().is_loopback() { "localhost".into() } else { address.ip().to_string() };
    let url = format!("https://{host}:{}", address.port());
    let line = serde_json::json!({"url": url, "ca": identity.ca_path()});
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

fn stop_signal() -> anyhow::Result<watch::Receiver<bool>> {
    let (sender, receiver) = watch::channel(false);
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        sender.send_replace(true);
        // Kept: the receivers must see the value, not a closed channel.
        std::future::pending::<()>().await;
    });
    Ok(receiver)
}

/// Headers that every answer has, unless its handler set its own.
async fn harden(request: Request, next: Next) -> Response {
    const HEADERS: [(HeaderName, &str); 6] = [
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}
