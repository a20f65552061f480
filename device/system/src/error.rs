//! Why the device does not do what it was asked: one word for programs, one sentence for people.

use crate::userdata::ChangeError;
use device_link::session;
use device_link::sync::{StoreError, SyncError};
use device_update::copied::CopyError;
use device_update::partial::PartialError;
use device_update::state::Why;
use device_update::updater::UpdateError;
use std::io;
use tee_api::TeeError;
use vault::{TransferError, VaultError};

/// A refusal or a failure.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The credential-encrypted area is closed.
    #[error("the device is locked; unlock it first")]
    Locked,
    /// A wrong PIN.
    #[error("wrong PIN, the {}{}", ordinal(*failures), wait(*retry_after_ms))]
    WrongPin {
        /// Wrong ones so far.
        failures: u32,
        /// Milliseconds until the next try counts.
        retry_after_ms: u64,
    },
    /// Too early for another try.
    #[error("too many wrong PINs{}", wait(*retry_after_ms))]
    Throttled {
        /// Milliseconds until the next try counts.
        retry_after_ms: u64,
    },
    /// A prompt already stands on the trusted screen.
    #[error("a prompt stands on the trusted screen; answer it first")]
    PromptOpen,
    /// Lost mode holds.
    #[error("the device is in lost mode; its owner's account password ends it")]
    LostMode,
    /// Nothing to end.
    #[error("the device is not in lost mode")]
    NotLost,
    /// The device waits for its owner's account.
    #[error("the device was reset and waits for the account of its owner")]
    ActivationDue,
    /// It does not.
    #[error("the device is not waiting for an account")]
    ActivationNotDue,
    /// The images on the flash would not boot once the bootloader is locked.
    #[error("these images would not boot once the bootloader is locked: {0}")]
    WouldNotBoot(String),
    /// No account.
    #[error("the device is not bound to an account; sign in first")]
    NotBound,
    /// Another account.
    #[error("the device is bound to another account; reset it first")]
    BoundToAnother,
    /// The keys are gone, the device is about to restart.
    #[error("the device was erased; restart it")]
    Erased,
    /// No `cloud.json` in the system.
    #[error("this system was built without a cloud; put etc/cloud.json into the system image")]
    NoCloud,
    /// The modem knows no position.
    #[error("no position: {0}")]
    NoPosition(String),
    /// Not there.
    #[error("{0} is not there")]
    NotFound(String),
    /// The request is malformed.
    #[error("{0}")]
    BadRequest(String),
    /// The TEE refused.
    #[error(transparent)]
    Tee(#[from] TeeError),
    /// The cloud refused, or cannot be reached.
    #[error("{}", cloud_words(.0))]
    Cloud(#[from] session::Error),
    /// The userdata partition was not changed.
    #[error(transparent)]
    Userdata(#[from] ChangeError),
    /// A file could not be read or written.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The area refused.
    #[error(transparent)]
    Vault(VaultError),
    /// Another run of sync goes.
    #[error("sync runs already; wait for its end")]
    SyncRuns,
    /// Sync did not come to its end.
    #[error(transparent)]
    Sync(SyncError),
    /// A transfer broke off.
    #[error(transparent)]
    Transfer(TransferError),
    /// The system does not say which build it is, or its update folder can't be used.
    #[error("this system can't be updated: {0}")]
    NoUpdates(String),
    /// An update does not go on.
    #[error(transparent)]
    Update(#[from] Box<UpdateRefused>),
    /// The keystore refused.
    #[error(transparent)]
    Keys(#[from] keystore::Error),
    /// A part of the daemon gave up.
    #[error("the system failed inside: {0}")]
    Internal(String),
}

/// Why an update does not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpdateRefused {
    /// What follows what.
    #[error(transparent)]
    Updater(#[from] UpdateError),
    /// Another job runs.
    #[error("something else runs for the update; wait for its end")]
    Busy,
    /// Somebody stopped it.
    #[error("the download was stopped")]
    Stopped,
    /// The cloud's package is not the one that it offered.
    #[error("the package at the cloud is not the one that was offered; check again")]
    Swapped,
    /// The connection broke again and again.
    #[error("{0}; what came stays, and the download goes on once the cloud answers")]
    Unreachable(String),
    /// A file that was copied over did not arrive.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// A file that was copied over is not taken.
    #[error("{}", .0.explanation)]
    NotTaken(Why),
    /// The package was not written.
    #[error("{}", .0.explanation)]
    NotWritten(Why),
}

impl UpdateRefused {
    /// HTTP status and word.
    fn code(&self) -> (u16, &str) {
        match self {
            Self::Updater(error) => updater_code(error),
            Self::Busy => (409, "update_busy"),
            Self::Stopped => (409, "stopped"),
            Self::Swapped => (502, "package_swapped"),
            Self::Unreachable(_) => (502, "cloud_unreachable"),
            Self::Copy(CopyError::Truncated { .. }) => (400, "truncated"),
            Self::Copy(CopyError::Disk(error)) => partial_code(error),
            Self::Copy(_) => (413, "too_large"),
            Self::NotTaken(why) => (422, &why.reason),
            Self::NotWritten(why) => (409, &why.reason),
        }
    }
}

const fn updater_code(error: &UpdateError) -> (u16, &'static str) {
    match error {
        UpdateError::NothingOffered => (409, "nothing_offered"),
        UpdateError::NothingDownloaded => (409, "nothing_downloaded"),
        UpdateError::NothingApplied => (409, "nothing_applied"),
        UpdateError::Restarting => (409, "restarting"),
        UpdateError::Altered(_) => (409, "package_altered"),
        UpdateError::Offer(_) => (502, "bad_offer"),
        UpdateError::Partial(error) => partial_code(error),
        _ => (500, "storage"),
    }
}

const fn partial_code(error: &PartialError) -> (u16, &'static str) {
    match error {
        PartialError::DiskFull { .. } => (507, "disk_full"),
        PartialError::Longer(_) => (502, "longer_than_announced"),
        PartialError::Hash { .. } => (502, "hash_differs"),
        PartialError::Source(_) => (502, "cloud_unreachable"),
        _ => (500, "storage"),
    }
}

impl From<UpdateRefused> for Error {
    fn from(refused: UpdateRefused) -> Self {
        Self::Update(Box::new(refused))
    }
}

impl From<UpdateError> for Error {
    fn from(error: UpdateError) -> Self {
        UpdateRefused::from(error).into()
    }
}

impl Error {
    /// An [`Error::Io`] while `what` was done.
    pub fn io(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io { what, source }
    }

    /// The HTTP status that says it.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::Locked | Self::LostMode | Self::ActivationDue => 423,
            Self::WrongPin { .. } => 403,
            Self::Throttled { .. } => 429,
            Self::PromptOpen | Self::NotLost | Self::ActivationNotDue => 409,
            Self::NotBound | Self::BoundToAnother | Self::SyncRuns => 409,
            Self::WouldNotBoot(_) => 409,
            Self::Sync(error) => sync_code(error).0,
            Self::Erased => 410,
            Self::NotFound(_) => 404,
            Self::BadRequest(_) => 400,
            Self::NoCloud | Self::NoPosition(_) | Self::NoUpdates(_) => 503,
            Self::Update(refused) => refused.code().0,
            Self::Tee(error) | Self::Keys(keystore::Error::Tee(error)) => tee_code(error).0,
            Self::Keys(error) => keys_status(error),
            Self::Cloud(error) => error.refusal().map_or(502, |refusal| refusal.status),
            Self::Userdata(ChangeError::Io(error)) | Self::Io { source: error, .. } => {
                if is_full(error) { 507 } else { 500 }
            }
            Self::Vault(VaultError::NotFound { .. }) => 404,
            Self::Vault(VaultError::Path(_) | VaultError::NotAFile { .. }) => 400,
            Self::Vault(VaultError::NotADirectory { .. }) => 400,
            Self::Vault(VaultError::NoSpace { .. }) => 507,
            Self::Transfer(error) => transfer_code(error).0,
            Self::Userdata(_) | Self::Vault(_) | Self::Internal(_) => 500,
        }
    }

    /// The word for programs.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Locked => "locked",
            Self::WrongPin { .. } => "wrong_pin",
            Self::Throttled { .. } => "throttled",
            Self::PromptOpen => "prompt_open",
            Self::LostMode => "lost_mode",
            Self::NotLost => "not_lost",
            Self::ActivationDue => "activation_due",
            Self::ActivationNotDue => "activation_not_due",
            Self::WouldNotBoot(_) => "would_not_boot",
            Self::NotBound => "not_bound",
            Self::BoundToAnother => "bound_to_another",
            Self::SyncRuns => "sync_runs",
            Self::Sync(SyncError::Store(error)) => {
                refusal_of(error).map_or("cloud_unreachable", |refusal| &refusal.error)
            }
            Self::Sync(error) => sync_code(error).1,
            Self::Erased => "erased",
            Self::NoCloud => "no_cloud",
            Self::NoPosition(_) => "no_position",
            Self::NotFound(_) => "not_found",
            Self::BadRequest(_) => "bad_request",
            Self::Tee(error) | Self::Keys(keystore::Error::Tee(error)) => tee_code(error).1,
            Self::Keys(error) => error.code().map_or("internal", |code| code.name()),
            Self::Cloud(error) => error.refusal().map_or("cloud_unreachable", |r| &r.error),
            Self::Userdata(ChangeError::Io(error)) | Self::Io { source: error, .. } => {
                if is_full(error) { "disk_full" } else { "storage" }
            }
            Self::Vault(VaultError::NotFound { .. }) => "not_found",
            Self::Vault(VaultError::NoSpace { .. }) => "disk_full",
            Self::Vault(VaultError::Altered { .. } | VaultError::NoArea) => "altered",
            Self::Vault(_) => "files",
            Self::Transfer(error) => transfer_code(error).1,
            Self::NoUpdates(_) => "no_updates",
            Self::Update(refused) => refused.code().1,
            Self::Userdata(_) => "userdata",
            Self::Internal(_) => "internal",
        }
    }

    /// The number of KeyMint's or the keystore's code, where it is one.
    #[must_use]
    pub fn key_code(&self) -> Option<i32> {
        match self {
            Self::Keys(error) => error.code().map(|code| code.number()),
            _ => None,
        }
    }

    /// Milliseconds until it is worth trying again, where that is known.
    #[must_use]
    pub const fn retry_after_ms(&self) -> Option<u64> {
        match self {
            Self::WrongPin { retry_after_ms, .. } | Self::Throttled { retry_after_ms } => {
                Some(*retry_after_ms)
            }
            _ => None,
        }
    }
}

/// What a refusal of KeyMint's is in HTTP; the keystore's own say it themselves.
fn keys_status(error: &keystore::Error) -> u16 {
    use keymint::ErrorCode as Km;
    use keystore_client::Code;
    match error.code() {
        Some(Code::Keystore(code)) => code.status(),
        Some(Code::KeyMint(
            Km::KeyUserNotAuthenticated
            | Km::KeyNotYetValid
            | Km::KeyExpired
            | Km::KeyMaxOpsExceeded
            | Km::NoUserConfirmation
            | Km::VerificationFailed
            | Km::EarlyBootEnded
            | Km::CannotAttestIds,
        )) => 403,
        Some(Code::KeyMint(Km::InvalidOperationHandle)) => 404,
        Some(Code::KeyMint(Km::DeviceLocked)) => 423,
        Some(Code::KeyMint(Km::TooManyOperations)) => 429,
        Some(Code::KeyMint(Km::Unimplemented)) => 501,
        Some(Code::KeyMint(Km::RollbackResistanceUnavailable)) => 507,
        Some(Code::KeyMint(_)) => 400,
        None => 500,
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

const fn tee_code(error: &TeeError) -> (u16, &'static str) {
    match error {
        TeeError::NotFound(_) => (404, "tee_not_found"),
        TeeError::Denied(_) => (403, "tee_denied"),
        TeeError::BadParameters(_) => (400, "tee_bad_parameters"),
        TeeError::BadState(_) => (409, "tee_bad_state"),
        TeeError::Cancelled => (403, "cancelled"),
        TeeError::Security(_) => (403, "tee_security"),
        TeeError::Resources(_) => (507, "tee_resources"),
        _ => (503, "tee_unavailable"),
    }
}

/// An archive is the caller's; the area is ours.
fn transfer_code(error: &TransferError) -> (u16, &'static str) {
    match error {
        TransferError::Vault(VaultError::NoSpace { .. }) => (507, "disk_full"),
        TransferError::Vault(_) | TransferError::Write(_) => (500, "files"),
        _ => (400, "bad_archive"),
    }
}

/// What the cloud or the Key Center refused a run of sync with.
fn refusal_of(error: &StoreError) -> Option<&http_link::Refusal> {
    error.0.downcast_ref::<session::Error>()?.refusal()
}

const fn sync_code(error: &SyncError) -> (u16, &'static str) {
    match error {
        SyncError::NothingStored => (404, "nothing_stored"),
        SyncError::Unseen { .. } => (409, "unseen_snapshot"),
        SyncError::Conflict | SyncError::Changed(_) => (409, "sync_conflict"),
        SyncError::Store(_) => (502, "cloud_unreachable"),
        SyncError::Vault(VaultError::NoSpace { .. }) => (507, "disk_full"),
        SyncError::Vault(_) => (500, "files"),
        _ => (502, "sync"),
    }
}

fn cloud_words(error: &session::Error) -> String {
    error.refusal().map_or_else(|| error.to_string(), |refusal| refusal.reason.clone())
}

fn ordinal(number: u32) -> String {
    let suffix = match (number % 10, number % 100) {
        (1, n) if n != 11 => "st",
        (2, n) if n != 12 => "nd",
        (3, n) if n != 13 => "rd",
        _ => "th",
    };
    format!("{number}{suffix}")
}

fn wait(retry_after_ms: u64) -> String {
    match retry_after_ms.div_ceil(1000) {
        0 => String::new(),
        seconds @ 1..=90 => format!("; try again in {seconds} s"),
        seconds => format!("; try again in {} min", seconds.div_ceil(60)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_happened_and_when_to_try_again() {
        let wrong = Error::WrongPin { failures: 5, retry_after_ms: 29_500 };
        assert_eq!(wrong.to_string(), "wrong PIN, the 5th; try again in 30 s");
        assert_eq!(wrong.status(), 403);
        let first = Error::WrongPin { failures: 1, retry_after_ms: 0 };
        assert_eq!(first.to_string(), "wrong PIN, the 1st");
        let full = Error::io("the tar")(io::ErrorKind::StorageFull.into());
        assert_eq!((full.status(), full.code()), (507, "disk_full"));
    }
}
