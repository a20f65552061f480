//! Objects (PKCS #11 3.0, 5.7).

use crate::attributes::{Attributes, readable};
use crate::border::{functions, place, queries, template};
use crate::error::{Result, Rv, ensure};
use crate::making::Maker;
use crate::module::Module;
use crate::object::{Object, Place};
use crate::record::{Part, Record};
use crate::session::Session;
use crate::token::{EntryId, TokenSecret};
use cryptoki_sys::*;
use std::sync::Arc;

functions! {
    /// `C_CreateObject` (5.7.1).
    fn C_CreateObject(
        session: CK_SESSION_HANDLE,
        attributes: *mut CK_ATTRIBUTE,
        count: CK_ULONG,
        object: *mut CK_OBJECT_HANDLE,
    ) {
        let module = Module::get()?;
        let session = module.session(session)?;
        let (handle, template) = (place(object)?, template(attributes, count)?);
        *handle = Maker { module, session: &session }.create(template)?.handle;
        Ok(())
    }

    /// `C_CopyObject` (5.7.2).
    fn C_CopyObject(
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
        attributes: *mut CK_ATTRIBUTE,
        count: CK_ULONG,
        copy: *mut CK_OBJECT_HANDLE,
    ) {
        let module = Module::get()?;
        let session = module.session(session)?;
        let (handle, template) = (place(copy)?, template(attributes, count)?);
        let object = module.object(object)?;
        *handle = Maker { module, session: &session }.copy(&object, template)?.handle;
        Ok(())
    }

    /// `C_DestroyObject` (5.7.3).
    fn C_DestroyObject(session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE) {
        let module = Module::get()?;
        let session = module.session(session)?;
        let object = module.object(object)?;
        destroy(module, &session, &object)
    }

    /// `C_GetObjectSize` (5.7.4).
    fn C_GetObjectSize(
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
        size: *mut CK_ULONG,
    ) {
        let module = Module::get()?;
        module.session(session)?;
        let size = place(size)?;
        let attributes = module.object(object)?.attributes();
        let bytes: usize = attributes.iter().map(|(_, value)| value.len()).sum();
        *size = bytes as CK_ULONG;
        Ok(())
    }

    /// `C_GetAttributeValue` (5.7.5): all that can be answered is, whatever else is asked.
    fn C_GetAttributeValue(
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
        attributes: *mut CK_ATTRIBUTE,
        count: CK_ULONG,
    ) {
        let module = Module::get()?;
        module.session(session)?;
        let object = module.object(object)?;
        ensure(count > 0, CKR_ARGUMENTS_BAD)?;
        let shown = shown(module, &object)?;
        let mut result = Ok(());
        for query in queries(attributes, count)? {
            if let Err(error) = answer(&shown, query) {
                query.ulValueLen = CK_UNAVAILABLE_INFORMATION;
                result = Err(error);
            }
        }
        result
    }

    /// `C_SetAttributeValue` (5.7.6).
    fn C_SetAttributeValue(
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
        attributes: *mut CK_ATTRIBUTE,
        count: CK_ULONG,
    ) {
        let module = Module::get()?;
        let session = module.session(session)?;
        let object = module.object(object)?;
        ensure(count > 0, CKR_ARGUMENTS_BAD)?;
        let template = Attributes::from_template(template(attributes, count)?)?;
        let before = object.attributes();
        session.may_write(before.flag(CKA_TOKEN))?;
        let after = before.changed(&template)?;
        ensure(
            !(after.flag(CKA_SENSITIVE) && after.flag(CKA_EXTRACTABLE)),
            CKR_TEMPLATE_INCONSISTENT,
        )?;
        rewrite(module, &object, Some(&after))?;
        object.set_attributes(after);
        Ok(())
    }

    /// `C_FindObjectsInit` (5.7.7).
    fn C_FindObjectsInit(
        session: CK_SESSION_HANDLE,
        attributes: *mut CK_ATTRIBUTE,
        count: CK_ULONG,
    ) {
        let module = Module::get()?;
        let session = module.session(session)?;
        let template = template(attributes, count)?;
        ensure(session.operations().found.is_none(), CKR_OPERATION_ACTIVE)?;
        module.refresh()?;
        let mut found = matching(module, &template);
        found.reverse();
        session.operations().found = Some(found);
        Ok(())
    }

    /// `C_FindObjects` (5.7.8).
    fn C_FindObjects(
        session: CK_SESSION_HANDLE,
        objects: *mut CK_OBJECT_HANDLE,
        most: CK_ULONG,
        count: *mut CK_ULONG,
    ) {
        let session = Module::get()?.session(session)?;
        let count = place(count)?;
        ensure(!objects.is_null() && objects.is_aligned(), CKR_ARGUMENTS_BAD)?;
        let mut operations = session.operations();
        let found = operations.found.as_mut().ok_or(Rv(CKR_OPERATION_NOT_INITIALIZED))?;
        let fetched = found.len().min(usize::try_from(most).unwrap_or(usize::MAX));
        for at in 0..fetched {
            let handle = found.pop().unwrap_or(CK_INVALID_HANDLE);
            // SAFETY: the caller has room for so many.
            objects.add(at).write(handle);
        }
        *count = fetched as CK_ULONG;
        Ok(())
    }

    /// `C_FindObjectsFinal` (5.7.9).
    fn C_FindObjectsFinal(session: CK_SESSION_HANDLE) {
        let session = Module::get()?.session(session)?;
        let found = session.operations().found.take();
        ensure(found.is_some(), CKR_OPERATION_NOT_INITIALIZED)
    }
}

/// Handles of the objects that the caller may see and that have these attributes.
fn matching(module: &Module, template: &[(CK_ATTRIBUTE_TYPE, Vec<u8>)]) -> Vec<CK_OBJECT_HANDLE> {
    let logged_in = module.user_secret().is_some();
    let mut found = Vec::new();
    for object in module.objects.all() {
        let attributes = object.attributes();
        let asked_openly = template.iter().all(|(code, _)| readable(&attributes, *code).is_ok());
        if object.is_visible(logged_in) && asked_openly && attributes.matches(template) {
            found.push(object.handle);
        }
    }
    found
}

/// The attributes of an object, with its value where that may be read.
fn shown(module: &Module, object: &Object) -> Result<Arc<Attributes>> {
    let attributes = object.attributes();
    if attributes.class() != CKO_SECRET_KEY || !attributes.reveals() {
        return Ok(attributes);
    }
    let key = module.key(object)?;
    let mut with_value = (*attributes).clone();
    if let Some(value) = key.value() {
        with_value.set(CKA_VALUE, value);
    }
    Ok(Arc::new(with_value))
}

/// Answers one attribute.
fn answer(attributes: &Attributes, query: &mut CK_ATTRIBUTE) -> Result<()> {
    readable(attributes, query.type_)?;
    let value = attributes.get(query.type_).ok_or(Rv(CKR_ATTRIBUTE_TYPE_INVALID))?;
    let room = std::mem::replace(&mut query.ulValueLen, value.len() as CK_ULONG);
    if query.pValue.is_null() {
        return Ok(());
    }
    ensure(room >= value.len() as CK_ULONG, CKR_BUFFER_TOO_SMALL)?;
    // SAFETY: the caller has room for so many bytes.
    unsafe { std::ptr::copy(value.as_ptr(), query.pValue.cast(), value.len()) };
    Ok(())
}

fn destroy(module: &Module, session: &Session, object: &Object) -> Result<()> {
    let attributes = object.attributes();
    session.may_write(attributes.flag(CKA_TOKEN))?;
    ensure(attributes.flag(CKA_DESTROYABLE), CKR_ACTION_PROHIBITED)?;
    rewrite(module, object, None)?;
    module.objects.remove(object.handle);
    Ok(())
}

/// Writes an object of the token anew, or its absence. An entry goes with its private key, and with
/// its last object; a public half that stays without its private one becomes an entry of its own.
fn rewrite(module: &Module, object: &Object, attributes: Option<&Attributes>) -> Result<()> {
    let Place::Token(id, at) = &object.place else { return Ok(()) };
    let secret = module.user_secret();
    let mut record = Record::decode(&module.token.entry(id)?.record)?;
    let part = record.objects.get_mut(*at).ok_or(Rv(CKR_DEVICE_ERROR))?;
    *part = match attributes {
        Some(attributes) => Part::of(attributes, secret.as_deref())?,
        None => Part::Gone,
    };
    match record.objects.iter().position(|part| !matches!(part, Part::Gone)) {
        Some(0) => module.token.replace(id, &record.encode()?),
        None => module.token.delete(id),
        Some(_) => {
            keep_public_halves(module, id, secret.as_deref())?;
            module.token.delete(id)
        }
    }
}

/// Stores the public half of a pair whose private key goes.
fn keep_public_halves(module: &Module, id: &EntryId, secret: Option<&TokenSecret>) -> Result<()> {
    for object in module.objects.of_entry(id) {
        let attributes = object.attributes();
        if attributes.class() == CKO_PUBLIC_KEY {
            let record = Record::of(std::slice::from_ref(&*attributes), secret)?;
            let place = Place::Token(module.token.store(&record.encode()?)?, 0);
            module.objects.move_to(&object, place);
        }
    }
    Ok(())
}
