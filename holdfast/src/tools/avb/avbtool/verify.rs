//! `verify_image`: is an image signed, and are the partitions what it says?

use super::args::VerifyImage;
use super::digest::Hasher;
use super::image::{self, Access, Image};
use super::info::sha1;
use super::key::KeyFile;
use super::parsed::Parsed;
use super::tree::{self, Data};
use super::vbmeta::{chain_parts, read};
use crate::exit::Exit;
use anyhow::{Result, anyhow, bail, ensure};
use avb::{
    Algorithm, ChainPartitionDescriptor, Descriptor, Extent, HEADER_BYTES, HashDescriptor,
    HashtreeDescriptor, VbmetaVerdict,
};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use verity::Params;

/// `verify_image`.
pub(super) fn verify(args: &VerifyImage) -> Result<Exit> {
    let mut verifier = Verifier {
        key: args.key.as_deref(),
        expected: BTreeMap::new(),
        follow: args.follow_chain_partitions,
        accept_zeroed: args.accept_zeroed_hashtree,
        said: args.json.then(Vec::new),
    };
    let file = image::open_file("--image", &args.image, Access::Read)?;
    let verified = verifier
        .expect(&args.expected_chain_partition)
        .and_then(|()| verifier.image_at(&args.image, || Image::of(&args.image, file)));
    let Some(said) = verifier.said else { return verified.map(|()| Exit::Held) };
    let reason = verified.as_ref().err().map(|error| format!("{error:#}"));
    println!("{}", json!({ "verified": verified.is_ok(), "checks": said, "reason": reason }));
    Ok(if verified.is_ok() { Exit::Held } else { Exit::Failed })
}

struct Verifier<'a> {
    key: Option<&'a Path>,
    /// Location and key that the chain descriptor of a partition must have.
    expected: BTreeMap<String, (i64, Vec<u8>)>,
    follow: bool,
    accept_zeroed: bool,
    /// What was found so far, where it is not printed as it is found.
    said: Option<Vec<String>>,
}

impl Verifier<'_> {
    fn say(&mut self, line: String) {
        match &mut self.said {
            Some(said) => said.push(line),
            None => println!("{line}"),
        }
    }

    fn expect(&mut self, chains: &[String]) -> Result<()> {
        for text in chains {
            let (name, location, path) = chain_parts(text)?;
            self.expected.insert(name.to_owned(), (location, read(Path::new(path))?));
        }
        Ok(())
    }

    /// Verifies the image at `path`, which `open` gives.
    fn image_at(&mut self, path: &Path, open: impl FnOnce() -> Result<Image>) -> Result<()> {
        let shown = path.display();
        let key = match self.key {
            Some(key) => {
                self.say(format!("Verifying image {shown} using key at {}", key.display()));
                Some(KeyFile::read(key)?)
            }
            None => {
                self.say(format!("Verifying image {shown} using embedded public key"));
                None
            }
        };
        let image = open()?;
        let parsed = Parsed::of(&image)?;
        let vbmeta = parsed.vbmeta(&image)?;
        let algorithm = parsed.header.algorithm.name();
        ensure!(
            is_signed(&parsed, &vbmeta),
            "Signature check failed for {algorithm} vbmeta struct {shown}"
        );
        let embedded = parsed.header.auxiliary(&vbmeta, parsed.header.public_key);
        if key.is_some_and(|key| key.public().as_bytes() != embedded) {
            bail!("Embedded public key does not match given key.");
        }
        let footer = if parsed.footer.is_some() { "footer and " } else { "" };
        self.say(format!(
            "vbmeta: Successfully verified {footer}{algorithm} vbmeta struct in {shown}"
        ));
        parsed.descriptors.iter().try_for_each(|descriptor| self.descriptor(descriptor, &image))
    }

    fn descriptor(&mut self, descriptor: &Descriptor, image: &Image) -> Result<()> {
        match descriptor {
            Descriptor::Hash(hash) => self.hash(hash, image),
            Descriptor::Hashtree(tree) => self.hashtree(tree, image),
            Descriptor::ChainPartition(chain) => self.chain(chain, image),
            Descriptor::Property(_) | Descriptor::KernelCmdline(_) | Descriptor::Unknown { .. } => {
                Ok(())
            }
        }
    }

    fn hash(&mut self, descriptor: &HashDescriptor, containing: &Image) -> Result<()> {
        let partition = partition(&descriptor.partition_name, containing)?;
        let image = partition.as_ref().unwrap_or(containing);
        let (path, name) = (image.path().display(), &descriptor.partition_name);
        let algorithm = String::from_utf8_lossy(descriptor.hash_algorithm.as_bytes());
        let mut hasher = Hasher::new(&algorithm)?;
        hasher.update(&descriptor.salt);
        image.stream(0..descriptor.image_size.min(image.size()), |bytes| {
            hasher.update(bytes);
            Ok(())
        })?;
        if !descriptor.digest.is_empty() && hasher.finish() != descriptor.digest {
            return mismatch(format!(
                "{algorithm} digest of {path} does not match digest in descriptor"
            ));
        }
        let size = descriptor.image_size;
        self.say(format!(
            "{name}: Successfully verified {algorithm} hash of {path} for image of {size} bytes"
        ));
        Ok(())
    }

    fn hashtree(&mut self, descriptor: &HashtreeDescriptor, containing: &Image) -> Result<()> {
        let partition = partition(&descriptor.partition_name, containing)?;
        let image = partition.as_ref().unwrap_or(containing);
        let (path, name) = (image.path().display(), &descriptor.partition_name);
        let (size, block) = (descriptor.image_size, descriptor.data_block_size);
        if size > image.size() {
            return mismatch(format!("hashtree of {path} does not match descriptor"));
        }
        let algorithm = String::from_utf8_lossy(descriptor.hash_algorithm.as_bytes());
        let function = tree::algorithm(&algorithm)?;
        let params = Params::with_block_sizes(function, &descriptor.salt, block, block)?;
        let (tree, root) = tree::build(&params, Data { image, end: size }, size)?;
        if !descriptor.root_digest.is_empty() && root != descriptor.root_digest {
            return mismatch(format!("hashtree of {path} does not match descriptor"));
        }
        if self.accept_zeroed && is_zeroed(descriptor, image)? {
            self.say(format!(
                "{name}: skipping verification since hashtree is zeroed and \
                 --accept_zeroed_hashtree was given"
            ));
            return Ok(());
        }
        if !holds(image, descriptor, &tree)? {
            return mismatch(format!("hashtree of {path} contains invalid data"));
        }
        self.say(format!(
            "{name}: Successfully verified {algorithm} hashtree of {path} for image of {size} bytes"
        ));
        Ok(())
    }

    fn chain(&mut self, chain: &ChainPartitionDescriptor, image: &Image) -> Result<()> {
        let name = &chain.partition_name;
        let location = chain.rollback_index_location;
        match self.expected.get(name) {
            None if self.follow => self.say(format!(
                "{name}: Chained but ROLLBACK_SLOT (which is {location}) and KEY (which has sha1 \
                 {}) not specified",
                sha1(&chain.public_key)
            )),
            None => {
                return mismatch(format!(
                    "No expected chain partition for partition {name}. Use \
                     --expected_chain_partition to specify expected contents or \
                     --follow_chain_partitions."
                ));
            }
            Some((expected, _)) if *expected != i64::from(location) => {
                return mismatch(format!(
                    "Expected rollback_index_location {expected} does not match {location} in \
                     descriptor for partition {name}"
                ));
            }
            Some((_, key)) if *key != chain.public_key => {
                return mismatch(format!(
                    "Expected public key blob does not match public key blob in descriptor for \
                     partition {name}"
                ));
            }
            Some(_) => self.say(format!(
                "{name}: Successfully verified chain partition descriptor matches expected data"
            )),
        }
        if self.follow { self.follow(chain, image) } else { Ok(()) }
    }

    /// Verifies the chained image as avbtool does: with the key that it was given, not with that
    /// of the descriptor, and no farther chains. The difference is said aloud.
    fn follow(&mut self, chain: &ChainPartitionDescriptor, image: &Image) -> Result<()> {
        self.say("--".into());
        let chained = Image::open_sibling(image.path(), &chain.partition_name)?;
        if let Ok(parsed) = Parsed::of(&chained) {
            let vbmeta = parsed.vbmeta(&chained)?;
            if parsed.header.auxiliary(&vbmeta, parsed.header.public_key) != chain.public_key {
                eprintln!(
                    "holdfast: warning: {} is not signed with the key of its chain descriptor: no \
                     device would take it",
                    chained.path().display()
                );
            }
        }
        let path = chained.path().to_owned();
        let expected = std::mem::take(&mut self.expected);
        let follow = std::mem::replace(&mut self.follow, false);
        let verified = self.image_at(&path, || Ok(chained));
        (self.expected, self.follow) = (expected, follow);
        verified
    }
}

/// The image of a partition; none where the descriptor means the image that it is in.
fn partition(name: &str, containing: &Image) -> Result<Option<Image>> {
    if name.is_empty() {
        return Ok(None);
    }
    Image::open_sibling(containing.path(), name).map(Some)
}

/// What avbtool says on standard error before it gives up.
fn mismatch(why: String) -> Result<()> {
    eprintln!("{why}");
    Err(anyhow!("Error verifying descriptor."))
}

fn is_zeroed(descriptor: &HashtreeDescriptor, image: &Image) -> Result<bool> {
    let mut mark = [0; 8];
    image.read_at(descriptor.tree_offset, &mut mark)?;
    Ok(descriptor.tree_size == 0 || mark == *b"ZeRoHaSH")
}

/// Whether the image holds `tree` where the descriptor says.
fn holds(image: &Image, descriptor: &HashtreeDescriptor, tree: &[u8]) -> Result<bool> {
    let start = descriptor.tree_offset;
    let Some(end) = start.checked_add(descriptor.tree_size) else { return Ok(false) };
    if descriptor.tree_size != tree.len() as u64 {
        return Ok(false);
    }
    let (mut rest, mut same) = (tree, true);
    image.stream(start..end, |bytes| {
        let (expected, after) = rest.split_at(bytes.len());
        same &= expected == bytes;
        rest = after;
        Ok(())
    })?;
    Ok(same && rest.is_empty())
}

/// Whether the signature is that of the key in the image; an image that is not signed counts as
/// signed, as to avbtool. Nothing else of libavb's conditions is checked.
fn is_signed(parsed: &Parsed, vbmeta: &[u8]) -> bool {
    let header = &parsed.header;
    let Some((hash, bits)) = header.algorithm.rsa() else {
        return header.algorithm == Algorithm::None
            || avb::verify_vbmeta(vbmeta) == VbmetaVerdict::Ok;
    };
    let auxiliary = Extent { offset: 0, size: header.auxiliary_size };
    let message =
        [&vbmeta[..HEADER_BYTES.min(vbmeta.len())], header.auxiliary(vbmeta, auxiliary)].concat();
    if hash.digest(&[&message]) != header.authentication(vbmeta, header.hash) {
        return false;
    }
    let key = header.auxiliary(vbmeta, header.public_key);
    let modulus = key.get(8..8 + bits / 8).unwrap_or_default();
    let stated = key.first_chunk::<4>().map(|bits| u32::from_be_bytes(*bits));
    let signature = header.authentication(vbmeta, header.signature);
    let hash = match hash {
        avb::Hash::Sha256 => crypto::sign::Hash::Sha256,
        avb::Hash::Sha512 => crypto::sign::Hash::Sha512,
    };
    let exponent = [1, 0, 1];
    let good = stated.is_some_and(|stated| stated as usize == bits)
        && crypto::sign::rsa_pkcs1_verify(hash, modulus, &exponent, &message, signature).is_ok();
    if !good {
        eprintln!("Signature not correct");
    }
    good
}
