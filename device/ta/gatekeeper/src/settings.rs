//! What the owner chose about the locks.

use crate::lock::{self, Whose};
use crate::prompt::{ask_new, words};
use crate::sealing::Knower;
use crate::{App, duress};
use tee_api::gatekeeper::{LockKind, LockSettings, Reply, Space};
use tee_sdk::{Batch, Context, Step, TeeError};

/// Where they are kept.
pub(crate) const OBJECT: &str = "lock-settings";

/// What is set.
pub(crate) fn load(context: &mut Context<'_>) -> Result<LockSettings, TeeError> {
    Ok(context.record_get(OBJECT)?.unwrap_or_default())
}

/// Sets them, for somebody who knows the main space's PIN.
pub(crate) fn set(
    context: &mut Context<'_>,
    settings: LockSettings,
) -> Result<Step<App>, TeeError> {
    let idle = settings
        .restart_when_idle_min
        .map(|minutes| format!(" The device restarts after {minutes} minutes without an unlock."));
    let erase =
        settings.erase_after_last_guess.then_some(" It erases itself after 20 wrong tries.");
    let why = format!(
        "The rules of the screen lock change.{}{}",
        idle.as_deref().unwrap_or_default(),
        erase.unwrap_or_default()
    );
    let whose = Whose::Of(Space::MAIN);
    lock::prove(context, whose, "Change the rules", &why, move |_, context, _| {
        context.record_put(OBJECT, &settings)?;
        Ok(Step::Done(Reply::Done))
    })
}

/// Sets the PIN of duress, or takes it back, for somebody who knows the main space's.
pub(crate) fn set_duress(
    context: &mut Context<'_>,
    kind: Option<LockKind>,
) -> Result<Step<App>, TeeError> {
    let (title, whose) = ("Duress", Whose::Of(Space::MAIN));
    let Some(kind) = kind else {
        return lock::prove(context, whose, title, "It is taken back.", |_, context, _| {
            context.storage_delete(&[duress::OBJECT])?;
            Ok(Step::Done(Reply::Done))
        });
    };
    lock::prove(context, whose, title, "", move |_, _, _| {
        let detail =
            format!("Choose {} that destroys everything when it is typed.", words(kind).rule);
        Ok(ask_new(title, kind, &detail, move |_, context, typed| {
            lock::of(context, Space::MAIN)?;
            let knower = Knower::of(context, typed)?;
            lock::refuse_taken(context, None, &knower)?;
            let batch = duress::put(context, Batch::default(), kind, &knower)?;
            context.storage_commit(batch)?;
            Ok(Step::Done(Reply::Done))
        }))
    })
}
