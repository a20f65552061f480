//! What the engine is timed with: one operation after the other, in this process or by handle.

use crate::protocol::{Place, Work};
use serde_bytes::ByteBuf;
use std::collections::BTreeMap;
use tee_sdk::engine::{
    Attributes, Cipher, Curve, Hash, Input, Key, KeyType, Running, Scheme, Usage,
};
use tee_sdk::{Context, TeeError};

/// Bytes of a message.
const MESSAGE_BYTES: usize = 16 * 1024;

/// The keys of the works that ran before.
#[derive(Default)]
pub(crate) struct Worker {
    keys: BTreeMap<(Work, Place), Key>,
}

impl Worker {
    /// Does `work` so many times. The first time, keys are made besides.
    pub(crate) fn run(
        &mut self,
        context: &mut Context<'_>,
        work: Work,
        place: Place,
        times: u32,
    ) -> Result<(), TeeError> {
        let message = vec![0x5a; MESSAGE_BYTES];
        if let Some(attributes) = attributes(work)
            && !self.keys.contains_key(&(work, place))
        {
            let key = match place {
                Place::Here => Key::generate_here(attributes)?,
                Place::ByHandle => context.generate_key(attributes)?,
            };
            self.keys.insert((work, place), key);
        }
        let key = self.keys.get(&(work, place));
        for number in 0..times {
            match key {
                Some(key) => with_key(context, work, key, &message, number)?,
                None => Running::digest(Hash::Sha256)?.finish(context, &message)?,
            };
        }
        Ok(())
    }
}

fn attributes(work: Work) -> Option<Attributes> {
    Some(match work {
        Work::Sha256 => return None,
        Work::HmacSha256 => {
            Attributes::new(KeyType::Hmac { hash: Hash::Sha256, bytes: 32 }, Usage::MAC)
        }
        Work::Aes256Gcm => Attributes::new(KeyType::Aes256, Usage::ENCRYPT),
        Work::EcdsaP256 => Attributes::new(KeyType::Ec(Curve::P256), Usage::SIGN),
        Work::Rsa2048 => Attributes::new(KeyType::Rsa2048, Usage::SIGN),
    })
}

fn with_key(
    context: &mut Context<'_>,
    work: Work,
    key: &Key,
    message: &[u8],
    number: u32,
) -> Result<Vec<u8>, TeeError> {
    let (hash, input, digest) = (Hash::Sha256, Input::Digest, &message[..32]);
    match work {
        Work::Sha256 | Work::HmacSha256 => key.mac(context, message),
        Work::Aes256Gcm => {
            let mut nonce = [0; 12];
            nonce[..4].copy_from_slice(&number.to_be_bytes());
            let cipher = Cipher::Gcm { nonce: ByteBuf::from(nonce), tag_bytes: 16 };
            key.encrypt(context, cipher, message)
        }
        Work::EcdsaP256 => key.sign(context, Scheme::Ecdsa { hash, input }, digest),
        Work::Rsa2048 => key.sign(context, Scheme::RsaPkcs1 { hash, input }, digest),
    }
}
