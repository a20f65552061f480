//! The story's made-up people: the device's owner, and a stranger who finds it.

use crate::state::State;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// A person's credentials.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Person {
    pub(crate) phone: String,
    pub(crate) email: String,
    pub(crate) password: String,
    /// The screen lock.
    pub(crate) pin: String,
    /// Known once the account is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) account_id: Option<String>,
}

/// Where the owner's credentials lie in the state folder (mode 0600).
pub(crate) const FILE: &str = "owner.json";

impl Person {
    /// Somebody new: random numbers, `example.org` (RFC 2606).
    pub(crate) fn invent(role: &str) -> Self {
        let digits = |count: usize| -> String {
            crypto::random_array::<16>()[..count]
                .iter()
                .map(|byte| char::from(b'0' + byte % 10))
                .collect()
        };
        Self {
            phone: format!("+4915{}", digits(9)),
            email: format!("{role}.{}@example.org", digits(8)),
            password: password(),
            pin: digits(6),
            account_id: None,
        }
    }

    /// The owner of this state folder; `true` where there was none before.
    pub(crate) fn owner(state: &State) -> Result<(Self, bool)> {
        match std::fs::read(state.path(FILE)) {
            Ok(json) => {
                let owner = serde_json::from_slice(&json).with_context(|| state.damaged(FILE))?;
                Ok((owner, false))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let owner = Self::invent("owner");
                owner.save(state)?;
                Ok((owner, true))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Writes the owner's credentials.
    pub(crate) fn save(&self, state: &State) -> Result<()> {
        state.write_private(FILE, &serde_json::to_vec_pretty(self)?)
    }
}

/// Fourteen characters with letters, digits and a special one, as S5.1.1 asks.
pub(crate) fn password() -> String {
    const LETTERS: &[u8] = b"abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ";
    let random: [u8; 14] = crypto::random_array();
    let pick = |at: usize, of: &[u8]| char::from(of[usize::from(random[at]) % of.len()]);
    let mut password: String = (0..10).map(|at| pick(at, LETTERS)).collect();
    password.extend((10..13).map(|at| pick(at, b"23456789")));
    password.push(pick(13, b"!#$%&*+-=?@_"));
    password
}
