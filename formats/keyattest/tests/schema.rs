//! Our DER, byte for byte against another encoder with another writing of the schema.

mod support;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyattest::{
    AttestationApplicationId, AuthorizationList, KeyDescription, KeyOrigin, Package, RootOfTrust,
    SecurityLevel, VerifiedBootState,
};
use serde_json::{Value, json};
use support::asked_of;

/// Every version that devices have.
const VERSIONS: [u32; 9] = [1, 2, 3, 4, 100, 200, 300, 400, 500];

/// Numbers whose encodings differ in length and in the bit at the front.
const NUMBERS: [u64; 8] = [0, 1, 127, 128, 255, 256, 65_537, u64::MAX];

fn root_of_trust(version: u32) -> RootOfTrust {
    RootOfTrust {
        verified_boot_key: vec![0xab; 32],
        device_locked: version.is_multiple_of(2),
        verified_boot_state: VerifiedBootState::SelfSigned,
        verified_boot_hash: (version >= 3).then(|| vec![0xcd; 32]),
    }
}

/// Two packages and two signers, given in another order than DER has.
fn application() -> AttestationApplicationId {
    let package = |name: &str, version| Package { name: name.into(), version };
    AttestationApplicationId {
        packages: [package("org.example.zebra", 1), package("org.é", u64::MAX)].into(),
        signature_digests: [vec![0xff; 32], vec![0; 32], vec![1]].into(),
    }
}

/// A list with every tag that a version has; `turn` moves the numbers around.
fn everything(version: u32, turn: usize) -> AuthorizationList {
    let number = |tag: usize| Some(NUMBERS[(tag + turn) % NUMBERS.len()]);
    let text = |text: &str| Some(text.as_bytes().to_vec());
    let since = |first: u32| version >= first;
    let some = |first: u32, tag: usize| number(tag).filter(|_| since(first));
    AuthorizationList {
        purpose: NUMBERS.into(),
        algorithm: number(2),
        key_size: number(3),
        block_mode: [1, 2, 3, 32].into(),
        digest: [0, 4, 5, 6].into(),
        padding: [1, 64].into(),
        caller_nonce: true,
        min_mac_length: number(8),
        ec_curve: number(10),
        ml_dsa_variant: some(500, 11),
        rsa_public_exponent: number(200),
        rsa_oaep_mgf_digest: if since(100) { [2, 300].into() } else { [].into() },
        rollback_resistance: since(3),
        early_boot_only: since(4),
        active_date_time: number(400),
        origination_expire_date_time: number(401),
        usage_expire_date_time: number(402),
        usage_count_limit: some(100, 405),
        user_secure_id: number(502),
        no_auth_required: true,
        user_auth_type: number(504),
        auth_timeout: number(505),
        allow_while_on_body: true,
        trusted_user_presence_required: since(3),
        trusted_confirmation_required: since(3),
        unlocked_device_required: since(3),
        all_applications: version <= 2,
        application_id: if version <= 2 { text("id") } else { None },
        creation_date_time: number(701),
        origin: Some(KeyOrigin::SecurelyImported),
        rollback_resistant: version <= 2,
        root_of_trust: Some(root_of_trust(version)),
        os_version: number(705),
        os_patch_level: Some(202_601),
        attestation_application_id: since(2).then(application),
        attestation_id_brand: text("brand").filter(|_| since(2)),
        attestation_id_device: text("").filter(|_| since(2)),
        attestation_id_product: text("é").filter(|_| since(2)),
        attestation_id_serial: text("HF-1").filter(|_| since(2)),
        attestation_id_imei: text("351163520096208").filter(|_| since(2)),
        attestation_id_meid: text("meid").filter(|_| since(2)),
        attestation_id_manufacturer: text(&"m".repeat(200)).filter(|_| since(2)),
        attestation_id_model: text("model").filter(|_| since(2)),
        vendor_patch_level: Some(20_260_105).filter(|_| since(3)),
        boot_patch_level: Some(20_260_105).filter(|_| since(3)),
        device_unique_attestation: since(4),
        identity_credential_key: since(4),
        attestation_id_second_imei: text("351163520096216").filter(|_| since(300)),
        module_hash: Some(vec![0x80; 32]).filter(|_| since(400)),
    }
}

fn descriptions() -> Vec<KeyDescription> {
    let levels = [SecurityLevel::Software, SecurityLevel::StrongBox];
    let mut all = Vec::new();
    for version in VERSIONS {
        for turn in 0..NUMBERS.len() {
            all.push(KeyDescription {
                attestation_version: version,
                attestation_security_level: SecurityLevel::TrustedEnvironment,
                key_mint_version: version + turn as u32,
                key_mint_security_level: levels[turn % 2],
                attestation_challenge: vec![0xc5; turn * 18],
                unique_id: vec![7; turn * 2],
                software_enforced: everything(version, turn),
                hardware_enforced: match turn % 2 {
                    0 => AuthorizationList::default(),
                    _ => everything(version, turn + 1),
                },
            });
        }
    }
    all
}

#[test]
fn s3_2_every_tag_of_every_version_is_the_der_that_another_encoder_writes() {
    let ours = descriptions();
    let question: Value =
        ours.iter().map(|it| Value::Object(it.to_json())).collect::<Vec<_>>().into();
    let Some(theirs) = asked_of("pyasn1==0.6.5", "schema.py", &question) else { return };
    for (index, description) in ours.iter().enumerate() {
        let der = description.encode().unwrap();
        let version = description.attestation_version;
        assert_eq!(theirs[index], json!(STANDARD.encode(&der)), "version {version}, {index}");
        let (again, oddities) = KeyDescription::decode(&der).unwrap();
        assert_eq!((&again, &oddities[..]), (description, &[][..]), "version {version}");
    }
}
