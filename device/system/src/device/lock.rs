//! The screen lock: set, open, close. The PIN never comes here: the trusted screen asks for it.

use super::{Device, Prompt};
use crate::error::Error;
use crypto::secret::Secret;
use serde::Serialize;
use std::time::Duration;
use tee_api::TeeError;
use tee_api::gatekeeper::{Command, LockKind, LockSettings, LockStatus, Reply, Space, Status};

/// `GET /v1/lock`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LockView {
    /// The lock; `null` while none is set.
    pub lock: Option<LockStatus>,
    /// What the owner chose.
    pub settings: LockSettings,
    /// Wrong PINs in a row.
    pub failures: u32,
    /// Milliseconds until the next try counts.
    pub retry_after_ms: u64,
}

/// What can be changed about the screen lock.
#[derive(Debug, Clone)]
pub enum LockChange {
    /// Another PIN, password or pattern.
    Kind(LockKind),
    /// Other rules.
    Settings(LockSettings),
    /// A recovery key, shown once on the trusted screen.
    RecoveryKey,
    /// A new PIN for who has the recovery key.
    Recover(LockKind),
    /// An organisation that opens the device too: its name, and its key (P-256,
    /// SubjectPublicKeyInfo).
    Escrow(String, Vec<u8>),
    /// None any more.
    EndEscrow,
    /// A new PIN for who has the organisation's secret.
    RedeemEscrow(Vec<u8>, LockKind),
}

impl LockChange {
    fn command(self) -> Command {
        let space = Space::MAIN;
        match self {
            Self::Kind(kind) => Command::Change { space, kind },
            Self::Settings(settings) => Command::SetLockSettings(settings),
            Self::RecoveryKey => Command::MakeRecoveryKey { space },
            Self::Recover(kind) => Command::Recover { space, kind },
            Self::Escrow(organisation, key) => {
                Command::MakeEscrow { space, organisation, public_key: key.into() }
            }
            Self::EndEscrow => Command::EndEscrow { space },
            Self::RedeemEscrow(secret, kind) => {
                Command::RedeemEscrow { space, secret: secret.into(), kind }
            }
        }
    }
}

enum LockAnswer {
    Done,
    Escrowed(String),
    Erased,
}

impl Device {
    /// Sets the screen lock. Blocks until the person has chosen what they know the trusted screen
    /// by, and entered the new PIN, password or pattern twice.
    pub fn enrol(&self, kind: LockKind) -> Result<(), Error> {
        self.refuse_if_closed_to_people()?;
        let enrol = Command::Enrol { space: Space::MAIN, kind };
        self.prompting(Prompt::Enrol, || match self.tee.gatekeeper(enrol)? {
            Reply::Done => Ok(()),
            _ => Err(unexpected()),
        })?;
        self.live().locked = true;
        self.touch();
        Ok(())
    }

    /// Unlocks the screen and, the first time after power-on, opens the credential-encrypted
    /// area. Blocks until the person has typed the PIN.
    pub fn unlock(&self) -> Result<(), Error> {
        self.refuse_if_closed_to_people()?;
        let epoch = *self.epoch.borrow();
        let (key, keystore_key, token) = self
            .prompting(Prompt::Unlock, || match self.tee.gatekeeper(Command::Unlock)? {
                Reply::Unlocked { ce_key, keystore_key, auth_token, .. } => {
                    let secret = |key: &[u8]| Secret::<32>::from_slice(key);
                    let keys = secret(&ce_key).and_then(|ce| Ok((ce, secret(&keystore_key)?)));
                    let (ce, keystore) = keys.map_err(|_| unexpected())?;
                    Ok(Some((ce, keystore, auth_token)))
                }
                Reply::Erased { .. } => Ok(None),
                other => Err(not_right(&other)),
            })?
            .ok_or_else(|| self.erased_itself())?;
        let already = self.live().area.clone();
        let area = match already {
            Some(area) => area,
            None => self.open_area(&key)?,
        };
        let mut live = self.live();
        if *self.epoch.borrow() != epoch {
            return Err(Error::LostMode);
        }
        live.area = Some(area);
        live.locked = false;
        live.unlocked_at = Some(self.clock.monotonic());
        live.notice = None;
        drop(live);
        self.keystore_unlocked(&keystore_key, &token);
        self.touch();
        Ok(())
    }

    /// Asks the person to prove themselves, for one operation of KeyMint. Blocks until they did;
    /// gives the hardware auth token.
    pub(super) fn authenticate(&self, operation: u64) -> Result<Vec<u8>, Error> {
        self.refuse_if_closed_to_people()?;
        let asked = Command::Authenticate { space: Space::MAIN, challenge: operation };
        self.prompting(Prompt::Unlock, || match self.tee.gatekeeper(asked)? {
            Reply::Authenticated { auth_token } => Ok(Some(auth_token.into_vec())),
            Reply::Erased { .. } => Ok(None),
            other => Err(not_right(&other)),
        })?
        .ok_or_else(|| self.erased_itself())
    }

    /// How the screen lock is set up.
    pub fn lock_view(&self) -> Result<LockView, Error> {
        let Status { locks, settings, failures, retry_after_ms, .. } = self.refresh()?;
        // This is the main space: what others there are it does not tell.
        let main = locks.into_iter().find(|lock| lock.space == Space::MAIN);
        Ok(LockView { lock: main, settings, failures, retry_after_ms })
    }

    /// Has gatekeeper change something about the lock. Blocks until the person has answered on the
    /// trusted screen.
    pub fn change_lock(&self, change: LockChange) -> Result<Option<String>, Error> {
        self.refuse_if_closed_to_people()?;
        let command = change.command();
        let reply = self.prompting(Prompt::Enrol, || match self.tee.gatekeeper(command)? {
            Reply::Done => Ok(LockAnswer::Done),
            Reply::Escrowed { jwe } => Ok(LockAnswer::Escrowed(jwe)),
            Reply::Erased { .. } => Ok(LockAnswer::Erased),
            other => Err(not_right(&other)),
        })?;
        self.touch();
        match reply {
            LockAnswer::Done => Ok(None),
            LockAnswer::Escrowed(jwe) => Ok(Some(jwe)),
            LockAnswer::Erased => Err(self.erased_itself()),
        }
    }

    /// The last guess was wrong, and the owner chose that everything goes then.
    fn erased_itself(&self) -> Error {
        self.after_erasure();
        self.end_after_erasure();
        Error::Erased
    }

    /// Whether nobody unlocked the device for as long as the owner chose; else how long that has
    /// still time. `None` where the owner chose nothing, or what needs the password is closed.
    pub(super) fn idle_restart(&self, now: Duration) -> Option<Duration> {
        let live = self.live();
        let minutes = live.lock.settings.restart_when_idle_min?;
        let chosen = Duration::from_secs(60 * u64::from(minutes));
        let since = live.unlocked_at.filter(|_| live.locked && live.area.is_some())?;
        Some((since + chosen).saturating_sub(now))
    }

    /// Locks the screen. The area stays open for what runs in the background, as on Android
    /// after the first unlock.
    pub fn lock(&self) {
        let mut live = self.live();
        live.locked = live.lock.enrolled;
        live.notice = None;
        let locked = live.locked;
        drop(live);
        if locked {
            self.keystore_locked();
        }
        self.touch();
    }

    /// Whether the screen is locked.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.live().locked
    }

    /// An error while the area is closed.
    pub fn refuse_if_closed(&self) -> Result<(), Error> {
        self.area().map(drop)
    }

    /// Locks the screen, closes the area and wipes its key from memory.
    pub(super) fn close(&self) {
        let mut live = self.live();
        self.epoch.send_modify(|epoch| *epoch += 1);
        live.area = None;
        live.locked = live.lock.enrolled;
        live.notice = None;
        drop(live);
        self.keystore_locked();
        self.touch();
    }

    fn refuse_if_closed_to_people(&self) -> Result<(), Error> {
        self.refuse_if_erased()?;
        if self.prompt().is_some() {
            return Err(Error::PromptOpen);
        }
        let lock = self.refresh()?;
        if lock.activation_due {
            return Err(Error::ActivationDue);
        }
        if lock.lost.is_some() {
            return Err(Error::LostMode);
        }
        self.open_stores()
    }

    /// Runs `ask` while everyone can see that the trusted screen asks; what it came to is
    /// shown on the lock screen.
    pub(super) fn prompting<T>(
        &self,
        prompt: Prompt,
        ask: impl FnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        {
            let mut live = self.live();
            if live.prompt.is_some() {
                return Err(Error::PromptOpen);
            }
            live.prompt = Some(prompt);
            live.notice = None;
        }
        self.touch();
        let answer = ask();
        {
            let mut live = self.live();
            live.prompt = None;
            live.notice = match &answer {
                Ok(_) | Err(Error::Tee(TeeError::Cancelled)) => None,
                Err(error) => Some(error.to_string()),
            };
        }
        self.touch();
        self.refresh()?;
        answer
    }
}

/// What gatekeeper said instead of yes.
fn not_right(reply: &Reply) -> Error {
    match *reply {
        Reply::Wrong { failures, retry_after_ms } => Error::WrongPin { failures, retry_after_ms },
        Reply::Throttled { retry_after_ms } => Error::Throttled { retry_after_ms },
        _ => unexpected(),
    }
}

fn unexpected() -> Error {
    TeeError::Communication("gatekeeper gave an answer that is not due".into()).into()
}
