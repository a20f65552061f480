//! `info_image`: what an image says, in avbtool's words.

use super::args::InfoImage;
use super::image::{Access, Image};
use super::output::Output;
use super::parsed::Parsed;
use super::python::{hex, repr_bytes, repr_text};
use crate::exit::Exit;
use anyhow::Result;
use avb::cert::{CertificateData, PublicKeyMetadata};
use avb::{Descriptor, HEADER_BYTES, HashDescriptor, HashtreeDescriptor, PropertyDescriptor};
use crypto::digest::LegacySha1;
use serde_json::{Value, json};
use std::fmt::Write;

/// `info_image`.
pub(super) fn info(args: &InfoImage) -> Result<Exit> {
    let output = Output::new("--output", args.output.as_deref())?;
    let key_output = args.output_pubkey.as_deref();
    let key_output =
        key_output.map(|path| Output::new("--output_pubkey", Some(path))).transpose()?;
    let image = Image::open("--image", &args.image, Access::Read)?;
    let parsed = Parsed::of(&image)?;
    let vbmeta = parsed.vbmeta(&image)?;
    let text = if args.json {
        format!("{}\n", as_json(&image, &parsed, &vbmeta))
    } else {
        as_text(&image, &parsed, &vbmeta, args.cert)?
    };
    output.write(text.as_bytes())?;
    let key = parsed.header.auxiliary(&vbmeta, parsed.header.public_key);
    if let Some(output) = key_output {
        output.write(key)?;
    }
    Ok(Exit::Held)
}

fn as_text(image: &Image, parsed: &Parsed, vbmeta: &[u8], cert: bool) -> Result<String> {
    let mut o = String::new();
    if let Some(footer) = &parsed.footer {
        writeln!(o, "Footer version:           {}", footer.version)?;
        writeln!(o, "Image size:               {} bytes", image.size())?;
        writeln!(o, "Original image size:      {} bytes", footer.original_image_size)?;
        writeln!(o, "VBMeta offset:            {}", footer.vbmeta_offset)?;
        writeln!(o, "VBMeta size:              {} bytes", footer.vbmeta_size)?;
        writeln!(o, "--")?;
    }
    let header = &parsed.header;
    let sparse = if image.is_sparse() { " (Sparse)" } else { "" };
    writeln!(o, "Minimum libavb version:   {}{sparse}", header.required_version)?;
    writeln!(o, "Header Block:             {HEADER_BYTES} bytes")?;
    writeln!(o, "Authentication Block:     {} bytes", header.authentication_size)?;
    writeln!(o, "Auxiliary Block:          {} bytes", header.auxiliary_size)?;
    let key = header.auxiliary(vbmeta, header.public_key);
    if !key.is_empty() {
        writeln!(o, "Public key (sha1):        {}", sha1(key))?;
    }
    writeln!(o, "Algorithm:                {}", header.algorithm.name())?;
    writeln!(o, "Rollback Index:           {}", header.rollback_index)?;
    writeln!(o, "Flags:                    {}", header.flags.0)?;
    writeln!(o, "Rollback Index Location:  {}", header.rollback_index_location)?;
    writeln!(o, "Release String:           '{}'", header.release)?;
    writeln!(o, "Descriptors:")?;
    for descriptor in &parsed.descriptors {
        put_descriptor(&mut o, descriptor)?;
    }
    if parsed.descriptors.is_empty() {
        writeln!(o, "    (none)")?;
    }
    if cert && header.public_key_metadata.size > 0 {
        put_certificates(&mut o, header.auxiliary(vbmeta, header.public_key_metadata))?;
    }
    Ok(o)
}

fn put_descriptor(o: &mut String, descriptor: &Descriptor) -> Result<()> {
    match descriptor {
        Descriptor::Property(property) => put_property(o, property)?,
        Descriptor::Hashtree(tree) => put_hashtree(o, tree)?,
        Descriptor::Hash(hash) => put_hash(o, hash)?,
        Descriptor::KernelCmdline(cmdline) => {
            writeln!(o, "    Kernel Cmdline descriptor:")?;
            writeln!(o, "      Flags:                 {}", cmdline.flags)?;
            writeln!(o, "      Kernel Cmdline:        '{}'", cmdline.cmdline)?;
        }
        Descriptor::ChainPartition(chain) => {
            writeln!(o, "    Chain Partition descriptor:")?;
            writeln!(o, "      Partition Name:          {}", chain.partition_name)?;
            writeln!(o, "      Rollback Index Location: {}", chain.rollback_index_location)?;
            writeln!(o, "      Public key (sha1):       {}", sha1(&chain.public_key))?;
            writeln!(o, "      Flags:                   {}", chain.flags)?;
        }
        Descriptor::Unknown { tag, payload } => {
            writeln!(o, "    Unknown descriptor:")?;
            writeln!(o, "      Tag:  {tag}")?;
            let size = payload.len();
            if size < 256 {
                let shown = repr_text(&repr_bytes(payload));
                writeln!(o, "      Data: {shown} ({size} bytes)")?;
            } else {
                writeln!(o, "      Data: {size} bytes")?;
            }
        }
    }
    Ok(())
}

fn put_property(o: &mut String, property: &PropertyDescriptor) -> std::fmt::Result {
    let size = property.value.len();
    if size >= 256 {
        return writeln!(o, "    Prop: {} -> ({size} bytes)", property.key);
    }
    let shown = repr_bytes(&property.value);
    // avbtool takes the b away that Python puts before bytes, where a single quote follows.
    let shown = shown.strip_prefix('b').filter(|it| it.starts_with('\'')).unwrap_or(&shown);
    writeln!(o, "    Prop: {} -> {shown}", property.key)
}

fn put_hashtree(o: &mut String, tree: &HashtreeDescriptor) -> std::fmt::Result {
    let algorithm = String::from_utf8_lossy(tree.hash_algorithm.as_bytes());
    writeln!(o, "    Hashtree descriptor:")?;
    writeln!(o, "      Version of dm-verity:  {}", tree.dm_verity_version)?;
    writeln!(o, "      Image Size:            {} bytes", tree.image_size)?;
    writeln!(o, "      Tree Offset:           {}", tree.tree_offset)?;
    writeln!(o, "      Tree Size:             {} bytes", tree.tree_size)?;
    writeln!(o, "      Data Block Size:       {} bytes", tree.data_block_size)?;
    writeln!(o, "      Hash Block Size:       {} bytes", tree.hash_block_size)?;
    writeln!(o, "      FEC num roots:         {}", tree.fec_num_roots)?;
    writeln!(o, "      FEC offset:            {}", tree.fec_offset)?;
    writeln!(o, "      FEC size:              {} bytes", tree.fec_size)?;
    writeln!(o, "      Hash Algorithm:        {algorithm}")?;
    writeln!(o, "      Partition Name:        {}", tree.partition_name)?;
    writeln!(o, "      Salt:                  {}", hex(&tree.salt))?;
    writeln!(o, "      Root Digest:           {}", hex(&tree.root_digest))?;
    writeln!(o, "      Flags:                 {}", tree.flags)
}

fn put_hash(o: &mut String, hash: &HashDescriptor) -> std::fmt::Result {
    let algorithm = String::from_utf8_lossy(hash.hash_algorithm.as_bytes());
    writeln!(o, "    Hash descriptor:")?;
    writeln!(o, "      Image Size:            {} bytes", hash.image_size)?;
    writeln!(o, "      Hash Algorithm:        {algorithm}")?;
    writeln!(o, "      Partition Name:        {}", hash.partition_name)?;
    writeln!(o, "      Salt:                  {}", hex(&hash.salt))?;
    writeln!(o, "      Digest:                {}", hex(&hash.digest))?;
    writeln!(o, "      Flags:                 {}", hash.flags)
}

fn put_certificates(o: &mut String, metadata: &[u8]) -> Result<()> {
    let metadata = PublicKeyMetadata::decode(metadata)?;
    writeln!(o, "avb_cert certificate:")?;
    writeln!(o, "    Metadata version:        {}", metadata.version)?;
    writeln!(o, "    Product Intermediate Key:")?;
    put_certificate(o, &metadata.product_intermediate_key_certificate.signed_data)?;
    writeln!(o, "    Product Signing Key:")?;
    Ok(put_certificate(o, &metadata.product_signing_key_certificate.signed_data)?)
}

fn put_certificate(o: &mut String, certificate: &CertificateData) -> std::fmt::Result {
    writeln!(o, "      Version:               {}", certificate.version)?;
    writeln!(o, "      Public key (sha1):     {}", sha1(&certificate.public_key))?;
    writeln!(o, "      Subject:               {}", hex(&certificate.subject))?;
    writeln!(o, "      Usage:                 {}", hex(&certificate.usage))?;
    writeln!(o, "      Key version:           {}", certificate.key_version)
}

/// avbtool shows keys by their SHA-1, for they are long.
pub(super) fn sha1(key: &[u8]) -> String {
    let mut hasher = LegacySha1::new();
    hasher.update(key);
    hex(&hasher.finish())
}

fn as_json(image: &Image, parsed: &Parsed, vbmeta: &[u8]) -> Value {
    let header = &parsed.header;
    let key = header.auxiliary(vbmeta, header.public_key);
    json!({
        "footer": parsed.footer.map(|footer| json!({
            "version": footer.version.to_string(),
            "original_image_size": footer.original_image_size,
            "vbmeta_offset": footer.vbmeta_offset,
            "vbmeta_size": footer.vbmeta_size,
        })),
        "image_size": image.size(),
        "sparse": image.is_sparse(),
        "required_libavb_version": header.required_version.to_string(),
        "authentication_block_size": header.authentication_size,
        "auxiliary_block_size": header.auxiliary_size,
        "public_key_sha1": (!key.is_empty()).then(|| sha1(key)),
        "public_key_metadata_size": header.public_key_metadata.size,
        "algorithm": header.algorithm.name(),
        "rollback_index": header.rollback_index,
        "rollback_index_location": header.rollback_index_location,
        "flags": header.flags.0,
        "release_string": header.release.to_string(),
        "descriptors": parsed.descriptors.iter().map(descriptor_json).collect::<Vec<_>>(),
    })
}

fn descriptor_json(descriptor: &Descriptor) -> Value {
    match descriptor {
        Descriptor::Property(d) => {
            let text = std::str::from_utf8(&d.value).ok();
            json!({ "type": "property", "key": d.key, "value": text, "value_hex": hex(&d.value) })
        }
        Descriptor::Hashtree(d) => json!({
            "type": "hashtree",
            "dm_verity_version": d.dm_verity_version,
            "image_size": d.image_size,
            "tree_offset": d.tree_offset,
            "tree_size": d.tree_size,
            "data_block_size": d.data_block_size,
            "hash_block_size": d.hash_block_size,
            "fec_num_roots": d.fec_num_roots,
            "fec_offset": d.fec_offset,
            "fec_size": d.fec_size,
            "hash_algorithm": String::from_utf8_lossy(d.hash_algorithm.as_bytes()),
            "partition_name": d.partition_name,
            "salt": hex(&d.salt),
            "root_digest": hex(&d.root_digest),
            "flags": d.flags,
        }),
        Descriptor::Hash(d) => json!({
            "type": "hash",
            "image_size": d.image_size,
            "hash_algorithm": String::from_utf8_lossy(d.hash_algorithm.as_bytes()),
            "partition_name": d.partition_name,
            "salt": hex(&d.salt),
            "digest": hex(&d.digest),
            "flags": d.flags,
        }),
        Descriptor::KernelCmdline(d) => {
            json!({ "type": "kernel_cmdline", "flags": d.flags, "kernel_cmdline": d.cmdline })
        }
        Descriptor::ChainPartition(d) => json!({
            "type": "chain_partition",
            "partition_name": d.partition_name,
            "rollback_index_location": d.rollback_index_location,
            "public_key_sha1": sha1(&d.public_key),
            "flags": d.flags,
        }),
        Descriptor::Unknown { tag, payload } => {
            json!({ "type": "unknown", "tag": tag, "payload_hex": hex(payload) })
        }
    }
}
