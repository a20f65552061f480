//! The trusted screen: one prompt stands at a time, the others wait.

use board::channel::{self, ChannelError};
use board::ui::{FromScreen, Input, Prompt, ToScreen};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::collections::VecDeque;
use tee_api::TeeError;
use zeroize::Zeroizing;

/// The most prompts that wait.
const MAX_WAITING: usize = 16;
/// The longest title or text of a prompt.
const MAX_TEXT_BYTES: usize = 512;

/// Who asks: a TA (its place among the OS's) and its number for the question.
pub(crate) type Asker = (usize, u32);

/// The screen and who waits for it.
pub(crate) struct Prompts {
    screen: OwnedFd,
    shown: Option<Shown>,
    waiting: VecDeque<(Asker, Prompt)>,
    next_id: u32,
}

struct Shown {
    id: u32,
    asker: Asker,
    prompt: Prompt,
}

/// What the person said to a TA.
pub(crate) struct Said {
    pub(crate) asker: Asker,
    pub(crate) answer: Result<Zeroizing<String>, TeeError>,
}

impl Prompts {
    pub(crate) const fn new(screen: OwnedFd) -> Self {
        Self { screen, shown: None, waiting: VecDeque::new(), next_id: 1 }
    }

    /// Shows `prompt`, as soon as the screen is free.
    pub(crate) fn ask(&mut self, asker: Asker, prompt: Prompt) -> Result<(), TeeError> {
        if self.waiting.len() >= MAX_WAITING {
            return Err(TeeError::Resources("too many prompts wait for the screen".into()));
        }
        self.waiting.push_back((asker, prompt));
        self.show_next().map_err(|error| {
            self.waiting.clear();
            TeeError::Communication(format!("the trusted screen: {error}"))
        })
    }

    /// Takes the prompts of these askers off the screen.
    pub(crate) fn withdraw(&mut self, whose: impl Fn(Asker) -> bool) {
        self.waiting.retain(|(asker, _)| !whose(*asker));
        if let Some(shown) = self.shown.take_if(|shown| whose(shown.asker)) {
            // A screen that is gone shows nothing anyway.
            let _ = channel::send(&self.screen, &ToScreen::Cancel { id: shown.id });
            let _ = self.show_next();
        }
    }

    /// Takes what the screen says. An answer to a prompt that is gone, or of a length that was
    /// not asked for, is none.
    pub(crate) fn receive(&mut self) -> Result<Option<Said>, ChannelError> {
        let (id, text) = match channel::receive(&self.screen)? {
            FromScreen::Entered { id, text } => (id, Some(Zeroizing::new(text))),
            FromScreen::Cancelled { id } => (id, None),
        };
        let Some(shown) = self.shown.take_if(|shown| shown.id == id) else {
            return Ok(None);
        };
        let answer = match text {
            Some(text) if fits(&shown.prompt.input, &text) => Ok(text),
            Some(_) => {
                self.waiting.push_front((shown.asker, shown.prompt));
                self.show_next()?;
                return Ok(None);
            }
            None => Err(TeeError::Cancelled),
        };
        self.show_next()?;
        Ok(Some(Said { asker: shown.asker, answer }))
    }

    fn show_next(&mut self) -> Result<(), ChannelError> {
        if self.shown.is_some() {
            return Ok(());
        }
        if let Some((asker, prompt)) = self.waiting.pop_front() {
            let id = self.next_id;
            self.next_id = self.next_id.wrapping_add(1);
            channel::send(&self.screen, &ToScreen::Show { id, prompt: prompt.clone() })?;
            self.shown = Some(Shown { id, asker, prompt });
        }
        Ok(())
    }
}

impl AsFd for Prompts {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.screen.as_fd()
    }
}

/// The prompt that a TA asks for.
pub(crate) fn prompt(
    title: String,
    detail: String,
    secret: Option<(u8, u8)>,
) -> Result<Prompt, TeeError> {
    if title.len() > MAX_TEXT_BYTES || detail.len() > MAX_TEXT_BYTES {
        return Err(TeeError::BadParameters("a prompt's text is over 512 bytes".into()));
    }
    let input = match secret {
        Some((min_chars, max_chars)) if min_chars <= max_chars => {
            Input::Secret { min_chars, max_chars }
        }
        Some(_) => return Err(TeeError::BadParameters("a secret of no length".into())),
        None => Input::Confirm,
    };
    Ok(Prompt { title, detail, input })
}

fn fits(input: &Input, text: &str) -> bool {
    match input {
        Input::Secret { min_chars, max_chars } => {
            (usize::from(*min_chars)..=usize::from(*max_chars)).contains(&text.chars().count())
        }
        Input::Confirm => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    fn pin(title: &str) -> Prompt {
        let input = Input::Secret { min_chars: 4, max_chars: 6 };
        Prompt { title: title.into(), detail: String::new(), input }
    }

    fn prompts() -> (Prompts, OwnedFd) {
        let (ours, screen) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .unwrap();
        (Prompts::new(ours), screen)
    }

    fn shown(screen: &OwnedFd) -> (u32, String) {
        match channel::receive(screen).unwrap() {
            ToScreen::Show { id, prompt } => (id, prompt.title),
            ToScreen::Cancel { .. } => panic!("nothing was to be cancelled"),
        }
    }

    fn enter(prompts: &mut Prompts, screen: &OwnedFd, id: u32, text: &str) -> Option<Said> {
        channel::send(screen, &FromScreen::Entered { id, text: text.into() }).unwrap();
        prompts.receive().unwrap()
    }

    #[test]
    fn one_prompt_stands_at_a_time() {
        let (mut prompts, screen) = prompts();
        prompts.ask((0, 7), pin("first")).unwrap();
        prompts.ask((1, 7), pin("second")).unwrap();
        let (id, title) = shown(&screen);
        assert_eq!(title, "first");
        let said = enter(&mut prompts, &screen, id, "1234").unwrap();
        assert_eq!((said.asker, said.answer.unwrap().as_str()), ((0, 7), "1234"));
        let (second, title) = shown(&screen);
        assert_eq!(title, "second");
        // The first prompt's answer again is no answer to the second.
        assert!(enter(&mut prompts, &screen, id, "1234").is_none());
        channel::send(&screen, &FromScreen::Cancelled { id: second }).unwrap();
        let said = prompts.receive().unwrap().unwrap();
        assert_eq!((said.asker, said.answer.unwrap_err()), ((1, 7), TeeError::Cancelled));
    }

    #[test]
    fn asks_again_where_the_length_is_wrong() {
        let (mut prompts, screen) = prompts();
        prompts.ask((0, 7), pin("unlock")).unwrap();
        let (id, _) = shown(&screen);
        for text in ["123", "1234567"] {
            assert!(enter(&mut prompts, &screen, id, text).is_none());
        }
        let (again, title) = shown(&screen);
        assert_eq!(title, "unlock");
        assert!(enter(&mut prompts, &screen, again, "1234").is_some());
    }

    #[test]
    fn withdraws_a_prompt_and_shows_the_next() {
        let (mut prompts, screen) = prompts();
        prompts.ask((0, 7), pin("first")).unwrap();
        prompts.ask((1, 7), pin("second")).unwrap();
        let (first, _) = shown(&screen);
        prompts.withdraw(|(ta, _)| ta == 0);
        let cancel = channel::receive(&screen).unwrap();
        assert_eq!(ToScreen::Cancel { id: first }, cancel);
        assert_eq!(shown(&screen).1, "second");
    }
}
