//! Ways into a space besides its PIN, for the day when that is forgotten: a key that the person
//! wrote down, and an organisation that the person let in. Without either, nothing opens it.

use crate::escrow::{self, MAX_ORGANISATION_BYTES};
use crate::lock::{self, Proven, Whose};
use crate::record::{Record, Way};
use crate::sealing::Knower;
use crate::{App, policy};
use crypto::secret::Secret;
use tee_api::gatekeeper::{LockKind, RECOVERY_DIGITS, Reply, Space};
use tee_sdk::{Batch, Context, Input, Question, Step, TeeError, Zeroizing};

/// Digits of a group, as they are shown.
const GROUP: usize = 5;

/// Makes a recovery key and shows it once. It counts once the person says that they have it.
pub(crate) fn make_recovery_key(
    context: &mut Context<'_>,
    space: Space,
) -> Result<Step<App>, TeeError> {
    let why = "A recovery key will be shown, once.";
    lock::prove(context, Whose::Of(space), "Recovery key", why, |_, context, proven| {
        let key = digits(context)?;
        let groups: Vec<&str> =
            (0..key.len()).step_by(GROUP).map(|at| &key[at..at + GROUP]).collect();
        let shown = format!(
            "Write this down and keep it away from the device: {}. It opens this space when the \
             lock is forgotten.",
            groups.join(" ")
        );
        let question = Question::confirm("Recovery key", &shown);
        Ok(Step::ask(question, move |_, context, _| {
            let knower = Knower::of(context, &key)?;
            let (space, password) = (proven.space, &proven.password);
            let mut record = unchanged(context, &proven)?;
            record.set_recovery(context, &knower, password)?;
            keep(context, &record, space)
        }))
    })
}

/// Opens a space with its recovery key, and asks for a new PIN.
pub(crate) fn recover(
    context: &mut Context<'_>,
    space: Space,
    kind: LockKind,
) -> Result<Step<App>, TeeError> {
    allow(context, space, Way::Recovery)?;
    let detail = format!("Type the {RECOVERY_DIGITS} digits of the recovery key.");
    let input = Input::Pin { min_digits: RECOVERY_DIGITS, max_digits: RECOVERY_DIGITS };
    // Nobody guesses 40 digits: no attempt is counted.
    Ok(Step::ask(Question::new("Recovery", &detail, input), move |_, context, typed| {
        let record = allow(context, space, Way::Recovery)?;
        let knower = Knower::of(context, &typed)?;
        let opened = record.open(context, Way::Recovery, &knower)?;
        let wrong = || TeeError::Denied("this is not the recovery key".into());
        let password = opened.ok_or_else(wrong)?;
        Ok(lock::choose_again(kind, Proven { space, record, password }))
    }))
}

/// Lets an organisation open a space too.
pub(crate) fn make_escrow(
    context: &mut Context<'_>,
    space: Space,
    organisation: String,
    public_key: &[u8],
) -> Result<Step<App>, TeeError> {
    if !(1..=MAX_ORGANISATION_BYTES).contains(&organisation.len()) {
        let reason = format!("the organisation's name has 1 to {MAX_ORGANISATION_BYTES} bytes");
        return Err(TeeError::BadParameters(reason));
    }
    let key = escrow::public_key(public_key)?;
    let why = format!("\"{organisation}\" will be able to open this space without you.");
    lock::prove(context, Whose::Of(space), "Let others in?", &why, move |_, context, proven| {
        let secret = Secret::new(context.random()?);
        let knower = Knower::with(context, &secret)?;
        let mut record = proven.record;
        record.set_escrow(context, organisation, &knower, &proven.password)?;
        let jwe = escrow::encrypted(&secret, &key)?;
        keep(context, &record, proven.space)?;
        Ok(Step::Done(Reply::Escrowed { jwe }))
    })
}

/// Ends the escrow.
pub(crate) fn end_escrow(context: &mut Context<'_>, space: Space) -> Result<Step<App>, TeeError> {
    let record = allow(context, space, Way::Escrow)?;
    let who = record.organisation().unwrap_or_default();
    let why = format!("\"{who}\" will not be able to open this space any more.");
    lock::prove(context, Whose::Of(space), "Let nobody in", &why, |_, context, proven| {
        let mut record = proven.record;
        record.end_escrow();
        keep(context, &record, proven.space)
    })
}

/// Opens a space with the organisation's secret, which is used up, and asks for a new PIN.
pub(crate) fn redeem_escrow(
    context: &mut Context<'_>,
    space: Space,
    secret: &[u8],
    kind: LockKind,
) -> Result<Step<App>, TeeError> {
    let mut record = allow(context, space, Way::Escrow)?;
    let wrong = || TeeError::Denied("this is not the organisation's secret".into());
    let secret = Secret::from_slice(secret).map_err(|_| wrong())?;
    let knower = Knower::with(context, &secret)?;
    let password = record.open(context, Way::Escrow, &knower)?.ok_or_else(wrong)?;
    record.end_escrow();
    Ok(lock::choose_again(kind, Proven { space, record, password }))
}

/// The lock, where there is such a way into it and nothing else holds it closed.
fn allow(context: &mut Context<'_>, space: Space, way: Way) -> Result<Record, TeeError> {
    policy::load(context)?.allow_unlock()?;
    let record = lock::of(context, space)?;
    if record.has(way) {
        return Ok(record);
    }
    let what = match way {
        Way::Recovery => "no recovery key was made",
        _ => "no organisation was let in",
    };
    Err(TeeError::BadState(what.into()))
}

/// The record as it is now, if it is still the lock whose PIN was typed.
fn unchanged(context: &mut Context<'_>, proven: &Proven) -> Result<Record, TeeError> {
    let now = lock::of(context, proven.space)?;
    if now.sid == proven.record.sid {
        return Ok(now);
    }
    Err(TeeError::BadState("the lock is another one by now".into()))
}

fn keep(context: &mut Context<'_>, record: &Record, space: Space) -> Result<Step<App>, TeeError> {
    context.storage_commit(record.put(Batch::default(), space)?)?;
    Ok(Step::Done(Reply::Done))
}

/// [`RECOVERY_DIGITS`] random ones.
fn digits(context: &mut Context<'_>) -> Result<Zeroizing<String>, TeeError> {
    let mut digits = Zeroizing::new(String::with_capacity(RECOVERY_DIGITS.into()));
    while digits.len() < RECOVERY_DIGITS.into() {
        let random: [u8; 64] = context.random()?;
        // 250 is the largest multiple of 10: every digit is as likely as any other.
        let fair = random.into_iter().filter(|byte| *byte < 250);
        let left = usize::from(RECOVERY_DIGITS) - digits.len();
        digits.extend(fair.take(left).map(|byte| char::from(b'0' + byte % 10)));
    }
    Ok(digits)
}
