//! Questions to the person at the trusted screen, and other things that take their time.
//!
//! A person takes their time, and a TA has one thread. So a command that asks does not wait: it
//! ends its first step with a question and with what to do once it is answered, and the TA
//! serves others meanwhile. Whatever the command checked before, it checks again then.

use crate::context::engine::Key;
use crate::{Context, Protocol, TeeError, TrustedApplication};
use board::ui::{Input, Prompt, Typed};
use tee_api::engine::Attributes;
use tee_api::ui::{Ask, Confirmation, Said, Transaction};

/// What a prompt asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question(pub(crate) Ask);

impl Question {
    /// Asks for what `input` says. `title` is as "Unlock", `detail` one sentence more.
    #[must_use]
    pub fn new(title: &str, detail: &str, input: Input) -> Self {
        Self(Ask::Prompt(Prompt { title: title.to_owned(), detail: detail.to_owned(), input }))
    }

    /// Asks for yes or no.
    #[must_use]
    pub fn confirm(title: &str, detail: &str) -> Self {
        Self::new(title, detail, Input::Confirm)
    }

    /// Lets the person choose what the trusted screen is known by. For gatekeeper only; the
    /// answer is empty.
    #[must_use]
    pub const fn mark() -> Self {
        Self(Ask::Mark)
    }

    /// What it is about; empty where the trusted OS says that itself.
    #[must_use]
    pub fn title(&self) -> &str {
        self.prompt().map_or("", |prompt| &prompt.title)
    }

    /// The sentence beside the title.
    #[must_use]
    pub fn detail(&self) -> &str {
        self.prompt().map_or("", |prompt| &prompt.detail)
    }

    /// What is asked.
    #[must_use]
    pub const fn ask(&self) -> &Ask {
        &self.0
    }

    const fn prompt(&self) -> Option<&Prompt> {
        match &self.0 {
            Ask::Prompt(prompt) => Some(prompt),
            _ => None,
        }
    }
}

impl From<Ask> for Question {
    fn from(ask: Ask) -> Self {
        Self(ask)
    }
}

/// What a command does once its question is answered.
pub(crate) type Continuation<T> =
    Box<dyn FnOnce(&mut T, &mut Context<'_>, Said) -> Result<Step<T>, TeeError>>;

/// What a command does once its key is made.
pub(crate) type KeyContinuation<T> =
    Box<dyn FnOnce(&mut T, &mut Context<'_>, Key) -> Result<Step<T>, TeeError>>;

/// How far a command came.
pub enum Step<T: TrustedApplication> {
    /// It is done.
    Done(<T::Protocol as Protocol>::Reply),
    /// The person is asked; made by [`Step::ask`] or [`Step::confirm`].
    Ask(Question, Continuation<T>),
    /// A key is made; made by [`Step::generate`].
    Generate(Attributes, KeyContinuation<T>),
}

impl<T: TrustedApplication> Step<T> {
    /// Asks the person, and goes on with `then` (it gets what was typed; nothing for yes).
    /// Where they turn the question away the command ends, [`TeeError::Cancelled`].
    pub fn ask(
        question: Question,
        then: impl FnOnce(&mut T, &mut Context<'_>, Typed) -> Result<Self, TeeError> + 'static,
    ) -> Self {
        let then = |ta: &mut T, context: &mut Context<'_>, said| match said {
            Said::Typed(typed) => then(ta, context, typed),
            Said::Confirmed(_) => Err(unexpected()),
        };
        Self::Ask(question, Box::new(then))
    }

    /// Asks the person to confirm a transaction, and goes on with `then`.
    pub fn confirm(
        transaction: Transaction,
        then: impl FnOnce(&mut T, &mut Context<'_>, Confirmation) -> Result<Self, TeeError> + 'static,
    ) -> Self {
        let then = |ta: &mut T, context: &mut Context<'_>, said| match said {
            Said::Confirmed(confirmation) => then(ta, context, confirmation),
            Said::Typed(_) => Err(unexpected()),
        };
        Self::Ask(Question(Ask::Transaction(transaction)), Box::new(then))
    }
}

impl<T: TrustedApplication> Step<T> {
    /// Has a fresh key made, and goes on with `then`. An RSA key takes up to seconds, in which the
    /// TA serves others; where it may not be made the command ends with the refusal.
    pub fn generate(
        attributes: Attributes,
        then: impl FnOnce(&mut T, &mut Context<'_>, Key) -> Result<Self, TeeError> + 'static,
    ) -> Self {
        Self::Generate(attributes, Box::new(then))
    }
}

fn unexpected() -> TeeError {
    TeeError::Communication("an answer to another kind of question".into())
}
