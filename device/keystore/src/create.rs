//! New keys: generated, imported, unwrapped.

use crate::access::{check_alias, check_extra};
use crate::audit::{Event, What};
use crate::caller::{Caller, label};
use crate::enforcement::{all, counted};
use crate::error::Error;
use crate::remote::RemoteKey;
use crate::rows::{self, Key, Sealed, Sealing};
use crate::service::Keystore;
use keyattest::x509::Certificate;
use keymint::{Algorithm, Authorizations, Bytes, ErrorCode, Tag};
use keystore_client::KeystoreCode;
use keystore_client::api::{
    self, Access, AttestationSource, Import, ImportWrapped, KeyInfo, KeyRef, Namespace, NewKey,
};
use serde_bytes::ByteBuf;
use tee_api::keymint::{AttestKey, Command, KeyCreation, Reply};

/// Keys that one namespace may have.
const MAX_KEYS: i64 = 20_000;
/// 2048-01-01T00:00:00Z: the end that Android's keystore gives certificates where nobody says one.
const DEFAULT_NOT_AFTER_MS: u64 = 2_461_449_600_000;

/// Identifiers of the device, which not every program may have attested.
const DEVICE_IDS: [Tag; 11] = [
    Tag::AttestationIdBrand,
    Tag::AttestationIdDevice,
    Tag::AttestationIdProduct,
    Tag::AttestationIdSerial,
    Tag::AttestationIdImei,
    Tag::AttestationIdSecondImei,
    Tag::AttestationIdMeid,
    Tag::AttestationIdManufacturer,
    Tag::AttestationIdModel,
    Tag::DeviceUniqueAttestation,
    Tag::IncludeUniqueId,
];

/// Where a new key goes.
struct Place {
    alias: String,
    replace: bool,
    extra: Option<Bytes>,
    /// Certificates of who attested it, which go behind its own.
    above: Vec<Vec<u8>>,
    what: What,
}

/// Who attests a new key, where it is not the device's key.
#[derive(Default)]
struct Issuer {
    attest: Option<AttestKey>,
    /// Its certificates, where the new key's chain is to have them.
    above: Vec<Vec<u8>>,
}

impl Keystore {
    /// Makes a key.
    pub fn generate(&self, caller: &Caller, key: NewKey) -> Result<KeyInfo, Error> {
        let (params, issuer) = self.prepare(caller, &key)?;
        let Issuer { attest, above } = issuer;
        let place = Place::of(key, What::Generate, above);
        self.check(caller, &place)?;
        self.create(caller, place, Command::GenerateKey { params, attest })
    }

    /// Takes a key in that was made outside.
    pub fn import(&self, caller: &Caller, import: Import) -> Result<KeyInfo, Error> {
        let Import { key, format, data } = import;
        let (params, issuer) = self.prepare(caller, &key)?;
        let Issuer { attest, above } = issuer;
        let place = Place::of(key, What::Import, above);
        self.check(caller, &place)?;
        let data = ByteBuf::from(data.into_vec());
        self.create(caller, place, Command::ImportKey { params, format, data, attest })
    }

    /// Takes a key in that comes encrypted to a key of the TEE.
    pub fn import_wrapped(&self, caller: &Caller, import: ImportWrapped) -> Result<KeyInfo, Error> {
        let ImportWrapped { alias, replace, wrapping_key, .. } = import;
        let place = Place { alias, replace, extra: None, above: Vec::new(), what: What::Import };
        self.check(caller, &place)?;
        let command = Command::ImportWrappedKey {
            wrapped: ByteBuf::from(import.data.into_vec()),
            wrapping_key: self.usable_blob(caller, &wrapping_key, &import.params)?,
            masking_key: ByteBuf::from(import.masking_key.into_vec()),
            params: import.params,
            password_sid: import.password_sid,
            biometric_sid: import.biometric_sid,
        };
        self.create(caller, place, command)
    }

    /// The blob of a key that the caller may use, under what runs now.
    fn usable_blob(
        &self,
        caller: &Caller,
        key: &KeyRef,
        params: &Authorizations,
    ) -> Result<ByteBuf, Error> {
        let found = self.find(caller, key)?;
        found.must_allow(Access::Use)?;
        self.current_blob(&found.key, params)
    }

    /// What KeyMint is asked for: what the caller wants, and what only the system can say.
    fn prepare(&self, caller: &Caller, key: &NewKey) -> Result<(Authorizations, Issuer), Error> {
        let mut params = key.params.clone();
        if let Some(tag) = [Tag::CreationDatetime, Tag::AttestationApplicationId]
            .into_iter()
            .find(|tag| params.has(*tag))
        {
            let reason = format!("INVALID_ARGUMENT: {tag} is the keystore's to say; leave it out");
            return Err(Error::refused(ErrorCode::InvalidArgument, reason));
        }
        if !caller.is_system && DEVICE_IDS.iter().any(|tag| params.has(*tag)) {
            let reason = "identifiers of the device are attested for the system only";
            return Err(Error::permission(reason));
        }
        params.creation_datetime = Some(self.parts.clock.now().0);
        if params.attestation_challenge.is_some() {
            params.attestation_application_id = Some(application_id(&caller.namespace));
        }
        if matches!(params.algorithm, Some(Algorithm::Rsa | Algorithm::Ec | Algorithm::MlDsa)) {
            params.certificate_not_before.get_or_insert(0);
            params.certificate_not_after.get_or_insert(DEFAULT_NOT_AFTER_MS);
        }
        if params.max_boot_level.is_some() {
            let reason =
                "UNSUPPORTED_TAG: this system has no boot levels; leave max_boot_level out";
            return Err(Error::refused(ErrorCode::UnsupportedTag, reason));
        }
        if params.unlocked_device_required {
            self.live().super_keys.must_seal()?;
        }
        if params.user_auth_type.is_some() && params.user_secure_id.is_empty() {
            params.user_secure_id.insert(self.secure_user_id()?);
        }
        Ok((params, self.issuer(caller, key)?))
    }

    fn issuer(&self, caller: &Caller, key: &NewKey) -> Result<Issuer, Error> {
        match (&key.attest_key, key.key_source) {
            (None, AttestationSource::Factory) => Ok(Issuer::default()),
            (Some(by), AttestationSource::Factory) => {
                Ok(Issuer { attest: Some(self.attest_key(caller, by)?), above: Vec::new() })
            }
            (None, AttestationSource::Remote) => {
                let RemoteKey { attest, chain } = self.remote_key(caller)?;
                Ok(Issuer { attest: Some(attest), above: chain })
            }
            (Some(_), AttestationSource::Remote) => {
                Err(Error::malformed("a key is attested by one other key: leave one of both out"))
            }
        }
    }

    /// Whoever set the screen lock.
    fn secure_user_id(&self) -> Result<u64, Error> {
        self.parts.tee.secure_user_id()?.ok_or_else(|| {
            let reason = "a key that needs its user to authenticate needs a screen lock: set one";
            Error::refused(KeystoreCode::NoScreenLock, reason)
        })
    }

    fn attest_key(&self, caller: &Caller, by: &api::AttestKey) -> Result<AttestKey, Error> {
        let found = self.find(caller, &by.key)?;
        found.must_allow(Access::Use)?;
        let malformed = || Error::malformed("the attesting key has no certificate");
        let own = found.key.certificates.first().ok_or_else(malformed)?;
        let own = Certificate::parse(own).map_err(|_| malformed())?;
        Ok(AttestKey {
            blob: self.current_blob(&found.key, &by.params)?,
            params: by.params.clone(),
            issuer_subject: ByteBuf::from(own.subject().as_der()),
        })
    }

    /// Refuses before the TEE works what the database would refuse after.
    fn check(&self, caller: &Caller, place: &Place) -> Result<(), Error> {
        check_alias(&place.alias)?;
        check_extra(place.extra.as_ref())?;
        let (owner, alias) = (caller.namespace.clone(), place.alias.clone());
        let (there, count) = self.db.read(async move |db| {
            let there = rows::by_alias(db, &owner, &alias).await?.is_some();
            Ok((there, rows::count(db, &owner, MAX_KEYS).await?))
        })?;
        if there && !place.replace {
            let reason = format!(
                "there is a key {:?}: delete it, replace it, or take another alias",
                place.alias
            );
            return Err(Error::refused(KeystoreCode::AlreadyExists, reason));
        }
        if count >= MAX_KEYS && !there {
            let reason = format!("nobody may have more than {MAX_KEYS} keys; delete some");
            return Err(Error::refused(KeystoreCode::OutOfSpace, reason));
        }
        Ok(())
    }

    /// Has the TEE make the key, and keeps it: wholly, or not at all.
    fn create(&self, caller: &Caller, place: Place, command: Command) -> Result<KeyInfo, Error> {
        let Reply::Key(created) = self.keymint(command)? else { return Err(Error::unexpected()) };
        let blob = created.blob.clone();
        let kept = self.keep(caller, place, created);
        if kept.is_err() {
            // Nobody will know this blob: what the TEE keeps for it goes.
            let _ = self.parts.tee.keymint(Command::DeleteKey { blob });
        }
        kept
    }

    fn keep(&self, caller: &Caller, place: Place, made: KeyCreation) -> Result<KeyInfo, Error> {
        let Place { alias, replace, extra, above, what } = place;
        let (id, now) = (self.fresh_id(), self.parts.clock.now());
        let sealed = match all(&made.characteristics).unlocked_device_required {
            true => self.live().super_keys.seal(id, &made.blob)?,
            false => Sealed { sealing: Sealing::None, bytes: made.blob.into_vec() },
        };
        let mut certificates: Vec<_> = made.chain.into_iter().map(ByteBuf::into_vec).collect();
        if !certificates.is_empty() {
            certificates.extend(above);
        }
        let key = Key {
            id,
            owner: caller.namespace.clone(),
            alias,
            blob: Some(sealed),
            uses_left: counted(&made.characteristics),
            characteristics: made.characteristics,
            certificates,
            extra: extra.map(Bytes::into_vec),
            created_ms: now.0,
        };
        let replaced = self.db.write(move |on| {
            let old = match replace {
                true => on.run(async |db| rows::by_alias(db, &key.owner, &key.alias).await)?,
                false => None,
            };
            if let Some(old) = &old {
                on.run(async |db| rows::doom(db, old.id).await)?;
            }
            on.run(async |db| rows::insert(db, &key).await)?;
            on.audit(&Event::new(now, &key.owner, what, id))?;
            Ok((key, old.is_some()))
        });
        let (key, replaced) = replaced?;
        if replaced {
            self.reap();
        }
        let found = crate::access::Found { key, access: Access::ALL.to_vec(), own: true };
        Ok(found.info())
    }
}

impl Place {
    fn of(key: NewKey, what: What, above: Vec<Vec<u8>>) -> Self {
        let NewKey { alias, replace, extra, .. } = key;
        Self { alias, replace, extra, above, what }
    }
}

/// `AttestationApplicationId` (DER): who asked, as the system's kernel says: one package, named
/// for the user id or, where there is one, for the label; version 0, and no signer.
fn application_id(namespace: &Namespace) -> Bytes {
    let name = match label(namespace) {
        "" => format!("uid.{}", namespace.uid),
        label => label.to_owned(),
    };
    let package = der(0x30, &[der(0x04, name.as_bytes()), der(0x02, &[0])].concat());
    Bytes(der(0x30, &[der(0x31, &package), der(0x31, &[])].concat()))
}

/// One element of DER (X.690, 8.1).
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).expect("a label has at most 255 bytes");
    let [high, low] = length.to_be_bytes();
    let head = match length {
        0..=0x7F => vec![tag, low],
        0x80..=0xFF => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    [&head, content].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asked_is_named_in_der() {
        let by_user = application_id(&Namespace { uid: 7, label: None });
        assert_eq!(&by_user[..], b"\x30\x10\x31\x0c\x30\x0a\x04\x05uid.7\x02\x01\x00\x31\x00");
        for length in [1, 100, 120, 127, 128, 200, 255] {
            let label = Some("l".repeat(length));
            let der = application_id(&Namespace { uid: 7, label });
            assert!(der.ends_with(b"\x02\x01\x00\x31\x00") && der.len() > length);
        }
    }
}
