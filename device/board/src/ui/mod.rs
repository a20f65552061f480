//! The trusted screen: while a prompt stands there, display and keys belong to the TEE.
//!
//! The trusted OS sends [`ToScreen`], the board answers [`FromScreen`], on
//! [`crate::fds::TRUSTED_UI`]. Both judge by the same rules: what may be shown ([`check_text`]),
//! and what is an answer to which question ([`Input::accept`]).

mod input;
mod mark;
mod pattern;
mod text;
mod typed;

pub use input::{Input, Unfit};
pub use mark::{Mark, PICTURES, Picture, Word};
pub use pattern::complete as complete_pattern;
pub use text::{MAX_TEXT_BYTES, Unshowable, check_text};
pub use typed::Typed;

use serde::{Deserialize, Serialize};

/// The longest title, and the longest sentence beside it, in bytes.
pub const MAX_HEADING_BYTES: usize = 512;

/// What the trusted screen shows while it waits for the person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prompt {
    /// What it is about: "Unlock", "Set the screen lock".
    pub title: String,
    /// One sentence more: why, how many tries are left.
    pub detail: String,
    /// What is asked.
    pub input: Input,
}

impl Prompt {
    /// Whether the screen can show all of it, and its question has an answer.
    pub fn check(&self) -> Result<(), Unshowable> {
        for heading in [&self.title, &self.detail] {
            check_text(heading, MAX_HEADING_BYTES)?;
        }
        self.input.check()
    }
}

/// From the TEE to the screen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToScreen {
    /// Shows a prompt; one stands at a time.
    Show {
        /// Comes back with the answer; random, below 2⁵³.
        id: u64,
        /// What to show.
        prompt: Prompt,
        /// What tells this screen from a fake; `None` until the person chose it.
        mark: Option<Mark>,
    },
    /// Takes the prompt away.
    Cancel {
        /// Which one.
        id: u64,
    },
}

/// From the screen to the TEE.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromScreen {
    /// The person typed this and pressed enter (empty where yes is the answer).
    Entered {
        /// Of which prompt.
        id: u64,
        /// What was typed.
        text: Typed,
    },
    /// The person turned it away.
    Cancelled {
        /// Of which prompt.
        id: u64,
    },
    /// The person, at the screen itself and while no prompt stood, wants another [`Mark`].
    ChangeMark,
}
