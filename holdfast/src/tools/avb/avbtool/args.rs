//! What a person types: avbtool's options, with its names and defaults.

use super::python::{number, number32};
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// The subcommands of avbtool 1.3.0.
#[derive(Debug, Subcommand)]
#[command(rename_all = "snake_case")]
pub(crate) enum Avbtool {
    /// Generate a test image with a known pattern: 0x00 0x01 0x02 ... 0xff 0x00 0x01 ...
    GenerateTestImage(GenerateTestImage),
    /// Print the version of avbtool that this is a drop-in for
    Version,
    /// Extract the public key of a key, as AVB stores it
    ExtractPublicKey(ExtractPublicKey),
    /// Extract the SHA-256 of the public key
    ExtractPublicKeyDigest(ExtractPublicKey),
    /// Make a vbmeta image
    MakeVbmetaImage(Box<MakeVbmetaImage>),
    /// Add a hash and a footer to an image
    AddHashFooter(Box<AddHashFooter>),
    /// Append a vbmeta image to an image
    AppendVbmetaImage(AppendVbmetaImage),
    /// Add a hash tree, error correction and a footer to an image
    AddHashtreeFooter(Box<AddHashtreeFooter>),
    /// Erase the footer of an image
    EraseFooter(EraseFooter),
    /// Zero out hash tree and error correction data
    ZeroHashtree(ImageOnly),
    /// Extract vbmeta from an image with a footer
    ExtractVbmetaImage(ExtractVbmetaImage),
    /// Resize an image with a footer
    ResizeImage(ResizeImage),
    /// Show what vbmeta or footer say
    InfoImage(InfoImage),
    /// Verify an image and those that it speaks about, beside it
    VerifyImage(VerifyImage),
    /// Print the digests of all partitions
    PrintPartitionDigests(PrintPartitionDigests),
    /// Calculate the vbmeta digest
    CalculateVbmetaDigest(CalculateVbmetaDigest),
    /// Calculate the kernel command line
    CalculateKernelCmdline(CalculateKernelCmdline),
    /// Set the A/B metadata in an image of the misc partition
    SetAbMetadata(SetAbMetadata),
    /// Create a certificate of the avb_cert extension
    #[command(alias = "make_atx_certificate")]
    MakeCertificate(MakeCertificate),
    /// Create permanent attributes of the avb_cert extension
    #[command(alias = "make_atx_permanent_attributes")]
    MakeCertPermanentAttributes(MakeCertPermanentAttributes),
    /// Create metadata of the avb_cert extension
    #[command(alias = "make_atx_metadata")]
    MakeCertMetadata(MakeCertMetadata),
    /// Create an unlock credential of the avb_cert extension
    #[command(alias = "make_atx_unlock_credential")]
    MakeCertUnlockCredential(MakeCertUnlockCredential),
}

#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct GenerateTestImage {
    /// Size of the image
    #[arg(long, value_parser = number)]
    pub(super) image_size: u64,
    /// First byte of the pattern
    #[arg(long, value_parser = number, default_value = "0")]
    pub(super) start_byte: u64,
    /// Output file [default: standard output]
    #[arg(long)]
    pub(super) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct ExtractPublicKey {
    /// Private or public key file, PEM or DER
    #[arg(long)]
    pub(super) key: PathBuf,
    /// Output file
    #[arg(long)]
    pub(super) output: PathBuf,
}

/// What signs.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct Signing {
    /// Program that signs: gets algorithm and key path as arguments and the padded digest on
    /// standard input, gives the signature on standard output
    #[arg(long, value_name = "APP")]
    pub(super) signing_helper: Option<PathBuf>,
    /// Program that signs: gets algorithm, key path and a file as arguments, and replaces the
    /// padded digest in the file by the signature
    #[arg(long, value_name = "APP")]
    pub(super) signing_helper_with_files: Option<PathBuf>,
}

impl Signing {
    /// Whether another program signs.
    pub(super) const fn is_elsewhere(&self) -> bool {
        self.signing_helper.is_some() || self.signing_helper_with_files.is_some()
    }
}

/// What all commands that make a vbmeta image take.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct Vbmeta {
    /// Algorithm: NONE, SHA256_RSA2048, SHA256_RSA4096, SHA256_RSA8192, SHA512_RSA2048,
    /// SHA512_RSA4096, SHA512_RSA8192, MLDSA65, MLDSA87
    #[arg(long, default_value = "NONE")]
    pub(super) algorithm: String,
    /// Key file, PEM or DER
    #[arg(long)]
    pub(super) key: Option<PathBuf>,
    #[command(flatten)]
    pub(super) signing: Signing,
    /// File with metadata of the public key
    #[arg(long, value_name = "KEY_METADATA")]
    pub(super) public_key_metadata: Option<PathBuf>,
    /// Rollback index
    #[arg(long, value_parser = number, default_value = "0")]
    pub(super) rollback_index: u64,
    /// Location of the main vbmeta's rollback index
    #[arg(long, value_parser = number32, default_value = "0")]
    pub(super) rollback_index_location: u32,
    /// Release string, for tests
    #[arg(long, hide = true, allow_hyphen_values = true)]
    pub(super) internal_release_string: Option<String>,
    /// Text to append to the release string
    #[arg(long, value_name = "STR", allow_hyphen_values = true)]
    pub(super) append_to_release_string: Option<String>,
    /// Add a property; may be repeated
    #[arg(long, value_name = "KEY:VALUE", allow_hyphen_values = true)]
    pub(super) prop: Vec<String>,
    /// Add a property from a file; may be repeated
    #[arg(long, value_name = "KEY:PATH", allow_hyphen_values = true)]
    pub(super) prop_from_file: Vec<String>,
    /// Add a kernel command line; may be repeated
    #[arg(long, value_name = "CMDLINE", allow_hyphen_values = true)]
    pub(super) kernel_cmdline: Vec<String>,
    /// Add the kernel command line that sets up IMAGE, which has a hash tree
    #[arg(long, value_name = "IMAGE", alias = "generate_dm_verity_cmdline_from_hashtree")]
    pub(super) setup_rootfs_from_kernel: Option<PathBuf>,
    /// Include the descriptors of an image; may be repeated
    #[arg(long, value_name = "IMAGE")]
    pub(super) include_descriptors_from_image: Vec<PathBuf>,
    /// Only print the libavb version that the options require
    #[arg(long)]
    pub(super) print_required_libavb_version: bool,
    /// Chain a partition that is signed with a key of its own; may be repeated
    #[arg(long, value_name = "PART_NAME:ROLLBACK_SLOT:KEY_PATH")]
    pub(super) chain_partition: Vec<String>,
    /// The same, for a partition without A/B slots; may be repeated
    #[arg(long, value_name = "PART_NAME:ROLLBACK_SLOT:KEY_PATH")]
    pub(super) chain_partition_do_not_use_ab: Vec<String>,
    /// Flags of the vbmeta header
    #[arg(long, value_parser = number32, default_value = "0")]
    pub(super) flags: u32,
    /// Set the flag HASHTREE_DISABLED
    #[arg(long)]
    pub(super) set_hashtree_disabled_flag: bool,
    /// Set the flag VERIFICATION_DISABLED
    #[arg(long)]
    pub(super) set_verification_disabled_flag: bool,
}

#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct MakeVbmetaImage {
    /// Output file
    #[arg(long)]
    pub(super) output: Option<PathBuf>,
    /// Pad the output with zeros to a multiple of this; 0: do not
    #[arg(long, value_name = "NUMBER", value_parser = number, default_value = "0")]
    pub(super) padding_size: u64,
    #[command(flatten)]
    pub(super) vbmeta: Vbmeta,
}

/// What both commands that add a footer take.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct Footer {
    /// Only print the largest image that fits the partition with its metadata
    #[arg(long)]
    pub(super) calc_max_image_size: bool,
    /// Also write the vbmeta image to this file
    #[arg(long)]
    pub(super) output_vbmeta_image: Option<PathBuf>,
    /// Do not append vbmeta image and footer
    #[arg(long)]
    pub(super) do_not_append_vbmeta_image: bool,
    /// Leave the digest to a persistent value on the device; with A/B this needs --do_not_use_ab
    #[arg(long)]
    pub(super) use_persistent_digest: bool,
    /// The partition has no A/B slots, even where others do
    #[arg(long)]
    pub(super) do_not_use_ab: bool,
    /// Salt in hex [default: random, as long as the digest]
    #[arg(long)]
    pub(super) salt: Option<String>,
    #[command(flatten)]
    pub(super) vbmeta: Vbmeta,
}

#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct AddHashFooter {
    /// Image to add the footer to
    #[arg(long)]
    pub(super) image: Option<PathBuf>,
    /// Size of the partition
    #[arg(long, value_parser = number)]
    pub(super) partition_size: Option<u64>,
    /// Calculate the size of the partition from that of the image
    #[arg(long)]
    pub(super) dynamic_partition_size: bool,
    /// Name of the partition
    #[arg(long)]
    pub(super) partition_name: Option<String>,
    /// Hash function: sha1, sha256, sha512
    #[arg(long, default_value = "sha256")]
    pub(super) hash_algorithm: String,
    #[command(flatten)]
    pub(super) footer: Footer,
}

#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct AddHashtreeFooter {
    /// Image to add the tree to
    #[arg(long)]
    pub(super) image: Option<PathBuf>,
    /// Size of the partition; 0: the footer follows right behind
    #[arg(long, value_parser = number, default_value = "0")]
    pub(super) partition_size: u64,
    /// Name of the partition
    #[arg(long, default_value = "")]
    pub(super) partition_name: String,
    /// Hash function: sha1 (avbtool's default, which Android does not allow), sha256, sha512,
    /// blake2b-256
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(super) hash_algorithm: String,
    /// Block size
    #[arg(long, value_parser = number32, default_value = "4096")]
    pub(super) block_size: u32,
    #[arg(long, hide = true)]
    pub(super) generate_fec: bool,
    /// Do not generate error correction data
    #[arg(long)]
    pub(super) do_not_generate_fec: bool,
    /// Number of roots of the error correction code
    #[arg(long, value_parser = number32, default_value = "2")]
    pub(super) fec_num_roots: u32,
    /// Add the kernel command line that sets up this image as the root file system
    #[arg(long)]
    pub(super) setup_as_rootfs_from_kernel: bool,
    /// Do not append the tree
    #[arg(long)]
    pub(super) no_hashtree: bool,
    /// dm-verity checks a block when it is read first and not again
    #[arg(long)]
    pub(super) check_at_most_once: bool,
    #[command(flatten)]
    pub(super) footer: Footer,
}

#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct AppendVbmetaImage {
    /// Image to append to
    #[arg(long)]
    pub(super) image: PathBuf,
    /// Size of the partition
    #[arg(long, value_parser = number)]
    pub(super) partition_size: u64,
    /// Image with the vbmeta to append
    #[arg(long)]
    pub(super) vbmeta_image: PathBuf,
}

#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct EraseFooter {
    /// Image with a footer
    #[arg(long)]
    pub(super) image: PathBuf,
    /// Keep hash tree and error correction data in the image
    #[arg(long)]
    pub(super) keep_hashtree: bool,
}

#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct ImageOnly {
    /// Image with a footer
    #[arg(long)]
    pub(super) image: PathBuf,
}

#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct ExtractVbmetaImage {
    /// Image with a footer
    #[arg(long)]
    pub(super) image: PathBuf,
    /// Output file
    #[arg(long)]
    pub(super) output: PathBuf,
    /// Pad the output with zeros to a multiple of this; 0: do not
    #[arg(long, value_name = "NUMBER", value_parser = number, default_value = "0")]
    pub(super) padding_size: u64,
}

#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct ResizeImage {
    /// Image with a footer
    #[arg(long)]
    pub(super) image: PathBuf,
    /// New size of the partition
    #[arg(long, value_parser = number)]
    pub(super) partition_size: u64,
}

#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct InfoImage {
    /// Image to show
    #[arg(long)]
    pub(super) image: PathBuf,
    /// Write to this file [default: standard output]
    #[arg(long)]
    pub(super) output: Option<PathBuf>,
    /// Show the certificates of the avb_cert extension
    #[arg(long, alias = "atx")]
    pub(super) cert: bool,
    /// Write the public key to this file
    #[arg(long)]
    pub(super) output_pubkey: Option<PathBuf>,
    /// One JSON object instead of avbtool's text
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct VerifyImage {
    /// Image to verify
    #[arg(long)]
    pub(super) image: PathBuf,
    /// Check that the embedded public key is that of KEY
    #[arg(long)]
    pub(super) key: Option<PathBuf>,
    /// What a chain descriptor must say; may be repeated
    #[arg(long, value_name = "PART_NAME:ROLLBACK_SLOT:KEY_PATH")]
    pub(super) expected_chain_partition: Vec<String>,
    /// Verify chained partitions too, and accept chains without --expected_chain_partition
    #[arg(long)]
    pub(super) follow_chain_partitions: bool,
    /// Accept images whose hash tree or error correction data is zeroed out
    #[arg(long)]
    pub(super) accept_zeroed_hashtree: bool,
    /// One JSON object instead of avbtool's text
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct PrintPartitionDigests {
    /// Image to print digests from
    #[arg(long)]
    pub(super) image: PathBuf,
    /// Write to this file [default: standard output]
    #[arg(long)]
    pub(super) output: Option<PathBuf>,
    /// Print as JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct CalculateVbmetaDigest {
    /// Image to calculate the digest of
    #[arg(long)]
    pub(super) image: PathBuf,
    /// Hash function
    #[arg(long, default_value = "sha256")]
    pub(super) hash_algorithm: String,
    /// Write to this file [default: standard output]
    #[arg(long)]
    pub(super) output: Option<PathBuf>,
    /// One JSON object instead of avbtool's text
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct CalculateKernelCmdline {
    /// Image to calculate the command line of
    #[arg(long)]
    pub(super) image: PathBuf,
    /// The command line while dm-verity is off
    #[arg(long)]
    pub(super) hashtree_disabled: bool,
    /// Write to this file [default: standard output]
    #[arg(long)]
    pub(super) output: Option<PathBuf>,
    /// One JSON object instead of avbtool's text
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct SetAbMetadata {
    /// Image of the misc partition, which must exist
    #[arg(long)]
    pub(super) misc_image: PathBuf,
    /// Priority, tries remaining and successful boot of slot A, then of slot B
    #[arg(long, default_value = "15:7:0:14:7:0")]
    pub(super) slot_data: String,
}

#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct MakeCertificate {
    /// Write the certificate to this file [default: standard output]
    #[arg(long)]
    pub(super) output: Option<PathBuf>,
    /// File whose SHA-256 is the subject; for a product signing key the product ID
    #[arg(long)]
    pub(super) subject: PathBuf,
    /// Public key of the subject
    #[arg(long)]
    pub(super) subject_key: PathBuf,
    /// Version of the subject's key [default: seconds since 1970]
    #[arg(long, value_parser = number)]
    pub(super) subject_key_version: Option<u64>,
    /// The subject is an intermediate authority
    #[arg(long, conflicts_with_all = ["usage", "usage_for_unlock"])]
    pub(super) subject_is_intermediate_authority: bool,
    /// Text whose SHA-256 is the usage
    #[arg(long, conflicts_with = "usage_for_unlock")]
    pub(super) usage: Option<String>,
    /// The subject may unlock devices
    #[arg(long)]
    pub(super) usage_for_unlock: bool,
    /// Private key of the authority; without one the signature is left out
    #[arg(long)]
    pub(super) authority_key: Option<PathBuf>,
    #[command(flatten)]
    pub(super) signing: Signing,
}

#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct MakeCertPermanentAttributes {
    /// Write the attributes to this file [default: standard output]
    #[arg(long)]
    pub(super) output: Option<PathBuf>,
    /// Public key of the root authority
    #[arg(long)]
    pub(super) root_authority_key: PathBuf,
    /// File with the product ID: 16 bytes
    #[arg(long)]
    pub(super) product_id: PathBuf,
}

#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct MakeCertMetadata {
    /// Write the metadata to this file [default: standard output]
    #[arg(long)]
    pub(super) output: Option<PathBuf>,
    /// Certificate of the intermediate key
    #[arg(long)]
    pub(super) intermediate_key_certificate: PathBuf,
    /// Certificate of the product key
    #[arg(long)]
    pub(super) product_key_certificate: PathBuf,
}

#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct MakeCertUnlockCredential {
    /// Write the credential to this file [default: standard output]
    #[arg(long)]
    pub(super) output: Option<PathBuf>,
    /// Certificate of the intermediate key
    #[arg(long)]
    pub(super) intermediate_key_certificate: PathBuf,
    /// Certificate of the unlock key
    #[arg(long)]
    pub(super) unlock_key_certificate: PathBuf,
    /// Challenge to sign: 16 bytes; without one the signature is left out
    #[arg(long)]
    pub(super) challenge: Option<PathBuf>,
    /// Private unlock key; needed with --challenge
    #[arg(long)]
    pub(super) unlock_key: Option<PathBuf>,
    #[command(flatten)]
    pub(super) signing: Signing,
}
