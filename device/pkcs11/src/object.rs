//! Objects, and the handles that they go by.

use crate::attributes::Attributes;
use crate::error::{Result, Rv, ensure};
use crate::key::Key;
use crate::record::Record;
use crate::token::{Entry, EntryId, TokenSecret};
use cryptoki_sys::*;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// Where an object lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// In this process, until the session ends.
    Session(CK_SESSION_HANDLE),
    /// In the token: an entry, and which of its objects.
    Token(EntryId, usize),
}

/// An object.
pub(crate) struct Object {
    pub(crate) handle: CK_OBJECT_HANDLE,
    pub(crate) place: Place,
    attributes: RwLock<Arc<Attributes>>,
    /// Its key, where it has one: from the start, or since it was first used.
    key: Mutex<Option<Arc<dyn Key>>>,
}

impl Object {
    /// Its attributes, as they are now.
    pub(crate) fn attributes(&self) -> Arc<Attributes> {
        Arc::clone(&self.attributes.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces them.
    pub(crate) fn set_attributes(&self, attributes: Attributes) {
        *self.attributes.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(attributes);
    }

    /// Its key; `open` gets it where it was not used before.
    pub(crate) fn key(
        &self,
        open: impl FnOnce(&EntryId) -> Result<Arc<dyn Key>>,
    ) -> Result<Arc<dyn Key>> {
        let mut key = self.key.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = &*key {
            return Ok(Arc::clone(key));
        }
        let Place::Token(id, _) = &self.place else { return Err(Rv(CKR_KEY_HANDLE_INVALID)) };
        Ok(Arc::clone(key.insert(open(id)?)))
    }

    /// Forgets a key that lies in the token.
    pub(crate) fn close(&self) {
        if matches!(self.place, Place::Token(..)) {
            *self.key.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    /// A caller with or without a login may see it.
    pub(crate) fn is_visible(&self, logged_in: bool) -> bool {
        logged_in || !self.attributes().flag(CKA_PRIVATE)
    }
}

/// All objects that this process knows.
#[derive(Default)]
pub(crate) struct Objects {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    last: CK_OBJECT_HANDLE,
    by_handle: HashMap<CK_OBJECT_HANDLE, Arc<Object>>,
    by_entry: HashMap<(EntryId, usize), CK_OBJECT_HANDLE>,
}

impl Table {
    fn add(
        &mut self,
        place: Place,
        attributes: Attributes,
        key: Option<Arc<dyn Key>>,
    ) -> Arc<Object> {
        self.last += 1;
        self.insert(self.last, place, attributes, key)
    }

    fn insert(
        &mut self,
        handle: CK_OBJECT_HANDLE,
        place: Place,
        attributes: Attributes,
        key: Option<Arc<dyn Key>>,
    ) -> Arc<Object> {
        if let Place::Token(id, at) = &place {
            self.by_entry.insert((id.clone(), *at), handle);
        }
        let attributes = RwLock::new(Arc::new(attributes));
        let object = Arc::new(Object { handle, place, attributes, key: Mutex::new(key) });
        self.by_handle.insert(handle, Arc::clone(&object));
        object
    }

    fn remove(&mut self, handle: CK_OBJECT_HANDLE) {
        if let Some(object) = self.by_handle.remove(&handle)
            && let Place::Token(id, at) = &object.place
        {
            self.by_entry.remove(&(id.clone(), *at));
        }
    }
}

impl Objects {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds one.
    pub(crate) fn add(
        &self,
        place: Place,
        attributes: Attributes,
        key: Option<Arc<dyn Key>>,
    ) -> Arc<Object> {
        self.lock().add(place, attributes, key)
    }

    /// One by its handle.
    pub(crate) fn get(&self, handle: CK_OBJECT_HANDLE) -> Result<Arc<Object>> {
        self.lock().by_handle.get(&handle).cloned().ok_or(Rv(CKR_OBJECT_HANDLE_INVALID))
    }

    /// All of them, in the order in which they became known.
    pub(crate) fn all(&self) -> Vec<Arc<Object>> {
        let mut all: Vec<_> = self.lock().by_handle.values().cloned().collect();
        all.sort_by_key(|object| object.handle);
        all
    }

    /// The objects of an entry.
    pub(crate) fn of_entry(&self, id: &EntryId) -> Vec<Arc<Object>> {
        let is_of = |object: &Arc<Object>| matches!(&object.place, Place::Token(it, _) if it == id);
        self.all().into_iter().filter(is_of).collect()
    }

    /// Says that one lies elsewhere from now on; its handle stays.
    pub(crate) fn move_to(&self, object: &Object, place: Place) {
        let mut table = self.lock();
        table.remove(object.handle);
        table.insert(object.handle, place, (*object.attributes()).clone(), None);
    }

    /// Forgets one.
    pub(crate) fn remove(&self, handle: CK_OBJECT_HANDLE) {
        self.lock().remove(handle);
    }

    /// Forgets those that do not satisfy a condition.
    pub(crate) fn retain(&self, keep: impl Fn(&Object) -> bool) {
        let mut table = self.lock();
        let gone: Vec<_> =
            table.by_handle.values().filter(|it| !keep(it)).map(|it| it.handle).collect();
        gone.into_iter().for_each(|handle| table.remove(handle));
    }

    /// Brings this process's knowledge of the token up to date. Handles stay.
    pub(crate) fn refresh(&self, entries: &[Entry], secret: Option<&TokenSecret>) -> Result<()> {
        let mut present = std::collections::HashSet::new();
        let mut found = Vec::new();
        for entry in entries {
            // What this module did not write, or somebody altered, is no object.
            let Ok(record) = Record::decode(&entry.record) else { continue };
            for (at, part) in record.objects.iter().enumerate() {
                let place = (entry.id.clone(), at);
                present.insert(place.clone());
                if let Some(mut attributes) = part.open(secret) {
                    describe(&mut attributes, entry)?;
                    found.push((place, attributes));
                }
            }
        }
        let mut table = self.lock();
        let gone = table.by_entry.iter().filter(|(place, _)| !present.contains(*place));
        let gone: Vec<_> = gone.map(|(_, handle)| *handle).collect();
        gone.into_iter().for_each(|handle| table.remove(handle));
        for (place, attributes) in found {
            match table.by_entry.get(&place).and_then(|it| table.by_handle.get(it)) {
                Some(object) => object.set_attributes(attributes),
                None => drop(table.add(Place::Token(place.0, place.1), attributes, None)),
            }
        }
        Ok(())
    }
}

/// Adds what the TEE says of a key pair.
fn describe(attributes: &mut Attributes, entry: &Entry) -> Result<()> {
    let Some(spki) = &entry.public else { return Ok(()) };
    if !matches!(attributes.class(), CKO_PUBLIC_KEY | CKO_PRIVATE_KEY) {
        return Ok(());
    }
    crate::pairs::describe(attributes, spki)
}

/// A handle of a key, for a purpose that the key has and with a mechanism that fits.
pub(crate) fn usable(
    attributes: &Attributes,
    purpose: CK_ATTRIBUTE_TYPE,
    mechanism: &crate::mechanism::Entry,
) -> Result<()> {
    let is_key = matches!(attributes.class(), CKO_PUBLIC_KEY | CKO_PRIVATE_KEY | CKO_SECRET_KEY);
    ensure(is_key, CKR_KEY_HANDLE_INVALID)?;
    ensure(mechanism.scheme.fits(attributes.key_type()), CKR_KEY_TYPE_INCONSISTENT)?;
    ensure(attributes.flag(purpose), CKR_KEY_FUNCTION_NOT_PERMITTED)?;
    let allowed = attributes.numbers(CKA_ALLOWED_MECHANISMS);
    let allowed = allowed.is_none_or(|codes| codes.is_empty() || codes.contains(&mechanism.code));
    ensure(allowed, CKR_MECHANISM_INVALID)
}
