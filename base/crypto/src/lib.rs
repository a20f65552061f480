//! The cryptography that Holdfast uses, behind one facade over AWS-LC (and `blake2`, which AWS-LC's
//! Rust interface lacks).
//!
//! A leaf: it knows no format, no protocol, no clock. Randomness that a caller may want to
//! control comes in as bytes; key generation uses the generator of AWS-LC.
//!
//! Covered, where a protocol fixes the algorithm: SHA-2, BLAKE2b, SHA-1 for old formats ([`digest`]),
//! HMAC ([`mac`]), HKDF ([`kdf`]), AES-GCM, AES-GCM-SIV, ChaCha20-Poly1305 ([`aead`]), RSA
//! PKCS#1 v1.5 and ECDSA P-256/P-384 ([`sign`]), ML-DSA ([`ml_dsa`]), RSA-OAEP ([`oaep`]).
//!
//! Where a key or a caller chooses it, the whole of SPEC S2.1.4: hash functions ([`hash`]), AES and
//! 3DES on streams ([`cipher`]), CMAC ([`mac`]), RSA of 1024 to 8192 bits ([`rsa`]), ECDSA and ECDH
//! ([`ec`]), Ed25519 and X25519 ([`curve25519`]), key wrap ([`keywrap`]), derivation ([`kdf`]). What is
//! weak has `Legacy` in its name. `docs/vectors.md` says what all of it was compared with.

pub mod aead;
pub mod cipher;
pub mod curve25519;
pub mod digest;
pub mod ec;
pub mod hash;
pub mod kdf;
pub mod keywrap;
mod lc;
pub mod mac;
pub mod ml_dsa;
pub mod oaep;
pub mod rsa;
pub mod secret;
pub mod sign;

/// Why an operation was refused. It carries no detail on purpose: which byte of a secret or a
/// tag was wrong is nobody's business.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A signature, a MAC or an AEAD tag does not match.
    #[error("authentication failed: the data or its tag was altered, or the key is another one")]
    Authentication,
    /// A key is not of the form that the algorithm takes.
    #[error("malformed key")]
    MalformedKey,
    /// A message, a nonce or an initial vector has a length that the algorithm does not take.
    #[error("the algorithm does not take a message or an initial vector of this length")]
    Length,
    /// AWS-LC could not do it (out of memory, or no entropy).
    #[error("the crypto library refused")]
    Internal,
}

/// Compares two byte strings in a time that depends on their lengths only.
#[must_use]
pub fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    use subtle::ConstantTimeEq;
    a.ct_eq(b).into()
}

/// Fills `out` from the generator of AWS-LC, which the kernel seeds.
///
/// # Panics
/// Where the kernel gives no randomness at all: nothing here could go on safely.
pub fn random(out: &mut [u8]) {
    aws_lc_rs::rand::fill(out).expect("the kernel's random number generator answers");
}

/// `N` random bytes; see [`random`].
#[must_use]
pub fn random_array<const N: usize>() -> [u8; N] {
    let mut out = [0; N];
    random(&mut out);
    out
}
