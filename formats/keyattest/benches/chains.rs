//! Chains verified, for `cargo xtask bench attest`:
//!
//! - `chains make FILE` writes a chain as our makers' devices have it: root P-384, the rest P-256;
//! - `chains verify FILE TIMES` verifies a chain so many times, all of it each time: parsing the
//!   certificates and the attestation, signatures, rules. The root's certificate is known, as in a
//!   server.

use crypto::sign::{Curve, EcdsaKey};
use keyattest::x509::{
    Certificate, CertificateParams, Name, SerialNumber, SignatureAlgorithm, Spki, Validity,
    build_certificate,
};
use keyattest::{
    AuthorizationList, KeyDescription, KeyOrigin, RootOfTrust, Roots, SecurityLevel,
    VerifiedBootState, pem,
};
use std::error::Error;
use std::fs;

/// 2024-09-27: within the validity of recorded chains; ours begin before.
const NOW: u64 = 1_727_395_200;

fn main() -> Result<(), Box<dyn Error>> {
    // Cargo adds `--bench`.
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["make", file] => Ok(fs::write(file, pem::encode(&chain()?))?),
        ["verify", file, times] => verify(&pem::decode(&fs::read(file)?)?, times.parse()?),
        _ => Err("chains make FILE | chains verify FILE TIMES".into()),
    }
}

fn verify(chain: &[Vec<u8>], times: u32) -> Result<(), Box<dyn Error>> {
    let mut roots = Roots::default();
    roots.add_certificate(chain.last().ok_or("the chain is empty")?)?;
    for _ in 0..times {
        std::hint::black_box(roots.verify_chain(std::hint::black_box(chain), &|_| None, NOW)?);
    }
    Ok(())
}

fn spki(key: &EcdsaKey) -> Result<Spki, Box<dyn Error>> {
    Ok(Spki::from_der(&key.public_key_spki()?)?)
}

fn sign(params: &CertificateParams, issuer: &EcdsaKey) -> Result<Certificate, Box<dyn Error>> {
    let algorithm = match issuer.public_key_point().len() {
        65 => SignatureAlgorithm::EcdsaSha256,
        _ => SignatureAlgorithm::EcdsaSha384,
    };
    Ok(Certificate::parse(&build_certificate(params, algorithm, |tbs| issuer.sign(tbs))?)?)
}

fn chain() -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    let life = Validity::days(NOW - 86_400, 7000);
    let serial = |number| SerialNumber::from_bytes(&[0x5a, number]);
    let root_key = EcdsaKey::generate(Curve::P384)?;
    let name = Name::authority("Root", "Maker")?;
    let params = CertificateParams::root(name, serial(1)?, life, spki(&root_key)?);
    let root = sign(&params, &root_key)?;
    let below = EcdsaKey::generate(Curve::P256)?;
    let name = Name::factory("f00d")?;
    let params = CertificateParams::intermediate(&root, name, serial(2)?, life, spki(&below)?);
    let intermediate = sign(&params, &root_key)?;
    let key = EcdsaKey::generate(Curve::P256)?;
    let name = Name::factory("HF-1")?;
    let params = CertificateParams::device(&intermediate, name, serial(3)?, life, spki(&key)?);
    let device = sign(&params, &below)?;
    let attested = EcdsaKey::generate(Curve::P256)?;
    let params = CertificateParams::attested(&device, spki(&attested)?, &description())?;
    let leaf = sign(&params, &key)?;
    Ok([&leaf, &device, &intermediate, &root].map(|it| it.as_der().to_vec()).to_vec())
}

fn description() -> KeyDescription {
    KeyDescription {
        attestation_version: 400,
        attestation_security_level: SecurityLevel::TrustedEnvironment,
        key_mint_version: 400,
        key_mint_security_level: SecurityLevel::TrustedEnvironment,
        attestation_challenge: vec![0xc5; 32],
        unique_id: Vec::new(),
        software_enforced: AuthorizationList::default(),
        hardware_enforced: AuthorizationList {
            purpose: [2, 3].into(),
            algorithm: Some(3),
            key_size: Some(256),
            digest: [4].into(),
            ec_curve: Some(1),
            no_auth_required: true,
            origin: Some(KeyOrigin::Generated),
            root_of_trust: Some(RootOfTrust {
                verified_boot_key: vec![0xab; 32],
                device_locked: true,
                verified_boot_state: VerifiedBootState::Verified,
                verified_boot_hash: Some(vec![0xcd; 32]),
            }),
            os_version: Some(160_000),
            os_patch_level: Some(202_601),
            vendor_patch_level: Some(20_260_105),
            boot_patch_level: Some(20_260_105),
            module_hash: Some(vec![0xef; 32]),
            ..AuthorizationList::default()
        },
    }
}
