//! Which parts of new data resemble which of old data.
//!
//! A suffix array of a whole partition would take many times its size. Here every sixteenth
//! position of the old data stands in a table under a hash of the 24 bytes there; the new data is
//! looked up at every position that is not explained yet. Whatever the two share in 39 bytes or
//! more has a chance to be found, wherever it moved; where only few bytes differ, the same
//! distance is kept, as bsdiff does.

/// A part of the new data that resembles a part of the old, byte by byte at the same distance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    /// Where in the new data.
    pub(crate) new: usize,
    /// Where in the old data.
    pub(crate) old: usize,
    /// How many bytes.
    pub(crate) length: usize,
}

/// From `new` on, the old data from `old` on is what to compare with first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Region {
    pub(crate) new: usize,
    pub(crate) old: usize,
}

/// Bytes that are hashed.
const WINDOW: usize = 24;
/// Bytes between two positions in the table.
const STEP: usize = 16;
/// The shortest equality at the distance that is followed already.
const NEAR: usize = 16;
/// So much longer must a match elsewhere be to leave the distance that is followed.
const WORTH: usize = 32;
/// Bytes that are looked at behind a difference; half of them must be equal to go on.
const AHEAD: usize = 32;

/// The old data's table.
#[derive(Debug)]
pub(crate) struct Index {
    /// Position / [`STEP`] + 1; 0: empty.
    table: Vec<u32>,
    shift: u32,
}

impl Index {
    /// Takes a quarter of the old data's size. Positions behind 64 GiB are not found.
    pub(crate) fn new(old: &[u8]) -> Self {
        let bits = (old.len() / STEP).max(1024).next_power_of_two().ilog2();
        let mut index = Self { table: vec![0; 1 << bits], shift: 64 - bits };
        for (number, window) in (1_u32..=u32::MAX).zip(old.windows(WINDOW).step_by(STEP)) {
            if let Some(slot) = index.slot(window) {
                let entry = &mut index.table[slot];
                *entry = if *entry == 0 { number } else { *entry };
            }
        }
        index
    }

    /// The place of the hash of the bytes in front; `None` where they are too few or all equal.
    fn slot(&self, bytes: &[u8]) -> Option<usize> {
        let words = bytes.first_chunk::<WINDOW>()?;
        let word =
            |at: usize| u64::from_le_bytes(words[at..at + 8].try_into().expect("8 of 24 bytes"));
        let (a, b, c) = (word(0), word(8), word(16));
        if a == b && b == c && a == a.rotate_left(8) {
            return None;
        }
        let mixed = a.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ b.rotate_left(29);
        let mixed = mixed.wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ c.rotate_left(17);
        let mixed = (mixed ^ mixed >> 32).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from(mixed >> self.shift).ok()
    }

    /// A position of the old data that may hold what stands in front of `bytes`.
    pub(crate) fn candidate(&self, bytes: &[u8]) -> Option<usize> {
        let entry = self.table[self.slot(bytes)?];
        (entry != 0).then(|| (entry as usize - 1) * STEP)
    }
}

/// The runs of `new` in `old`, in the order of `new` and not overlapping.
pub(crate) fn runs(old: &[u8], index: &Index, new: &[u8], regions: &[Region]) -> Vec<Run> {
    let mut search = Search { old, new, index, found: Vec::new() };
    let mut regions = regions.iter().copied().peekable();
    let mut follow = Region { new: 0, old: 0 };
    let (mut at, mut floor) = (0, 0);
    while at < new.len() {
        while let Some(region) = regions.next_if(|region| region.new <= at) {
            follow = region;
        }
        let end = regions.peek().map_or(new.len(), |region| region.new);
        let Some(from) = search.best(at, follow, end) else {
            at += 1;
            continue;
        };
        let run = search.extend(at, from, floor, end);
        search.keep(run);
        follow = Region { new: run.new, old: run.old };
        at = run.new + run.length;
        floor = at;
    }
    search.found
}

struct Search<'a> {
    old: &'a [u8],
    new: &'a [u8],
    index: &'a Index,
    found: Vec<Run>,
}

impl Search<'_> {
    /// Where in the old data the new data at `at` is best continued from.
    fn best(&self, at: usize, follow: Region, end: usize) -> Option<usize> {
        let near = (follow.old + at).checked_sub(follow.new);
        let near_length = near.map_or(0, |from| self.common(at, from, end));
        if near_length >= 2 * NEAR {
            return near;
        }
        let far = self.index.candidate(&self.new[at..end]);
        let far_length = far.map_or(0, |from| self.common(at, from, end));
        if far_length >= WINDOW.max(near_length + WORTH) {
            return far;
        }
        if near_length >= NEAR {
            return near;
        }
        far.filter(|_| far_length >= WINDOW)
    }

    /// How many bytes are equal.
    fn common(&self, at: usize, from: usize, end: usize) -> usize {
        let (new, old) = (&self.new[at..end], self.old.get(from..).unwrap_or_default());
        let length = new.len().min(old.len());
        let (new, old) = (&new[..length], &old[..length]);
        let mut equal = 0;
        for (a, b) in new.chunks_exact(8).zip(old.chunks_exact(8)) {
            let a = u64::from_le_bytes(a.try_into().expect("chunks of 8"));
            let b = u64::from_le_bytes(b.try_into().expect("chunks of 8"));
            if a != b {
                return equal + ((a ^ b).trailing_zeros() / 8) as usize;
            }
            equal += 8;
        }
        equal + new[equal..].iter().zip(&old[equal..]).take_while(|(a, b)| a == b).count()
    }

    /// The run around an equality: backwards to `floor` while equal, forwards to `end` while few
    /// bytes differ.
    fn extend(&self, at: usize, from: usize, floor: usize, end: usize) -> Run {
        let before = self.new[floor..at].iter().rev().zip(self.old[..from].iter().rev());
        let back = before.take_while(|(a, b)| a == b).count();
        let mut length = 0;
        loop {
            length += self.common(at + length, from + length, end);
            let behind = self.new[at + length..end].iter().zip(&self.old[from + length..]);
            let equal: Vec<bool> = behind.take(AHEAD).map(|(a, b)| a == b).collect();
            if equal.iter().filter(|&&it| it).count() * 2 < AHEAD {
                break;
            }
            length += equal.iter().rposition(|&it| it).map_or(0, |last| last + 1);
        }
        Run { new: at - back, old: from - back, length: length + back }
    }

    /// A run that goes on where the last one ended is one with it.
    fn keep(&mut self, run: Run) {
        match self.found.last_mut() {
            Some(last)
                if last.new + last.length == run.new && last.old + last.length == run.old =>
            {
                last.length += run.length;
            }
            _ => self.found.push(run),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bsdiff::{Format, diff, patch};
    use proptest::prelude::*;

    fn noise(seed: u64, length: usize) -> Vec<u8> {
        let mut state = seed | 1;
        std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .take(length)
        .collect()
    }

    fn round_trip(old: &[u8], new: &[u8], format: Format) -> usize {
        let packed = diff(old, new, format).unwrap();
        let mut again = Vec::new();
        patch(old, &packed, new.len() as u64, &mut again).unwrap();
        assert!(again == new, "the patch makes another file");
        packed.len()
    }

    #[test]
    fn finds_what_moved_by_odd_distances() {
        let old = noise(1, 200_000);
        let new = [&noise(2, 37)[..], &old[100_000..], &old[..100_000], b"tail"].concat();
        assert!(round_trip(&old, &new, Format::Bsdf2) < 250);
        assert!(round_trip(&old, &new, Format::Bsdiff40) < 400);
    }

    #[test]
    fn scattered_changes_stay_at_their_distance() {
        let old = noise(1, 200_000);
        let mut new = old.clone();
        new.iter_mut().step_by(1000).for_each(|byte| *byte ^= 1);
        let found = runs(&old, &Index::new(&old), &new, &[Region { new: 0, old: 0 }]);
        assert_eq!(found.len(), 1);
        assert!(round_trip(&old, &new, Format::Bsdf2) < 800);
    }

    proptest! {
        #[test]
        fn any_patch_makes_the_new_file(
            old in proptest::collection::vec(0_u8..4, 0..600),
            cuts in proptest::collection::vec((0_usize..600, 0_usize..200, any::<u8>()), 0..6),
        ) {
            let mut new = Vec::new();
            for (from, length, byte) in cuts {
                let from = from.min(old.len());
                new.extend(&old[from..(from + length).min(old.len())]);
                new.push(byte);
            }
            round_trip(&old, &new, Format::Bsdf2);
            round_trip(&old, &new, Format::Bsdiff40);
        }

        #[test]
        fn hostile_patches_are_errors(old: Vec<u8>, body: Vec<u8>, lengths: [u16; 3], kind: [u8; 3]) {
            let mut packed = [&b"BSDF2"[..], &kind.map(|it| it % 4)].concat();
            for length in lengths {
                packed.extend(u64::from(length).to_le_bytes());
            }
            packed.extend(body);
            let mut out = Vec::new();
            let _ = patch(&old, &packed, u64::from(lengths[2]), &mut out);
            prop_assert!(out.len() <= usize::from(lengths[2]));
        }
    }
}
