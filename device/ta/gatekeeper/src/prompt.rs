//! What the trusted screen says when it asks for a PIN, password or pattern.

use crate::App;
use tee_api::gatekeeper::{LockKind, PASSWORD_CHARS, PATTERN_DOTS, PIN_DIGITS};
use tee_sdk::{Context, Input, Question, Step, TeeError};

/// How often the person may begin again where the two were not the same.
const TRIES: u32 = 1;

/// What the prompts call each kind.
pub(crate) struct Words {
    pub(crate) name: &'static str,
    pub(crate) verb: &'static str,
    pub(crate) rule: &'static str,
}

pub(crate) const fn words(kind: LockKind) -> Words {
    let (name, verb, rule) = match kind {
        LockKind::Pin => ("PIN", "Type", "a PIN of 4 to 16 digits"),
        LockKind::Password => {
            ("password", "Type", "a password of 4 to 16 letters, digits and symbols")
        }
        LockKind::Pattern => ("pattern", "Draw", "a pattern of at least 4 dots"),
    };
    Words { name, verb, rule }
}

pub(crate) const fn input(kind: LockKind) -> Input {
    match kind {
        LockKind::Pin => {
            let (min_digits, max_digits) = PIN_DIGITS;
            Input::Pin { min_digits, max_digits }
        }
        LockKind::Password => {
            let (min_chars, max_chars) = PASSWORD_CHARS;
            Input::Password { min_chars, max_chars }
        }
        LockKind::Pattern => Input::Pattern { min_dots: PATTERN_DOTS },
    }
}

/// "Type your PIN. The last 2 were wrong.", after what it is for.
pub(crate) fn detail(kind: LockKind, failures: u32, why: &str) -> String {
    let Words { name, verb, .. } = words(kind);
    let gap = if why.is_empty() { "" } else { " " };
    let wrong = match failures {
        0 => String::new(),
        1 => " The last one was wrong.".to_owned(),
        count => format!(" The last {count} were wrong."),
    };
    format!("{why}{gap}{verb} your {name}.{wrong}")
}

/// Asks for a new PIN, password or pattern twice, and where that goes wrong, twice once more.
pub(crate) fn ask_new(
    title: &'static str,
    kind: LockKind,
    detail: &str,
    then: impl FnOnce(&mut App, &mut Context<'_>, &str) -> Result<Step<App>, TeeError> + 'static,
) -> Step<App> {
    ask_twice(title, kind, detail, TRIES, Box::new(then))
}

type Then = Box<dyn FnOnce(&mut App, &mut Context<'_>, &str) -> Result<Step<App>, TeeError>>;

fn ask_twice(
    title: &'static str,
    kind: LockKind,
    detail: &str,
    left: u32,
    then: Then,
) -> Step<App> {
    Step::ask(Question::new(title, detail, input(kind)), move |_, _, first| {
        let again = format!("{} the {} again.", words(kind).verb, words(kind).name);
        let question = Question::new(title, &again, input(kind));
        Ok(Step::ask(question, move |app, context, second| {
            if crypto::constant_time_eq(first.as_bytes(), second.as_bytes()) {
                return then(app, context, &first);
            }
            let Words { name, rule, .. } = words(kind);
            let Some(left) = left.checked_sub(1) else {
                let reason = format!("no {name} was entered the same way twice");
                return Err(TeeError::BadParameters(reason));
            };
            let detail = format!("The two {name}s were not the same. Choose {rule}.");
            Ok(ask_twice(title, kind, &detail, left, then))
        }))
    })
}
