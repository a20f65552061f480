//! The screen lock: a PIN, password or pattern that opens a synthetic password, from which the user's keys derive.
//!
//! The synthetic password is random and never changes with the PIN. It is sealed under a key
//! from the PIN (hardened by Argon2id, RFC 9106) and a key that only this TA on this board has:
//! the flash image alone, or another board, gives an attacker nothing to try PINs on. That key
//! and the one that seals stay in the engine of the trusted OS.

use crate::{App, policy, subkey, throttle, token};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use crypto::secret::Secret;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use tee_api::gatekeeper::{LockKind, PASSWORD_CHARS, PATTERN_DOTS, PIN_DIGITS, Reply};
use tee_sdk::engine::{Attributes, Derivation, Hash, Key, KeyType, Usage};
use tee_sdk::{Context, Input, Question, Step, TeeError};
use zeroize::Zeroize;

/// Where the record is kept.
pub(crate) const OBJECT: &str = "screen-lock";
/// Argon2id: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const DEVICE_SECRET: Attributes = Attributes::new(KeyType::Secret { bytes: 32 }, Usage::DERIVE);
const SEALING_KEY: Attributes =
    Attributes::new(KeyType::Aes256, Usage::ENCRYPT.union(Usage::DECRYPT));
const TITLE_ENROL: &str = "Set the screen lock";
const TITLE_UNLOCK: &str = "Unlock";
const TITLE_AUTHENTICATE: &str = "Authenticate";

/// The sealed synthetic password.
#[derive(Serialize, Deserialize)]
struct Record {
    /// What is typed.
    kind: LockKind,
    salt: [u8; 16],
    /// The user's secure id: another one after each enrolment.
    sid: u64,
    sealed: ByteBuf,
}

/// What a right PIN is to do.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Proof {
    /// Release the CE key.
    Unlock,
    /// Prove that the person is there, for this operation; 0 for none.
    Operation(u64),
}

/// The secure id of whoever set the screen lock; `None` where none is set.
pub(crate) fn secure_user_id(context: &mut Context<'_>) -> Result<Option<u64>, TeeError> {
    Ok(context.record_get::<Record>(OBJECT)?.map(|record| record.sid))
}

/// Whether a screen lock is set.
pub(crate) fn is_set(context: &mut Context<'_>) -> Result<bool, TeeError> {
    Ok(context.storage_get(OBJECT)?.is_some())
}

/// Sets the screen lock: the person chooses what the trusted screen is known by, then types the
/// new PIN, password or pattern twice, and where that goes wrong, twice once more.
pub(crate) fn enrol(context: &mut Context<'_>, kind: LockKind) -> Result<Step<App>, TeeError> {
    allow_enrolment(context)?;
    Ok(Step::ask(Question::mark(), move |_, _, _| {
        Ok(ask_new(kind, &format!("Choose {}.", words(kind).rule), 1))
    }))
}

fn allow_enrolment(context: &mut Context<'_>) -> Result<(), TeeError> {
    policy::load(context)?.allow_unlock()?;
    if is_set(context)? {
        return Err(TeeError::BadState("a screen lock is already set".into()));
    }
    Ok(())
}

fn ask_new(kind: LockKind, detail: &str, tries_left: u32) -> Step<App> {
    let question = Question::new(TITLE_ENROL, detail, input(kind));
    Step::ask(question, move |_, _, first| {
        let again = format!("{} the {} again.", words(kind).verb, words(kind).name);
        let question = Question::new(TITLE_ENROL, &again, input(kind));
        Ok(Step::ask(question, move |_, context, second| {
            if crypto::constant_time_eq(first.as_bytes(), second.as_bytes()) {
                return store(context, kind, &first).map(|()| Step::Done(Reply::Done));
            }
            ask_anew(kind, tries_left)
        }))
    })
}

fn ask_anew(kind: LockKind, tries_left: u32) -> Result<Step<App>, TeeError> {
    let Words { name, rule, .. } = words(kind);
    match tries_left.checked_sub(1) {
        Some(left) => {
            let detail = format!("The two {name}s were not the same. Choose {rule}.");
            Ok(ask_new(kind, &detail, left))
        }
        None => Err(TeeError::BadParameters(format!("no {name} was entered the same way twice"))),
    }
}

/// What the prompts call each kind.
struct Words {
    name: &'static str,
    verb: &'static str,
    rule: &'static str,
}

const fn words(kind: LockKind) -> Words {
    let (name, verb, rule) = match kind {
        LockKind::Pin => ("PIN", "Type", "a PIN of 4 to 16 digits"),
        LockKind::Password => {
            ("password", "Type", "a password of 4 to 16 letters, digits and symbols")
        }
        LockKind::Pattern => ("pattern", "Draw", "a pattern of at least 4 dots"),
    };
    Words { name, verb, rule }
}

const fn input(kind: LockKind) -> Input {
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

fn store(context: &mut Context<'_>, kind: LockKind, pin: &str) -> Result<(), TeeError> {
    // Much may have happened while the person typed.
    allow_enrolment(context)?;
    let salt = context.random()?;
    let sid = u64::from_le_bytes(context.random()?);
    let password: Secret<32> = Secret::new(context.random()?);
    let key = sealing_key(context, pin, &salt)?;
    let sealed = ByteBuf::from(key.seal(context, &sid.to_le_bytes(), password.expose())?);
    context.record_put(OBJECT, &Record { kind, salt, sid, sealed })
}

/// Asks for the PIN, password or pattern; a right one gives `proof`.
pub(crate) fn unlock(context: &mut Context<'_>, proof: Proof) -> Result<Step<App>, TeeError> {
    let (record, failures) = match allow_guess(context)? {
        Ok(allowed) => allowed,
        Err(throttled) => return Ok(Step::Done(throttled)),
    };
    let Words { name, verb, .. } = words(record.kind);
    let detail = match failures.count() {
        0 => format!("{verb} your {name}."),
        1 => format!("{verb} your {name}. The last one was wrong."),
        count => format!("{verb} your {name}. The last {count} were wrong."),
    };
    let title = match proof {
        Proof::Unlock => TITLE_UNLOCK,
        Proof::Operation(_) => TITLE_AUTHENTICATE,
    };
    let question = Question::new(title, &detail, input(record.kind));
    Ok(Step::ask(question, move |app: &mut App, context, pin| {
        let reply = guess(context, &pin, proof)?;
        app.unlocked_once |= matches!(reply, Reply::Unlocked { .. });
        Ok(Step::Done(reply))
    }))
}

/// The record and the failures so far, where a guess counts now; else `Throttled`.
fn allow_guess(
    context: &mut Context<'_>,
) -> Result<Result<(Record, throttle::Failures), Reply>, TeeError> {
    policy::load(context)?.allow_unlock()?;
    let record: Record = context
        .record_get(OBJECT)?
        .ok_or_else(|| TeeError::BadState("no screen lock is set".into()))?;
    let failures = throttle::load(context)?;
    Ok(match failures.retry_after_ms(context)? {
        0 => Ok((record, failures)),
        retry_after_ms => Err(Reply::Throttled { retry_after_ms }),
    })
}

fn guess(context: &mut Context<'_>, pin: &str, proof: Proof) -> Result<Reply, TeeError> {
    // Much may have happened while the person typed: lost mode, another wrong PIN.
    let (record, failures) = match allow_guess(context)? {
        Ok(allowed) => allowed,
        Err(throttled) => return Ok(throttled),
    };
    // From here on the guess is spent, whatever happens to power or to this process.
    let failures = failures.count_one(context)?;
    match open(context, &record, pin)? {
        Some(password) => {
            throttle::clear(context)?;
            proved(context, &record, &password, proof)
        }
        None => Ok(Reply::Wrong {
            failures: failures.count(),
            retry_after_ms: failures.retry_after_ms(context)?,
        }),
    }
}

fn proved(
    context: &mut Context<'_>,
    record: &Record,
    password: &Secret<32>,
    proof: Proof,
) -> Result<Reply, TeeError> {
    let token = |context: &mut Context<'_>, challenge| {
        token::password_token(context, record.sid, challenge).map(ByteBuf::from)
    };
    Ok(match proof {
        Proof::Operation(challenge) => {
            Reply::Authenticated { auth_token: token(context, challenge)? }
        }
        Proof::Unlock => {
            let ce_key = ByteBuf::from(*subkey::subkey(password, subkey::CE_KEY).expose());
            Reply::Unlocked { ce_key, auth_token: token(context, 0)? }
        }
    })
}

/// The synthetic password, if `pin` is the right one.
fn open(
    context: &mut Context<'_>,
    record: &Record,
    pin: &str,
) -> Result<Option<Secret<32>>, TeeError> {
    let key = sealing_key(context, pin, &record.salt)?;
    let opened = match key.open(context, &record.sid.to_le_bytes(), &record.sealed) {
        Err(TeeError::Security(_)) => return Ok(None),
        other => other?,
    };
    Secret::from_slice(&opened)
        .map(Some)
        .map_err(|_| TeeError::Security("the screen-lock record is malformed".into()))
}

/// From what only this board has, and the PIN.
fn sealing_key(context: &mut Context<'_>, pin: &str, salt: &[u8; 16]) -> Result<Key, TeeError> {
    let hardened = harden(pin, salt)?;
    let device = context.derive_from_huk("screen-lock", salt, DEVICE_SECRET)?;
    let derivation = Derivation::Hkdf {
        hash: Hash::Sha256,
        salt: ByteBuf::from(*hardened.expose()),
        info: ByteBuf::from(*b"screen-lock"),
    };
    device.derive(context, derivation, SEALING_KEY)
}

fn harden(pin: &str, salt: &[u8; 16]) -> Result<Secret<32>, TeeError> {
    let failed = |error: argon2::Error| TeeError::Resources(format!("argon2: {error}"));
    let params = Params::new(MEMORY_KIB, PASSES, 1, Some(32)).map_err(failed)?;
    let mut memory = vec![Block::new(); params.block_count()];
    let mut out = [0; 32];
    let done = Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into_with_memory(pin.as_bytes(), salt, &mut out, &mut memory);
    let secret = Secret::new(out);
    out.zeroize();
    memory.iter_mut().for_each(Zeroize::zeroize);
    drop(memory);
    tee_sdk::return_freed_memory();
    done.map_err(failed).map(|()| secret)
}
