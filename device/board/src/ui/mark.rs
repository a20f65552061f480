//! How a person tells the trusted screen from a fake: a picture and a word that they chose.

use super::Unfit;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The pictures that the screen has.
pub const PICTURES: [&str; 12] = [
    "anchor", "balloon", "boat", "cactus", "cup", "fish", "house", "key", "leaf", "moon",
    "mushroom", "tree",
];

/// The fewest and the most characters of a mark's word.
const WORD_CHARS: std::ops::RangeInclusive<usize> = 3..=20;

/// One of [`PICTURES`].
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Picture(usize);

impl Picture {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        PICTURES[self.0]
    }
}

impl TryFrom<String> for Picture {
    type Error = Unfit;

    fn try_from(name: String) -> Result<Self, Unfit> {
        PICTURES.iter().position(|known| *known == name).map(Self).ok_or(Unfit::NoPicture)
    }
}

impl From<Picture> for String {
    fn from(picture: Picture) -> Self {
        picture.name().to_owned()
    }
}

/// What the person chose. Trusted OS and board keep it to themselves: whoever else knew it could
/// draw a screen that looks trusted. So it is never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The picture.
    pub picture: Picture,
    /// The word.
    pub word: Word,
}

impl Mark {
    /// Reads the answer to [`super::Input::Mark`]: the picture's name, a space, the word.
    pub fn parse(text: &str) -> Result<Self, Unfit> {
        let (picture, word) = text.split_once(' ').ok_or(Unfit::NoPicture)?;
        let word = Word::try_from(word.to_owned())?;
        Ok(Self { picture: Picture::try_from(picture.to_owned())?, word })
    }
}

impl fmt::Debug for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mark(..)")
    }
}

/// The word of a mark: 3 to 20 letters and digits.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Word(String);

impl TryFrom<String> for Word {
    type Error = Unfit;

    fn try_from(word: String) -> Result<Self, Unfit> {
        let fits = WORD_CHARS.contains(&word.chars().count())
            && word.chars().all(char::is_alphanumeric)
            && super::check_text(&word, super::MAX_HEADING_BYTES).is_ok();
        if fits { Ok(Self(word)) } else { Err(Unfit::NoWord) }
    }
}

impl From<Word> for String {
    fn from(word: Word) -> Self {
        word.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s2_1_1_a_mark_is_a_picture_and_a_word() {
        let mark = Mark::parse("anchor Måsvik7").unwrap();
        assert_eq!((mark.picture.name(), String::from(mark.word)), ("anchor", "Måsvik7".into()));
        for text in ["", "anchor", "Anchor kelp", "skull kelp"] {
            assert_eq!(Mark::parse(text), Err(Unfit::NoPicture), "{text}");
        }
        for text in
            ["anchor ", "anchor ab", "anchor two words", "anchor a\u{202e}bc", "fish 漢字漢"]
        {
            assert_eq!(Mark::parse(text), Err(Unfit::NoWord), "{text}");
        }
    }

    #[test]
    fn a_mark_is_never_printed() {
        assert_eq!(format!("{:?}", Mark::parse("anchor kelp")), "Ok(Mark(..))");
    }

    #[test]
    fn what_is_no_mark_does_not_decode() {
        let mark = Mark::parse("leaf tide").unwrap();
        let bytes = crate::channel::encode(&mark).unwrap();
        assert_eq!(crate::channel::decode::<Mark>(&bytes).unwrap(), mark);
        let text = String::from_utf8_lossy(&bytes).replace("leaf", "loaf");
        assert!(crate::channel::decode::<Mark>(text.as_bytes()).is_err());
    }
}
