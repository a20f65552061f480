//! Transaction confirmation: the person says yes to a text on the trusted screen, and a key that
//! signs nothing else signs it.

use super::{Device, Prompt};
use crate::error::Error;
use serde::Serialize;
use wire::Base64;

/// `POST /v1/confirm`: what anyone can verify who trusts the maker's root.
#[derive(Debug, Clone, Serialize)]
pub struct Confirmed {
    /// CBOR `{"prompt": text, "extra": bytes}`.
    pub message: Base64,
    /// ECDSA over SHA-256 of the message, ASN.1 DER.
    pub signature: Base64,
    /// The certificates of the key that signed, leaf first: the leaf says
    /// `trustedConfirmationRequired`, and its challenge is SHA-256 of the extra data.
    pub chain: Vec<Base64>,
}

impl Device {
    /// Asks the person to confirm `text`; `extra` goes with it unseen. Blocks until they answered.
    pub fn confirm(&self, text: &str, extra: &[u8]) -> Result<Confirmed, Error> {
        self.refuse_if_erased()?;
        self.prompting(Prompt::Confirm, || {
            let challenge = crypto::digest::sha256(extra);
            let (blob, chain) = self.tee.confirmation_key(&challenge)?;
            let given = self.tee.confirm(&blob, text, extra)?;
            let signature = self.tee.sign_confirmed(&blob, &given)?;
            Ok(Confirmed {
                message: Base64(given.message.into_vec()),
                signature: Base64(signature),
                chain: chain.into_iter().map(Base64).collect(),
            })
        })
    }
}
