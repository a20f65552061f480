//! Attributes of objects: which there are, of what form, and who may set them.

mod rules;

use rules::{Rule, Set, class_bit};

use crate::error::{Result, Rv, ensure, fail};
use cryptoki_sys::*;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::collections::BTreeMap;

/// The attributes of an object, each in its form of C.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attributes(BTreeMap<CK_ATTRIBUTE_TYPE, ByteBuf>);

impl Attributes {
    /// Reads a template. No attribute comes twice, each is known and has its form.
    pub(crate) fn from_template(template: Vec<(CK_ATTRIBUTE_TYPE, Vec<u8>)>) -> Result<Self> {
        let mut all = Self::default();
        for (code, value) in template {
            let rule = Rule::find(code).ok_or(Rv(CKR_ATTRIBUTE_TYPE_INVALID))?;
            ensure(rule.form.fits(&value), CKR_ATTRIBUTE_VALUE_INVALID)?;
            ensure(all.get(code).is_none(), CKR_TEMPLATE_INCONSISTENT)?;
            all.set(code, value);
        }
        Ok(all)
    }

    /// A value.
    pub(crate) fn get(&self, code: CK_ATTRIBUTE_TYPE) -> Option<&[u8]> {
        self.0.get(&code).map(|value| value.as_slice())
    }

    /// Sets a value.
    pub(crate) fn set(&mut self, code: CK_ATTRIBUTE_TYPE, value: impl Into<Vec<u8>>) {
        self.0.insert(code, ByteBuf::from(value.into()));
    }

    /// Sets a flag.
    pub(crate) fn set_flag(&mut self, code: CK_ATTRIBUTE_TYPE, value: bool) {
        self.set(code, [if value { CK_TRUE } else { CK_FALSE }]);
    }

    /// Sets a number.
    pub(crate) fn set_number(&mut self, code: CK_ATTRIBUTE_TYPE, value: CK_ULONG) {
        self.set(code, value.to_ne_bytes());
    }

    /// Takes a value out.
    pub(crate) fn take(&mut self, code: CK_ATTRIBUTE_TYPE) -> Option<Vec<u8>> {
        self.0.remove(&code).map(ByteBuf::into_vec)
    }

    /// Takes out what the creation of an object can't do without.
    pub(crate) fn take_due(&mut self, code: CK_ATTRIBUTE_TYPE) -> Result<Vec<u8>> {
        self.take(code).ok_or(Rv(CKR_TEMPLATE_INCOMPLETE))
    }

    /// A flag; absent is false.
    pub(crate) fn flag(&self, code: CK_ATTRIBUTE_TYPE) -> bool {
        self.get(code).is_some_and(|value| value.first().is_some_and(|byte| *byte != CK_FALSE))
    }

    /// A number.
    pub(crate) fn number(&self, code: CK_ATTRIBUTE_TYPE) -> Option<CK_ULONG> {
        self.get(code)?.try_into().ok().map(CK_ULONG::from_ne_bytes)
    }

    /// What the creation of an object can't do without.
    pub(crate) fn due(&self, code: CK_ATTRIBUTE_TYPE) -> Result<&[u8]> {
        self.get(code).ok_or(Rv(CKR_TEMPLATE_INCOMPLETE))
    }

    /// A number that the creation of an object can't do without.
    pub(crate) fn due_number(&self, code: CK_ATTRIBUTE_TYPE) -> Result<CK_ULONG> {
        self.number(code).ok_or(Rv(CKR_TEMPLATE_INCOMPLETE))
    }

    /// The numbers of a list; `None` where there is no list.
    pub(crate) fn numbers(&self, code: CK_ATTRIBUTE_TYPE) -> Option<Vec<CK_ULONG>> {
        let chunks = self.get(code)?.chunks_exact(size_of::<CK_ULONG>());
        let number = |bytes: &[u8]| bytes.try_into().map_or(0, CK_ULONG::from_ne_bytes);
        Some(chunks.map(number).collect())
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (CK_ATTRIBUTE_TYPE, &[u8])> {
        self.0.iter().map(|(code, value)| (*code, value.as_slice()))
    }

    /// The object's class.
    pub(crate) fn class(&self) -> CK_OBJECT_CLASS {
        self.number(CKA_CLASS).unwrap_or(CK_OBJECT_CLASS::MAX)
    }

    /// The key's type.
    pub(crate) fn key_type(&self) -> CK_KEY_TYPE {
        self.number(CKA_KEY_TYPE).unwrap_or(CK_KEY_TYPE::MAX)
    }

    /// What it is made of may be read.
    pub(crate) fn reveals(&self) -> bool {
        !self.flag(CKA_SENSITIVE) && self.flag(CKA_EXTRACTABLE)
    }

    /// Sets what the template says nothing of, and fixes the class.
    pub(crate) fn complete(&mut self, class: CK_OBJECT_CLASS) -> Result<()> {
        self.expect_number(CKA_CLASS, class)?;
        self.default_purposes();
        let bit = class_bit(class).ok_or(Rv(CKR_ATTRIBUTE_VALUE_INVALID))?;
        for (code, _) in self.iter() {
            let known = Rule::find(code).is_some_and(|rule| rule.classes & bit != 0);
            ensure(known, CKR_ATTRIBUTE_TYPE_INVALID)?;
        }
        for rule in rules::RULES.iter().filter(|rule| rule.classes & bit != 0) {
            if let (None, Some(default)) = (self.get(rule.code), rule.default(bit)) {
                self.set(rule.code, default);
            }
        }
        Ok(())
    }

    /// A key whose template names no purpose may do what keys of its class and type are for.
    fn default_purposes(&mut self) {
        let named = |it: &Self| rules::PURPOSES.iter().any(|code| it.get(*code).is_some());
        if !named(self) {
            for code in rules::default_purposes(self.class(), self.key_type()) {
                self.set_flag(*code, true);
            }
        }
    }

    /// Sets a number; the template may have said the same and nothing else.
    pub(crate) fn expect_number(&mut self, code: CK_ATTRIBUTE_TYPE, value: CK_ULONG) -> Result<()> {
        match self.number(code) {
            Some(said) if said != value => fail(CKR_TEMPLATE_INCONSISTENT),
            _ => {
                self.set_number(code, value);
                Ok(())
            }
        }
    }

    /// Every attribute of `template` is here with the same value.
    pub(crate) fn matches(&self, template: &[(CK_ATTRIBUTE_TYPE, Vec<u8>)]) -> bool {
        template.iter().all(|(code, value)| self.get(*code).is_some_and(|own| own == value))
    }

    /// Refuses what is the module's to say in templates of new objects.
    pub(crate) fn refuse_read_only(&self) -> Result<()> {
        let free = |code| Rule::find(code).is_some_and(|rule| rule.set != Set::Never);
        ensure(self.iter().all(|(code, _)| free(code)), CKR_ATTRIBUTE_READ_ONLY)
    }

    /// These with the changes of a template (5.7.6, `C_SetAttributeValue`).
    pub(crate) fn changed(&self, template: &Self) -> Result<Self> {
        ensure(self.flag(CKA_MODIFIABLE), CKR_ACTION_PROHIBITED)?;
        let bit = class_bit(self.class()).unwrap_or(0);
        let mut changed = self.clone();
        for (code, value) in template.iter() {
            let rule = Rule::find(code).filter(|rule| rule.classes & bit != 0);
            let rule = rule.ok_or(Rv(CKR_ATTRIBUTE_TYPE_INVALID))?;
            let (now, then) = (self.flag(code), value.first() == Some(&CK_TRUE));
            let same = self.get(code) == Some(value);
            let allowed = same
                || match rule.set {
                    Set::Free => true,
                    Set::OnlyOn => !now && then,
                    Set::OnlyOff => now && !then,
                    Set::AtCreation | Set::Never => false,
                };
            ensure(allowed, CKR_ATTRIBUTE_READ_ONLY)?;
            changed.set(code, value);
        }
        Ok(changed)
    }
}

/// What of an object may be read, and what not.
pub(crate) fn readable(attributes: &Attributes, code: CK_ATTRIBUTE_TYPE) -> Result<()> {
    let secret = rules::SECRETS.contains(&code);
    let keeps = matches!(attributes.class(), CKO_PRIVATE_KEY | CKO_SECRET_KEY);
    let hidden = secret && keeps && !attributes.reveals();
    ensure(!hidden, CKR_ATTRIBUTE_SENSITIVE)
}
