//! What is calculated from an image and those that it chains to: `print_partition_digests`,
//! `calculate_vbmeta_digest`, `calculate_kernel_cmdline`.

use super::args::{CalculateKernelCmdline, CalculateVbmetaDigest, PrintPartitionDigests};
use super::digest::Hasher;
use super::image::{Access, Image};
use super::output::Output;
use super::parsed::Parsed;
use super::python::hex;
use crate::exit::Exit;
use anyhow::{Result, ensure};
use avb::{Descriptor, KernelCmdlineDescriptor};
use serde_json::json;
use std::path::Path;

/// `print_partition_digests`.
pub(super) fn print(args: &PrintPartitionDigests) -> Result<Exit> {
    let output = Output::new("--output", args.output.as_deref())?;
    let image = Image::open("--image", &args.image, Access::Read)?;
    let mut digests = Vec::new();
    collect(&image, &args.image, 0, &mut digests)?;
    let text = if args.json { as_json(&digests) } else { as_lines(&digests) };
    output.write(text.as_bytes())?;
    Ok(Exit::Held)
}

/// How deep partitions may chain. A device takes one level; a circle has no end.
const MAX_DEPTH: u32 = 32;

fn collect(
    image: &Image,
    top: &Path,
    depth: u32,
    digests: &mut Vec<(String, String)>,
) -> Result<()> {
    ensure!(depth < MAX_DEPTH, "the partitions chain to each other without end");
    for descriptor in Parsed::of(image)?.descriptors {
        match descriptor {
            Descriptor::Hash(d) => digests.push((d.partition_name, hex(&d.digest))),
            Descriptor::Hashtree(d) => digests.push((d.partition_name, hex(&d.root_digest))),
            Descriptor::ChainPartition(d) => {
                let chained = Image::open_sibling(top, &d.partition_name)?;
                collect(&chained, top, depth + 1, digests)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn as_lines(digests: &[(String, String)]) -> String {
    digests.iter().map(|(name, digest)| format!("{name}: {digest}\n")).collect()
}

/// As Python's `json.dumps(…, indent=2)`.
fn as_json(digests: &[(String, String)]) -> String {
    #[derive(serde::Serialize)]
    struct Partitions<'a> {
        partitions: Vec<Partition<'a>>,
    }
    #[derive(serde::Serialize)]
    struct Partition<'a> {
        name: &'a str,
        digest: &'a str,
    }
    let partitions = digests.iter().map(|(name, digest)| Partition { name, digest }).collect();
    let text =
        serde_json::to_string_pretty(&Partitions { partitions }).expect("strings always serialise");
    let mut ascii = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii() {
            ascii.push(c);
        } else {
            let units = c.encode_utf16(&mut [0; 2]).to_vec();
            ascii.extend(units.iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    ascii
}

/// `calculate_vbmeta_digest`.
pub(super) fn vbmeta_digest(args: &CalculateVbmetaDigest) -> Result<Exit> {
    let output = Output::new("--output", args.output.as_deref())?;
    let image = Image::open("--image", &args.image, Access::Read)?;
    let parsed = Parsed::of(&image)?;
    let mut hasher = Hasher::new(&args.hash_algorithm)?;
    hasher.update(&parsed.vbmeta(&image)?);
    for descriptor in &parsed.descriptors {
        if let Descriptor::ChainPartition(chain) = descriptor {
            let chained = Image::open_sibling(&args.image, &chain.partition_name)?;
            hasher.update(&Parsed::of(&chained)?.vbmeta(&chained)?);
        }
    }
    let digest = hex(&hasher.finish());
    let text = if args.json {
        json!({ "hash_algorithm": args.hash_algorithm, "digest": digest }).to_string()
    } else {
        digest
    };
    output.write(format!("{text}\n").as_bytes())?;
    Ok(Exit::Held)
}

/// `calculate_kernel_cmdline`.
pub(super) fn kernel_cmdline(args: &CalculateKernelCmdline) -> Result<Exit> {
    let output = Output::new("--output", args.output.as_deref())?;
    let image = Image::open("--image", &args.image, Access::Read)?;
    let mut cmdlines = Vec::new();
    for descriptor in Parsed::of(&image)?.descriptors {
        match descriptor {
            Descriptor::KernelCmdline(cmdline) => cmdlines.push(cmdline),
            Descriptor::ChainPartition(chain) => {
                let chained = Image::open_sibling(&args.image, &chain.partition_name)?;
                let inside = Parsed::of(&chained)?.descriptors.into_iter();
                cmdlines.extend(inside.filter_map(|descriptor| match descriptor {
                    Descriptor::KernelCmdline(cmdline) => Some(cmdline),
                    _ => None,
                }));
            }
            _ => {}
        }
    }
    let refused = if args.hashtree_disabled {
        KernelCmdlineDescriptor::ONLY_IF_HASHTREE_ENABLED
    } else {
        KernelCmdlineDescriptor::ONLY_IF_HASHTREE_DISABLED
    };
    let counting = cmdlines.iter().filter(|cmdline| cmdline.flags & refused == 0);
    let text: Vec<&str> = counting.map(|cmdline| cmdline.cmdline.as_str()).collect();
    let text = text.join(" ");
    let text = if args.json { format!("{}\n", json!({ "cmdline": text })) } else { text };
    output.write(text.as_bytes())?;
    Ok(Exit::Held)
}
