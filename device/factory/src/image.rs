//! What goes into each partition of a slot.

use crate::application::Application;
use crate::flash::{CloudConfig, FlashError, Release, SystemFile, Updates};
use crate::maker::AvbKey;
use crate::parity;
use crate::stages::Stages;
use avb::{
    Descriptor, Hash, HashDescriptor, HashName, HashtreeDescriptor, KernelCmdlineDescriptor,
    PropertyDescriptor, VbmetaBuilder, hash_footer,
};
use board::verity::{ERROR_MODE_PROPERTY, ErrorMode, PARITY_OPTION};
use bootimg::boot::{BootImage, OsVersion};
use bootimg::cpio::{CpioError, Writer};
use std::num::NonZero;
use std::thread;
use verity::{Geometry, HashAlgorithm, Params, TreeBuilder};

/// Bytes of the system's data; its hash tree follows.
pub(crate) const SYSTEM_DATA_BYTES: usize = 64 << 20;
/// Recovery's program, in the ramdisk.
const RECOVERY: &str = "recovery";
/// Pieces of a partition: where they go in it, and what. All else is zero.
pub(crate) type Pieces = Vec<(u64, Vec<u8>)>;

/// What vbmeta says of the system.
pub(crate) struct Protection {
    tree: HashtreeDescriptor,
    /// SHA-256 of the parity.
    parity: [u8; 32],
}

/// Signs what goes into the partitions.
pub(crate) struct Signer<'a> {
    pub(crate) key: &'a AvbKey,
    pub(crate) release: &'a Release,
    pub(crate) updates: Option<&'a Updates>,
}

impl Signer<'_> {
    /// The salt for what is hashed of the partition `name`: the same in every build of this maker,
    /// so that builds are reproducible and what did not change has the same hashes.
    fn salt(&self, name: &str) -> [u8; 32] {
        let key = self.key.digest();
        crypto::digest::sha256(&[b"holdfast salt ", &key[..], name.as_bytes()].concat())
    }

    /// A partition with its own vbmeta image and footer: `bl1`, `tee`, `bl2`.
    pub(crate) fn with_footer(
        &self,
        name: &'static str,
        image: Vec<u8>,
        partition_bytes: u64,
        rollback_index: u64,
    ) -> Result<Pieces, FlashError> {
        let builder = VbmetaBuilder {
            descriptors: vec![property("version", &self.release.version)],
            ..self.builder(rollback_index)?
        };
        let salt = self.salt(name);
        let sign = |data: &[u8]| self.key.sign(data);
        let footer =
            hash_footer(&image, name, partition_bytes, &salt, &builder, self.key.public(), sign)
                .map_err(|error| FlashError::Image(name, error.to_string()))?;
        Ok(vec![
            (0, image),
            (footer.vbmeta_offset, footer.vbmeta),
            (footer.footer_offset, footer.footer.to_vec()),
        ])
    }

    /// The `vbmeta` partition: it vouches for boot, baseband and system.
    pub(crate) fn vbmeta(
        &self,
        hashed: [(&'static str, &[u8]); 2],
        system: &Protection,
        errors: ErrorMode,
        rollback_index: u64,
    ) -> Result<Vec<u8>, FlashError> {
        let Release { version, os_version, security_patch } = self.release;
        let mut descriptors = vec![
            property("version", version),
            property("com.android.build.system.os_version", os_version),
            property("com.android.build.system.security_patch", security_patch),
            property("com.android.build.boot.security_patch", security_patch),
            property(ERROR_MODE_PROPERTY, errors.name()),
            Descriptor::KernelCmdline(KernelCmdlineDescriptor {
                flags: KernelCmdlineDescriptor::ONLY_IF_HASHTREE_ENABLED,
                cmdline: cmdline(system),
            }),
            Descriptor::Hashtree(system.tree.clone()),
        ];
        if let Some(updates) = self.updates {
            let fingerprint = updates.build(self.release).fingerprint;
            for part in ["system", "boot"] {
                let key = format!("com.android.build.{part}.fingerprint");
                descriptors.push(property(&key, &fingerprint));
            }
        }
        for (name, image) in hashed {
            let salt = self.salt(name);
            descriptors.push(Descriptor::Hash(HashDescriptor::of(
                name,
                image,
                Hash::Sha256,
                &salt,
            )));
        }
        VbmetaBuilder { descriptors, ..self.builder(rollback_index)? }
            .sign(self.key.public(), |data: &[u8]| self.key.sign(data))
            .map_err(|error| FlashError::Image("vbmeta", error.to_string()))
    }

    fn builder(&self, rollback_index: u64) -> Result<VbmetaBuilder, FlashError> {
        let text = format!("holdfast {}", self.release.version);
        let release = avb::Release::new(&text)
            .ok_or_else(|| FlashError::Image("vbmeta", format!("{text:?} is too long")))?;
        let algorithm = self.key.algorithm();
        Ok(VbmetaBuilder { algorithm, rollback_index, release, ..VbmetaBuilder::default() })
    }
}

fn property(key: &str, value: &str) -> Descriptor {
    Descriptor::Property(PropertyDescriptor::text(key, value))
}

/// The kernel's dm-verity table, word for word as `avbtool --setup_as_rootfs_from_kernel` has it,
/// and what the parity is that it points to.
fn cmdline(Protection { tree, parity }: &Protection) -> String {
    let hex = board::argument::hex;
    let (sectors, blocks) = (tree.image_size / 512, tree.image_size / 4096);
    let covered = tree.fec_offset / 4096;
    let partition = "PARTUUID=$(ANDROID_SYSTEM_PARTUUID)";
    format!(
        "dm=\"1 vroot none ro 1,0 {sectors} verity 1 {partition} {partition} 4096 4096 {blocks} \
         {blocks} sha256 {} {} 10 $(ANDROID_VERITY_MODE) ignore_zero_blocks \
         use_fec_from_device {partition} fec_roots {} fec_blocks {covered} fec_start {covered}\" \
         root=/dev/dm-0 {PARITY_OPTION}{}",
        hex(&tree.root_digest),
        hex(&tree.salt),
        tree.fec_num_roots,
        hex(parity),
    )
}

/// The `tee` image: the trusted OS, the system's trusted applications as images of their own, and
/// who may sign others.
pub(crate) fn tee(
    stages: &Stages,
    signer: &Signer<'_>,
    signers: &[[u8; 32]],
    version: u64,
) -> Result<Vec<u8>, FlashError> {
    let failed = |error: CpioError| FlashError::Image("tee", error.to_string());
    let mut archive = Writer::new();
    archive.file("tee-os", 0o500, stages.program("tee-os")).map_err(failed)?;
    for application in Application::of_the_system(version) {
        let name = application.name;
        let image = application.sign(stages.program(name), signer.key, &signer.salt(name))?;
        archive.file(name, 0o400, &image).map_err(failed)?;
    }
    archive.directory("etc", 0o500).map_err(failed)?;
    let lines = signers.iter().map(|digest| board::argument::hex(digest) + "\n");
    let signers = lines.collect::<String>();
    archive.file("etc/ta-signers", 0o400, signers.as_bytes()).map_err(failed)?;
    Ok(archive.finish())
}

/// The `boot` image: the kernel, and recovery with what it goes by in the ramdisk.
pub(crate) fn boot(
    stages: &Stages,
    release: &Release,
    updates: Option<&Updates>,
) -> Result<Vec<u8>, FlashError> {
    let failed = |problem: String| FlashError::Image("boot", problem);
    let os_version = release.packed().ok_or_else(|| {
        failed(format!("{} / {} is no version", release.os_version, release.security_patch))
    })?;
    let ramdisk = updates.map(|updates| ramdisk(stages, &updates.files(release))).transpose();
    let ramdisk = ramdisk.map_err(|error| failed(error.to_string()))?.unwrap_or_default();
    let kernel = stages.program("init");
    BootImage { kernel, ramdisk: &ramdisk, os_version, ..BootImage::default() }
        .encode()
        .map_err(|error| failed(error.to_string()))
}

fn ramdisk(stages: &Stages, files: &[(&str, Vec<u8>)]) -> Result<Vec<u8>, CpioError> {
    let mut archive = Writer::new();
    archive.file(RECOVERY, 0o500, stages.program(RECOVERY))?;
    archive.directory("etc", 0o500)?;
    for (path, content) in files {
        archive.file(path, 0o400, content)?;
    }
    Ok(archive.finish())
}

impl Release {
    /// As the boot image's header has it.
    fn packed(&self) -> Option<OsVersion> {
        let mut parts = self.os_version.split('.').map(|part| part.parse::<u8>());
        let mut next = || parts.next().unwrap_or(Ok(0)).ok();
        let version = (next()?, next()?, next()?);
        let mut date = self.security_patch.split('-');
        let patch_level = (date.next()?.parse().ok()?, date.next()?.parse().ok()?);
        Some(OsVersion { version, patch_level })
    }
}

/// The system: its program, the cloud that it knows, files; the hash tree behind them, and the
/// parity behind that.
pub(crate) fn system(
    stages: &Stages,
    cloud: Option<&CloudConfig>,
    files: &[SystemFile],
    signer: &Signer<'_>,
) -> Result<(Pieces, Protection), FlashError> {
    let mut archive = Writer::new();
    let failed = |error: CpioError| FlashError::Image("system", error.to_string());
    archive.directory("bin", 0o755).map_err(failed)?;
    archive.file("bin/system", 0o755, stages.program("system")).map_err(failed)?;
    archive.directory("etc", 0o755).map_err(failed)?;
    if let Some(cloud) = cloud {
        let json = serde_json::to_vec(cloud).expect("two texts are JSON");
        archive.file("etc/cloud.json", 0o644, &json).map_err(failed)?;
    }
    for file in files {
        archive.file(&file.path, file.mode, &file.content).map_err(failed)?;
    }
    let mut data = archive.finish();
    let used = data.len();
    if used > SYSTEM_DATA_BYTES {
        return Err(FlashError::TooLarge { name: "system", bytes: used, most: SYSTEM_DATA_BYTES });
    }
    data.resize(SYSTEM_DATA_BYTES, 0);
    let salt = signer.salt("system");
    let (tree, root_digest) = hash_on_all_cores(&data, &salt)?;
    let mut descriptor = HashtreeDescriptor {
        dm_verity_version: 1,
        image_size: SYSTEM_DATA_BYTES as u64,
        tree_offset: SYSTEM_DATA_BYTES as u64,
        tree_size: tree.len() as u64,
        data_block_size: verity::BLOCK_BYTES,
        hash_block_size: verity::BLOCK_BYTES,
        fec_num_roots: 0,
        fec_offset: 0,
        fec_size: 0,
        hash_algorithm: HashName::from_bytes(b"sha256"),
        partition_name: "system".into(),
        salt: salt.to_vec(),
        root_digest,
        flags: 0,
    };
    data.extend(&tree);
    let parity = parity::add(&mut descriptor, &data)?;
    data.truncate(used);
    let protection =
        Protection { parity: crypto::digest::sha256(&parity), tree: descriptor.clone() };
    let behind = [(descriptor.tree_offset, tree), (descriptor.fec_offset, parity)];
    Ok(([(0, data)].into_iter().chain(behind).collect(), protection))
}

fn hash_on_all_cores(data: &[u8], salt: &[u8]) -> Result<(Vec<u8>, Vec<u8>), FlashError> {
    let failed = |error: verity::Error| FlashError::Image("system", error.to_string());
    let params = Params::new(HashAlgorithm::Sha256, salt).map_err(failed)?;
    let mut builder = TreeBuilder::new(&params, data.len() as u64).map_err(failed)?;
    let geometry = builder.geometry().clone();
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let mut leaves = builder.leaves();
    thread::scope(|scope| {
        let mut workers = Vec::with_capacity(cores);
        for range in geometry.split(cores) {
            let blocks = usize::try_from(range.end - range.start).expect("the data is in memory");
            let (part, rest) = std::mem::take(&mut leaves)
                .split_at_mut(blocks * params.algorithm().digest_bytes());
            leaves = rest;
            let start = usize::try_from(range.start).expect("as above") * 4096;
            let bytes = &data[start..data.len().min(start + blocks * 4096)];
            let (params, geometry): (&Params, &Geometry) = (&params, &geometry);
            workers.push(scope.spawn(move || {
                TreeBuilder::hash_blocks(params, geometry, range.start, bytes, part)
            }));
        }
        workers.into_iter().try_for_each(|worker| worker.join().expect("hashing does not panic"))
    })
    .map_err(failed)?;
    let (tree, root) = builder.finish();
    Ok((tree, root.as_bytes().to_vec()))
}
