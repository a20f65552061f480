//! The screen lock: set, open, close. The PIN never comes here: the trusted screen asks for it.

use super::{Device, Prompt};
use crate::error::Error;
use crypto::secret::Secret;
use tee_api::TeeError;
use tee_api::gatekeeper::{Command, LockKind, Reply, Space};

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
        let (key, keystore_key, token) =
            self.prompting(Prompt::Unlock, || match self.tee.gatekeeper(Command::Unlock)? {
                Reply::Unlocked { ce_key, keystore_key, auth_token, .. } => {
                    let secret = |key: &[u8]| Secret::<32>::from_slice(key);
                    let keys = secret(&ce_key).and_then(|ce| Ok((ce, secret(&keystore_key)?)));
                    let (ce, keystore) = keys.map_err(|_| unexpected())?;
                    Ok((ce, keystore, auth_token))
                }
                other => Err(not_right(&other)),
            })?;
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
            Reply::Authenticated { auth_token } => Ok(auth_token.into_vec()),
            other => Err(not_right(&other)),
        })
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
