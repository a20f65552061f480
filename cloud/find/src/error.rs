//! Why find-device refuses.

use effects::UnixMillis;
use std::time::Duration;

/// A refusal or a failure of find-device.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A field of a request does not have its form.
    #[error("{field}: {reason}")]
    Invalid {
        /// Which field.
        field: &'static str,
        /// What is wrong, and what would be right.
        reason: &'static str,
    },
    /// Find-device is off.
    #[error("find-device is off on this device; its user turns it on, on the device")]
    Disabled,
    /// It cannot be turned off now.
    #[error("the device is in lost mode; end lost mode first")]
    Lost,
    /// Another account holds the device.
    #[error("this device is locked to another account; sign in with its owner's")]
    ActivationLocked,
    /// Unknown login or wrong password.
    #[error("the login or the password is wrong")]
    WrongPassword,
    /// The right password, but reset around the loss (S2.5.2).
    #[error(
        "this password was reset around the loss of the device; it unlocks the device three days \
         after the loss, the password from before the reset does now"
    )]
    ResetAroundLoss {
        /// When it will be accepted.
        until: UnixMillis,
    },
    /// Too many tries.
    #[error("too many failed tries; wait {} s", .retry_after.as_secs().max(1))]
    Throttled {
        /// When the next one counts.
        retry_after: Duration,
    },
    /// There is no such thing.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// Something stored does not open or does not parse.
    #[error("stored data is damaged: {0}")]
    Damaged(&'static str),
    /// The account service could not say.
    #[error("the account service: {0}")]
    Accounts(String),
    /// The way to the device failed.
    #[error("the link service: {0}")]
    Link(String),
    /// The database.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// The crypto library.
    #[error(transparent)]
    Crypto(#[from] crypto::Error),
}
