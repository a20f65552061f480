//! Encryption and decryption (PKCS #11 3.0, 5.8 and 5.10).

use super::slots::{checked, mechanism_or_cancel, started};
use crate::border::{Output, bytes, functions};
use crate::error::Rv;
use crate::keyforms::PublicKey;
use crate::module::Module;
use crate::object::usable;
use crate::{operation, schemes};
use crypto::cipher::Direction;
use cryptoki_sys::*;

functions! {
    /// `C_EncryptInit` (5.8.1).
    fn C_EncryptInit(
        session: CK_SESSION_HANDLE,
        mechanism: *mut CK_MECHANISM,
        key: CK_OBJECT_HANDLE,
    ) {
        let module = Module::get()?;
        let session = module.session(session)?;
        let slot = &mut session.operations().encrypt;
        let Some(mechanism) = mechanism_or_cancel(slot, mechanism)? else { return Ok(()) };
        mechanism.scheme(CKF_ENCRYPT)?;
        let object = module.object(key).map_err(|_| Rv(CKR_KEY_HANDLE_INVALID))?;
        let attributes = object.attributes();
        usable(&attributes, CKA_ENCRYPT, mechanism.entry)?;
        operation::begin(slot, || match attributes.class() {
            CKO_PUBLIC_KEY => {
                schemes::encrypt(&mechanism, PublicKey::from_attributes(&attributes)?)
            }
            _ => schemes::cipher(&mechanism, Direction::Encrypt, &*module.key(&object)?),
        })
    }

    /// `C_Encrypt` (5.8.2).
    fn C_Encrypt(
        session: CK_SESSION_HANDLE,
        data: *mut CK_BYTE,
        length: CK_ULONG,
        encrypted: *mut CK_BYTE,
        encrypted_length: *mut CK_ULONG,
    ) {
        let session = Module::get()?.session(session)?;
        let slot = &mut session.operations().encrypt;
        started(slot)?;
        let output = checked(slot, Output::new(encrypted, encrypted_length))?;
        let data = checked(slot, bytes(data, length))?;
        operation::once(slot, data, &output)
    }

    /// `C_EncryptUpdate` (5.8.3).
    fn C_EncryptUpdate(
        session: CK_SESSION_HANDLE,
        part: *mut CK_BYTE,
        length: CK_ULONG,
        encrypted: *mut CK_BYTE,
        encrypted_length: *mut CK_ULONG,
    ) {
        let session = Module::get()?.session(session)?;
        let slot = &mut session.operations().encrypt;
        started(slot)?;
        let output = checked(slot, Output::new(encrypted, encrypted_length))?;
        let part = checked(slot, bytes(part, length))?;
        operation::update(slot, part, &output)
    }

    /// `C_EncryptFinal` (5.8.4).
    fn C_EncryptFinal(
        session: CK_SESSION_HANDLE,
        encrypted: *mut CK_BYTE,
        length: *mut CK_ULONG,
    ) {
        let session = Module::get()?.session(session)?;
        let slot = &mut session.operations().encrypt;
        started(slot)?;
        let output = checked(slot, Output::new(encrypted, length))?;
        operation::finish(slot, &output)
    }

    /// `C_DecryptInit` (5.10.1).
    fn C_DecryptInit(
        session: CK_SESSION_HANDLE,
        mechanism: *mut CK_MECHANISM,
        key: CK_OBJECT_HANDLE,
    ) {
        let module = Module::get()?;
        let session = module.session(session)?;
        let slot = &mut session.operations().decrypt;
        let Some(mechanism) = mechanism_or_cancel(slot, mechanism)? else { return Ok(()) };
        mechanism.scheme(CKF_DECRYPT)?;
        let object = module.object(key).map_err(|_| Rv(CKR_KEY_HANDLE_INVALID))?;
        let attributes = object.attributes();
        usable(&attributes, CKA_DECRYPT, mechanism.entry)?;
        let (key, login) = (module.key(&object)?, attributes.flag(CKA_ALWAYS_AUTHENTICATE));
        operation::begin(slot, || match attributes.class() {
            CKO_PRIVATE_KEY => {
                Ok(schemes::decrypt(&mechanism, &attributes, key)?.with_login(login))
            }
            _ => schemes::cipher(&mechanism, Direction::Decrypt, &*key),
        })
    }

    /// `C_Decrypt` (5.10.2).
    fn C_Decrypt(
        session: CK_SESSION_HANDLE,
        encrypted: *mut CK_BYTE,
        length: CK_ULONG,
        data: *mut CK_BYTE,
        data_length: *mut CK_ULONG,
    ) {
        let session = Module::get()?.session(session)?;
        let slot = &mut session.operations().decrypt;
        started(slot)?;
        let output = checked(slot, Output::new(data, data_length))?;
        let encrypted = checked(slot, bytes(encrypted, length))?;
        operation::once(slot, encrypted, &output).map_err(as_encrypted)
    }

    /// `C_DecryptUpdate` (5.10.3).
    fn C_DecryptUpdate(
        session: CK_SESSION_HANDLE,
        encrypted: *mut CK_BYTE,
        length: CK_ULONG,
        part: *mut CK_BYTE,
        part_length: *mut CK_ULONG,
    ) {
        let session = Module::get()?.session(session)?;
        let slot = &mut session.operations().decrypt;
        started(slot)?;
        let output = checked(slot, Output::new(part, part_length))?;
        let encrypted = checked(slot, bytes(encrypted, length))?;
        operation::update(slot, encrypted, &output).map_err(as_encrypted)
    }

    /// `C_DecryptFinal` (5.10.4).
    fn C_DecryptFinal(session: CK_SESSION_HANDLE, part: *mut CK_BYTE, length: *mut CK_ULONG) {
        let session = Module::get()?.session(session)?;
        let slot = &mut session.operations().decrypt;
        started(slot)?;
        let output = checked(slot, Output::new(part, length))?;
        operation::finish(slot, &output).map_err(as_encrypted)
    }
}

/// Data to decrypt has names of its own for what is wrong with it.
fn as_encrypted(error: Rv) -> Rv {
    Rv(if error.0 == CKR_DATA_LEN_RANGE { CKR_ENCRYPTED_DATA_LEN_RANGE } else { error.0 })
}
