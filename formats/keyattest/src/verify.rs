//! The chain rules: what a stack of certificates proves.
//!
//! They are those of Google's verifier (android/keyattestation), because a stock X.509 validator
//! refuses real devices:
//! - the root counts by its public key, since roots are re-issued;
//! - names chain and signatures verify from the root down; the root's own is checked as well;
//! - the attestation stands in the leaf and nowhere else, at the depth that the kind of chain
//!   has: an attested key that signs a certificate attests nothing (chain extension attack);
//! - no certificate but the leaf may lie in the future; the leaf's times are the device's own
//!   word and mean nothing; `notAfter` counts in remotely provisioned chains, while factories'
//!   certificates are for the device's life; the root's times never count, its key does;
//! - every certificate is looked up in the revocation list, also as suspended;
//! - the security level is the lower of the two, both are hardware, the key was generated
//!   inside, and the hardware list has a root of trust.
//!
//! Stricter than Google's: unknown critical extensions and suspended certificates are refused,
//! RSA keys have at least 2048 bits, and the root's signature on itself must verify.

use crate::x509::{Certificate, SerialNumber, Spki, oid};
use crate::{KeyDescription, KeyOrigin, Oddity, Refusal, Revocation, RootOfTrust, SecurityLevel};
use der::asn1::ObjectIdentifier;

/// What a chain proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The attested key.
    pub public_key: Spki,
    /// The certificate that signed the statement: the device's.
    pub attestation_certificate: Certificate,
    /// The root's public key.
    pub root: Spki,
    /// How the device got its certificate.
    pub provisioning: Provisioning,
    /// The lower of the two levels.
    pub security_level: SecurityLevel,
    /// What was booted.
    pub root_of_trust: RootOfTrust,
    /// Everything.
    pub description: KeyDescription,
    /// What in the description was not quite as it should be.
    pub oddities: Vec<Oddity>,
}

/// How a device got its certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provisioning {
    /// In the factory, for life: root, intermediate, device, key.
    Factory,
    /// From a server, for weeks: root, two intermediates, device, key.
    Remote,
    /// Neither is said: treated as [`Provisioning::Remote`] where time counts.
    Unknown,
}

/// A device's own certificate and where it leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevicePath {
    /// The device's.
    pub device: Certificate,
    /// The root's public key.
    pub root: Spki,
}

/// The longest chain that anyone has: the remotely provisioned one.
const CHAIN_MAX: usize = 5;
/// The shortest: software's.
const CHAIN_MIN: usize = 3;

/// Verifies an attestation: `chain` is DER, the attested key first, the root last. `roots` are
/// the public keys that are trusted, `revoked` says what became of a serial number, `now` counts
/// seconds since 1970.
pub fn verify_chain(
    chain: &[impl AsRef<[u8]>],
    roots: &[Spki],
    revoked: &dyn Fn(&SerialNumber) -> Option<Revocation>,
    now: u64,
) -> Result<Statement, Refusal> {
    let path = Path::parse(chain, CHAIN_MIN)?;
    path.check_signatures()?;
    let root = path.check_root(roots)?;
    let provisioning = path.provisioning();
    path.check_places(provisioning)?;
    path.check_times(1, provisioning, now)?;
    path.check_revocation(revoked)?;
    statement(&path, root, provisioning)
}

/// Verifies the certificates that a factory gave to a device: `chain` is DER, the device first,
/// the root last. They stand for the device's life: only `notBefore` counts.
pub fn verify_device_chain(
    chain: &[impl AsRef<[u8]>],
    roots: &[Spki],
    revoked: &dyn Fn(&SerialNumber) -> Option<Revocation>,
    now: u64,
) -> Result<DevicePath, Refusal> {
    let path = Path::parse(chain, CHAIN_MIN)?;
    path.check_signatures()?;
    let root = path.check_root(roots)?;
    path.check_no_attestation_from(0)?;
    path.check_times(0, Provisioning::Factory, now)?;
    path.check_revocation(revoked)?;
    Ok(DevicePath { device: path.0[0].clone(), root })
}

/// Verifies only that each certificate is issued by the next and the last by itself: what the
/// device can check on its way out of the factory, without a clock and without knowing makers.
pub fn verify_issued(chain: &[impl AsRef<[u8]>]) -> Result<DevicePath, Refusal> {
    let path = Path::parse(chain, CHAIN_MIN)?;
    path.check_signatures()?;
    path.check_no_attestation_from(0)?;
    Ok(DevicePath { device: path.0[0].clone(), root: path.root().public_key().clone() })
}

/// Parsed certificates, the leaf first.
struct Path(Vec<Certificate>);

impl Path {
    fn parse(chain: &[impl AsRef<[u8]>], at_least: usize) -> Result<Self, Refusal> {
        if !(at_least..=CHAIN_MAX).contains(&chain.len()) {
            return Err(Refusal::ChainLength(chain.len()));
        }
        let parse = |(index, der): (usize, &_)| {
            Certificate::parse(AsRef::<[u8]>::as_ref(der))
                .map_err(|source| Refusal::Malformed { index, source })
        };
        let path = Self(chain.iter().enumerate().map(parse).collect::<Result<_, _>>()?);
        path.check_critical_extensions()?;
        if path.root().is_self_issued() { Ok(path) } else { Err(Refusal::NoRoot) }
    }

    fn root(&self) -> &Certificate {
        self.0.last().expect("a path is not empty")
    }

    fn check_root(&self, roots: &[Spki]) -> Result<Spki, Refusal> {
        let root = self.root().public_key();
        if roots.contains(root) { Ok(root.clone()) } else { Err(Refusal::UntrustedRoot) }
    }

    fn check_critical_extensions(&self) -> Result<(), Refusal> {
        const KNOWN: [ObjectIdentifier; 4] =
            [oid::KEY_USAGE, oid::BASIC_CONSTRAINTS, oid::KEY_DESCRIPTION, oid::PROVISIONING_INFO];
        for (index, certificate) in self.0.iter().enumerate() {
            let unknown = |e: &&crate::x509::Extension| e.critical && !KNOWN.contains(&e.oid);
            if let Some(extension) = certificate.extensions().iter().find(unknown) {
                return Err(Refusal::CriticalExtension { index, oid: extension.oid });
            }
        }
        Ok(())
    }

    /// Names and signatures, from the root (which signs itself) down.
    fn check_signatures(&self) -> Result<(), Refusal> {
        for (index, certificate) in self.0.iter().enumerate().rev() {
            let issuer = self.0.get(index + 1).unwrap_or(certificate);
            if certificate.issuer() != issuer.subject() {
                return Err(Refusal::NameChaining { index });
            }
            match certificate.verify_with(issuer.public_key()) {
                Some(Ok(())) => {}
                Some(Err(_)) => return Err(Refusal::Signature { index }),
                None => return Err(Refusal::Algorithm { index }),
            }
        }
        Ok(())
    }

    fn provisioning(&self) -> Provisioning {
        let below_root = &self.0[self.0.len() - 2];
        let named = |name: Option<String>| name.is_some_and(|t| t == "TEE" || t == "StrongBox");
        let subject = below_root.subject();
        if subject.serial_number().is_some() && named(subject.title()) {
            return Provisioning::Factory;
        }
        let info =
            |certificate: &Certificate| certificate.extension(oid::PROVISIONING_INFO).is_some();
        let server = self.0.len().checked_sub(4).filter(|index| *index > 0);
        match server {
            Some(index) if info(&self.0[index]) => Provisioning::Remote,
            _ => Provisioning::Unknown,
        }
    }

    /// The attestation stands at the depth that the kind of chain has, and only there.
    fn check_places(&self, provisioning: Provisioning) -> Result<(), Refusal> {
        let target_depth = match (provisioning, self.0.len()) {
            (Provisioning::Remote, _) => 4,
            (Provisioning::Factory, _) | (Provisioning::Unknown, 4) => 3,
            (Provisioning::Unknown, _) => 2,
        };
        let leaf_depth = self.0.len() - 1;
        self.check_no_attestation_from(1)?;
        if leaf_depth > target_depth {
            return Err(Refusal::CertificateAfterTarget);
        }
        if leaf_depth < target_depth || !self.0[0].has_attestation() {
            return Err(Refusal::TargetMissingAttestation);
        }
        Ok(())
    }

    fn check_no_attestation_from(&self, start: usize) -> Result<(), Refusal> {
        match (start..self.0.len()).find(|index| self.0[*index].has_attestation()) {
            Some(index) => Err(Refusal::AdditionalAttestation { index }),
            None => Ok(()),
        }
    }

    /// The root is left out: its key is what is trusted.
    fn check_times(
        &self,
        start: usize,
        provisioning: Provisioning,
        now: u64,
    ) -> Result<(), Refusal> {
        let below_root_count = self.0.len() - 1;
        for (index, certificate) in self.0[..below_root_count].iter().enumerate().skip(start) {
            let (not_before, not_after) = certificate.validity();
            if now < not_before {
                return Err(Refusal::NotYetValid { index });
            }
            if now > not_after && provisioning != Provisioning::Factory {
                return Err(Refusal::Expired { index });
            }
        }
        Ok(())
    }

    fn check_revocation(
        &self,
        revoked: &dyn Fn(&SerialNumber) -> Option<Revocation>,
    ) -> Result<(), Refusal> {
        for (index, certificate) in self.0.iter().enumerate() {
            if let Some(Revocation { status, .. }) = revoked(certificate.serial()) {
                return Err(Refusal::Revoked { index, status });
            }
        }
        Ok(())
    }
}

fn statement(path: &Path, root: Spki, provisioning: Provisioning) -> Result<Statement, Refusal> {
    let target = &path.0[0];
    let value = target.extension(oid::KEY_DESCRIPTION).ok_or(Refusal::TargetMissingAttestation)?;
    let (description, oddities) = KeyDescription::decode(value).map_err(Refusal::Attestation)?;
    let security_level = hardware_level(&description)?;
    let hardware = &description.hardware_enforced;
    if hardware.origin != Some(KeyOrigin::Generated) {
        return Err(Refusal::Origin);
    }
    let root_of_trust = hardware.root_of_trust.clone().ok_or(Refusal::RootOfTrustMissing)?;
    Ok(Statement {
        public_key: target.public_key().clone(),
        attestation_certificate: path.0[1].clone(),
        root,
        provisioning,
        security_level,
        root_of_trust,
        description,
        oddities,
    })
}

/// The lower of the two levels, where both are the same hardware.
fn hardware_level(description: &KeyDescription) -> Result<SecurityLevel, Refusal> {
    let attestation = description.attestation_security_level;
    let key = description.key_mint_security_level;
    let level = attestation.min(key);
    if attestation != key || level == SecurityLevel::Software {
        return Err(Refusal::SecurityLevel { attestation, key });
    }
    Ok(level)
}
