//! The certificate of a key pair: attested by the device or by another key, or attested by nobody.

use crate::description::{Statement, describe};
use crate::failure::{Failure, Outcome};
use crate::{blob, factory};
use keyattest::AttestationApplicationId;
use keyattest::x509::{
    Certificate, CertificateParams, KeyUsage, Name, SerialNumber, SignatureAlgorithm, Spki,
    Validity, build_certificate,
};
use keymint::{
    Algorithm, Authorizations, Bytes, ErrorCode, KeyPurpose, MAX_APPLICATION_ID_BYTES,
    MAX_CHALLENGE_BYTES, MlDsaVariant, Tag,
};
use serde_bytes::ByteBuf;
use tee_api::keymint::DeviceIds;
use tee_sdk::engine::{Attributes, Hash, Input, Key, KeyType, Scheme, Usage};
use tee_sdk::{Context, TeeError};

/// Days of milliseconds after which unique ids change.
const UNIQUE_ID_PERIOD_MS: u64 = 2_592_000_000;
const UNIQUE_ID_BYTES: usize = 16;
const UNIQUE_ID_KEY: Attributes =
    Attributes::new(KeyType::Hmac { hash: Hash::Sha256, bytes: 32 }, Usage::MAC);

/// A key that attests others, opened, and its name.
pub(crate) struct Issuer {
    pub(crate) key: std::rc::Rc<crate::open_key::OpenKey>,
    pub(crate) name: Name,
}

/// What a certificate is about.
pub(crate) struct Subject<'a> {
    pub(crate) key: &'a Key,
    pub(crate) hardware: &'a Authorizations,
    pub(crate) software: &'a Authorizations,
    /// What the certificate is to say, among the rest of the caller's.
    pub(crate) params: &'a Authorizations,
    /// SHA-256 over the system's modules.
    pub(crate) module_hash: Option<&'a [u8]>,
}

/// The chain of a new key, leaf first; nothing for a symmetric key.
pub(crate) fn certify(
    context: &mut Context<'_>,
    subject: &Subject<'_>,
    issuer: Option<&Issuer>,
) -> Outcome<Vec<ByteBuf>> {
    let is_pair = subject.hardware.algorithm.is_some_and(|it| crate::rules::of(it).is_pair);
    if !is_pair {
        return Ok(Vec::new());
    }
    let challenge = subject.params.attestation_challenge.as_ref();
    match (challenge, issuer) {
        (Some(challenge), issuer) => attested(context, subject, challenge, issuer),
        (None, Some(_)) => Err(ErrorCode::AttestationChallengeMissing.into()),
        (None, None) => unattested(context, subject),
    }
}

fn attested(
    context: &mut Context<'_>,
    subject: &Subject<'_>,
    challenge: &[u8],
    issuer: Option<&Issuer>,
) -> Outcome<Vec<ByteBuf>> {
    if challenge.len() > MAX_CHALLENGE_BYTES {
        return Err(ErrorCode::InvalidInputLength.into());
    }
    let params = subject.params;
    let der = params.attestation_application_id.as_ref();
    let der = der.ok_or(ErrorCode::AttestationApplicationIdMissing)?;
    if der.len() > MAX_APPLICATION_ID_BYTES {
        return Err(ErrorCode::InvalidInputLength.into());
    }
    let application_id =
        AttestationApplicationId::from_der(der).map_err(|_| ErrorCode::InvalidArgument)?;
    let unique_id = unique_id(context, params, der)?;
    let ids = attested_ids(context, params)?;
    let module_hash = subject.module_hash;
    let statement = Statement { challenge, unique_id, application_id, ids: &ids, module_hash };
    let boot = blob::boot_info(context)?;
    let description = describe(statement, subject.hardware, subject.software, &boot);
    let public_key = public_key(context, subject)?;
    let (above, name) = match issuer {
        Some(issuer) => (Vec::new(), issuer.name.clone()),
        None => device_chain(context)?,
    };
    let certificate = CertificateParams::attested_by(name, public_key, &description)
        .map_err(|_| ErrorCode::InvalidArgument)?;
    let certificate = dressed(certificate, params)?;
    let leaf = match issuer {
        Some(issuer) => {
            let (algorithm, scheme) =
                signing(&issuer.key.header.hardware).ok_or(ErrorCode::IncompatibleAlgorithm)?;
            build(&certificate, algorithm, |tbs| issuer.key.key.sign(context, scheme, tbs))?
        }
        None => {
            let key = factory::key(context)?;
            build(&certificate, SignatureAlgorithm::EcdsaSha256, |tbs| {
                key.sign(context, factory::ECDSA_SHA_256, tbs)
            })?
        }
    };
    Ok(std::iter::once(leaf).chain(above).collect())
}

/// The maker's certificates, and the device's name.
fn device_chain(context: &mut Context<'_>) -> Outcome<(Vec<ByteBuf>, Name)> {
    let chain = factory::chain(context).map_err(|error| match error {
        TeeError::BadState(_) => ErrorCode::AttestationKeysNotProvisioned.into(),
        other => Failure::Tee(other),
    })?;
    let device = chain.first().and_then(|der| Certificate::parse(der).ok());
    let device = device.ok_or_else(|| TeeError::Security("the device chain is empty".into()))?;
    Ok((chain, device.subject().clone()))
}

/// Signed by itself where the key signs, else with an empty signature.
fn unattested(context: &mut Context<'_>, subject: &Subject<'_>) -> Outcome<Vec<ByteBuf>> {
    let public_key = public_key(context, subject)?;
    let name = subject_name(subject.params)?;
    let purposes = subject.hardware.purpose.iter().map(|it| u64::from(it.number())).collect();
    let usage = KeyUsage::of_purposes(&purposes);
    let certificate = CertificateParams::unattested(name, public_key, usage);
    let certificate = dressed(certificate, subject.params)?;
    let signs = subject.hardware.purpose.contains(&KeyPurpose::Sign)
        || subject.hardware.purpose.contains(&KeyPurpose::AttestKey);
    let leaf = match signing(subject.hardware).filter(|_| signs) {
        Some((algorithm, scheme)) => {
            build(&certificate, algorithm, |tbs| subject.key.sign(context, scheme, tbs))?
        }
        None => build(&certificate, SignatureAlgorithm::EcdsaSha256, |_| Ok(Vec::new()))?,
    };
    Ok(vec![leaf])
}

/// How a key signs certificates, where it can.
fn signing(key: &Authorizations) -> Option<(SignatureAlgorithm, Scheme)> {
    let (hash, input) = (Hash::Sha256, Input::Message);
    match key.algorithm? {
        Algorithm::Rsa => Some((SignatureAlgorithm::RsaSha256, Scheme::RsaPkcs1 { hash, input })),
        Algorithm::Ec => {
            let agrees = key.purpose.contains(&KeyPurpose::AgreeKey);
            match crate::rules::nist_curve(key.ec_curve?) {
                Some(_) => Some((SignatureAlgorithm::EcdsaSha256, Scheme::Ecdsa { hash, input })),
                None => (!agrees).then_some((SignatureAlgorithm::Ed25519, Scheme::Ed25519)),
            }
        }
        Algorithm::MlDsa => Some(match key.ml_dsa_variant? {
            MlDsaVariant::MlDsa65 => (SignatureAlgorithm::MlDsa65, Scheme::MlDsa),
            MlDsaVariant::MlDsa87 => (SignatureAlgorithm::MlDsa87, Scheme::MlDsa),
        }),
        _ => None,
    }
}

fn public_key(context: &mut Context<'_>, subject: &Subject<'_>) -> Outcome<Spki> {
    use crypto::ml_dsa::Parameters;
    let bytes = subject.key.public_key(context)?;
    Ok(match subject.hardware.ml_dsa_variant {
        Some(MlDsaVariant::MlDsa65) => Spki::ml_dsa(Parameters::MlDsa65, &bytes),
        Some(MlDsaVariant::MlDsa87) => Spki::ml_dsa(Parameters::MlDsa87, &bytes),
        None => Spki::from_der(&bytes).map_err(|_| ErrorCode::UnknownError)?,
    })
}

/// Serial number, name and times as the caller wants them.
fn dressed(certificate: CertificateParams, params: &Authorizations) -> Outcome<CertificateParams> {
    let invalid = |_| ErrorCode::InvalidArgument;
    let serial = match &params.certificate_serial {
        Some(number) => SerialNumber::from_bytes(number).map_err(invalid)?,
        None => SerialNumber::one(),
    };
    let not_before = params.certificate_not_before.ok_or(ErrorCode::MissingNotBefore)? / 1000;
    let not_after = params.certificate_not_after.ok_or(ErrorCode::MissingNotAfter)? / 1000;
    let validity = Validity { not_before, not_after };
    Ok(CertificateParams { serial, subject: subject_name(params)?, validity, ..certificate })
}

fn subject_name(params: &Authorizations) -> Outcome<Name> {
    match &params.certificate_subject {
        Some(der) => Name::from_der(der).map_err(|_| ErrorCode::InvalidArgument.into()),
        None => Ok(Name::attested_key()),
    }
}

fn build(
    certificate: &CertificateParams,
    algorithm: SignatureAlgorithm,
    sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, TeeError>,
) -> Outcome<ByteBuf> {
    let mut failed = None;
    build_certificate(certificate, algorithm, |tbs| sign(tbs).map_err(|it| failed = Some(it)))
        .map(ByteBuf::from)
        .map_err(|_| failed.map_or(Failure::Refused(ErrorCode::InvalidArgument), Failure::Tee))
}

/// `HMAC-SHA-256(T | C | R)`, cut to 128 bits, under a key of this device alone: T the month, C the
/// application, R whether the device was reset since ids changed. Nothing, where the key does not
/// want one.
fn unique_id(
    context: &mut Context<'_>,
    params: &Authorizations,
    application_id: &[u8],
) -> Outcome<Vec<u8>> {
    if !params.include_unique_id {
        return Ok(Vec::new());
    }
    let created = params.creation_datetime.ok_or(ErrorCode::InvalidArgument)?;
    let month = (created / UNIQUE_ID_PERIOD_MS).to_be_bytes();
    let reset = [u8::from(params.reset_since_id_rotation)];
    let key = context.derive_from_huk("unique id", &[], UNIQUE_ID_KEY)?;
    let mut id = key.mac(context, &[&month, application_id, &reset].concat())?;
    id.truncate(UNIQUE_ID_BYTES);
    Ok(id)
}

/// The identifiers that are asked for, where they are this device's.
fn attested_ids(context: &mut Context<'_>, params: &Authorizations) -> Outcome<Authorizations> {
    let wanted = params.filtered(is_id);
    if wanted.is_empty() {
        return Ok(wanted);
    }
    let ids = factory::ids(context)?.ok_or(ErrorCode::CannotAttestIds)?;
    let ours = as_authorizations(ids);
    if wanted.tags().any(|tag| !ours.has(tag)) && ours.tags().count() <= 1 {
        return Err(ErrorCode::AttestationIdsNotProvisioned.into());
    }
    if wanted == ours.filtered(|tag| wanted.has(tag)) {
        Ok(wanted)
    } else {
        Err(ErrorCode::CannotAttestIds.into())
    }
}

const fn is_id(tag: Tag) -> bool {
    matches!(tag.bare_number(), 710..=717 | 723)
}

fn as_authorizations(ids: DeviceIds) -> Authorizations {
    let bytes = |id: Option<ByteBuf>| id.map(|id| Bytes(id.into_vec()));
    Authorizations {
        attestation_id_brand: bytes(ids.brand),
        attestation_id_device: bytes(ids.device),
        attestation_id_product: bytes(ids.product),
        attestation_id_serial: bytes(ids.serial),
        attestation_id_imei: bytes(ids.imei),
        attestation_id_meid: bytes(ids.meid),
        attestation_id_manufacturer: bytes(ids.manufacturer),
        attestation_id_model: bytes(ids.model),
        attestation_id_second_imei: bytes(ids.second_imei),
        ..Authorizations::default()
    }
}
