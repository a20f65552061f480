//! Signs with a key that is made once and never leaves the trusted OS.

use tee_sdk::engine::{Attributes, Curve, Hash, Input, KeyType, Scheme, Usage};
use tee_sdk::{Context, TeeError};

const SIGNING_KEY: Attributes = Attributes::new(KeyType::Ec(Curve::P256), Usage::SIGN);
const ECDSA: Scheme = Scheme::Ecdsa { hash: Hash::Sha256, input: Input::Message };

pub(crate) fn sign(context: &mut Context<'_>, message: &[u8]) -> Result<Vec<u8>, TeeError> {
    let key = match context.storage_get_key("signing key")? {
        Some(key) => key,
        None => {
            let key = context.generate_key(SIGNING_KEY)?;
            context.storage_put_key("signing key", &key)?;
            key
        }
    };
    key.sign(context, ECDSA, message)
}
