//! AWS-LC's C interface, where its Rust one does not reach: run-time choice of algorithms,
//! streaming AEAD, RSA below 2048 bits and without padding, 3DES, P-224.
//!
//! Everything unsafe of this crate is here and in the calls of its users: what AWS-LC allocates
//! is owned by [`Owned`] and freed once; a failed call is an [`Error`], and leaves nothing in the
//! thread's error queue.

use crate::Error;
use aws_lc_sys as ffi;
use std::ffi::c_int;
use std::ptr::{self, NonNull};
use zeroize::Zeroizing;

/// What AWS-LC allocates and frees.
pub(crate) trait Foreign {
    /// Frees what was allocated.
    ///
    /// # Safety
    /// `this` was allocated by AWS-LC, is valid, and is not used afterwards.
    unsafe fn free(this: *mut Self);
}

macro_rules! foreign {
    ($($kind:ident $free:ident),* $(,)?) => {$(
        impl Foreign for ffi::$kind {
            unsafe fn free(this: *mut Self) {
                // SAFETY: as the caller promises.
                unsafe { ffi::$free(this) }
            }
        }
    )*};
}

foreign!(
    EVP_CIPHER_CTX EVP_CIPHER_CTX_free,
    EVP_MD_CTX EVP_MD_CTX_free,
    HMAC_CTX HMAC_CTX_free,
    CMAC_CTX CMAC_CTX_free,
    EVP_PKEY EVP_PKEY_free,
    EVP_PKEY_CTX EVP_PKEY_CTX_free,
    RSA RSA_free,
    EC_KEY EC_KEY_free,
    EC_POINT EC_POINT_free,
    BIGNUM BN_clear_free,
    BN_CTX BN_CTX_free,
);

/// Owns a value that AWS-LC allocated.
pub(crate) struct Owned<T: Foreign>(NonNull<T>);

impl<T: Foreign> Owned<T> {
    /// Takes over what a constructor gave; null is its failure.
    ///
    /// # Safety
    /// `pointer` is null, or a fresh value that nobody else frees.
    pub(crate) unsafe fn new(pointer: *mut T) -> Result<Self, Error> {
        NonNull::new(pointer).map(Self).ok_or_else(failed)
    }

    /// For calls that read or change the value.
    pub(crate) const fn as_ptr(&self) -> *mut T {
        self.0.as_ptr()
    }
}

impl<T: Foreign> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: `new` took the only owner over, and nobody uses it after its owner is gone.
        unsafe { T::free(self.0.as_ptr()) }
    }
}

// SAFETY: AWS-LC's objects may move between threads; only concurrent changes are forbidden, and
// those need `&mut` or a context that one thread makes for one call.
unsafe impl<T: Foreign> Send for Owned<T> {}
// SAFETY: what is shared is keys, which AWS-LC locks internally where it caches (RSA blinding).
// Contexts are changed through `&mut` only.
unsafe impl<T: Foreign> Sync for Owned<T> {}

/// The error of a call that failed; empties the thread's error queue.
pub(crate) fn failed() -> Error {
    // SAFETY: touches the queue of this thread only.
    unsafe { ffi::ERR_clear_error() };
    Error::Internal
}

/// 1 is success.
pub(crate) fn check(outcome: c_int) -> Result<(), Error> {
    if outcome == 1 { Ok(()) } else { Err(failed()) }
}

/// An empty slice's pointer may dangle; C wants null or something that it may look at.
pub(crate) const fn pointer(bytes: &[u8]) -> *const u8 {
    if bytes.is_empty() { ptr::null() } else { bytes.as_ptr() }
}

/// As C's lengths of one call: below 2 GiB.
pub(crate) fn length(bytes: &[u8]) -> Result<c_int, Error> {
    c_int::try_from(bytes.len()).map_err(|_| Error::Length)
}

/// A big-endian number.
pub(crate) fn number(bytes: &[u8]) -> Result<Owned<ffi::BIGNUM>, Error> {
    // SAFETY: reads the slice; null asks for a fresh number.
    unsafe { Owned::new(ffi::BN_bin2bn(pointer(bytes), bytes.len(), ptr::null_mut())) }
}

/// The big-endian form of a number.
///
/// # Safety
/// `number` is valid.
pub(crate) unsafe fn to_bytes(number: *const ffi::BIGNUM) -> Zeroizing<Vec<u8>> {
    // SAFETY: as the caller promises; the buffer has the length that the number asks for.
    unsafe {
        let mut out = Zeroizing::new(vec![0; ffi::BN_num_bytes(number) as usize]);
        ffi::BN_bn2bin(number, out.as_mut_ptr());
        out
    }
}

/// Runs an output call that tells its length first: `call(null, &mut n)`, then into a buffer.
pub(crate) fn two_calls(
    mut call: impl FnMut(*mut u8, *mut usize) -> c_int,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut length = 0;
    check(call(ptr::null_mut(), &raw mut length))?;
    let mut out = Zeroizing::new(vec![0; length]);
    check(call(out.as_mut_ptr(), &raw mut length))?;
    out.truncate(length);
    Ok(out)
}

/// A key pair or a public key of any kind.
pub(crate) type Key = Owned<ffi::EVP_PKEY>;

/// Parses a DER key that fills `der` wholly.
fn parse(
    der: &[u8],
    with: unsafe extern "C" fn(*mut ffi::CBS) -> *mut ffi::EVP_PKEY,
) -> Result<Key, Error> {
    let mut reader = ffi::CBS { data: pointer(der), len: der.len() };
    // SAFETY: the reader stays inside `der`, which outlives the call.
    let key = unsafe { Owned::new(with(&raw mut reader)) }.map_err(|_| Error::MalformedKey)?;
    if reader.len == 0 { Ok(key) } else { Err(Error::MalformedKey) }
}

/// From PKCS#8 DER (RFC 5958).
pub(crate) fn parse_pkcs8(der: &[u8]) -> Result<Key, Error> {
    parse(der, ffi::EVP_parse_private_key)
}

/// From SubjectPublicKeyInfo DER (RFC 5280).
pub(crate) fn parse_spki(der: &[u8]) -> Result<Key, Error> {
    parse(der, ffi::EVP_parse_public_key)
}

/// Writes a key as DER.
fn marshal(
    key: &Key,
    with: unsafe extern "C" fn(*mut ffi::CBB, *const ffi::EVP_PKEY) -> c_int,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut writer = std::mem::MaybeUninit::<ffi::CBB>::uninit();
    // SAFETY: the writer is initialised before its use; it is cleaned up on failure, and what it
    // gives on success is copied, wiped and freed.
    unsafe {
        check(ffi::CBB_init(writer.as_mut_ptr(), 256))?;
        let (mut data, mut length) = (ptr::null_mut(), 0);
        let written = with(writer.as_mut_ptr(), key.as_ptr()) == 1
            && ffi::CBB_finish(writer.as_mut_ptr(), &raw mut data, &raw mut length) == 1;
        if !written {
            ffi::CBB_cleanup(writer.as_mut_ptr());
            return Err(failed());
        }
        let out = Zeroizing::new(std::slice::from_raw_parts(data, length).to_vec());
        // AWS-LC wipes what it frees.
        ffi::OPENSSL_free(data.cast());
        Ok(out)
    }
}

/// As PKCS#8 DER.
pub(crate) fn to_pkcs8(key: &Key) -> Result<Zeroizing<Vec<u8>>, Error> {
    marshal(key, ffi::EVP_marshal_private_key)
}

/// As SubjectPublicKeyInfo DER.
pub(crate) fn to_spki(key: &Key) -> Result<Vec<u8>, Error> {
    marshal(key, ffi::EVP_marshal_public_key).map(|mut der| std::mem::take(&mut *der))
}

/// The kind of key: `EVP_PKEY_RSA` and so on.
pub(crate) fn kind(key: &Key) -> c_int {
    // SAFETY: the key is valid.
    unsafe { ffi::EVP_PKEY_id(key.as_ptr()) }
}

/// An operation with a key.
pub(crate) fn operation(key: &Key) -> Result<Owned<ffi::EVP_PKEY_CTX>, Error> {
    // SAFETY: the context takes a reference to the key.
    unsafe { Owned::new(ffi::EVP_PKEY_CTX_new(key.as_ptr(), ptr::null_mut())) }
}

/// What two keys agree on: ECDH and X25519.
pub(crate) fn agree(own: &Key, peer: &Key) -> Result<Zeroizing<Vec<u8>>, Error> {
    let context = operation(own)?;
    // SAFETY: both keys live through the calls; lengths are those that AWS-LC asks for.
    unsafe {
        check(ffi::EVP_PKEY_derive_init(context.as_ptr()))?;
        check(ffi::EVP_PKEY_derive_set_peer(context.as_ptr(), peer.as_ptr()))?;
        two_calls(|out, length| ffi::EVP_PKEY_derive(context.as_ptr(), out, length))
    }
    .map_err(|_| Error::MalformedKey)
}
