//! The commands of KeyMint.

use crate::{attestation, blob, factory};
use serde_bytes::ByteBuf;
use tee_api::keymint::{Command, KeyMint, Reply};
use tee_sdk::engine::{Attributes, Curve, Hash, Input, KeyType, Scheme, Usage};
use tee_sdk::{Context, TeeError, TrustedApplication};

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
            Command::GenerateKey { challenge, rollback_resistance } => {
                generate_key(context, challenge.as_deref(), rollback_resistance)
            }
            Command::DeleteKey { blob } => blob::delete(context, &blob).map(|()| Reply::Done),
            Command::Sign { blob, message, fixed } => {
                sign(context, &blob, &message, fixed).map(Reply::Signature)
            }
            Command::DeviceChain => factory::chain(context).map(Reply::Chain),
        }
    }
}

fn generate_key(
    context: &mut Context<'_>,
    challenge: Option<&Vec<u8>>,
    rollback_resistance: bool,
) -> Result<Reply, TeeError> {
    let boot_info = context.boot_info()?;
    let key = context.generate_key(SIGNING_KEY)?;
    let public_key = key.public_key(context)?;
    let chain = match challenge {
        Some(challenge) => attestation::attest(context, &boot_info, &public_key, challenge)?,
        None => Vec::new(),
    };
    let kind = if rollback_resistance { blob::Kind::Deletable } else { blob::Kind::Plain };
    let blob = blob::seal(context, &boot_info, &key, kind)?;
    Ok(Reply::Key { blob, public_key: ByteBuf::from(public_key), chain })
}

fn sign(
    context: &mut Context<'_>,
    blob: &[u8],
    message: &[u8],
    fixed: bool,
) -> Result<ByteBuf, TeeError> {
    let boot_info = context.boot_info()?;
    let key = blob::open(context, &boot_info, blob)?;
    let signature = key.sign(context, ECDSA_SHA_256, message)?;
    if !fixed {
        return Ok(ByteBuf::from(signature));
    }
    crypto::ec::to_fixed(crypto::ec::Curve::P256, &signature)
        .map(ByteBuf::from)
        .map_err(|error| TeeError::Resources(error.to_string()))
}
