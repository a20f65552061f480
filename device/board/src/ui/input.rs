//! What a prompt asks, and what is an answer to it.

use super::{MAX_TEXT_BYTES, Mark, Typed, Unshowable, check_text, complete_pattern};
use serde::{Deserialize, Serialize};

/// What a prompt asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// Digits, not echoed.
    Pin {
        /// The fewest digits that are accepted.
        min_digits: u8,
        /// The most.
        max_digits: u8,
    },
    /// Letters, digits and symbols of ASCII, not echoed.
    Password {
        /// The fewest characters that are accepted.
        min_chars: u8,
        /// The most.
        max_chars: u8,
    },
    /// A way over the dots of a 3×3 grid: see [`complete_pattern`].
    Pattern {
        /// The fewest dots that are accepted.
        min_dots: u8,
    },
    /// Yes or no to what title and detail say.
    Confirm,
    /// Yes or no to this very text, which the person must have seen to its end.
    Transaction {
        /// At most [`MAX_TEXT_BYTES`].
        text: String,
    },
    /// Which [`Mark`] the person wants to know this screen by.
    Mark,
}

/// Why what was typed is no answer. The words are for the person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unfit {
    /// Too short.
    #[error("enter at least {0} {1}")]
    TooShort(u8, &'static str),
    /// Too long.
    #[error("enter at most {0} {1}")]
    TooLong(u8, &'static str),
    /// A PIN with something else in it.
    #[error("a PIN has digits only")]
    NoDigit,
    /// A password with something else in it.
    #[error("a password has letters, digits and symbols of the basic Latin alphabet")]
    NoCharacter,
    /// A pattern with something else in it.
    #[error("a pattern goes over the dots 1 to 9")]
    NoDot,
    /// A pattern that comes back.
    #[error("a pattern visits each dot once")]
    DotTwice,
    /// No picture, or one that the screen does not have.
    #[error("choose one of the pictures")]
    NoPicture,
    /// No word, or one that is no word.
    #[error("choose a word of 3 to 20 letters and digits")]
    NoWord,
    /// Text where yes or no was asked.
    #[error("this is a question for yes or no")]
    NotAsked,
}

impl Input {
    /// Whether the screen can show the question, and it has an answer.
    pub fn check(&self) -> Result<(), Unshowable> {
        match self {
            Self::Pin { min_digits: min, max_digits: max }
            | Self::Password { min_chars: min, max_chars: max }
                if min > max =>
            {
                Err(Unshowable::NoAnswer)
            }
            Self::Pattern { min_dots } if *min_dots > 9 => Err(Unshowable::NoAnswer),
            Self::Transaction { text } if text.trim().is_empty() => Err(Unshowable::Empty),
            Self::Transaction { text } => check_text(text, MAX_TEXT_BYTES),
            _ => Ok(()),
        }
    }

    /// The answer that `typed` is; a pattern comes back [complete](complete_pattern).
    pub fn accept(&self, typed: &str) -> Result<Typed, Unfit> {
        match self {
            Self::Pin { min_digits, max_digits } => {
                if !typed.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(Unfit::NoDigit);
                }
                within(typed, *min_digits, *max_digits, "digits")
            }
            Self::Password { min_chars, max_chars } => {
                if !typed.bytes().all(|byte| byte.is_ascii_graphic()) {
                    return Err(Unfit::NoCharacter);
                }
                within(typed, *min_chars, *max_chars, "characters")
            }
            Self::Pattern { min_dots } => within(&complete_pattern(typed)?, *min_dots, 9, "dots"),
            Self::Mark => Mark::parse(typed).map(|_| Typed::from(typed)),
            Self::Confirm | Self::Transaction { .. } if typed.is_empty() => Ok(Typed::default()),
            Self::Confirm | Self::Transaction { .. } => Err(Unfit::NotAsked),
        }
    }

    /// Whether a secret is typed here.
    #[must_use]
    pub const fn is_secret(&self) -> bool {
        matches!(self, Self::Pin { .. } | Self::Password { .. } | Self::Pattern { .. })
    }
}

fn within(typed: &str, min: u8, max: u8, what: &'static str) -> Result<Typed, Unfit> {
    match typed.len() {
        count if count < usize::from(min) => Err(Unfit::TooShort(min, what)),
        count if count > usize::from(max) => Err(Unfit::TooLong(max, what)),
        _ => Ok(Typed::from(typed)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIN: Input = Input::Pin { min_digits: 4, max_digits: 6 };
    const PASSWORD: Input = Input::Password { min_chars: 4, max_chars: 16 };
    const PATTERN: Input = Input::Pattern { min_dots: 4 };

    #[test]
    fn s3_3_3_takes_what_is_a_pin_a_password_a_pattern() {
        for (input, typed, taken) in [
            (&PIN, "0042", Ok("0042")),
            (&PIN, "004", Err(Unfit::TooShort(4, "digits"))),
            (&PIN, "0042421", Err(Unfit::TooLong(6, "digits"))),
            (&PIN, "00a2", Err(Unfit::NoDigit)),
            (&PIN, "٠٠٤٢", Err(Unfit::NoDigit)),
            (&PASSWORD, "aB3$~!", Ok("aB3$~!")),
            (&PASSWORD, "aB3", Err(Unfit::TooShort(4, "characters"))),
            (&PASSWORD, "01234567890123456", Err(Unfit::TooLong(16, "characters"))),
            (&PASSWORD, "with space", Err(Unfit::NoCharacter)),
            (&PASSWORD, "Schlüssel", Err(Unfit::NoCharacter)),
            (&PASSWORD, "line\nline", Err(Unfit::NoCharacter)),
            (&PATTERN, "1478", Ok("1478")),
            (&PATTERN, "179", Ok("14789")),
            (&PATTERN, "124", Err(Unfit::TooShort(4, "dots"))),
            (&PATTERN, "1241", Err(Unfit::DotTwice)),
            (&PATTERN, "", Err(Unfit::TooShort(4, "dots"))),
        ] {
            assert_eq!(input.accept(typed).as_deref(), taken.as_ref().map(|it| *it), "{typed}");
        }
    }

    #[test]
    fn s2_1_1_yes_has_no_text() {
        let transaction = Input::Transaction { text: "Pay 1 €".into() };
        for input in [Input::Confirm, transaction] {
            assert!(input.accept("").is_ok());
            assert_eq!(input.accept("yes"), Err(Unfit::NotAsked));
        }
    }

    #[test]
    fn refuses_questions_without_an_answer() {
        let never = [
            Input::Pin { min_digits: 5, max_digits: 4 },
            Input::Password { min_chars: 1, max_chars: 0 },
            Input::Pattern { min_dots: 10 },
        ];
        for input in never {
            assert_eq!(input.check(), Err(Unshowable::NoAnswer), "{input:?}");
        }
        let empty = Input::Transaction { text: " \n".into() };
        assert_eq!(empty.check(), Err(Unshowable::Empty));
    }
}
