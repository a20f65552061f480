//! System updates (SPEC S2.6): what a maker publishes, what a device is offered, what came of it.
//!
//! | route | who | body → answer |
//! |---|---|---|
//! | `POST /v1/makers/releases` | a maker's credential | [`Announcement`] → 201 [`Release`] |
//! | `GET /v1/makers/releases` | maker | → list of [`Release`], the newest build first |
//! | `GET /v1/makers/releases/{id}` | maker | → [`Release`] |
//! | `DELETE /v1/makers/releases/{id}` | maker | → 204; only what is stopped or was never offered |
//! | `POST /v1/makers/releases/{id}/packages` | maker | [`NewPackage`] → 201 [`Release`]: one more delta |
//! | `PUT /v1/makers/packages/{id}` | maker | the zip → [`Release`]; counts once size and hash are right |
//! | `PUT /v1/makers/releases/{id}/rollout` | maker | [`RolloutChange`] → [`Release`] |
//! | `POST /v1/makers/releases/{id}/stop` | maker | → [`Release`] |
//! | `POST /v1/makers/releases/{id}/resume` | maker | → [`Release`] |
//! | `POST /v1/updates/check` | device | [`Check`] → [`Answer`] |
//! | `GET /v1/updates/packages/{id}` | device | the zip; `Range`, `If-Range` (RFC 9110); `ETag` is its SHA-256 |
//! | `POST /v1/updates/reports` | device | [`Report`] → 204 |

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A new release and its first package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// The devices that it is for, as their maker calls the model.
    pub model: String,
    /// `stable`, `beta` … as the maker likes.
    pub channel: String,
    /// The build fingerprint that a device has once it is updated.
    pub build: String,
    /// When the build was made, in seconds since 1970 (`post-timestamp` of the zip's metadata).
    pub timestamp: u64,
    /// `YYYY-MM-DD` (`post-security-patch-level` of the zip's metadata).
    pub security_patch: String,
    /// Its roll-out.
    #[serde(flatten)]
    pub rollout: Rollout,
    /// Its first package.
    #[serde(flatten)]
    pub package: NewPackage,
}

/// A zip that is going to be uploaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewPackage {
    /// The build that a delta starts from; none for a full package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_build: Option<String>,
    /// Bytes of the zip.
    pub size: u64,
    /// SHA-256 of the zip; hexadecimal.
    pub sha256: String,
}

/// How far a release goes, and what stops it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// Of the devices, so many in a hundred are offered it. Raising it only adds devices.
    pub percentage: u8,
    /// The release stops by itself once more than so many in a hundred outcomes are failures;
    /// 100 never stops it.
    #[serde(default = "failure_percentage")]
    pub failure_percentage: u8,
    /// … but not before so many devices have told their outcome (`booted` or `failed`).
    #[serde(default = "minimum_outcomes")]
    pub minimum_outcomes: u32,
}

/// Changes a roll-out; what is not named stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RolloutChange {
    /// As in [`Rollout`].
    pub percentage: Option<u8>,
    /// As in [`Rollout`].
    pub failure_percentage: Option<u8>,
    /// As in [`Rollout`].
    pub minimum_outcomes: Option<u32>,
}

/// One failure in twenty is too many.
const fn failure_percentage() -> u8 {
    5
}

/// Enough for a twentieth to be more than one unlucky device.
const fn minimum_outcomes() -> u32 {
    20
}

/// A release, as its maker sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Its id.
    pub release_id: String,
    /// As announced.
    pub model: String,
    /// As announced.
    pub channel: String,
    /// As announced.
    pub build: String,
    /// As announced.
    pub timestamp: u64,
    /// As announced.
    pub security_patch: String,
    /// Its roll-out.
    #[serde(flatten)]
    pub rollout: Rollout,
    /// Why nobody is offered it now; none while it rolls out.
    pub stopped: Option<Stopped>,
    /// When it was announced.
    pub announced_at_ms: u64,
    /// Its packages, the full one first.
    pub packages: Vec<Package>,
    /// What became of it.
    pub counts: Counts,
}

/// Who stopped a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stopped {
    /// Its maker.
    ByMaker,
    /// The reports of devices.
    ByFailures,
}

/// A package of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// Its id.
    pub package_id: String,
    /// Whether its bytes are here, whole and with the hash that was announced.
    pub uploaded: bool,
    /// As announced.
    #[serde(flatten)]
    pub announced: NewPackage,
}

/// Devices, each counted once.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// It was offered to.
    pub offered: u64,
    /// That have the package.
    pub downloaded: u64,
    /// That wrote it to their other slot.
    pub applied: u64,
    /// That run it.
    pub booted: u64,
    /// That could not.
    pub failed: u64,
    /// The reasons of those, the most frequent ones.
    pub failures: BTreeMap<String, u64>,
}

/// A device asks for an update. What it has decides what is newer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Its model.
    pub model: String,
    /// Where it wants its updates from.
    pub channel: String,
    /// The build fingerprint that it runs.
    pub build: String,
    /// When that build was made, in seconds since 1970.
    pub timestamp: u64,
    /// That build's security patch level, `YYYY-MM-DD`.
    pub security_patch: String,
}

/// What there is for a device: `{"answer": "update", …}` or
/// `{"answer": "nothing", "reason": "up_to_date"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// An update.
    Update(Offer),
    /// None.
    Nothing {
        /// Why.
        reason: Reason,
    },
}

/// Why there is no update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The device has the newest build of its channel.
    UpToDate,
    /// The roll-out of what is newer has not come to this device.
    NotYet,
    /// What is newer was stopped.
    Stopped,
    /// What is newer has no package that this device's build can take.
    NoPackage,
    /// The bootloader is unlocked (S2.5.2).
    BootloaderUnlocked,
    /// The system that runs did not verify (S2.2).
    NotVerified,
    /// Nobody knows which maker's device this is.
    UnknownMaker,
    /// A reason of a newer cloud.
    #[serde(other)]
    Other,
}

/// An update for a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Which release; reports name it.
    pub release_id: String,
    /// The build that the device then has.
    pub build: String,
    /// When that was made, in seconds since 1970.
    pub timestamp: u64,
    /// `YYYY-MM-DD`.
    pub security_patch: String,
    /// Where the zip is: a path at the cloud that answered.
    pub url: String,
    /// The zip.
    #[serde(flatten)]
    pub package: NewPackage,
}

/// A device says how far an update came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Which release.
    pub release_id: String,
    /// How far.
    pub stage: Stage,
    /// Why it failed: a word of 1 to 64 small letters, digits and `_`. Of failures only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A stage of an update on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The package is here; its size and hash are right.
    Downloaded,
    /// It is written to the other slot.
    Applied,
    /// The device runs it.
    Booted,
    /// The device does not run it.
    Failed,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{from_str, from_value, json, to_value};

    #[test]
    fn an_announcement_is_one_flat_object() {
        let text = r#"{"model": "hf1", "channel": "stable", "build": "b2", "timestamp": 9,
            "security_patch": "2026-11-05", "percentage": 10, "size": 4, "sha256": "00"}"#;
        let announced: Announcement = from_str(text).unwrap();
        let due = Rollout { percentage: 10, failure_percentage: 5, minimum_outcomes: 20 };
        assert_eq!(announced.rollout, due);
        assert_eq!(announced.package.source_build, None);
        assert_eq!(from_value::<Announcement>(to_value(&announced).unwrap()).unwrap(), announced);
        let all = text.replace("\"percentage\": 10,", "");
        assert!(from_str::<Announcement>(&all).is_err(), "how far is said aloud");
    }

    #[test]
    fn a_device_understands_a_newer_clouds_reason() {
        let nothing = Answer::Nothing { reason: Reason::UpToDate };
        assert_eq!(
            to_value(&nothing).unwrap(),
            json!({"answer": "nothing", "reason": "up_to_date"})
        );
        let newer = json!({"answer": "nothing", "reason": "tides_are_wrong"});
        let newer: Answer = from_value(newer).unwrap();
        assert_eq!(newer, Answer::Nothing { reason: Reason::Other });
    }
}
