//! GF(2^8) of the FEC's Reed-Solomon code: x^8 + x^4 + x^3 + x^2 + 1 (0x11d), α = 2.

/// One more than the largest logarithm: the order of the multiplicative group.
pub(super) const ORDER: usize = 255;

const TABLES: ([u8; 2 * ORDER], [u8; 256]) = tables();

/// α^0 … α^509, so that a sum of two logarithms needs no reduction.
const EXP: &[u8; 2 * ORDER] = &TABLES.0;

/// The logarithm to the base α; that of zero is never looked at.
const LOG: &[u8; 256] = &TABLES.1;

const fn tables() -> ([u8; 2 * ORDER], [u8; 256]) {
    let (mut exp, mut log) = ([0; 2 * ORDER], [0; 256]);
    let (mut power, mut at) = (1_u16, 0);
    while at < ORDER {
        exp[at] = power as u8;
        exp[at + ORDER] = power as u8;
        log[power as usize] = at as u8;
        power <<= 1;
        if power & 0x100 != 0 {
            power ^= 0x11d;
        }
        at += 1;
    }
    (exp, log)
}

/// α to the power of `exponent`.
pub(super) const fn alpha(exponent: usize) -> u8 {
    EXP[exponent % ORDER]
}

/// The product.
pub(super) const fn mul(a: u8, b: u8) -> u8 {
    if a == 0 || b == 0 {
        return 0;
    }
    EXP[LOG[a as usize] as usize + LOG[b as usize] as usize]
}

/// The quotient. `b` is not zero.
pub(super) const fn div(a: u8, b: u8) -> u8 {
    if a == 0 {
        return 0;
    }
    EXP[LOG[a as usize] as usize + ORDER - LOG[b as usize] as usize]
}

/// The value of a polynomial at `x`. The constant term comes first.
pub(super) fn evaluate(polynomial: &[u8], x: u8) -> u8 {
    polynomial.iter().rev().fold(0, |sum, &term| mul(sum, x) ^ term)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn division_undoes_multiplication() {
        for a in 0..=255 {
            for b in 1..=255 {
                assert_eq!(div(mul(a, b), b), a);
            }
        }
    }

    #[test]
    fn alpha_runs_through_every_element() {
        let mut seen = [false; 256];
        (0..ORDER).for_each(|exponent| seen[usize::from(alpha(exponent))] = true);
        assert!(!seen[0] && seen[1..].iter().all(|&seen| seen));
        assert_eq!(mul(0x80, 2), 0x1d);
    }
}
