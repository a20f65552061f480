//! Who manages the element. A new element takes the key that everybody knows; the first identity
//! replaces it by a random one, which is kept in the element itself, in the object where
//! `yubico-piv-tool` and its like look for it: read after the PIN only.

use crate::{Wallet, WalletError};
use iso7816::tlv;
use secure_element::{ManagementKey, ManagementKind, PRINTED, PivError, SecureElement};
use zeroize::Zeroizing;

const PROTECTED: u32 = 0x88;
const KEY: u32 = 0x89;

impl<E: SecureElement> Wallet<E> {
    /// Proves the management key; the PIN was verified. A key that everybody knows is replaced.
    pub(crate) fn manage(&mut self) -> Result<(), WalletError> {
        let kind = self.0.management_kind()?;
        if let Some(key) = self.kept_key(kind)?
            && self.prove(&key)?
        {
            return Ok(());
        }
        if !self.prove(&ManagementKey::of_new_cards())? {
            return Err(WalletError::ForeignManager);
        }
        // Kept first: a key that was set and not kept would be lost.
        let key = ManagementKey::random();
        let kept = tlv::object(PROTECTED, &tlv::object(KEY, key.bytes()));
        self.0.put_object(PRINTED, &Zeroizing::new(kept))?;
        self.0.set_management_key(&key)?;
        Ok(())
    }

    /// The key that lies in the element, where it is of this kind.
    fn kept_key(&mut self, kind: ManagementKind) -> Result<Option<ManagementKey>, WalletError> {
        let Some(object) = self.0.object(PRINTED)? else { return Ok(None) };
        let bytes = tlv::only(&object, PROTECTED).and_then(|it| tlv::only(it, KEY));
        Ok(bytes.ok().and_then(|bytes| ManagementKey::new(kind, bytes)))
    }

    fn prove(&mut self, key: &ManagementKey) -> Result<bool, WalletError> {
        match self.0.authenticate(key) {
            Ok(()) => Ok(true),
            Err(PivError::Refused { .. } | PivError::Impostor) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}
