//! The trusted screen and its keys, as a state machine: at most one prompt stands, and what is
//! typed goes to the TEE and nowhere else.

use board::channel;
use board::ui::{FromScreen, Mark, Prompt, ToScreen, Unfit};
use rustix::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use zeroize::Zeroizing;

/// Turns the prompt away in scripted keys.
const ESCAPE: char = '\u{1b}';
/// The most keys that wait for a prompt.
const MAX_WAITING_KEYS: usize = 4096;
/// For so long after a prompt appears nothing answers it: the finger that comes down was meant
/// for what stood there before.
pub const GRACE: Duration = Duration::from_millis(500);

/// Why an answer was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// The prompt that it answers does not stand any more.
    #[error("this prompt is gone")]
    Gone,
    /// The prompt appeared less than [`GRACE`] ago.
    #[error("this prompt is new: read it, then answer")]
    TooSoon,
    /// It is no answer to what is asked.
    #[error("{0}")]
    Unfit(#[from] Unfit),
    /// More scripted keys than a script has.
    #[error("too many keys wait already")]
    TooManyKeys,
    /// A prompt stands; the mark is changed while none does.
    #[error("answer the prompt first")]
    Busy,
    /// The TEE is not up.
    #[error("the trusted environment does not run")]
    NoTee,
}

/// A prompt with its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Comes back with the answer.
    pub id: u64,
    /// What is shown.
    pub prompt: Prompt,
    /// What tells this screen from a fake.
    pub mark: Option<Mark>,
    /// Since when.
    since: Instant,
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
            self.take(message, Instant::now());
        }
        self.update(|state| {
            if state.tee.as_ref().is_some_and(|tee| Arc::ptr_eq(tee, &socket)) {
                *state = State::default();
            }
        });
    }

    fn take(&self, message: ToScreen, now: Instant) {
        self.update(|state| match message {
            ToScreen::Show { id, prompt, mark } => {
                state.standing = Some(Standing { id, prompt, mark, since: now });
                state.feed();
            }
            ToScreen::Cancel { id } => {
                state.standing.take_if(|standing| standing.id == id);
            }
        });
    }

    /// The person typed `text` and pressed enter, `now`.
    pub fn enter(&self, id: u64, text: &str, now: Instant) -> Result<(), NotTaken> {
        self.update(|state| {
            state.standing(id)?.refuse_if_new(now)?;
            state.enter(id, text)
        })
    }

    /// The person turned the prompt away, `now`.
    pub fn turn_away(&self, id: u64, now: Instant) -> Result<(), NotTaken> {
        self.update(|state| {
            state.standing(id)?.refuse_if_new(now)?;
            state.turn_away(id)
        })
    }

    /// The person wants another mark; the TEE then asks which.
    pub fn change_mark(&self) -> Result<(), NotTaken> {
        let state = self.state();
        if state.standing.is_some() {
            return Err(NotTaken::Busy);
        }
        let tee = state.tee.as_ref().ok_or(NotTaken::NoTee)?;
        channel::send(&**tee, &FromScreen::ChangeMark).map_err(|_| NotTaken::NoTee)
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

    fn enter(&mut self, id: u64, text: &str) -> Result<(), NotTaken> {
        let text = self.standing(id)?.prompt.input.accept(text)?;
        self.answer(&FromScreen::Entered { id, text });
        Ok(())
    }

    fn turn_away(&mut self, id: u64) -> Result<(), NotTaken> {
        self.standing(id)?;
        self.answer(&FromScreen::Cancelled { id });
        Ok(())
    }

    fn standing(&self, id: u64) -> Result<&Standing, NotTaken> {
        self.standing.as_ref().filter(|standing| standing.id == id).ok_or(NotTaken::Gone)
    }

    fn answer(&mut self, answer: &FromScreen) {
        self.standing = None;
        if let Some(tee) = &self.tee {
            // A TEE that is gone takes its prompt with it; there is nobody to tell.
            let _ = channel::send(&**tee, answer);
        }
    }
}

impl Standing {
    fn refuse_if_new(&self, now: Instant) -> Result<(), NotTaken> {
        if now.saturating_duration_since(self.since) < GRACE {
            return Err(NotTaken::TooSoon);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use board::ui::Input;
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

    /// A moment at which no prompt is new any more.
    fn later() -> Instant {
        Instant::now() + GRACE
    }

    fn show(screen: &Screen, id: u64, input: Input) {
        let prompt = Prompt { title: "Unlock".into(), detail: String::new(), input };
        screen.take(ToScreen::Show { id, prompt, mark: None }, Instant::now());
    }

    fn entered(id: u64, text: &str) -> FromScreen {
        FromScreen::Entered { id, text: text.into() }
    }

    const PIN: Input = Input::Pin { min_digits: 4, max_digits: 6 };

    #[test]
    fn s2_1_1_what_is_typed_goes_to_the_tee() {
        let (screen, tee) = connected();
        show(&screen, 1, PIN);
        let short = NotTaken::Unfit(Unfit::TooShort(4, "digits"));
        assert_eq!(screen.enter(1, "123", later()), Err(short));
        assert_eq!(screen.enter(1, "12ab", later()), Err(NotTaken::Unfit(Unfit::NoDigit)));
        assert_eq!(screen.enter(2, "1234", later()), Err(NotTaken::Gone));
        assert_eq!(screen.enter(1, "1234", later()), Ok(()));
        assert_eq!(channel::receive::<FromScreen>(&tee).unwrap(), entered(1, "1234"));
        assert_eq!(screen.standing(), None);
        assert_eq!(screen.enter(1, "1234", later()), Err(NotTaken::Gone));
    }

    #[test]
    fn s2_1_1_a_prompt_that_changes_under_the_finger_takes_no_answer() {
        let (screen, tee) = connected();
        let start = Instant::now();
        let transaction = Input::Transaction { text: "Pay 1 €".into() };
        let show = |id, input, at| {
            let prompt = Prompt { title: String::new(), detail: String::new(), input };
            screen.take(ToScreen::Show { id, prompt, mark: None }, at);
        };
        show(1, PIN, start);
        // The REE withdraws one prompt and asks another thing, just as the finger comes down.
        screen.take(ToScreen::Cancel { id: 1 }, start + GRACE);
        show(2, transaction, start + GRACE);
        let down = start + GRACE + GRACE - Duration::from_millis(1);
        assert_eq!(screen.enter(2, "", down), Err(NotTaken::TooSoon));
        assert_eq!(screen.turn_away(2, down), Err(NotTaken::TooSoon));
        assert_eq!(screen.enter(1, "1234", down), Err(NotTaken::Gone));
        assert_eq!(screen.enter(2, "", start + GRACE + GRACE), Ok(()));
        assert_eq!(channel::receive::<FromScreen>(&tee).unwrap(), entered(2, ""));
    }

    #[test]
    fn s2_1_1_the_mark_is_changed_at_the_screen_while_no_prompt_stands() {
        let (screen, tee) = connected();
        show(&screen, 1, PIN);
        assert_eq!(screen.change_mark(), Err(NotTaken::Busy));
        screen.take(ToScreen::Cancel { id: 1 }, later());
        assert_eq!(screen.change_mark(), Ok(()));
        assert_eq!(channel::receive::<FromScreen>(&tee).unwrap(), FromScreen::ChangeMark);
        assert_eq!(Screen::default().change_mark(), Err(NotTaken::NoTee));
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
        let due = [
            entered(1, "1234"),
            FromScreen::Cancelled { id: 2 },
            entered(3, "5678"),
            entered(4, ""),
        ];
        assert_eq!(said, due);
    }

    #[test]
    fn a_cancelled_prompt_is_gone() {
        let (screen, _tee) = connected();
        let changes = screen.changes();
        show(&screen, 7, PIN);
        screen.take(ToScreen::Cancel { id: 6 }, later());
        assert!(screen.standing().is_some());
        screen.take(ToScreen::Cancel { id: 7 }, later());
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
