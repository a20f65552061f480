//! Random bytes that grow from a seed, so that what once broke something can be sent again.

/// A generator (SplitMix64): fast, and good enough to hit odd places.
pub(super) struct Noise(u64);

impl Noise {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Below `limit`, which is not zero.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// At most `longest` bytes, at least one.
    pub(super) fn bytes(&mut self, longest: usize) -> Vec<u8> {
        (0..=self.below(longest)).map(|_| self.next() as u8).collect()
    }

    /// One of `seeds`, of which there is at least one, changed.
    pub(super) fn change_one_of(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let which = self.below(seeds.len());
        self.change(&seeds[which])
    }

    /// `seed` with some of its bytes changed, cut off, doubled or put in.
    pub(super) fn change(&mut self, seed: &[u8]) -> Vec<u8> {
        let mut bytes = seed.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len());
            match self.below(6) {
                0 => bytes[at] = self.next() as u8,
                1 => bytes[at] ^= 1 << self.below(8),
                2 => bytes.truncate(at.max(1)),
                3 => bytes.insert(at, self.next() as u8),
                4 => drop(bytes.remove(at)),
                _ => bytes.extend_from_within(at..),
            }
            if bytes.is_empty() {
                bytes.push(self.next() as u8);
            }
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_sends_the_same_and_changes_are_changes() {
        let sequence = |seed| {
            let mut noise = Noise::new(seed);
            (0..50).map(|_| noise.change(b"a request of some length")).collect::<Vec<_>>()
        };
        assert_eq!(sequence(1), sequence(1));
        assert_ne!(sequence(1), sequence(2));
        let other =
            sequence(1).iter().filter(|bytes| *bytes != b"a request of some length").count();
        assert!(other > 45);
    }
}
