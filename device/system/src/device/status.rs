//! What the device says of itself.

use super::clock::Time;
use super::{Booted, Device};
use crate::error::Error;
use serde::Serialize;
use tee_api::gatekeeper;

/// `GET /v1/status`.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// Serial number; `null` in the factory.
    pub serial: Option<String>,
    /// `green`, `yellow`, `orange`, `red`, or `unknown`.
    pub boot_state: &'static str,
    /// SHA-256 of the key that signed what was booted, hexadecimal; `null` where nobody did.
    pub boot_key: Option<String>,
    /// The bootloader was locked at power-on; `null` in the factory.
    pub bootloader_locked: Option<bool>,
    /// The system on the flash is known to be corrupt; what is wrong there can't be read.
    pub corrupt: bool,
    /// How often the device was powered on.
    pub boot_no: u64,
    /// The screen is locked.
    pub locked: bool,
    /// What gatekeeper says.
    pub lock: gatekeeper::Status,
    /// The credential-encrypted area is open.
    pub ce_open: bool,
    /// The account's masked e-mail address.
    pub account: Option<String>,
    /// The device's id at the cloud.
    pub device_id: Option<String>,
    /// `due` while the device waits for its owner's account, else `none`.
    pub activation: &'static str,
    /// The link is up.
    pub cloud_connected: bool,
    /// Find-device is on.
    pub find_enabled: bool,
    /// The message of lost mode, while it holds.
    pub lost: Option<String>,
    /// What the trusted screen asks right now: `enrol`, `unlock`, `bootloader`, `confirm` or `null`.
    pub prompt: Option<Prompt>,
    /// What the TEE's secure clock says; `null` while the TEE is not asked, or gives no time.
    pub time: Option<Time>,
    /// The keys were destroyed; the device must restart.
    pub erased: bool,
}

/// Why a prompt stands on the trusted screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Prompt {
    /// A screen lock is being set.
    Enrol,
    /// The device is being unlocked.
    Unlock,
    /// The bootloader is being locked or unlocked.
    Bootloader,
    /// A program asks the person to confirm a text.
    Confirm,
}

/// `GET /v1/find`.
#[derive(Debug, Clone, Serialize)]
pub struct Find {
    /// Find-device is on.
    pub enabled: bool,
    /// The message of lost mode, while it holds.
    pub lost: Option<String>,
    /// How much longer the alarm sounds; `null` when it is silent.
    pub alarm_ms: Option<u64>,
}

/// What hardly changes.
#[derive(Debug, Clone)]
pub struct Summary {
    /// Serial number; `None` in the factory.
    pub serial: Option<String>,
    /// What was booted.
    pub booted: Booted,
    /// See [`Status::boot_no`].
    pub boot_no: u64,
    /// The account's masked e-mail address.
    pub account: Option<String>,
    /// Find-device is on.
    pub find_enabled: bool,
}

/// What the phone's screen shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum View {
    /// The keys are gone; it restarts.
    Erased,
    /// It waits for its owner's account.
    Activation {
        /// The owner's masked e-mail address.
        owner_hint: Option<String>,
    },
    /// Lost mode.
    Lost {
        /// The owner's message.
        message: String,
    },
    /// No screen lock yet.
    SetUp,
    /// Locked.
    Locked,
    /// Open.
    Open,
}

impl View {
    /// Its name, for the page.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Erased => "erased",
            Self::Activation { .. } => "activation",
            Self::Lost { .. } => "lost",
            Self::SetUp => "setup",
            Self::Locked => "locked",
            Self::Open => "open",
        }
    }
}

impl Device {
    /// The state of everything. While a prompt stands, the TEE is not asked: it is busy with
    /// the person, and what it said last still holds.
    pub fn status(&self) -> Result<Status, Error> {
        let silent = {
            let live = self.live();
            live.prompt.is_some() || live.erased
        };
        let time = match silent {
            true => None,
            false => {
                self.refresh()?;
                self.tee.time().ok().map(Time::from)
            }
        };
        let record = self.userdata().record().clone();
        let live = self.live();
        Ok(Status {
            serial: live.serial.clone(),
            boot_state: self.booted.state,
            boot_key: self.booted.key.clone(),
            bootloader_locked: self.booted.locked,
            corrupt: self.booted.corrupt,
            boot_no: self.boot_no,
            locked: live.locked,
            lock: live.lock.clone(),
            ce_open: live.area.is_some(),
            account: record.account.as_ref().map(|account| account.masked.clone()),
            device_id: record.account.map(|account| account.device_id),
            activation: if live.lock.activation_due { "due" } else { "none" },
            cloud_connected: live.connected,
            find_enabled: record.find_enabled,
            lost: live.lock.lost.clone(),
            prompt: live.prompt,
            time,
            erased: live.erased,
        })
    }

    /// What find-device does.
    #[must_use]
    pub fn find(&self) -> Find {
        let enabled = self.userdata().record().find_enabled;
        let live = self.live();
        let alarm_ms = live.alarm.remaining(self.clock.monotonic());
        Find {
            enabled,
            lost: live.lock.lost.clone(),
            alarm_ms: alarm_ms.map(|left| left.as_millis() as u64),
        }
    }

    /// What the phone's screen shows, from what is known without asking the TEE.
    #[must_use]
    pub fn view(&self) -> View {
        let live = self.live();
        if live.erased {
            View::Erased
        } else if live.lock.activation_due {
            View::Activation { owner_hint: live.owner_hint.clone() }
        } else if let Some(message) = live.lock.lost.clone() {
            View::Lost { message }
        } else if !live.lock.enrolled {
            View::SetUp
        } else if live.locked {
            View::Locked
        } else {
            View::Open
        }
    }

    /// What the trusted screen asks right now.
    #[must_use]
    pub fn prompt(&self) -> Option<Prompt> {
        self.live().prompt
    }

    /// What is known without asking the TEE.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let record = self.userdata().record().clone();
        Summary {
            serial: self.live().serial.clone(),
            booted: self.booted.clone(),
            boot_no: self.boot_no,
            account: record.account.map(|account| account.masked),
            find_enabled: record.find_enabled,
        }
    }

    /// Says something on the phone's screen, or takes it away.
    pub fn set_notice(&self, notice: Option<String>) {
        self.live().notice = notice;
        self.touch();
    }

    /// What came of the last try, for the phone's screen.
    #[must_use]
    pub fn notice(&self) -> Option<String> {
        self.live().notice.clone()
    }

    /// Whose device it is, as far as the cloud told.
    #[must_use]
    pub fn owner_hint(&self) -> Option<String> {
        self.live().owner_hint.clone()
    }

    /// Whether the link to the cloud is up.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.live().connected
    }

    /// Whether the alarm sounds.
    #[must_use]
    pub fn alarm_sounds(&self) -> bool {
        self.live().alarm.remaining(self.clock.monotonic()).is_some()
    }
}
