//! Key objects.

use crate::material::{Material, symmetric_length};
use crate::names::{curve, hash, possible_usage};
use crate::{denied, failed, parameters};
use crypto::secret::Secret;
use tee_api::TeeError;
use tee_api::engine::{Attributes, Derivation, Hash, KeyInfo, KeyType, Origin, Usage};
use zeroize::Zeroizing;

/// A key with what it may be used for. Its bytes are wiped when it goes.
pub struct Key {
    pub(crate) attributes: Attributes,
    pub(crate) origin: Origin,
    /// The TA neither brought its bytes along nor can have them: such a key may wrap others.
    pub(crate) engine_only: bool,
    pub(crate) material: Material,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({:?}, ..)", self.attributes)
    }
}

/// Refuses usages that the type has not, and those that would reveal other keys.
fn check(attributes: Attributes) -> Result<(), TeeError> {
    let Attributes { key_type, usage } = attributes;
    if !possible_usage(key_type).contains(usage) {
        return Err(TeeError::BadParameters(format!("{key_type:?} has no such usage: {usage:?}")));
    }
    let wraps = usage.intersects(Usage::WRAP | Usage::UNWRAP);
    let other = Usage::ENCRYPT | Usage::DECRYPT | Usage::MAC | Usage::VERIFY;
    if wraps && usage.intersects(other) {
        return Err(parameters("a key that wraps others is used for nothing else"));
    }
    Ok(())
}

impl Key {
    /// A fresh key. RSA of 4096 bits takes about a second.
    pub fn generate(attributes: Attributes) -> Result<Self, TeeError> {
        check(attributes)?;
        let material = Material::generate(attributes.key_type)?;
        let engine_only = !attributes.usage.contains(Usage::EXTRACTABLE);
        Ok(Self { attributes, origin: Origin::Generated, engine_only, material })
    }

    /// A key that the TA made or was given: bytes, or PKCS#8 of a key pair.
    pub fn import(attributes: Attributes, material: &[u8]) -> Result<Self, TeeError> {
        check(attributes)?;
        let material = Material::parse(attributes.key_type, material)?;
        Ok(Self { attributes, origin: Origin::Imported, engine_only: false, material })
    }

    /// A symmetric key that expands from `root`, which belongs to these attributes alone.
    pub(crate) fn expand(attributes: Attributes, root: &Secret<32>) -> Result<Self, TeeError> {
        check(attributes)?;
        if attributes.usage.contains(Usage::EXTRACTABLE) {
            return Err(denied("what derives from the HUK is not extractable"));
        }
        let bytes = stretch(attributes.key_type, Hash::Sha256, root.expose(), &[], b"")?;
        Ok(Self::derived(attributes, true, bytes))
    }

    /// The key whose bytes are these, for a MAC that other TAs check too.
    pub(crate) fn shared(attributes: Attributes, bytes: &[u8]) -> Result<Self, TeeError> {
        check(attributes)?;
        Ok(Self::derived(attributes, false, Zeroizing::new(bytes.to_vec())))
    }

    /// A key from this one.
    pub fn derive(
        &self,
        derivation: &Derivation,
        attributes: Attributes,
    ) -> Result<Self, TeeError> {
        self.allow(Usage::DERIVE)?;
        check(attributes)?;
        match (derivation, &self.material) {
            (Derivation::Hkdf { hash, salt, info }, Material::Symmetric(secret)) => {
                let extractable = attributes.usage.contains(Usage::EXTRACTABLE);
                if extractable && !self.attributes.usage.contains(Usage::EXTRACTABLE) {
                    return Err(denied("what derives from this key is not extractable"));
                }
                let bytes = stretch(attributes.key_type, *hash, secret, salt, info)?;
                // The same bytes may serve another usage, which may tell them.
                Ok(Self::derived(attributes, false, bytes))
            }
            (Derivation::Agree { peer }, material) => {
                let secret = agree(material, peer)?;
                if attributes.key_type != (KeyType::Secret { bytes: secret.len() as u16 }) {
                    return Err(parameters("an agreement gives a secret of the curve's length"));
                }
                Ok(Self::derived(attributes, false, secret))
            }
            _ => Err(parameters("the key does not derive in this way")),
        }
    }

    const fn derived(attributes: Attributes, engine_only: bool, bytes: Zeroizing<Vec<u8>>) -> Self {
        let material = Material::Symmetric(bytes);
        Self { attributes, origin: Origin::Derived, engine_only, material }
    }

    /// Type, usage, origin.
    #[must_use]
    pub const fn info(&self) -> KeyInfo {
        KeyInfo { attributes: self.attributes, origin: self.origin }
    }

    /// The public half of a key pair: SubjectPublicKeyInfo, of ML-DSA the raw key.
    pub fn public(&self) -> Result<Vec<u8>, TeeError> {
        crate::public::encode(self)
    }

    /// The bytes, where the key is extractable.
    pub fn export(&self) -> Result<Zeroizing<Vec<u8>>, TeeError> {
        self.allow(Usage::EXTRACTABLE)?;
        self.material.to_bytes()
    }

    /// Refuses a use that was not declared.
    pub(crate) fn allow(&self, usage: Usage) -> Result<(), TeeError> {
        if self.attributes.usage.contains(usage) {
            return Ok(());
        }
        Err(TeeError::Denied(format!("the key was not made for {usage:?}")))
    }
}

/// HKDF into a key of a symmetric type.
fn stretch(
    key_type: KeyType,
    of: Hash,
    secret: &[u8],
    salt: &[u8],
    info: &[u8],
) -> Result<Zeroizing<Vec<u8>>, TeeError> {
    let length = symmetric_length(key_type)?;
    let length = length.ok_or_else(|| parameters("only symmetric keys derive"))?;
    crypto::kdf::hkdf(hash(of), secret, salt, info, length).map_err(failed)
}

fn agree(own: &Material, peer: &[u8]) -> Result<Zeroizing<Vec<u8>>, TeeError> {
    match own {
        Material::X25519(key) => {
            let from_spki = crypto::curve25519::x25519_from_spki(peer);
            key.agree(from_spki.as_ref().map_or(peer, |bytes| &bytes[..]))
        }
        Material::Ec(key) => {
            let own = key.public().curve();
            crypto::ec::PublicKey::from_spki(peer)
                .or_else(|_| crypto::ec::PublicKey::from_point(own, peer))
                .and_then(|peer| key.agree(&peer))
        }
        _ => return Err(parameters("the key does not agree with others")),
    }
    .map_err(failed)
}

/// The curve of an EC key.
pub(crate) const fn curve_of(key_type: KeyType) -> Option<crypto::ec::Curve> {
    match key_type {
        KeyType::Ec(of) => Some(curve(of)),
        _ => None,
    }
}
