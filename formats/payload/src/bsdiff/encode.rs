//! Writing a patch.

use super::{Run, encode_number};
use crate::compress::{Compression, compress};
use std::io;

/// Which kind of patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `BSDIFF40`: bzip2 only, for any bspatch.
    Bsdiff40,
    /// Android's `BSDF2`: each stream as brotli, bzip2 or plain, whichever is smallest.
    Bsdf2,
}

/// log2 of the window for differences: nearly all of them zero, they repeat nothing from far away.
const NEAR: u32 = 18;
/// log2 of the window for everything else.
const FAR: u32 = 22;

/// The streams before they are compressed.
#[derive(Default)]
struct Streams {
    control: Vec<u8>,
    diff: Vec<u8>,
    extra: Vec<u8>,
}

/// A patch that makes `new` of `old`. `runs` say which parts of `new` resemble which of `old`; they
/// are in the order of `new`, do not overlap and lie inside both. `placed` says where a run begins
/// in the old file as whoever applies the patch sees it.
pub(crate) fn encode(
    old: &[u8],
    new: Vec<u8>,
    runs: &[Run],
    placed: impl Fn(&Run) -> usize,
    format: Format,
) -> io::Result<Vec<u8>> {
    let size = new.len();
    let streams = streams(old, &new, runs, placed);
    // Large, and no longer needed.
    drop(new);
    let pack = |data: Vec<u8>, window| match format {
        Format::Bsdiff40 => Ok((1, compress(&data, Compression::Bzip2)?)),
        Format::Bsdf2 => smallest(data, window),
    };
    let (control_kind, control) = pack(streams.control, FAR)?;
    let (diff_kind, diff) = pack(streams.diff, NEAR)?;
    let (extra_kind, extra) = pack(streams.extra, FAR)?;
    let mut out = match format {
        Format::Bsdiff40 => b"BSDIFF40".to_vec(),
        Format::Bsdf2 => [&b"BSDF2"[..], &[control_kind, diff_kind, extra_kind]].concat(),
    };
    for length in [control.len(), diff.len(), size] {
        out.extend(encode_number(i64::try_from(length).expect("memory is below 2^63 bytes")));
    }
    for stream in [control, diff, extra] {
        out.extend(stream);
    }
    Ok(out)
}

fn streams(old: &[u8], new: &[u8], runs: &[Run], placed: impl Fn(&Run) -> usize) -> Streams {
    let mut out = Streams::default();
    let (mut at, mut old_at) = (0, 0);
    // Each triple is a run and the gap behind it; before the first run there may be a gap.
    let lead = Run { new: 0, old: 0, length: 0 };
    let runs: Vec<(Run, usize)> = runs.iter().map(|run| (*run, placed(run))).collect();
    let first = runs.first().is_some_and(|(run, placed)| run.new == 0 && *placed == 0);
    let runs = if first { runs } else { [&[(lead, 0)], &runs[..]].concat() };
    for (index, (run, placed)) in runs.iter().enumerate() {
        let next = runs.get(index + 1);
        let end = run.new + run.length;
        let gap_end = next.map_or(new.len(), |(next, _)| next.new);
        if run.length > 0 {
            let old = &old[run.old..run.old + run.length];
            let pairs = new[run.new..end].iter().zip(old);
            out.diff.extend(pairs.map(|(new, old)| new.wrapping_sub(*old)));
            old_at = placed + run.length;
        }
        out.extra.extend(&new[end.max(at)..gap_end]);
        at = gap_end;
        let seek = next.map_or(0, |(_, next)| signed(*next) - signed(old_at));
        for value in [signed(run.length), signed(gap_end - end), seek] {
            out.control.extend(encode_number(value));
        }
        old_at = next.map_or(old_at, |(_, next)| *next);
    }
    out
}

fn signed(value: usize) -> i64 {
    i64::try_from(value).expect("memory is below 2^63 bytes")
}

/// The smallest form of a stream and BSDF2's number of it.
fn smallest(data: Vec<u8>, window: u32) -> io::Result<(u8, Vec<u8>)> {
    if data.is_empty() {
        return Ok((0, data));
    }
    // What a quick look finds incompressible, a long one does too.
    let brotli = |quality| compress(&data, Compression::Brotli { quality, window });
    let quick = brotli(3)?;
    if quick.len() >= data.len() - data.len() / 64 && data.len() > 1 << 12 {
        return Ok((0, data));
    }
    let best = brotli(11)?;
    let bzip2 = compress(&data, Compression::Bzip2)?;
    let forms = [(2, best), (2, quick), (1, bzip2), (0, data)];
    Ok(forms.into_iter().min_by_key(|(_, form)| form.len()).expect("there are four"))
}
