//! Android Verified Boot 2.0: vbmeta images, footers, descriptors, slot verification.
//!
//! Follows AOSP `external/avb` 1.3 and 1.4 (ML-DSA): README.md, `libavb/*.h`, `libavb_cert`, and
//! the decisions of libavb itself.
//! Bytes in, values and verdicts out: no files, no clock, no randomness.
//!
//! | what | where |
//! |---|---|
//! | the structures, both ways | [`Header`], [`VbmetaImage`], [`Descriptor`], [`Footer`], [`PublicKeyBlob`] |
//! | is an image signed, and by which key? | [`verify_vbmeta`] |
//! | does a slot boot? libavb's answer | [`slot_verify`], through [`Ops`] |
//! | does a slot boot? the answer that fails closed | [`policy`] |
//! | one partition with a footer, every byte accounted for | [`verify_hash_footer_partition`] |
//! | keys that certificates vouch for, unlock credentials (libavb_cert) | [`cert`] |
//! | signing | [`VbmetaBuilder`], [`hash_footer`] |
//!
//! Not covered: forward error correction (its fields are carried).
//!
//! ```
//! use avb::{Algorithm, Descriptor, PropertyDescriptor, RsaPublicKeyBlob, VbmetaBuilder};
//! use avb::{VbmetaImage, VbmetaVerdict, verify_vbmeta};
//! use crypto::sign::{Hash, RsaKey};
//!
//! let key = RsaKey::generate(2048)?;
//! let public_key = RsaPublicKeyBlob::from_modulus(&key.modulus())?;
//! let image = VbmetaBuilder {
//!     algorithm: Algorithm::Sha256Rsa2048,
//!     descriptors: vec![Descriptor::Property(PropertyDescriptor::text("os_version", "16"))],
//!     rollback_index: 7,
//!     ..VbmetaBuilder::default()
//! }
//! .sign(&public_key, |data| key.sign_pkcs1(Hash::Sha256, data))?;
//!
//! assert_eq!(verify_vbmeta(&image), VbmetaVerdict::Ok);
//! assert_eq!(VbmetaImage::parse(&image)?.header().rollback_index, 7);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod builder;
pub mod cert;
mod decode;
mod descriptor;
mod encode;
mod error;
mod key;
mod ops;
mod partition;
pub mod policy;
mod public_key;
mod slot;
mod types;
mod verify;

pub use builder::{HashFooter, VbmetaBuilder, hash_footer, hash_footer_max_image_size};
pub use decode::VbmetaImage;
pub use descriptor::{
    ChainPartitionDescriptor, DO_NOT_USE_AB, Descriptor, HashDescriptor, HashName,
    HashtreeDescriptor, KernelCmdlineDescriptor, PropertyDescriptor,
};
pub use error::{BuildError, DecodeError};
pub use key::RsaPublicKeyBlob;
pub use ops::{IoError, KeyTrust, Ops};
pub use partition::{
    Refusal, RefusalCode, VerifiedImage, check_vbmeta_partition, check_zero_after,
    verify_hash_footer_partition,
};
pub use public_key::{MlDsaPublicKeyBlob, PublicKey, PublicKeyBlob};
pub use slot::{
    HashtreeErrorMode, LoadedPartition, SlotData, SlotOutcome, SlotVerifyFlags, SlotVerifyResult,
    VbmetaData, slot_verify,
};
pub use types::{
    Algorithm, Extent, FOOTER_BYTES, Footer, HEADER_BYTES, Hash, Header, LIBAVB_1_3,
    PARTITION_NAME_MAX_BYTES, RELEASE_MAX_BYTES, ROLLBACK_LOCATIONS, Release, SUPPORTED_VERSION,
    VBMETA_MAX_BYTES, VbmetaFlags, Version,
};
pub use verify::{VbmetaVerdict, verify_vbmeta, verify_vbmeta_as};
