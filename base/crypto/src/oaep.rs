//! RSA-OAEP with SHA-256 and MGF1-SHA-256 (RFC 8017, 7.1): wraps a key under an RSA key.

use crate::Error;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{
    KeySize, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, OaepPublicEncryptingKey,
    PrivateDecryptingKey,
};
use zeroize::Zeroizing;

/// An RSA key that wraps and unwraps other keys, and does nothing else.
pub struct WrappingKey {
    private: OaepPrivateDecryptingKey,
    public: OaepPublicEncryptingKey,
    pkcs8: Zeroizing<Vec<u8>>,
}

impl WrappingKey {
    /// A fresh key of 4096 bits; takes about a second.
    pub fn generate() -> Result<Self, Error> {
        let key = PrivateDecryptingKey::generate(KeySize::Rsa4096).map_err(|_| Error::Internal)?;
        let pkcs8: Pkcs8V1Der<'_> = key.as_der().map_err(|_| Error::Internal)?;
        Self::from_pkcs8(pkcs8.as_ref())
    }

    /// From PKCS#8 DER (RFC 5958).
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, Error> {
        let key = PrivateDecryptingKey::from_pkcs8(der).map_err(|_| Error::MalformedKey)?;
        let public =
            OaepPublicEncryptingKey::new(key.public_key()).map_err(|_| Error::MalformedKey)?;
        let private = OaepPrivateDecryptingKey::new(key).map_err(|_| Error::MalformedKey)?;
        Ok(Self { private, public, pkcs8: Zeroizing::new(der.to_vec()) })
    }

    /// The private key as PKCS#8 DER.
    #[must_use]
    pub fn to_pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// Bits of the modulus.
    #[must_use]
    pub fn bits(&self) -> usize {
        self.public.key_size_bits()
    }

    /// Wraps `secret`, of up to 446 bytes under a 4096-bit key.
    pub fn wrap(&self, secret: &[u8]) -> Result<Vec<u8>, Error> {
        let mut out = vec![0; self.public.ciphertext_size()];
        let wrapped = self
            .public
            .encrypt(&OAEP_SHA256_MGF1SHA256, secret, &mut out, None)
            .map_err(|_| Error::Internal)?;
        Ok(wrapped.to_vec())
    }

    /// Unwraps what [`WrappingKey::wrap`] made.
    pub fn unwrap(&self, wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        let mut out = Zeroizing::new(vec![0; self.private.min_output_size()]);
        let length = self
            .private
            .decrypt(&OAEP_SHA256_MGF1SHA256, wrapped, &mut out, None)
            .map_err(|_| Error::Authentication)?
            .len();
        out.truncate(length);
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unwraps_what_it_wrapped_and_nothing_else() {
        let key = WrappingKey::generate().unwrap();
        let again = WrappingKey::from_pkcs8(key.to_pkcs8()).unwrap();
        let wrapped = key.wrap(b"thirty-two bytes of a master key").unwrap();
        assert_eq!((key.bits(), wrapped.len()), (4096, 512));
        assert_eq!(&again.unwrap(&wrapped).unwrap()[..], b"thirty-two bytes of a master key");
        for at in [0, 255, 511] {
            let mut altered = wrapped.clone();
            altered[at] ^= 1;
            assert_eq!(again.unwrap(&altered).err(), Some(Error::Authentication));
        }
        assert!(key.wrap(&[0; 447]).is_err());
    }
}
