//! Using a key: in one request, in pieces, or by a ticket at the TEE itself.

use crate::access::Found;
use crate::audit::{Event, What};
use crate::caller::Caller;
use crate::enforcement::{all, check_dates, counted, has_dates, used_up};
use crate::error::Error;
use crate::operations::Operation;
use crate::rows::{self, Key, Sealing};
use crate::service::{Issued, Keystore};
use keymint::{Authorizations, Bytes, ErrorCode, HardwareAuthToken, KeyPurpose};
use keystore_client::KeystoreCode;
use keystore_client::api::{
    Access, Begin, Begun, Finish, MAX_DATA_BYTES, Open, Opened, OperationId, Output, Use,
};
use serde_bytes::ByteBuf;
use tee_api::keymint::{BegunOperation, Command, KeyBlob, KeySource, MAX_INPUT_BYTES, Reply};

/// Operations that are given up for one new one at most.
const PRUNED: usize = 4;

impl Keystore {
    /// Begins an operation. It counts as one use, whatever comes of it.
    pub fn begin(&self, caller: &Caller, begin: Begin) -> Result<Begun, Error> {
        let found = self.usable(caller, &begin.key)?;
        let (id, purpose) = (found.key.id, begin.purpose);
        let begun = self.begin_with(caller, found, begin);
        self.logged(caller, What::Begin, id, purpose, begun)
    }

    /// An operation from begin to finish.
    pub fn use_key(&self, caller: &Caller, wanted: Use) -> Result<Output, Error> {
        let Use { key, purpose, params, aad, input, signature, token, confirmation } = wanted;
        let found = self.usable(caller, &key)?;
        let id = found.key.id;
        let begin = Begin { key, purpose, params, token: token.clone() };
        let begun = self.begin_with(caller, found, begin);
        let used = begun.and_then(|Begun { operation, params }| {
            if !aad.is_empty() {
                self.update_aad(caller, operation, &aad)?;
            }
            let finish = Finish { input, signature, token, confirmation };
            Ok(Output { output: self.finish(caller, operation, finish)?, params })
        });
        self.audited(caller, What::Use, id, purpose, used)
    }

    /// More of what is authenticated and not encrypted.
    pub fn update_aad(&self, caller: &Caller, id: OperationId, aad: &[u8]) -> Result<(), Error> {
        check_size(aad)?;
        self.with_operation(caller, id, false, |operation| {
            for piece in aad.chunks(MAX_INPUT_BYTES) {
                let (input, token) = (ByteBuf::from(piece), self.own_token(operation, id, None)?);
                self.keymint(Command::UpdateAad { operation: id.0, input, token })?;
            }
            Ok(())
        })
    }

    /// More data; what came out so far.
    pub fn update(&self, caller: &Caller, id: OperationId, data: &[u8]) -> Result<Vec<u8>, Error> {
        check_size(data)?;
        self.with_operation(caller, id, false, |operation| self.feed(operation, id, data, None))
    }

    /// The end; what came out last. The operation is over, whatever comes of it.
    pub fn finish(&self, caller: &Caller, id: OperationId, last: Finish) -> Result<Bytes, Error> {
        check_size(&last.input)?;
        self.with_operation(caller, id, true, |operation| {
            let Finish { input, signature, token, confirmation } = last;
            let whole = input.len().saturating_sub(1) / MAX_INPUT_BYTES * MAX_INPUT_BYTES;
            let (first, rest) = input.split_at(whole);
            let mut output = self.feed(operation, id, first, token.as_ref())?;
            let finish = Command::Finish {
                operation: id.0,
                input: ByteBuf::from(rest),
                signature: signature.map(|bytes| ByteBuf::from(bytes.into_vec())),
                token: self.own_token(operation, id, token.as_ref())?,
                confirmation: confirmation.map(|bytes| ByteBuf::from(bytes.into_vec())),
            };
            let Reply::Output(last) = self.keymint(finish)? else {
                return Err(Error::unexpected());
            };
            output.extend(last.into_vec());
            Ok(Bytes(output))
        })
    }

    /// Gives an operation up.
    pub fn abort(&self, caller: &Caller, id: OperationId) -> Result<(), Error> {
        self.with_operation(caller, id, true, |_| {
            self.keymint(Command::Abort { operation: id.0 }).map(drop)
        })
    }

    /// A ticket, where the TEE can enforce all that the key obeys.
    pub fn open_key(&self, caller: &Caller, open: Open) -> Result<Opened, Error> {
        let found = self.usable(caller, &open.key)?;
        if let Some(why) = kept_here(&found.key) {
            return Ok(Opened { ticket: None, why: Some(why.to_owned()) });
        }
        let id = found.key.id;
        let opened = self.open_with(caller, &found.key, open);
        let line = Event::new(self.parts.clock.now(), &caller.namespace, What::Open, id);
        self.log(line.outcome(&opened))?;
        opened
    }

    fn open_with(&self, caller: &Caller, key: &Key, open: Open) -> Result<Opened, Error> {
        let token = self.begin_token(&all(&key.characteristics), open.token.as_ref())?;
        let user = caller.namespace.uid;
        let reply = self.with_blob(key, &open.params, |blob| {
            let params = open.params.clone();
            self.keymint(Command::Open { blob, params, user, token })
        })?;
        let Reply::Opened(ticket) = reply else { return Err(Error::unexpected()) };
        self.issue(Issued { key: key.id, to: caller.namespace.clone(), ticket });
        // Somebody may have taken the grant back, or the key, in between.
        if self.usable(caller, &open.key).is_err() {
            self.close_tickets(|issued| issued.ticket == ticket);
            return Err(Error::no_such_key());
        }
        Ok(Opened { ticket: Some(Bytes(ticket.0.to_vec())), why: None })
    }

    /// A key that the caller may use.
    fn usable(&self, caller: &Caller, key: &keystore_client::api::KeyRef) -> Result<Found, Error> {
        let found = self.find(caller, key)?;
        found.must_allow(Access::Use)?;
        Ok(found)
    }

    fn begin_with(&self, caller: &Caller, found: Found, begin: Begin) -> Result<Begun, Error> {
        let key = found.key;
        let rules = all(&key.characteristics);
        if has_dates(&rules) {
            check_dates(&rules, begin.purpose, self.time())?;
        }
        let token = self.begin_token(&rules, begin.token.as_ref())?;
        // A locked device is told before a use is counted.
        drop(self.blob_of(&key)?);
        self.count_use(&key)?;
        let reply = self.with_blob(&key, &begin.params, |blob| {
            self.begin_in_tee(caller, blob, begin.purpose, &begin.params, token)
        })?;
        let needs_unlock = key.blob.is_some_and(|blob| blob.sealing != Sealing::None);
        let now = self.parts.clock.monotonic();
        let operation = Operation::new(caller.namespace.clone(), rules, needs_unlock, now);
        self.live().operations.add(reply.operation, operation);
        Ok(Begun { operation: OperationId(reply.operation), params: reply.params })
    }

    /// Begins; where KeyMint has no room, an operation of who has the most is given up.
    fn begin_in_tee(
        &self,
        caller: &Caller,
        blob: KeyBlob,
        purpose: KeyPurpose,
        params: &Authorizations,
        token: Option<HardwareAuthToken>,
    ) -> Result<BegunOperation, Error> {
        for _ in 0..PRUNED {
            let (key, params) = (KeySource::Blob(blob.clone()), params.clone());
            match self.keymint(Command::Begin { key, purpose, params, token }) {
                Ok(Reply::Begun(begun)) => return Ok(begun),
                Ok(_) => return Err(Error::unexpected()),
                Err(error) if error.is(ErrorCode::TooManyOperations) => {
                    let victim = self.live().operations.prune_for(&caller.namespace);
                    self.abort_quietly(victim.ok_or_else(busy)?);
                }
                Err(error) => return Err(error),
            }
        }
        Err(busy())
    }

    /// Counts a use where the keystore counts; durable before the TEE begins.
    fn count_use(&self, key: &Key) -> Result<(), Error> {
        if key.uses_left.is_none() {
            return Ok(());
        }
        let id = key.id;
        let counted = self.db.write(move |on| on.run(async |db| rows::count_use(db, id).await))?;
        if counted { Ok(()) } else { Err(used_up()) }
    }

    /// The blob as the TEE gave it.
    pub(crate) fn blob_of(&self, key: &Key) -> Result<KeyBlob, Error> {
        let no_key = || Error::malformed("there are certificates under this alias, and no key");
        let sealed = key.blob.as_ref().ok_or_else(no_key)?;
        let (blob, again) = {
            let live = self.live();
            let blob = live.super_keys.open(key.id, sealed)?;
            let again = live.super_keys.resealed(key.id, sealed, &blob);
            (blob, again)
        };
        if let Some(again) = again {
            let (id, old) = (key.id, sealed.clone());
            self.db.post(move |on| {
                on.run(async |db| rows::set_blob(db, id, &old, &again).await).map(drop)
            });
        }
        Ok(ByteBuf::from(blob.to_vec()))
    }

    /// Does something with a key's blob; one that was made under other software is upgraded first.
    fn with_blob<T>(
        &self,
        key: &Key,
        params: &Authorizations,
        work: impl Fn(KeyBlob) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let blob = self.blob_of(key)?;
        match work(blob.clone()) {
            Err(error) if error.is(ErrorCode::KeyRequiresUpgrade) => {
                work(self.upgraded(key, blob, params)?)
            }
            done => done,
        }
    }

    /// The blob of a key that works on others, under what runs now.
    pub(crate) fn current_blob(
        &self,
        key: &Key,
        params: &Authorizations,
    ) -> Result<KeyBlob, Error> {
        let bytes = |bytes: &Option<Bytes>| bytes.as_ref().map(|it| ByteBuf::from(&it[..]));
        self.with_blob(key, params, |blob| {
            let (application_id, application_data) =
                (bytes(&params.application_id), bytes(&params.application_data));
            let asked = blob.clone();
            self.keymint(Command::Characteristics {
                blob: asked,
                application_id,
                application_data,
            })?;
            Ok(blob)
        })
    }

    /// The key under what runs now, kept in place of the old blob.
    fn upgraded(
        &self,
        key: &Key,
        blob: KeyBlob,
        params: &Authorizations,
    ) -> Result<KeyBlob, Error> {
        let params = params.filtered(|tag| {
            matches!(tag, keymint::Tag::ApplicationId | keymint::Tag::ApplicationData)
        });
        let reply = self.keymint(Command::UpgradeKey { blob: blob.clone(), params })?;
        let Reply::Blob(new) = reply else { return Err(Error::unexpected()) };
        if new.is_empty() {
            return Ok(blob);
        }
        let old = key.blob.clone().ok_or_else(Error::no_such_key)?;
        let sealed = match old.sealing {
            Sealing::None => rows::Sealed { sealing: Sealing::None, bytes: new.to_vec() },
            _ => self.live().super_keys.seal(key.id, &new)?,
        };
        let id = key.id;
        self.db.write(move |on| on.run(async |db| rows::set_blob(db, id, &old, &sealed).await))?;
        Ok(new)
    }

    /// Somebody's operation, for one call; what refuses ends it.
    fn with_operation<T>(
        &self,
        caller: &Caller,
        id: OperationId,
        last: bool,
        work: impl FnOnce(&Operation) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let now = self.parts.clock.monotonic();
        let operation = self.live().operations.take(id.0, &caller.namespace, now)?;
        let done = work(&operation);
        let mut live = self.live();
        if last || done.is_err() {
            live.operations.remove(id.0);
        } else {
            live.operations.put_back(id.0);
        }
        drop(live);
        if done.is_err() {
            self.abort_quietly(id.0);
        }
        done
    }

    /// Gives data to an operation, as much at a time as a message takes.
    fn feed(
        &self,
        operation: &Operation,
        id: OperationId,
        data: &[u8],
        token: Option<&Bytes>,
    ) -> Result<Vec<u8>, Error> {
        let mut output = Vec::new();
        for piece in data.chunks(MAX_INPUT_BYTES) {
            let (input, token) = (ByteBuf::from(piece), self.own_token(operation, id, token)?);
            match self.keymint(Command::Update { operation: id.0, input, token })? {
                Reply::Output(more) => output.extend(more.into_vec()),
                _ => return Err(Error::unexpected()),
            }
        }
        Ok(output)
    }

    /// The token with which an operation begins: the caller's, or one that was kept.
    fn begin_token(
        &self,
        rules: &Authorizations,
        given: Option<&Bytes>,
    ) -> Result<Option<HardwareAuthToken>, Error> {
        let now = self.parts.clock.monotonic();
        given
            .map(parsed)
            .transpose()
            .map(|token| token.or_else(|| self.live().tokens.at_begin(rules, now)))
    }

    /// The token for this one operation: the caller's, or one that was kept.
    fn own_token(
        &self,
        operation: &Operation,
        id: OperationId,
        given: Option<&Bytes>,
    ) -> Result<Option<HardwareAuthToken>, Error> {
        given
            .map(parsed)
            .transpose()
            .map(|token| token.or_else(|| self.live().tokens.for_operation(&operation.rules, id.0)))
    }

    /// Writes what came of a beginning down before it is told; what can't be written did not
    /// happen.
    fn logged(
        &self,
        caller: &Caller,
        what: What,
        key: u64,
        purpose: KeyPurpose,
        begun: Result<Begun, Error>,
    ) -> Result<Begun, Error> {
        let operation = begun.as_ref().ok().map(|begun| begun.operation);
        let told = self.audited(caller, what, key, purpose, begun);
        if let (Err(_), Some(operation)) = (&told, operation) {
            self.live().operations.remove(operation.0);
            self.abort_quietly(operation.0);
        }
        told
    }

    fn audited<T>(
        &self,
        caller: &Caller,
        what: What,
        key: u64,
        purpose: KeyPurpose,
        result: Result<T, Error>,
    ) -> Result<T, Error> {
        let event = Event::new(self.parts.clock.now(), &caller.namespace, what, key);
        self.log(event.purpose(purpose).outcome(&result))?;
        result
    }
}

fn parsed(token: &Bytes) -> Result<HardwareAuthToken, Error> {
    HardwareAuthToken::from_bytes(token).map_err(|error| Error::malformed(error.to_string()))
}

fn check_size(data: &[u8]) -> Result<(), Error> {
    if data.len() <= MAX_DATA_BYTES {
        return Ok(());
    }
    let reason =
        format!("one request carries at most {MAX_DATA_BYTES} bytes of data; send several");
    Err(Error::refused(KeystoreCode::TooMuchData, reason))
}

fn busy() -> Error {
    let reason = "TOO_MANY_OPERATIONS: others have as many operations as you; finish one, or try \
                  again later";
    Error::refused(ErrorCode::TooManyOperations, reason)
}

/// Why each use of a key must come through the keystore.
fn kept_here(key: &Key) -> Option<&'static str> {
    let rules = all(&key.characteristics);
    if has_dates(&rules) {
        Some("the keystore checks its dates at each use")
    } else if counted(&key.characteristics).is_some() {
        Some("the keystore counts its uses")
    } else if rules.unlocked_device_required {
        Some("the keystore keeps it closed while the device is locked")
    } else {
        None
    }
}
