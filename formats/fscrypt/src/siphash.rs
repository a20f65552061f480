//! SipHash-2-4 (Aumasson, Bernstein 2012) of one 64-bit number: how `IV_INO_LBLK_32` hashes an
//! inode's number.

/// The hash of `number` in little-endian bytes.
pub(crate) fn siphash_2_4(key: &[u8; 16], number: u64) -> u64 {
    let half = |at: usize| u64::from_le_bytes(*key[at..].first_chunk().expect("16 bytes"));
    let (k0, k1) = (half(0), half(8));
    let mut state = [
        k0 ^ 0x736f_6d65_7073_6575,
        k1 ^ 0x646f_7261_6e64_6f6d,
        k0 ^ 0x6c79_6765_6e65_7261,
        k1 ^ 0x7465_6462_7974_6573,
    ];
    // One whole word, and the last one: only the length, 8 bytes.
    for word in [number, 8 << 56] {
        state[3] ^= word;
        rounds(&mut state, 2);
        state[0] ^= word;
    }
    state[2] ^= 0xff;
    rounds(&mut state, 4);
    state.iter().fold(0, |hash, word| hash ^ word)
}

fn rounds([a, b, c, d]: &mut [u64; 4], count: usize) {
    for _ in 0..count {
        *a = a.wrapping_add(*b);
        *b = b.rotate_left(13) ^ *a;
        *a = a.rotate_left(32);
        *c = c.wrapping_add(*d);
        *d = d.rotate_left(16) ^ *c;
        *a = a.wrapping_add(*d);
        *d = d.rotate_left(21) ^ *a;
        *c = c.wrapping_add(*b);
        *b = b.rotate_left(17) ^ *c;
        *c = c.rotate_left(32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_authors_vector_of_eight_bytes() {
        let key = std::array::from_fn(|at| at as u8);
        let number = u64::from_le_bytes([0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(siphash_2_4(&key, number), 0x93f5_f579_9a93_2462);
    }
}
