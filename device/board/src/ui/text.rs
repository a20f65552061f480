//! What the trusted screen can show in full.

/// The longest text of a transaction, in bytes.
pub const MAX_TEXT_BYTES: usize = 4096;

/// Why the screen would not show all of it, as it is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unshowable {
    /// A character that the screen has no picture of, or that alters how others look: control and
    /// format characters, other directions of writing, combining marks.
    #[error("the trusted screen can't show U+{:04X}, at byte {at}", u32::from(*character))]
    Character {
        /// Which one.
        character: char,
        /// Where it begins.
        at: usize,
    },
    /// Longer than the screen shows.
    #[error("{bytes} bytes of text; the trusted screen shows {most}")]
    TooLong {
        /// How long it is.
        bytes: usize,
        /// The most.
        most: usize,
    },
    /// Nothing to confirm.
    #[error("there is no text to confirm")]
    Empty,
    /// No answer could be right.
    #[error("the shortest answer is longer than the longest")]
    NoAnswer,
}

/// The characters that the screen can show: whole blocks of Latin, Greek and Cyrillic letters,
/// punctuation, currency signs. Each is one glyph, written left to right. What is left out inside
/// a block is unassigned there, invisible, or combines with its neighbour.
const REPERTOIRE: &[(char, char)] = &[
    ('\n', '\n'),
    (' ', '~'),
    ('\u{A0}', '\u{AC}'),
    ('\u{AE}', '\u{24F}'),
    ('\u{391}', '\u{3A1}'),
    ('\u{3A3}', '\u{3CE}'),
    ('\u{400}', '\u{482}'),
    ('\u{48A}', '\u{52F}'),
    ('\u{1E00}', '\u{1EFF}'),
    ('\u{2010}', '\u{2027}'),
    ('\u{2030}', '\u{205E}'),
    ('\u{20A0}', '\u{20BF}'),
    ('\u{2190}', '\u{2193}'),
    ('\u{2212}', '\u{2212}'),
];

/// Whether the screen shows `text` in full and unambiguously, within `most` bytes.
pub fn check_text(text: &str, most: usize) -> Result<(), Unshowable> {
    if text.len() > most {
        return Err(Unshowable::TooLong { bytes: text.len(), most });
    }
    let known = |character| REPERTOIRE.iter().any(|(from, to)| (from..=to).contains(&&character));
    match text.char_indices().find(|(_, character)| !known(*character)) {
        Some((at, character)) => Err(Unshowable::Character { character, at }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s2_1_1_shows_what_people_write() {
        for text in [
            "Pay €1 250.00 to J. Müller & Søn?\nReference: 4711 → “spring”",
            "Перевести 100 ₽ — да?",
            "Ποσό: 12,50 €",
            "Tiếng Việt: chuyển 500 ₫",
        ] {
            assert_eq!(check_text(text, MAX_TEXT_BYTES), Ok(()), "{text}");
        }
    }

    #[test]
    fn s2_1_1_shows_nothing_that_looks_like_something_else() {
        for character in [
            '\0',
            '\t',
            '\r',
            '\u{1b}',
            '\u{7f}',
            '\u{85}',
            '\u{ad}', // control, soft hyphen
            '\u{200b}',
            '\u{200d}',
            '\u{2028}',
            '\u{2060}',
            '\u{feff}', // invisible
            '\u{202a}',
            '\u{202e}',
            '\u{2066}',
            '\u{2069}',
            '\u{200f}',
            '\u{61c}', // direction
            '\u{301}',
            '\u{483}',
            '\u{20dd}',
            '\u{fe0f}', // combining, variation
            'א',
            'ع',
            '漢',
            '🙂',
            '\u{e000}',
            '\u{10ffff}',
            '\u{378}', // no glyph here
        ] {
            let refused = check_text(&format!("pay{character}1"), MAX_TEXT_BYTES);
            assert_eq!(refused, Err(Unshowable::Character { character, at: 3 }));
        }
    }

    #[test]
    fn s2_1_1_refuses_rather_than_truncates() {
        let long = "x".repeat(MAX_TEXT_BYTES);
        assert_eq!(check_text(&long, MAX_TEXT_BYTES), Ok(()));
        let refused = check_text(&(long + "x"), MAX_TEXT_BYTES);
        assert!(matches!(refused, Err(Unshowable::TooLong { bytes: 4097, .. })));
    }
}
