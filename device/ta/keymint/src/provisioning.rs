//! Remote key provisioning, the device's side: a request for short-lived certificates of
//! attestation keys, signed with the key that the factory certified
//! (`keyattest::provisioning`).

use crate::failure::{Failure, Outcome};
use crate::secrets::Secrets;
use crate::{factory, open_key};
use keyattest::provisioning::{CertificateRequest, KEYS_MAX};
use keyattest::x509::{Certificate, Spki};
use keymint::{Authorizations, EcCurve, ErrorCode, KeyOrigin, KeyPurpose};
use serde_bytes::ByteBuf;
use tee_sdk::{Context, TeeError};

/// Asks for certificates of the keys in `blobs`: each was made here, on P-256, for `attest_key`.
pub(crate) fn request(
    context: &mut Context<'_>,
    secrets: &mut Secrets,
    blobs: &[ByteBuf],
    challenge: &[u8],
) -> Outcome<ByteBuf> {
    if !(1..=KEYS_MAX).contains(&blobs.len()) {
        return Err(ErrorCode::InvalidInputLength.into());
    }
    let mut keys = Vec::with_capacity(blobs.len());
    for blob in blobs {
        let opened = open_key::open(context, secrets, blob, &Authorizations::default())?;
        check(&opened.header.hardware)?;
        let spki = opened.key.public_key(context)?;
        keys.push(Spki::from_der(&spki).map_err(|_| ErrorCode::UnknownError)?);
    }
    let chain = factory::chain(context).map_err(|error| match error {
        TeeError::BadState(_) => ErrorCode::AttestationKeysNotProvisioned.into(),
        other => Failure::Tee(other),
    })?;
    let device = chain.first().and_then(|der| Certificate::parse(der).ok());
    let device = device.ok_or_else(|| TeeError::Security("the device chain is empty".into()))?;
    let request = CertificateRequest { device, challenge: challenge.to_vec(), keys };
    let key = factory::key(context)?;
    let mut failed = None;
    let signed = request.encode(|bytes| {
        key.sign(context, factory::ECDSA_SHA_256, bytes).map_err(|error| failed = Some(error))
    });
    signed
        .map(ByteBuf::from)
        .map_err(|_| failed.map_or(Failure::Refused(ErrorCode::InvalidArgument), Failure::Tee))
}

fn check(key: &Authorizations) -> Result<(), ErrorCode> {
    if !key.purpose.contains(&KeyPurpose::AttestKey) {
        return Err(ErrorCode::IncompatiblePurpose);
    }
    if key.ec_curve != Some(EcCurve::P256) || key.origin != Some(KeyOrigin::Generated) {
        return Err(ErrorCode::IncompatibleAlgorithm);
    }
    Ok(())
}
