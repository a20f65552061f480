//! The services of one cloud process.

use crate::connect::{AccountOwners, AuditLog, ByLink, Keys, Lock, Sealer};
use crate::credentials::Credential;
use crate::{Config, KeyCenterAt, attestation};
use anyhow::Context as _;
use cloud_account::Accounts;
use cloud_account::audit::Verdict;
use cloud_account::outbox::Outbox;
use cloud_attest::Attest;
use cloud_eid::Issuer;
use cloud_find::Find;
use cloud_push::Push;
use cloud_sync::Sync;
use cloud_update::Update;
use effects::{Clock, Entropy, UnixMillis};
use keycenter_client::KeyCenter;
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// Everything that a handler may need. Cloning it is cheap.
#[derive(Clone)]
pub(crate) struct App(Arc<Services>);

/// The services.
pub(crate) struct Services {
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) attest: Attest,
    pub(crate) push: Arc<Push>,
    pub(crate) find: Arc<Find>,
    pub(crate) sync: Arc<Sync>,
    pub(crate) update: Update,
    pub(crate) eid: Issuer,
    pub(crate) maker: Credential,
    pub(crate) attestation_admin: Credential,
    pub(crate) clerk: Credential,
    pub(crate) key_center: KeyCenterDoor,
    pub(crate) clock: Arc<dyn Clock>,
    /// Becomes true when the process is told to stop.
    pub(crate) stopping: watch::Receiver<bool>,
    audit: Mutex<Option<(UnixMillis, Verdict)>>,
    pool: SqlitePool,
}

impl std::ops::Deref for App {
    type Target = Services;

    fn deref(&self) -> &Services {
        &self.0
    }
}

/// The way to the Key Center, for those who bring a credential of their own.
pub(crate) struct KeyCenterDoor {
    pub(crate) url: String,
    pub(crate) ca_pem: String,
    pub(crate) client: http_link::Client,
    clock: Arc<dyn Clock>,
}

impl KeyCenterDoor {
    /// The Key Center as the account's owner sees it, with this assertion.
    pub(crate) fn as_owner(&self, assertion: String) -> KeyCenter {
        let credential = keycenter_client::Credential::owner_once(assertion);
        KeyCenter::with_clock(self.client.clone(), credential, self.clock.clone())
    }
}

impl App {
    /// Opens the database and every service on it.
    pub(crate) async fn open(
        config: &Config,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        stopping: watch::Receiver<bool>,
    ) -> anyhow::Result<Self> {
        let state = &config.state;
        let pool = database(&state.join("cloud.db")).await?;
        let (door, keys) = key_center(&config.key_center, &clock)?;
        keys.prepare().await.context(
            "the Key Center is not usable; is it running, and is the credential its own?",
        )?;
        let lock = Arc::new(Lock::default());
        let outbox = Outbox::open(state.join("outbox"), clock.clone(), entropy.clone())?;
        let accounts = Accounts::open(cloud_account::Foundation {
            pool: pool.clone(),
            key_center: Arc::new(keys),
            clock: clock.clone(),
            entropy: entropy.clone(),
            post: Arc::new(outbox),
            lock: lock.clone(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
        });
        let accounts = Arc::new(accounts.await?);
        let sealer = Arc::new(Sealer(accounts.pii()));
        let push = Push::open(pool.clone(), sealer.clone(), clock.clone(), entropy.clone());
        let push = Arc::new(push.await?);
        let find = Find::open(cloud_find::Foundation {
            pool: pool.clone(),
            sealer: sealer.clone(),
            carrier: Arc::new(ByLink(push.clone())),
            owners: Arc::new(AccountOwners(accounts.clone())),
            clock: clock.clone(),
        });
        let find = Arc::new(find.await?);
        let _ = lock.0.set(find.clone());
        let attest = Attest::open(cloud_attest::Foundation {
            pool: pool.clone(),
            clock: clock.clone(),
            entropy: entropy.clone(),
            sealer: sealer.clone(),
            audit: Arc::new(AuditLog(accounts.clone())),
            roots: attestation::roots(&config.attestation)?,
            list_max_age: config.attestation.list_max_age,
        });
        let attest = attest.await?;
        attestation::publish_root(state, &attest).await?;
        let sync = Sync::open(cloud_sync::Foundation {
            pool: pool.clone(),
            folder: state.join("blocks"),
            clock: clock.clone(),
        });
        let sync = Arc::new(sync.await?);
        let update = Update::open(cloud_update::Foundation {
            pool: pool.clone(),
            folder: state.join("updates"),
            audit: Arc::new(AuditLog(accounts.clone())),
            clock: clock.clone(),
            entropy: entropy.clone(),
        });
        let update = update.await?;
        let eid = Issuer::open(cloud_eid::Foundation {
            pool: pool.clone(),
            clock: clock.clone(),
            entropy: entropy.clone(),
            sealer: sealer.clone(),
        });
        let eid = eid.await?;
        let maker = Credential::load_or_make(&state.join("maker.json"), "maker", &*entropy)?;
        let developer =
            Credential::load_or_make(&state.join("developer.json"), "developer", &*entropy)?;
        let attestation_admin =
            Credential::load_or_make(&state.join("attestation.json"), "attestation", &*entropy)?;
        let clerk = Credential::load_or_make(&state.join("clerk.json"), "clerk", &*entropy)?;
        push.admit_developer(&developer.name, &developer.credential).await?;
        Ok(Self(Arc::new(Services {
            accounts,
            attest,
            push,
            find,
            sync,
            update,
            eid,
            maker,
            attestation_admin,
            clerk,
            key_center: door,
            clock,
            stopping,
            audit: Mutex::default(),
            pool,
        })))
    }

    /// Checks the chain of the audit log. A broken one is an alarm, not an error.
    pub(crate) async fn check_audit(&self) -> anyhow::Result<()> {
        let verdict = self.accounts.verify_audit().await?;
        if let Verdict::BrokenAt(entry) = verdict {
            tracing::error!(entry, "the audit log was altered");
        }
        *self.audit.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((self.clock.now(), verdict));
        Ok(())
    }

    /// What the last check found, and when it was.
    pub(crate) fn audit_verdict(&self) -> Option<(UnixMillis, Verdict)> {
        *self.audit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the database: what is in its log goes into the main file.
    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }
}

/// Write-ahead log with every commit on the disk: what was acknowledged survives a power cut.
async fn database(path: &Path) -> anyhow::Result<SqlitePool> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(10))
        .foreign_keys(true)
        // What is deleted is overwritten: it must be gone, not only unlisted.
        .pragma("secure_delete", "ON");
    SqlitePoolOptions::new()
        .max_connections(4)
        .connect_with(options)
        .await
        .with_context(|| format!("the database {}", path.display()))
}

fn key_center(at: &KeyCenterAt, clock: &Arc<dyn Clock>) -> anyhow::Result<(KeyCenterDoor, Keys)> {
    let read = |path: &Path| std::fs::read(path).with_context(|| path.display().to_string());
    let ca = read(&at.ca)?;
    let credential = keycenter_client::Credential::from_json(&read(&at.credential)?)
        .with_context(|| format!("{}: not a Key Center credential", at.credential.display()))?;
    let client = http_link::Client::new(&at.url, &ca, http_link::Connector::Tcp)?;
    let keys = Keys(KeyCenter::with_clock(client.clone(), credential, clock.clone()));
    let ca_pem = String::from_utf8(ca).context("the Key Center's CA file is not PEM")?;
    let door = KeyCenterDoor { url: at.url.clone(), ca_pem, client, clock: clock.clone() };
    Ok((door, keys))
}
