//! The trusted screen, as trusted applications use it.
//!
//! A TA asks with [`crate::ta::FromTa::Ask`] and hears [`Said`]. What the person confirms comes
//! with a token: only the trusted OS can make one and only it can check it ([`Call::Redeem`]),
//! once, for the TA that asked, before the next power-off.

use crate::TeeError;
use board::channel;
use board::ui::{Prompt, Typed};
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteBuf, Bytes};

/// The most bytes of extra data in a confirmation.
pub const MAX_EXTRA_BYTES: usize = 2048;
/// The most bytes of what a confirmation is bound to.
pub const MAX_BINDING_BYTES: usize = 64;

/// What a TA asks the person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// A PIN, password or pattern, or yes or no. → [`Said::Typed`]
    Prompt(Prompt),
    /// To confirm exactly this. → [`Said::Confirmed`]
    Transaction(Transaction),
    /// To choose what the trusted screen is known by. For gatekeeper only; what was chosen stays
    /// with the trusted OS. → [`Said::Typed`], empty
    Mark,
}

/// What a person is to confirm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transaction {
    /// What is shown, all of it.
    pub text: String,
    /// What goes with it unseen, as a server's challenge; at most [`MAX_EXTRA_BYTES`].
    pub extra: ByteBuf,
    /// What the TA will redeem the token for, as a key; at most [`MAX_BINDING_BYTES`].
    pub binding: ByteBuf,
}

/// What the person answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// What was typed; empty for yes.
    Typed(Typed),
    /// Yes to a transaction.
    Confirmed(Confirmation),
}

/// Proof, for the trusted OS alone, that a person confirmed a message.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmation {
    /// The [`message`].
    pub message: ByteBuf,
    /// Good for one [`Call::Redeem`] with that message.
    pub token: ByteBuf,
}

impl std::fmt::Debug for Confirmation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Confirmation(..)")
    }
}

/// What was confirmed, as Android's Protected Confirmation formats it: the CBOR map
/// `{"prompt": text, "extra": bytes}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message<'text> {
    /// The text that was shown.
    pub prompt: &'text str,
    /// What went with it.
    #[serde(borrow)]
    pub extra: &'text Bytes,
}

/// Formats what a person is to confirm; see [`Message`].
pub fn message(text: &str, extra: &[u8]) -> Result<Vec<u8>, TeeError> {
    if extra.len() > MAX_EXTRA_BYTES {
        let said = format!("a confirmation takes at most {MAX_EXTRA_BYTES} bytes of extra data");
        return Err(TeeError::BadParameters(said));
    }
    channel::encode(&Message { prompt: text, extra: Bytes::new(extra) })
        .map_err(|error| TeeError::BadParameters(error.to_string()))
}

/// What a TA asks the service for besides.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// Whether the person confirmed this message for this TA and this binding; the token is used
    /// up. Refused `Denied` otherwise. → [`Answer::Done`]
    Redeem {
        /// [`Confirmation::message`].
        message: ByteBuf,
        /// [`Transaction::binding`].
        binding: ByteBuf,
        /// [`Confirmation::token`].
        token: ByteBuf,
    },
}

/// What the service answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Done.
    Done,
}

/// KeyMint's `NO_USER_CONFIRMATION`.
#[must_use]
pub fn not_confirmed() -> TeeError {
    TeeError::Denied(
        "NO_USER_CONFIRMATION: nobody confirmed this message for this key since power-on, or the \
         confirmation was used already"
            .into(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s2_1_1_the_message_is_androids() {
        let message = message("Pay 1 €", &[1, 2]).unwrap();
        let due = [&[0xA2, 0x66][..], b"prompt", &[0x69], "Pay 1 €".as_bytes(), &[0x65], b"extra"];
        assert_eq!(message, [&due.concat()[..], &[0x42, 1, 2]].concat());
    }

    #[test]
    fn refuses_too_much_extra_data() {
        assert!(message("x", &[0; MAX_EXTRA_BYTES]).is_ok());
        assert!(matches!(message("x", &[0; MAX_EXTRA_BYTES + 1]), Err(TeeError::BadParameters(_))));
    }
}
