//! Signatures and MACs (PKCS #11 3.0, 5.13 and 5.14).

use super::slots::{checked, mechanism_or_cancel, started};
use crate::border::{Output, bytes, functions};
use crate::error::{Rv, ensure, fail};
use crate::keyforms::PublicKey;
use crate::module::Module;
use crate::object::usable;
use crate::{operation, schemes};
use cryptoki_sys::*;

functions! {
    /// `C_SignInit` (5.13.1).
    fn C_SignInit(
        session: CK_SESSION_HANDLE,
        mechanism: *mut CK_MECHANISM,
        key: CK_OBJECT_HANDLE,
    ) {
        let module = Module::get()?;
        let session = module.session(session)?;
        let slot = &mut session.operations().sign;
        let Some(mechanism) = mechanism_or_cancel(slot, mechanism)? else { return Ok(()) };
        mechanism.scheme(CKF_SIGN)?;
        let object = module.object(key).map_err(|_| Rv(CKR_KEY_HANDLE_INVALID))?;
        let attributes = object.attributes();
        usable(&attributes, CKA_SIGN, mechanism.entry)?;
        let (key, login) = (module.key(&object)?, attributes.flag(CKA_ALWAYS_AUTHENTICATE));
        let begin = || schemes::sign(&mechanism, &attributes, key);
        operation::begin(slot, || Ok(begin()?.with_login(login)))
    }

    /// `C_Sign` (5.13.2).
    fn C_Sign(
        session: CK_SESSION_HANDLE,
        data: *mut CK_BYTE,
        length: CK_ULONG,
        signature: *mut CK_BYTE,
        signature_length: *mut CK_ULONG,
    ) {
        let session = Module::get()?.session(session)?;
        let slot = &mut session.operations().sign;
        started(slot)?;
        let output = checked(slot, Output::new(signature, signature_length))?;
        let data = checked(slot, bytes(data, length))?;
        operation::once(slot, data, &output)
    }

    /// `C_SignUpdate` (5.13.3).
    fn C_SignUpdate(session: CK_SESSION_HANDLE, part: *mut CK_BYTE, length: CK_ULONG) {
        let session = Module::get()?.session(session)?;
        let slot = &mut session.operations().sign;
        started(slot)?;
        let part = checked(slot, bytes(part, length))?;
        operation::feed(slot, part)
    }

    /// `C_SignFinal` (5.13.4).
    fn C_SignFinal(
        session: CK_SESSION_HANDLE,
        signature: *mut CK_BYTE,
        length: *mut CK_ULONG,
    ) {
        let session = Module::get()?.session(session)?;
        let slot = &mut session.operations().sign;
        started(slot)?;
        let output = checked(slot, Output::new(signature, length))?;
        operation::finish(slot, &output)
    }

    /// `C_SignRecoverInit` (5.13.5).
    fn C_SignRecoverInit(
        session: CK_SESSION_HANDLE,
        mechanism: *mut CK_MECHANISM,
        key: CK_OBJECT_HANDLE,
    ) {
        let module = Module::get()?;
        let session = module.session(session)?;
        let slot = &mut session.operations().sign_recover;
        let Some(mechanism) = mechanism_or_cancel(slot, mechanism)? else { return Ok(()) };
        mechanism.scheme(CKF_SIGN_RECOVER)?;
        let object = module.object(key).map_err(|_| Rv(CKR_KEY_HANDLE_INVALID))?;
        let attributes = object.attributes();
        usable(&attributes, CKA_SIGN_RECOVER, mechanism.entry)?;
        let (key, login) = (module.key(&object)?, attributes.flag(CKA_ALWAYS_AUTHENTICATE));
        let begin = || schemes::sign(&mechanism, &attributes, key);
        operation::begin(slot, || Ok(begin()?.with_login(login)))
    }

    /// `C_SignRecover` (5.13.6).
    fn C_SignRecover(
        session: CK_SESSION_HANDLE,
        data: *mut CK_BYTE,
        length: CK_ULONG,
        signature: *mut CK_BYTE,
        signature_length: *mut CK_ULONG,
    ) {
        let session = Module::get()?.session(session)?;
        let slot = &mut session.operations().sign_recover;
        started(slot)?;
        let output = checked(slot, Output::new(signature, signature_length))?;
        let data = checked(slot, bytes(data, length))?;
        operation::once(slot, data, &output)
    }

    /// `C_VerifyRecoverInit` (5.14.5).
    fn C_VerifyRecoverInit(
        session: CK_SESSION_HANDLE,
        mechanism: *mut CK_MECHANISM,
        key: CK_OBJECT_HANDLE,
    ) {
        let module = Module::get()?;
        let session = module.session(session)?;
        let slot = &mut session.operations().verify_recover;
        let Some(mechanism) = mechanism_or_cancel(slot, mechanism)? else { return Ok(()) };
        mechanism.scheme(CKF_VERIFY_RECOVER)?;
        let object = module.object(key).map_err(|_| Rv(CKR_KEY_HANDLE_INVALID))?;
        let attributes = object.attributes();
        usable(&attributes, CKA_VERIFY_RECOVER, mechanism.entry)?;
        let key = PublicKey::from_attributes(&attributes)?;
        operation::begin(slot, || schemes::recover(&mechanism, key))
    }

    /// `C_VerifyRecover` (5.14.6).
    fn C_VerifyRecover(
        session: CK_SESSION_HANDLE,
        signature: *mut CK_BYTE,
        length: CK_ULONG,
        data: *mut CK_BYTE,
        data_length: *mut CK_ULONG,
    ) {
        let session = Module::get()?.session(session)?;
        let slot = &mut session.operations().verify_recover;
        started(slot)?;
        let output = checked(slot, Output::new(data, data_length))?;
        let signature = checked(slot, bytes(signature, length))?;
        operation::once(slot, signature, &output)
    }

    /// `C_VerifyInit` (5.14.1).
    fn C_VerifyInit(
        session: CK_SESSION_HANDLE,
        mechanism: *mut CK_MECHANISM,
        key: CK_OBJECT_HANDLE,
    ) {
        let module = Module::get()?;
        let session = module.session(session)?;
        let slot = &mut session.operations().verify;
        let Some(mechanism) = mechanism_or_cancel(slot, mechanism)? else { return Ok(()) };
        mechanism.scheme(CKF_VERIFY)?;
        let object = module.object(key).map_err(|_| Rv(CKR_KEY_HANDLE_INVALID))?;
        let attributes = object.attributes();
        usable(&attributes, CKA_VERIFY, mechanism.entry)?;
        *slot = Some(match attributes.class() {
            CKO_PUBLIC_KEY => {
                schemes::verify(&mechanism, PublicKey::from_attributes(&attributes)?)?
            }
            _ => schemes::verify_mac(&mechanism, &*module.key(&object)?)?,
        });
        Ok(())
    }

    /// `C_Verify` (5.14.2).
    fn C_Verify(
        session: CK_SESSION_HANDLE,
        data: *mut CK_BYTE,
        length: CK_ULONG,
        signature: *mut CK_BYTE,
        signature_length: CK_ULONG,
    ) {
        let session = Module::get()?.session(session)?;
        let checking = session.operations().verify.take();
        let checking = checking.ok_or(Rv(CKR_OPERATION_NOT_INITIALIZED))?;
        ensure(!checking.parts, CKR_OPERATION_ACTIVE)?;
        checking.finish(bytes(data, length)?, bytes(signature, signature_length)?)
    }

    /// `C_VerifyUpdate` (5.14.3).
    fn C_VerifyUpdate(session: CK_SESSION_HANDLE, part: *mut CK_BYTE, length: CK_ULONG) {
        let session = Module::get()?.session(session)?;
        let slot = &mut session.operations().verify;
        let Some(checking) = slot else { return fail(CKR_OPERATION_NOT_INITIALIZED) };
        let result = bytes(part, length).and_then(|part| checking.feed(part));
        checked(slot, result)
    }

    /// `C_VerifyFinal` (5.14.4).
    fn C_VerifyFinal(
        session: CK_SESSION_HANDLE,
        signature: *mut CK_BYTE,
        length: CK_ULONG,
    ) {
        let session = Module::get()?.session(session)?;
        let checking = session.operations().verify.take();
        let checking = checking.ok_or(Rv(CKR_OPERATION_NOT_INITIALIZED))?;
        checking.finish(&[], bytes(signature, length)?)
    }
}
