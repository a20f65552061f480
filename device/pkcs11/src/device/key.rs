//! A key in the TEE.

use super::refusals::{broken_rule, refused};
use super::rules::{Wanted, application_data, wanted};
use super::tee::{Tee, ask, unexpected};
use crate::error::{Result, Rv, fail};
use crate::key::{Algorithm, Key, Operation, Stream};
use crate::token::TokenSecret;
use crypto::ec;
use cryptoki_sys::*;
use keymint::{Authorizations, ErrorCode, KeyPurpose};
use keystore_client::api::{self, KeyRef, Open};
use serde_bytes::ByteBuf;
use std::cell::RefCell;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tee_api::engine::MAX_MEMORY_RUN_BYTES;
use tee_api::keymint::{Command, KeyMint, KeySource, MAX_INPUT_BYTES, Reply, Ticket, Use};
use tee_client::Session;
use zeroize::Zeroizing;

/// The most bytes that go in one command beside what else is in it.
const PIECE_BYTES: usize = MAX_INPUT_BYTES;

/// The most bytes that go on shared memory, with room for a tag and for padding behind them.
const MEMORY_BYTES: usize = MAX_MEMORY_RUN_BYTES as usize - 16;

/// A key in the TEE, opened for this user.
#[derive(Clone)]
pub(super) struct TeeKey(Arc<Opened>);

struct Opened {
    tee: Arc<Tee>,
    key: KeyRef,
    algorithm: Algorithm,
    /// What it works only with.
    params: Authorizations,
    ticket: Mutex<Option<Ticket>>,
}

impl TeeKey {
    /// Opens a key.
    pub(super) fn open(
        tee: Arc<Tee>,
        key: KeyRef,
        algorithm: Algorithm,
        secret: Option<&TokenSecret>,
    ) -> Result<Self> {
        let application_data = secret.map(application_data);
        let params = Authorizations { application_data, ..Authorizations::default() };
        let opened = Opened { tee, key, algorithm, params, ticket: Mutex::default() };
        let ticket = opened.fresh_ticket()?;
        *opened.held() = ticket;
        Ok(Self(Arc::new(opened)))
    }
}

impl Opened {
    fn held(&self) -> MutexGuard<'_, Option<Ticket>> {
        self.ticket.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A ticket; `None` for keys that only the keystore can watch over.
    fn fresh_ticket(&self) -> Result<Option<Ticket>> {
        let open = Open { key: self.key.clone(), params: self.params.clone(), token: None };
        let opened = self.tee.keystore.open(&open).map_err(|error| as_key(refused(&error)))?;
        let Some(ticket) = opened.ticket else { return Ok(None) };
        let ticket = ticket[..].try_into().map_err(|_| Rv(CKR_DEVICE_ERROR))?;
        Ok(Some(Ticket(ticket)))
    }

    /// Works with the ticket. The TEE has room for so many tickets, and forgets the one that was
    /// used least: then again with a fresh one, once.
    fn with_ticket<T>(
        &self,
        work: impl Fn(Ticket) -> Result<std::result::Result<T, ErrorCode>>,
    ) -> Result<Option<T>> {
        let Some(ticket) = *self.held() else { return Ok(None) };
        match work(ticket)? {
            Ok(done) => Ok(Some(done)),
            Err(ErrorCode::InvalidKeyBlob) => {
                let Some(fresh) = self.fresh_ticket()? else { return Ok(None) };
                *self.held() = Some(fresh);
                work(fresh)?.map(Some).map_err(broken_rule)
            }
            Err(code) => Err(broken_rule(code)),
        }
    }

    /// A whole message.
    fn once(&self, how: &Wanted, input: &[u8]) -> Result<Vec<u8>> {
        match self.with_ticket(|ticket| self.by_ticket(ticket, how, input))? {
            Some(output) => Ok(output),
            None => self.by_keystore(how, input),
        }
    }

    /// The same for one that is too large for a command; appends to `out`.
    fn once_on_memory(&self, how: &Wanted, input: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let out = RefCell::new(out);
        let used = self.with_ticket(|ticket| {
            let how = Self::one(ticket, how, &[]);
            self.tee.use_on_memory(how, input, &mut out.borrow_mut())
        })?;
        if used.is_none() {
            out.into_inner().extend_from_slice(&self.by_keystore(how, input)?);
        }
        Ok(())
    }

    fn by_ticket(&self, ticket: Ticket, how: &Wanted, input: &[u8]) -> Result<UsedBytes> {
        let used = self.tee.use_key(Self::one(ticket, how, input))?;
        Ok(used.map(|output| output.output.into_vec()))
    }

    fn one(ticket: Ticket, how: &Wanted, input: &[u8]) -> Use {
        Use {
            ticket,
            purpose: how.purpose,
            params: how.params.clone(),
            aad: (!how.aad.is_empty()).then(|| ByteBuf::from(how.aad.as_slice())),
            input: ByteBuf::from(input),
            signature: None,
            token: None,
        }
    }

    fn by_keystore(&self, how: &Wanted, input: &[u8]) -> Result<Vec<u8>> {
        let wanted = api::Use {
            params: how.params.clone().with(&self.params),
            aad: how.aad.as_slice().into(),
            input: input.into(),
            ..api::Use::of(self.key.clone(), how.purpose)
        };
        let used = self.tee.keystore.use_key(&wanted);
        Ok(used.map_err(|error| as_key(refused(&error)))?.output.into_vec())
    }
}

type UsedBytes = std::result::Result<Vec<u8>, ErrorCode>;

impl Drop for Opened {
    /// The TEE has room for few tickets.
    fn drop(&mut self) {
        if let Some(ticket) = self.held().take() {
            // One that can't be closed is forgotten when it was used least.
            let _ = self.tee.call(&Command::Close { ticket });
        }
    }
}

/// A key that is gone is no object here.
const fn as_key(error: Rv) -> Rv {
    Rv(if error.0 == CKR_OBJECT_HANDLE_INVALID { CKR_KEY_HANDLE_INVALID } else { error.0 })
}

/// What is wrong with what is to be decrypted does not show: any refusal of it is the same. What is
/// to be signed has a name of its own.
fn as_purpose(how: &Wanted, error: Rv) -> Rv {
    let decrypts = how.purpose == KeyPurpose::Decrypt;
    Rv(match error.0 {
        CKR_DEVICE_ERROR if decrypts => CKR_ENCRYPTED_DATA_INVALID,
        CKR_ENCRYPTED_DATA_INVALID if !decrypts => CKR_DATA_INVALID,
        code => code,
    })
}

impl Key for TeeKey {
    fn perform(&self, operation: &Operation, input: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        let how = wanted(operation)?;
        if input.len() + how.aad.len() > PIECE_BYTES {
            let mut out = Vec::new();
            self.begin(operation)?.finish(input, &mut out)?;
            return Ok(Zeroizing::new(out));
        }
        let out = self.0.once(&how, input).map_err(|error| as_purpose(&how, error))?;
        match (operation, self.0.algorithm) {
            (Operation::Ecdsa, Algorithm::Ec(curve)) => {
                Ok(Zeroizing::new(ec::to_fixed(curve, &out).map_err(|_| Rv(CKR_DEVICE_ERROR))?))
            }
            _ => Ok(Zeroizing::new(out)),
        }
    }

    fn begin(&self, operation: &Operation) -> Result<Box<dyn Stream>> {
        let streams = match operation {
            Operation::Hmac(hash) => {
                matches!(self.0.algorithm, Algorithm::Hmac(own, _) if own == *hash)
            }
            Operation::Cipher { .. } => {
                matches!(self.0.algorithm, Algorithm::Aes(_) | Algorithm::TripleDes)
            }
            _ => false,
        };
        if !streams {
            return fail(CKR_KEY_FUNCTION_NOT_PERMITTED);
        }
        let opened = Arc::clone(&self.0);
        Ok(Box::new(TeeStream { opened, how: wanted(operation)?, state: State::Fresh }))
    }
}

/// An operation in the TEE. It begins with the first piece that is not the last: a message in one
/// piece is one command.
struct TeeStream {
    opened: Arc<Opened>,
    how: Wanted,
    state: State,
}

enum State {
    Fresh,
    Runs {
        session: Session<KeyMint>,
        operation: u64,
    },
    /// For a key without a ticket.
    Gathers(Zeroizing<Vec<u8>>),
}

impl TeeStream {
    fn start(&mut self) -> Result<()> {
        let begun = self.opened.with_ticket(|ticket| begin(&self.opened.tee, ticket, &self.how))?;
        self.state = match begun {
            Some((session, operation)) => State::Runs { session, operation },
            None => State::Gathers(Zeroizing::default()),
        };
        Ok(())
    }

    fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<()> {
        match &mut self.state {
            State::Fresh => {
                self.start()?;
                self.feed(input, out)
            }
            State::Runs { session, operation } => {
                for piece in input.chunks(PIECE_BYTES) {
                    let input = ByteBuf::from(piece);
                    let operation = *operation;
                    let command = Command::Update { operation, input, token: None };
                    out.extend_from_slice(&output(&ask(session, &command)?)?);
                }
                Ok(())
            }
            State::Gathers(held) if held.len() + input.len() > api::MAX_DATA_BYTES => {
                fail(CKR_DATA_LEN_RANGE)
            }
            State::Gathers(held) => {
                held.extend_from_slice(input);
                Ok(())
            }
        }
    }

    /// A message that goes in one command, itself or on shared memory.
    fn fits_once(&self, input: &[u8]) -> bool {
        let in_memory = !self.how.params.block_mode.is_empty()
            && input.len() <= MEMORY_BYTES
            && self.how.aad.len() <= PIECE_BYTES;
        in_memory || input.len() + self.how.aad.len() <= PIECE_BYTES
    }

    fn end(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<()> {
        if matches!(self.state, State::Fresh) && self.fits_once(input) {
            if input.len() + self.how.aad.len() > PIECE_BYTES {
                return self.opened.once_on_memory(&self.how, input, out);
            }
            out.extend_from_slice(&self.opened.once(&self.how, input)?);
            return Ok(());
        }
        // The last piece goes with the end.
        let before = input.len().saturating_sub(1) / PIECE_BYTES * PIECE_BYTES;
        let (pieces, last) = input.split_at(before);
        self.feed(pieces, out)?;
        match std::mem::replace(&mut self.state, State::Fresh) {
            State::Runs { session, operation } => {
                let command = Command::Finish {
                    operation,
                    input: ByteBuf::from(last),
                    signature: None,
                    token: None,
                    confirmation: None,
                };
                let reply = ask(&session, &command)?;
                self.opened.tee.give_back(session);
                out.extend_from_slice(&output(&reply)?);
            }
            State::Gathers(mut held) => {
                held.extend_from_slice(last);
                out.extend_from_slice(&self.opened.by_keystore(&self.how, &held)?);
            }
            State::Fresh => {}
        }
        Ok(())
    }
}

impl Stream for TeeStream {
    fn update(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let result = self.feed(input, out);
        result.map_err(|error| as_purpose(&self.how, error))
    }

    fn finish(mut self: Box<Self>, input: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let result = self.end(input, out);
        result.map_err(|error| as_purpose(&self.how, error))
    }
}

impl Drop for TeeStream {
    fn drop(&mut self) {
        if let State::Runs { session, operation } = std::mem::replace(&mut self.state, State::Fresh)
            && ask(&session, &Command::Abort { operation }).is_ok()
        {
            self.opened.tee.give_back(session);
        }
    }
}

type Begun = std::result::Result<(Session<KeyMint>, u64), ErrorCode>;

fn begin(tee: &Tee, ticket: Ticket, how: &Wanted) -> Result<Begun> {
    let session = tee.session()?;
    let command = Command::Begin {
        key: KeySource::Ticket(ticket),
        purpose: how.purpose,
        params: how.params.clone(),
        token: None,
    };
    let operation = match ask(&session, &command)? {
        Reply::Begun(begun) => begun.operation,
        Reply::Refused(code) => return Ok(Err(code)),
        other => return Err(unexpected(&other)),
    };
    for piece in how.aad.chunks(PIECE_BYTES) {
        let command = Command::UpdateAad { operation, input: ByteBuf::from(piece), token: None };
        match ask(&session, &command)? {
            Reply::Done => {}
            other => return Err(unexpected(&other)),
        }
    }
    Ok(Ok((session, operation)))
}

fn output(reply: &Reply) -> Result<Vec<u8>> {
    match reply {
        Reply::Output(bytes) => Ok(bytes.to_vec()),
        other => Err(unexpected(other)),
    }
}
