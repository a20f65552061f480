//! Division by the generator polynomial, 32 codewords at a time.
//!
//! A row holds one byte of each codeword, so it lies in the image as it is needed here and no
//! byte is moved before it is used. A product by a constant is two look-ups of 16 entries, one
//! for each half of a byte: with AVX2 that is one instruction for 32 bytes, with GFNI the whole
//! product is. What the processor has is asked at run time.

use super::field::mul;

/// Codewords in a lane.
pub(super) const LANE: usize = 32;

/// One byte of the remainder of 32 codewords.
#[derive(Debug, Clone, Copy)]
#[repr(align(32))]
pub(super) struct Lane(pub(super) [u8; LANE]);

impl Lane {
    pub(super) const ZERO: Self = Self([0; LANE]);
}

/// A constant to multiply with.
#[derive(Debug, Clone)]
pub(super) struct Factor {
    /// Its products with 0 … 15, twice.
    low: Lane,
    /// Its products with 0, 16 … 240, twice.
    high: Lane,
    /// The product as a matrix of bits, in the order of `gf2p8affineqb`.
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "GFNI is of x86"))]
    matrix: u64,
}

impl Factor {
    pub(super) fn new(constant: u8) -> Self {
        let (mut low, mut high) = (Lane::ZERO, Lane::ZERO);
        for at in 0..LANE {
            let nibble = (at % 16) as u8;
            low.0[at] = mul(constant, nibble);
            high.0[at] = mul(constant, nibble << 4);
        }
        Self { low, high, matrix: matrix(constant) }
    }

    fn times(&self, byte: u8) -> u8 {
        self.low.0[usize::from(byte & 15)] ^ self.high.0[usize::from(byte >> 4)]
    }
}

/// Row i of the matrix says which bits of the factor add up to bit i of the product; row 0 is the
/// most significant byte (Intel SDM, GF2P8AFFINEQB).
fn matrix(constant: u8) -> u64 {
    let mut rows = [0_u8; 8];
    for bit in 0..8 {
        let product = mul(constant, 1 << bit);
        for (row, bits) in rows.iter_mut().enumerate() {
            *bits |= (product >> row & 1) << bit;
        }
    }
    u64::from_be_bytes(rows)
}

/// What the processor offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Engine {
    #[cfg(target_arch = "x86_64")]
    Gfni,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Portable,
}

impl Engine {
    /// All that this processor has, the fastest first.
    pub(super) fn available() -> Vec<Self> {
        let mut engines = Vec::new();
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            if is_x86_feature_detected!("gfni") {
                engines.push(Self::Gfni);
            }
            engines.push(Self::Avx2);
        }
        engines.push(Self::Portable);
        engines
    }

    /// One step of the division: the next row of codewords. `state` has `factors.len()` lanes for
    /// each 32 codewords, the highest power first; `row` at most as many bytes as codewords, and
    /// counts as continued with zeros.
    pub(super) fn step(self, state: &mut [Lane], factors: &[Factor], row: &[u8]) {
        let whole = row.len() / LANE;
        let (head, tail) = state.split_at_mut(whole * factors.len());
        let (full, rest) = row.split_at(whole * LANE);
        self.divide(head, factors, full.chunks_exact(LANE));
        if tail.is_empty() {
            return;
        }
        let mut last = Lane::ZERO;
        last.0[..rest.len()].copy_from_slice(rest);
        let padding = std::iter::once(&last).chain(std::iter::repeat(&Lane::ZERO));
        self.divide(tail, factors, padding.map(|lane| &lane.0[..]));
    }

    fn divide<'r>(
        self,
        state: &'r mut [Lane],
        factors: &[Factor],
        row: impl Iterator<Item = &'r [u8]>,
    ) {
        let pairs = state.chunks_exact_mut(factors.len()).zip(row);
        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `available` made this engine only where the processor has AVX2 and GFNI.
            Self::Gfni => unsafe { x86::gfni(pairs, factors) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `available` made this engine only where the processor has AVX2.
            Self::Avx2 => unsafe { x86::avx2(pairs, factors) },
            Self::Portable => portable(pairs, factors),
        }
    }
}

fn portable<'a>(pairs: impl Iterator<Item = (&'a mut [Lane], &'a [u8])>, factors: &[Factor]) {
    for (lanes, row) in pairs {
        let mut feedback = lanes[0].0;
        feedback.iter_mut().zip(row).for_each(|(feedback, byte)| *feedback ^= byte);
        for (at, factor) in factors.iter().enumerate() {
            let mut next = lanes.get(at + 1).map_or([0; LANE], |lane| lane.0);
            for (next, &feedback) in next.iter_mut().zip(&feedback) {
                *next ^= factor.times(feedback);
            }
            lanes[at].0 = next;
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Factor, Lane};
    use core::arch::x86_64::{
        __m256i, _mm256_and_si256, _mm256_gf2p8affine_epi64_epi8, _mm256_load_si256,
        _mm256_loadu_si256, _mm256_set1_epi8, _mm256_set1_epi64x, _mm256_setzero_si256,
        _mm256_shuffle_epi8, _mm256_srli_epi64, _mm256_store_si256, _mm256_xor_si256,
    };

    #[target_feature(enable = "avx2")]
    fn load(lane: &Lane) -> __m256i {
        // SAFETY: a lane has 32 bytes and is aligned to 32.
        unsafe { _mm256_load_si256(lane.0.as_ptr().cast()) }
    }

    #[target_feature(enable = "avx2")]
    fn load_row(row: &[u8]) -> __m256i {
        let row: &[u8; 32] = row.try_into().expect("rows come in lanes");
        // SAFETY: 32 bytes are there; this load needs no alignment.
        unsafe { _mm256_loadu_si256(row.as_ptr().cast()) }
    }

    #[target_feature(enable = "avx2")]
    fn store(lane: &mut Lane, value: __m256i) {
        // SAFETY: a lane has 32 bytes and is aligned to 32.
        unsafe { _mm256_store_si256(lane.0.as_mut_ptr().cast(), value) }
    }

    /// Products by table look-up.
    #[target_feature(enable = "avx2")]
    pub(super) fn avx2<'a>(
        pairs: impl Iterator<Item = (&'a mut [Lane], &'a [u8])>,
        factors: &[Factor],
    ) {
        let nibble = _mm256_set1_epi8(15);
        let last = factors.len() - 1;
        for (lanes, row) in pairs {
            let feedback = _mm256_xor_si256(load(&lanes[0]), load_row(row));
            let low = _mm256_and_si256(feedback, nibble);
            let high = _mm256_and_si256(_mm256_srli_epi64::<4>(feedback), nibble);
            for (at, factor) in factors.iter().enumerate() {
                let next = if at == last { _mm256_setzero_si256() } else { load(&lanes[at + 1]) };
                let product = _mm256_xor_si256(
                    _mm256_shuffle_epi8(load(&factor.low), low),
                    _mm256_shuffle_epi8(load(&factor.high), high),
                );
                store(&mut lanes[at], _mm256_xor_si256(next, product));
            }
        }
    }

    /// Products by the processor's own matrices of bits.
    #[target_feature(enable = "avx2,gfni")]
    pub(super) fn gfni<'a>(
        pairs: impl Iterator<Item = (&'a mut [Lane], &'a [u8])>,
        factors: &[Factor],
    ) {
        let last = factors.len() - 1;
        for (lanes, row) in pairs {
            let feedback = _mm256_xor_si256(load(&lanes[0]), load_row(row));
            for (at, factor) in factors.iter().enumerate() {
                let next = if at == last { _mm256_setzero_si256() } else { load(&lanes[at + 1]) };
                let matrix = _mm256_set1_epi64x(factor.matrix.cast_signed());
                let product = _mm256_gf2p8affine_epi64_epi8::<0>(feedback, matrix);
                store(&mut lanes[at], _mm256_xor_si256(next, product));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_factor_multiplies() {
        for constant in 0..=255 {
            let factor = Factor::new(constant);
            for byte in 0..=255 {
                assert_eq!(factor.times(byte), mul(constant, byte));
            }
        }
    }

    #[test]
    fn every_engine_of_this_processor_divides_alike() {
        let factors: Vec<Factor> = (1..=7).map(|constant| Factor::new(constant * 31)).collect();
        for bytes in [1, 31, 32, 33, 200] {
            let row: Vec<u8> = (0..bytes).map(|at| (at * 37 + 5) as u8).collect();
            let mut states = Vec::new();
            for engine in Engine::available() {
                let mut state = vec![Lane::ZERO; 7 * 7];
                for _ in 0..40 {
                    engine.step(&mut state, &factors, &row);
                }
                states.push(state.iter().flat_map(|lane| lane.0).collect::<Vec<u8>>());
            }
            assert!(states.windows(2).all(|pair| pair[0] == pair[1]), "{bytes} bytes");
        }
    }
}
