//! Verifying an attestation.

use crate::{Attest, Error, Refusal};
use keyattest::x509::Spki;
use keyattest::{SecurityLevel, VerifiedBootState, verify_chain};

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
    /// Says what `chain` proves: DER, the attested key first, the root last. The challenge in it
    /// is used up, except where the chain itself is refused (then nobody knows whose it was).
    pub async fn verify(&self, chain: &[impl AsRef<[u8]>]) -> Result<DeviceStatement, Error> {
        let (roots, revoked) = (self.roots().await?, self.revocations().await?);
        let now = self.clock.now().seconds();
        let statement = verify_chain(chain, &roots, &|serial| revoked.look_up(serial), now)?;
        self.use_up(&statement.description.attestation_challenge).await?;
        let device_key = statement.attestation_certificate.public_key().clone();
        let device = self.device_of_key(&device_key).await?;
        let device =
            device.filter(|device| device.root == statement.root).ok_or(Refusal::DeviceUnknown)?;
        if let Some((at, reason)) = device.revoked {
            return Err(Refusal::DeviceRevoked { at, reason }.into());
        }
        let hardware = &statement.description.hardware_enforced;
        Ok(DeviceStatement {
            serial: device.serial,
            public_key: statement.public_key,
            device_key,
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
fn level(value: Option<u64>) -> u32 {
    value.and_then(|value| u32::try_from(value).ok()).unwrap_or(0)
}

impl From<&DeviceStatement> for wire::attest::Statement {
    fn from(statement: &DeviceStatement) -> Self {
        let security_level = match statement.security_level {
            SecurityLevel::Software => "software",
            SecurityLevel::TrustedEnvironment => "trusted_environment",
            SecurityLevel::StrongBox => "strongbox",
        };
        let boot_state = match statement.boot_state {
            VerifiedBootState::Verified => "green",
            VerifiedBootState::SelfSigned => "yellow",
            VerifiedBootState::Unverified => "orange",
            VerifiedBootState::Failed => "red",
        };
        Self {
            serial: statement.serial.clone(),
            security_level: security_level.to_owned(),
            locked: statement.locked,
            boot_state: boot_state.to_owned(),
            verified_boot_key: hex(&statement.verified_boot_key),
            verified_boot_hash: hex(&statement.verified_boot_hash),
            os_patch_level: statement.os_patch_level,
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
