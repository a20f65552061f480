//! HKDF (RFC 5869): keys from keys. What HMAC does under a key of the token is done in the TEE.

use crate::attributes::Attributes;
use crate::error::{Result, Rv, ensure};
use crate::key::{Algorithm, Key, Operation};
use crate::making::{Maker, Source};
use crate::mechanism::{Hkdf, Salt};
use crate::object::Object;
use crate::soft::SoftKey;
use crypto::hash::Hash;
use cryptoki_sys::*;
use std::sync::Arc;
use zeroize::Zeroizing;

/// The most blocks of output (2.3).
const MAX_BLOCKS: usize = 255;

impl Maker<'_> {
    /// `CKM_HKDF_DERIVE`, from a base that may be derived from. `wanted` is the new key's template,
    /// `length` what it says of its length.
    pub(crate) fn hkdf(
        &self,
        hkdf: &Hkdf,
        base: &Object,
        wanted: Attributes,
        length: Option<usize>,
    ) -> Result<Arc<Object>> {
        let base_is_secret = base.attributes().class() == CKO_SECRET_KEY;
        ensure(base_is_secret, CKR_KEY_TYPE_INCONSISTENT)?;
        let mut key = self.module.key(base)?;
        let mut value = Zeroizing::default();
        if hkdf.extract {
            // What the TEE keeps it can't take as a message.
            let secret = key.value().ok_or(Rv(CKR_KEY_FUNCTION_NOT_PERMITTED))?;
            value = hmac(&*self.salt(hkdf)?, hkdf.hash, secret)?;
            key = soft(hkdf.hash, &value)?;
        }
        if hkdf.expand {
            let length = length.ok_or(Rv(CKR_TEMPLATE_INCOMPLETE))?;
            value = expanded(&*key, hkdf, length)?;
        } else {
            ensure(length.is_none_or(|it| it == value.len()), CKR_TEMPLATE_INCONSISTENT)?;
        }
        self.secret(wanted, &Source::Given(&value))
    }

    fn salt(&self, hkdf: &Hkdf) -> Result<Arc<dyn Key>> {
        match &hkdf.salt {
            // As many zeros as the hash has bytes (2.2).
            Salt::None => soft(hkdf.hash, &vec![0; hkdf.hash.bytes()]),
            Salt::Data(salt) => soft(hkdf.hash, salt),
            Salt::Key(handle) => {
                let invalid = |_| Rv(CKR_MECHANISM_PARAM_INVALID);
                let object = self.module.object(*handle).map_err(invalid)?;
                let attributes = object.attributes();
                let fits = attributes.class() == CKO_SECRET_KEY && attributes.flag(CKA_DERIVE);
                ensure(fits, CKR_MECHANISM_PARAM_INVALID)?;
                self.module.key(&object)
            }
        }
    }
}

/// A key of this process.
fn soft(hash: Hash, value: &[u8]) -> Result<Arc<dyn Key>> {
    Ok(Arc::new(SoftKey::import(Algorithm::Hmac(hash, value.len()), value)?))
}

fn hmac(key: &dyn Key, hash: Hash, message: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
    key.perform(&Operation::Hmac(hash), message)
}

/// HKDF-Expand (2.3).
fn expanded(key: &dyn Key, hkdf: &Hkdf, length: usize) -> Result<Zeroizing<Vec<u8>>> {
    ensure(length <= MAX_BLOCKS * hkdf.hash.bytes(), CKR_KEY_SIZE_RANGE)?;
    let mut value = Zeroizing::new(Vec::with_capacity(length + hkdf.hash.bytes()));
    let mut block = Zeroizing::new(Vec::new());
    for counter in 1..=u8::MAX {
        if value.len() >= length {
            break;
        }
        let message = Zeroizing::new([&block[..], &hkdf.info, &[counter]].concat());
        block = hmac(key, hkdf.hash, &message)?;
        value.extend_from_slice(&block);
    }
    value.truncate(length);
    Ok(value)
}
