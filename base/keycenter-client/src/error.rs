//! Why the Key Center did not do it.

/// What went wrong with a question to the Key Center.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No answer came.
    #[error("the Key Center: {0}")]
    Transport(#[from] http_link::Error),
    /// It refused.
    #[error("the Key Center refused {path} ({status}): {errors}")]
    Refused {
        /// The HTTP status: 403 not allowed, 404 not there, 503 sealed.
        status: u16,
        /// What was asked for, without `/v1/`.
        path: String,
        /// Its reasons.
        errors: String,
    },
    /// It refused the one item that was asked for.
    #[error("the Key Center: {0}")]
    Item(ItemRefused),
    /// Its answer has not the form that is due.
    #[error("the Key Center's answer is not understood: {0}")]
    Answer(String),
    /// There is no credential to sign in with.
    #[error("no owner's assertion for the Key Center: {0}")]
    Assertion(String),
    /// Key names are letters, digits, `-`, `_` and `.`.
    #[error("{0:?} is not a key's name: letters, digits, '-', '_' and '.' only")]
    Name(String),
}

impl Error {
    /// The status, where the Key Center refused.
    #[must_use]
    pub const fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }
}

/// Why one item of a batch was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", if self.0.is_empty() { "the item came back empty" } else { &self.0 })]
pub struct ItemRefused(pub String);
