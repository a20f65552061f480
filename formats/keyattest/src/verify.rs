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
//! - every certificate is looked up in the revocation list, suspended counts as revoked;
//! - the security level is the lower of the two, both are hardware, the key was generated
//!   inside, and the hardware list has a root of trust.
//!
//! Of several broken rules the one nearest to the root is told, in the order above: the reason is
//! that of Google's verifier ([`Refusal::reason`]).
//!
//! Stricter than Google's: unknown critical extensions and suspended certificates are refused,
//! RSA keys have at least 2048 bits, and the root's signature on itself must verify.

use crate::x509::{Certificate, SerialNumber, Spki, oid};
use crate::{
    KeyDescription, KeyOrigin, Oddity, ProvisioningInfo, Refusal, Revocation, RootOfTrust,
    SecurityLevel,
};
use der::asn1::ObjectIdentifier;
use std::cmp::Ordering;

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
    /// What the server said that provisioned it, if one did and said something.
    pub provisioning_info: Option<ProvisioningInfo>,
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

/// The most certificates that are looked at. No real chain has more than five; longer ones are
/// read to say what is wrong with them.
const CHAIN_MAX: usize = 10;
/// The shortest: software's.
const CHAIN_MIN: usize = 3;

/// Says what became of a certificate, if anything did.
pub type Revoked<'a> = &'a dyn Fn(&SerialNumber) -> Option<Revocation>;

/// The roots that chains may end in.
///
/// Their public keys are what is trusted. Certificates of theirs that are known in advance save
/// the verification of their signature in each chain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roots {
    keys: Vec<Spki>,
    certificates: Vec<Certificate>,
}

impl Roots {
    /// Trusts these keys.
    #[must_use]
    pub fn of_keys(keys: impl IntoIterator<Item = Spki>) -> Self {
        Self { keys: keys.into_iter().collect(), certificates: Vec::new() }
    }

    /// Trusts the key of a root certificate (DER) as well.
    pub fn add_certificate(&mut self, der: &[u8]) -> Result<(), Refusal> {
        let malformed = |source| Refusal::Malformed { index: 0, source };
        let certificate = Certificate::parse(der).map_err(malformed)?;
        if !certificate.is_self_signed() {
            return Err(Refusal::NoRoot);
        }
        self.add_key(certificate.public_key().clone());
        if !self.certificates.contains(&certificate) {
            self.certificates.push(certificate);
        }
        Ok(())
    }

    /// Trusts this key as well.
    pub fn add_key(&mut self, key: Spki) {
        if !self.keys.contains(&key) {
            self.keys.push(key);
        }
    }

    /// The keys.
    #[must_use]
    pub fn keys(&self) -> &[Spki] {
        &self.keys
    }

    /// Verifies an attestation: `chain` is DER, the attested key first, the root last; `revoked`
    /// says what became of a serial number, `now` counts seconds since 1970.
    pub fn verify_chain(
        &self,
        chain: &[impl AsRef<[u8]>],
        revoked: Revoked<'_>,
        now: u64,
    ) -> Result<Statement, Refusal> {
        let path = Path::parse(chain)?;
        let root = self.check_root(&path, revoked)?;
        let provisioning = path.provisioning();
        let target_depth = path.target_depth(provisioning);
        path.check_place(path.0.len() - 1, path.root(), target_depth)?;
        for (index, certificate) in path.downward() {
            path.check_issued(index, certificate)?;
            if index > 0 {
                check_times(index, certificate, provisioning, now)?;
            }
            path.check_place(index, certificate, target_depth)?;
            check_revocation(index, certificate, revoked)?;
        }
        if path.0.len() - 1 < target_depth {
            return Err(Refusal::TargetMissingAttestation);
        }
        statement(path, root, provisioning)
    }

    /// Verifies the certificates that a factory gave to a device: `chain` is DER, the device first,
    /// the root last. They stand for the device's life: only `notBefore` counts.
    pub fn verify_device_chain(
        &self,
        chain: &[impl AsRef<[u8]>],
        revoked: Revoked<'_>,
        now: u64,
    ) -> Result<DevicePath, Refusal> {
        let path = Path::parse(chain)?;
        let root = self.check_root(&path, revoked)?;
        check_no_attestation(path.0.len() - 1, path.root())?;
        for (index, certificate) in path.downward() {
            path.check_issued(index, certificate)?;
            check_times(index, certificate, Provisioning::Factory, now)?;
            check_no_attestation(index, certificate)?;
            check_revocation(index, certificate, revoked)?;
        }
        Ok(DevicePath { device: path.into_leaf(), root })
    }

    /// The root's key must be trusted, and its certificate either known or signed by that key.
    fn check_root(&self, path: &Path, revoked: Revoked<'_>) -> Result<Spki, Refusal> {
        let (root, index) = (path.root(), path.0.len() - 1);
        if !self.keys.contains(root.public_key()) {
            return Err(Refusal::UntrustedRoot);
        }
        if !self.certificates.contains(root) {
            path.check_issued(index, root)?;
        }
        check_revocation(index, root, revoked)?;
        Ok(root.public_key().clone())
    }
}

/// Verifies an attestation under these root keys; see [`Roots::verify_chain`].
pub fn verify_chain(
    chain: &[impl AsRef<[u8]>],
    roots: &[Spki],
    revoked: Revoked<'_>,
    now: u64,
) -> Result<Statement, Refusal> {
    Roots::of_keys(roots.iter().cloned()).verify_chain(chain, revoked, now)
}

/// Verifies only that each certificate is issued by the next and the last by itself: what the
/// device can check on its way out of the factory, without a clock and without knowing makers.
pub fn verify_issued(chain: &[impl AsRef<[u8]>]) -> Result<DevicePath, Refusal> {
    let path = Path::parse(chain)?;
    path.check_issued(path.0.len() - 1, path.root())?;
    check_no_attestation(path.0.len() - 1, path.root())?;
    for (index, certificate) in path.downward() {
        path.check_issued(index, certificate)?;
        check_no_attestation(index, certificate)?;
    }
    let root = path.root().public_key().clone();
    Ok(DevicePath { device: path.into_leaf(), root })
}

/// Parsed certificates, the leaf first.
struct Path(Vec<Certificate>);

impl Path {
    fn parse(chain: &[impl AsRef<[u8]>]) -> Result<Self, Refusal> {
        if !(CHAIN_MIN..=CHAIN_MAX).contains(&chain.len()) {
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

    fn into_leaf(self) -> Certificate {
        self.0.into_iter().next().expect("a path is not empty")
    }

    /// All but the root, from the one below it down.
    fn downward(&self) -> impl Iterator<Item = (usize, &Certificate)> {
        self.0.iter().enumerate().rev().skip(1)
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

    /// Name and signature; a root is issued by itself.
    fn check_issued(&self, index: usize, certificate: &Certificate) -> Result<(), Refusal> {
        let issuer = self.0.get(index + 1).unwrap_or(certificate);
        if certificate.issuer() != issuer.subject() {
            return Err(Refusal::NameChaining { index });
        }
        match certificate.verify_with(issuer.public_key()) {
            Some(Ok(())) => Ok(()),
            Some(Err(_)) => Err(Refusal::Signature { index }),
            None => Err(Refusal::Algorithm { index }),
        }
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

    /// How many certificates above the attested one the kind of chain has.
    const fn target_depth(&self, provisioning: Provisioning) -> usize {
        match (provisioning, self.0.len()) {
            (Provisioning::Remote, _) => 4,
            (Provisioning::Factory, _) | (Provisioning::Unknown, 4) => 3,
            (Provisioning::Unknown, _) => 2,
        }
    }

    /// The attestation stands at the depth that the kind of chain has, and only there.
    fn check_place(
        &self,
        index: usize,
        certificate: &Certificate,
        target_depth: usize,
    ) -> Result<(), Refusal> {
        let depth = self.0.len() - 1 - index;
        match (depth.cmp(&target_depth), certificate.has_attestation()) {
            (Ordering::Less, false) | (Ordering::Equal, true) => Ok(()),
            (Ordering::Equal, false) => Err(Refusal::TargetMissingAttestation),
            (Ordering::Greater, false) => Err(Refusal::CertificateAfterTarget { index }),
            (Ordering::Less | Ordering::Greater, true) => {
                Err(Refusal::AdditionalAttestation { index })
            }
        }
    }
}

fn check_no_attestation(index: usize, certificate: &Certificate) -> Result<(), Refusal> {
    if certificate.has_attestation() {
        return Err(Refusal::AdditionalAttestation { index });
    }
    Ok(())
}

fn check_times(
    index: usize,
    certificate: &Certificate,
    provisioning: Provisioning,
    now: u64,
) -> Result<(), Refusal> {
    let (not_before, not_after) = certificate.validity();
    if now < not_before {
        return Err(Refusal::NotYetValid { index });
    }
    if now > not_after && provisioning != Provisioning::Factory {
        return Err(Refusal::Expired { index });
    }
    Ok(())
}

fn check_revocation(
    index: usize,
    certificate: &Certificate,
    revoked: Revoked<'_>,
) -> Result<(), Refusal> {
    match revoked(certificate.serial()) {
        Some(Revocation { status, .. }) => Err(Refusal::Revoked { index, status }),
        None => Ok(()),
    }
}

fn statement(path: Path, root: Spki, provisioning: Provisioning) -> Result<Statement, Refusal> {
    let mut certificates = path.0.into_iter();
    let (Some(target), Some(attestation_certificate)) = (certificates.next(), certificates.next())
    else {
        return Err(Refusal::ChainLength(0));
    };
    let value = target.extension(oid::KEY_DESCRIPTION).ok_or(Refusal::TargetMissingAttestation)?;
    let (description, mut oddities) =
        KeyDescription::decode(value).map_err(Refusal::Attestation)?;
    let security_level = hardware_level(&description)?;
    let hardware = &description.hardware_enforced;
    if hardware.origin != Some(KeyOrigin::Generated) {
        return Err(Refusal::Origin);
    }
    let root_of_trust = hardware.root_of_trust.clone().ok_or(Refusal::RootOfTrustMissing)?;
    let info = attestation_certificate.extension(oid::PROVISIONING_INFO);
    let provisioning_info = info.and_then(|info| ProvisioningInfo::decode(info).ok());
    if info.is_some() && provisioning_info.is_none() {
        oddities.push(Oddity::ProvisioningInfo);
    }
    Ok(Statement {
        public_key: target.public_key().clone(),
        attestation_certificate,
        root,
        provisioning,
        provisioning_info,
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
