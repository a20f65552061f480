//! Super-encryption: keys that need the device unlocked lie under keys that exist only while it is.
//!
//! Both derive from what gatekeeper releases for the right PIN, the key of the synthetic password:
//! AES-256 for blobs that come while the device is unlocked, X25519 for those that come while it is
//! locked, whose public half stays. Locking wipes both. A blob that was sealed to the public half
//! is sealed anew under the AES key when it is used first.

use crate::error::Error;
use crate::rows::{Sealed, Sealing};
use crypto::aead;
use crypto::curve25519::X25519;
use crypto::kdf::hkdf_sha256;
use crypto::secret::Secret;
use keystore_client::KeystoreCode;
use zeroize::Zeroizing;

/// Bytes of a public key.
pub(crate) const PUBLIC_BYTES: usize = 32;

/// What seals, as far as it is there.
#[derive(Default)]
pub(crate) struct SuperKeys {
    /// There once the device was unlocked for the first time since it was set up.
    public: Option<[u8; PUBLIC_BYTES]>,
    /// There while the device is unlocked.
    open: Option<Open>,
}

struct Open {
    key: aead::Key,
    private: X25519,
}

impl SuperKeys {
    /// With the public half that was kept.
    pub(crate) fn locked(public: Option<&[u8]>) -> Self {
        Self { public: public.and_then(|bytes| bytes.try_into().ok()), open: None }
    }

    /// The device was unlocked. Gives the public half to keep, where it is a new one.
    pub(crate) fn unlock(
        &mut self,
        synthetic: &Secret<32>,
    ) -> Result<Option<[u8; PUBLIC_BYTES]>, Error> {
        let derive = |label: &str| -> Secret<32> {
            hkdf_sha256(synthetic.expose(), b"holdfast keystore", &[label.as_bytes()])
        };
        let failed = |error: crypto::Error| Error::failed(error.to_string());
        let private = X25519::from_seed(derive("unlock x25519").expose()).map_err(failed)?;
        let public = private.public().map_err(failed)?;
        let key = aead::Key::aes_256_gcm(derive("unlock aes-256").expose());
        self.open = Some(Open { key, private });
        Ok((self.public.replace(public) != Some(public)).then_some(public))
    }

    /// The device was locked.
    pub(crate) fn lock(&mut self) {
        self.open = None;
    }

    /// Refuses where nothing could be sealed.
    pub(crate) fn must_seal(&self) -> Result<(), Error> {
        if self.open.is_some() || self.public.is_some() { Ok(()) } else { Err(no_screen_lock()) }
    }

    /// Seals the blob of the key with this number.
    pub(crate) fn seal(&self, id: u64, blob: &[u8]) -> Result<Sealed, Error> {
        let id = id.to_be_bytes();
        if let Some(Open { key, .. }) = &self.open {
            return Ok(Sealed { sealing: Sealing::Unlock, bytes: key.seal(&id, blob) });
        }
        let public = self.public.ok_or_else(no_screen_lock)?;
        let failed = |error: crypto::Error| Error::failed(error.to_string());
        let ephemeral = X25519::generate().map_err(failed)?;
        let point = ephemeral.public().map_err(failed)?;
        let shared = ephemeral.agree(&public).map_err(failed)?;
        let sealed = agreed(&shared, &point, &public).seal(&id, blob);
        Ok(Sealed { sealing: Sealing::UnlockPublic, bytes: [&point[..], &sealed].concat() })
    }

    /// Opens what [`Self::seal`] gave, or what was never sealed.
    pub(crate) fn open(&self, id: u64, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, Error> {
        let altered = || Error::corrupted("a key that needs the device unlocked");
        let bytes = &sealed.bytes;
        if sealed.sealing == Sealing::None {
            return Ok(Zeroizing::new(bytes.clone()));
        }
        let Open { key, private } = self.open.as_ref().ok_or_else(locked)?;
        let id = id.to_be_bytes();
        let blob = match sealed.sealing {
            Sealing::UnlockPublic => {
                let (point, rest) = bytes.split_first_chunk().ok_or_else(altered)?;
                let point: &[u8; PUBLIC_BYTES] = point;
                let public = private.public().map_err(|_| altered())?;
                let shared = private.agree(point).map_err(|_| altered())?;
                agreed(&shared, point, &public).open(&id, rest)
            }
            _ => key.open(&id, bytes),
        };
        blob.map(Zeroizing::new).map_err(|_| altered())
    }

    /// The same under the AES key, where `sealed` is sealed to the public half.
    pub(crate) fn resealed(&self, id: u64, sealed: &Sealed, blob: &[u8]) -> Option<Sealed> {
        let due = sealed.sealing == Sealing::UnlockPublic && self.open.is_some();
        due.then(|| self.seal(id, blob).ok()).flatten()
    }
}

fn agreed(shared: &[u8], point: &[u8], public: &[u8]) -> aead::Key {
    let key = hkdf_sha256(shared, b"holdfast keystore", &[b"sealed while locked", point, public]);
    aead::Key::aes_256_gcm(key.expose())
}

fn locked() -> Error {
    Error::refused(KeystoreCode::Locked, "this key needs the device unlocked; unlock it")
}

fn no_screen_lock() -> Error {
    let reason = "a key that needs the device unlocked needs a screen lock: set one, and unlock \
                  the device with it once";
    Error::refused(KeystoreCode::NoScreenLock, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unlocked(byte: u8) -> (SuperKeys, [u8; PUBLIC_BYTES]) {
        let mut keys = SuperKeys::default();
        let public = keys.unlock(&Secret::new([byte; 32])).unwrap().unwrap();
        (keys, public)
    }

    #[test]
    fn what_is_made_locked_or_unlocked_opens_unlocked_only() {
        let (mut keys, public) = unlocked(1);
        let symmetric = keys.seal(7, b"blob").unwrap();
        assert_eq!(symmetric.sealing, Sealing::Unlock);
        keys.lock();
        let asymmetric = SuperKeys::locked(Some(&public)).seal(7, b"blob").unwrap();
        assert_eq!(asymmetric.sealing, Sealing::UnlockPublic);
        for sealed in [&symmetric, &asymmetric] {
            assert!(keys.open(7, sealed).unwrap_err().is(KeystoreCode::Locked));
        }
        assert_eq!(keys.unlock(&Secret::new([1; 32])).unwrap(), None);
        for sealed in [&symmetric, &asymmetric] {
            assert_eq!(&keys.open(7, sealed).unwrap()[..], b"blob");
            assert!(keys.open(8, sealed).is_err(), "another key's number");
        }
        let again = keys.resealed(7, &asymmetric, b"blob").unwrap();
        assert_eq!(again.sealing, Sealing::Unlock);
        assert_eq!(keys.resealed(7, &symmetric, b"blob"), None);
    }

    #[test]
    fn each_altered_byte_and_another_synthetic_password_are_refused() {
        let (keys, public) = unlocked(1);
        let (other, _) = unlocked(2);
        for sealed in [
            keys.seal(7, b"blob").unwrap(),
            SuperKeys::locked(Some(&public)).seal(7, b"blob").unwrap(),
        ] {
            assert!(other.open(7, &sealed).is_err());
            for at in 0..sealed.bytes.len() {
                let mut altered = sealed.clone();
                altered.bytes[at] ^= 0x40;
                assert!(keys.open(7, &altered).is_err(), "{at}");
                altered.bytes.truncate(at);
                assert!(keys.open(7, &altered).is_err(), "{at}");
            }
        }
        assert!(SuperKeys::default().seal(7, b"blob").unwrap_err().is(KeystoreCode::NoScreenLock));
    }
}
