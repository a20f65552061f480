//! New keys: generated, imported, imported wrapped, upgraded; and their end.

use crate::blob::{self, Header};
use crate::certificate::{self, Issuer, Subject};
use crate::description::{SecureIds, wrapped};
use crate::failure::{Failure, Outcome, as_code};
use crate::keymint::{KeyMintTa, refusal_is_an_answer};
use crate::open_key::{self, OpenKey};
use crate::rules::{self, creation};
use crate::{material, secrets, versions};
use keyattest::SecureKeyWrapper;
use keyattest::x509::Name;
use keymint::{
    Algorithm, Authorizations, Digest, ErrorCode, Kept, KeyFormat, KeyOrigin, KeyPurpose,
    PaddingMode, Tag,
};
use serde_bytes::ByteBuf;
use std::rc::Rc;
use tee_api::keymint::{AttestKey, KeyCharacteristics, KeyCreation, Reply};
use tee_sdk::engine::{Attributes, Cipher, Hash, Key, KeyType, Usage};
use tee_sdk::{Context, Step, Zeroizing};

/// 9999-12-31T23:59:59Z: no end (RFC 5280, 4.1.2.5).
const NO_END_MS: u64 = 253_402_300_799_000;

impl KeyMintTa {
    /// A fresh key. One of RSA takes up to seconds, in which others are served.
    pub(crate) fn generate(
        &mut self,
        context: &mut Context<'_>,
        params: Authorizations,
        attest: Option<AttestKey>,
    ) -> Outcome<Step<Self>> {
        let obeys = creation::check(&params)?;
        let attributes = rules::attributes(&obeys)?;
        self.may_generate(context, &obeys, attest.as_ref())?;
        Ok(Step::generate(attributes, move |ta: &mut Self, context, key| {
            // Much may have happened while it was made.
            let created = ta
                .may_generate(context, &obeys, attest.as_ref())
                .and_then(|by| ta.create(context, key, obeys, KeyOrigin::Generated, by.as_ref()));
            refusal_is_an_answer(created.map(|key| Step::Done(Reply::Key(key))))
        }))
    }

    fn may_generate(
        &mut self,
        context: &mut Context<'_>,
        obeys: &Authorizations,
        attest: Option<&AttestKey>,
    ) -> Outcome<Option<Issuer>> {
        if obeys.early_boot_only && self.boot_state(context)?.early_boot_ended {
            return Err(ErrorCode::EarlyBootEnded.into());
        }
        self.issuer(context, attest)
    }

    /// A key that comes from outside in the clear.
    pub(crate) fn import(
        &mut self,
        context: &mut Context<'_>,
        params: &Authorizations,
        format: KeyFormat,
        data: &[u8],
        attest: Option<&AttestKey>,
    ) -> Outcome<KeyCreation> {
        let issuer = self.issuer(context, attest)?;
        self.import_as(context, params, format, data, KeyOrigin::Imported, issuer.as_ref())
    }

    fn import_as(
        &mut self,
        context: &mut Context<'_>,
        params: &Authorizations,
        format: KeyFormat,
        data: &[u8],
        origin: KeyOrigin,
        issuer: Option<&Issuer>,
    ) -> Outcome<KeyCreation> {
        // Early boot is for keys that nobody else ever had.
        if params.early_boot_only {
            return Err(ErrorCode::EarlyBootEnded.into());
        }
        let material = material::read(params, format, data)?;
        let obeys = creation::check(&material.params)?;
        let key = context
            .import_key(rules::attributes(&obeys)?, &material.bytes)
            .map_err(|error| as_code(error, ErrorCode::InvalidArgument))?;
        self.create(context, key, obeys, origin, issuer)
    }

    /// A key that comes from outside wrapped (`SecureKeyWrapper`).
    pub(crate) fn import_wrapped(
        &mut self,
        context: &mut Context<'_>,
        sealed: &[u8],
        wrapping_key: (&[u8], &Authorizations),
        masking_key: &[u8],
        ids: SecureIds,
    ) -> Outcome<KeyCreation> {
        let wrapper = SecureKeyWrapper::parse(sealed).map_err(|_| ErrorCode::InvalidArgument)?;
        let (blob, params) = wrapping_key;
        let under = open_key::open(context, &mut self.secrets, blob, params)?;
        check_wrapping_key(&under.header.hardware, params)?;
        let transport = transport_key(context, &under, &wrapper, masking_key)?;
        let data = transport
            .open(
                context,
                &wrapper.description,
                &[&wrapper.initialization_vector[..], &wrapper.encrypted_key, &wrapper.tag]
                    .concat(),
            )
            .map_err(|error| as_code(error, ErrorCode::VerificationFailed))?;
        let mut obeys = wrapped(&wrapper.params, ids)?;
        obeys.certificate_not_before = params.certificate_not_before.or(Some(0));
        obeys.certificate_not_after = params.certificate_not_after.or(Some(NO_END_MS));
        let format =
            KeyFormat::from_number(wrapper.key_format).ok_or(ErrorCode::UnsupportedKeyFormat)?;
        self.import_as(context, &obeys, format, &data, KeyOrigin::SecurelyImported, None)
    }

    /// The key that is to attest another one.
    fn issuer(
        &mut self,
        context: &mut Context<'_>,
        attest: Option<&AttestKey>,
    ) -> Outcome<Option<Issuer>> {
        let Some(AttestKey { blob, params, issuer_subject }) = attest else { return Ok(None) };
        if issuer_subject.is_empty() {
            return Err(ErrorCode::MissingIssuerSubject.into());
        }
        let name = Name::from_der(issuer_subject).map_err(|_| ErrorCode::InvalidIssuerSubject)?;
        let key = open_key::open(context, &mut self.secrets, blob, params)?;
        let obeys = &key.header.hardware;
        if !obeys.purpose.contains(&KeyPurpose::AttestKey) {
            return Err(ErrorCode::IncompatiblePurpose.into());
        }
        self.check_use(context, &key, None)?;
        Ok(Some(Issuer { key: Rc::new(key), name }))
    }

    /// Certificate and blob of a key that the engine has.
    fn create(
        &mut self,
        context: &mut Context<'_>,
        key: Key,
        obeys: Authorizations,
        origin: KeyOrigin,
        issuer: Option<&Issuer>,
    ) -> Outcome<KeyCreation> {
        let boot = blob::boot_info(context)?;
        let (mut hardware, software) = enforced(&obeys);
        hardware.origin = Some(origin);
        let hardware = hardware.with(&versions::of(&boot));
        let module_hash = self.boot_state(context)?.module_hash.clone();
        let subject = Subject {
            key: &key,
            hardware: &hardware,
            software: &software,
            params: &obeys,
            module_hash: module_hash.as_ref().map(|hash| &hash[..]),
        };
        let chain = certificate::certify(context, &subject, issuer)?;
        let slot = if needs_slot(&hardware) { Some(secrets::fill_slot(context)?) } else { None };
        let header = Header::new(context, hardware, software, slot)?;
        let hidden = open_key::hidden(&obeys);
        let blob = blob::seal(context, &mut self.secrets, &key, &header, &hidden)?;
        Ok(KeyCreation { blob, characteristics: characteristics(header), chain })
    }

    /// The same key under what runs now; nothing where it is so already. The old blob of a key
    /// that can be deleted works until it is deleted, so that the caller loses nothing when power
    /// goes in between.
    pub(crate) fn upgrade(
        &mut self,
        context: &mut Context<'_>,
        blob: &[u8],
        params: &Authorizations,
    ) -> Outcome<ByteBuf> {
        let opened = open_key::open_any(context, &mut self.secrets, blob, params)?;
        let boot = blob::boot_info(context)?;
        let hardware = versions::upgraded(&opened.header.hardware, &boot)?;
        if hardware == opened.header.hardware {
            return Ok(ByteBuf::new());
        }
        let slot = if needs_slot(&hardware) { Some(secrets::fill_slot(context)?) } else { None };
        let header = opened.header.renewed(context, hardware, slot)?;
        let hidden = open_key::hidden(params);
        blob::seal(context, &mut self.secrets, &opened.key, &header, &hidden)
    }

    /// Empties the slot of a key, where it has one. Whoever has the blob may.
    pub(crate) fn delete(&mut self, context: &mut Context<'_>, blob: &[u8]) -> Outcome<()> {
        let (_, header, _) = blob::split(blob)?;
        if let Some(slot) = header.slot()? {
            secrets::empty_slot(context, &slot)?;
            self.forget(&header.id);
        }
        Ok(())
    }
}

/// What the TEE enforces, and what the keystore service has to. One use is counted here; more
/// than one would cost RPMB a write each, so the service counts them.
fn enforced(obeys: &Authorizations) -> (Authorizations, Authorizations) {
    let counts_here = obeys.usage_count_limit == Some(1);
    let by = |tag: Tag| match tag {
        Tag::UsageCountLimit if !counts_here => Kept::Keystore,
        tag => tag.kept(),
    };
    (obeys.filtered(|tag| by(tag) == Kept::Tee), obeys.filtered(|tag| by(tag) == Kept::Keystore))
}

/// Whether the key's end must be final.
pub(crate) fn needs_slot(hardware: &Authorizations) -> bool {
    hardware.rollback_resistance || hardware.usage_count_limit == Some(1)
}

/// What a caller sees of what a key obeys.
pub(crate) fn characteristics(header: Header) -> KeyCharacteristics {
    KeyCharacteristics { hardware_enforced: header.hardware, software_enforced: header.software }
}

/// An RSA key for `wrap_key`, OAEP and SHA-256, in itself and as it is used.
fn check_wrapping_key(key: &Authorizations, params: &Authorizations) -> Result<(), ErrorCode> {
    let checks = [
        (key.purpose.contains(&KeyPurpose::WrapKey), ErrorCode::IncompatiblePurpose),
        (key.algorithm == Some(Algorithm::Rsa), ErrorCode::IncompatibleAlgorithm),
        (key.padding.contains(&PaddingMode::RsaOaep), ErrorCode::IncompatiblePaddingMode),
        (params.padding == [PaddingMode::RsaOaep].into(), ErrorCode::IncompatiblePaddingMode),
        (key.digest.contains(&Digest::Sha2_256), ErrorCode::IncompatibleDigest),
        (params.digest == [Digest::Sha2_256].into(), ErrorCode::IncompatibleDigest),
        (key.no_auth_required, ErrorCode::KeyUserNotAuthenticated),
    ];
    checks.into_iter().try_for_each(|(holds, code)| if holds { Ok(()) } else { Err(code) })
}

/// The key of AES-GCM: what OAEP hides, under its mask. Whatever is wrong, the answer is the same
/// as for a wrong tag.
fn transport_key(
    context: &mut Context<'_>,
    under: &OpenKey,
    wrapper: &SecureKeyWrapper,
    masking_key: &[u8],
) -> Outcome<Key> {
    const TRANSPORT: Attributes = Attributes::new(KeyType::Aes256, Usage::DECRYPT);
    let wrong = || Failure::from(ErrorCode::VerificationFailed);
    let oaep =
        Cipher::RsaOaep { hash: Hash::Sha256, mask: Hash::LegacySha1, label: ByteBuf::new() };
    let masked = under
        .key
        .decrypt(context, oaep, &wrapper.encrypted_transport_key)
        .map_err(|error| as_code(error, ErrorCode::VerificationFailed))?;
    let masking_key: &[u8; 32] =
        masking_key.try_into().map_err(|_| ErrorCode::InvalidInputLength)?;
    if masked.len() != masking_key.len() {
        return Err(wrong());
    }
    let bytes = masked.iter().zip(masking_key).map(|(byte, mask)| byte ^ mask);
    let bytes = Zeroizing::new(bytes.collect::<Vec<u8>>());
    context.import_key(TRANSPORT, &bytes).map_err(Failure::Tee)
}
