//! The locks of the spaces: a PIN, password or pattern each (SPEC S3.3.3).
//!
//! Whatever asks for one counts a guess before it looks at it, and waits as long as [`throttle`]
//! says. What is typed at the lock screen decides which space opens; it is tried on every lock in
//! turn, so that time tells nobody how many there are.

use crate::prompt::{ask_new, detail, input, words};
use crate::record::{self, Record, SyntheticPassword, Way};
use crate::sealing::Knower;
use crate::{App, duress, policy, settings, subkey, throttle, token};
use serde_bytes::ByteBuf;
use tee_api::gatekeeper::{LockKind, Reply, Space};
use tee_sdk::{Batch, Context, Question, Step, TeeError};

const TITLE_ENROL: &str = "Set the screen lock";
const TITLE_UNLOCK: &str = "Unlock";

/// Whose PIN is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Whose {
    /// Any space's: what is typed decides.
    Any,
    /// This one's.
    Of(Space),
}

/// Somebody who typed the right PIN.
pub(crate) struct Proven {
    pub(crate) space: Space,
    pub(crate) record: Record,
    pub(crate) password: SyntheticPassword,
}

/// What a guess came to.
enum Verdict {
    Right(Proven),
    /// `Wrong`, `Throttled` or `Erased`.
    No(Reply),
}

/// The lock of `space`, which must be set.
pub(crate) fn of(context: &mut Context<'_>, space: Space) -> Result<Record, TeeError> {
    let none = || TeeError::BadState("no screen lock is set".into());
    record::load(context, space)?.ok_or_else(none)
}

/// Sets a space's first lock.
pub(crate) fn enrol(
    app: &App,
    context: &mut Context<'_>,
    space: Space,
    kind: LockKind,
) -> Result<Step<App>, TeeError> {
    allow_enrolment(app, context, space)?;
    let choose = move || {
        let rule = format!("Choose {}.", words(kind).rule);
        ask_new(TITLE_ENROL, kind, &rule, move |app, context, typed| {
            // Much may have happened while the person typed.
            allow_enrolment(app, context, space)?;
            set_fresh(context, space, kind, typed)
        })
    };
    if space != Space::MAIN {
        return Ok(choose());
    }
    // The next owner chooses what they know the screen by before anything is typed.
    Ok(Step::ask(Question::mark(), move |_, _, _| Ok(choose())))
}

fn allow_enrolment(app: &App, context: &mut Context<'_>, space: Space) -> Result<(), TeeError> {
    policy::load(context)?.allow_unlock()?;
    if !Space::ALL.contains(&space) {
        return Err(TeeError::BadParameters("there are two spaces at most".into()));
    }
    if record::load(context, space)?.is_some() {
        return Err(TeeError::BadState("a screen lock is already set".into()));
    }
    if space != Space::MAIN && !app.unlocked.contains(&Space::MAIN) {
        return Err(TeeError::BadState("the main space is closed: unlock it first".into()));
    }
    Ok(())
}

fn set_fresh(
    context: &mut Context<'_>,
    space: Space,
    kind: LockKind,
    typed: &str,
) -> Result<Step<App>, TeeError> {
    let knower = Knower::of(context, typed)?;
    refuse_taken(context, Some(space), &knower)?;
    let (fresh, _) = Record::fresh(context, kind, &knower)?;
    context.storage_commit(fresh.put(Batch::default(), space)?)?;
    Ok(Step::Done(Reply::Done))
}

/// What is typed decides what happens, so no two of them are the same: `own` is whose it becomes,
/// `None` the one of duress. Whoever chooses learns so much about the others, and it costs a guess.
pub(crate) fn refuse_taken(
    context: &mut Context<'_>,
    own: Option<Space>,
    knower: &Knower,
) -> Result<(), TeeError> {
    let mut taken = duress::known(context, knower)?.is_some() && own.is_some();
    for (space, record) in record::load_all(context)? {
        taken |= record.open(context, Way::Pin, knower)?.is_some() && own != Some(space);
    }
    if taken {
        throttle::load(context)?.count_one(context)?;
        return Err(TeeError::Denied("choose another one: this one can't be used".into()));
    }
    Ok(())
}

/// Sets a lock in place of one that nobody opens any more: what hung on the old one is lost.
pub(crate) fn replace(
    context: &mut Context<'_>,
    space: Space,
    kind: LockKind,
) -> Result<Step<App>, TeeError> {
    allow_replacement(context, space)?;
    let question = Question::confirm(
        "Set another screen lock?",
        "The old one will not be asked for. All files and keys that it protects are lost for good.",
    );
    Ok(Step::ask(question, move |_, _, _| {
        let rule = format!("Choose {}.", words(kind).rule);
        Ok(ask_new(TITLE_ENROL, kind, &rule, move |app, context, typed| {
            allow_replacement(context, space)?;
            let step = set_fresh(context, space, kind, typed)?;
            app.unlocked.remove(&space);
            throttle::clear(context)?;
            Ok(step)
        }))
    }))
}

/// Who found the device must not get past the activation lock.
fn allow_replacement(context: &mut Context<'_>, space: Space) -> Result<(), TeeError> {
    let policy = policy::load(context)?;
    policy.allow_unlock()?;
    if policy.armed {
        let reason = "find-device is on: only who knows the screen lock changes it";
        return Err(TeeError::Denied(reason.into()));
    }
    of(context, space).map(drop)
}

/// Sets another PIN for somebody who knows the one that is set.
pub(crate) fn change(
    context: &mut Context<'_>,
    space: Space,
    kind: LockKind,
) -> Result<Step<App>, TeeError> {
    prove(context, Whose::Of(space), "Change the screen lock", "", move |_, _, proven| {
        Ok(choose_again(kind, proven))
    })
}

/// Asks for another PIN of a lock that is open; its secure id and its keys stay.
pub(crate) fn choose_again(kind: LockKind, proven: Proven) -> Step<App> {
    let rule = format!("Choose {}.", words(kind).rule);
    ask_new("Change the screen lock", kind, &rule, move |_, context, typed| {
        let Proven { space, mut record, password } = proven;
        policy::load(context)?.allow_unlock()?;
        // Erased or replaced meanwhile: this must not bring it back.
        if of(context, space)?.sid != record.sid {
            return Err(TeeError::BadState("the lock is another one by now".into()));
        }
        let knower = Knower::of(context, typed)?;
        refuse_taken(context, Some(space), &knower)?;
        record.set_pin(context, kind, &knower, &password)?;
        let batch = record.put(Batch::default(), space)?;
        context.storage_commit(batch.delete(throttle::OBJECT))?;
        Ok(Step::Done(Reply::Done))
    })
}

/// Deletes a space's lock, and with it the keys that hang on it.
pub(crate) fn delete(context: &mut Context<'_>, space: Space) -> Result<Step<App>, TeeError> {
    allow_deletion(context, space)?;
    let detail = "All files and keys of this space are lost for good.";
    prove(context, Whose::Of(space), "Delete this space?", detail, move |app, context, proven| {
        allow_deletion(context, proven.space)?;
        context.storage_delete(&[record::object(proven.space)])?;
        app.unlocked.remove(&proven.space);
        Ok(Step::Done(Reply::Done))
    })
}

fn allow_deletion(context: &mut Context<'_>, space: Space) -> Result<(), TeeError> {
    if space == Space::MAIN && record::load(context, Space::SECOND)?.is_some() {
        let reason = "the main space stays while there is a second one: delete that first";
        return Err(TeeError::BadState(reason.into()));
    }
    of(context, space).map(drop)
}

/// Opens the space whose PIN is typed.
pub(crate) fn unlock(context: &mut Context<'_>) -> Result<Step<App>, TeeError> {
    prove(context, Whose::Any, TITLE_UNLOCK, "", |app, context, proven| {
        app.unlocked.insert(proven.space);
        let key = |label| ByteBuf::from(*proven.password.key(label).expose());
        Ok(Step::Done(Reply::Unlocked {
            space: proven.space,
            ce_key: key(subkey::CE_KEY),
            keystore_key: key(subkey::KEYSTORE_KEY),
            auth_token: auth_token(context, &proven.record, 0)?,
        }))
    })
}

/// Proves that the person is there, for one operation; 0 for none.
pub(crate) fn authenticate(
    context: &mut Context<'_>,
    space: Space,
    challenge: u64,
) -> Result<Step<App>, TeeError> {
    prove(context, Whose::Of(space), "Authenticate", "", move |_, context, proven| {
        let auth_token = auth_token(context, &proven.record, challenge)?;
        Ok(Step::Done(Reply::Authenticated { auth_token }))
    })
}

fn auth_token(
    context: &mut Context<'_>,
    record: &Record,
    challenge: u64,
) -> Result<ByteBuf, TeeError> {
    token::password_token(context, record.sid, challenge).map(ByteBuf::from)
}

/// Asks for the PIN, password or pattern; goes on with `then` where it is right.
pub(crate) fn prove(
    context: &mut Context<'_>,
    whose: Whose,
    title: &str,
    why: &str,
    then: impl FnOnce(&mut App, &mut Context<'_>, Proven) -> Result<Step<App>, TeeError> + 'static,
) -> Result<Step<App>, TeeError> {
    let failures = match allow_guess(context)? {
        Ok(failures) => failures,
        Err(throttled) => return Ok(Step::Done(throttled)),
    };
    let asked = match whose {
        Whose::Any => Space::MAIN,
        Whose::Of(space) => space,
    };
    // The lock screen asks for what opens the main space, whichever the person has in mind.
    let kind = of(context, asked)?.kind;
    let question = Question::new(title, &detail(kind, failures.count(), why), input(kind));
    Ok(Step::ask(question, move |app: &mut App, context, typed| {
        match guess(app, context, whose, &typed)? {
            Verdict::Right(proven) => then(app, context, proven),
            Verdict::No(reply) => Ok(Step::Done(reply)),
        }
    }))
}

/// The failures so far, where a guess counts now; else `Throttled`.
fn allow_guess(context: &mut Context<'_>) -> Result<Result<throttle::Failures, Reply>, TeeError> {
    policy::load(context)?.allow_unlock()?;
    let failures = throttle::load(context)?;
    Ok(match failures.retry_after_ms(context)? {
        0 => Ok(failures),
        retry_after_ms => Err(Reply::Throttled { retry_after_ms }),
    })
}

fn guess(
    app: &mut App,
    context: &mut Context<'_>,
    whose: Whose,
    typed: &str,
) -> Result<Verdict, TeeError> {
    // Much may have happened while the person typed: lost mode, another wrong PIN.
    let failures = match allow_guess(context)? {
        Ok(failures) => failures,
        Err(throttled) => return Ok(Verdict::No(throttled)),
    };
    // From here on the guess is spent, whatever happens to power or to this process.
    let failures = failures.count_one(context)?;
    let knower = Knower::of(context, typed)?;
    if let Some(proven) = open(app, context, whose, &knower)? {
        throttle::clear(context)?;
        return Ok(Verdict::Right(proven));
    }
    if failures.was_the_last() && settings::load(context)?.erase_after_last_guess {
        return app.erase(context).map(Verdict::No);
    }
    let (failures, retry_after_ms) = (failures.count(), failures.retry_after_ms(context)?);
    Ok(Verdict::No(Reply::Wrong { failures, retry_after_ms }))
}

/// Tries every lock, whichever is meant and whichever opens.
fn open(
    app: &mut App,
    context: &mut Context<'_>,
    whose: Whose,
    knower: &Knower,
) -> Result<Option<Proven>, TeeError> {
    let mut found = None;
    for (space, record) in record::load_all(context)? {
        let opened = record.open(context, Way::Pin, knower)?;
        let is_meant = matches!(whose, Whose::Any) || matches!(whose, Whose::Of(it) if it == space);
        if let (Some(password), true) = (opened, is_meant) {
            found = Some(Proven { space, record, password });
        }
    }
    let Some(kind) = duress::known(context, knower)? else { return Ok(found) };
    let (record, password) = app.begin_anew(context, kind, knower)?;
    Ok(Some(Proven { space: Space::MAIN, record, password }))
}
