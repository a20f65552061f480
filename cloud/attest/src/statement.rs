//! Verifying an attestation.

use crate::{Attest, Error, RootOwner, hex};
use keyattest::x509::Spki;
use keyattest::{SecurityLevel, VerifiedBootState};

/// What a device proved about itself and about one of its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceStatement {
    /// As its maker numbered it.
    pub serial: String,
    /// The key that is attested: SubjectPublicKeyInfo.
    pub public_key: Spki,
    /// The device's own key, by which the registry knows it.
    pub device_key: Spki,
    /// Where the key lives.
    pub security_level: SecurityLevel,
    /// Whether the bootloader is locked.
    pub locked: bool,
    /// Green, yellow, orange, red.
    pub boot_state: VerifiedBootState,
    /// SHA-256 of the key that verified the system.
    pub verified_boot_key: Vec<u8>,
    /// The vbmeta digest; empty where the device is too old to say.
    pub verified_boot_hash: Vec<u8>,
    /// 0 where the device does not say.
    pub os_version: u32,
    /// YYYYMM; 0 where the device does not say.
    pub os_patch_level: u32,
    /// YYYYMMDD; 0 where the device does not say.
    pub vendor_patch_level: u32,
    /// YYYYMMDD; 0 where the device does not say.
    pub boot_patch_level: u32,
}

impl Attest {
    /// Says what `chain` proves about a device of a maker that is registered: DER, the attested key
    /// first, the root last. The challenge in it is used up, except where the chain itself is
    /// refused (then nobody knows whose it was).
    pub async fn verify(&self, chain: &[impl AsRef<[u8]>]) -> Result<DeviceStatement, Error> {
        let examined = self.examine(chain).await?;
        if !matches!(examined.owner, RootOwner::Makers | RootOwner::Cloud) {
            return Err(keyattest::Refusal::UntrustedRoot.into());
        }
        self.use_up(&examined.statement.description.attestation_challenge).await?;
        let device = examined.enrolled()?.clone();
        let statement = examined.statement;
        let hardware = &statement.description.hardware_enforced;
        Ok(DeviceStatement {
            serial: device.serial,
            public_key: statement.public_key,
            device_key: device.public_key,
            security_level: statement.security_level,
            locked: statement.root_of_trust.device_locked,
            boot_state: statement.root_of_trust.verified_boot_state,
            verified_boot_key: statement.root_of_trust.verified_boot_key,
            verified_boot_hash: statement.root_of_trust.verified_boot_hash.unwrap_or_default(),
            os_version: level(hardware.os_version),
            os_patch_level: level(hardware.os_patch_level),
            vendor_patch_level: level(hardware.vendor_patch_level),
            boot_patch_level: level(hardware.boot_patch_level),
        })
    }
}

/// A number that is out of range says nothing.
pub(crate) fn level(value: Option<u64>) -> u32 {
    value.and_then(|value| u32::try_from(value).ok()).unwrap_or(0)
}

impl From<&DeviceStatement> for wire::attest::Statement {
    fn from(statement: &DeviceStatement) -> Self {
        Self {
            serial: statement.serial.clone(),
            security_level: level_word(statement.security_level).to_owned(),
            locked: statement.locked,
            boot_state: boot_word(statement.boot_state).to_owned(),
            verified_boot_key: hex(&statement.verified_boot_key),
            verified_boot_hash: hex(&statement.verified_boot_hash),
            os_patch_level: statement.os_patch_level,
        }
    }
}

/// As wire messages write it.
pub(crate) const fn level_word(level: SecurityLevel) -> &'static str {
    match level {
        SecurityLevel::Software => "software",
        SecurityLevel::TrustedEnvironment => "trusted_environment",
        SecurityLevel::StrongBox => "strongbox",
    }
}

/// As wire messages write it.
pub(crate) const fn boot_word(state: VerifiedBootState) -> &'static str {
    match state {
        VerifiedBootState::Verified => "green",
        VerifiedBootState::SelfSigned => "yellow",
        VerifiedBootState::Unverified => "orange",
        VerifiedBootState::Failed => "red",
    }
}
