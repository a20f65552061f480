//! Correcting codewords: errors, and erasures where it is known what is wrong.

use super::encode::FecEncoder;
use super::field::{ORDER, alpha, div, evaluate, mul};
use crate::{Error, FecLayout};
use std::collections::BTreeSet;

/// What a correction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FecOutcome {
    /// Bytes of the rows that were changed.
    pub corrected_bytes: u64,
    /// Bytes of the parity that were wrong.
    pub parity_errors: u64,
    /// Codewords with more damage than the parity can tell: left as they are.
    pub uncorrectable: u64,
}

/// Corrects the codewords of one block in place. `column` holds the blocks of
/// [`FecLayout::column_of`] one behind the other, `parity` their parity; `erased` are rows known
/// to be wrong.
///
/// A codeword bears `roots` damaged bytes that are known, or half as many that are not: with e
/// erasures and t others, e + 2t ≤ roots. More damage may be "corrected" to something else, so
/// compare the hash of what comes out.
pub fn correct_fec(
    layout: &FecLayout,
    column: &mut [u8],
    parity: &[u8],
    erased: &[u64],
) -> Result<FecOutcome, Error> {
    let (width, roots) = (layout.block_bytes() as usize, layout.roots());
    let rows = column.len() / width;
    if !column.len().is_multiple_of(width) || rows as u64 > layout.rows() {
        let (need, have) = (layout.rows() * width as u64, column.len() as u64);
        return Err(Error::FecCovered { need, have });
    }
    if parity.len() != width * roots {
        return Err(Error::FecSize { need: (width * roots) as u64, have: parity.len() as u64 });
    }
    let mut remainders = vec![0; parity.len()];
    let mut encoder = FecEncoder::new(layout, width);
    column.chunks_exact(width).for_each(|row| encoder.row(row));
    encoder.finish(layout, &mut remainders);
    let erased: BTreeSet<usize> =
        erased.iter().filter(|&&row| row < rows as u64).map(|&row| row as usize).collect();
    let erased: Vec<usize> = erased.into_iter().collect();

    let mut outcome = FecOutcome::default();
    let words = remainders.chunks_exact_mut(roots).zip(parity.chunks_exact(roots));
    for (at, (remainder, parity)) in words.enumerate() {
        remainder.iter_mut().zip(parity).for_each(|(byte, parity)| *byte ^= parity);
        if remainder.iter().all(|&byte| byte == 0) {
            continue;
        }
        let Some(errors) = Damage::of(remainder).locate(&erased) else {
            outcome.uncorrectable += 1;
            continue;
        };
        let of_data = |row: usize| row < ORDER - roots;
        // An error in a row that is not there is no error but a wrong guess.
        if errors.iter().any(|&(row, _)| of_data(row) && row >= rows) {
            outcome.uncorrectable += 1;
            continue;
        }
        for (row, value) in errors {
            if of_data(row) {
                column[row * width + at] ^= value;
                outcome.corrected_bytes += 1;
            } else {
                outcome.parity_errors += 1;
            }
        }
    }
    Ok(outcome)
}

/// What a codeword leaves when the generator divides it.
struct Damage {
    /// Values at α^0, α^1 …
    syndromes: Vec<u8>,
}

impl Damage {
    /// From the remainder of the division; the highest power comes first.
    fn of(remainder: &[u8]) -> Self {
        let value = |root| remainder.iter().fold(0, |sum, &byte| mul(sum, alpha(root)) ^ byte);
        Self { syndromes: (0..remainder.len()).map(value).collect() }
    }

    /// Which bytes are wrong and by what, or nothing where that cannot be told.
    fn locate(&self, erased: &[usize]) -> Option<Vec<(usize, u8)>> {
        if erased.len() > self.syndromes.len() {
            return None;
        }
        let locator = self.locator(erased)?;
        let degree = locator.iter().rposition(|&term| term != 0)?;
        // Its roots are the inverses of the places: byte j of the codeword is at α^(254 − j).
        let place = |row: usize| ORDER - 1 - row;
        let inverse = |row: usize| alpha(ORDER - place(row));
        let rows: Vec<usize> = if degree == erased.len() {
            erased.to_vec()
        } else {
            (0..ORDER).filter(|&row| evaluate(&locator, inverse(row)) == 0).collect()
        };
        if rows.len() != degree {
            return None;
        }
        let evaluator = self.evaluator(&locator);
        // The derivative: in characteristic 2 only odd powers stay.
        let derivative: Vec<u8> =
            (1..locator.len()).map(|at| if at % 2 == 1 { locator[at] } else { 0 }).collect();
        let value = |row: usize| {
            let below = evaluate(&derivative, inverse(row));
            let above = mul(alpha(place(row)), evaluate(&evaluator, inverse(row)));
            (below != 0).then(|| (row, div(above, below)))
        };
        let errors: Option<Vec<_>> = rows.into_iter().map(value).collect();
        Some(errors?.into_iter().filter(|&(_, value)| value != 0).collect())
    }

    /// The polynomial with a root for each wrong byte: Berlekamp and Massey's, begun with the
    /// erasures.
    fn locator(&self, erased: &[usize]) -> Option<Vec<u8>> {
        let roots = self.syndromes.len();
        let mut locator = vec![0; roots + 1];
        locator[0] = 1;
        for &row in erased {
            let place = alpha(ORDER - 1 - row);
            for at in (1..=roots).rev() {
                locator[at] ^= mul(locator[at - 1], place);
            }
        }
        let mut before = locator.clone();
        let mut length = erased.len();
        for step in erased.len()..roots {
            let terms = locator.iter().zip(self.syndromes[..=step].iter().rev());
            let discrepancy = terms.fold(0, |sum, (&term, &value)| sum ^ mul(term, value));
            before.insert(0, 0);
            before.truncate(roots + 1);
            if discrepancy == 0 {
                continue;
            }
            let next: Vec<u8> = locator
                .iter()
                .zip(&before)
                .map(|(&term, &before)| term ^ mul(discrepancy, before))
                .collect();
            if 2 * length <= step + erased.len() {
                length = step + 1 + erased.len() - length;
                before = locator.iter().map(|&term| div(term, discrepancy)).collect();
            }
            locator = next;
        }
        let degree = locator.iter().rposition(|&term| term != 0)?;
        (degree == length).then_some(locator)
    }

    /// The syndromes times the locator, without the powers from `roots` on.
    fn evaluator(&self, locator: &[u8]) -> Vec<u8> {
        let roots = self.syndromes.len();
        let mut evaluator = vec![0; roots];
        for (at, &value) in self.syndromes.iter().enumerate() {
            for (power, &term) in locator.iter().enumerate().take(roots - at) {
                evaluator[at + power] ^= mul(value, term);
            }
        }
        evaluator
    }
}
