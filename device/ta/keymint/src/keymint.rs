//! The commands of KeyMint.

use crate::blob::Opened;
use crate::{attestation, blob, factory};
use crypto::digest::sha256;
use keymint::{Algorithm, Authorizations, Digest, EcCurve, ErrorCode, KeyPurpose};
use serde_bytes::ByteBuf;
use std::collections::BTreeMap;
use tee_api::keymint::{
    BegunOperation, Command, KeyCharacteristics, KeyCreation, KeyMint, KeySource, Reply,
};
use tee_sdk::engine::{Attributes, Curve, Hash, Input, KeyType, Scheme, Usage};
use tee_sdk::{Context, Step, TeeError, Transaction, TrustedApplication};

/// What callers' keys and the device's own are.
pub(crate) const SIGNING_KEY: Attributes = Attributes::new(KeyType::Ec(Curve::P256), Usage::SIGN);
/// How they sign.
pub(crate) const ECDSA_SHA_256: Scheme =
    Scheme::Ecdsa { hash: Hash::Sha256, input: Input::Message };

/// What a key obeys, fixed when it is made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct KeyRules {
    /// Once deleted, no copy of the blob works any more.
    pub(crate) rollback_resistance: bool,
    /// Signs only what a person confirmed on the trusted screen.
    pub(crate) confirmation: bool,
}

/// A signature that was begun.
struct Operation {
    session: u32,
    opened: Opened,
    binding: [u8; 32],
    message: Vec<u8>,
}

/// The trusted application.
#[derive(Default)]
pub(crate) struct KeyMintTa {
    operations: BTreeMap<u64, Operation>,
}

impl TrustedApplication for KeyMintTa {
    type Protocol = KeyMint;

    fn begin(
        &mut self,
        context: &mut Context<'_>,
        session: u32,
        command: Command,
    ) -> Result<Step<Self>, TeeError> {
        match command {
            Command::Confirm { blob, text, extra, .. } => confirm(context, &blob, text, extra),
            command => self.invoke(context, session, command).map(Step::Done),
        }
    }

    fn invoke(
        &mut self,
        context: &mut Context<'_>,
        session: u32,
        command: Command,
    ) -> Result<Reply, TeeError> {
        match command {
            Command::FactoryGenerate => factory::generate(context).map(Reply::PublicKey),
            Command::FactoryInstall { chain } => {
                factory::install(context, &chain).map(|()| Reply::Done)
            }
            Command::GenerateKey { params, .. } => generate_key(context, &params),
            Command::DeleteKey { blob } => blob::delete(context, &blob).map(|()| Reply::Done),
            Command::Confirm { .. } => {
                Err(TeeError::BadState("this command asks the person".into()))
            }
            Command::Begin { key: KeySource::Blob(blob), purpose: KeyPurpose::Sign, .. } => {
                self.begin_signature(context, session, &blob)
            }
            Command::Update { operation, input, .. } => {
                Ok(match self.operations.get_mut(&operation).filter(|it| it.session == session) {
                    Some(running) => {
                        running.message.extend_from_slice(&input);
                        Reply::Output(ByteBuf::new())
                    }
                    None => Reply::Refused(ErrorCode::InvalidOperationHandle),
                })
            }
            Command::Finish { operation, input, confirmation, .. } => {
                self.finish(context, session, operation, &input, confirmation.as_ref())
            }
            Command::Abort { operation } => {
                let ours = self
                    .operations
                    .extract_if(operation..=operation, |_, it| it.session == session);
                Ok(match ours.count() {
                    0 => Reply::Refused(ErrorCode::InvalidOperationHandle),
                    _ => Reply::Done,
                })
            }
            Command::DeviceChain => factory::chain(context).map(Reply::Chain),
            _ => Ok(Reply::Refused(ErrorCode::Unimplemented)),
        }
    }

    fn close(&mut self, session: u32) {
        self.operations.retain(|_, it| it.session != session);
    }
}

impl KeyMintTa {
    fn begin_signature(
        &mut self,
        context: &mut Context<'_>,
        session: u32,
        blob: &[u8],
    ) -> Result<Reply, TeeError> {
        if self.operations.len() >= tee_api::keymint::MAX_OPERATIONS {
            return Ok(Reply::Refused(ErrorCode::TooManyOperations));
        }
        let boot_info = context.boot_info()?;
        let opened = blob::open(context, &boot_info, blob)?;
        let operation = u64::from_le_bytes(context.random()?);
        let running = Operation { session, opened, binding: sha256(blob), message: Vec::new() };
        self.operations.insert(operation, running);
        Ok(Reply::Begun(BegunOperation { operation, params: Authorizations::default() }))
    }

    fn finish(
        &mut self,
        context: &mut Context<'_>,
        session: u32,
        operation: u64,
        input: &[u8],
        confirmation: Option<&ByteBuf>,
    ) -> Result<Reply, TeeError> {
        let ours = self.operations.get(&operation).is_some_and(|it| it.session == session);
        let Some(mut running) = self.operations.remove(&operation).filter(|_| ours) else {
            return Ok(Reply::Refused(ErrorCode::InvalidOperationHandle));
        };
        running.message.extend_from_slice(input);
        if running.opened.rules.confirmation {
            let redeemed =
                confirmation.map(|token| context.redeem(&running.message, &running.binding, token));
            match redeemed {
                Some(Ok(())) => {}
                None | Some(Err(TeeError::Denied(_))) => {
                    return Ok(Reply::Refused(ErrorCode::NoUserConfirmation));
                }
                Some(Err(error)) => return Err(error),
            }
        }
        let signature = running.opened.key.sign(context, ECDSA_SHA_256, &running.message)?;
        Ok(Reply::Output(ByteBuf::from(signature)))
    }
}

/// Whether these are the keys that there are so far: ECDSA on P-256 with SHA-256.
fn check(params: &Authorizations) -> Result<(), ErrorCode> {
    if params.algorithm != Some(Algorithm::Ec) {
        return Err(ErrorCode::UnsupportedAlgorithm);
    }
    if params.ec_curve != Some(EcCurve::P256) {
        return Err(ErrorCode::UnsupportedEcCurve);
    }
    if params.purpose != [KeyPurpose::Sign].into() {
        return Err(ErrorCode::UnsupportedPurpose);
    }
    if params.digest != [Digest::Sha2_256].into() {
        return Err(ErrorCode::UnsupportedDigest);
    }
    if !params.no_auth_required {
        return Err(ErrorCode::UnsupportedTag);
    }
    Ok(())
}

fn generate_key(context: &mut Context<'_>, params: &Authorizations) -> Result<Reply, TeeError> {
    if let Err(code) = check(params) {
        return Ok(Reply::Refused(code));
    }
    let rules = KeyRules {
        rollback_resistance: params.rollback_resistance,
        confirmation: params.trusted_confirmation_required,
    };
    let boot_info = context.boot_info()?;
    let key = context.generate_key(SIGNING_KEY)?;
    let public_key = key.public_key(context)?;
    let chain = match &params.attestation_challenge {
        Some(challenge) => attestation::attest(context, &boot_info, &public_key, challenge, rules)?,
        None => vec![],
    };
    let blob = blob::seal(context, &boot_info, &key, rules)?;
    let characteristics = KeyCharacteristics {
        hardware_enforced: params.filtered(|tag| tag.kept() == keymint::Kept::Tee),
        software_enforced: params.filtered(|tag| tag.kept() == keymint::Kept::Keystore),
    };
    Ok(Reply::Key(KeyCreation { blob, characteristics, chain }))
}

/// Asks the person; what they confirm is good for one signature by this key.
fn confirm(
    context: &mut Context<'_>,
    blob: &[u8],
    text: String,
    extra: ByteBuf,
) -> Result<Step<KeyMintTa>, TeeError> {
    let boot_info = context.boot_info()?;
    if !blob::open(context, &boot_info, blob)?.rules.confirmation {
        let said = "this key signs without confirmation: make one that needs it";
        return Err(TeeError::BadParameters(said.into()));
    }
    let transaction = Transaction { text, extra, binding: ByteBuf::from(sha256(blob)) };
    Ok(Step::confirm(transaction, |_, _, confirmation| {
        Ok(Step::Done(Reply::Confirmed(confirmation)))
    }))
}
