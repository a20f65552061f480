//! The head of every file on the disk.
//!
//! | bytes | what |
//! |---|---|
//! | 4 | magic `HFVN` |
//! | 1 | version 1 |
//! | 3 | zero |
//! | 32 | file nonce: names this version of the file; its key derives from it |
//! | 12 + 72 + 16 | sealed [`Header`] |
//!
//! Numbers inside are big-endian.

use crate::keys::{Id, Keys};
use crypto::aead::{Key, OVERHEAD_BYTES};

const MAGIC: [u8; 8] = *b"HFVN\x01\0\0\0";
const PLAIN_BYTES: usize = 72;
const CLEAR_BYTES: usize = MAGIC.len() + 32;
/// Bytes of the head.
pub(crate) const HEADER_BYTES: usize = CLEAR_BYTES + OVERHEAD_BYTES + PLAIN_BYTES;
const PURPOSE: &[u8] = b"header";

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NodeKind {
    File = 1,
    Symlink = 2,
    Directory = 3,
}

/// What the head says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: NodeKind,
    pub(crate) attributes: Attributes,
    /// Bytes of the content.
    pub(crate) size: u64,
    /// Bytes of the sealed hole map behind the content; 0 where there is no hole.
    pub(crate) hole_map_bytes: u32,
    /// Where it belongs; `None` for a file with several names.
    pub(crate) binding: Option<[u8; 32]>,
}

/// Mode, time and owner of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes {
    /// The twelve permission bits.
    pub mode: u16,
    /// Seconds since 1970 of the last change; may be negative.
    pub mtime_s: i64,
    /// Nanoseconds of it.
    pub mtime_ns: u32,
    /// Owner, as a number; kept, never applied.
    pub uid: u32,
    /// Group, as a number; kept, never applied.
    pub gid: u32,
}

/// The version and the sealed rest.
pub(crate) fn seal(version: &Id, key: &Key, header: &Header) -> [u8; HEADER_BYTES] {
    let mut plain = Vec::with_capacity(PLAIN_BYTES);
    let Attributes { mode, mtime_s, mtime_ns, uid, gid } = header.attributes;
    plain.extend_from_slice(&[header.kind as u8, u8::from(header.binding.is_none())]);
    plain.extend_from_slice(&mode.to_be_bytes());
    plain.extend_from_slice(&mtime_ns.to_be_bytes());
    plain.extend_from_slice(&mtime_s.to_be_bytes());
    plain.extend_from_slice(&uid.to_be_bytes());
    plain.extend_from_slice(&gid.to_be_bytes());
    plain.extend_from_slice(&header.size.to_be_bytes());
    plain.extend_from_slice(&header.hole_map_bytes.to_be_bytes());
    plain.extend_from_slice(&[0; 4]);
    plain.extend_from_slice(&header.binding.unwrap_or_default());
    let mut out = [0; HEADER_BYTES];
    out[..8].copy_from_slice(&MAGIC);
    out[8..CLEAR_BYTES].copy_from_slice(version);
    out[CLEAR_BYTES..].copy_from_slice(&key.seal(PURPOSE, &plain));
    out
}

/// An opened head.
pub(crate) struct Opened {
    pub(crate) version: Id,
    pub(crate) key: Key,
    pub(crate) header: Header,
}

/// Opens a head; `None` where it was altered.
pub(crate) fn open(keys: &Keys, bytes: &[u8]) -> Option<Opened> {
    let bytes: &[u8; HEADER_BYTES] = bytes.try_into().ok()?;
    if bytes[..8] != MAGIC {
        return None;
    }
    let version: Id = bytes[8..CLEAR_BYTES].try_into().ok()?;
    let key = keys.file(&version);
    let plain = key.open(PURPOSE, &bytes[CLEAR_BYTES..]).ok()?;
    Some(Opened { version, key, header: parse(&plain)? })
}

fn parse(plain: &[u8]) -> Option<Header> {
    let plain: &[u8; PLAIN_BYTES] = plain.try_into().ok()?;
    let u32_at =
        |at: usize| u32::from_be_bytes([plain[at], plain[at + 1], plain[at + 2], plain[at + 3]]);
    let u64_at = |at: usize| u64::from(u32_at(at)) << 32 | u64::from(u32_at(at + 4));
    let kind = match plain[0] {
        1 => NodeKind::File,
        2 => NodeKind::Symlink,
        3 => NodeKind::Directory,
        _ => return None,
    };
    let attributes = Attributes {
        mode: u16::from_be_bytes([plain[2], plain[3]]),
        mtime_ns: u32_at(4),
        mtime_s: u64_at(8).cast_signed(),
        uid: u32_at(16),
        gid: u32_at(20),
    };
    let binding = plain[40..].try_into().ok()?;
    Some(Header {
        kind,
        attributes,
        size: u64_at(24),
        hole_map_bytes: u32_at(32),
        binding: (plain[1] == 0).then_some(binding),
    })
}
