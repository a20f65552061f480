//! The commands of KeyMint.

use crate::authentication::{Authenticators, Due};
use crate::boot_state::{BootState, Locked};
use crate::description::{SecureIds, version};
use crate::entropy::Entropy;
use crate::failure::{Failure, Outcome};
use crate::open_key::{self, OpenKey};
use crate::operation::Work;
use crate::rules::operation::{Plan, check_purpose, plan};
use crate::secrets::{self, Secrets};
use crate::table::{Caller, InProgress, Operations, Tickets};
use crate::{create, factory, provisioning};
use keymint::{Authorizations, Bytes, ErrorCode, HardwareAuthToken, KeyPurpose};
use serde_bytes::ByteBuf;
use std::collections::BTreeMap;
use std::rc::Rc;
use tee_api::keymint::{
    BegunOperation, Command, HardwareInfo, KeyMint, KeySource, MAX_INPUT_BYTES, Reply,
    SecurityLevel,
};
use tee_sdk::{Context, Login, Signer, Step, TeeError, Transaction, TrustedApplication, Zeroizing};

/// The longest message that a person can have confirmed, in bytes.
const MAX_CONFIRMED_BYTES: usize = 8 * 1024;
/// Bytes of SHA-256.
const MODULE_HASH_BYTES: usize = 32;

/// The trusted application. What must outlive its process is in secure storage.
#[derive(Default)]
pub(crate) struct KeyMintTa {
    pub(crate) secrets: Secrets,
    authenticators: Authenticators,
    boot: Option<BootState>,
    entropy: Entropy,
    operations: Operations,
    pub(crate) tickets: Tickets,
    sessions: BTreeMap<u32, Caller>,
}

impl TrustedApplication for KeyMintTa {
    type Protocol = KeyMint;

    fn open(
        &mut self,
        _context: &mut Context<'_>,
        session: u32,
        login: Login,
    ) -> Result<(), TeeError> {
        self.sessions.insert(session, Caller::of(&login));
        Ok(())
    }

    fn begin(
        &mut self,
        context: &mut Context<'_>,
        session: u32,
        command: Command,
    ) -> Result<Step<Self>, TeeError> {
        let step = match command {
            Command::Confirm { blob, params, text, extra } => {
                self.confirm(context, &blob, &params, text, extra)
            }
            Command::GenerateKey { params, attest } => self.generate(context, params, attest),
            command => return self.invoke(context, session, command).map(Step::Done),
        };
        refusal_is_an_answer(step)
    }

    fn invoke(
        &mut self,
        context: &mut Context<'_>,
        session: u32,
        command: Command,
    ) -> Result<Reply, TeeError> {
        match self.answer(context, session, command) {
            Err(Failure::Refused(code)) => Ok(Reply::Refused(code)),
            Err(Failure::Tee(error)) => Err(error),
            Ok(reply) => Ok(reply),
        }
    }

    fn close(&mut self, session: u32) {
        self.sessions.remove(&session);
        self.operations.end_session(session);
    }
}

impl KeyMintTa {
    fn answer(
        &mut self,
        context: &mut Context<'_>,
        session: u32,
        command: Command,
    ) -> Outcome<Reply> {
        let done = |()| Reply::Done;
        match command {
            Command::FactoryGenerate => Ok(Reply::PublicKey(factory::generate(context)?)),
            Command::FactoryIds(ids) => Ok(factory::set_ids(context, &ids).map(done)?),
            Command::FactoryInstall { chain } => Ok(factory::install(context, &chain).map(done)?),
            Command::DeviceChain => Ok(Reply::Chain(factory::chain(context)?)),
            Command::HardwareInfo => self.hardware_info(context),
            Command::AddEntropy { data } => self.entropy.add(&data).map(done),
            Command::ImportKey { params, format, data, attest } => {
                let data = Zeroizing::new(data.into_vec());
                self.import(context, &params, format, &data, attest.as_ref()).map(Reply::Key)
            }
            Command::ImportWrappedKey {
                wrapped,
                wrapping_key,
                masking_key,
                params,
                password_sid,
                biometric_sid,
            } => {
                let ids = SecureIds { password: password_sid, biometric: biometric_sid };
                let under = (&wrapping_key[..], &params);
                self.import_wrapped(context, &wrapped, under, &masking_key, ids).map(Reply::Key)
            }
            Command::UpgradeKey { blob, params } => {
                self.upgrade(context, &blob, &params).map(Reply::Blob)
            }
            Command::DeleteKey { blob } => self.delete(context, &blob).map(done),
            Command::DeleteAllKeys => self.delete_all(context, session).map(done),
            Command::DestroyAttestationIds => {
                self.check_system(session)?;
                Ok(factory::destroy_ids(context).map(done)?)
            }
            Command::Characteristics { blob, application_id, application_data } => {
                let bytes = |bytes: Option<ByteBuf>| bytes.map(|it| Bytes(it.into_vec()));
                let params = Authorizations {
                    application_id: bytes(application_id),
                    application_data: bytes(application_data),
                    ..Authorizations::default()
                };
                let opened = open_key::open(context, &mut self.secrets, &blob, &params)?;
                Ok(Reply::Characteristics(create::characteristics(opened.header)))
            }
            command => self.operate(context, session, command),
        }
    }

    fn operate(
        &mut self,
        context: &mut Context<'_>,
        session: u32,
        command: Command,
    ) -> Outcome<Reply> {
        let done = |()| Reply::Done;
        match command {
            Command::Begin { key, purpose, params, token } => {
                self.begin_operation(context, session, key, purpose, &params, token)
            }
            Command::UpdateAad { operation, input, token } => self
                .step(context, session, operation, token, |running, context| {
                    running.work.associate(context, &running.key.key, &input)
                })
                .map(done),
            Command::Update { operation, input, token } => self
                .step(context, session, operation, token, |running, context| {
                    check_input(&input)?;
                    note(running, &input)?;
                    running.work.update(context, &running.key.key, &input)
                })
                .map(|out| Reply::Output(ByteBuf::from(out))),
            Command::Finish { operation, input, signature, token, confirmation } => {
                let running = self.operations.take(operation, session)?;
                let signature = signature.as_ref().map(|signature| &signature[..]);
                self.finish(context, (operation, running), &input, signature, (token, confirmation))
            }
            Command::Abort { operation } => {
                Ok(self.operations.take(operation, session).map(|_| Reply::Done)?)
            }
            Command::EarlyBootEnded => {
                self.check_system(session)?;
                let state = self.boot_state(context)?;
                Ok(state.change(context, |state| state.early_boot_ended = true).map(done)?)
            }
            Command::DeviceLocked { password_only } => {
                self.check_system(session)?;
                let at_ms = context.uptime()?.as_millis() as u64;
                let state = self.boot_state(context)?;
                let locked = Some(Locked { at_ms, password_only });
                Ok(state.change(context, |state| state.locked = locked).map(done)?)
            }
            Command::Open { blob, params, user, token } => {
                self.open_key(context, session, &blob, &params, user, token).map(Reply::Opened)
            }
            Command::Use(uses) => self.use_keys(context, session, &uses),
            Command::UseMemory { how: one, input, output } => {
                self.use_on_memory(context, session, &one, (input, output))
            }
            Command::Close { ticket } => {
                let caller = self.caller(session);
                self.tickets.close(&ticket, &caller);
                Ok(Reply::Done)
            }
            Command::SetModuleHash { hash } => self.set_module_hash(context, session, hash),
            Command::SharedSecretParameters => {
                Ok(Reply::SharedSecretParameters(context.shared_secret_parameters()?))
            }
            Command::ComputeSharedSecret { participants } => {
                self.check_system(session)?;
                self.authenticators.agree(context, participants).map(Reply::SharingCheck)
            }
            Command::CertificateRequest { keys, challenge } => {
                provisioning::request(context, &mut self.secrets, &keys, &challenge)
                    .map(Reply::CertificateRequest)
            }
            _ => Err(TeeError::BadState("this command takes its time".into()).into()),
        }
    }

    pub(crate) fn caller(&self, session: u32) -> Caller {
        self.sessions.get(&session).cloned().unwrap_or(Caller::Anyone)
    }

    /// What concerns the whole device is for the system: its root, or the user who runs the board;
    /// and for the maker's trusted applications.
    pub(crate) fn check_system(&self, session: u32) -> Outcome<()> {
        match self.caller(session) {
            Caller::User(uid) if uid == 0 || uid == tee_sdk::own_user() => Ok(()),
            Caller::Application(caller) if caller.signer == Signer::Maker => Ok(()),
            _ => Err(TeeError::Denied("this is for the system's root".into()).into()),
        }
    }

    /// What holds until power-off.
    pub(crate) fn boot_state(
        &mut self,
        context: &mut Context<'_>,
    ) -> Result<&mut BootState, TeeError> {
        if self.boot.is_none() {
            self.boot = Some(BootState::load(context)?);
        }
        Ok(self.boot.as_mut().expect("it was loaded above"))
    }

    fn hardware_info(&mut self, context: &mut Context<'_>) -> Outcome<Reply> {
        let knows_modules = self.boot_state(context)?.module_hash.is_some();
        Ok(Reply::HardwareInfo(HardwareInfo {
            version: version(knows_modules),
            security_level: SecurityLevel::TrustedEnvironment,
            name: "Holdfast KeyMint".into(),
            author: "Holdfast".into(),
            timestamp_token_required: false,
        }))
    }

    fn set_module_hash(
        &mut self,
        context: &mut Context<'_>,
        session: u32,
        hash: ByteBuf,
    ) -> Outcome<Reply> {
        self.check_system(session)?;
        if hash.len() != MODULE_HASH_BYTES {
            return Err(ErrorCode::InvalidArgument.into());
        }
        let state = self.boot_state(context)?;
        if state.module_hash.as_ref().is_some_and(|set| *set != hash) {
            return Err(ErrorCode::ModuleHashAlreadySet.into());
        }
        state.change(context, |state| state.module_hash = Some(hash))?;
        Ok(Reply::Done)
    }

    fn delete_all(&mut self, context: &mut Context<'_>, session: u32) -> Outcome<()> {
        self.check_system(session)?;
        self.operations.clear();
        self.tickets.clear();
        Ok(self.secrets.reset(context)?)
    }

    /// A key is no more: nothing that was opened outlives it.
    pub(crate) fn forget(&mut self, id: &[u8; 16]) {
        self.operations.end_key(id);
        self.tickets.end_key(id);
    }

    /// What must hold for every use of a key, whatever it is used for.
    pub(crate) fn check_use(
        &mut self,
        context: &mut Context<'_>,
        key: &OpenKey,
        token: Option<&HardwareAuthToken>,
    ) -> Outcome<Due> {
        let obeys = &key.header.hardware;
        if obeys.bootloader_only {
            return Err(ErrorCode::InvalidKeyBlob.into());
        }
        if obeys.early_boot_only && self.boot_state(context)?.early_boot_ended {
            return Err(ErrorCode::EarlyBootEnded.into());
        }
        if obeys.unlocked_device_required {
            self.boot_state(context)?;
            if let Some(state) = &mut self.boot {
                self.authenticators.check_unlocked(context, state, token)?;
            }
        }
        self.authenticators.check_begin(context, obeys, token)
    }

    /// Checks and counts a use, and says how it goes.
    pub(crate) fn prepare(
        &mut self,
        context: &mut Context<'_>,
        key: &OpenKey,
        purpose: KeyPurpose,
        params: &Authorizations,
        token: Option<&HardwareAuthToken>,
    ) -> Outcome<(Plan, Due, Option<Vec<u8>>)> {
        let obeys = &key.header.hardware;
        check_purpose(obeys, purpose)?;
        let entropy = &self.entropy;
        let (plan, nonce) = plan(obeys, purpose, params, |bytes| entropy.nonce(context, bytes))?;
        let due = self.check_use(context, key, token)?;
        if let Some(most) = obeys.max_uses_per_boot {
            self.boot_state(context)?.count_use(context, key.header.id, most)?;
        }
        Ok((plan, due, nonce))
    }

    fn begin_operation(
        &mut self,
        context: &mut Context<'_>,
        session: u32,
        source: KeySource,
        purpose: KeyPurpose,
        params: &Authorizations,
        token: Option<HardwareAuthToken>,
    ) -> Outcome<Reply> {
        let caller = self.caller(session);
        let (key, token) = match source {
            KeySource::Blob(blob) => {
                (Rc::new(open_key::open(context, &mut self.secrets, &blob, params)?), token)
            }
            KeySource::Ticket(ticket) => {
                let opened = self.tickets.get(&ticket, &caller)?;
                (Rc::clone(&opened.key), token.or(opened.token))
            }
        };
        self.operations.make_room(&caller)?;
        let (plan, due, nonce) = self.prepare(context, &key, purpose, params, token.as_ref())?;
        let mut handle = 0;
        while handle == 0 || self.operations.has(handle) {
            handle = u64::from_le_bytes(context.random()?);
        }
        self.operations.add(handle, session, caller, key, (Work::new(plan), due));
        let params = Authorizations { nonce: nonce.map(Bytes), ..Authorizations::default() };
        Ok(Reply::Begun(BegunOperation { operation: handle, params }))
    }

    /// A step of an operation; a refusal ends it.
    fn step<T>(
        &mut self,
        context: &mut Context<'_>,
        session: u32,
        handle: u64,
        token: Option<HardwareAuthToken>,
        step: impl FnOnce(&mut InProgress, &mut Context<'_>) -> Outcome<T>,
    ) -> Outcome<T> {
        let mut running = self.operations.take(handle, session)?;
        self.check_due(context, handle, &mut running, token.as_ref())?;
        let done = step(&mut running, context)?;
        self.operations.put_back(handle, running);
        Ok(done)
    }

    /// Where the operation needs a token of its own, this is it; or it comes later.
    fn check_due(
        &mut self,
        context: &mut Context<'_>,
        handle: u64,
        running: &mut InProgress,
        token: Option<&HardwareAuthToken>,
    ) -> Outcome<()> {
        if running.due == Due::TokenForOperation {
            let obeys = &running.key.header.hardware;
            self.authenticators.check_operation(context, obeys, handle, token)?;
            running.due = Due::Nothing;
        }
        Ok(())
    }

    fn finish(
        &mut self,
        context: &mut Context<'_>,
        (handle, mut running): (u64, InProgress),
        input: &[u8],
        signature: Option<&[u8]>,
        (token, confirmation): (Option<HardwareAuthToken>, Option<ByteBuf>),
    ) -> Outcome<Reply> {
        check_input(input)?;
        self.check_due(context, handle, &mut running, token.as_ref())?;
        note(&mut running, input)?;
        if let Some(message) = &running.message {
            redeem(context, message, &running.key.digest, confirmation.as_ref())?;
        }
        let InProgress { key, work, .. } = running;
        let out = work.finish(context, &key.key, input, signature)?;
        self.use_up(context, &key)?;
        Ok(Reply::Output(ByteBuf::from(out.to_vec())))
    }

    /// A key that works once is gone before its result is told.
    fn use_up(&mut self, context: &mut Context<'_>, key: &OpenKey) -> Outcome<()> {
        if key.header.hardware.usage_count_limit != Some(1) {
            return Ok(());
        }
        let slot = key.header.slot()?.ok_or(ErrorCode::InvalidKeyBlob)?;
        if secrets::of_slot(context, &slot)?.is_none() {
            return Err(ErrorCode::InvalidKeyBlob.into());
        }
        secrets::empty_slot(context, &slot)?;
        self.forget(&key.header.id);
        Ok(())
    }

    /// Asks the person; what they confirm is good for one signature by this key.
    fn confirm(
        &mut self,
        context: &mut Context<'_>,
        blob: &[u8],
        params: &Authorizations,
        text: String,
        extra: ByteBuf,
    ) -> Outcome<Step<Self>> {
        let key = open_key::open(context, &mut self.secrets, blob, params)?;
        if !key.header.hardware.trusted_confirmation_required {
            return Err(ErrorCode::InvalidArgument.into());
        }
        let transaction = Transaction { text, extra, binding: ByteBuf::from(key.digest) };
        Ok(Step::confirm(transaction, |_, _, confirmation| {
            Ok(Step::Done(Reply::Confirmed(confirmation)))
        }))
    }
}

/// A rule's refusal is what the command comes to.
pub(crate) fn refusal_is_an_answer(
    step: Outcome<Step<KeyMintTa>>,
) -> Result<Step<KeyMintTa>, TeeError> {
    match step {
        Ok(step) => Ok(step),
        Err(Failure::Refused(code)) => Ok(Step::Done(Reply::Refused(code))),
        Err(Failure::Tee(error)) => Err(error),
    }
}

pub(crate) fn check_input(input: &[u8]) -> Outcome<()> {
    if input.len() <= MAX_INPUT_BYTES {
        return Ok(());
    }
    Err(ErrorCode::InvalidInputLength.into())
}

/// Keeps the message of an operation that a person must have confirmed.
fn note(running: &mut InProgress, input: &[u8]) -> Outcome<()> {
    let Some(message) = &mut running.message else { return Ok(()) };
    if message.len() + input.len() > MAX_CONFIRMED_BYTES {
        return Err(ErrorCode::NoUserConfirmation.into());
    }
    message.extend_from_slice(input);
    Ok(())
}

fn redeem(
    context: &mut Context<'_>,
    message: &[u8],
    binding: &[u8],
    confirmation: Option<&ByteBuf>,
) -> Outcome<()> {
    let token = confirmation.ok_or(ErrorCode::NoUserConfirmation)?;
    context.redeem(message, binding, token).map_err(|error| match error {
        TeeError::Denied(_) => ErrorCode::NoUserConfirmation.into(),
        other => Failure::Tee(other),
    })
}
