//! The state machine of an update: what may follow what, durably.
//!
//! ```text
//! idle → available → downloading → downloaded → applying → ready_to_restart
//!                                                   → restarting → installed | failed
//! ```
//!
//! Each step is idempotent: asked for again, or after a restart of the daemon, it goes on where
//! it was. Nothing here talks to the cloud or writes to a slot: who does tells what came of it.

use crate::partial::{Announced, Found, Partial, PartialError, remove_others};
use crate::state::{BadOffer, Phase, Running, Source, State, Update, Why};
use effects::durable;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use wire::update::{Answer, Reason, Report, Stage};

/// Notes that are kept.
const MAX_NOTES: usize = 20;
/// Reports that wait at most; older ones go.
const MAX_REPORTS: usize = 64;
const STATE: &str = "state.json";

/// Why a step is not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpdateError {
    /// There is no update to download.
    #[error("there is no update to download: check first")]
    NothingOffered,
    /// There is no package to apply.
    #[error("there is no package to apply: download it first")]
    NothingDownloaded,
    /// Nothing waits for a restart.
    #[error("no update waits for a restart: apply it first")]
    NothingApplied,
    /// It is too late to throw it away.
    #[error("the device restarts into the update; it can't be discarded any more")]
    Restarting,
    /// The package is not the one that was checked.
    #[error("the package on the disk is not the one that was downloaded: {0}; download it again")]
    Altered(String),
    /// The cloud's offer is not taken.
    #[error(transparent)]
    Offer(#[from] BadOffer),
    /// The package does not come to its end.
    #[error(transparent)]
    Partial(#[from] PartialError),
    /// The update folder failed.
    #[error("the update folder: {0}")]
    Disk(#[from] io::Error),
}

/// The update of this device.
#[derive(Debug)]
pub struct Updater {
    folder: PathBuf,
    running: Running,
    state: Mutex<State>,
}

impl Updater {
    /// Opens the update folder, and makes it where there is none. A state that cannot be read is
    /// said aloud, and the update begins anew.
    pub fn open(folder: &Path, running: Running) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let state = match fs::read(folder.join(STATE)) {
            Ok(json) => serde_json::from_slice(&json).unwrap_or_else(|error| State {
                notes: vec![format!("the state of the update was lost ({error}); it began anew")],
                ..State::default()
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => State::default(),
            Err(error) => return Err(error),
        };
        let updater = Self { folder: folder.to_owned(), running, state: Mutex::new(state) };
        updater.tidy()?;
        Ok(updater)
    }

    /// The system that runs.
    #[must_use]
    pub const fn running(&self) -> &Running {
        &self.running
    }

    /// Where packages lie.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// How far it is.
    #[must_use]
    pub fn state(&self) -> State {
        self.lock().clone()
    }

    /// Bytes of the package that are on the disk, without looking at them.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        match &self.lock().phase {
            Phase::Downloading { update, .. } => Partial::marked(&self.folder, &update.announced()),
            phase => phase.update().filter(|_| phase.keeps_package()).map_or(0, |it| it.size),
        }
    }

    /// Whether the cloud is to be asked: an update that is being written, or that waits for its
    /// restart, comes to its end first, and a file that somebody copied over is theirs to discard.
    #[must_use]
    pub fn may_check(&self) -> bool {
        match &self.lock().phase {
            Phase::Applying { .. } | Phase::ReadyToRestart { .. } | Phase::Restarting { .. } => {
                false
            }
            Phase::Downloaded { update, .. } => update.source != Source::File,
            _ => true,
        }
    }

    /// The cloud answered. What it offers takes the place of an older offer, aloud.
    pub fn answered(&self, answer: Answer) -> Result<(), UpdateError> {
        let update = match answer {
            Answer::Nothing { reason } => return self.nothing(reason),
            Answer::Update(offer) => Update::offered(offer, &self.running)?,
        };
        self.change(|state, kept| {
            let same = state.phase.update().is_some_and(|now| now.sha256 == update.sha256);
            state.phase = match std::mem::take(&mut state.phase) {
                Phase::Downloading { why, .. } if same => Phase::Downloading { update, why },
                Phase::Downloaded { why, .. } if same => Phase::Downloaded { update, why },
                older => {
                    let notes = &mut state.notes;
                    if older.keeps_package() {
                        notes.push(format!(
                            "the cloud offers another package now: {kept} bytes of the one before \
                             were thrown away"
                        ));
                    } else {
                        notes.clear();
                    }
                    Phase::Available { update }
                }
            };
        })?;
        Ok(self.tidy()?)
    }

    /// The cloud has nothing, or nothing any more.
    fn nothing(&self, reason: Reason) -> Result<(), UpdateError> {
        let why = why_nothing(reason);
        self.change(|state, kept| {
            if state.phase.keeps_package() {
                state.notes.push(format!(
                    "the cloud does not offer this package any more ({}): {kept} bytes of it were \
                     thrown away",
                    why.reason
                ));
            }
            state.phase = Phase::Idle { why: Some(why) };
        })?;
        Ok(self.tidy()?)
    }

    /// Whether something of a package is still to come; refuses where there is none.
    pub fn wants_bytes(&self) -> Result<bool, UpdateError> {
        match self.lock().phase {
            Phase::Idle { .. } | Phase::Installed { .. } | Phase::Failed { .. } => {
                Err(UpdateError::NothingOffered)
            }
            Phase::Available { .. } | Phase::Downloading { .. } => Ok(true),
            _ => Ok(false),
        }
    }

    /// The download begins, or goes on. `None`: the package is here already.
    pub fn begin_download(&self) -> Result<Option<Update>, UpdateError> {
        self.wants_bytes()?;
        let phase = self.lock().phase.clone();
        let (Phase::Available { update } | Phase::Downloading { update, .. }) = phase else {
            return Ok(None);
        };
        self.change(|state, _| {
            state.phase = Phase::Downloading { update: update.clone(), why: None };
        })?;
        Ok(Some(update))
    }

    /// Opens what is there of the package; refuses where the rest would not fit the disk. That it
    /// goes on, or has to begin anew, is noted.
    pub fn open_partial(&self, update: &Update) -> Result<Partial, UpdateError> {
        let (partial, found) = Partial::open(&self.folder, update.announced())?;
        let size = update.size;
        match found {
            Found::Nothing => {}
            Found::Bytes(bytes) => self.note(format!("went on behind {bytes} of {size} bytes"))?,
            Found::Damaged { lost } => self.note(format!(
                "the {lost} bytes on the disk were not what was downloaded; it began anew"
            ))?,
        }
        partial.require_room()?;
        Ok(partial)
    }

    /// The server has another package under this address than it offered: nothing of the two is
    /// mixed. What came is thrown away, aloud; a new check says what there is.
    pub fn swapped(&self, partial: &mut Partial) -> Result<(), UpdateError> {
        let bytes = partial.bytes();
        partial.clear()?;
        self.note(format!(
            "the package at the cloud is not the one that was offered: {bytes} bytes were thrown \
             away"
        ))
    }

    /// The download stopped; what came stays. It goes on when it is asked to.
    pub fn paused(&self, why: Why) -> Result<(), UpdateError> {
        self.change(|state, _| {
            if let Phase::Downloading { update, .. } = state.phase.clone() {
                state.phase = Phase::Downloading { update, why: Some(why) };
            }
        })
    }

    /// The download came to its end.
    pub fn finish_download(&self, partial: Partial) -> Result<(), UpdateError> {
        match partial.finish() {
            Ok(_) => self.change(|state, _| {
                if let Phase::Downloading { update, .. } = state.phase.clone() {
                    report(state, &update, Stage::Downloaded, None);
                    state.phase = Phase::Downloaded { update, why: None };
                }
            }),
            Err(error) => {
                if let PartialError::Hash { .. } = error {
                    self.wrong_bytes(&error)?;
                }
                Err(error.into())
            }
        }
    }

    /// The bytes were not those that were announced; nothing of them stays. The cloud is told.
    pub fn wrong_bytes(&self, error: &PartialError) -> Result<(), UpdateError> {
        let reason = match error {
            PartialError::Longer(_) => "longer_than_announced",
            _ => "hash_differs",
        };
        let why = Why::new(reason, error.to_string());
        self.change(|state, _| {
            if let Phase::Downloading { update, .. } = state.phase.clone() {
                report(state, &update, Stage::Failed, Some(reason));
                state.notes.push(format!("{error}; nothing of it stays"));
                state.phase = Phase::Downloading { update, why: Some(why) };
            }
        })
    }

    /// A file that somebody copied over and that is good takes the place of what was there.
    pub fn copied(&self, update: Update) -> Result<(), UpdateError> {
        self.refuse_while_restarting()?;
        self.change(|state, kept| {
            state.notes.clear();
            let other = state.phase.update().is_some_and(|now| now.sha256 != update.sha256);
            if state.phase.keeps_package() && other {
                state.notes.push(format!(
                    "a file was copied over: {kept} bytes of another package were thrown away"
                ));
            }
            state.phase = Phase::Downloaded { update, why: None };
        })?;
        Ok(self.tidy()?)
    }

    /// The package is about to be written: the file that was checked, and stays open until it is.
    /// `None`: it was written already.
    pub fn begin_apply(&self) -> Result<Option<(Update, File)>, UpdateError> {
        let phase = self.lock().phase.clone();
        let update = match phase {
            Phase::Downloaded { update, .. } | Phase::Applying { update } => update,
            Phase::ReadyToRestart { .. } | Phase::Restarting { .. } => return Ok(None),
            _ => return Err(UpdateError::NothingDownloaded),
        };
        let file = match open_whole(&self.folder, &update.announced()) {
            Ok(file) => file,
            Err(error) => return Err(self.altered(&update, error.to_string())),
        };
        self.change(|state, _| state.phase = Phase::Applying { update: update.clone() })?;
        Ok(Some((update, file)))
    }

    /// The package on the disk is not what was downloaded: it goes, aloud. One of the cloud can
    /// be downloaded again.
    pub fn altered(&self, update: &Update, what: String) -> UpdateError {
        let changed = self.change(|state, _| {
            state.notes.push(format!(
                "the package on the disk was not the one that was downloaded ({what}); it was \
                 thrown away"
            ));
            let why = Why::new("package_altered", what.clone());
            state.phase = match update.source {
                Source::Cloud { .. } => Phase::Available { update: update.clone() },
                Source::File => Phase::Idle { why: Some(why) },
            };
        });
        match changed.and_then(|()| Ok(self.tidy()?)) {
            Ok(()) => UpdateError::Altered(what),
            Err(error) => error,
        }
    }

    /// It is in the other slot.
    pub fn applied(&self) -> Result<(), UpdateError> {
        self.change(|state, _| {
            if let Phase::Applying { update } = state.phase.clone() {
                report(state, &update, Stage::Applied, None);
                state.phase = Phase::ReadyToRestart { update };
            }
        })
    }

    /// Writing did not come to its end. A package that is refused goes and the cloud is told; of
    /// another failure (a full disk, say) the package stays.
    pub fn not_applied(&self, why: Why, refused: bool) -> Result<(), UpdateError> {
        self.change(|state, _| {
            let phase = std::mem::take(&mut state.phase);
            state.phase = match phase {
                Phase::Applying { update } if refused => {
                    report(state, &update, Stage::Failed, Some(&why.reason));
                    Phase::Failed { update, why }
                }
                Phase::Applying { update } => Phase::Downloaded { update, why: Some(why) },
                other => other,
            };
        })?;
        Ok(self.tidy()?)
    }

    /// What waits for a restart.
    pub fn ready(&self) -> Result<Update, UpdateError> {
        match &self.lock().phase {
            Phase::ReadyToRestart { update } | Phase::Restarting { update, .. } => {
                Ok(update.clone())
            }
            _ => Err(UpdateError::NothingApplied),
        }
    }

    /// Where the whole package of what waits for a restart is.
    #[must_use]
    pub fn whole(&self, update: &Update) -> PathBuf {
        update.announced().whole(&self.folder)
    }

    /// The device was told to restart into recovery, in its power-on `boot_no`.
    pub fn restarting(&self, boot_no: u64) -> Result<(), UpdateError> {
        let update = self.ready()?;
        self.change(|state, _| state.phase = Phase::Restarting { update, boot_no })
    }

    /// Whether an update of this updater's goes through recovery. Another one may: a maker's tool
    /// can put a package and the message there too, and reads what recovery said itself.
    #[must_use]
    pub fn awaits_recovery(&self) -> bool {
        matches!(self.lock().phase, Phase::Restarting { .. } | Phase::ReadyToRestart { .. })
    }

    /// The device was started: what became of the restart? `boot_no` is this power-on, `bad` why
    /// recovery or the boot of the new system did not go well. Says whether the system that runs
    /// is the update, which has yet to prove itself.
    pub fn settle(&self, boot_no: u64, bad: Option<Why>) -> Result<bool, UpdateError> {
        let (update, told) = match &self.lock().phase {
            Phase::Restarting { update, boot_no } => (update.clone(), Some(*boot_no)),
            Phase::ReadyToRestart { update } => (update.clone(), None),
            _ => return Ok(false),
        };
        if update.build == self.running.build {
            return Ok(true);
        }
        if told.is_none_or(|told| told >= boot_no) {
            return Ok(false);
        }
        match bad {
            Some(why) => self.failed(&update, why)?,
            None => {
                // Recovery never ran: nothing changed, and a restart may be asked for again.
                self.note("the device restarted without recovery; restart again".to_owned())?;
                self.change(|state, _| state.phase = Phase::ReadyToRestart { update })?;
            }
        }
        Ok(false)
    }

    fn failed(&self, update: &Update, why: Why) -> Result<(), UpdateError> {
        self.change(|state, _| {
            report(state, update, Stage::Failed, Some(&why.reason));
            state.phase = Phase::Failed { update: update.clone(), why };
        })?;
        Ok(self.tidy()?)
    }

    /// The system that runs is the update, and its slot is marked successful.
    pub fn proved(&self) -> Result<(), UpdateError> {
        let update = match &self.lock().phase {
            Phase::Restarting { update, .. } | Phase::ReadyToRestart { update } => update.clone(),
            _ => return Ok(()),
        };
        if update.build != self.running.build {
            return Ok(());
        }
        self.change(|state, _| {
            report(state, &update, Stage::Booted, None);
            state.phase = Phase::Installed { update };
        })?;
        Ok(self.tidy()?)
    }

    /// Throws away the update and its package.
    pub fn discard(&self) -> Result<(), UpdateError> {
        self.refuse_while_restarting()?;
        self.change(|state, _| {
            state.phase = Phase::default();
            state.notes.clear();
        })?;
        Ok(self.tidy()?)
    }

    /// The oldest report that the cloud has not heard.
    #[must_use]
    pub fn next_report(&self) -> Option<Report> {
        self.lock().reports.first().cloned()
    }

    /// The cloud heard it, or does not want to hear it.
    pub fn reported(&self, report: &Report) -> Result<(), UpdateError> {
        self.change(|state, _| {
            if state.reports.first() == Some(report) {
                state.reports.remove(0);
            }
        })
    }

    /// Whether it is too late for another package.
    #[must_use]
    pub fn is_restarting(&self) -> bool {
        matches!(self.lock().phase, Phase::Restarting { .. })
    }

    fn refuse_while_restarting(&self) -> Result<(), UpdateError> {
        if self.is_restarting() { Err(UpdateError::Restarting) } else { Ok(()) }
    }

    fn note(&self, note: String) -> Result<(), UpdateError> {
        self.change(|state, _| state.notes.push(note))
    }

    /// What is not durable did not happen. `change` also gets the bytes of the package that are
    /// on the disk.
    fn change(&self, change: impl FnOnce(&mut State, u64)) -> Result<(), UpdateError> {
        let kept = self.bytes();
        let mut now = self.lock();
        let mut state = now.clone();
        change(&mut state, kept);
        let more = state.notes.len().saturating_sub(MAX_NOTES);
        state.notes.drain(..more);
        let more = state.reports.len().saturating_sub(MAX_REPORTS);
        state.reports.drain(..more);
        if state != *now {
            let json = serde_json::to_vec(&state).expect("texts and numbers have a JSON form");
            durable::replace(&self.folder.join(STATE), &json, 0o600)?;
            *now = state;
        }
        Ok(())
    }

    /// Only the package that the state is about stays on the disk.
    fn tidy(&self) -> io::Result<()> {
        let state = self.lock();
        let stays = state.phase.update().filter(|_| state.phase.keeps_package());
        remove_others(&self.folder, stays.map(Update::announced).as_ref()).map(drop)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens the whole package; its size must be right.
fn open_whole(folder: &Path, announced: &Announced) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(announced.whole(folder))?;
    let length = file.metadata()?.len();
    if length != announced.size {
        let reason = format!("{length} bytes, and {} are due", announced.size);
        return Err(io::Error::new(ErrorKind::InvalidData, reason));
    }
    Ok(file)
}

/// Only of what the cloud offered.
fn report(state: &mut State, update: &Update, stage: Stage, reason: Option<&str>) {
    if let Some(release_id) = update.release_id() {
        let (release_id, reason) = (release_id.to_owned(), reason.map(str::to_owned));
        state.reports.push(Report { release_id, stage, reason });
    }
}

/// For people and programs.
fn why_nothing(reason: Reason) -> Why {
    let (word, sentence) = match reason {
        Reason::UpToDate => ("up_to_date", "this is the newest build of its channel"),
        Reason::NotYet => ("not_yet", "there is a newer build; its roll-out has not come here yet"),
        Reason::Stopped => ("stopped", "there is a newer build; its roll-out was stopped"),
        Reason::NoPackage => ("no_package", "there is a newer build, but no package for this one"),
        Reason::BootloaderUnlocked => (
            "bootloader_unlocked",
            "no updates while the bootloader is unlocked: lock it, then sign in again",
        ),
        Reason::NotVerified => {
            ("not_verified", "no updates while the system that runs does not verify")
        }
        Reason::UnknownMaker => ("unknown_maker", "the cloud does not know who made this device"),
        Reason::Other => ("other", "the cloud has a reason that this build does not know"),
    };
    Why::new(word, sentence)
}
