//! The trusted screen: while a prompt stands there, display and keys belong to the TEE.

use serde::{Deserialize, Serialize};

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

/// What a prompt asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// A PIN or password, not echoed.
    Secret {
        /// The fewest characters that are accepted.
        min_chars: u8,
        /// The most.
        max_chars: u8,
    },
    /// Yes or no.
    Confirm,
}

/// From the TEE to the screen, on [`crate::fds::TRUSTED_UI`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToScreen {
    /// Shows a prompt; one stands at a time.
    Show {
        /// Comes back with the answer.
        id: u32,
        /// What to show.
        prompt: Prompt,
    },
    /// Takes the prompt away.
    Cancel {
        /// Which one.
        id: u32,
    },
}

/// From the screen to the TEE.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromScreen {
    /// The person typed this and pressed enter (empty for [`Input::Confirm`]).
    Entered {
        /// Of which prompt.
        id: u32,
        /// What was typed.
        text: String,
    },
    /// The person turned it away.
    Cancelled {
        /// Of which prompt.
        id: u32,
    },
}

impl std::fmt::Debug for FromScreen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Entered { id, .. } => write!(f, "Entered {{ id: {id}, .. }}"),
            Self::Cancelled { id } => write!(f, "Cancelled {{ id: {id} }}"),
        }
    }
}
