//! What the device says about a key: a certificate with Android's `KeyDescription`.

use crate::factory;
use crate::keymint::ECDSA_SHA_256;
use crate::keymint::KeyRules;
use keyattest::x509::{
    Certificate, CertificateParams, SignatureAlgorithm, Spki, build_certificate,
};
use keyattest::{
    AuthorizationList, KeyDescription, KeyOrigin, RootOfTrust, SecurityLevel, VerifiedBootState,
    value,
};
use serde_bytes::ByteBuf;
use tee_api::boot::{BootInfo, BootState};
use tee_sdk::{Context, TeeError};

/// KeyMint 3.
const VERSION: u32 = 300;
/// The longest challenge, in bytes.
const CHALLENGE_MAX_BYTES: usize = 128;

/// Certifies a key that was just made in here. Leaf first, root last.
pub(crate) fn attest(
    context: &mut Context<'_>,
    boot_info: &BootInfo,
    public_key: &[u8],
    challenge: &[u8],
    rules: KeyRules,
) -> Result<Vec<ByteBuf>, TeeError> {
    if challenge.len() > CHALLENGE_MAX_BYTES {
        let said = format!("a challenge has at most {CHALLENGE_MAX_BYTES} bytes");
        return Err(TeeError::BadParameters(said));
    }
    let above = factory::chain(context)?;
    let device = above.first().and_then(|der| Certificate::parse(der).ok());
    let device = device.ok_or_else(|| TeeError::Security("the device chain is empty".into()))?;
    let public_key = Spki::from_der(public_key).map_err(internal)?;
    let mut description = describe(boot_info, challenge);
    description.hardware_enforced.trusted_confirmation_required = rules.confirmation;
    description.hardware_enforced.rollback_resistance = rules.rollback_resistance;
    let params =
        CertificateParams::attested(&device, public_key, &description).map_err(internal)?;
    let key = factory::key(context)?;
    let leaf = build_certificate(&params, SignatureAlgorithm::EcdsaSha256, |tbs| {
        key.sign(context, ECDSA_SHA_256, tbs)
    })
    .map_err(internal)?;
    Ok([vec![ByteBuf::from(leaf)], above].concat())
}

fn internal(error: impl std::fmt::Display) -> TeeError {
    TeeError::Resources(format!("the attestation could not be made: {error}"))
}

/// A P-256 signing key that anyone may use who holds the blob. The time of its making is left
/// out: the TEE knows no date.
fn describe(boot_info: &BootInfo, challenge: &[u8]) -> KeyDescription {
    KeyDescription {
        attestation_version: VERSION,
        attestation_security_level: SecurityLevel::TrustedEnvironment,
        key_mint_version: VERSION,
        key_mint_security_level: SecurityLevel::TrustedEnvironment,
        attestation_challenge: challenge.to_vec(),
        unique_id: Vec::new(),
        software_enforced: AuthorizationList::default(),
        hardware_enforced: AuthorizationList {
            purpose: [value::PURPOSE_SIGN].into(),
            algorithm: Some(value::ALGORITHM_EC),
            key_size: Some(256),
            digest: [value::DIGEST_SHA_2_256].into(),
            ec_curve: Some(value::CURVE_P_256),
            no_auth_required: true,
            origin: Some(KeyOrigin::Generated),
            root_of_trust: Some(root_of_trust(boot_info)),
            os_version: Some(boot_info.os_version.into()),
            os_patch_level: Some(boot_info.os_patch_level.into()),
            boot_patch_level: Some(boot_info.boot_patch_level.into()),
            ..AuthorizationList::default()
        },
    }
}

fn root_of_trust(boot_info: &BootInfo) -> RootOfTrust {
    RootOfTrust {
        verified_boot_key: boot_info.verified_boot_key.to_vec(),
        device_locked: boot_info.device_locked,
        verified_boot_state: match boot_info.boot_state {
            BootState::Green => VerifiedBootState::Verified,
            BootState::Yellow => VerifiedBootState::SelfSigned,
            BootState::Orange => VerifiedBootState::Unverified,
            BootState::Red => VerifiedBootState::Failed,
        },
        verified_boot_hash: Some(boot_info.verified_boot_hash.to_vec()),
    }
}
