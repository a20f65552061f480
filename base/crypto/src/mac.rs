//! HMAC-SHA-256 (RFC 2104).

use crate::Error;
use aws_lc_rs::hmac;

/// HMAC-SHA-256 over the concatenation of `parts`.
#[must_use]
pub fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    for part in parts {
        context.update(part);
    }
    context.sign().as_ref().try_into().expect("HMAC-SHA-256 gives 32 bytes")
}

/// Checks `tag` against the HMAC over the concatenation of `parts`, in constant time.
pub fn verify_hmac_sha256(key: &[u8], parts: &[&[u8]], tag: &[u8]) -> Result<(), Error> {
    if crate::constant_time_eq(&hmac_sha256(key, parts), tag) {
        Ok(())
    } else {
        Err(Error::Authentication)
    }
}

/// A key that is expanded once and used for many messages.
#[derive(Clone)]
pub struct HmacSha256(hmac::Key);

impl HmacSha256 {
    /// Expands `key`.
    #[must_use]
    pub fn new(key: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The tag over the concatenation of `parts`.
    #[must_use]
    pub fn tag(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(part);
        }
        context.sign().as_ref().try_into().expect("HMAC-SHA-256 gives 32 bytes")
    }
}
