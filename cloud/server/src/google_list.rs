//! Google's revocation list: read anew before it is too old, from a file or over https.
//!
//! What was fetched is kept beside the database, so that a restart without the network goes on
//! with it, as long as it is young enough. The file's time is when it was fetched.

use crate::Attestation;
use crate::app::App;
use anyhow::{Context as _, bail};
use cloud_attest::ForeignList;
use effects::{Clock, UnixMillis, durable};
use http_link::{Client, Connector};
use keyattest::RevocationList;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// How often the list is read, where it may grow old; more often where it may not.
const EVERY: Duration = Duration::from_secs(3600);
/// How soon after a failure.
const SOON: Duration = Duration::from_secs(60);

/// Where the list comes from.
pub(crate) struct Source {
    /// A file or an https address.
    at: String,
    /// Who vouches for the address.
    ca: Option<PathBuf>,
    /// What was fetched last.
    kept: PathBuf,
}

impl Source {
    /// As configured; `state` is the cloud's folder.
    pub(crate) fn of(config: &Attestation, state: &Path) -> Option<Self> {
        let at = config.google_list.clone()?;
        let kept = state.join("attestation/google-status.json");
        Some(Self { at, ca: config.google_list_ca.clone(), kept })
    }

    /// Reads the list until it is dropped. A failure is told; the list that is held counts until it
    /// is too old.
    pub(crate) async fn keep(self, app: App, max_age: Duration) {
        self.recall(app.attest.google_list());
        loop {
            let next = match self.read(app.attest.google_list(), &*app.clock).await {
                Ok(entries) => {
                    tracing::info!(entries, "Google's revocation list was read");
                    EVERY.min(max_age / 4).max(SOON)
                }
                Err(error) => {
                    tracing::error!(
                        error = format!("{error:#}"),
                        "Google's revocation list can't be read; phones under its roots are \
                         refused once the last one is too old"
                    );
                    SOON
                }
            };
            tokio::time::sleep(next).await;
        }
    }

    fn is_fetched(&self) -> bool {
        self.at.starts_with("https://")
    }

    /// What was fetched before the restart, for what it is worth.
    fn recall(&self, list: &ForeignList) {
        if !self.is_fetched() || !self.kept.exists() {
            return;
        }
        let taken = file(&self.kept).and_then(|(json, at)| Ok(list.take(&json, at)?));
        if let Err(error) = taken {
            tracing::warn!(error = format!("{error:#}"), "the list that was kept is of no use");
        }
    }

    async fn read(&self, list: &ForeignList, clock: &dyn Clock) -> anyhow::Result<usize> {
        if !self.is_fetched() {
            let (json, at) = file(Path::new(&self.at))?;
            return list.take(&json, at).with_context(|| self.at.clone());
        }
        let json = self.fetch().await.with_context(|| self.at.clone())?;
        let entries = list.take(&json, clock.now()).with_context(|| self.at.clone())?;
        durable::replace(&self.kept, &json, 0o644)
            .with_context(|| self.kept.display().to_string())?;
        Ok(entries)
    }

    async fn fetch(&self) -> anyhow::Result<Vec<u8>> {
        let Some(ca) = &self.ca else { bail!("name its CA with --google-status-ca") };
        let ca = std::fs::read(ca).with_context(|| ca.display().to_string())?;
        let rest = self.at.trim_start_matches("https://");
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let client = Client::new(&format!("https://{host}"), &ca, Connector::Tcp)?;
        let answer = client.get(&format!("/{path}")).send().await?;
        Ok(answer.bytes(RevocationList::MAX_BYTES).await?)
    }
}

/// A list in a file, and when it was written.
fn file(path: &Path) -> anyhow::Result<(Vec<u8>, UnixMillis)> {
    let read = || -> std::io::Result<_> {
        let file = File::open(path)?;
        let written = file.metadata()?.modified()?;
        let since = written.duration_since(UNIX_EPOCH).unwrap_or_default();
        let at = UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
        let mut json = Vec::new();
        file.take(RevocationList::MAX_BYTES as u64 + 1).read_to_end(&mut json)?;
        Ok((json, at))
    };
    read().with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::routing::get;
    use effects::SystemClock;
    use http_link::serve::{Limits, serve_tls};
    use http_link::tls::Identity;
    use std::sync::{Arc, Mutex, PoisonError};

    const DAY: Duration = Duration::from_secs(24 * 3600);
    const LIST: &str = r#"{"entries": {"cc66e9a9": {"status": "REVOKED"}}}"#;

    /// Who publishes a list over TLS, with a certificate of an authority of its own.
    struct Publisher {
        says: Arc<Mutex<String>>,
        address: String,
        ca: PathBuf,
        task: tokio::task::JoinHandle<()>,
    }

    impl Publisher {
        async fn start(folder: &Path) -> Self {
            let clock = Arc::new(SystemClock::default());
            let identity = Arc::new(Identity::load_or_make(folder, &[], clock).unwrap());
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let says = Arc::new(Mutex::new(LIST.to_owned()));
            let said = Arc::clone(&says);
            let answer =
                move || async move { said.lock().unwrap_or_else(PoisonError::into_inner).clone() };
            let app = Router::new().route("/attestation/status", get(answer));
            let ca = identity.ca_path();
            let serving =
                serve_tls(listener, identity, app, Limits::default(), std::future::pending());
            let task = tokio::spawn(async move { serving.await.unwrap() });
            Self { says, address: format!("https://127.0.0.1:{port}/attestation/status"), ca, task }
        }

        fn source(&self, state: &Path) -> Source {
            std::fs::create_dir_all(state.join("attestation")).unwrap();
            let config = Attestation {
                roots: Vec::new(),
                google_list: Some(self.address.clone()),
                google_list_ca: Some(self.ca.clone()),
                list_max_age: DAY,
            };
            Source::of(&config, state).unwrap()
        }
    }

    #[tokio::test]
    async fn s3_2_a_list_is_fetched_over_https_kept_and_grows_old() {
        let folder = tempfile::tempdir().unwrap();
        let publisher = Publisher::start(&folder.path().join("publisher")).await;
        let source = publisher.source(folder.path());
        let (list, clock) = (ForeignList::new(DAY), SystemClock::default());
        assert!(!list.is_fresh(clock.now()), "nothing was fetched");
        assert_eq!(source.read(&list, &clock).await.unwrap(), 1);
        assert!(list.is_fresh(clock.now()));
        assert!(!list.is_fresh(UnixMillis(clock.now().0 + 25 * 3_600_000)));

        // What is no list changes nothing, neither here nor in what is kept.
        *publisher.says.lock().unwrap() = "{}".into();
        assert!(source.read(&list, &clock).await.is_err());
        publisher.task.abort();
        assert!(publisher.task.await.is_err());
        assert!(source.read(&list, &clock).await.is_err(), "nobody answers");

        // After a restart, without the network.
        let again = ForeignList::new(DAY);
        source.recall(&again);
        assert!(again.is_fresh(clock.now()));
        let old = File::options().write(true).open(&source.kept).unwrap();
        old.set_modified(std::time::SystemTime::now() - DAY - SOON).unwrap();
        let late = ForeignList::new(DAY);
        source.recall(&late);
        assert!(!late.is_fresh(clock.now()), "too old is as good as none");
    }

    #[tokio::test]
    async fn s3_2_who_is_not_vouched_for_publishes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let publisher = Publisher::start(&folder.path().join("publisher")).await;
        let other = Publisher::start(&folder.path().join("other")).await;
        let (list, clock) = (ForeignList::new(DAY), SystemClock::default());
        let stranger = Source { ca: Some(other.ca.clone()), ..publisher.source(folder.path()) };
        assert!(stranger.read(&list, &clock).await.is_err());
        let nobody = Source { ca: None, ..publisher.source(folder.path()) };
        assert!(nobody.read(&list, &clock).await.is_err());
        assert!(!list.is_fresh(clock.now()) && !stranger.kept.exists());
    }

    #[tokio::test]
    async fn a_file_counts_from_when_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("status.json");
        std::fs::write(&path, LIST).unwrap();
        let config = Attestation {
            roots: Vec::new(),
            google_list: Some(path.to_str().unwrap().to_owned()),
            google_list_ca: None,
            list_max_age: DAY,
        };
        let source = Source::of(&config, folder.path()).unwrap();
        let (list, clock) = (ForeignList::new(DAY), SystemClock::default());
        assert_eq!(source.read(&list, &clock).await.unwrap(), 1);
        assert!(list.is_fresh(clock.now()));
        let written = File::options().write(true).open(&path).unwrap();
        written.set_len(RevocationList::MAX_BYTES as u64 + 10).unwrap();
        assert!(source.read(&list, &clock).await.is_err(), "too large");
    }
}
