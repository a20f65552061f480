//! `add_hash_footer` and `append_vbmeta_image`: what goes behind an image in its partition.

use super::args::{AddHashFooter, AppendVbmetaImage, Footer as FooterArgs};
use super::digest::Hasher;
use super::image::{Access, Image};
use super::output::Output;
use super::parsed::{self, Parsed};
use super::{python, vbmeta};
use crate::exit::{Exit, Misused};
use anyhow::{Context, Result, anyhow, bail, ensure};
use avb::{
    DO_NOT_USE_AB, Descriptor, FOOTER_BYTES, Footer, HashDescriptor, HashName, VBMETA_MAX_BYTES,
    Version,
};
use std::path::Path;

/// The most that a vbmeta image and a footer take.
pub(super) const METADATA_BYTES: u64 = VBMETA_MAX_BYTES as u64 + 4096;

/// `add_hash_footer`.
pub(super) fn add_hash(args: &AddHashFooter) -> Result<Exit> {
    let footer = &args.footer;
    let given = args.partition_size.filter(|&size| size > 0);
    let dynamic = args.dynamic_partition_size;
    if given.is_none() && !dynamic {
        bail!("--dynamic_partition_size required when not specifying a partition size");
    }
    if dynamic && footer.calc_max_image_size {
        bail!("--calc_max_image_size not supported with --dynamic_partition_size");
    }
    let minor = required_minor(footer);
    if footer.vbmeta.print_required_libavb_version {
        println!("1.{minor}");
        return Ok(Exit::Held);
    }
    let size = given.unwrap_or(0);
    if !dynamic && size < METADATA_BYTES {
        bail!("Parition size of {size} is too small. Needs to be at least {METADATA_BYTES}");
    }
    if footer.calc_max_image_size {
        println!("{}", size - METADATA_BYTES);
        return Ok(Exit::Held);
    }
    let output = vbmeta_output(footer)?;
    let (mut image, original_size) =
        open(args.image.as_deref(), !footer.do_not_append_vbmeta_image)?;
    let partition_size = if dynamic {
        (original_size + METADATA_BYTES).next_multiple_of(image.block_size())
    } else {
        size
    };
    check_partition_size(&image, partition_size)?;
    let added = (|| {
        check_fits(original_size, partition_size - METADATA_BYTES, partition_size)?;
        let descriptor = Descriptor::Hash(hash_descriptor(args, &image, original_size)?);
        let vbmeta = vbmeta::build(&footer.vbmeta, vec![descriptor], minor, None)?;
        if let Some(output) = &output {
            output.write(&vbmeta)?;
        }
        if footer.do_not_append_vbmeta_image {
            return Ok(());
        }
        append_behind(&mut image, original_size, &vbmeta, partition_size)
    })();
    added.map_err(|error: anyhow::Error| anyhow!("Adding hash_footer failed: {error:#}."))?;
    Ok(Exit::Held)
}

/// The minor version of libavb that a footer asks for.
pub(super) fn required_minor(args: &FooterArgs) -> u32 {
    vbmeta::required_minor(&args.vbmeta, args.use_persistent_digest || args.do_not_use_ab)
}

/// Where `--output_vbmeta_image` goes.
pub(super) fn vbmeta_output(args: &FooterArgs) -> Result<Option<Output>> {
    let path = args.output_vbmeta_image.as_deref();
    path.map(|path| Output::new("--output_vbmeta_image", Some(path))).transpose()
}

/// Opens the image, and says how long it is without the footer that it may have.
pub(super) fn open(path: Option<&Path>, edit: bool) -> Result<(Image, u64)> {
    let path = path.ok_or_else(|| Misused("error: --image is required".into()))?;
    let access = if edit { Access::Edit } else { Access::Read };
    let image = Image::open("--image", path, access)?;
    let original_size = match parsed::footer(&image)? {
        Some(footer) => footer.original_image_size,
        None => image.size(),
    };
    ensure!(
        original_size <= image.size(),
        "the footer says that the image has {original_size} bytes, but the file has {}",
        image.size()
    );
    Ok((image, original_size))
}

/// Checks that a partition is made of the blocks of the image.
pub(super) fn check_partition_size(image: &Image, partition_size: u64) -> Result<()> {
    let block = image.block_size();
    ensure!(
        partition_size.is_multiple_of(block),
        "Partition size of {partition_size} is not a multiple of the image block size {block}."
    );
    Ok(())
}

/// Checks that an image of `size` bytes leaves room for its metadata.
pub(super) fn check_fits(size: u64, max: u64, partition_size: u64) -> Result<()> {
    ensure!(
        size <= max,
        "Image size of {size} exceeds maximum image size of {max} in order to fit in a partition \
         size of {partition_size}."
    );
    Ok(())
}

/// The salt: what is given, else `size` random bytes; none for a persistent digest.
pub(super) fn salt(args: &FooterArgs, size: usize) -> Result<Vec<u8>> {
    match &args.salt {
        Some(text) => python::unhex(text).map_err(|why| anyhow!("{why}")),
        None if args.use_persistent_digest => Ok(Vec::new()),
        None => {
            let mut salt = vec![0; size];
            crypto::random(&mut salt);
            Ok(salt)
        }
    }
}

fn hash_descriptor(args: &AddHashFooter, image: &Image, size: u64) -> Result<HashDescriptor> {
    let mut hasher = Hasher::new(&args.hash_algorithm)?;
    let salt = salt(&args.footer, hasher.size())?;
    hasher.update(&salt);
    image.stream(0..size, |bytes| {
        hasher.update(bytes);
        Ok(())
    })?;
    let digest = hasher.finish();
    Ok(HashDescriptor {
        image_size: size,
        hash_algorithm: HashName::from_bytes(args.hash_algorithm.as_bytes()),
        flags: if args.footer.do_not_use_ab { DO_NOT_USE_AB } else { 0 },
        partition_name: args.partition_name.clone().context("--partition_name is required")?,
        salt,
        digest: if args.footer.use_persistent_digest { Vec::new() } else { digest },
    })
}

/// An image that is being edited behind its first bytes. They survive, whatever happens.
pub(super) struct Edit<'a> {
    image: &'a mut Image,
    original_size: u64,
}

impl<'a> Edit<'a> {
    /// Cuts what lies behind the image: a footer that is there is replaced.
    pub(super) fn begin(image: &'a mut Image, original_size: u64) -> Result<Self> {
        if original_size != image.size() {
            image.truncate(original_size)?;
        }
        Ok(Self { image, original_size })
    }

    /// Appends; the image is cut to its original size again where that fails.
    pub(super) fn finish(self, append: impl FnOnce(&mut Image) -> Result<()>) -> Result<()> {
        append(self.image).inspect_err(|_| {
            // The first error is the one to tell.
            let _ = self.image.truncate(self.original_size);
        })
    }
}

/// Puts the vbmeta image and the footer behind the image, at the end of the partition.
fn append_behind(
    image: &mut Image,
    original_size: u64,
    vbmeta: &[u8],
    partition_size: u64,
) -> Result<()> {
    let start = original_size.next_multiple_of(image.block_size());
    let hole = hole(image, start, vbmeta, Some(partition_size))?;
    Edit::begin(image, original_size)?.finish(|image| {
        if start != image.size() {
            image.truncate(start)?;
        }
        append(image, original_size, vbmeta, hole)
    })
}

/// What lies between a vbmeta image at `start` and the footer at the end of the partition; none
/// where the footer follows at once.
pub(super) fn hole(
    image: &Image,
    start: u64,
    vbmeta: &[u8],
    partition_size: Option<u64>,
) -> Result<Option<u64>> {
    let block = image.block_size();
    let need = (start + vbmeta.len() as u64).next_multiple_of(block) + block;
    let hole = |size: u64| {
        size.checked_sub(need)
            .with_context(|| format!("a partition of {size} bytes is too small: {need} are needed"))
    };
    partition_size.map(hole).transpose()
}

/// Appends the vbmeta image, the hole, and the footer.
pub(super) fn append(
    image: &mut Image,
    original_size: u64,
    vbmeta: &[u8],
    hole: Option<u64>,
) -> Result<()> {
    let vbmeta_offset = image.size();
    image.append_padded(vbmeta)?;
    if let Some(hole) = hole {
        image.append_hole(hole)?;
    }
    let footer = Footer {
        version: Version { major: 1, minor: 0 },
        original_image_size: original_size,
        vbmeta_offset,
        vbmeta_size: vbmeta.len() as u64,
    };
    append_footer(image, &footer)
}

/// Appends a block that ends with the footer.
pub(super) fn append_footer(image: &mut Image, footer: &Footer) -> Result<()> {
    let mut block = vec![0; usize::try_from(image.block_size())? - FOOTER_BYTES];
    block.extend(footer.encode());
    image.append(&block)
}

/// `append_vbmeta_image`.
pub(super) fn append_vbmeta(args: &AppendVbmetaImage) -> Result<Exit> {
    let (mut image, original_size) = open(Some(&args.image), true)?;
    let source = Image::open("--vbmeta_image", &args.vbmeta_image, Access::Read)?;
    check_partition_size(&image, args.partition_size)?;
    let appended = (|| {
        let vbmeta = Parsed::of(&source)?.vbmeta(&source)?;
        append_behind(&mut image, original_size, &vbmeta, args.partition_size)
    })();
    appended
        .map_err(|error: anyhow::Error| anyhow!("Appending VBMeta image failed: {error:#}."))?;
    Ok(Exit::Held)
}
