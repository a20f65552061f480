//! A maker: builds of a small device, and packages of them.

use avb::{
    Algorithm, Descriptor, Hash, HashDescriptor, HashName, HashtreeDescriptor,
    KernelCmdlineDescriptor, RsaPublicKeyBlob, VbmetaBuilder, hash_footer,
};
use board::argument::hex;
use board::build::Build;
use crypto::digest::sha256;
use crypto::sign::{Curve, EcdsaKey, Hash as Digest, RsaKey};
use otazip::make::Parts;
use otazip::metadata::{DeviceState, Kind, Metadata};
use otazip::signature::{sign, unsigned_end};
use payload::compress::Compression;
use payload::delta::{Options, Source};
use payload::der::{container, element, tag};
use payload::key::{Certificate, SigningKey};
use payload::make::{Builder, Image};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::sync::OnceLock;
use tee_api::boot::Trust;

pub(crate) const KIB: usize = 1024;
/// The partitions of a slot, and their sizes.
pub(crate) const SLOTTED: [(&str, usize); 7] = [
    ("bl1", 80 * KIB),
    ("tee", 80 * KIB),
    ("bl2", 80 * KIB),
    ("boot", 32 * KIB),
    ("vbmeta", 64 * KIB),
    ("system", 72 * KIB),
    ("baseband", 16 * KIB),
];
const SYSTEM_DATA: usize = 64 * KIB;
/// Bytes of an operation.
const STRETCH: usize = 16 * KIB;
pub(crate) const BASE_TIME: i64 = 1_790_000_000;

/// The images of one build, by name without suffix.
pub(crate) type Images = BTreeMap<&'static str, Vec<u8>>;

/// The maker's keys.
pub(crate) struct Maker {
    avb: RsaKey,
    public: RsaPublicKeyBlob,
    pub(crate) ota: (SigningKey, Certificate),
}

/// The maker that all tests share: RSA keys take a while.
pub(crate) fn maker() -> &'static Maker {
    static MAKER: OnceLock<Maker> = OnceLock::new();
    MAKER.get_or_init(|| {
        let avb = RsaKey::generate(2048).unwrap();
        let public = RsaPublicKeyBlob::from_modulus(&avb.modulus()).unwrap();
        Maker { avb, public, ota: signer() }
    })
}

/// A key for packages, and its certificate; the certificate's own signature does not count.
pub(crate) fn signer() -> (SigningKey, Certificate) {
    let key = SigningKey::Ecdsa(EcdsaKey::generate(Curve::P256).unwrap());
    let spki = key.public_key().unwrap();
    let with_sha256 = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
    let algorithm = container(tag::SEQUENCE, &[&element(tag::OID, with_sha256)]);
    let cn = container(tag::SEQUENCE, &[&element(tag::OID, &[0x55, 4, 3]), &element(0x0c, b"ota")]);
    let name = container(tag::SEQUENCE, &[&element(tag::SET, &cn)]);
    let day = element(0x17, b"260101000000Z");
    let validity = container(tag::SEQUENCE, &[&day, &element(0x17, b"490101000000Z")]);
    let version = element(tag::CONTEXT_0, &element(tag::INTEGER, &[2]));
    let serial = element(tag::INTEGER, &[7]);
    let tbs = container(
        tag::SEQUENCE,
        &[&version, &serial, &algorithm, &name, &validity, &name, spki.spki()],
    );
    let signature = key.sign(&sha256(&tbs)).unwrap();
    let signature = element(tag::BIT_STRING, &[&[0][..], &signature].concat());
    let der = container(tag::SEQUENCE, &[&tbs, &algorithm, &signature]);
    (key, Certificate::from_der(&der).unwrap())
}

/// What build number `number` says of itself.
pub(crate) fn build(number: u32) -> Build {
    Build {
        model: "hf1".into(),
        fingerprint: format!("holdfast/hf1/hf1:16/B{number}/{number}:user/release-keys"),
        incremental: number.to_string(),
        timestamp: BASE_TIME + i64::from(number),
        security_patch: format!("2026-{number:02}-05"),
        version: "1.2.3".into(),
    }
}

impl Maker {
    /// What the TEE says of this maker's images.
    pub(crate) fn trust(&self) -> Trust {
        Trust {
            maker_keys: vec![self.public.digest()],
            rollback_indexes: vec![1; 32],
            ..Trust::default()
        }
    }

    /// The images of build `number`; its rollback indexes are `number` too.
    pub(crate) fn images(&self, number: u32) -> Images {
        let mut images: Images = SLOTTED
            .iter()
            .map(|(name, size)| (*name, content(name, number, size - 8 * KIB)))
            .collect();
        for name in ["bl1", "tee", "bl2"] {
            let image = content(name, number, 6 * KIB);
            let size = SLOTTED.iter().find(|(known, _)| *known == name).unwrap().1;
            images.insert(name, self.footed(name, &image, size, number));
        }
        let system = content("system", number, SYSTEM_DATA);
        let params = verity::Params::new(verity::HashAlgorithm::Sha256, &[7; 32]).unwrap();
        let (tree, root) = verity::build(&params, &system).unwrap();
        let tree_bytes = tree.len();
        images.insert("system", padded("system", [system, tree].concat()));
        let vbmeta = self.vbmeta(&images, root.as_bytes(), tree_bytes, number);
        images.insert("vbmeta", vbmeta);
        for name in ["boot", "baseband"] {
            images.insert(name, padded(name, images[name].clone()));
        }
        images.into_iter().map(|(name, image)| (name, padded(name, image))).collect()
    }

    fn footed(&self, name: &str, image: &[u8], size: usize, number: u32) -> Vec<u8> {
        let footer = hash_footer(
            image,
            name,
            size as u64,
            &[9; 32],
            &self.builder(number),
            &self.public,
            |data: &[u8]| self.avb.sign_pkcs1(Digest::Sha256, data),
        );
        footer.unwrap().assemble(image)
    }

    fn vbmeta(&self, images: &Images, root: &[u8], tree_bytes: usize, number: u32) -> Vec<u8> {
        let (sectors, blocks) = (SYSTEM_DATA / 512, SYSTEM_DATA / 4096);
        let partition = "PARTUUID=$(ANDROID_SYSTEM_PARTUUID)";
        let (root_hex, salt) = (hex(root), hex(&[7; 32]));
        let cmdline = format!(
            "dm=\"1 vroot none ro 1,0 {sectors} verity 1 {partition} {partition} 4096 4096 \
             {blocks} {blocks} sha256 {root_hex} {salt} 2 $(ANDROID_VERITY_MODE) \
             ignore_zero_blocks\" root=/dev/dm-0"
        );
        let mut descriptors = vec![
            Descriptor::KernelCmdline(KernelCmdlineDescriptor {
                flags: KernelCmdlineDescriptor::ONLY_IF_HASHTREE_ENABLED,
                cmdline,
            }),
            Descriptor::Hashtree(HashtreeDescriptor {
                dm_verity_version: 1,
                image_size: SYSTEM_DATA as u64,
                tree_offset: SYSTEM_DATA as u64,
                tree_size: tree_bytes as u64,
                data_block_size: 4096,
                hash_block_size: 4096,
                fec_num_roots: 0,
                fec_offset: 0,
                fec_size: 0,
                hash_algorithm: HashName::from_bytes(b"sha256"),
                partition_name: "system".into(),
                salt: vec![7; 32],
                root_digest: root.to_vec(),
                flags: 0,
            }),
        ];
        for name in ["boot", "baseband"] {
            let hash = HashDescriptor::of(name, &images[name], Hash::Sha256, &[8; 32]);
            descriptors.push(Descriptor::Hash(hash));
        }
        VbmetaBuilder { descriptors, ..self.builder(number) }
            .sign(&self.public, |data: &[u8]| self.avb.sign_pkcs1(Digest::Sha256, data))
            .unwrap()
    }

    fn builder(&self, number: u32) -> VbmetaBuilder {
        VbmetaBuilder {
            algorithm: Algorithm::Sha256Rsa2048,
            rollback_index: number.into(),
            ..VbmetaBuilder::default()
        }
    }

    /// A full package of build `to`.
    pub(crate) fn full(&self, to: u32) -> Order {
        Order::new(self, None, to, self.images(to))
    }

    /// A package that turns build `from` into build `to`.
    pub(crate) fn delta(&self, from: u32, to: u32) -> Order {
        Order::new(self, Some((from, self.images(from))), to, self.images(to))
    }
}

/// Bytes that differ between builds in one place only, so that deltas are small; from build 5 on in
/// every place.
fn content(name: &str, number: u32, size: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..size)
        .map(|at| (at * 31 + at / 251 + name.len() * 7 + number as usize / 5).to_le_bytes()[0])
        .collect();
    bytes[size / 2..size / 2 + 4].copy_from_slice(&number.to_be_bytes());
    bytes
}

fn padded(name: &str, mut image: Vec<u8>) -> Vec<u8> {
    let size = SLOTTED.iter().find(|(known, _)| *known == name).unwrap().1;
    assert!(image.len() <= size, "{name}");
    image.resize(size, 0);
    image
}

/// A package to be made.
pub(crate) struct Order {
    from: Option<Images>,
    pub(crate) to: Images,
    pub(crate) metadata: Metadata,
    pub(crate) max_timestamp: i64,
    /// Signs the payload, and the whole file.
    pub(crate) signers: [(SigningKey, Certificate); 2],
}

impl Order {
    fn new(maker: &Maker, from: Option<(u32, Images)>, to: u32, images: Images) -> Self {
        let (old, new) = (from.as_ref().map(|(number, _)| build(*number)), build(to));
        let metadata = Metadata {
            kind: Kind::Ab,
            precondition: DeviceState {
                device: vec![new.model.clone()],
                build: old.iter().map(|it| it.fingerprint.clone()).collect(),
                ..DeviceState::default()
            },
            postcondition: DeviceState {
                build: vec![new.fingerprint.clone()],
                build_incremental: new.incremental.clone(),
                timestamp: new.timestamp,
                security_patch_level: new.security_patch.clone(),
                ..DeviceState::default()
            },
            ..Metadata::default()
        };
        let signer = || {
            let SigningKey::Ecdsa(key) = &maker.ota.0 else { panic!("an ECDSA key") };
            let key = EcdsaKey::from_pkcs8(Curve::P256, key.to_pkcs8()).unwrap();
            (SigningKey::Ecdsa(key), maker.ota.1.clone())
        };
        Self {
            from: from.map(|(_, images)| images),
            to: images,
            metadata,
            max_timestamp: new.timestamp,
            signers: [signer(), signer()],
        }
    }

    /// The bytes of the package.
    pub(crate) fn make(&self) -> Vec<u8> {
        let options =
            Options { format: payload::bsdiff::Format::Bsdf2, compression: Compression::Xz(6) };
        let minor = if self.from.is_some() { options.minor_version() } else { 0 };
        let mut builder = Builder::new(minor);
        builder.max_timestamp(self.max_timestamp);
        let mut blobs = Vec::new();
        let image = |bytes: &[u8]| Image { size: bytes.len() as u64, sha256: sha256(bytes) };
        for (name, new) in &self.to {
            let old = self.from.as_ref().map(|from| &from[name]);
            builder.partition(name, old.map(|old| image(old)), image(new));
            let source = old.map(|old| Source::new(old).unwrap());
            for (number, stretch) in new.chunks(STRETCH).enumerate() {
                let first = (number * STRETCH / 4096) as u64;
                let steps = match &source {
                    Some(source) => source.steps(first, stretch.to_vec(), options),
                    None => payload::full::full(first, stretch, Compression::Xz(6)),
                };
                for step in steps.unwrap() {
                    builder.step(&step).unwrap();
                    blobs.extend(step.blob);
                }
            }
        }
        let [inner, outer] = &self.signers;
        let mut sealed = builder.seal(&[&inner.0]).unwrap();
        let mut payload = sealed.front().to_vec();
        let front = payload.len() as u64;
        sealed.update(&blobs);
        payload.extend(&blobs);
        let (end, properties) = sealed.finish().unwrap();
        payload.extend(end);
        let parts = Parts { metadata: self.metadata.clone(), ..Parts::default() };
        let frame = parts.frame(&properties, crc32fast::hash(&payload), front).unwrap();
        let file = [frame.head, payload, frame.tail].concat();
        let end = unsigned_end(&file, file.len() as u64).unwrap();
        let end = usize::try_from(end).unwrap();
        let tail = sign(&outer.0, &outer.1, &sha256(&file[..end])).unwrap();
        [&file[..end], &tail].concat()
    }

    /// The package in a file.
    pub(crate) fn file(&self) -> File {
        in_file(&self.make())
    }
}

/// A file with these bytes.
pub(crate) fn in_file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}
