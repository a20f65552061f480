//! Writes the seeds of every target: `cargo run --bin seeds -- FOLDER`.

use bootimg::boot::{BootImage, LegacyBootImage, LegacyVersion, VendorBootImage, VendorRamdisk};
use std::fs;
use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).ok_or("usage: seeds FOLDER")?;
    let put = |target: &str, name: &str, bytes: &[u8]| -> std::io::Result<()> {
        let folder = Path::new(&folder).join(target);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(name), bytes)
    };
    let vbmeta = avb::VbmetaBuilder {
        descriptors: vec![
            avb::Descriptor::Hash(avb::HashDescriptor::of("boot", b"image", avb::Hash::Sha256, b"salt")),
            avb::Descriptor::Property(avb::PropertyDescriptor::text("key", "value")),
        ],
        ..Default::default()
    };
    put("avb", "unsigned", &vbmeta.unsigned()?)?;
    put("avb", "challenge", &[1; avb::cert::UNLOCK_CHALLENGE_BYTES])?;
    put("avb", "certificate", &[1; avb::cert::CERTIFICATE_BYTES])?;
    put("avb", "metadata", &[1; avb::cert::PUBLIC_KEY_METADATA_BYTES])?;
    put("avb", "credential", &[1; avb::cert::UNLOCK_CREDENTIAL_BYTES])?;
    let slot = avb::VbmetaBuilder {
        algorithm: avb::Algorithm::Sha256Rsa2048,
        descriptors: vec![
            avb::Descriptor::KernelCmdline(avb::KernelCmdlineDescriptor {
                flags: 0,
                cmdline: "root=$(AVB_SYSTEM_ROOT_DIGEST)".into(),
            }),
            avb::Descriptor::ChainPartition(avb::ChainPartitionDescriptor {
                rollback_index_location: 1,
                flags: 0,
                partition_name: "boot".into(),
                public_key: vec![1; 520],
            }),
        ],
        ..vbmeta
    };
    let key = crypto::sign::RsaKey::generate(2048)?;
    let public_key = avb::RsaPublicKeyBlob::from_modulus(&key.modulus())?;
    put("avb", "key", public_key.as_bytes())?;
    let signed = slot.sign(&public_key, |data| {
        key.sign_pkcs1(crypto::sign::Hash::Sha256, data)
    })?;
    put("avb", "signed", &signed)?;

    let mut archive = bootimg::cpio::Writer::new();
    archive.directory("etc", 0o755)?;
    archive.file("etc/file", 0o644, b"content")?;
    archive.symlink("etc/link", "file")?;
    put("bootimg", "cpio", &archive.finish())?;
    let misc = bootimg::misc::SlotMetadata::first_boot();
    let params = verity::Params::new(verity::HashAlgorithm::Sha256, b"salt")?;
    let superblock = verity::Superblock::new(&params, 1000, [7; 16]).encode()?;
    put("verity", "superblock", &[&[2; 9][..], &superblock].concat())?;

    put("bootimg", "misc", &misc.encode())?;
    put("bootimg", "boot", &BootImage { kernel: b"k", ..Default::default() }.encode()?)?;
    let legacy = LegacyBootImage {
        version: LegacyVersion::V2,
        page_bytes: 2048,
        dtb: b"dtb",
        recovery_dtbo: b"dtbo",
        ..Default::default()
    };
    put("bootimg", "legacy", &legacy.encode()?)?;
    let ramdisks = vec![
        VendorRamdisk { data: b"one", ..Default::default() },
        VendorRamdisk { data: b"two", name: "two", kind: 3, board_id: [1; 16] },
    ];
    let vendor =
        VendorBootImage { page_bytes: 2048, ramdisks, bootconfig: b"x=1", ..Default::default() };
    put("bootimg", "vendor", &vendor.encode()?)?;

    let mut requests = rpmb::host::program_key(&[7; 32]);
    requests.extend(rpmb::host::read_counter(&[1; 16]));
    requests.extend(rpmb::host::write(&[7; 32], 0, 3, &[[5; 256]]));
    put("rpmb", "write", &requests)?;
    let register = rpmb::Register::SecureWpModeEnable;
    let configuration = rpmb::host::write_configuration(&[7; 32], 0, register, true);
    put("rpmb", "configuration", &[&[0xff], &configuration[..]].concat())?;
    put("rpmb", "read", &[&[5], &rpmb::host::read(&[1; 16], 3, 2)[..]].concat())?;

    let tree = Path::new(&folder).join("tree");
    fs::create_dir_all(&tree)?;
    fs::write(tree.join("file"), "content")?;
    let mut tar = Vec::new();
    treetar::pack_folder(&tree, &mut tar)?;
    fs::remove_dir_all(&tree)?;
    put("treetar", "folder", &tar)?;

    put("snapshot", "manifest", &snapshot::manifest::Manifest::default().encode())?;
    let key = snapshot::block::DataKey::new(&[3; 32], "account");
    let namer = snapshot::block::IdKey::new(&[4; 32]);
    let mut pack = snapshot::pack::PackWriter::new("vault:v1:key")?;
    pack.push(&key, &namer.name(b"block"), b"block");
    put("snapshot", "pack", &pack.finish().bytes)?;

    let open = tee_api::ree::Request::Open {
        ta: tee_api::TaId([1; 16]),
        signer: Some(tee_api::Signer::Maker),
        login: tee_api::LoginMethod::Application,
    };
    put("tee", "open", &board::channel::encode(&open)?)?;
    put("secure_storage", "commit", &storage_record(1))?;
    put("secure_storage", "checkpoint", &storage_record(2))?;
    put("secure_storage", "anchor", &[&b"HFA1"[..], &[7; 72], &[0]].concat())?;
    put("tee_engine", "session", &board::channel::encode(&engine_calls())?)?;
    let (file, front, properties) = payload_of(Default::default())?;
    put("payload", "full", &file)?;
    let tree = payload::manifest::VerityExtents {
        hash_tree_data_extent: Some(payload::manifest::Extent::new(0, 2)),
        hash_tree_extent: Some(payload::manifest::Extent::new(2, 1)),
        hash_tree_algorithm: Some("sha256".to_owned()),
        hash_tree_salt: Some(vec![1, 2]),
        fec_data_extent: Some(payload::manifest::Extent::new(0, 3)),
        fec_extent: Some(payload::manifest::Extent::new(3, 2)),
        fec_roots: None,
    };
    put("payload", "computed", &payload_of(tree)?.0)?;
    let frame = otazip::make::Parts::default().frame(&properties, crc32fast::hash(&file), front)?;
    put("otazip", "unsigned", &[frame.head, file, frame.tail].concat())?;
    let mut map = sparse::Map::empty(4096)?;
    let mut image = map.header().encode().to_vec();
    image.extend(map.append(sparse::Content::Fill([1, 2, 3, 4]), 8192)?);
    image.extend(map.append(sparse::Content::DontCare, 4096)?);
    image[16..24].copy_from_slice(&map.counts());
    put("sparse", "fill", &image)?;
    put("keymint", "set", br#"{"purpose":["sign"],"algorithm":"ec","no_auth_required":true}"#)?;
    put("keymint", "token", &[0; 69])?;
    put("fscrypt", "context", &[&[2, 1, 4, 3, 0, 0, 0, 0][..], &[7; 32], &[9; 32]].concat())?;
    put("iso7816", "select", &[0, 0xA4, 4, 0, 5, 0xA0, 0, 0, 3, 8, 0])?;
    put("iso7816", "extended", &[0x10, 0xDB, 0x3F, 0xFF, 0, 0, 2, 0x53, 0, 0, 0])?;
    put("iso7816", "objects", &[0x7F, 0x49, 3, 0x86, 0x81, 0, 0x5F, 0xC1, 5, 0])?;
    put("jws", "token", b"eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCJ9.e30.AAAA")?;
    put("mdoc", "document", &document()?.encode())?;
    let shown = mdoc::Presentation::new(mdoc::DRIVING_LICENCE, document()?, vec![2; 64]);
    put("mdoc", "shown", &shown.encode())?;
    for (name, bytes) in attestation()? {
        put("keyattest", name, &bytes)?;
    }
    // Answers of a TPM, each behind its length: random bytes; a list with one handle.
    put("board-tpm2", "random", &[10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8])?;
    put("board-tpm2", "handles", &[13, 0, 0, 0, 0, 1, 0, 0, 0, 1, 1, 0x80, 0x48, 0, 0])?;
    Ok(())
}

/// A record of secure storage with one object of one chunk: a commit (1), or a piece of a
/// checkpoint (2), which lists a segment first.
fn storage_record(kind: u8) -> Vec<u8> {
    let mut record = [&[kind][..], &9_u64.to_le_bytes(), &[0]].concat();
    if kind == 2 {
        record.extend([&1_u16.to_le_bytes()[..], &3_u32.to_le_bytes(), &[4; 16]].concat());
    }
    record.extend(1_u16.to_le_bytes());
    record.extend([&[5; 32][..], &[1], b"n", &1_u16.to_le_bytes()].concat());
    record.extend([&9_u64.to_le_bytes()[..], &200_u32.to_le_bytes()].concat());
    record.extend([3_u32, 0, 256].map(u32::to_le_bytes).concat());
    record.extend([6; 32]);
    record
}

/// A key, its use in pieces and at once, and its way under another key.
fn engine_calls() -> Vec<tee_api::engine::Call> {
    use serde_bytes::ByteBuf;
    use tee_api::engine::{Attributes, Call, Cipher, Handle, KeyType, Operation, Usage, Wrapping};
    let latest = Handle(0);
    let key = |usage| Attributes::new(KeyType::Aes256, usage);
    let gcm = Cipher::Gcm { nonce: ByteBuf::from([1; 12]), tag_bytes: 16 };
    let encrypt = || Operation::Encrypt(gcm.clone());
    vec![
        Call::Generate { attributes: key(Usage::ENCRYPT | Usage::EXTRACTABLE) },
        Call::Run {
            key: Some(latest),
            operation: encrypt(),
            associated: ByteBuf::from(*b"aad"),
            data: ByteBuf::from(*b"text"),
            tag: None,
        },
        Call::Begin { key: Some(latest), operation: encrypt() },
        Call::Associate { operation: latest, data: ByteBuf::from(*b"aad") },
        Call::Update { operation: latest, data: ByteBuf::from(*b"text") },
        Call::Finish { operation: latest, data: ByteBuf::new(), tag: None },
        Call::DeriveFromHuk {
            label: "wrapping".into(),
            context: ByteBuf::new(),
            attributes: key(Usage::WRAP | Usage::UNWRAP),
        },
        Call::Wrap { under: latest, key: Handle(2), wrapping: Wrapping::AesKwp },
        Call::Seal { key: latest, name: "name".into() },
        Call::Close { handles: vec![latest] },
    ]
}

/// A payload of two blocks, of a partition of five; how long its front is, and its properties.
fn payload_of(
    computed: payload::manifest::VerityExtents,
) -> Result<(Vec<u8>, u64, payload::properties::Properties), Box<dyn std::error::Error>> {
    let image = b"seed".repeat(2048);
    let new = payload::make::Image { size: 20_480, sha256: crypto::digest::sha256(&image) };
    let mut builder = payload::make::Builder::new(0);
    builder.partition("boot", None, new).computed(computed);
    let mut blobs = Vec::new();
    for step in payload::full::full(0, &image, payload::compress::Compression::Xz(0))? {
        builder.step(&step)?;
        blobs.extend(step.blob);
    }
    let mut sealed = builder.seal(&[])?;
    let mut file = sealed.front().to_vec();
    let front = file.len() as u64;
    sealed.update(&blobs);
    file.extend(&blobs);
    let properties = sealed.finish()?.1;
    Ok((file, front, properties))
}

/// An attestation, the certificate around it, a device's request to a server, and a list.
fn attestation() -> Result<Vec<(&'static str, Vec<u8>)>, Box<dyn std::error::Error>> {
    use crypto::sign::{Curve, EcdsaKey};
    use keyattest::x509::{
        Certificate, CertificateParams, Name, SerialNumber, SignatureAlgorithm, Spki, Validity,
        build_certificate,
    };
    use keyattest::{AuthorizationList, KeyDescription, KeyOrigin, RootOfTrust, SecurityLevel};
    let key = EcdsaKey::generate(Curve::P256)?;
    let spki = Spki::from_der(&key.public_key_spki()?)?;
    let name = Name::factory("HF-1")?;
    let params =
        CertificateParams::root(name, SerialNumber::one(), Validity::days(0, 1), spki.clone());
    let build = |params| {
        build_certificate(params, SignatureAlgorithm::EcdsaSha256, |data| key.sign(data))
    };
    let device = build(&params)?;
    let certificate = Certificate::parse(&device)?;
    let description = KeyDescription {
        attestation_version: 400,
        attestation_security_level: SecurityLevel::TrustedEnvironment,
        key_mint_version: 400,
        key_mint_security_level: SecurityLevel::TrustedEnvironment,
        attestation_challenge: b"challenge".to_vec(),
        unique_id: Vec::new(),
        software_enforced: AuthorizationList { creation_date_time: Some(1), ..Default::default() },
        hardware_enforced: AuthorizationList {
            purpose: [2, 3].into(),
            algorithm: Some(3),
            no_auth_required: true,
            origin: Some(KeyOrigin::Generated),
            root_of_trust: Some(RootOfTrust {
                verified_boot_key: vec![1; 32],
                device_locked: true,
                verified_boot_state: keyattest::VerifiedBootState::Verified,
                verified_boot_hash: Some(vec![2; 32]),
            }),
            os_patch_level: Some(202_601),
            attestation_id_brand: Some(b"brand".to_vec()),
            module_hash: Some(vec![3; 32]),
            ..Default::default()
        },
    };
    let leaf = build(&CertificateParams::attested(&certificate, spki.clone(), &description)?)?;
    let request = keyattest::CertificateRequest {
        device: certificate,
        challenge: vec![7; 32],
        keys: vec![spki],
    };
    let list = br#"{"entries": {"cc66": {"status": "SUSPENDED", "reason": "KEY_COMPROMISE"}}}"#;
    Ok(vec![
        ("description", description.encode()?),
        ("pem", keyattest::pem::encode(&[&leaf]).into_bytes()),
        ("leaf", leaf),
        ("request", request.encode(|data| key.sign(data))?),
        ("list", list.to_vec()),
    ])
}

/// A document with a signature that is none.
fn document() -> Result<mdoc::IssuerSigned, mdoc::IssueError> {
    let issuance = mdoc::Issuance {
        doc_type: mdoc::DRIVING_LICENCE,
        namespace: mdoc::DRIVING_LICENCE_ELEMENTS,
        elements: vec![("age_over_18".to_owned(), mdoc::Value::from(true))],
        device_key: [4; 65],
        validity: mdoc::Validity { signed: 1, from: 1, until: 2 },
    };
    issuance.sign(vec![vec![0x30, 0]], || [7; 32], |_| Ok::<_, String>(vec![1; 64]))
}
