//! Making parity.

use super::field::{alpha, mul};
use super::lanes::{Engine, Factor, LANE, Lane};
use crate::{Error, FecLayout};
use std::ops::Range;

/// Makes the parity of a range of codewords from their rows.
///
/// Needs memory for `roots` bytes of each codeword, and reads no row twice. Ranges may be made
/// in any order, on any core.
#[derive(Debug, Clone)]
pub struct FecEncoder {
    engine: Engine,
    factors: Vec<Factor>,
    state: Vec<Lane>,
    codewords: usize,
    rows_left: u64,
}

impl FecEncoder {
    /// For so many codewords of `layout`.
    #[must_use]
    pub fn new(layout: &FecLayout, codewords: usize) -> Self {
        let engine = Engine::available()[0];
        Self::with_engine(engine, layout, codewords)
    }

    fn with_engine(engine: Engine, layout: &FecLayout, codewords: usize) -> Self {
        let generator = generator(layout.roots());
        let factors = generator.iter().rev().skip(1).map(|&term| Factor::new(term)).collect();
        let state = vec![Lane::ZERO; codewords.div_ceil(LANE) * layout.roots()];
        Self { engine, factors, state, codewords, rows_left: layout.rows() }
    }

    /// The next row: one byte for each codeword. A short one counts as continued with zeros.
    ///
    /// # Panics
    /// Where there are more rows or bytes than the layout has.
    pub fn row(&mut self, row: &[u8]) {
        assert!(row.len() <= self.codewords, "a row has one byte for each codeword");
        self.rows_left = self.rows_left.checked_sub(1).expect("the layout says how many rows");
        self.engine.step(&mut self.state, &self.factors, row);
    }

    /// The parity into `parity`, `roots` bytes for each codeword. Rows that did not come count
    /// as zeros. The encoder may be used again for as many codewords.
    ///
    /// # Panics
    /// Where `parity` has another size.
    pub fn finish(&mut self, layout: &FecLayout, parity: &mut [u8]) {
        let roots = self.factors.len();
        assert_eq!(parity.len(), self.codewords * roots, "`roots` bytes for each codeword");
        while self.rows_left > 0 {
            self.row(&[]);
        }
        let lanes = self.state.chunks_exact(roots);
        for (lanes, parity) in lanes.zip(parity.chunks_mut(LANE * roots)) {
            for (at, codeword) in parity.chunks_exact_mut(roots).enumerate() {
                codeword.iter_mut().zip(lanes).for_each(|(byte, lane)| *byte = lane.0[at]);
            }
        }
        self.state.fill(Lane::ZERO);
        self.rows_left = layout.rows();
    }
}

/// The product of (x − α^i) for i below `roots`. The constant term comes first.
fn generator(roots: usize) -> Vec<u8> {
    let mut generator = vec![1];
    for root in 0..roots {
        generator.insert(0, 0);
        for at in 1..generator.len() {
            generator[at - 1] ^= mul(generator[at], alpha(root));
        }
    }
    generator
}

/// The parity of `codewords`, on this thread. `covered` holds all covered bytes.
pub fn encode_fec(
    layout: &FecLayout,
    covered: &[u8],
    codewords: Range<u64>,
) -> Result<Vec<u8>, Error> {
    if covered.len() as u64 != layout.covered_bytes() {
        let (need, have) = (layout.covered_bytes(), covered.len() as u64);
        return Err(Error::FecCovered { need, have });
    }
    let width = usize::try_from(codewords.end.saturating_sub(codewords.start))
        .map_err(|_| Error::TooLarge(codewords.end))?;
    if codewords.end > layout.codewords() {
        return Err(Error::Range { first: codewords.start, bytes: width as u64 });
    }
    let mut encoder = FecEncoder::new(layout, width);
    for row in 0..layout.rows() {
        let bytes = layout.row_bytes(row, codewords.clone());
        encoder.row(&covered[bytes.start as usize..bytes.end as usize]);
    }
    let mut parity = vec![0; width * layout.roots()];
    encoder.finish(layout, &mut parity);
    Ok(parity)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_codeword_has_the_roots_of_the_generator() {
        for roots in [2, 3, 7, 16, 24] {
            let layout = FecLayout::new(512, 600, roots).unwrap();
            let covered: Vec<u8> = (0..600 * 512_u32).map(|at| (at * 7 + at / 511) as u8).collect();
            for engine in Engine::available() {
                let mut encoder = FecEncoder::with_engine(engine, &layout, 45);
                for row in 0..layout.rows() {
                    let bytes = layout.row_bytes(row, 100..145);
                    encoder.row(&covered[bytes.start as usize..bytes.end as usize]);
                }
                let mut parity = vec![0; 45 * roots as usize];
                encoder.finish(&layout, &mut parity);
                for (at, parity) in parity.chunks_exact(roots as usize).enumerate() {
                    let row = |row| layout.row_bytes(row, 100 + at as u64..101 + at as u64);
                    let data = (0..layout.rows()).map(|number| {
                        covered[row(number).start as usize..row(number).end as usize]
                            .first()
                            .map_or(0, |&byte| byte)
                    });
                    let word: Vec<u8> = data.chain(parity.iter().copied()).collect();
                    assert_eq!(word.len(), 255);
                    for root in 0..roots as usize {
                        let value = word.iter().fold(0, |sum, &byte| mul(sum, alpha(root)) ^ byte);
                        assert_eq!(value, 0, "{engine:?}, {roots} roots, codeword {at}");
                    }
                }
            }
        }
    }
}
