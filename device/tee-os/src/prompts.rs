//! The trusted screen: one prompt stands at a time, the others wait.

use crate::confirmation::Pending;
use crate::mark;
use board::channel::{self, ChannelError};
use board::ui::{FromScreen, Input, Mark, Prompt, ToScreen, Typed};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::collections::VecDeque;
use tee_api::TeeError;

/// The most prompts that wait.
const MAX_WAITING: usize = 16;
/// The most of them that one TA has, with the one that stands.
const MAX_OF_ONE: usize = 4;

/// Who asks: a TA (its place among the OS's) and its number for the question.
pub(crate) type Asker = (usize, u32);

/// What is to be asked.
#[derive(Debug)]
pub(crate) struct Question {
    /// `None` where the person wanted to be asked.
    pub(crate) asker: Option<Asker>,
    /// What is shown.
    pub(crate) prompt: Prompt,
    /// What a yes confirms.
    pub(crate) pending: Option<Pending>,
}

/// The screen and who waits for it.
pub(crate) struct Prompts {
    screen: OwnedFd,
    mark: Option<Mark>,
    shown: Option<(u64, Question)>,
    waiting: VecDeque<Question>,
}

/// What the person said.
pub(crate) struct Said {
    /// To what.
    pub(crate) question: Question,
    /// It fits what was asked.
    pub(crate) answer: Result<Typed, TeeError>,
}

impl Prompts {
    pub(crate) const fn new(screen: OwnedFd, mark: Option<Mark>) -> Self {
        Self { screen, mark, shown: None, waiting: VecDeque::new() }
    }

    /// What the screen is known by from now on.
    pub(crate) fn set_mark(&mut self, mark: Mark) {
        self.mark = Some(mark);
    }

    /// Shows a prompt, as soon as the screen is free.
    pub(crate) fn ask(&mut self, question: Question) -> Result<(), TeeError> {
        let unshowable = |error| TeeError::BadParameters(format!("the prompt: {error}"));
        question.prompt.check().map_err(unshowable)?;
        self.check_crowd(&question)?;
        self.waiting.push_back(question);
        self.show_next().map_err(|error| {
            self.waiting.clear();
            TeeError::Communication(format!("the trusted screen: {error}"))
        })
    }

    /// One caller can't fill the screen for all others, nor line transactions up behind the one
    /// that the person reads.
    fn check_crowd(&self, new: &Question) -> Result<(), TeeError> {
        let full = |why: &str| Err(TeeError::Resources(why.into()));
        let ta = |question: &Question| question.asker.map(|(ta, _)| ta);
        if self.waiting.len() >= MAX_WAITING {
            return full("too many prompts wait for the screen");
        }
        if self.questions().filter(|known| ta(known) == ta(new)).count() >= MAX_OF_ONE {
            return full("too many prompts of this trusted application wait for the screen");
        }
        if new.pending.is_some() && self.questions().any(|known| known.pending.is_some()) {
            return full("a transaction waits for the person already");
        }
        Ok(())
    }

    fn questions(&self) -> impl Iterator<Item = &Question> {
        self.shown.iter().map(|(_, question)| question).chain(&self.waiting)
    }

    /// Takes the prompts of these askers off the screen.
    pub(crate) fn withdraw(&mut self, whose: impl Fn(Asker) -> bool) {
        let whose = |question: &Question| question.asker.is_some_and(&whose);
        self.waiting.retain(|question| !whose(question));
        if let Some((id, _)) = self.shown.take_if(|(_, question)| whose(question)) {
            // A screen that is gone shows nothing anyway.
            let _ = channel::send(&self.screen, &ToScreen::Cancel { id });
            let _ = self.show_next();
        }
    }

    /// Takes what the screen says. An answer to a prompt that is gone, or that does not fit what
    /// was asked, is none.
    pub(crate) fn receive(&mut self) -> Result<Option<Said>, ChannelError> {
        let (id, text) = match channel::receive(&self.screen)? {
            FromScreen::Entered { id, text } => (id, Some(text)),
            FromScreen::Cancelled { id } => (id, None),
            FromScreen::ChangeMark => {
                self.change_mark()?;
                return Ok(None);
            }
        };
        let Some((_, question)) = self.shown.take_if(|(shown, _)| *shown == id) else {
            return Ok(None);
        };
        let answer = match text.map(|text| question.prompt.input.accept(&text)) {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(_)) => {
                self.waiting.push_front(question);
                self.show_next()?;
                return Ok(None);
            }
            None => Err(TeeError::Cancelled),
        };
        Ok(Some(Said { question, answer }))
    }

    fn change_mark(&mut self) -> Result<(), ChannelError> {
        if self.questions().next().is_none() {
            let prompt = mark::prompt();
            self.waiting.push_back(Question { asker: None, prompt, pending: None });
        }
        self.show_next()
    }

    /// Shows what waits longest, where nothing stands.
    pub(crate) fn show_next(&mut self) -> Result<(), ChannelError> {
        if self.shown.is_some() {
            return Ok(());
        }
        if let Some(question) = self.waiting.pop_front() {
            let id = fresh_id();
            // While the person chooses, an old mark would only confuse.
            let mark = self.mark.clone().filter(|_| question.prompt.input != Input::Mark);
            let prompt = question.prompt.clone();
            channel::send(&self.screen, &ToScreen::Show { id, prompt, mark })?;
            self.shown = Some((id, question));
        }
        Ok(())
    }
}

/// Nobody guesses it, and JavaScript can hold it.
fn fresh_id() -> u64 {
    u64::from_le_bytes(crypto::random_array()) >> 11
}

impl AsFd for Prompts {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.screen.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    fn pin((ta, question): Asker, title: &str) -> Question {
        let input = Input::Pin { min_digits: 4, max_digits: 6 };
        let prompt = Prompt { title: title.into(), detail: String::new(), input };
        Question { asker: Some((ta, question)), prompt, pending: None }
    }

    fn prompts() -> (Prompts, OwnedFd) {
        let (ours, screen) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .unwrap();
        (Prompts::new(ours, None), screen)
    }

    fn shown(screen: &OwnedFd) -> (u64, String) {
        match channel::receive(screen).unwrap() {
            ToScreen::Show { id, prompt, .. } => (id, prompt.title),
            ToScreen::Cancel { .. } => panic!("nothing was to be cancelled"),
        }
    }

    fn say(prompts: &mut Prompts, screen: &OwnedFd, said: &FromScreen) -> Option<Said> {
        channel::send(screen, said).unwrap();
        let said = prompts.receive().unwrap();
        prompts.show_next().unwrap();
        said
    }

    fn enter(prompts: &mut Prompts, screen: &OwnedFd, id: u64, text: &str) -> Option<Said> {
        say(prompts, screen, &FromScreen::Entered { id, text: text.into() })
    }

    #[test]
    fn one_prompt_stands_at_a_time() {
        let (mut prompts, screen) = prompts();
        prompts.ask(pin((0, 7), "first")).unwrap();
        prompts.ask(pin((1, 7), "second")).unwrap();
        let (id, title) = shown(&screen);
        assert_eq!(title, "first");
        let said = enter(&mut prompts, &screen, id, "1234").unwrap();
        assert_eq!((said.question.asker, &*said.answer.unwrap()), (Some((0, 7)), "1234"));
        let (second, title) = shown(&screen);
        assert_eq!(title, "second");
        // The first prompt's answer again is no answer to the second.
        assert!(enter(&mut prompts, &screen, id, "1234").is_none());
        let said = say(&mut prompts, &screen, &FromScreen::Cancelled { id: second }).unwrap();
        assert_eq!((said.question.asker, said.answer), (Some((1, 7)), Err(TeeError::Cancelled)));
    }

    #[test]
    fn s2_1_1_asks_again_where_the_board_lets_through_what_was_not_asked() {
        let (mut prompts, screen) = prompts();
        prompts.ask(pin((0, 7), "unlock")).unwrap();
        let (mut id, _) = shown(&screen);
        for text in ["123", "1234567", "12a4", ""] {
            assert!(enter(&mut prompts, &screen, id, text).is_none());
            let (again, title) = shown(&screen);
            assert_eq!(title, "unlock");
            id = again;
        }
        assert!(enter(&mut prompts, &screen, id, "1234").is_some());
    }

    #[test]
    fn withdraws_a_prompt_and_shows_the_next() {
        let (mut prompts, screen) = prompts();
        prompts.ask(pin((0, 7), "first")).unwrap();
        prompts.ask(pin((1, 7), "second")).unwrap();
        let (first, _) = shown(&screen);
        prompts.withdraw(|(ta, _)| ta == 0);
        let cancel = channel::receive(&screen).unwrap();
        assert_eq!(ToScreen::Cancel { id: first }, cancel);
        assert_eq!(shown(&screen).1, "second");
    }

    #[test]
    fn s2_1_1_nobody_crowds_the_others_out() {
        let (mut prompts, _screen) = prompts();
        for question in 0..4 {
            prompts.ask(pin((0, question), "again")).unwrap();
        }
        assert!(matches!(prompts.ask(pin((0, 4), "again")), Err(TeeError::Resources(_))));
        prompts.ask(pin((1, 0), "unlock")).unwrap();
        for ta in 2..6 {
            for question in 0..3 {
                prompts.ask(pin((ta, question), "again")).unwrap();
            }
        }
        assert!(matches!(prompts.ask(pin((9, 0), "again")), Err(TeeError::Resources(_))));
    }

    #[test]
    fn s2_1_1_refuses_what_the_screen_can_not_show() {
        let (mut prompts, _screen) = prompts();
        for title in ["pay\u{202e}1", "bell\u{7}", &"x".repeat(513)] {
            let refused = prompts.ask(pin((0, 1), title));
            assert!(matches!(refused, Err(TeeError::BadParameters(_))), "{title}");
        }
    }

    #[test]
    fn s2_1_1_the_person_changes_the_mark_at_the_screen_alone() {
        let (mut prompts, screen) = prompts();
        assert!(say(&mut prompts, &screen, &FromScreen::ChangeMark).is_none());
        let (id, _) = shown(&screen);
        let said = enter(&mut prompts, &screen, id, "fish Kelpie").unwrap();
        assert_eq!((said.question.asker, said.question.prompt.input), (None, Input::Mark));
        prompts.set_mark(Mark::parse(&said.answer.unwrap()).unwrap());
        prompts.ask(pin((0, 7), "unlock")).unwrap();
        let ToScreen::Show { mark, .. } = channel::receive(&screen).unwrap() else {
            panic!("a prompt was due");
        };
        assert_eq!(mark, Some(Mark::parse("fish Kelpie").unwrap()));
        // While a prompt stands, it stays.
        assert!(say(&mut prompts, &screen, &FromScreen::ChangeMark).is_none());
        prompts.withdraw(|_| true);
        assert!(matches!(channel::receive(&screen), Ok(ToScreen::Cancel { .. })));
    }
}
