//! What the attestation service gets from outside: roots, and Google's revocation list, read anew
//! before it is too old.

use crate::Attestation;
use crate::app::App;
use anyhow::{Context as _, bail};
use cloud_attest::Attest;
use effects::{UnixMillis, durable};
use http_link::{Client, Connector};
use keyattest::pem;
use keyattest::x509::{Certificate, Spki};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

/// The longest list that is fetched, in bytes.
const LIST_MAX_BYTES: usize = 32 << 20;
/// How often the list is read, where it may grow old; more often where it may not.
const EVERY: Duration = Duration::from_secs(3600);

/// The public keys in the files that are configured.
pub(crate) fn roots(config: &Attestation) -> anyhow::Result<Vec<Spki>> {
    let mut keys = Vec::new();
    for file in &config.roots {
        let read = || -> anyhow::Result<()> {
            for der in pem::decode(&std::fs::read(file)?)? {
                keys.push(Certificate::parse(&der)?.public_key().clone());
            }
            Ok(())
        };
        let mut read = read;
        read().with_context(|| format!("the attestation roots {}", file.display()))?;
    }
    Ok(keys)
}

/// Puts the root of our provisioning where people and programs find it: `attestation/root.pem`.
pub(crate) async fn publish_root(state: &Path, attest: &Attest) -> anyhow::Result<()> {
    let root = pem::encode(&[attest.provisioning_root().await?]);
    let folder = state.join("attestation");
    std::fs::create_dir_all(&folder)?;
    let file = folder.join("root.pem");
    if std::fs::read(&file).is_ok_and(|found| found == root.as_bytes()) {
        return Ok(());
    }
    Ok(durable::replace(&file, root.as_bytes(), 0o644)?)
}

/// Reads Google's list until it is dropped. A failure is told; the list that is held counts until
/// it is too old.
pub(crate) async fn keep_list(app: App, config: Attestation) {
    let Some(source) = config.google_list.clone() else { return };
    loop {
        match read_list(&source, config.google_list_ca.as_deref(), &app).await {
            Ok(entries) => tracing::info!(entries, "Google's revocation list was read"),
            Err(error) => tracing::error!(
                error = format!("{error:#}"),
                "Google's revocation list can't be read; phones under its roots are refused once \
                 the last one is too old"
            ),
        }
        tokio::time::sleep(EVERY.min(config.list_max_age / 4)).await;
    }
}

async fn read_list(source: &str, ca: Option<&Path>, app: &App) -> anyhow::Result<usize> {
    let (json, at) = if source.starts_with("https://") {
        let Some(ca) = ca else { bail!("{source}: name its CA with --google-status-ca") };
        (fetch(source, ca).await?, app.clock.now())
    } else {
        let path = Path::new(source);
        let read = || -> std::io::Result<_> {
            let written = std::fs::metadata(path)?.modified()?;
            let since = written.duration_since(UNIX_EPOCH).unwrap_or_default();
            let at = UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
            Ok((std::fs::read(path)?, at))
        };
        read().with_context(|| source.to_owned())?
    };
    app.attest.google_list().take(&json, at).with_context(|| source.to_owned())
}

async fn fetch(url: &str, ca: &Path) -> anyhow::Result<Vec<u8>> {
    let ca = std::fs::read(ca).with_context(|| ca.display().to_string())?;
    let rest = url.trim_start_matches("https://");
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let client = Client::new(&format!("https://{host}"), &ca, Connector::Tcp)?;
    let answer = client.get(&format!("/{path}")).send().await?;
    Ok(answer.bytes(LIST_MAX_BYTES).await?)
}
