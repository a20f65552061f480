//! A maker, and a device of its own with a TEE that signs what it is told to.

use crypto::sign::{Curve, EcdsaKey};
use effects::{Clock as _, SystemClock};
use keyattest::x509::{
    Certificate, CertificateParams, Name, SerialNumber, SignatureAlgorithm, Spki, Validity,
    build_certificate,
};
use keyattest::{
    AuthorizationList, CertificateRequest, KeyDescription, KeyOrigin, RootOfTrust, SecurityLevel,
    VerifiedBootState,
};
use wire::Base64;

struct Identity {
    key: EcdsaKey,
    certificate: Certificate,
}

pub(crate) struct Device {
    root: Identity,
    intermediate: Identity,
    device: Identity,
    /// The key that it signs in with once it is bound.
    pub(crate) login: EcdsaKey,
}

fn key() -> EcdsaKey {
    EcdsaKey::generate(Curve::P256).unwrap()
}

fn spki(key: &EcdsaKey) -> Spki {
    Spki::from_der(&key.public_key_spki().unwrap()).unwrap()
}

fn serial() -> SerialNumber {
    SerialNumber::from_bytes(&crypto::random_array::<16>()).unwrap()
}

fn sign(params: &CertificateParams, issuer: &EcdsaKey) -> Certificate {
    let der = build_certificate(params, SignatureAlgorithm::EcdsaSha256, |tbs| issuer.sign(tbs));
    Certificate::parse(&der.unwrap()).unwrap()
}

impl Device {
    pub(crate) fn made(number: &str) -> Self {
        let life = Validity::days(SystemClock::default().now().seconds() - 60, 9_000);
        let root_key = key();
        let name = Name::authority("Root", "Maker").unwrap();
        let params = CertificateParams::root(name, serial(), life, spki(&root_key));
        let root = Identity { certificate: sign(&params, &root_key), key: root_key };
        let below = key();
        let name = Name::factory("00ff").unwrap();
        let params =
            CertificateParams::intermediate(&root.certificate, name, serial(), life, spki(&below));
        let intermediate = Identity { certificate: sign(&params, &root.key), key: below };
        let device_key = key();
        let params = CertificateParams::device(
            &intermediate.certificate,
            Name::factory(number).unwrap(),
            serial(),
            life,
            spki(&device_key),
        );
        let device = Identity { certificate: sign(&params, &intermediate.key), key: device_key };
        Self { root, intermediate, device, login: key() }
    }

    /// Another board that the same maker certified for the same serial number.
    pub(crate) fn twin(&self) -> Self {
        let of = |identity: &Identity| Identity {
            key: EcdsaKey::from_pkcs8(Curve::P256, identity.key.to_pkcs8()).unwrap(),
            certificate: identity.certificate.clone(),
        };
        let device_key = key();
        let params = CertificateParams::device(
            &self.intermediate.certificate,
            self.device.certificate.subject().clone(),
            serial(),
            Validity::days(SystemClock::default().now().seconds() - 60, 9_000),
            spki(&device_key),
        );
        let certificate = sign(&params, &self.intermediate.key);
        Self {
            root: of(&self.root),
            intermediate: of(&self.intermediate),
            device: Identity { key: device_key, certificate },
            login: key(),
        }
    }

    /// A request for a provisioned certificate, and the key that it is for.
    pub(crate) fn request(&self, challenge: &[u8]) -> (Vec<u8>, EcdsaKey) {
        let attestation_key = key();
        let request = CertificateRequest {
            device: self.device.certificate.clone(),
            challenge: challenge.to_vec(),
            keys: vec![spki(&attestation_key)],
        };
        (request.encode(|data| self.device.key.sign(data)).unwrap(), attestation_key)
    }

    /// A fresh key's chain below a provisioned certificate.
    pub(crate) fn attest_provisioned(
        chain: &[Base64],
        issuer: &EcdsaKey,
        challenge: &[u8],
    ) -> Vec<Base64> {
        let of = Certificate::parse(&chain[0].0).unwrap();
        let said = said(challenge, VerifiedBootState::Verified);
        let params = CertificateParams::attested(&of, spki(&key()), &said).unwrap();
        let leaf = sign(&params, issuer);
        [vec![Base64(leaf.as_der().to_vec())], chain.to_vec()].concat()
    }

    pub(crate) fn chain(&self) -> Vec<Base64> {
        [&self.device, &self.intermediate, &self.root]
            .map(|identity| Base64(identity.certificate.as_der().to_vec()))
            .to_vec()
    }

    /// A chain for the login key that answers `challenge`.
    pub(crate) fn attest(&self, challenge: &[u8]) -> Vec<Base64> {
        self.attest_as(challenge, VerifiedBootState::Verified)
    }

    pub(crate) fn attest_as(&self, challenge: &[u8], state: VerifiedBootState) -> Vec<Base64> {
        let said = said(challenge, state);
        let params =
            CertificateParams::attested(&self.device.certificate, spki(&self.login), &said);
        let leaf = sign(&params.unwrap(), &self.device.key);
        [vec![Base64(leaf.as_der().to_vec())], self.chain()].concat()
    }
}

fn said(challenge: &[u8], verified_boot_state: VerifiedBootState) -> KeyDescription {
    KeyDescription {
        attestation_version: 300,
        attestation_security_level: SecurityLevel::TrustedEnvironment,
        key_mint_version: 300,
        key_mint_security_level: SecurityLevel::TrustedEnvironment,
        attestation_challenge: challenge.to_vec(),
        unique_id: Vec::new(),
        software_enforced: AuthorizationList::default(),
        hardware_enforced: AuthorizationList {
            origin: Some(KeyOrigin::Generated),
            root_of_trust: Some(RootOfTrust {
                verified_boot_key: vec![0xab; 32],
                device_locked: verified_boot_state == VerifiedBootState::Verified,
                verified_boot_state,
                verified_boot_hash: Some(vec![0xcd; 32]),
            }),
            os_version: Some(150_000),
            os_patch_level: Some(202_611),
            boot_patch_level: Some(20_261_105),
            ..AuthorizationList::default()
        },
    }
}
