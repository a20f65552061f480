//! Authorizations as attestations say them, and as wrapped keys bring them.

use crate::failure::Outcome;
use keyattest::{
    AttestationApplicationId, AuthorizationList, KeyDescription, RootOfTrust, SecurityLevel,
    VerifiedBootState,
};
use keymint::{
    Algorithm, AuthenticatorType, Authorizations, BlockMode, Bytes, Digest, EcCurve, ErrorCode,
    KeyOrigin, KeyPurpose, MlDsaVariant, PaddingMode,
};
use std::collections::BTreeSet;
use tee_api::boot::{BootInfo, BootState};

/// KeyMint 3, and KeyMint 4, which has the modules' hash.
const VERSIONS: (u32, u32) = (300, 400);

/// What an attestation says besides the key's authorizations.
pub(crate) struct Statement<'a> {
    pub(crate) challenge: &'a [u8],
    pub(crate) unique_id: Vec<u8>,
    pub(crate) application_id: AttestationApplicationId,
    /// The identifiers of the device that were asked for, and are right.
    pub(crate) ids: &'a Authorizations,
    pub(crate) module_hash: Option<&'a [u8]>,
}

/// The version of this KeyMint; it depends on whether it knows the modules' hash.
pub(crate) const fn version(knows_modules: bool) -> u32 {
    if knows_modules { VERSIONS.1 } else { VERSIONS.0 }
}

/// The extension of the certificate.
pub(crate) fn describe(
    statement: Statement<'_>,
    hardware: &Authorizations,
    software: &Authorizations,
    boot: &BootInfo,
) -> KeyDescription {
    let version = version(statement.module_hash.is_some());
    let mut hardware_enforced = list(&hardware.clone().with(statement.ids));
    hardware_enforced.root_of_trust = Some(root_of_trust(boot));
    let mut software_enforced = list(software);
    software_enforced.attestation_application_id = Some(statement.application_id);
    software_enforced.module_hash = statement.module_hash.map(<[u8]>::to_vec);
    KeyDescription {
        attestation_version: version,
        attestation_security_level: SecurityLevel::TrustedEnvironment,
        key_mint_version: version,
        key_mint_security_level: SecurityLevel::TrustedEnvironment,
        attestation_challenge: statement.challenge.to_vec(),
        unique_id: statement.unique_id,
        software_enforced,
        hardware_enforced,
    }
}

fn root_of_trust(boot: &BootInfo) -> RootOfTrust {
    RootOfTrust {
        verified_boot_key: boot.verified_boot_key.to_vec(),
        device_locked: boot.device_locked,
        verified_boot_state: match boot.boot_state {
            BootState::Green => VerifiedBootState::Verified,
            BootState::Yellow => VerifiedBootState::SelfSigned,
            BootState::Orange => VerifiedBootState::Unverified,
            BootState::Red => VerifiedBootState::Failed,
        },
        verified_boot_hash: Some(boot.verified_boot_hash.to_vec()),
    }
}

macro_rules! numbers {
    ($set:expr) => {
        $set.iter().map(|value| u64::from(value.number())).collect()
    };
}

/// As attestations list them. Who must authenticate is not said: a secure id is the user's.
fn list(set: &Authorizations) -> AuthorizationList {
    let bytes = |bytes: &Option<Bytes>| bytes.as_ref().map(|bytes| bytes.to_vec());
    let number = |number: Option<u32>| number.map(u64::from);
    AuthorizationList {
        purpose: numbers!(set.purpose),
        algorithm: number(set.algorithm.map(Algorithm::number)),
        key_size: number(set.key_size),
        block_mode: numbers!(set.block_mode),
        digest: numbers!(set.digest),
        padding: numbers!(set.padding),
        caller_nonce: set.caller_nonce,
        min_mac_length: number(set.min_mac_length),
        ec_curve: number(set.ec_curve.map(EcCurve::number)),
        // Version 500's.
        ml_dsa_variant: None,
        rsa_public_exponent: set.rsa_public_exponent,
        rsa_oaep_mgf_digest: numbers!(set.rsa_oaep_mgf_digest),
        rollback_resistance: set.rollback_resistance,
        early_boot_only: set.early_boot_only,
        active_date_time: set.active_datetime,
        origination_expire_date_time: set.origination_expire_datetime,
        usage_expire_date_time: set.usage_expire_datetime,
        usage_count_limit: number(set.usage_count_limit),
        no_auth_required: set.no_auth_required,
        user_auth_type: number(set.user_auth_type.map(|ways| ways.0)),
        auth_timeout: number(set.auth_timeout),
        allow_while_on_body: set.allow_while_on_body,
        trusted_user_presence_required: set.trusted_user_presence_required,
        trusted_confirmation_required: set.trusted_confirmation_required,
        unlocked_device_required: set.unlocked_device_required,
        creation_date_time: set.creation_datetime,
        origin: set.origin.map(origin),
        os_version: number(set.os_version),
        os_patch_level: number(set.os_patchlevel),
        attestation_id_brand: bytes(&set.attestation_id_brand),
        attestation_id_device: bytes(&set.attestation_id_device),
        attestation_id_product: bytes(&set.attestation_id_product),
        attestation_id_serial: bytes(&set.attestation_id_serial),
        attestation_id_imei: bytes(&set.attestation_id_imei),
        attestation_id_meid: bytes(&set.attestation_id_meid),
        attestation_id_manufacturer: bytes(&set.attestation_id_manufacturer),
        attestation_id_model: bytes(&set.attestation_id_model),
        attestation_id_second_imei: bytes(&set.attestation_id_second_imei),
        vendor_patch_level: number(set.vendor_patchlevel),
        boot_patch_level: number(set.boot_patchlevel),
        ..AuthorizationList::default()
    }
}

const fn origin(origin: KeyOrigin) -> keyattest::KeyOrigin {
    match origin {
        KeyOrigin::Generated => keyattest::KeyOrigin::Generated,
        KeyOrigin::Derived => keyattest::KeyOrigin::Derived,
        KeyOrigin::Imported => keyattest::KeyOrigin::Imported,
        KeyOrigin::Reserved => keyattest::KeyOrigin::Reserved,
        KeyOrigin::SecurelyImported => keyattest::KeyOrigin::SecurelyImported,
    }
}

/// The secure ids that a wrapped key may be bound to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SecureIds {
    pub(crate) password: u64,
    pub(crate) biometric: u64,
}

/// What a wrapped key is to obey. Where it wants the user, `ids` say who that is here. What only a
/// device says of itself has no place in it.
pub(crate) fn wrapped(list: &AuthorizationList, ids: SecureIds) -> Outcome<Authorizations> {
    let of_device = list.root_of_trust.is_some()
        || list.origin.is_some()
        || list.os_version.is_some()
        || list.os_patch_level.is_some()
        || list.vendor_patch_level.is_some()
        || list.boot_patch_level.is_some();
    if of_device {
        return Err(ErrorCode::InvalidTag.into());
    }
    let ways = list.user_auth_type.map(small).transpose()?.map(AuthenticatorType);
    let mut user_secure_id = BTreeSet::new();
    if list.user_secure_id.is_some() {
        let ways = ways.unwrap_or(AuthenticatorType::NONE);
        let by = |way: AuthenticatorType, id| ways.intersects(way).then_some(id);
        user_secure_id.extend(by(AuthenticatorType::PASSWORD, ids.password));
        user_secure_id.extend(by(AuthenticatorType::FINGERPRINT, ids.biometric));
    }
    Ok(Authorizations {
        purpose: known(&list.purpose, KeyPurpose::from_number)?,
        algorithm: one(list.algorithm, Algorithm::from_number)?,
        key_size: list.key_size.map(small).transpose()?,
        block_mode: known(&list.block_mode, BlockMode::from_number)?,
        digest: known(&list.digest, Digest::from_number)?,
        padding: known(&list.padding, PaddingMode::from_number)?,
        caller_nonce: list.caller_nonce,
        min_mac_length: list.min_mac_length.map(small).transpose()?,
        ec_curve: one(list.ec_curve, EcCurve::from_number)?,
        ml_dsa_variant: one(list.ml_dsa_variant, MlDsaVariant::from_number)?,
        rsa_public_exponent: list.rsa_public_exponent,
        rsa_oaep_mgf_digest: known(&list.rsa_oaep_mgf_digest, Digest::from_number)?,
        rollback_resistance: list.rollback_resistance,
        early_boot_only: list.early_boot_only,
        active_datetime: list.active_date_time,
        origination_expire_datetime: list.origination_expire_date_time,
        usage_expire_datetime: list.usage_expire_date_time,
        usage_count_limit: list.usage_count_limit.map(small).transpose()?,
        user_secure_id,
        no_auth_required: list.no_auth_required,
        user_auth_type: ways,
        auth_timeout: list.auth_timeout.map(small).transpose()?,
        allow_while_on_body: list.allow_while_on_body,
        trusted_user_presence_required: list.trusted_user_presence_required,
        trusted_confirmation_required: list.trusted_confirmation_required,
        unlocked_device_required: list.unlocked_device_required,
        creation_datetime: list.creation_date_time,
        ..Authorizations::default()
    })
}

fn small(number: u64) -> Outcome<u32> {
    u32::try_from(number).map_err(|_| ErrorCode::InvalidArgument.into())
}

fn one<T>(number: Option<u64>, named: fn(u64) -> Option<T>) -> Outcome<Option<T>> {
    let one = number.map(|number| named(number).ok_or(ErrorCode::InvalidArgument));
    Ok(one.transpose()?)
}

fn known<T: Ord>(numbers: &BTreeSet<u64>, named: fn(u64) -> Option<T>) -> Outcome<BTreeSet<T>> {
    let known = numbers.iter().map(|number| named(*number));
    Ok(known.collect::<Option<_>>().ok_or(ErrorCode::InvalidArgument)?)
}
