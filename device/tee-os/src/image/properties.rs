//! What an image's signed properties say.
//!
//! | property | value | without it |
//! |---|---|---|
//! | `holdfast.ta.uuid` | the UUID | refused |
//! | `holdfast.ta.memory` | bytes of memory that it may take, at most 64 MiB | refused |
//! | `holdfast.ta.calls` | UUIDs of those that it may call, comma-separated; `UUID@DIGEST` names another signer's | none |
//! | `holdfast.ta.sessions` | how many sessions it serves at a time, at most 256 | 64 |
//! | `holdfast.ta.cpu` | milliseconds of CPU time that one command may take, at most 60000 | 10000 |
//! | `holdfast.ta.objects` | how many objects it may keep in files, at most 16384 | 1024 |
//!
//! Other properties that begin with `holdfast.ta.` are refused: what a newer signer meant to
//! limit must not go unheard.

use avb::VerifiedImage;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;
use tee_api::storage::Placement;
use tee_api::{Identity, Signer, TaId};

const PREFIX: &str = "holdfast.ta.";
const KNOWN: [&str; 6] = ["uuid", "memory", "calls", "sessions", "cpu", "objects"];
const MEMORY_BYTES: RangeInclusive<u64> = 4096..=64 << 20;
const SESSIONS: RangeInclusive<u64> = 1..=256;
const CPU_MS: RangeInclusive<u64> = 1..=60_000;
const OBJECTS: RangeInclusive<u64> = 0..=16_384;
const MAX_CALLEES: usize = 16;

/// What a trusted application may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Memory that it asks for, in bytes.
    pub(crate) memory_bytes: u64,
    /// Sessions at a time.
    pub(crate) sessions: usize,
    /// CPU time of one stretch of work.
    pub(crate) cpu: Duration,
    /// Objects in files.
    pub(crate) objects: usize,
}

/// Whom a trusted application may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Callee {
    uuid: TaId,
    /// `None`: the maker, or who signed the caller.
    signer: Option<Signer>,
}

impl Callee {
    /// Whether this entry of `caller`'s list is about `callee`.
    pub(crate) fn is(&self, callee: Identity, caller: Identity) -> bool {
        let signed = match self.signer {
            Some(signer) => callee.signer == signer,
            None => callee.signer == Signer::Maker || callee.signer == caller.signer,
        };
        signed && callee.uuid == self.uuid
    }

    /// Whether this entry is about some TA `uuid`.
    pub(crate) fn names(&self, uuid: TaId) -> bool {
        self.uuid == uuid
    }
}

impl FromStr for Callee {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (uuid, signer) = match text.split_once('@') {
            Some((uuid, digest)) => (uuid, Some(digest)),
            None => (text, None),
        };
        let uuid = uuid.parse().map_err(|error| format!("{uuid:?} is {error}"))?;
        let digest = signer.map(|text| {
            super::archive::digest(text).ok_or("a key digest is not 64 hexadecimal digits")
        });
        Ok(Self { uuid, signer: digest.transpose()?.map(Signer::Key) })
    }
}

/// All that the properties say.
pub(super) struct Signed {
    pub(super) uuid: TaId,
    pub(super) limits: Limits,
    pub(super) calls: Vec<Callee>,
}

/// Reads them; refuses with a sentence.
pub(super) fn read(image: &VerifiedImage) -> Result<Signed, String> {
    check_known(image)?;
    let missing = |name: &str| format!("the signed property {PREFIX}{name} is missing");
    let uuid = property(image, "uuid").ok_or_else(|| missing("uuid"))?;
    let uuid = uuid.parse().map_err(|error| format!("{PREFIX}uuid is {error}"))?;
    let memory_bytes = number(image, "memory", &MEMORY_BYTES)?.ok_or_else(|| missing("memory"))?;
    let sessions = number(image, "sessions", &SESSIONS)?.unwrap_or(64) as usize;
    let cpu = Duration::from_millis(number(image, "cpu", &CPU_MS)?.unwrap_or(10_000));
    let objects = number(image, "objects", &OBJECTS)?.map(|objects| objects as usize);
    let objects = objects.unwrap_or(Placement::Ree.limits().objects);
    let limits = Limits { memory_bytes, sessions, cpu, objects };
    Ok(Signed { uuid, limits, calls: calls(image)? })
}

fn property<'a>(image: &'a VerifiedImage, name: &str) -> Option<&'a str> {
    image.property(&format!("{PREFIX}{name}"))
}

fn check_known(image: &VerifiedImage) -> Result<(), String> {
    let mut seen = Vec::new();
    for property in &image.properties {
        let Some(name) = property.key.strip_prefix(PREFIX) else { continue };
        if !KNOWN.contains(&name) {
            return Err(format!("the signed property {PREFIX}{name} means nothing to this TEE"));
        }
        if seen.contains(&name) || std::str::from_utf8(&property.value).is_err() {
            return Err(format!("the signed property {PREFIX}{name} is there twice, or no text"));
        }
        seen.push(name);
    }
    Ok(())
}

fn number(
    image: &VerifiedImage,
    name: &str,
    range: &RangeInclusive<u64>,
) -> Result<Option<u64>, String> {
    let Some(text) = property(image, name) else { return Ok(None) };
    let value = text.parse().ok().filter(|value| range.contains(value));
    value.map(Some).ok_or_else(|| {
        format!("{PREFIX}{name} is {text:?}, not {} to {}", range.start(), range.end())
    })
}

fn calls(image: &VerifiedImage) -> Result<Vec<Callee>, String> {
    let Some(text) = property(image, "calls").filter(|text| !text.is_empty()) else {
        return Ok(Vec::new());
    };
    let callees: Vec<&str> = text.split(',').collect();
    if callees.len() > MAX_CALLEES {
        return Err(format!("{PREFIX}calls names more than {MAX_CALLEES}"));
    }
    let parse = |callee: &str| callee.parse().map_err(|e| format!("{PREFIX}calls: {e}"));
    callees.into_iter().map(parse).collect()
}
