//! Objects come into being: created, generated, unwrapped, derived, copied.

use crate::attributes::Attributes;
use crate::error::{Result, Rv, ensure, fail};
use crate::key::{Algorithm, Key};
use crate::keyforms;
use crate::mechanism::{Mechanism, Scheme};
use crate::module::Module;
use crate::object::{Object, Place};
use crate::pairs;
use crate::record::Record;
use crate::session::Session;
use crate::soft::SoftKey;
use crate::token::{NewKey, Purposes, TokenSecret};
use cryptoki_sys::*;
use std::sync::Arc;

/// The attributes of a template.
pub(crate) type Template = Vec<(CK_ATTRIBUTE_TYPE, Vec<u8>)>;

/// The most bytes of a key for HMAC: KeyMint's 512 bits.
const MAX_SECRET_BYTES: usize = 64;

/// What a session may make.
pub(crate) struct Maker<'a> {
    pub(crate) module: &'a Module,
    pub(crate) session: &'a Session,
}

/// Where a key's value comes from.
pub(crate) enum Source<'a> {
    /// Nowhere yet.
    Generated(CK_MECHANISM_TYPE),
    /// From outside.
    Given(&'a [u8]),
}

impl Maker<'_> {
    /// `C_CreateObject`.
    pub(crate) fn create(&self, template: Template) -> Result<Arc<Object>> {
        let mut attributes = Attributes::from_template(template)?;
        attributes.refuse_read_only()?;
        match attributes.due_number(CKA_CLASS)? {
            class @ (CKO_DATA | CKO_CERTIFICATE) => {
                if class == CKO_CERTIFICATE {
                    let kind = attributes.due_number(CKA_CERTIFICATE_TYPE)?;
                    ensure(kind == CKC_X_509, CKR_ATTRIBUTE_VALUE_INVALID)?;
                    attributes.due(CKA_VALUE)?;
                }
                attributes.complete(class)?;
                self.keep(attributes, None)
            }
            CKO_PUBLIC_KEY => self.create_public(attributes),
            CKO_PRIVATE_KEY => {
                attributes.due(CKA_KEY_TYPE)?;
                let (algorithm, value) = pairs::taken(&mut attributes)?;
                attributes.complete(CKO_PRIVATE_KEY)?;
                self.key(attributes, algorithm, &Source::Given(&value))
            }
            CKO_SECRET_KEY => {
                let value = zeroize::Zeroizing::new(attributes.take_due(CKA_VALUE)?);
                attributes.due(CKA_KEY_TYPE)?;
                self.secret(attributes, &Source::Given(&value))
            }
            _ => fail(CKR_ATTRIBUTE_VALUE_INVALID),
        }
    }

    fn create_public(&self, mut attributes: Attributes) -> Result<Arc<Object>> {
        attributes.due(CKA_KEY_TYPE)?;
        let key = keyforms::PublicKey::from_attributes(&attributes)?;
        attributes.complete(CKO_PUBLIC_KEY)?;
        key.describe(&mut attributes)?;
        self.keep(attributes, None)
    }

    /// `C_GenerateKey`.
    pub(crate) fn generate(
        &self,
        mechanism: &Mechanism,
        template: Template,
    ) -> Result<Arc<Object>> {
        let Scheme::GenerateSecret(key_type) = mechanism.scheme(CKF_GENERATE)? else {
            return fail(CKR_MECHANISM_INVALID);
        };
        let mut attributes = Attributes::from_template(template)?;
        attributes.refuse_read_only()?;
        ensure(attributes.get(CKA_VALUE).is_none(), CKR_TEMPLATE_INCONSISTENT)?;
        // A key for HMAC with one hash function is a generic secret that says which.
        if key_type != CKK_GENERIC_SECRET || attributes.get(CKA_KEY_TYPE).is_none() {
            attributes.expect_number(CKA_KEY_TYPE, key_type)?;
        }
        if key_type == CKK_DES3 {
            attributes.expect_number(CKA_VALUE_LEN, 24)?;
        }
        self.secret(attributes, &Source::Generated(mechanism.entry.code))
    }

    /// A secret key, generated or given.
    pub(crate) fn secret(
        &self,
        mut attributes: Attributes,
        source: &Source<'_>,
    ) -> Result<Arc<Object>> {
        if let Source::Given(value) = source {
            attributes.expect_number(CKA_VALUE_LEN, value.len() as CK_ULONG)?;
        }
        let bytes = attributes.due_number(CKA_VALUE_LEN)?;
        ensure((1..=MAX_SECRET_BYTES as CK_ULONG).contains(&bytes), CKR_KEY_SIZE_RANGE)?;
        let algorithm = keyforms::secret(&attributes, bytes as usize)?;
        attributes.complete(CKO_SECRET_KEY)?;
        self.key(attributes, algorithm, source)
    }

    /// `C_GenerateKeyPair`: the public key, and the private one.
    pub(crate) fn generate_pair(
        &self,
        mechanism: &Mechanism,
        public: Template,
        private: Template,
    ) -> Result<(Arc<Object>, Arc<Object>)> {
        let (mut public, mut private, algorithm) = pairs::drafts(mechanism, public, private)?;
        self.allowed(&public)?;
        self.keeps_secret(&mut private, true)?;
        local(&mut public, mechanism.entry.code);
        local(&mut private, mechanism.entry.code);
        if private.flag(CKA_TOKEN) {
            return self.pair_in_token(algorithm, public, private);
        }
        let key = SoftKey::generate(algorithm)?;
        let spki = key.public()?.ok_or(Rv(CKR_GENERAL_ERROR))?;
        pairs::describe(&mut public, &spki)?;
        pairs::describe(&mut private, &spki)?;
        let public = self.keep(public, None)?;
        let private = self.keep(private, Some(Arc::new(key)));
        Ok((public, private?))
    }

    /// Both halves lie in one entry, so that there are never half of them. A public half that is
    /// to live in the session only is kept there.
    fn pair_in_token(
        &self,
        algorithm: Algorithm,
        public: Attributes,
        private: Attributes,
    ) -> Result<(Arc<Object>, Arc<Object>)> {
        let objects = [private, public];
        let stored = if objects[1].flag(CKA_TOKEN) { &objects[..] } else { &objects[..1] };
        let secret = self.module.user_secret();
        let record = Record::of(stored, secret.as_deref())?.encode()?;
        let key = new_key(&objects[0], algorithm, secret.as_deref(), &record);
        let entry = self.module.token.generate(&key)?;
        let spki = entry.public.as_deref().ok_or(Rv(CKR_DEVICE_ERROR))?;
        let [mut private, mut public] = objects;
        pairs::describe(&mut private, spki)?;
        pairs::describe(&mut public, spki)?;
        let place = |at| Place::Token(entry.id.clone(), at);
        let private = self.module.objects.add(place(0), private, None);
        let public = if public.flag(CKA_TOKEN) {
            self.module.objects.add(place(1), public, None)
        } else {
            self.keep(public, None)?
        };
        Ok((public, private))
    }

    /// A private or secret key whose attributes are complete.
    pub(crate) fn key(
        &self,
        mut attributes: Attributes,
        algorithm: Algorithm,
        source: &Source<'_>,
    ) -> Result<Arc<Object>> {
        let generated = match source {
            Source::Generated(mechanism) => {
                local(&mut attributes, *mechanism);
                true
            }
            Source::Given(_) => false,
        };
        self.keeps_secret(&mut attributes, generated)?;
        if attributes.flag(CKA_TOKEN) {
            return self.key_in_token(attributes, algorithm, source);
        }
        let key = match source {
            Source::Generated(_) => SoftKey::generate(algorithm)?,
            Source::Given(value) => SoftKey::import(algorithm, value)?,
        };
        if let Some(spki) = key.public()? {
            pairs::describe(&mut attributes, &spki)?;
        }
        self.keep(attributes, Some(Arc::new(key)))
    }

    fn key_in_token(
        &self,
        mut attributes: Attributes,
        algorithm: Algorithm,
        source: &Source<'_>,
    ) -> Result<Arc<Object>> {
        let secret = self.module.user_secret();
        let record = Record::of(std::slice::from_ref(&attributes), secret.as_deref())?.encode()?;
        let key = new_key(&attributes, algorithm, secret.as_deref(), &record);
        let entry = match source {
            Source::Generated(_) => self.module.token.generate(&key)?,
            Source::Given(value) => self.module.token.import(&key, value)?,
        };
        if let Some(spki) = &entry.public {
            pairs::describe(&mut attributes, spki)?;
        }
        Ok(self.module.objects.add(Place::Token(entry.id, 0), attributes, None))
    }

    /// What a new private or secret key says of its secret.
    ///
    /// What may leave is not sensitive and lies in the session; what is sensitive never leaves. So
    /// there is nothing that wrapping could bring out (Tookan), whatever a wrapping key may do.
    fn keeps_secret(&self, attributes: &mut Attributes, generated: bool) -> Result<()> {
        self.allowed(attributes)?;
        let extractable = attributes.flag(CKA_EXTRACTABLE);
        if attributes.get(CKA_SENSITIVE).is_none() {
            attributes.set_flag(CKA_SENSITIVE, !extractable);
        }
        let sensitive = attributes.flag(CKA_SENSITIVE);
        let leaves_token = extractable && attributes.flag(CKA_TOKEN);
        ensure(!(leaves_token || (extractable && sensitive)), CKR_TEMPLATE_INCONSISTENT)?;
        attributes.set_flag(CKA_ALWAYS_SENSITIVE, generated && sensitive);
        attributes.set_flag(CKA_NEVER_EXTRACTABLE, generated && !extractable);
        // A login for each use is a private object's.
        let each_time = attributes.flag(CKA_ALWAYS_AUTHENTICATE);
        ensure(!each_time || attributes.flag(CKA_PRIVATE), CKR_TEMPLATE_INCONSISTENT)
    }

    /// The session may make such an object.
    fn allowed(&self, attributes: &Attributes) -> Result<()> {
        self.session.may_write(attributes.flag(CKA_TOKEN))?;
        let private = attributes.flag(CKA_PRIVATE);
        ensure(!private || self.module.user_secret().is_some(), CKR_USER_NOT_LOGGED_IN)?;
        // Only the officer's word makes something trusted, and nothing here asks for it.
        ensure(!attributes.flag(CKA_TRUSTED), CKR_ATTRIBUTE_READ_ONLY)
    }

    /// Keeps an object without a key in the TEE where it belongs.
    fn keep(&self, attributes: Attributes, key: Option<Arc<dyn Key>>) -> Result<Arc<Object>> {
        self.allowed(&attributes)?;
        let place = if attributes.flag(CKA_TOKEN) {
            let secret = self.module.user_secret();
            let record = Record::of(std::slice::from_ref(&attributes), secret.as_deref())?;
            Place::Token(self.module.token.store(&record.encode()?)?, 0)
        } else {
            Place::Session(self.session.handle)
        };
        Ok(self.module.objects.add(place, attributes, key))
    }

    /// `C_CopyObject`.
    pub(crate) fn copy(&self, object: &Object, template: Template) -> Result<Arc<Object>> {
        let from = object.attributes();
        ensure(from.flag(CKA_COPYABLE), CKR_ACTION_PROHIBITED)?;
        let template = Attributes::from_template(template)?;
        template.refuse_read_only()?;
        let mut to = copied(&from, &template)?;
        if !matches!(from.class(), CKO_PRIVATE_KEY | CKO_SECRET_KEY) {
            return self.keep(to, None);
        }
        // A key in the TEE is there once.
        ensure(matches!(object.place, Place::Session(_)), CKR_ACTION_PROHIBITED)?;
        let key = self.module.key(object)?;
        if to.flag(CKA_TOKEN) {
            let value = key.value().ok_or(Rv(CKR_ACTION_PROHIBITED))?;
            let algorithm = keyforms::algorithm(&from)?;
            return self.key_in_token_as(to, algorithm, value);
        }
        let extractable = to.flag(CKA_EXTRACTABLE) && to.flag(CKA_SENSITIVE);
        ensure(!extractable, CKR_TEMPLATE_INCONSISTENT)?;
        to.set_flag(CKA_LOCAL, from.flag(CKA_LOCAL));
        self.keep(to, Some(key))
    }

    fn key_in_token_as(
        &self,
        attributes: Attributes,
        algorithm: Algorithm,
        value: &[u8],
    ) -> Result<Arc<Object>> {
        self.allowed(&attributes)?;
        ensure(!attributes.flag(CKA_EXTRACTABLE), CKR_TEMPLATE_INCONSISTENT)?;
        self.key_in_token(attributes, algorithm, &Source::Given(value))
    }
}

/// What a copy may differ in: where it lies and who sees it, besides what may change anyway.
fn copied(from: &Attributes, template: &Attributes) -> Result<Attributes> {
    let mut to = from.clone();
    let mut rest = Attributes::default();
    for (code, value) in template.iter() {
        match code {
            CKA_TOKEN | CKA_PRIVATE | CKA_MODIFIABLE | CKA_DESTROYABLE => to.set(code, value),
            _ => rest.set(code, value),
        }
    }
    let modifiable = to.flag(CKA_MODIFIABLE);
    to.set_flag(CKA_MODIFIABLE, true);
    let mut to = to.changed(&rest)?;
    to.set_flag(CKA_MODIFIABLE, modifiable);
    Ok(to)
}

/// Says that a key was made here.
fn local(attributes: &mut Attributes, mechanism: CK_MECHANISM_TYPE) {
    attributes.set_flag(CKA_LOCAL, true);
    attributes.set_number(CKA_KEY_GEN_MECHANISM, mechanism);
}

/// What the TEE is asked to make.
fn new_key<'a>(
    attributes: &Attributes,
    algorithm: Algorithm,
    secret: Option<&'a TokenSecret>,
    record: &'a [u8],
) -> NewKey<'a> {
    let has = |code| attributes.flag(code);
    // To check a MAC is to make it.
    let signs = has(CKA_SIGN) || (has(CKA_VERIFY) && !algorithm.is_pair());
    // HKDF is HMAC.
    let derives = has(CKA_DERIVE) && matches!(algorithm, Algorithm::Hmac(..));
    let purposes = Purposes {
        sign: signs || has(CKA_SIGN_RECOVER) || derives,
        // CMAC chains blocks.
        encrypt: has(CKA_ENCRYPT) || has(CKA_WRAP) || (signs && !algorithm.is_pair()),
        decrypt: has(CKA_DECRYPT) || has(CKA_UNWRAP),
        agree: has(CKA_DERIVE),
    };
    let secret = secret.filter(|_| has(CKA_PRIVATE));
    NewKey { algorithm, purposes, secret, record }
}
