//! What a session keeps while messages under one key come and go, and what comes with each.

use crate::attributes::Attributes;
use crate::border::{array, place};
use crate::error::{Result, Rv, ensure, fail};
use crate::key::Key;
use crate::mechanism::Mechanism;
use cryptoki_sys::*;
use std::sync::Arc;

/// Bytes of a nonce: others are hashed to the counter, where two may meet.
const IV_BYTES: usize = 12;
/// The most bits of a nonce that are the caller's while the rest is random: 64 random ones keep two
/// from meeting.
const MAX_FIXED_BITS: CK_ULONG = 32;

const INVALID: CK_RV = CKR_MECHANISM_PARAM_INVALID;

/// Messages are sealed, or opened.
pub(crate) struct Sealing {
    pub(crate) key: Arc<dyn Key>,
}

/// Messages are signed, or signatures verified.
pub(crate) struct Signing {
    pub(crate) mechanism: Mechanism,
    pub(crate) attributes: Arc<Attributes>,
    /// `None`: the public key in the attributes.
    pub(crate) key: Option<Arc<dyn Key>>,
}

/// What comes with a message for AES-GCM: `CK_GCM_MESSAGE_PARAMS`, looked at.
pub(crate) struct Message<'a> {
    params: &'a mut CK_GCM_MESSAGE_PARAMS,
}

impl Message<'_> {
    /// # Safety
    /// `at` is null or points to so many bytes: the structure, whose pointers are null or have room
    /// for what it says.
    pub(crate) unsafe fn read(at: *mut std::ffi::c_void, length: CK_ULONG) -> Result<Self> {
        ensure(length as usize == size_of::<CK_GCM_MESSAGE_PARAMS>(), INVALID)?;
        // SAFETY: the caller's promise.
        let params = unsafe { place(at.cast::<CK_GCM_MESSAGE_PARAMS>()) };
        let params = params.map_err(|_| Rv(INVALID))?;
        let tag_bytes = params.ulTagBits / 8;
        ensure(params.ulTagBits.is_multiple_of(8) && (12..=16).contains(&tag_bytes), INVALID)?;
        ensure(params.ulIvLen as usize == IV_BYTES, INVALID)?;
        ensure(!params.pIv.is_null() && !params.pTag.is_null(), INVALID)?;
        Ok(Self { params })
    }

    /// Bytes of the tag.
    pub(crate) const fn tag_bytes(&self) -> usize {
        (self.params.ulTagBits / 8) as usize
    }

    /// The nonce that the caller brings.
    pub(crate) fn iv(&self) -> Result<&[u8]> {
        // SAFETY: `read` saw length and pointer; the rest is its promise.
        unsafe { array(self.params.pIv, IV_BYTES as CK_ULONG, IV_BYTES) }
    }

    /// The tag that the caller brings.
    pub(crate) fn tag(&self) -> Result<&[u8]> {
        // SAFETY: as before.
        unsafe { array(self.params.pTag, self.tag_bytes() as CK_ULONG, self.tag_bytes()) }
    }

    /// The nonce of a message to seal. Counters are not kept: another session with the same key
    /// would count the same.
    pub(crate) fn fresh_iv(&self) -> Result<[u8; IV_BYTES]> {
        let mut iv: [u8; IV_BYTES] = self.iv()?.try_into().map_err(|_| Rv(INVALID))?;
        match self.params.ivGenerator {
            CKG_NO_GENERATE => Ok(iv),
            CKG_GENERATE | CKG_GENERATE_RANDOM => {
                let fixed = self.params.ulIvFixedBits;
                ensure(fixed <= MAX_FIXED_BITS && fixed.is_multiple_of(8), INVALID)?;
                crypto::random(&mut iv[(fixed / 8) as usize..]);
                Ok(iv)
            }
            _ => fail(INVALID),
        }
    }

    /// Tells nonce and tag of a message that was sealed.
    pub(crate) fn write(&mut self, iv: &[u8; IV_BYTES], tag: &[u8]) -> Result<()> {
        ensure(tag.len() == self.tag_bytes(), CKR_DEVICE_ERROR)?;
        // SAFETY: `read` saw that there is room for both.
        unsafe {
            std::ptr::copy(iv.as_ptr(), self.params.pIv, iv.len());
            std::ptr::copy(tag.as_ptr(), self.params.pTag, tag.len());
        }
        Ok(())
    }
}
