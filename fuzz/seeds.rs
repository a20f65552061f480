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
    put("jws", "token", b"eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCJ9.e30.AAAA")?;
    // Answers of a TPM, each behind its length: random bytes; a list with one handle.
    put("board-tpm2", "random", &[10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8])?;
    put("board-tpm2", "handles", &[13, 0, 0, 0, 0, 1, 0, 0, 0, 1, 1, 0x80, 0x48, 0, 0])?;
    Ok(())
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
