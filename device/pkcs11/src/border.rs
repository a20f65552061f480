//! The border to the program that loaded this module: what it passes is read here and nowhere
//! else.
//!
//! A null or misaligned pointer, and a length that nobody means, are error codes. No panic
//! crosses the border.

use crate::error::{Result, Rv, ensure, fail};
use cryptoki_sys::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

/// The most bytes that one call takes. More comes in parts.
pub(crate) const MAX_INPUT_BYTES: usize = 1 << 30;
/// The most attributes that a template has.
const MAX_ATTRIBUTES: usize = 256;
/// The most bytes that the value of an attribute has.
pub(crate) const MAX_VALUE_BYTES: usize = 1 << 20;
/// The most bytes that a PIN has (PKCS #11 says nothing; token info tells).
pub(crate) const MAX_PIN_BYTES: usize = 255;

/// Runs the body of a function of the interface.
pub(crate) fn guard(body: impl FnOnce() -> Result<()>) -> CK_RV {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => CKR_OK,
        Ok(Err(Rv(code))) => code,
        Err(_) => CKR_GENERAL_ERROR,
    }
}

/// Declares functions of the interface: guarded, with a body that may read what the caller
/// passed.
macro_rules! functions {
    ($($(#[$doc:meta])* fn $name:ident($($argument:ident: $type:ty),* $(,)?) $body:block)*) => {$(
        $(#[$doc])*
        ///
        /// # Safety
        /// Each pointer is null or points to what PKCS #11 says, of the length that goes with it.
        #[allow(non_snake_case, unused_unsafe)]
        pub(crate) unsafe extern "C" fn $name($($argument: $type),*) -> CK_RV {
            crate::border::guard(move || {
                // SAFETY: what is behind the pointers is the caller's promise; the readers of
                // `border` check all that can be checked.
                unsafe { $body }
            })
        }
    )*};
}
pub(crate) use functions;

/// A value behind a pointer.
///
/// # Safety
/// `at` is null or points to a `T` that nobody else uses during the call.
pub(crate) unsafe fn place<'a, T>(at: *mut T) -> Result<&'a mut T> {
    ensure(!at.is_null() && at.is_aligned(), CKR_ARGUMENTS_BAD)?;
    // SAFETY: not null, aligned; the rest is the caller's promise.
    Ok(unsafe { &mut *at })
}

/// An array.
///
/// # Safety
/// `at` is null or points to `count` values.
pub(crate) unsafe fn array<'a, T>(at: *const T, count: CK_ULONG, most: usize) -> Result<&'a [T]> {
    if count == 0 {
        return Ok(&[]);
    }
    ensure(!at.is_null() && at.is_aligned(), CKR_ARGUMENTS_BAD)?;
    let count = usize::try_from(count).ok().filter(|count| *count <= most);
    let count = count.ok_or(Rv(CKR_ARGUMENTS_BAD))?;
    // SAFETY: not null, aligned, not absurd; the rest is the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts(at, count) })
}

/// Bytes.
///
/// # Safety
/// As [`array`].
pub(crate) unsafe fn bytes<'a>(at: *const CK_BYTE, length: CK_ULONG) -> Result<&'a [u8]> {
    if length > MAX_INPUT_BYTES as CK_ULONG {
        return fail(CKR_DATA_LEN_RANGE);
    }
    // SAFETY: the caller's promise.
    unsafe { array(at, length, MAX_INPUT_BYTES) }
}

/// A PIN; `None` where the caller passes none or an empty one, for a device that asks for it itself.
///
/// # Safety
/// As [`array`].
pub(crate) unsafe fn pin<'a>(at: *const CK_BYTE, length: CK_ULONG) -> Result<Option<&'a [u8]>> {
    if length == 0 {
        return Ok(None);
    }
    ensure(length <= MAX_PIN_BYTES as CK_ULONG, CKR_PIN_LEN_RANGE)?;
    // SAFETY: the caller's promise.
    unsafe { array(at, length, MAX_PIN_BYTES) }.map(Some)
}

/// Where a function leaves bytes whose number the caller may not know (5.2).
pub(crate) struct Output {
    buffer: *mut CK_BYTE,
    length: *mut CK_ULONG,
}

impl Output {
    /// # Safety
    /// `length` is null or says how many bytes fit into `buffer`, which may be null.
    pub(crate) unsafe fn new(buffer: *mut CK_BYTE, length: *mut CK_ULONG) -> Result<Self> {
        ensure(!length.is_null() && length.is_aligned(), CKR_ARGUMENTS_BAD)?;
        Ok(Self { buffer, length })
    }

    /// The caller wants to know only how many bytes there will be.
    pub(crate) const fn is_query(&self) -> bool {
        self.buffer.is_null()
    }

    /// What was written, for the operation that takes it over.
    pub(crate) fn written(&self) -> &[u8] {
        if self.is_query() {
            return &[];
        }
        // SAFETY: `write` left so many bytes there.
        unsafe { std::slice::from_raw_parts(self.buffer, *self.length as usize) }
    }

    /// Says how many bytes there are, or at most.
    pub(crate) fn tell(&self, length: usize) {
        // SAFETY: `new` saw that it is not null; the rest is its promise.
        unsafe { *self.length = length as CK_ULONG };
    }

    /// Whether so many bytes are wanted and fit; says how many there are, or at most.
    pub(crate) fn has_room(&self, length: usize) -> Result<bool> {
        // SAFETY: as in `tell`.
        let room = unsafe { *self.length };
        if !self.is_query() && room >= length as CK_ULONG {
            return Ok(true);
        }
        self.tell(length);
        ensure(self.is_query(), CKR_BUFFER_TOO_SMALL).map(|()| false)
    }

    /// Writes them, if they fit.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<()> {
        // SAFETY: as in `tell`.
        let room = unsafe { *self.length };
        self.tell(bytes.len());
        if self.is_query() {
            return Ok(());
        }
        ensure(bytes.len() as CK_ULONG <= room, CKR_BUFFER_TOO_SMALL)?;
        // SAFETY: so many bytes fit. The caller may have passed its input's buffer: the bytes
        // may overlap nothing of ours.
        unsafe { ptr::copy(bytes.as_ptr(), self.buffer, bytes.len()) };
        Ok(())
    }
}

/// The attributes of a template, copied.
///
/// # Safety
/// `at` is null or points to `count` attributes, each null or with as many bytes as it says.
pub(crate) unsafe fn template(
    at: *const CK_ATTRIBUTE,
    count: CK_ULONG,
) -> Result<Vec<(CK_ATTRIBUTE_TYPE, Vec<u8>)>> {
    // SAFETY: the caller's promise.
    let attributes = unsafe { array(at, count, MAX_ATTRIBUTES)? };
    let mut all = Vec::with_capacity(attributes.len());
    for attribute in attributes {
        let (value, length) = (attribute.pValue.cast::<u8>(), attribute.ulValueLen);
        ensure(length <= MAX_VALUE_BYTES as CK_ULONG, CKR_ATTRIBUTE_VALUE_INVALID)?;
        ensure(length == 0 || !value.is_null(), CKR_ATTRIBUTE_VALUE_INVALID)?;
        // SAFETY: the caller's promise.
        let value = unsafe { array(value, length, MAX_VALUE_BYTES)? };
        all.push((attribute.type_, value.to_vec()));
    }
    Ok(all)
}

/// Attributes that are asked for: each says where its value goes.
///
/// # Safety
/// As [`template`], and nobody else uses them during the call.
pub(crate) unsafe fn queries<'a>(
    at: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
) -> Result<&'a mut [CK_ATTRIBUTE]> {
    // SAFETY: the caller's promise.
    let shared = unsafe { array(at, count, MAX_ATTRIBUTES)? };
    if shared.is_empty() {
        return Ok(&mut []);
    }
    // SAFETY: `array` checked pointer and count; nobody else uses them.
    Ok(unsafe { std::slice::from_raw_parts_mut(at, shared.len()) })
}

/// Copies text into a field that is filled up with spaces.
pub(crate) fn padded<const N: usize>(text: &str) -> [CK_UTF8CHAR; N] {
    let mut field = [b' '; N];
    let mut end = text.len().min(N);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    field[..end].copy_from_slice(&text.as_bytes()[..end]);
    field
}
