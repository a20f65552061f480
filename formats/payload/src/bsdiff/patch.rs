//! Applying a patch.

use super::{HEADER_BYTES, compression, number};
use crate::compress::{Compression, Decoder};
use crate::error::ApplyError;
use std::io::{Read, Write};

/// Bytes that are worked on at once.
const PIECE: usize = 64 << 10;

/// Applies `patch` to `old` and writes the new file, of exactly `size` bytes, to `out`.
///
/// Memory beyond `old` and `patch` is bounded by the decoders' windows.
pub fn patch(old: &[u8], patch: &[u8], size: u64, out: &mut dyn Write) -> Result<(), ApplyError> {
    let streams = Streams::open(patch, size)?;
    let Streams { mut control, mut diff, mut extra } = streams;
    let (mut at, mut left) = (0_i64, size);
    let mut idle = 0;
    while left > 0 {
        let add = natural(&mut control)?;
        let copy = natural(&mut control)?;
        let seek = next_number(&mut control)?;
        let step = add.checked_add(copy).filter(|&step| step <= left);
        left -= step.ok_or(ApplyError::OutputLength)?;
        idle = if add + copy == 0 { idle + 1 } else { 0 };
        if idle > 8 {
            return Err(malformed("control triples that do nothing"));
        }
        add_old(old, at, add, &mut diff, out)?;
        transfer(&mut extra, copy, out)?;
        at = i64::try_from(add)
            .ok()
            .and_then(|add| at.checked_add(add))
            .and_then(|at| at.checked_add(seek))
            .ok_or_else(|| malformed("a position that overflows"))?;
    }
    Ok(())
}

struct Streams<'a> {
    control: Decoder<'a>,
    diff: Decoder<'a>,
    extra: Decoder<'a>,
}

impl<'a> Streams<'a> {
    fn open(patch: &'a [u8], size: u64) -> Result<Self, ApplyError> {
        let (header, body) =
            patch.split_first_chunk::<HEADER_BYTES>().ok_or_else(|| malformed("a short header"))?;
        let kinds = kinds(header).ok_or_else(|| malformed("an unknown magic or compression"))?;
        let field = |at: usize| number(header[at..at + 8].try_into().expect("8 of 32 bytes"));
        if u64::try_from(field(24)) != Ok(size) {
            return Err(ApplyError::OutputLength);
        }
        let split = |bytes: &'a [u8], length: i64| {
            let length = usize::try_from(length).ok();
            length.and_then(|length| bytes.split_at_checked(length))
        };
        let (control, rest) = split(body, field(8)).ok_or_else(|| malformed("a long stream"))?;
        let (diff, extra) = split(rest, field(16)).ok_or_else(|| malformed("a long stream"))?;
        let open = |bytes, kind| Decoder::new(bytes, kind).map_err(broken);
        Ok(Self {
            control: open(control, kinds[0])?,
            diff: open(diff, kinds[1])?,
            extra: open(extra, kinds[2])?,
        })
    }
}

/// How control, diff and extra are compressed.
fn kinds(header: &[u8; HEADER_BYTES]) -> Option<[Compression; 3]> {
    match header {
        [b'B', b'S', b'D', b'I', b'F', b'F', b'4', b'0', ..] => Some([Compression::Bzip2; 3]),
        [b'B', b'S', b'D', b'F', b'2', a, b, c, ..] => {
            Some([compression(*a)?, compression(*b)?, compression(*c)?])
        }
        _ => None,
    }
}

fn malformed(what: &str) -> ApplyError {
    ApplyError::Malformed(format!("the patch has {what}"))
}

fn broken(error: std::io::Error) -> ApplyError {
    ApplyError::Malformed(error.to_string())
}

fn next_number(control: &mut Decoder<'_>) -> Result<i64, ApplyError> {
    let mut bytes = [0; 8];
    control.read_exact(&mut bytes).map_err(broken)?;
    Ok(number(bytes))
}

fn natural(control: &mut Decoder<'_>) -> Result<u64, ApplyError> {
    u64::try_from(next_number(control)?).map_err(|_| malformed("a negative length"))
}

/// Writes `count` bytes of `diff`, to which the bytes of `old` from `at` on are added. Outside
/// `old` nothing is added, as bsdiff has it.
fn add_old(
    old: &[u8],
    mut at: i64,
    mut count: u64,
    diff: &mut Decoder<'_>,
    out: &mut dyn Write,
) -> Result<(), ApplyError> {
    let mut buffer = vec![0; PIECE.min(usize::try_from(count).unwrap_or(PIECE))];
    while count > 0 {
        let now = buffer.len().min(usize::try_from(count).unwrap_or(PIECE));
        let piece = &mut buffer[..now];
        diff.read_exact(piece).map_err(broken)?;
        let before = usize::try_from(at.min(0).unsigned_abs()).unwrap_or(usize::MAX).min(now);
        let from = usize::try_from(at.max(0)).unwrap_or(usize::MAX).min(old.len());
        for (byte, old) in piece[before..].iter_mut().zip(&old[from..]) {
            *byte = byte.wrapping_add(*old);
        }
        out.write_all(piece)?;
        at = i64::try_from(now)
            .ok()
            .and_then(|now| at.checked_add(now))
            .ok_or_else(|| malformed("a position that overflows"))?;
        count -= now as u64;
    }
    Ok(())
}

fn transfer(extra: &mut Decoder<'_>, count: u64, out: &mut dyn Write) -> Result<(), ApplyError> {
    let mut left = count;
    let mut buffer = vec![0; PIECE.min(usize::try_from(count).unwrap_or(PIECE))];
    while left > 0 {
        let now = buffer.len().min(usize::try_from(left).unwrap_or(PIECE));
        extra.read_exact(&mut buffer[..now]).map_err(broken)?;
        out.write_all(&buffer[..now])?;
        left -= now as u64;
    }
    Ok(())
}
