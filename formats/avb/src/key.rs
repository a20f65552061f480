//! RSA public keys in the form of libavb (`AvbRSAPublicKeyHeader`).

use crate::{DecodeError, decode::Reader};

/// An RSA public key: u32 bits, u32 `-1 / n mod 2^32`, the modulus `n`, and `2^(2 * bits) mod n`.
///
/// The exponent is always 65537. The two numbers behind Montgomery multiplication are derived
/// from the modulus and checked: nobody has to trust them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RsaPublicKeyBlob {
    modulus: Vec<u8>,
    bytes: Vec<u8>,
}

/// The public exponent, big-endian: 65537.
pub(crate) const EXPONENT: [u8; 3] = [1, 0, 1];

const WHAT: &str = "public key blob";

impl RsaPublicKeyBlob {
    /// From the big-endian modulus, of 2048, 4096 or 8192 bits.
    pub fn from_modulus(modulus: &[u8]) -> Result<Self, DecodeError> {
        if ![256, 512, 1024].contains(&modulus.len()) || modulus[0] & 0x80 == 0 {
            return Err(DecodeError::field(WHAT, "n", "is not of 2048, 4096 or 8192 bits"));
        }
        let n = limbs(modulus);
        if n[0] & 1 == 0 {
            return Err(DecodeError::field(WHAT, "n", "is even"));
        }
        let bits = u32::try_from(modulus.len() * 8).expect("8192 bits at most");
        let mut bytes = Vec::with_capacity(8 + 2 * modulus.len());
        bytes.extend(bits.to_be_bytes());
        bytes.extend(negated_inverse(n[0]).to_be_bytes());
        bytes.extend(modulus);
        bytes.extend(montgomery_square(&n).iter().rev().flat_map(|limb| limb.to_be_bytes()));
        Ok(Self { modulus: modulus.to_vec(), bytes })
    }

    /// Reads a blob; its derived numbers must be those of the modulus.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(WHAT, bytes);
        let (bits, _) = (r.u32()?, r.u32()?);
        let key = Self::from_modulus(r.take(u64::from(bits / 8))?)?;
        if key.bytes == bytes {
            Ok(key)
        } else {
            Err(DecodeError::field(WHAT, "n0inv, rr", "do not belong to the modulus"))
        }
    }

    /// The blob.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The big-endian modulus.
    #[must_use]
    pub fn modulus(&self) -> &[u8] {
        &self.modulus
    }

    /// Bits of the modulus.
    #[must_use]
    pub const fn bits(&self) -> usize {
        self.modulus.len() * 8
    }

    /// SHA-256 of the blob: what fuses hold, and what `avbtool extract_public_key_digest` says.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        crypto::digest::sha256(&self.bytes)
    }
}

/// A big-endian number as 64-bit limbs, the least significant first. Whole limbs only.
fn limbs(bytes: &[u8]) -> Vec<u64> {
    bytes
        .rchunks_exact(8)
        .map(|limb| u64::from_be_bytes(limb.try_into().expect("chunks of 8")))
        .collect()
}

/// `-1 / n mod 2^32` for an odd `n`, by Newton's iteration: each step doubles the correct bits.
fn negated_inverse(n: u64) -> u32 {
    let n = (n & u64::from(u32::MAX)) as u32;
    let mut inverse = n;
    for _ in 0..4 {
        inverse = inverse.wrapping_mul(2_u32.wrapping_sub(n.wrapping_mul(inverse)));
    }
    inverse.wrapping_neg()
}

/// `2^(2 * bits) mod n` for an `n` whose top bit is set.
fn montgomery_square(n: &[u64]) -> Vec<u64> {
    // 2^bits mod n = 2^bits - n, because n is at least half of 2^bits.
    let mut value = vec![0; n.len()];
    subtract(&mut value, n);
    for _ in 0..n.len() * 64 {
        let carry = double(&mut value);
        if carry || is_at_least(&value, n) {
            subtract(&mut value, n);
        }
    }
    value
}

/// Doubles; whether a bit fell out at the top.
fn double(value: &mut [u64]) -> bool {
    let mut carry = 0;
    for limb in value {
        let next = *limb >> 63;
        *limb = *limb << 1 | carry;
        carry = next;
    }
    carry == 1
}

fn is_at_least(a: &[u64], b: &[u64]) -> bool {
    a.iter().rev().cmp(b.iter().rev()).is_ge()
}

/// `a - b` modulo 2^bits.
fn subtract(a: &mut [u64], b: &[u64]) {
    let mut borrow = false;
    for (a, b) in a.iter_mut().zip(b) {
        let (difference, first) = a.overflowing_sub(*b);
        let (difference, second) = difference.overflowing_sub(u64::from(borrow));
        *a = difference;
        borrow = first || second;
    }
}
