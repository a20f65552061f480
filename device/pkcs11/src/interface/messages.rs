//! Messages under a key that stays chosen (PKCS #11 3.0, 5.9, 5.11, 5.15 and 5.16): AES-GCM, and
//! signatures of all kinds. A message comes in one part.

use crate::border::{Output, bytes, functions, place};
use crate::error::{Result, Rv, ensure, fail};
use crate::key::{Key, Mode, Operation};
use crate::keyforms::PublicKey;
use crate::mechanism::{Entry, Mechanism};
use crate::messages::{Message, Sealing, Signing};
use crate::module::Module;
use crate::object::usable;
use crate::{operation, schemes};
use crypto::cipher::Direction;
use cryptoki_sys::*;
use std::sync::Arc;

functions! {
    /// `C_MessageEncryptInit` (5.9.1). What goes with the mechanism comes with each message.
    fn C_MessageEncryptInit(
        session: CK_SESSION_HANDLE,
        mechanism: *mut CK_MECHANISM,
        key: CK_OBJECT_HANDLE,
    ) {
        let module = Module::get()?;
        let session = module.session(session)?;
        let slot = &mut session.operations().message_encrypt;
        let Some(entry) = chosen(slot, mechanism, CKF_MESSAGE_ENCRYPT)? else { return Ok(()) };
        *slot = Some(Sealing { key: secret_key(module, key, CKA_ENCRYPT, entry)? });
        Ok(())
    }

    /// `C_EncryptMessage` (5.9.2).
    fn C_EncryptMessage(
        session: CK_SESSION_HANDLE,
        parameter: *mut std::ffi::c_void,
        parameter_length: CK_ULONG,
        data: *mut CK_BYTE,
        data_length: CK_ULONG,
        text: *mut CK_BYTE,
        text_length: CK_ULONG,
        encrypted: *mut CK_BYTE,
        encrypted_length: *mut CK_ULONG,
    ) {
        let session = Module::get()?.session(session)?;
        let operations = session.operations();
        let sealing = begun(&operations.message_encrypt)?;
        let output = Output::new(encrypted, encrypted_length)?;
        let (aad, text) = (bytes(data, data_length)?, bytes(text, text_length)?);
        // Nothing is worked on, and no nonce is used up, before it fits.
        if !output.has_room(text.len())? {
            return Ok(());
        }
        let mut message = Message::read(parameter, parameter_length)?;
        let iv = message.fresh_iv()?;
        let mode = Mode::Gcm { iv: iv.to_vec(), aad: aad.to_vec(), tag_bytes: message.tag_bytes() };
        let operation = Operation::Cipher { direction: Direction::Encrypt, mode };
        let mut sealed = Vec::with_capacity(text.len() + 16);
        sealing.key.begin(&operation)?.finish(text, &mut sealed)?;
        let (sealed, tag) = sealed.split_at_checked(text.len()).ok_or(Rv(CKR_DEVICE_ERROR))?;
        message.write(&iv, tag)?;
        output.write(sealed)
    }

    /// `C_MessageEncryptFinal` (5.9.5).
    fn C_MessageEncryptFinal(session: CK_SESSION_HANDLE) {
        let session = Module::get()?.session(session)?;
        over(&mut session.operations().message_encrypt)
    }

    /// `C_MessageDecryptInit` (5.11.1).
    fn C_MessageDecryptInit(
        session: CK_SESSION_HANDLE,
        mechanism: *mut CK_MECHANISM,
        key: CK_OBJECT_HANDLE,
    ) {
        let module = Module::get()?;
        let session = module.session(session)?;
        let slot = &mut session.operations().message_decrypt;
        let Some(entry) = chosen(slot, mechanism, CKF_MESSAGE_DECRYPT)? else { return Ok(()) };
        *slot = Some(Sealing { key: secret_key(module, key, CKA_DECRYPT, entry)? });
        Ok(())
    }

    /// `C_DecryptMessage` (5.11.2).
    fn C_DecryptMessage(
        session: CK_SESSION_HANDLE,
        parameter: *mut std::ffi::c_void,
        parameter_length: CK_ULONG,
        data: *mut CK_BYTE,
        data_length: CK_ULONG,
        encrypted: *mut CK_BYTE,
        encrypted_length: CK_ULONG,
        text: *mut CK_BYTE,
        text_length: *mut CK_ULONG,
    ) {
        let session = Module::get()?.session(session)?;
        let operations = session.operations();
        let sealing = begun(&operations.message_decrypt)?;
        let output = Output::new(text, text_length)?;
        let (aad, sealed) = (bytes(data, data_length)?, bytes(encrypted, encrypted_length)?);
        if !output.has_room(sealed.len())? {
            return Ok(());
        }
        let message = Message::read(parameter, parameter_length)?;
        let (iv, tag) = (message.iv()?.to_vec(), message.tag()?);
        let mode = Mode::Gcm { iv, aad: aad.to_vec(), tag_bytes: tag.len() };
        let operation = Operation::Cipher { direction: Direction::Decrypt, mode };
        let mut opened = zeroize::Zeroizing::new(Vec::with_capacity(sealed.len()));
        let opening = sealing.key.begin(&operation)?;
        opening.finish(&[sealed, tag].concat(), &mut opened).map_err(as_aead)?;
        output.write(&opened)
    }

    /// `C_MessageDecryptFinal` (5.11.5).
    fn C_MessageDecryptFinal(session: CK_SESSION_HANDLE) {
        let session = Module::get()?.session(session)?;
        over(&mut session.operations().message_decrypt)
    }

    /// `C_MessageSignInit` (5.15.1).
    fn C_MessageSignInit(
        session: CK_SESSION_HANDLE,
        mechanism: *mut CK_MECHANISM,
        key: CK_OBJECT_HANDLE,
    ) {
        let module = Module::get()?;
        let session = module.session(session)?;
        let slot = &mut session.operations().message_sign;
        if mechanism.is_null() {
            return over(slot);
        }
        ensure(slot.is_none(), CKR_OPERATION_ACTIVE)?;
        let mechanism = Mechanism::read(mechanism)?;
        mechanism.scheme(CKF_MESSAGE_SIGN)?;
        let object = module.object(key).map_err(|_| Rv(CKR_KEY_HANDLE_INVALID))?;
        let attributes = object.attributes();
        usable(&attributes, CKA_SIGN, mechanism.entry)?;
        // A login goes with one operation, and here are many.
        ensure(!attributes.flag(CKA_ALWAYS_AUTHENTICATE), CKR_KEY_FUNCTION_NOT_PERMITTED)?;
        let key = module.key(&object)?;
        schemes::sign(&mechanism, &attributes, Arc::clone(&key))?;
        *slot = Some(Signing { mechanism, attributes, key: Some(key) });
        Ok(())
    }

    /// `C_SignMessage` (5.15.2).
    fn C_SignMessage(
        session: CK_SESSION_HANDLE,
        parameter: *mut std::ffi::c_void,
        parameter_length: CK_ULONG,
        data: *mut CK_BYTE,
        length: CK_ULONG,
        signature: *mut CK_BYTE,
        signature_length: *mut CK_ULONG,
    ) {
        let session = Module::get()?.session(session)?;
        let operations = session.operations();
        let signing = begun(&operations.message_sign)?;
        ensure(parameter.is_null() && parameter_length == 0, CKR_ARGUMENTS_BAD)?;
        let output = Output::new(signature, signature_length)?;
        let data = bytes(data, length)?;
        let key = signing.key.clone().ok_or(Rv(CKR_KEY_HANDLE_INVALID))?;
        let active = schemes::sign(&signing.mechanism, &signing.attributes, key)?;
        operation::once(&mut Some(active), data, &output)
    }

    /// `C_MessageSignFinal` (5.15.5).
    fn C_MessageSignFinal(session: CK_SESSION_HANDLE) {
        let session = Module::get()?.session(session)?;
        over(&mut session.operations().message_sign)
    }

    /// `C_MessageVerifyInit` (5.16.1).
    fn C_MessageVerifyInit(
        session: CK_SESSION_HANDLE,
        mechanism: *mut CK_MECHANISM,
        key: CK_OBJECT_HANDLE,
    ) {
        let module = Module::get()?;
        let session = module.session(session)?;
        let slot = &mut session.operations().message_verify;
        if mechanism.is_null() {
            return over(slot);
        }
        ensure(slot.is_none(), CKR_OPERATION_ACTIVE)?;
        let mechanism = Mechanism::read(mechanism)?;
        mechanism.scheme(CKF_MESSAGE_VERIFY)?;
        let object = module.object(key).map_err(|_| Rv(CKR_KEY_HANDLE_INVALID))?;
        let attributes = object.attributes();
        usable(&attributes, CKA_VERIFY, mechanism.entry)?;
        let public = attributes.class() == CKO_PUBLIC_KEY;
        let key = if public { None } else { Some(module.key(&object)?) };
        *slot = Some(Signing { mechanism, attributes, key });
        Ok(())
    }

    /// `C_VerifyMessage` (5.16.2).
    fn C_VerifyMessage(
        session: CK_SESSION_HANDLE,
        parameter: *mut std::ffi::c_void,
        parameter_length: CK_ULONG,
        data: *mut CK_BYTE,
        length: CK_ULONG,
        signature: *mut CK_BYTE,
        signature_length: CK_ULONG,
    ) {
        let session = Module::get()?.session(session)?;
        let operations = session.operations();
        let Signing { mechanism, attributes, key } = begun(&operations.message_verify)?;
        ensure(parameter.is_null() && parameter_length == 0, CKR_ARGUMENTS_BAD)?;
        let checking = match key {
            Some(key) => schemes::verify_mac(mechanism, &**key)?,
            None => schemes::verify(mechanism, PublicKey::from_attributes(attributes)?)?,
        };
        checking.finish(bytes(data, length)?, bytes(signature, signature_length)?)
    }

    /// `C_MessageVerifyFinal` (5.16.5).
    fn C_MessageVerifyFinal(session: CK_SESSION_HANDLE) {
        let session = Module::get()?.session(session)?;
        over(&mut session.operations().message_verify)
    }
}

/// The mechanism that is chosen for the messages to come; `None`: the choice was taken back.
///
/// # Safety
/// `mechanism` is null or points to one.
unsafe fn chosen<T>(
    slot: &mut Option<T>,
    mechanism: *mut CK_MECHANISM,
    for_what: CK_FLAGS,
) -> Result<Option<&'static Entry>> {
    if mechanism.is_null() {
        return over(slot).map(|()| None);
    }
    ensure(slot.is_none(), CKR_OPERATION_ACTIVE)?;
    // SAFETY: the caller's promise.
    let entry = Entry::find(unsafe { place(mechanism)? }.mechanism)?;
    ensure(entry.flags & for_what != 0, CKR_MECHANISM_INVALID)?;
    Ok(Some(entry))
}

fn secret_key(
    module: &Module,
    key: CK_OBJECT_HANDLE,
    purpose: CK_ATTRIBUTE_TYPE,
    entry: &Entry,
) -> Result<Arc<dyn Key>> {
    let object = module.object(key).map_err(|_| Rv(CKR_KEY_HANDLE_INVALID))?;
    usable(&object.attributes(), purpose, entry)?;
    module.key(&object)
}

fn begun<T>(slot: &Option<T>) -> Result<&T> {
    slot.as_ref().ok_or(Rv(CKR_OPERATION_NOT_INITIALIZED))
}

fn over<T>(slot: &mut Option<T>) -> Result<()> {
    match slot.take() {
        Some(_) => Ok(()),
        None => fail(CKR_OPERATION_NOT_INITIALIZED),
    }
}

/// Sealed messages have a name of their own for what was altered.
const fn as_aead(error: Rv) -> Rv {
    Rv(if error.0 == CKR_ENCRYPTED_DATA_INVALID { CKR_AEAD_DECRYPT_FAILED } else { error.0 })
}
