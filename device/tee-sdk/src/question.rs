//! Questions to the person at the trusted screen.
//!
//! A person takes their time, and a TA has one thread. So a command that asks does not wait: it
//! ends its first step with a [`Question`] and with what to do once it is answered, and the TA
//! serves others meanwhile. Whatever the command checked before, it checks again then.

use crate::{Context, Protocol, TeeError, TrustedApplication};
use zeroize::Zeroizing;

/// What a prompt asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// "Unlock".
    pub title: String,
    /// One sentence more.
    pub detail: String,
    /// `(min, max)` characters of a secret; `None` asks for yes or no.
    pub secret: Option<(u8, u8)>,
}

impl Question {
    /// Asks for a secret of `chars` = `(min, max)` characters, not echoed.
    #[must_use]
    pub fn secret(title: &str, detail: &str, chars: (u8, u8)) -> Self {
        Self { title: title.to_owned(), detail: detail.to_owned(), secret: Some(chars) }
    }

    /// Asks for yes or no.
    #[must_use]
    pub fn confirm(title: &str, detail: &str) -> Self {
        Self { title: title.to_owned(), detail: detail.to_owned(), secret: None }
    }
}

/// What a command does once its question is answered.
pub(crate) type Continuation<T> =
    Box<dyn FnOnce(&mut T, &mut Context<'_>, Zeroizing<String>) -> Result<Step<T>, TeeError>>;

/// How far a command came.
pub enum Step<T: TrustedApplication> {
    /// It is done.
    Done(<T::Protocol as Protocol>::Reply),
    /// The person is asked; made by [`Step::ask`].
    Ask(Question, Continuation<T>),
}

impl<T: TrustedApplication> Step<T> {
    /// Asks the person, and goes on with `then` (it gets what was typed; nothing for yes).
    /// Where they turn the question away the command ends, [`TeeError::Cancelled`].
    pub fn ask(
        question: Question,
        then: impl FnOnce(&mut T, &mut Context<'_>, Zeroizing<String>) -> Result<Self, TeeError>
        + 'static,
    ) -> Self {
        Self::Ask(question, Box::new(then))
    }
}
