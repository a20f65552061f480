//! The commands of KeyMint.

use crate::blob::Opened;
use crate::{attestation, blob, factory};
use crypto::digest::sha256;
use serde_bytes::ByteBuf;
use tee_api::keymint::{Command, KeyMint, KeyRules, Reply};
use tee_api::ui::not_confirmed;
use tee_sdk::engine::{Attributes, Curve, Hash, Input, KeyType, Scheme, Usage};
use tee_sdk::{Context, Step, TeeError, Transaction, TrustedApplication};

/// What callers' keys and the device's own are.
pub(crate) const SIGNING_KEY: Attributes = Attributes::new(KeyType::Ec(Curve::P256), Usage::SIGN);
/// How they sign.
pub(crate) const ECDSA_SHA_256: Scheme =
    Scheme::Ecdsa { hash: Hash::Sha256, input: Input::Message };

/// The trusted application. It keeps nothing between commands.
#[derive(Debug, Default)]
pub(crate) struct KeyMintTa;

impl TrustedApplication for KeyMintTa {
    type Protocol = KeyMint;

    fn begin(
        &mut self,
        context: &mut Context<'_>,
        session: u32,
        command: Command,
    ) -> Result<Step<Self>, TeeError> {
        match command {
            Command::Confirm { blob, text, extra } => confirm(context, &blob, text, extra),
            command => self.invoke(context, session, command).map(Step::Done),
        }
    }

    fn invoke(
        &mut self,
        context: &mut Context<'_>,
        _session: u32,
        command: Command,
    ) -> Result<Reply, TeeError> {
        match command {
            Command::FactoryGenerate => factory::generate(context).map(Reply::PublicKey),
            Command::FactoryInstall { chain } => {
                factory::install(context, &chain).map(|()| Reply::Done)
            }
            Command::GenerateKey { challenge, rules } => {
                generate_key(context, challenge.as_deref(), rules)
            }
            Command::DeleteKey { blob } => blob::delete(context, &blob).map(|()| Reply::Done),
            Command::Confirm { .. } => {
                Err(TeeError::BadState("this command asks the person".into()))
            }
            Command::Sign { blob, message, fixed, confirmation } => {
                let token = confirmation.as_deref().map(Vec::as_slice);
                sign(context, &blob, &message, fixed, token).map(Reply::Signature)
            }
            Command::DeviceChain => factory::chain(context).map(Reply::Chain),
        }
    }
}

fn generate_key(
    context: &mut Context<'_>,
    challenge: Option<&Vec<u8>>,
    rules: KeyRules,
) -> Result<Reply, TeeError> {
    let boot_info = context.boot_info()?;
    let key = context.generate_key(SIGNING_KEY)?;
    let public_key = key.public_key(context)?;
    let chain = match challenge {
        Some(challenge) => attestation::attest(context, &boot_info, &public_key, challenge, rules)?,
        None => Vec::new(),
    };
    let blob = blob::seal(context, &boot_info, &key, rules)?;
    Ok(Reply::Key { blob, public_key: ByteBuf::from(public_key), chain })
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

fn sign(
    context: &mut Context<'_>,
    blob: &[u8],
    message: &[u8],
    fixed: bool,
    confirmation: Option<&[u8]>,
) -> Result<ByteBuf, TeeError> {
    let boot_info = context.boot_info()?;
    let Opened { key, rules } = blob::open(context, &boot_info, blob)?;
    if rules.confirmation {
        let token = confirmation.ok_or_else(not_confirmed)?;
        context.redeem(message, &sha256(blob), token)?;
    }
    let signature = key.sign(context, ECDSA_SHA_256, message)?;
    if !fixed {
        return Ok(ByteBuf::from(signature));
    }
    crypto::ec::to_fixed(crypto::ec::Curve::P256, &signature)
        .map(ByteBuf::from)
        .map_err(|error| TeeError::Resources(error.to_string()))
}
