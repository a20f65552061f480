//! OTA files: a zip file with a payload, what it is for, and who signed it.
//!
//! Follows recovery's verifier (install/verifier.cpp, asn1_decoder.cpp) for the whole-file
//! signature, releasetools for the metadata and the property files, ota_metadata.proto and
//! care_map.proto. Covered: signing and verifying ([`signature`]), otacerts.zip ([`otacerts`]),
//! metadata in both forms ([`metadata`]), the rules by which a device takes an update
//! ([`policy`]), care maps ([`caremap`]), making ([`make`]) and opening ([`package`]) A/B files,
//! and a signed index that makes streaming ([`streamed`]) as safe as reading the whole ([`index`]).
//! Not covered: SHA-1 signatures, which recovery still takes; files for devices without A/B slots.
//!
//! Every zip trick on which two readers could disagree is refused ([`zip::ZipError`]).
//!
//! ```
//! use otazip::zip::{Archive, Writer};
//!
//! let mut writer = Writer::new();
//! let mut file = writer.begin("note.txt", 5, crc32fast::hash(b"hello"))?;
//! file.extend(b"hello");
//! file.extend(writer.finish());
//! let archive = Archive::open(&file, file.len() as u64, 0)?;
//! assert_eq!(archive.read("note.txt")?, b"hello");
//! # Ok::<(), otazip::zip::ZipError>(())
//! ```

pub mod caremap;
pub mod cms;
pub mod index;
pub mod make;
pub mod metadata;
pub mod otacerts;
pub mod package;
pub mod policy;
pub mod signature;
pub mod streamed;
pub mod zip;
