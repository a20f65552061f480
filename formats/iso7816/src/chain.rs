//! Commands that come in pieces, and answers that go out in pieces (ISO/IEC 7816-4, 5.3.3, 5.3.4).

use crate::command::{CHAINED, Command, Ne};
use crate::response::{Response, Status};

/// The most data of one piece of a chain.
const PIECE: usize = 255;

/// Why a chain was broken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// Another command came in the middle.
    #[error("a chain of one command was interrupted by another")]
    Interrupted,
    /// More than the card takes.
    #[error("the chain holds more than {0} bytes")]
    TooLong(usize),
}

/// Where a chain stands.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// More pieces come.
    More,
    /// It is whole: its data. The last command's header and Ne count.
    Whole(Vec<u8>),
}

/// Joins the pieces of a command.
#[derive(Debug, Default)]
pub struct Chain {
    /// Class without the chaining bit, instruction, parameters.
    header: Option<[u8; 4]>,
    data: Vec<u8>,
}

impl Chain {
    /// Takes a command; `limit` is the most data that the whole may have. After an error the chain
    /// is empty again.
    pub fn push(&mut self, command: &Command<'_>, limit: usize) -> Result<Step, ChainError> {
        let header = [command.cla & !CHAINED, command.ins, command.p1, command.p2];
        let begun = self.header.replace(header);
        if begun.is_some_and(|begun| begun != header) {
            self.clear();
            return Err(ChainError::Interrupted);
        }
        if self.data.len() + command.data.len() > limit {
            self.clear();
            return Err(ChainError::TooLong(limit));
        }
        self.data.extend_from_slice(command.data);
        if command.is_chained() {
            return Ok(Step::More);
        }
        self.header = None;
        Ok(Step::Whole(std::mem::take(&mut self.data)))
    }

    /// Forgets what came so far.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

/// An answer that goes out in pieces.
#[derive(Debug, Default)]
pub struct Outbox {
    rest: Vec<u8>,
}

impl Outbox {
    /// Puts an answer in; what was left of the one before is forgotten. Gives the first piece.
    pub fn send(&mut self, data: Vec<u8>, ne: Ne) -> Response {
        self.rest = data;
        self.next(ne)
    }

    /// The next piece, of up to `ne` bytes. Where none were asked for and some are there, the
    /// status says how many.
    pub fn next(&mut self, ne: Ne) -> Response {
        let later = self.rest.split_off(ne.bytes().min(self.rest.len()));
        let data = std::mem::replace(&mut self.rest, later);
        let status = if self.rest.is_empty() { Status::OK } else { Status::more(self.rest.len()) };
        Response { data, status }
    }

    /// Whether nothing is left.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Forgets what is left.
    pub fn clear(&mut self) {
        self.rest.clear();
    }
}

/// A host's side of a chain: the short commands that `command` becomes.
pub fn split<'a>(command: &Command<'a>) -> impl Iterator<Item = Command<'a>> {
    let (command, whole) = (*command, command.data);
    let last = whole.len().saturating_sub(1) / PIECE;
    (0..=last).map(move |index| {
        let data = &whole[index * PIECE..whole.len().min((index + 1) * PIECE)];
        if index == last {
            Command { data, ..command }
        } else {
            Command { cla: command.cla | CHAINED, data, ne: Ne::NONE, ..command }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn another_command_in_the_middle_breaks_a_chain() {
        let mut chain = Chain::default();
        let first = Command::new(CHAINED, 0xDB, 0x3F, 0xFF).with_data(&[1]);
        assert_eq!(chain.push(&first, 10), Ok(Step::More));
        let other = Command::new(0, 0xCB, 0x3F, 0xFF);
        assert_eq!(chain.push(&other, 10), Err(ChainError::Interrupted));
        // Nothing of the first is left.
        assert_eq!(chain.push(&other, 10), Ok(Step::Whole(vec![])));
    }

    #[test]
    fn a_chain_is_bounded() {
        let mut chain = Chain::default();
        let piece = Command::new(CHAINED, 0xDB, 0x3F, 0xFF).with_data(&[0; 6]);
        assert_eq!(chain.push(&piece, 10), Ok(Step::More));
        assert_eq!(chain.push(&piece, 10), Err(ChainError::TooLong(10)));
        assert_eq!(chain.push(&piece, 10), Ok(Step::More));
    }

    #[test]
    fn an_answer_tells_what_is_left_of_it() {
        let mut outbox = Outbox::default();
        let first = outbox.send(vec![7; 300], Ne::SHORT);
        assert_eq!((first.data.len(), first.status), (256, Status::more(44)));
        assert_eq!(outbox.next(Ne::of(4)).status, Status::more(40));
        assert_eq!(outbox.next(Ne::SHORT).status, Status::OK);
        assert!(outbox.is_empty());
        assert_eq!(outbox.send(vec![1], Ne::NONE), Status::more(1).into());
    }

    proptest! {
        #[test]
        fn what_was_split_is_joined(data in prop::collection::vec(any::<u8>(), 0..2000)) {
            let command = Command::new(0, 0xDB, 0x3F, 0xFF).with_data(&data).with_ne(Ne::SHORT);
            let mut chain = Chain::default();
            let mut whole = None;
            for piece in split(&command) {
                prop_assert!(piece.encode().unwrap().len() <= 261);
                prop_assert!(whole.is_none());
                if let Step::Whole(data) = chain.push(&piece, 2000).unwrap() {
                    whole = Some(data);
                }
            }
            prop_assert_eq!(whole, Some(data));
        }
    }
}
