//! System updates (SPEC S2.6): check, download, apply, restart; each a call of its own, each
//! idempotent. What lasts is [`device_update::updater`]'s; here is what runs.
//!
//! One job at a time: a download, a copy, or the writing. A call that finds its job running
//! follows it. A job goes on when its caller hangs up, and, after a restart of the daemon or the
//! device, by itself.

mod copy;
mod download;
mod jobs;

pub use jobs::{Course, Job, Kind};

use super::{Device, Ending, blocking};
use crate::error::Error;
use device_update::state::{Phase, Running, State, Update, Why};
use device_update::updater::{UpdateError, Updater};
use jobs::Jobs;
use serde::Serialize;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use wire::update::Check;

/// How long what the cloud could not be told, or asked, waits for another try.
const TRY_AGAIN: Duration = Duration::from_secs(60);

/// Tells how far a piece of work is: done, of.
pub type Moved<'a> = &'a (dyn Fn(u64, u64) + Sync);

/// What a package says of itself, once its signature is good and this device takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// The build that it leads to.
    pub build: String,
    /// When that was made, in seconds since 1970.
    pub timestamp: u64,
    /// `YYYY-MM-DD`.
    pub security_patch: String,
    /// Only the changes against the build that runs.
    pub delta: bool,
}

/// Why a package was not written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotWritten {
    /// Why.
    pub why: Why,
    /// The package is bad; else something was in the way.
    pub refused: bool,
}

/// Who knows packages and slots.
pub trait Installer: Send + Sync {
    /// Whether this device takes the package: who signed it, all its bytes, and what it is for.
    fn judge(&self, package: &File) -> Result<Judged, Why>;
    /// Judges the package, which must lead to the build of `update`, and writes it to the other
    /// slot.
    fn install(&self, package: &File, update: &Update, moved: Moved<'_>) -> Result<(), NotWritten>;
    /// Lets the next boot be recovery's, which installs what lies at `package`.
    fn boot_recovery(&self, package: &Path) -> Result<(), String>;
    /// Why the last restart into recovery did not lead to the new system, if there was one.
    fn bad_end(&self) -> Option<Why>;
    /// It was taken note of: it is told once.
    fn forget_end(&self);
}

/// What an updatable device is put together from.
pub struct UpdateParts {
    /// The system that runs.
    pub running: Running,
    /// Who writes.
    pub installer: Arc<dyn Installer>,
}

/// The device's updates.
pub(super) struct Updates {
    updater: Arc<Updater>,
    installer: Arc<dyn Installer>,
    jobs: Jobs,
}

/// `GET /v1/update`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UpdateView {
    /// `idle`, `available`, `downloading`, `downloaded`, `applying`, `ready_to_restart`,
    /// `restarting`, `installed` or `failed`.
    pub state: &'static str,
    /// The system that runs.
    pub running: Running,
    /// The update that the state is about.
    pub update: Option<Update>,
    /// Why it does not go on; of `idle`, why there is none. For programs.
    pub reason: Option<String>,
    /// The same, for people.
    pub explanation: Option<String>,
    /// Bytes of the package that are here.
    pub bytes: u64,
    /// What runs now.
    pub job: Option<Job>,
    /// How it went: what was resumed, what began anew and why.
    pub notes: Vec<String>,
    /// What the cloud has not been told yet.
    pub reports_waiting: usize,
}

impl Updates {
    /// Opens the update folder; what became of a restart is known here.
    pub(super) fn open(
        parts: UpdateParts,
        folder: &Path,
        boot_no: u64,
    ) -> Result<Self, UpdateError> {
        let updater = Updater::open(folder, parts.running)?;
        let awaited = updater.awaits_recovery();
        if !updater.settle(boot_no, parts.installer.bad_end())? && awaited {
            parts.installer.forget_end();
        }
        Ok(Self { updater: Arc::new(updater), installer: parts.installer, jobs: Jobs::default() })
    }
}

impl Device {
    /// How far the update is.
    pub fn update(&self) -> Result<UpdateView, Error> {
        let updates = self.updates()?;
        let State { phase, notes, reports } = updates.updater.state();
        let job = updates.jobs.now();
        let bytes = match &job {
            Some(Job { kind: Kind::Download, done, .. }) => *done,
            _ => updates.updater.bytes(),
        };
        Ok(UpdateView {
            state: phase.name(),
            running: updates.updater.running().clone(),
            reason: phase.why().map(|why| why.reason.clone()),
            explanation: phase.why().map(|why| why.explanation.clone()),
            update: phase.update().cloned(),
            bytes,
            job,
            notes,
            reports_waiting: reports.len(),
        })
    }

    /// Asks the cloud what there is. While something is being written, or waits for its restart,
    /// it is not asked.
    pub async fn check_update(self: &Arc<Self>) -> Result<(), Error> {
        let updates = self.updates()?;
        if updates.jobs.now().is_some() || !updates.updater.may_check() {
            return Ok(());
        }
        let Running { model, channel, build, timestamp, security_patch } =
            updates.updater.running().clone();
        let has = Check { model, channel, build, timestamp, security_patch };
        let session = self.bound_session()?;
        let answer = device_link::update::check(&session, &has).await?;
        let note = move |device: &Self| Ok(device.updates()?.updater.answered(answer)?);
        blocking(self, note).await?;
        self.touch();
        Ok(())
    }

    /// Begins to write the package to the other slot, or finds that it was written.
    pub fn apply_update(self: &Arc<Self>) -> Result<watch::Receiver<Course>, Error> {
        let updates = self.updates()?;
        if let Some(running) = updates.jobs.running(Kind::Apply)? {
            return Ok(running);
        }
        // Refused before anything runs, where it can be.
        match updates.updater.state().phase {
            Phase::Downloaded { .. } | Phase::Applying { .. } => {}
            Phase::ReadyToRestart { .. } | Phase::Restarting { .. } => {}
            _ => return Err(UpdateError::NothingDownloaded.into()),
        }
        let device = self.clone();
        let course = updates.jobs.begin(Kind::Apply)?;
        self.touch();
        tokio::spawn(async move {
            let applied = blocking(&device, Self::apply).await;
            device.end_job(applied);
        });
        Ok(course)
    }

    /// Size and hash first; then who signed it; then the other slot.
    fn apply(&self) -> Result<(), Error> {
        let updates = self.updates()?;
        let Updates { updater, installer, jobs } = updates;
        let Some((update, file)) = updater.begin_apply()? else { return Ok(()) };
        self.touch();
        let size = update.size;
        let hashed = |done: u64| jobs.moved(Kind::Check, done, size);
        let wrong = device_update::partial::check_whole(&file, &update.announced(), &hashed);
        if let Some(what) = wrong.map_err(UpdateError::Disk)? {
            return Err(updater.altered(&update, what).into());
        }
        let written = |done: u64, of: u64| jobs.moved(Kind::Apply, done, of);
        match installer.install(&file, &update, &written) {
            Ok(()) => Ok(updater.applied()?),
            Err(NotWritten { why, refused }) => {
                updater.not_applied(why.clone(), refused)?;
                Err(Error::Update(Box::new(crate::error::UpdateRefused::NotWritten(why))))
            }
        }
    }

    /// Lets the device restart into recovery, which has the last word.
    pub fn restart_into_update(&self) -> Result<(), Error> {
        let updates = self.updates()?;
        updates.jobs.refuse_while_any()?;
        let update = updates.updater.ready()?;
        let package = updates.updater.whole(&update);
        updates.installer.boot_recovery(&package).map_err(Error::Internal)?;
        updates.updater.restarting(self.boot_no)?;
        self.touch();
        Ok(())
    }

    /// Ends the daemon, so that the device restarts.
    pub fn restart(&self) {
        self.ending.send_replace(Some(Ending::Restarts));
    }

    /// Throws the update away; a download that runs stops.
    pub async fn discard_update(self: &Arc<Self>) -> Result<(), Error> {
        self.updates()?.jobs.stop_download().await?;
        blocking(self, |device| Ok(device.updates()?.updater.discard()?)).await?;
        self.touch();
        Ok(())
    }

    /// The slot that runs is marked successful: an update that was on trial is installed.
    pub fn update_proved(&self) -> Result<(), Error> {
        if let Ok(updates) = &self.updates {
            let awaited = updates.updater.awaits_recovery();
            updates.updater.proved()?;
            if awaited {
                updates.installer.forget_end();
            }
            self.wake_update();
        }
        Ok(())
    }

    /// Goes on where a restart of the daemon or the device, or a cloud that could not be reached,
    /// interrupted; tells the cloud what it has not heard. Says how long until another try.
    pub async fn go_on_with_update(self: &Arc<Self>) -> Option<Duration> {
        let updates = self.updates().ok()?;
        let told = self.tell_cloud_of_update(updates).await;
        let waits = match updates.updater.state().phase {
            Phase::Downloading { why, .. } => {
                let goes_on = why.is_none_or(|why| why.reason == download::UNREACHABLE);
                if goes_on && updates.jobs.now().is_none() && self.bound_session().is_ok() {
                    let _ = self.download_update();
                }
                goes_on
            }
            Phase::Applying { .. } => {
                if updates.jobs.now().is_none() {
                    let _ = self.apply_update();
                }
                false
            }
            _ => false,
        };
        (waits || !told).then_some(TRY_AGAIN)
    }

    /// Whether all was told.
    async fn tell_cloud_of_update(self: &Arc<Self>, updates: &Updates) -> bool {
        while let Some(report) = updates.updater.next_report() {
            let Ok(session) = self.bound_session() else { return false };
            match device_link::update::report(&session, &report).await {
                Ok(()) => {}
                // The cloud does not want to hear it, and will not later.
                Err(error) if error.refusal().is_some_and(|it| (400..500).contains(&it.status)) => {
                    tracing::warn!(%error, "the cloud did not take a report of the update");
                }
                Err(error) => {
                    tracing::info!(%error, "a report of the update waits");
                    return false;
                }
            }
            let told = move |device: &Self| Ok(device.updates()?.updater.reported(&report)?);
            if let Err(error) = blocking(self, told).await {
                tracing::warn!(%error, "a report of the update will be sent again");
                return false;
            }
        }
        true
    }

    /// Ready when there may be something to go on with.
    pub async fn update_wakes(&self) {
        match &self.updates {
            Ok(updates) => updates.jobs.wakes().await,
            Err(_) => std::future::pending().await,
        }
    }

    /// The link is up, or there is something to tell.
    pub(super) fn wake_update(&self) {
        if let Ok(updates) = &self.updates {
            updates.jobs.wake();
        }
    }

    /// What runs, for those who follow it.
    #[must_use]
    pub fn update_job(&self) -> Option<Job> {
        self.updates.as_ref().ok().and_then(|updates| updates.jobs.now())
    }

    /// How the jobs go; `None` where there are no updates.
    #[must_use]
    pub fn update_course(&self) -> Option<watch::Receiver<Course>> {
        self.updates.as_ref().ok().map(|updates| updates.jobs.course())
    }

    /// A job came to its end.
    fn end_job(&self, ended: Result<(), Error>) {
        let Ok(updates) = &self.updates else { return };
        let why = ended.err().map(|error| Why::new(error.code(), error.to_string()));
        if let Some(why) = &why {
            tracing::warn!(reason = why.reason, "the update did not go on: {}", why.explanation);
        }
        let tell = why.as_ref().is_none_or(|why| why.reason != download::UNREACHABLE);
        updates.jobs.end(why);
        self.touch();
        if tell {
            updates.jobs.wake();
        }
    }

    fn updates(&self) -> Result<&Updates, Error> {
        self.updates.as_ref().map_err(|reason| Error::NoUpdates(reason.clone()))
    }
}
