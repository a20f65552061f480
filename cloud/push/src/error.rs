//! Why the push service refuses.

/// A refusal or a failure of the push service.
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
    /// No developer has this credential.
    #[error("no developer has this credential")]
    NotADeveloper,
    /// There is no such thing, or it is another's.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// A device has too many messages waiting.
    #[error("this device has too many messages waiting; it must fetch them first")]
    Full,
    /// Something stored does not open or does not parse.
    #[error("stored data is damaged: {0}")]
    Damaged(&'static str),
    /// The database.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
}
