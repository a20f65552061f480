//! Locking and unlocking the bootloader (SPEC S2.2): the person decides, on the trusted screen,
//! and pays with the data.
//!
//! The keys go first, then the lock changes: power may go in between, and then the device is
//! erased and locked as before.

use crate::{App, policy};
use tee_sdk::{Context, Question, Step, TeeError, fingerprint};

/// Asks, erases, changes the lock.
pub(crate) fn set_lock(context: &mut Context<'_>, locked: bool) -> Result<Step<App>, TeeError> {
    allow(context, locked)?;
    Ok(Step::ask(question(context, locked)?, move |app: &mut App, context, _| {
        // Much may have happened while the person read.
        allow(context, locked)?;
        let erased = app.erase(context)?;
        context.set_boot_lock(locked)?;
        Ok(Step::Done(erased))
    }))
}

/// A thief must not get past the activation lock with another system.
fn allow(context: &mut Context<'_>, locked: bool) -> Result<(), TeeError> {
    if context.trust()?.lock.unlocked != locked {
        let state = if locked { "locked" } else { "unlocked" };
        return Err(TeeError::BadState(format!("the bootloader is {state} already")));
    }
    let policy = policy::load(context)?;
    if locked {
        return Ok(());
    }
    policy.allow_unlock()?;
    if policy.armed {
        let reason = "find-device is on: the device stays locked to its owner's account";
        return Err(TeeError::Denied(reason.into()));
    }
    Ok(())
}

fn question(context: &mut Context<'_>, locked: bool) -> Result<Question, TeeError> {
    if !locked {
        let detail = "Any system will start then, and nothing vouches for it. All data on this \
                      device will be erased.";
        return Ok(Question::confirm("Unlock the bootloader?", detail));
    }
    let trusted = match context.trust()?.lock.custom_key {
        Some(key) => format!("the maker, or with your key {},", fingerprint(&key)),
        None => "the maker".to_owned(),
    };
    let detail = format!(
        "Only a system that is signed by {trusted} will start then. All data on this device will \
         be erased."
    );
    Ok(Question::confirm("Lock the bootloader?", &detail))
}
