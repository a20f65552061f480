//! avbtool's subcommands: same names, same options, same bytes, same words.
//!
//! | where | what |
//! |---|---|
//! | [`args`] | the options |
//! | [`vbmeta`], [`footer`], [`hashtree`], [`tree`], [`fec`] | making images |
//! | [`edit`] | changing images with a footer |
//! | [`info`], [`verify`], [`digests`] | looking at images |
//! | [`key`], [`der`], [`cert`] | keys, signing, certificates |
//! | [`image`], [`parsed`], [`output`] | files |
//! | [`python`], [`digest`] | what avbtool has from Python |
//!
//! Results are computed and signed before a file is touched. An image is edited behind its own
//! bytes only, and cut back to them where that fails.

mod args;
mod cert;
mod der;
mod digest;
mod digests;
mod edit;
mod fec;
mod footer;
mod hashtree;
mod image;
mod info;
mod key;
mod output;
mod parsed;
mod python;
mod tree;
mod vbmeta;
mod verify;

pub(crate) use args::Avbtool;

use crate::exit::Exit;
use anyhow::Result;
use avb::PublicKeyBlob;
use output::Output;

/// Runs a subcommand.
pub(super) fn run(command: &Avbtool) -> Result<Exit> {
    match command {
        Avbtool::GenerateTestImage(args) => generate_test_image(args),
        Avbtool::Version => {
            println!("{}", vbmeta::RELEASE);
            Ok(Exit::Held)
        }
        Avbtool::ExtractPublicKey(args) => extract_key(args, |key| key.as_bytes().to_vec()),
        Avbtool::ExtractPublicKeyDigest(args) => {
            extract_key(args, |key| python::hex(&key.digest()).into_bytes())
        }
        Avbtool::MakeVbmetaImage(args) => vbmeta::make(args),
        Avbtool::AddHashFooter(args) => footer::add_hash(args),
        Avbtool::AppendVbmetaImage(args) => footer::append_vbmeta(args),
        Avbtool::AddHashtreeFooter(args) => hashtree::add(args),
        Avbtool::EraseFooter(args) => edit::erase_footer(args),
        Avbtool::ZeroHashtree(args) => edit::zero_hashtree(args),
        Avbtool::ExtractVbmetaImage(args) => edit::extract_vbmeta(args),
        Avbtool::ResizeImage(args) => edit::resize(args),
        Avbtool::InfoImage(args) => info::info(args),
        Avbtool::VerifyImage(args) => verify::verify(args),
        Avbtool::PrintPartitionDigests(args) => digests::print(args),
        Avbtool::CalculateVbmetaDigest(args) => digests::vbmeta_digest(args),
        Avbtool::CalculateKernelCmdline(args) => digests::kernel_cmdline(args),
        Avbtool::SetAbMetadata(args) => edit::set_ab_metadata(args),
        Avbtool::MakeCertificate(args) => cert::certificate(args),
        Avbtool::MakeCertPermanentAttributes(args) => cert::permanent_attributes(args),
        Avbtool::MakeCertMetadata(args) => cert::metadata(args),
        Avbtool::MakeCertUnlockCredential(args) => cert::unlock_credential(args),
    }
}

fn extract_key(
    args: &args::ExtractPublicKey,
    show: impl FnOnce(&PublicKeyBlob) -> Vec<u8>,
) -> Result<Exit> {
    let output = Output::new("--output", Some(&args.output))?;
    output.write(&show(key::KeyFile::read(&args.key)?.public()))?;
    Ok(Exit::Held)
}

/// 0x00 0x01 … 0xff 0x00 …, from `start_byte` on.
fn generate_test_image(args: &args::GenerateTestImage) -> Result<Exit> {
    let output = Output::new("--output", args.output.as_deref())?;
    let start = u8::try_from(args.start_byte & 0xff)?;
    let pattern: Vec<u8> = (0..1 << 16).map(|at: u32| start.wrapping_add(at as u8)).collect();
    output.write_with(|out| {
        let mut left = args.image_size;
        while left > 0 {
            let count = left.min(pattern.len() as u64);
            out.write_all(&pattern[..usize::try_from(count).unwrap_or(pattern.len())])?;
            left -= count;
        }
        Ok(())
    })?;
    Ok(Exit::Held)
}
