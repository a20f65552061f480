//! Why the account service refuses.

use effects::UnixMillis;
use std::time::Duration;

/// A refusal or a failure of the account service.
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
    /// The password breaks a rule of S5.1.1.
    #[error(transparent)]
    WeakPassword(#[from] crate::password::Weakness),
    /// Phone or e-mail belong to an account already.
    #[error("this phone number or e-mail address has an account already; sign in instead")]
    Exists,
    /// Unknown login or wrong password: which of them is not told.
    #[error("the login or the password is wrong")]
    WrongPassword,
    /// The right password, but set by a reset around the loss of the device (S2.5.2).
    #[error(
        "this password was reset around the loss of the device; it unlocks the device three days \
         after the loss, the password from before the reset does now"
    )]
    ResetAroundLoss {
        /// When it will be accepted.
        until: UnixMillis,
    },
    /// Too many failures.
    #[error("too many failed tries; wait {} s", .retry_after.as_secs().max(1))]
    Throttled {
        /// When the next try counts.
        retry_after: Duration,
    },
    /// Too many passwords are being checked at this moment.
    #[error("too many sign-ins at this moment; try again in a few seconds")]
    Busy,
    /// A reset code is wrong, used up or too old.
    #[error("the code is wrong or no longer valid; ask for a new one")]
    WrongCode,
    /// No session, or one that ended.
    #[error("not signed in, or the session has ended; sign in again")]
    NotSignedIn,
    /// There is no such thing, or it is another account's.
    #[error("there is no such {0} in this account")]
    NotFound(&'static str),
    /// A device's assertion is not acceptable.
    #[error("the device's assertion is refused: {0}")]
    Assertion(&'static str),
    /// The device is locked to another account (S2.5.2).
    #[error("this device is locked to another account; its owner must turn find-device off")]
    ActivationLocked,
    /// The Key Center did not do it.
    #[error("the Key Center is not available: {0}")]
    KeyCenter(String),
    /// Something stored does not open or does not parse.
    #[error("stored data is damaged: {0}")]
    Damaged(&'static str),
    /// The database.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// A message to a person could not be handed over.
    #[error("message to the account's owner: {0}")]
    Post(#[from] std::io::Error),
    /// The crypto library.
    #[error(transparent)]
    Crypto(#[from] crypto::Error),
}
