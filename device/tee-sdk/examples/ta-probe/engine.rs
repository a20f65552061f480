//! The engine's ways for many messages, for large ones, and for what takes long.

use serde_bytes::ByteBuf;
use tee_sdk::engine::{
    Attributes, Cipher, Curve, Hash, Input, KeyType, Operation, Scheme, Span, Usage,
};
use tee_sdk::{Context, TeeError};

const ECDSA: Scheme = Scheme::Ecdsa { hash: Hash::Sha256, input: Input::Message };
const SIGNING: Attributes =
    Attributes::new(KeyType::Ec(Curve::P256), Usage::SIGN.union(Usage::VERIFY));
const SEALING: Attributes = Attributes::new(KeyType::Aes256, Usage::ENCRYPT.union(Usage::DECRYPT));
const SLOW: Attributes = Attributes::new(KeyType::Rsa3072, Usage::SIGN);

/// Signs as many messages as asked; gives how many signatures verify.
pub(crate) fn sign_all(context: &mut Context<'_>, count: u8) -> Result<usize, TeeError> {
    let key = context.generate_key(SIGNING)?;
    let runs = (0..count).map(|message| key.to_run(Operation::Sign(ECDSA), &[], &[message], None));
    let runs = runs.collect::<Result<_, _>>()?;
    let mut valid = 0;
    for (message, signature) in (0_u8..).zip(context.run_all(runs)?) {
        let verified = key.verify(context, ECDSA, &[message], &signature?);
        valid += usize::from(verified.is_ok());
    }
    Ok(valid)
}

/// The key is the same each time, and so is the nonce: this is a probe.
pub(crate) fn on_memory(
    context: &mut Context<'_>,
    encrypt: bool,
    input: Span,
    output: u32,
) -> Result<usize, TeeError> {
    let key = context.derive_from_huk("memory", &[], SEALING)?;
    let cipher = Cipher::Gcm { nonce: ByteBuf::from([7; 12]), tag_bytes: 16 };
    let operation = if encrypt { Operation::Encrypt(cipher) } else { Operation::Decrypt(cipher) };
    let run = key.to_run(operation, b"with this", &[], None)?;
    context.run_on_memory(run, input, output).map(|bytes| bytes as usize)
}

/// Makes a key that takes long and signs with it.
pub(crate) fn slow_key(context: &mut Context<'_>) -> Result<(), TeeError> {
    let key = context.generate_key(SLOW)?;
    let scheme = Scheme::RsaPkcs1 { hash: Hash::Sha256, input: Input::Message };
    key.sign(context, scheme, b"message").map(drop)
}
