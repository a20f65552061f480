//! The trusted screen and its keys, as a state machine: at most one prompt stands, and what is
//! typed goes to the TEE and nowhere else.

use board::channel;
use board::ui::{FromScreen, Input, Prompt, ToScreen};
use rustix::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use zeroize::{Zeroize, Zeroizing};

/// Turns the prompt away in scripted keys.
const ESCAPE: char = '\u{1b}';
/// The most keys that wait for a prompt.
const MAX_WAITING_KEYS: usize = 4096;

/// Why an answer was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// The prompt that it answers does not stand any more.
    #[error("this prompt is gone")]
    Gone,
    /// Too short.
    #[error("enter at least {0} characters")]
    TooShort(u8),
    /// Too long.
    #[error("enter at most {0} characters")]
    TooLong(u8),
    /// More scripted keys than a script has.
    #[error("too many keys wait already")]
    TooManyKeys,
}

/// A prompt with its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Comes back with the answer.
    pub id: u32,
    /// What is shown.
    pub prompt: Prompt,
}

#[derive(Default)]
struct State {
    standing: Option<Standing>,
    tee: Option<Arc<OwnedFd>>,
    keys: Zeroizing<String>,
}

/// The screen. Cheap to share.
pub struct Screen {
    state: Mutex<State>,
    changes: watch::Sender<u64>,
}

impl Default for Screen {
    fn default() -> Self {
        Self { state: Mutex::default(), changes: watch::Sender::new(0) }
    }
}

impl Screen {
    /// Counts up whenever the prompt changes.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The prompt that stands.
    #[must_use]
    pub fn standing(&self) -> Option<Standing> {
        self.state().standing.clone()
    }

    /// Serves the TEE at the other end of `socket` until that closes.
    pub fn serve(&self, socket: OwnedFd) {
        let socket = Arc::new(socket);
        self.update(|state| {
            *state = State { tee: Some(socket.clone()), ..State::default() };
        });
        while let Ok(message) = channel::receive(&*socket) {
            self.take(message);
        }
        self.update(|state| {
            if state.tee.as_ref().is_some_and(|tee| Arc::ptr_eq(tee, &socket)) {
                *state = State::default();
            }
        });
    }

    fn take(&self, message: ToScreen) {
        self.update(|state| match message {
            ToScreen::Show { id, prompt } => {
                state.standing = Some(Standing { id, prompt });
                state.feed();
            }
            ToScreen::Cancel { id } => {
                state.standing.take_if(|standing| standing.id == id);
            }
        });
    }

    /// The person typed `text` and pressed enter.
    pub fn enter(&self, id: u32, text: &str) -> Result<(), NotTaken> {
        self.update(|state| state.enter(id, text))
    }

    /// The person turned the prompt away.
    pub fn turn_away(&self, id: u32) -> Result<(), NotTaken> {
        self.update(|state| state.turn_away(id))
    }

    /// Types `keys`: a line for each prompt, now or when one comes; escape turns it away.
    pub fn type_keys(&self, keys: &str) -> Result<(), NotTaken> {
        self.update(|state| {
            if state.keys.len() + keys.len() > MAX_WAITING_KEYS {
                return Err(NotTaken::TooManyKeys);
            }
            // Growing in place would leave the old characters in freed memory.
            let mut all = String::with_capacity(state.keys.len() + keys.len());
            all.push_str(&state.keys);
            all.push_str(keys);
            state.keys = Zeroizing::new(all);
            state.feed();
            Ok(())
        })
    }

    fn update<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        let before = state.standing.as_ref().map(|standing| standing.id);
        let result = change(&mut state);
        if state.standing.is_some() || before.is_some() {
            self.changes.send_modify(|count| *count += 1);
        }
        result
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Feeds scripted keys to the prompt that stands.
    fn feed(&mut self) {
        while let Some(id) = self.standing.as_ref().map(|standing| standing.id) {
            let Some(end) = self.keys.find(['\n', ESCAPE]) else { return };
            let rest = self.keys[end + 1..].to_owned();
            let mut line = std::mem::replace(&mut self.keys, Zeroizing::new(rest));
            // What the prompt does not take is lost, as it would be on a real screen.
            let _ = if line[end..].starts_with(ESCAPE) {
                self.turn_away(id)
            } else {
                line.truncate(end);
                self.enter(id, &line)
            };
        }
    }

    fn enter(&mut self, id: u32, text: &str) -> Result<(), NotTaken> {
        let standing = self.standing(id)?;
        let text = match standing.prompt.input {
            Input::Confirm => String::new(),
            Input::Secret { min_chars, max_chars } => {
                let chars = text.chars().count();
                if chars < min_chars.into() {
                    return Err(NotTaken::TooShort(min_chars));
                }
                if chars > max_chars.into() {
                    return Err(NotTaken::TooLong(max_chars));
                }
                text.to_owned()
            }
        };
        self.answer(FromScreen::Entered { id, text });
        Ok(())
    }

    fn turn_away(&mut self, id: u32) -> Result<(), NotTaken> {
        self.standing(id)?;
        self.answer(FromScreen::Cancelled { id });
        Ok(())
    }

    fn standing(&self, id: u32) -> Result<&Standing, NotTaken> {
        self.standing.as_ref().filter(|standing| standing.id == id).ok_or(NotTaken::Gone)
    }

    fn answer(&mut self, mut answer: FromScreen) {
        self.standing = None;
        if let Some(tee) = &self.tee {
            // A TEE that is gone takes its prompt with it; there is nobody to tell.
            let _ = channel::send(&**tee, &answer);
        }
        if let FromScreen::Entered { text, .. } = &mut answer {
            text.zeroize();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    /// A screen whose TEE is the test.
    fn connected() -> (Arc<Screen>, OwnedFd) {
        let (tee, board) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .unwrap();
        let screen = Arc::new(Screen::default());
        screen.update(|state| state.tee = Some(Arc::new(board)));
        (screen, tee)
    }

    fn show(screen: &Screen, id: u32, input: Input) {
        let prompt = Prompt { title: "Unlock".into(), detail: String::new(), input };
        screen.take(ToScreen::Show { id, prompt });
    }

    const PIN: Input = Input::Secret { min_chars: 4, max_chars: 6 };

    #[test]
    fn s2_1_1_what_is_typed_goes_to_the_tee() {
        let (screen, tee) = connected();
        show(&screen, 1, PIN);
        assert_eq!(screen.enter(1, "123"), Err(NotTaken::TooShort(4)));
        assert_eq!(screen.enter(1, "1234567"), Err(NotTaken::TooLong(6)));
        assert_eq!(screen.enter(2, "1234"), Err(NotTaken::Gone));
        assert_eq!(screen.enter(1, "1234"), Ok(()));
        let answer: FromScreen = channel::receive(&tee).unwrap();
        assert!(matches!(answer, FromScreen::Entered { id: 1, text } if text == "1234"));
        assert_eq!(screen.standing(), None);
        assert_eq!(screen.enter(1, "1234"), Err(NotTaken::Gone));
    }

    #[test]
    fn scripted_keys_wait_for_their_prompts() {
        let (screen, tee) = connected();
        screen.type_keys("1234\n\u{1b}56").unwrap();
        show(&screen, 1, PIN);
        show(&screen, 2, Input::Confirm);
        show(&screen, 3, PIN);
        assert!(screen.standing().is_some());
        screen.type_keys("78\n\n").unwrap();
        show(&screen, 4, Input::Confirm);
        let mut said = Vec::new();
        for _ in 0..4 {
            said.push(channel::receive::<FromScreen>(&tee).unwrap());
        }
        assert_eq!(
            said,
            [
                FromScreen::Entered { id: 1, text: "1234".into() },
                FromScreen::Cancelled { id: 2 },
                FromScreen::Entered { id: 3, text: "5678".into() },
                FromScreen::Entered { id: 4, text: String::new() },
            ]
        );
    }

    #[test]
    fn a_cancelled_prompt_is_gone() {
        let (screen, _tee) = connected();
        let changes = screen.changes();
        show(&screen, 7, PIN);
        screen.take(ToScreen::Cancel { id: 6 });
        assert!(screen.standing().is_some());
        screen.take(ToScreen::Cancel { id: 7 });
        assert_eq!(screen.standing(), None);
        assert!(changes.has_changed().unwrap());
    }

    #[test]
    fn keys_do_not_pile_up() {
        let (screen, _tee) = connected();
        assert!(screen.type_keys(&"x".repeat(MAX_WAITING_KEYS)).is_ok());
        assert_eq!(screen.type_keys("x"), Err(NotTaken::TooManyKeys));
    }
}
