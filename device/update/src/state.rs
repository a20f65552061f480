//! How far an update is. What stands here stands on the disk.

use crate::partial::{Announced, hex, unhex};
use serde::{Deserialize, Serialize};
use wire::update::{Offer, Report};

/// The system that runs, as `etc/build.json` of its image says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// The device's model.
    pub model: String,
    /// Where its updates come from.
    pub channel: String,
    /// The build fingerprint.
    pub build: String,
    /// When it was built, in seconds since 1970.
    pub timestamp: u64,
    /// `YYYY-MM-DD`.
    pub security_patch: String,
}

/// Where a package comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "snake_case")]
pub enum Source {
    /// The cloud offered it.
    Cloud {
        /// Reports name it.
        release_id: String,
        /// Where the zip is at the cloud.
        url: String,
    },
    /// Somebody copied it over.
    File,
}

/// An update: which build it leads to, and its package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    /// The build that the device then has.
    pub build: String,
    /// When that was made, in seconds since 1970.
    pub timestamp: u64,
    /// `YYYY-MM-DD`.
    pub security_patch: String,
    /// Only the changes against the build that runs.
    pub delta: bool,
    /// Bytes of the zip.
    pub size: u64,
    /// SHA-256 of the zip, hexadecimal.
    pub sha256: String,
    /// Where it comes from.
    #[serde(flatten)]
    pub source: Source,
}

/// Why an offer of the cloud is not taken: it breaks the cloud's own rules.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the cloud's offer has {0}")]
pub struct BadOffer(pub &'static str);

/// The largest package that is taken.
pub const LARGEST_BYTES: u64 = 1 << 40;

impl Update {
    /// An offer, held against what the device has: whoever the cloud is, the device goes forward
    /// only.
    pub fn offered(offer: Offer, running: &Running) -> Result<Self, BadOffer> {
        let Offer { release_id, build, timestamp, security_patch, url, package } = offer;
        let digest = unhex(&package.sha256).ok_or(BadOffer("a malformed SHA-256"))?;
        if !(1..=LARGEST_BYTES).contains(&package.size) {
            return Err(BadOffer("an impossible size"));
        }
        if !url.starts_with('/') || !url.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(BadOffer("a URL that is no path at the cloud"));
        }
        if timestamp <= running.timestamp {
            return Err(BadOffer("a build that is not newer than this one"));
        }
        if *security_patch < *running.security_patch {
            return Err(BadOffer("an older security patch level"));
        }
        if package.source_build.as_ref().is_some_and(|source| *source != running.build) {
            return Err(BadOffer("a delta from another build"));
        }
        Ok(Self {
            build,
            timestamp,
            security_patch,
            delta: package.source_build.is_some(),
            size: package.size,
            sha256: hex(&digest),
            source: Source::Cloud { release_id, url },
        })
    }

    /// What its package must be.
    #[must_use]
    pub fn announced(&self) -> Announced {
        let sha256 = unhex(&self.sha256).expect("an update is made of a digest");
        Announced { size: self.size, sha256 }
    }

    /// The release that reports name; none for a file that was copied over.
    #[must_use]
    pub fn release_id(&self) -> Option<&str> {
        match &self.source {
            Source::Cloud { release_id, .. } => Some(release_id),
            Source::File => None,
        }
    }
}

/// Why something did not go on: a word for programs, a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// A word of small letters, digits and `_`.
    pub reason: String,
    /// What happened.
    pub explanation: String,
}

impl Why {
    /// A reason.
    #[must_use]
    pub fn new(reason: &str, explanation: impl Into<String>) -> Self {
        Self { reason: reason.to_owned(), explanation: explanation.into() }
    }
}

/// How far an update is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Phase {
    /// There is none.
    Idle {
        /// Why not, as the cloud said last.
        #[serde(flatten)]
        why: Option<Why>,
    },
    /// The cloud offers one.
    Available {
        /// Which.
        update: Update,
    },
    /// Its package comes, or waits to go on.
    Downloading {
        /// Which.
        update: Update,
        /// Why it waits.
        #[serde(flatten)]
        why: Option<Why>,
    },
    /// Its package is here; size and hash are right.
    Downloaded {
        /// Which.
        update: Update,
        /// Why applying it did not come to its end.
        #[serde(flatten)]
        why: Option<Why>,
    },
    /// It is written to the other slot.
    Applying {
        /// Which.
        update: Update,
    },
    /// It is in the other slot; recovery has the last word.
    ReadyToRestart {
        /// Which.
        update: Update,
    },
    /// The device was told to restart into recovery.
    Restarting {
        /// Which.
        update: Update,
        /// The power-on in which it was told.
        boot_no: u64,
    },
    /// The device runs it.
    Installed {
        /// Which.
        update: Update,
    },
    /// The device does not run it.
    Failed {
        /// Which.
        update: Update,
        /// Why.
        #[serde(flatten)]
        why: Why,
    },
}

impl Default for Phase {
    fn default() -> Self {
        Self::Idle { why: None }
    }
}

impl Phase {
    /// Its name, as JSON says it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Idle { .. } => "idle",
            Self::Available { .. } => "available",
            Self::Downloading { .. } => "downloading",
            Self::Downloaded { .. } => "downloaded",
            Self::Applying { .. } => "applying",
            Self::ReadyToRestart { .. } => "ready_to_restart",
            Self::Restarting { .. } => "restarting",
            Self::Installed { .. } => "installed",
            Self::Failed { .. } => "failed",
        }
    }

    /// The update that it is about.
    #[must_use]
    pub const fn update(&self) -> Option<&Update> {
        match self {
            Self::Idle { .. } => None,
            Self::Available { update }
            | Self::Downloading { update, .. }
            | Self::Downloaded { update, .. }
            | Self::Applying { update }
            | Self::ReadyToRestart { update }
            | Self::Restarting { update, .. }
            | Self::Installed { update }
            | Self::Failed { update, .. } => Some(update),
        }
    }

    /// Why it does not go on.
    #[must_use]
    pub const fn why(&self) -> Option<&Why> {
        match self {
            Self::Idle { why } | Self::Downloading { why, .. } | Self::Downloaded { why, .. } => {
                why.as_ref()
            }
            Self::Failed { why, .. } => Some(why),
            _ => None,
        }
    }

    /// Whether its package, or a part of it, is to stay on the disk.
    #[must_use]
    pub const fn keeps_package(&self) -> bool {
        matches!(
            self,
            Self::Downloading { .. }
                | Self::Downloaded { .. }
                | Self::Applying { .. }
                | Self::ReadyToRestart { .. }
                | Self::Restarting { .. }
        )
    }
}

/// All that lasts, in one file: what happened and the report of it become durable together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// How far.
    #[serde(flatten)]
    pub phase: Phase,
    /// What a person should know of how it went: never silently anew.
    #[serde(default)]
    pub notes: Vec<String>,
    /// What the cloud has not been told yet, the oldest first.
    #[serde(default)]
    pub reports: Vec<Report>,
}
