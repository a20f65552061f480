//! Digests, and two operations at once (PKCS #11 3.0, 5.12 and 5.15).

use super::slots::{checked, mechanism_or_cancel, started};
use crate::border::{Output, bytes, functions};
use crate::error::{Result, Rv, ensure, fail};
use crate::module::Module;
use crate::operation::{self, Slot};
use crate::schemes;
use crate::session::Operations;
use cryptoki_sys::*;

functions! {
    /// `C_DigestInit` (5.12.1).
    fn C_DigestInit(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM) {
        let session = Module::get()?.session(session)?;
        let slot = &mut session.operations().digest;
        let Some(mechanism) = mechanism_or_cancel(slot, mechanism)? else { return Ok(()) };
        operation::begin(slot, || schemes::digest(&mechanism))
    }

    /// `C_Digest` (5.12.2).
    fn C_Digest(
        session: CK_SESSION_HANDLE,
        data: *mut CK_BYTE,
        length: CK_ULONG,
        digest: *mut CK_BYTE,
        digest_length: *mut CK_ULONG,
    ) {
        let session = Module::get()?.session(session)?;
        let slot = &mut session.operations().digest;
        started(slot)?;
        let output = checked(slot, Output::new(digest, digest_length))?;
        let data = checked(slot, bytes(data, length))?;
        operation::once(slot, data, &output)
    }

    /// `C_DigestUpdate` (5.12.3).
    fn C_DigestUpdate(session: CK_SESSION_HANDLE, part: *mut CK_BYTE, length: CK_ULONG) {
        let session = Module::get()?.session(session)?;
        let slot = &mut session.operations().digest;
        started(slot)?;
        let part = checked(slot, bytes(part, length))?;
        operation::feed(slot, part)
    }

    /// `C_DigestKey` (5.12.4).
    fn C_DigestKey(session: CK_SESSION_HANDLE, key: CK_OBJECT_HANDLE) {
        let module = Module::get()?;
        let session = module.session(session)?;
        let slot = &mut session.operations().digest;
        started(slot)?;
        let object = module.object(key).map_err(|_| Rv(CKR_KEY_HANDLE_INVALID))?;
        let attributes = object.attributes();
        let readable = attributes.class() == CKO_SECRET_KEY && attributes.reveals();
        ensure(readable, CKR_KEY_INDIGESTIBLE)?;
        let key = module.key(&object)?;
        operation::feed(slot, key.value().ok_or(Rv(CKR_KEY_INDIGESTIBLE))?)
    }

    /// `C_DigestFinal` (5.12.5).
    fn C_DigestFinal(
        session: CK_SESSION_HANDLE,
        digest: *mut CK_BYTE,
        length: *mut CK_ULONG,
    ) {
        let session = Module::get()?.session(session)?;
        let slot = &mut session.operations().digest;
        started(slot)?;
        let output = checked(slot, Output::new(digest, length))?;
        operation::finish(slot, &output)
    }

    /// `C_DigestEncryptUpdate` (5.15.1).
    fn C_DigestEncryptUpdate(
        session: CK_SESSION_HANDLE,
        part: *mut CK_BYTE,
        length: CK_ULONG,
        encrypted: *mut CK_BYTE,
        encrypted_length: *mut CK_ULONG,
    ) {
        let session = Module::get()?.session(session)?;
        let output = Output::new(encrypted, encrypted_length)?;
        let part = bytes(part, length)?;
        let operations = &mut *session.operations();
        both(&operations.digest, &operations.encrypt)?;
        operation::update(&mut operations.encrypt, part, &output)?;
        if output.is_query() { Ok(()) } else { operation::feed(&mut operations.digest, part) }
    }

    /// `C_DecryptDigestUpdate` (5.15.2).
    fn C_DecryptDigestUpdate(
        session: CK_SESSION_HANDLE,
        encrypted: *mut CK_BYTE,
        length: CK_ULONG,
        part: *mut CK_BYTE,
        part_length: *mut CK_ULONG,
    ) {
        let session = Module::get()?.session(session)?;
        let output = Output::new(part, part_length)?;
        let encrypted = bytes(encrypted, length)?;
        let operations = &mut *session.operations();
        both(&operations.digest, &operations.decrypt)?;
        operation::update(&mut operations.decrypt, encrypted, &output)?;
        if output.is_query() {
            return Ok(());
        }
        operation::feed(&mut operations.digest, output.written())
    }

    /// `C_SignEncryptUpdate` (5.15.3).
    fn C_SignEncryptUpdate(
        session: CK_SESSION_HANDLE,
        part: *mut CK_BYTE,
        length: CK_ULONG,
        encrypted: *mut CK_BYTE,
        encrypted_length: *mut CK_ULONG,
    ) {
        let session = Module::get()?.session(session)?;
        let output = Output::new(encrypted, encrypted_length)?;
        let part = bytes(part, length)?;
        let operations = &mut *session.operations();
        both(&operations.sign, &operations.encrypt)?;
        operation::update(&mut operations.encrypt, part, &output)?;
        if output.is_query() { Ok(()) } else { operation::feed(&mut operations.sign, part) }
    }

    /// `C_DecryptVerifyUpdate` (5.15.4).
    fn C_DecryptVerifyUpdate(
        session: CK_SESSION_HANDLE,
        encrypted: *mut CK_BYTE,
        length: CK_ULONG,
        part: *mut CK_BYTE,
        part_length: *mut CK_ULONG,
    ) {
        let session = Module::get()?.session(session)?;
        let output = Output::new(part, part_length)?;
        let encrypted = bytes(encrypted, length)?;
        let Operations { verify, decrypt, .. } = &mut *session.operations();
        let (Some(verify), Some(_)) = (verify, &decrypt) else {
            return fail(CKR_OPERATION_NOT_INITIALIZED);
        };
        operation::update(decrypt, encrypted, &output)?;
        if output.is_query() { Ok(()) } else { verify.feed(output.written()) }
    }
}

/// Operations go on in both.
fn both(one: &Slot, other: &Slot) -> Result<()> {
    started(one)?;
    started(other)
}
