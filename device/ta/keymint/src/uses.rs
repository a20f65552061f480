//! Opened keys: tickets, and operations that begin and end in one message.

use crate::authentication::Due;
use crate::failure::{Failure, Outcome};
use crate::keymint::{KeyMintTa, check_input};
use crate::open_key::{self, OpenKey};
use crate::operation;
use crate::rules::operation::Plan;
use crate::table::Caller;
use keymint::{Algorithm, Authorizations, ErrorCode, HardwareAuthToken, Tag};
use serde_bytes::ByteBuf;
use std::rc::Rc;
use tee_api::keymint::{MAX_USES, Output, Reply, Ticket, Use};
use tee_sdk::Context;
use tee_sdk::engine::{Run, Span};

/// RSA keys above this size take their time, and run alone.
const MOST_BITS_IN_A_BATCH: u32 = 2048;

/// A use whose rules were checked.
struct Prepared<'a> {
    key: Rc<OpenKey>,
    plan: Plan,
    nonce: Option<Vec<u8>>,
    one: &'a Use,
}

impl Prepared<'_> {
    fn aad(&self) -> &[u8] {
        self.one.aad.as_ref().map_or(&[], |aad| aad)
    }

    fn signature(&self) -> Option<&[u8]> {
        self.one.signature.as_ref().map(|signature| &signature[..])
    }

    fn output(&self, out: &[u8]) -> Output {
        Output { output: ByteBuf::from(out), nonce: self.nonce.clone().map(ByteBuf::from) }
    }

    /// The one call to the engine that does all of it; `None` where it takes more, or long.
    fn as_run(&self) -> Outcome<Option<Run>> {
        let obeys = &self.key.header.hardware;
        let is_slow = obeys.algorithm == Some(Algorithm::Rsa)
            && obeys.key_size.is_none_or(|bits| bits > MOST_BITS_IN_A_BATCH);
        if is_slow {
            return Ok(None);
        }
        operation::as_run(&self.key.key, &self.plan, self.aad(), &self.one.input)
    }
}

impl KeyMintTa {
    pub(crate) fn open_key(
        &mut self,
        context: &mut Context<'_>,
        session: u32,
        blob: &[u8],
        params: &Authorizations,
        user: u32,
        token: Option<HardwareAuthToken>,
    ) -> Outcome<Ticket> {
        let caller = self.caller(session);
        if caller != Caller::User(user) {
            self.check_system(session)?;
        }
        let key = open_key::open(context, &mut self.secrets, blob, params)?;
        if !can_be_opened(&key) {
            return Err(ErrorCode::InvalidArgument.into());
        }
        let ticket = Ticket(context.random()?);
        self.tickets.add(ticket, Rc::new(key), (user, caller), token);
        Ok(ticket)
    }

    /// Each use by itself: what becomes of one says nothing about the others.
    pub(crate) fn use_keys(
        &mut self,
        context: &mut Context<'_>,
        session: u32,
        uses: &[Use],
    ) -> Outcome<Reply> {
        if uses.len() > MAX_USES {
            return Err(ErrorCode::InvalidInputLength.into());
        }
        let caller = self.caller(session);
        let mut prepared = Vec::with_capacity(uses.len());
        for one in uses {
            prepared.push(refusal(self.prepare_use(context, &caller, one))?);
        }
        let answers =
            if uses.len() > 1 { run_all(context, prepared) } else { run_each(context, prepared) };
        Ok(Reply::Used(answers?))
    }

    /// On the memory that the caller shares.
    pub(crate) fn use_on_memory(
        &mut self,
        context: &mut Context<'_>,
        session: u32,
        one: &Use,
        (input, output): (Span, u32),
    ) -> Outcome<Reply> {
        if !one.input.is_empty() || one.signature.is_some() {
            return Err(ErrorCode::InvalidArgument.into());
        }
        let caller = self.caller(session);
        let prepared = self.prepare_use(context, &caller, one)?;
        let Prepared { key, plan, nonce, .. } = &prepared;
        let run = operation::as_memory_run(&key.key, plan, prepared.aad(), input.bytes)?;
        let bytes = context.run_on_memory(run, input, output);
        let bytes = bytes.map_err(|error| operation::refused(plan, error))?;
        Ok(Reply::Written { bytes, nonce: nonce.clone().map(ByteBuf::from) })
    }

    fn prepare_use<'a>(
        &mut self,
        context: &mut Context<'_>,
        caller: &Caller,
        one: &'a Use,
    ) -> Outcome<Prepared<'a>> {
        check_input(&one.input)?;
        let opened = self.tickets.get(&one.ticket, caller)?;
        let (key, token) = (Rc::clone(&opened.key), one.token.or(opened.token));
        let (plan, due, nonce) =
            self.prepare(context, &key, one.purpose, &one.params, token.as_ref())?;
        if due == Due::TokenForOperation {
            return Err(ErrorCode::KeyUserNotAuthenticated.into());
        }
        Ok(Prepared { key, plan, nonce, one })
    }
}

type Answers = Vec<Result<Output, ErrorCode>>;

/// Each in its turn.
fn run_each(
    context: &mut Context<'_>,
    all: Vec<Result<Prepared<'_>, ErrorCode>>,
) -> Outcome<Answers> {
    let mut answers = Vec::with_capacity(all.len());
    for prepared in all {
        answers.push(match prepared {
            Ok(one) => refusal(run_one(context, &one))?,
            Err(code) => Err(code),
        });
    }
    Ok(answers)
}

fn run_one(context: &mut Context<'_>, one: &Prepared<'_>) -> Outcome<Output> {
    let (key, input) = (&one.key.key, &one.one.input[..]);
    let out = operation::run(context, key, &one.plan, one.aad(), input, one.signature())?;
    Ok(one.output(&out))
}

/// As many as can in one call to the engine, which has more than one processor; then the others.
fn run_all(
    context: &mut Context<'_>,
    all: Vec<Result<Prepared<'_>, ErrorCode>>,
) -> Outcome<Answers> {
    let (mut runs, mut places) = (Vec::new(), Vec::new());
    let mut bytes = 0;
    for (at, prepared) in all.iter().enumerate() {
        let Ok(prepared) = prepared else { continue };
        // What is wrong with it, its own turn tells.
        let Ok(Some(run)) = prepared.as_run() else { continue };
        bytes += run.data.len() + run.associated.len();
        if bytes > tee_api::keymint::MAX_INPUT_BYTES {
            break;
        }
        runs.push(run);
        places.push(at);
    }
    let mut done = places.into_iter().zip(context.run_all(runs)?).peekable();
    let mut answers = Vec::with_capacity(all.len());
    for (at, prepared) in all.into_iter().enumerate() {
        let answer = match (prepared, done.next_if(|(place, _)| *place == at)) {
            (Err(code), _) => Err(code.into()),
            (Ok(one), Some((_, end))) => {
                operation::end(&one.plan, end, one.signature()).map(|out| one.output(&out))
            }
            (Ok(one), None) => run_one(context, &one),
        };
        answers.push(refusal(answer)?);
    }
    Ok(answers)
}

/// A rule's refusal is one use's own; what the TEE could not do ends all.
fn refusal<T>(outcome: Outcome<T>) -> Outcome<Result<T, ErrorCode>> {
    match outcome {
        Ok(done) => Ok(Ok(done)),
        Err(Failure::Refused(code)) => Ok(Err(code)),
        Err(Failure::Tee(error)) => Err(error.into()),
    }
}

/// Whether the TEE alone can watch over the key at every use.
fn can_be_opened(key: &OpenKey) -> bool {
    let needs_service = [
        Tag::ActiveDatetime,
        Tag::OriginationExpireDatetime,
        Tag::UsageExpireDatetime,
        Tag::UsageCountLimit,
        Tag::MaxBootLevel,
        Tag::UserId,
    ];
    let header = &key.header;
    let either = |tag| header.hardware.has(tag) || header.software.has(tag);
    !needs_service.into_iter().any(either) && !header.hardware.trusted_confirmation_required
}
