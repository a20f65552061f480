//! Keys go out and come in under other keys, and two keys agree on a third.

use crate::attributes::Attributes;
use crate::error::{Result, Rv, ensure, fail};
use crate::key::{Algorithm, Operation};
use crate::key_wrap;
use crate::keyforms::{self, PublicKey};
use crate::making::{Maker, Source, Template};
use crate::mechanism::{Kdf, Mechanism, Parameters, Scheme};
use crate::object::{Object, usable};
use crate::operation::Active;
use crate::schemes;
use crypto::cipher::Direction;
use crypto::ec;
use crypto::hash::{Hash, Hasher};
use crypto::rsa::{self, Floor};
use cryptoki_sys::*;
use std::sync::Arc;
use zeroize::Zeroizing;

/// The most bytes of a wrapped key.
const MAX_WRAPPED_BYTES: usize = 8192;

impl Maker<'_> {
    /// `C_WrapKey`: only what may leave leaves.
    pub(crate) fn wrap(
        &self,
        mechanism: &Mechanism,
        wrapping: &Object,
        object: &Object,
    ) -> Result<Vec<u8>> {
        let scheme = mechanism.scheme(CKF_WRAP)?;
        let attributes = wrapping.attributes();
        usable(&attributes, CKA_WRAP, mechanism.entry).map_err(as_wrapping_key)?;
        let secret = object.attributes();
        let is_secret = matches!(secret.class(), CKO_PRIVATE_KEY | CKO_SECRET_KEY);
        ensure(is_secret, CKR_KEY_NOT_WRAPPABLE)?;
        ensure(secret.flag(CKA_EXTRACTABLE), CKR_KEY_UNEXTRACTABLE)?;
        // No key here is trusted.
        ensure(!secret.flag(CKA_WRAP_WITH_TRUSTED), CKR_KEY_NOT_WRAPPABLE)?;
        let key = self.module.key(object)?;
        let value = key.value().ok_or(Rv(CKR_KEY_UNEXTRACTABLE))?;
        if attributes.class() == CKO_PUBLIC_KEY {
            let public = PublicKey::from_attributes(&attributes)?;
            return whole(schemes::encrypt(mechanism, public)?, value).map_err(too_long);
        }
        let wrapping = self.module.key(wrapping)?;
        match scheme {
            Scheme::KeyWrap { padded } => key_wrap::wrap(&*wrapping, padded, value),
            _ => whole(schemes::cipher(mechanism, Direction::Encrypt, &*wrapping)?, value),
        }
    }

    /// `C_UnwrapKey`. The key passes through this process on its way.
    pub(crate) fn unwrap(
        &self,
        mechanism: &Mechanism,
        unwrapping: &Object,
        wrapped: &[u8],
        template: Template,
    ) -> Result<Arc<Object>> {
        let scheme = mechanism.scheme(CKF_UNWRAP)?;
        let attributes = unwrapping.attributes();
        usable(&attributes, CKA_UNWRAP, mechanism.entry).map_err(as_unwrapping_key)?;
        refuse_each_time(&attributes)?;
        ensure(wrapped.len() <= MAX_WRAPPED_BYTES, CKR_WRAPPED_KEY_LEN_RANGE)?;
        let key = self.module.key(unwrapping)?;
        let value = match scheme {
            Scheme::KeyWrap { padded } => key_wrap::unwrap(&*key, padded, wrapped)?,
            _ => {
                let active = if attributes.class() == CKO_PRIVATE_KEY {
                    schemes::decrypt(mechanism, &attributes, key)?
                } else {
                    schemes::cipher(mechanism, Direction::Decrypt, &*key)?
                };
                Zeroizing::new(whole(active, wrapped).map_err(as_wrapped)?)
            }
        };
        self.unwrapped(template, &value)
    }

    fn unwrapped(&self, template: Template, value: &[u8]) -> Result<Arc<Object>> {
        let mut attributes = Attributes::from_template(template)?;
        attributes.refuse_read_only()?;
        ensure(attributes.get(CKA_VALUE).is_none(), CKR_TEMPLATE_INCONSISTENT)?;
        attributes.due(CKA_KEY_TYPE)?;
        match attributes.due_number(CKA_CLASS)? {
            CKO_SECRET_KEY => self.secret(attributes, &Source::Given(value)),
            CKO_PRIVATE_KEY => {
                let algorithm = private_key(attributes.key_type(), value)?;
                attributes.complete(CKO_PRIVATE_KEY)?;
                if let Some(params) = keyforms::params(algorithm) {
                    attributes.set(CKA_EC_PARAMS, params);
                }
                self.key(attributes, algorithm, &Source::Given(value))
            }
            _ => fail(CKR_TEMPLATE_INCONSISTENT),
        }
    }

    /// `C_DeriveKey`.
    pub(crate) fn derive(
        &self,
        mechanism: &Mechanism,
        base: &Object,
        template: Template,
    ) -> Result<Arc<Object>> {
        mechanism.scheme(CKF_DERIVE)?;
        let attributes = base.attributes();
        usable(&attributes, CKA_DERIVE, mechanism.entry)?;
        refuse_each_time(&attributes)?;
        let mut wanted = Attributes::from_template(template)?;
        wanted.refuse_read_only()?;
        ensure(wanted.get(CKA_VALUE).is_none(), CKR_TEMPLATE_INCONSISTENT)?;
        if wanted.get(CKA_KEY_TYPE).is_none() {
            wanted.set_number(CKA_KEY_TYPE, CKK_GENERIC_SECRET);
        }
        let length = length_wanted(&wanted)?;
        match &mechanism.parameters {
            Parameters::Agree { kdf, shared, point } => {
                ensure(attributes.class() == CKO_PRIVATE_KEY, CKR_KEY_TYPE_INCONSISTENT)?;
                let agreed = self.agreed(base, &attributes, point)?;
                let value = match kdf {
                    Kdf::Null => leading_cut(&agreed, length.unwrap_or(agreed.len()))?,
                    Kdf::X963(hash) => {
                        x963(*hash, &agreed, shared, length.ok_or(Rv(CKR_TEMPLATE_INCOMPLETE))?)
                    }
                };
                self.secret(wanted, &Source::Given(&value))
            }
            Parameters::Hkdf(hkdf) => self.hkdf(hkdf, base, wanted, length),
            _ => fail(CKR_MECHANISM_PARAM_INVALID),
        }
    }

    /// What the base agrees on with a peer's point.
    fn agreed(
        &self,
        base: &Object,
        attributes: &Attributes,
        point: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>> {
        let algorithm = keyforms::algorithm(attributes)?;
        let peer = PublicKey::from_point(algorithm, point)
            .and_then(|peer| peer.to_spki())
            .map_err(|_| Rv(CKR_MECHANISM_PARAM_INVALID))?;
        self.module.key(base)?.perform(&Operation::Agree, &peer)
    }
}

/// A login for each use goes with operations alone.
fn refuse_each_time(attributes: &Attributes) -> Result<()> {
    ensure(!attributes.flag(CKA_ALWAYS_AUTHENTICATE), CKR_KEY_FUNCTION_NOT_PERMITTED)
}

/// The length of a derived key, where the template or the key's type says it.
fn length_wanted(wanted: &Attributes) -> Result<Option<usize>> {
    if let Some(bytes) = wanted.number(CKA_VALUE_LEN) {
        ensure((1..=512).contains(&bytes), CKR_KEY_SIZE_RANGE)?;
        return Ok(Some(bytes as usize));
    }
    Ok((wanted.key_type() == CKK_DES3).then_some(24))
}

/// What is too much is taken away in front (2.3.8 of the mechanisms).
fn leading_cut(agreed: &[u8], length: usize) -> Result<Zeroizing<Vec<u8>>> {
    let from = agreed.len().checked_sub(length).ok_or(Rv(CKR_KEY_SIZE_RANGE))?;
    Ok(Zeroizing::new(agreed[from..].to_vec()))
}

/// The derivation of ANSI X9.63 (SEC 1, 3.6.1).
fn x963(hash: Hash, agreed: &[u8], shared: &[u8], length: usize) -> Zeroizing<Vec<u8>> {
    let mut value = Zeroizing::new(Vec::with_capacity(length + hash.bytes()));
    for counter in 1u32.. {
        if value.len() >= length {
            break;
        }
        let mut hasher = Hasher::new(hash);
        for part in [agreed, &counter.to_be_bytes(), shared] {
            hasher.update(part);
        }
        value.extend_from_slice(&hasher.finish());
    }
    value.truncate(length);
    value
}

/// The algorithm of a private key in PKCS #8.
fn private_key(key_type: CK_KEY_TYPE, pkcs8: &[u8]) -> Result<Algorithm> {
    let invalid = |_| Rv(CKR_WRAPPED_KEY_INVALID);
    Ok(match key_type {
        CKK_RSA => {
            let key = rsa::PrivateKey::from_pkcs8(pkcs8, Floor::Legacy1024).map_err(invalid)?;
            Algorithm::Rsa(key.public().bits())
        }
        CKK_EC => {
            Algorithm::Ec(ec::PrivateKey::from_pkcs8(pkcs8).map_err(invalid)?.public().curve())
        }
        CKK_EC_EDWARDS => Algorithm::Ed25519,
        CKK_EC_MONTGOMERY => Algorithm::X25519,
        _ => return fail(CKR_TEMPLATE_INCONSISTENT),
    })
}

/// A whole message through an operation.
fn whole(active: Active, message: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    active.into_stream().ok_or(Rv(CKR_GENERAL_ERROR))?.finish(message, &mut out)?;
    Ok(out)
}

/// The codes for a wrapping key are others than those for a key.
const fn as_wrapping_key(error: Rv) -> Rv {
    Rv(match error.0 {
        CKR_KEY_HANDLE_INVALID => CKR_WRAPPING_KEY_HANDLE_INVALID,
        CKR_KEY_TYPE_INCONSISTENT => CKR_WRAPPING_KEY_TYPE_INCONSISTENT,
        code => code,
    })
}

const fn as_unwrapping_key(error: Rv) -> Rv {
    Rv(match error.0 {
        CKR_KEY_HANDLE_INVALID => CKR_UNWRAPPING_KEY_HANDLE_INVALID,
        CKR_KEY_TYPE_INCONSISTENT => CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT,
        code => code,
    })
}

const fn as_wrapped(error: Rv) -> Rv {
    Rv(match error.0 {
        CKR_ENCRYPTED_DATA_INVALID => CKR_WRAPPED_KEY_INVALID,
        CKR_ENCRYPTED_DATA_LEN_RANGE | CKR_DATA_LEN_RANGE => CKR_WRAPPED_KEY_LEN_RANGE,
        code => code,
    })
}

const fn too_long(error: Rv) -> Rv {
    Rv(if error.0 == CKR_DATA_LEN_RANGE { CKR_KEY_SIZE_RANGE } else { error.0 })
}
