//! Keys are made, go out, come in; randomness (PKCS #11 3.0, 5.18 and 5.19).

use crate::border::{Output, bytes, functions, place, template};
use crate::error::{Rv, ensure};
use crate::making::Maker;
use crate::mechanism::Mechanism;
use crate::module::Module;
use cryptoki_sys::*;

/// The most random bytes of one call.
const MAX_RANDOM_BYTES: CK_ULONG = 1 << 24;

functions! {
    /// `C_GenerateKey` (5.18.1).
    fn C_GenerateKey(
        session: CK_SESSION_HANDLE,
        mechanism: *mut CK_MECHANISM,
        attributes: *mut CK_ATTRIBUTE,
        count: CK_ULONG,
        key: *mut CK_OBJECT_HANDLE,
    ) {
        let module = Module::get()?;
        let session = module.session(session)?;
        let mechanism = Mechanism::read(mechanism)?;
        let (handle, template) = (place(key)?, template(attributes, count)?);
        let maker = Maker { module, session: &session };
        *handle = maker.generate(&mechanism, template)?.handle;
        Ok(())
    }

    /// `C_GenerateKeyPair` (5.18.2).
    fn C_GenerateKeyPair(
        session: CK_SESSION_HANDLE,
        mechanism: *mut CK_MECHANISM,
        public: *mut CK_ATTRIBUTE,
        public_count: CK_ULONG,
        private: *mut CK_ATTRIBUTE,
        private_count: CK_ULONG,
        public_key: *mut CK_OBJECT_HANDLE,
        private_key: *mut CK_OBJECT_HANDLE,
    ) {
        let module = Module::get()?;
        let session = module.session(session)?;
        let mechanism = Mechanism::read(mechanism)?;
        ensure(!public_key.is_null() && !private_key.is_null(), CKR_ARGUMENTS_BAD)?;
        let public = template(public, public_count)?;
        let private = template(private, private_count)?;
        let maker = Maker { module, session: &session };
        let (public, private) = maker.generate_pair(&mechanism, public, private)?;
        *place(public_key)? = public.handle;
        *place(private_key)? = private.handle;
        Ok(())
    }

    /// `C_WrapKey` (5.18.3).
    fn C_WrapKey(
        session: CK_SESSION_HANDLE,
        mechanism: *mut CK_MECHANISM,
        wrapping: CK_OBJECT_HANDLE,
        key: CK_OBJECT_HANDLE,
        wrapped: *mut CK_BYTE,
        length: *mut CK_ULONG,
    ) {
        let module = Module::get()?;
        let session = module.session(session)?;
        let mechanism = Mechanism::read(mechanism)?;
        let output = Output::new(wrapped, length)?;
        let wrapping =
            module.object(wrapping).map_err(|_| Rv(CKR_WRAPPING_KEY_HANDLE_INVALID))?;
        let key = module.object(key).map_err(|_| Rv(CKR_KEY_HANDLE_INVALID))?;
        let maker = Maker { module, session: &session };
        output.write(&maker.wrap(&mechanism, &wrapping, &key)?)
    }

    /// `C_UnwrapKey` (5.18.4).
    fn C_UnwrapKey(
        session: CK_SESSION_HANDLE,
        mechanism: *mut CK_MECHANISM,
        unwrapping: CK_OBJECT_HANDLE,
        wrapped: *mut CK_BYTE,
        length: CK_ULONG,
        attributes: *mut CK_ATTRIBUTE,
        count: CK_ULONG,
        key: *mut CK_OBJECT_HANDLE,
    ) {
        let module = Module::get()?;
        let session = module.session(session)?;
        let mechanism = Mechanism::read(mechanism)?;
        let (handle, template) = (place(key)?, template(attributes, count)?);
        let wrapped = bytes(wrapped, length)?;
        let unwrapping =
            module.object(unwrapping).map_err(|_| Rv(CKR_UNWRAPPING_KEY_HANDLE_INVALID))?;
        let maker = Maker { module, session: &session };
        *handle = maker.unwrap(&mechanism, &unwrapping, wrapped, template)?.handle;
        Ok(())
    }

    /// `C_DeriveKey` (5.18.5).
    fn C_DeriveKey(
        session: CK_SESSION_HANDLE,
        mechanism: *mut CK_MECHANISM,
        base: CK_OBJECT_HANDLE,
        attributes: *mut CK_ATTRIBUTE,
        count: CK_ULONG,
        key: *mut CK_OBJECT_HANDLE,
    ) {
        let module = Module::get()?;
        let session = module.session(session)?;
        let mechanism = Mechanism::read(mechanism)?;
        let (handle, template) = (place(key)?, template(attributes, count)?);
        let base = module.object(base).map_err(|_| Rv(CKR_KEY_HANDLE_INVALID))?;
        let maker = Maker { module, session: &session };
        *handle = maker.derive(&mechanism, &base, template)?.handle;
        Ok(())
    }

    /// `C_SeedRandom` (5.19.1).
    fn C_SeedRandom(session: CK_SESSION_HANDLE, seed: *mut CK_BYTE, length: CK_ULONG) {
        let module = Module::get()?;
        module.session(session)?;
        module.token.seed(bytes(seed, length)?)
    }

    /// `C_GenerateRandom` (5.19.2).
    fn C_GenerateRandom(session: CK_SESSION_HANDLE, random: *mut CK_BYTE, length: CK_ULONG) {
        let module = Module::get()?;
        module.session(session)?;
        ensure(!random.is_null() || length == 0, CKR_ARGUMENTS_BAD)?;
        ensure(length <= MAX_RANDOM_BYTES, CKR_ARGUMENTS_BAD)?;
        let mut bytes = vec![0; length as usize];
        module.token.random(&mut bytes)?;
        if length > 0 {
            // SAFETY: the caller has room for so many bytes.
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), random, bytes.len());
        }
        Ok(())
    }
}
