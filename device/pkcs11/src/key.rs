//! What can be done with a key that somebody else may hold.

use crate::error::Result;
use crypto::cipher::Direction;
use crypto::ec::Curve;
use crypto::hash::Hash;
use zeroize::Zeroizing;

/// What a key is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// RSA with a modulus of so many bits.
    Rsa(u32),
    /// ECDSA and ECDH over a prime field.
    Ec(Curve),
    /// EdDSA.
    Ed25519,
    /// ECDH (RFC 7748).
    X25519,
    /// AES with a key of so many bytes.
    Aes(usize),
    /// 3DES with three keys.
    TripleDes,
    /// HMAC, with a key of so many bytes.
    Hmac(Hash, usize),
}

impl Algorithm {
    /// It has a public half.
    #[must_use]
    pub const fn is_pair(self) -> bool {
        matches!(self, Self::Rsa(_) | Self::Ec(_) | Self::Ed25519 | Self::X25519)
    }
}

/// What a key does with one message. Hashing is done before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// RSASSA-PKCS1-v1_5 (RFC 8017, 8.2) over a `DigestInfo`, or over what the caller means.
    RsaSignPkcs1,
    /// The bare private operation, to sign.
    RsaSignBare,
    /// RSAES-PKCS1-v1_5 (7.2).
    RsaDecryptPkcs1,
    /// The bare private operation, to decrypt.
    RsaDecryptBare,
    /// ECDSA over a digest; gives `r || s`.
    Ecdsa,
    /// Ed25519 over a message.
    Ed25519,
    /// ECDH with a peer's public key (SubjectPublicKeyInfo DER).
    Agree,
    /// HMAC, of the key's hash function; gives the whole tag.
    Hmac(Hash),
    /// A block cipher.
    Cipher {
        /// Which way.
        direction: Direction,
        /// The mode, with what it starts from.
        mode: Mode,
    },
}

/// A mode of a block cipher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// Each block by itself.
    Ecb,
    /// Cipher block chaining.
    Cbc {
        /// The initial vector, a block.
        iv: Vec<u8>,
        /// PKCS #7 padding.
        padded: bool,
    },
    /// Counter mode, counting over the whole block.
    Ctr {
        /// The initial counter, a block.
        iv: Vec<u8>,
    },
    /// Galois/counter mode; the tag follows the text.
    Gcm {
        /// 12 bytes.
        iv: Vec<u8>,
        /// What is authenticated only.
        aad: Vec<u8>,
        /// Bytes of the tag, 12 to 16.
        tag_bytes: usize,
    },
}

/// A key that works where it lies.
pub trait Key: Send + Sync {
    /// Does an operation with one message.
    fn perform(&self, operation: &Operation, input: &[u8]) -> Result<Zeroizing<Vec<u8>>>;

    /// Begins an operation whose message comes in pieces: [`Operation::Hmac`] and
    /// [`Operation::Cipher`].
    fn begin(&self, operation: &Operation) -> Result<Box<dyn Stream>>;

    /// Its value, where that may be known to this process.
    fn value(&self) -> Option<&[u8]> {
        None
    }
}

/// An operation whose message comes in pieces. Dropping it ends it.
pub trait Stream: Send {
    /// Takes a piece; appends what comes out.
    fn update(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<()>;

    /// Takes the last piece and ends the message; appends what is left.
    fn finish(self: Box<Self>, input: &[u8], out: &mut Vec<u8>) -> Result<()>;
}
