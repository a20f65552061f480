//! Making a vbmeta image from options: `make_vbmeta_image`, and the image behind a footer.

use super::args::{MakeVbmetaImage, Signing, Vbmeta};
use super::image::{Access, Image};
use super::key::{self, KeyFile};
use super::output::{self, Output};
use super::parsed::Parsed;
use super::python::{self, hex};
use crate::exit::Exit;
use anyhow::{Context, Result, anyhow, ensure};
use avb::{
    Algorithm, BuildError, ChainPartitionDescriptor, DO_NOT_USE_AB, Descriptor, HashtreeDescriptor,
    KernelCmdlineDescriptor, PropertyDescriptor, PublicKey, Release, VbmetaBuilder, VbmetaFlags,
    VbmetaVerdict, verify_vbmeta,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// avbtool's name for itself in the images that it makes.
pub(super) const RELEASE: &str = "avbtool 1.3.0";

/// `make_vbmeta_image`.
pub(super) fn make(args: &MakeVbmetaImage) -> Result<Exit> {
    let vbmeta = &args.vbmeta;
    let output =
        args.output.as_deref().map(|path| Output::new("--output", Some(path))).transpose()?;
    let minor = required_minor(vbmeta, false).max(included_minor(vbmeta)?);
    if vbmeta.print_required_libavb_version {
        println!("1.{minor}");
        return Ok(Exit::Held);
    }
    let output = output.context("No output file given")?;
    let image = build(vbmeta, Vec::new(), minor, None)?;
    output.write(&output::padded(image, args.padding_size)?)?;
    Ok(Exit::Held)
}

/// The minor version of libavb that the options ask for, without the images they include.
/// `newer` is whether a footer has flags or a persistent digest.
pub(super) fn required_minor(args: &Vbmeta, newer: bool) -> u32 {
    let algorithm = key::algorithm(&args.algorithm).map_or(0, |it| it.needs_libavb().minor);
    algorithm.max(if !args.chain_partition_do_not_use_ab.is_empty() {
        3
    } else if args.rollback_index_location > 0 {
        2
    } else {
        newer.into()
    })
}

fn included_minor(args: &Vbmeta) -> Result<u32> {
    let mut minor = 0;
    for path in &args.include_descriptors_from_image {
        minor = minor.max(included(path)?.header.required_version.minor);
    }
    Ok(minor)
}

fn included(path: &Path) -> Result<Parsed> {
    Parsed::of(&Image::open("--include_descriptors_from_image", path, Access::Read)?)
}

/// Builds and signs: `first` comes before all that the options say. `rootfs` is the tree for
/// which the kernel command line is made.
pub(super) fn build(
    args: &Vbmeta,
    first: Vec<Descriptor>,
    minor: u32,
    rootfs: Option<&HashtreeDescriptor>,
) -> Result<Vec<u8>> {
    let algorithm = key::algorithm(&args.algorithm)?;
    let minor = minor.max(included_minor(args)?);
    let mut descriptors = first;
    descriptors.extend(chains(args)?);
    descriptors.extend(properties(args)?);
    descriptors.extend(cmdlines(args, rootfs)?);
    descriptors.extend(from_images(args)?);
    let builder = VbmetaBuilder {
        algorithm,
        descriptors,
        rollback_index: args.rollback_index,
        rollback_index_location: args.rollback_index_location,
        flags: flags(args),
        release: release(args)?,
        public_key_metadata: match &args.public_key_metadata {
            Some(path) => read(path)?,
            None => Vec::new(),
        },
        required_minor: Some(minor),
    };
    if algorithm == Algorithm::None {
        return Ok(builder.unsigned()?);
    }
    let path = args.key.as_deref();
    let path =
        path.with_context(|| format!("Key is required for algorithm {}", algorithm.name()))?;
    let key = KeyFile::read(path)?;
    ensure!(key.public().fits(algorithm), "Key is wrong size for algorithm {}", algorithm.name());
    sign(&builder, &key, &args.signing)
}

/// Signs. avbtool takes from another program what it gets; so do we, but a signature that no
/// device will take is not passed over in silence.
fn sign(builder: &VbmetaBuilder, key: &KeyFile, signing: &Signing) -> Result<Vec<u8>> {
    let signer = |data: &[u8]| key.sign(builder.algorithm, data, signing);
    let signed = match signing.is_elsewhere() {
        true => builder.sign_unverified(key.public(), signer),
        false => builder.sign(key.public(), signer),
    };
    let image = signed.map_err(|error| match error {
        BuildError::Signer(error) => error,
        error => anyhow!("{error}"),
    })?;
    if verify_vbmeta(&image) != VbmetaVerdict::Ok {
        eprintln!(
            "holdfast: warning: the signature does not verify under the public key: check that \
             the signing program holds {}",
            key.path().display()
        );
    }
    Ok(image)
}

fn flags(args: &Vbmeta) -> VbmetaFlags {
    let mut flags = args.flags;
    if args.set_hashtree_disabled_flag {
        flags |= VbmetaFlags::HASHTREE_DISABLED;
    }
    if args.set_verification_disabled_flag {
        flags |= VbmetaFlags::VERIFICATION_DISABLED;
    }
    VbmetaFlags(flags)
}

fn release(args: &Vbmeta) -> Result<Release> {
    let mut text = args.internal_release_string.as_deref().unwrap_or(RELEASE).to_owned();
    if let Some(more) = &args.append_to_release_string {
        text = format!("{text} {more}");
    }
    Release::cut(&text).context("the release string has a NUL in it")
}

/// `PART_NAME:ROLLBACK_SLOT:KEY_PATH`.
pub(super) fn chain_parts(text: &str) -> Result<(&str, i64, &str)> {
    let parts: Vec<&str> = text.split(':').collect();
    let [name, location, path] = parts[..] else {
        return Err(anyhow!("Malformed chained partition \"{text}\"."));
    };
    let location = python::decimal(location)
        .ok_or_else(|| anyhow!("invalid literal for int() with base 10: '{location}'"))?;
    Ok((name, location, path))
}

fn chains(args: &Vbmeta) -> Result<Vec<Descriptor>> {
    let mut used = BTreeSet::from([i64::from(args.rollback_index_location)]);
    let all = args.chain_partition.iter().chain(&args.chain_partition_do_not_use_ab);
    let mut chains = Vec::new();
    for text in all {
        let (name, location, path) = chain_parts(text)?;
        ensure!(used.insert(location), "Rollback Index Location {location} is already in use.");
        ensure!(location >= 1, "Rollback index location must be 1 or larger.");
        let no_ab = args.chain_partition_do_not_use_ab.contains(text);
        chains.push(Descriptor::ChainPartition(ChainPartitionDescriptor {
            rollback_index_location: u32::try_from(location)
                .map_err(|_| anyhow!("Rollback Index Location {location} does not fit 32 bits."))?,
            flags: if no_ab { DO_NOT_USE_AB } else { 0 },
            partition_name: name.to_owned(),
            public_key: read(Path::new(path))?,
        }));
    }
    Ok(chains)
}

fn properties(args: &Vbmeta) -> Result<Vec<Descriptor>> {
    let split = |text: &str| {
        let parts = text.split_once(':').map(|(key, value)| (key.to_owned(), value.to_owned()));
        parts.ok_or_else(|| anyhow!("Malformed property \"{text}\"."))
    };
    let mut properties = Vec::new();
    for text in &args.prop {
        let (key, value) = split(text)?;
        properties.push(PropertyDescriptor { key, value: value.into_bytes() });
    }
    for text in &args.prop_from_file {
        let (key, path) = split(text)?;
        properties.push(PropertyDescriptor { key, value: read(Path::new(&path))? });
    }
    Ok(properties.into_iter().map(Descriptor::Property).collect())
}

fn cmdlines(args: &Vbmeta, rootfs: Option<&HashtreeDescriptor>) -> Result<Vec<Descriptor>> {
    let mut cmdlines = Vec::new();
    if let Some(path) = &args.setup_rootfs_from_kernel {
        let image = Image::open("--setup_rootfs_from_kernel", path, Access::Read)?;
        let parsed = Parsed::of(&image)?;
        let hashtree = parsed.hashtree().context("No hashtree descriptor in given image")?;
        cmdlines.extend(dm_verity(hashtree)?);
    }
    if let Some(hashtree) = rootfs {
        cmdlines.extend(dm_verity(hashtree)?);
    }
    cmdlines.extend(args.kernel_cmdline.iter().map(|text| cmdline(0, text.clone())));
    Ok(cmdlines.into_iter().map(Descriptor::KernelCmdline).collect())
}

const fn cmdline(flags: u32, cmdline: String) -> KernelCmdlineDescriptor {
    KernelCmdlineDescriptor { flags, cmdline }
}

/// The kernel command lines that set up the root file system: with dm-verity, and without.
fn dm_verity(tree: &HashtreeDescriptor) -> Result<[KernelCmdlineDescriptor; 2]> {
    const DEVICE: &str = "PARTUUID=$(ANDROID_SYSTEM_PARTUUID)";
    let block = u64::from(tree.data_block_size);
    ensure!(block > 0, "the hashtree descriptor has blocks of 0 bytes");
    let once = tree.flags & HashtreeDescriptor::CHECK_AT_MOST_ONCE != 0;
    let has_fec = tree.fec_num_roots > 0;
    let options = if has_fec { 10 } else { 2 } + u32::from(once);
    let mut text = format!(
        "dm=\"1 vroot none ro 1,0 {sectors} verity {version} {DEVICE} {DEVICE} {block} {hash_block} \
         {blocks} {blocks} {hash} {root} {salt} {options}",
        sectors = tree.image_size / 512,
        version = tree.dm_verity_version,
        hash_block = tree.hash_block_size,
        blocks = tree.image_size / block,
        hash = String::from_utf8_lossy(tree.hash_algorithm.as_bytes()),
        root = hex(&tree.root_digest),
        salt = hex(&tree.salt),
    );
    if once {
        text.push_str(" check_at_most_once");
    }
    text.push_str(" $(ANDROID_VERITY_MODE) ignore_zero_blocks");
    if has_fec {
        // The code covers all that lies before it.
        let start = tree.fec_offset / block;
        text.push_str(&format!(
            " use_fec_from_device {DEVICE} fec_roots {} fec_blocks {start} fec_start {start}",
            tree.fec_num_roots
        ));
    }
    text.push_str("\" root=/dev/dm-0");
    Ok([
        cmdline(KernelCmdlineDescriptor::ONLY_IF_HASHTREE_ENABLED, text),
        cmdline(KernelCmdlineDescriptor::ONLY_IF_HASHTREE_DISABLED, format!("root={DEVICE}")),
    ])
}

/// The descriptors of other images: first those of no partition, in their order; then the others
/// by kind and partition, the last one where there are several.
fn from_images(args: &Vbmeta) -> Result<Vec<Descriptor>> {
    let (mut all, mut by_partition) = (Vec::new(), BTreeMap::new());
    for path in &args.include_descriptors_from_image {
        for descriptor in included(path)?.descriptors {
            let kind = match &descriptor {
                Descriptor::ChainPartition(_) => 0,
                Descriptor::Hash(_) => 1,
                _ => 2,
            };
            match descriptor.partition_name() {
                Some(name) => {
                    by_partition.insert((kind, name.to_owned()), descriptor);
                }
                None => all.push(descriptor),
            }
        }
    }
    all.extend(by_partition.into_values());
    Ok(all)
}

/// Reads a file that an option names inside its value.
pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| anyhow!("{}", python::os_error(&error, path)))
}
